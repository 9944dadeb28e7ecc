"""What the data looks like: the canonical schemas, their data categories, and projection."""
