"""The faces of a node: HTTP in, domain values on; domain values in, HTTP out. No rules live here."""
