"""Who is who, and whose key is whose: the trust registry, read, run, and its commands."""
