"""A query: asked on one side, answered on the other."""
