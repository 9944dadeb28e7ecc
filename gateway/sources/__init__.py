"""What a node reads by itself, behind a feed of handovers: a directory, a database, an HTTP API, an SFTP drop."""
