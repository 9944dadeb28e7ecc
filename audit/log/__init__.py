"""What is durable when: entries, their rows, and the log that appends them."""
