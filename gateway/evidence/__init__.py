"""Proof of an exchange that outlives the nodes: what was signed, by whom, who vouched for them, and what is logged."""
