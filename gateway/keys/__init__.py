"""Keys and certificates: in files, in tokens, and in use for TLS."""
