"""Who is who, and whose key: the trust registry, certificates and key stores."""
