"""The officer's questions at the command line."""
