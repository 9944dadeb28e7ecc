"""What every node needs of the trust registry: fetching it, and asking it."""
