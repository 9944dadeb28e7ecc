"""What stands behind `yhdyspinta adapter new`: a sample is looked at, its columns recognised, and a package written."""
