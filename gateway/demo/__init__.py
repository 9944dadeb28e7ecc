"""A complete small network in one command: four organisations, their nodes, and the systems that use them."""
