"""What a rulebook is made of, and how a text becomes one: each name known, each fault with its line."""
