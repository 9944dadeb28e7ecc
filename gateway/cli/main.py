"""The `yhdyspinta` command: puts the nouns together.

A noun's module is loaded when the noun is used, so that a node starts without what only other commands need.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import version
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from gateway.loglines import quiet_libraries

#: Each noun and its modules: the first has its `app`, the others have more `COMMANDS` for it.
NOUNS: Mapping[str, tuple[str, ...]] = {
    "demo": ("gateway.cli.demo",),
    "node": ("gateway.cli.node",),
    "adapter": ("gateway.cli.adapter",),
    "audit": ("gateway.desk.cli.officer", "gateway.desk.cli.disclosures", "gateway.desk.cli.reviews"),
    "client": ("gateway.cli.client",),
    "conformance": ("gateway.cli.conformance",),
    "console": ("gateway.cli.console",),
    "evidence": ("gateway.evidence.cli",),
    "registry": ("gateway.registry.cli.running", "gateway.registry.cli.joining", "gateway.registry.cli.reading"),
    "rulebook": ("gateway.cli.rulebook",),
    "consent": ("gateway.exchange.consents.cli",),
    "identity": ("gateway.exchange.identity.cli",),
}


class _Nouns(TyperGroup):
    """The group of all nouns."""

    def list_commands(self, ctx: Any) -> list[str]:
        """The nouns, in their order."""
        return list(NOUNS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Load a noun. None for what is not one."""
        if cmd_name not in NOUNS:
            return None
        first, *others = (import_module(name) for name in NOUNS[cmd_name])
        present = {registered_command.callback for registered_command in first.app.registered_commands}
        for further in (one for module in others for one in module.COMMANDS if one not in present):
            first.app.command()(further)
        command = typer.main.get_command(first.app)
        command.name = cmd_name
        # Shell completion is an option of the whole command, not of each noun.
        command.params = [
            param for param in command.params if param.name not in {"install_completion", "show_completion"}
        ]
        return command


app = typer.Typer(
    name="yhdyspinta",
    help="A data-exchange gateway for service-need data between authorities.",
    cls=_Nouns,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"yhdyspinta {version('yhdyspinta')}")
        raise typer.Exit


#: Nouns whose files hold what is somebody's: entries, extracts, consents, evidence, reports. What `registry` publishes
#: is for all to read.
PRIVATE = frozenset({"node", "audit", "client", "console", "consent", "evidence", "identity"})


@app.callback()
def _options(
    context: typer.Context,
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    quiet_libraries()
    if context.invoked_subcommand in PRIVATE:
        os.umask(0o077)


def run() -> None:
    """Entry point of the command."""
    app()
