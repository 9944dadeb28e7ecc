"""One node: its parts, wired, started and looked after."""
