"""The node: the one package that knows the others and composes them."""
