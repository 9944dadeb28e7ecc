"""A handover: planned, delivered, received, accepted."""
