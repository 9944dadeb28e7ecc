"""A rulebook as a whole: gaps, contradictions, invariants, differences, and decisions explained in words."""
