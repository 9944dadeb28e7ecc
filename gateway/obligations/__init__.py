"""What comes with data: people who must be told, days on which it ends, what may not go on; and that it was done."""
