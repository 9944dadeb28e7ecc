"""How fast the product is, told as ratios: each figure stands against a baseline measured in the same run."""
