"""Standing requests of this organisation: made, signed, published, ended, shown."""
