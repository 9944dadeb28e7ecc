"""The `yhdyspinta` command: puts the nouns together."""

from __future__ import annotations

from importlib.metadata import version
from typing import Annotated

import typer

from gateway.cli import (
    adapter,
    client,
    console,
    demo,
    evidence,
    node,
    officer,
    registry,
    registry_member,
    registry_reading,
    rulebook,
)

app = typer.Typer(
    name="yhdyspinta",
    help="A data-exchange gateway for service-need data between authorities.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("demo")(demo.demo)
app.add_typer(node.app, name="node")
app.add_typer(officer.app, name="audit")
app.add_typer(client.app, name="client")
registry_member.register(registry.app)
registry_reading.register(registry.app)
app.add_typer(registry.app, name="registry")
app.add_typer(evidence.app, name="evidence")
app.add_typer(rulebook.app, name="rulebook")
app.add_typer(console.app, name="console")
app.add_typer(adapter.app, name="adapter")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"yhdyspinta {version('yhdyspinta')}")
        raise typer.Exit


@app.callback()
def _options(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def run() -> None:
    """Entry point of the command."""
    app()
