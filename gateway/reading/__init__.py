"""Foreign bytes are read in processes of their own; see `gateway.reading.readers`."""
