"""What can be asked of the log: searches, counts, patterns, reports, archives, checks, and the people it speaks of."""
