"""The `yhdyspinta` command, one module for each noun."""
