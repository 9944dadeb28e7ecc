"""Whether data may move, for which reason, and what that decision says; examples worked, old ones made again."""
