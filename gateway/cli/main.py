"""The `yhdyspinta` command: puts the nouns together.

A noun's module is loaded when the noun is used, so that a node starts without what only other commands need.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from gateway.loglines import quiet_libraries


@dataclass(frozen=True, slots=True)
class Noun:
    """A noun and its modules: the first has its `app`, the others have more `COMMANDS` for it.

    `help` is what the noun's `app` says of itself, so that a list of all nouns loads none of them.
    """

    help: str
    modules: tuple[str, ...]


NOUNS: Mapping[str, Noun] = {
    "demo": Noun(
        "Run four organisations on this machine, hand twenty invented persons over, and check all that was promised.",
        ("gateway.cli.demo",),
    ),
    "node": Noun("Run a node, or check its settings.", ("gateway.cli.node",)),
    "adapter": Noun(
        "Make an adapter from a sample, look at what it does, test it, pack it.",
        ("gateway.cli.adapter", "gateway.cli.adapter_life"),
    ),
    "audit": Noun(
        "Read, prove, check and archive the audit log.",
        ("gateway.desk.cli.officer", "gateway.desk.cli.disclosures", "gateway.desk.cli.reviews"),
    ),
    "client": Noun("List, add and shut out the information systems that may call this node.", ("gateway.cli.client",)),
    "conformance": Noun(
        "Judge a system from outside, by what the published pages require.", ("gateway.cli.conformance",)
    ),
    "console": Noun("Let people into the console.", ("gateway.cli.console",)),
    "evidence": Noun("Prove an exchange to others, and check such proof.", ("gateway.evidence.cli",)),
    "registry": Noun(
        "Make, join and tend a network's trust registry.",
        (
            "gateway.registry.cli.running",
            "gateway.registry.cli.joining",
            "gateway.registry.cli.asking",
            "gateway.registry.cli.reading",
        ),
    ),
    "rulebook": Noun("Check, compare and explain rulebooks; make recorded decisions again.", ("gateway.cli.rulebook",)),
    "consent": Noun("Bring consents and refusals into a node.", ("gateway.consents.cli",)),
    "task": Noun(
        "See to what comes with data: tell people, ask them, confirm deletions.", ("gateway.obligations.cli",)
    ),
    "request": Noun("Make and end standing requests through a node.", ("gateway.asking.cli",)),
    "identity": Noun("Decide who is one person and who is not.", ("gateway.identity.cli",)),
}


def load(name: str) -> Any:
    """The commands of a noun, with all that they import."""
    first, *others = (import_module(module) for module in NOUNS[name].modules)
    present = {registered_command.callback for registered_command in first.app.registered_commands}
    for further in (command for module in others for command in module.COMMANDS if command not in present):
        first.app.command()(further)
    command = typer.main.get_command(first.app)
    command.name = name
    # Shell completion is an option of the whole command, not of each noun.
    command.params = [param for param in command.params if param.name not in {"install_completion", "show_completion"}]
    return command


class _Nouns(TyperGroup):
    """The group of all nouns: lists them by name and help, and loads the one that is used."""

    def list_commands(self, ctx: Any) -> list[str]:
        """The nouns, in their order."""
        return list(NOUNS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """A noun by name and help alone. None for what is not one."""
        return TyperCommand(cmd_name, help=NOUNS[cmd_name].help) if cmd_name in NOUNS else None

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The noun that is used, loaded."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, load(name) if name is not None and name in NOUNS else command, rest


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
PRIVATE = frozenset({"node", "audit", "client", "console", "consent", "evidence", "identity", "task"})


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
