"""What a node offers to others, and the source systems that stand behind it."""
