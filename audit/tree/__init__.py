"""The tree and its proofs. Pure where it can be: offline verification stands on this room alone."""
