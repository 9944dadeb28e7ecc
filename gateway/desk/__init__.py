"""The data protection officer's desk: each question with its entry and its answer, and the coats it wears."""
