"""`python -m gateway` is the `yhdyspinta` command."""

from gateway.cli.main import run

run()
