"""Judge a system from outside, by what it does over HTTP and TLS, against what the published pages require.

The kit reads and writes the protocol by itself, from `docs/protocol.md` and `docs/clients.md`: it imports nothing of
the rest of this project, so that a misreading there is not repeated here. `catalogue` says what a test is, `running`
runs them, `profile` says where the target is; the modules named after a role hold the tests.
"""
