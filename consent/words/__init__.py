"""What people say, as versioned records: who said it, for whom, of what, until when, and how it is kept."""
