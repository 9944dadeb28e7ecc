"""Formats in and out: from a source system's records to the canonical model, and back."""
