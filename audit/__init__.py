"""What happened, provably: the append-only log, its proofs, and the questions asked of it."""
