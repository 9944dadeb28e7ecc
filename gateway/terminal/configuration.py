"""What commands that speak of one node share: the option for its settings, and how faults in them are told."""

from __future__ import annotations

import os
import pwd
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.terminal.output import WRONG, errors, print_json

if TYPE_CHECKING:
    from gateway.settings import Settings
    from gateway.settings.problems import SettingsError

Config = Annotated[Path, typer.Option("--config", "-c", help="The node's settings, a TOML file.", metavar="FILE")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
CONFIG = Path("node.toml")


def logged_in() -> str:
    """Who is logged in at the operating system, by name."""
    # From the process, not from the environment: a variable would let one person be both of two.
    return pwd.getpwuid(os.getuid()).pw_name


def settings_of(config: Path, *, json: bool) -> Settings:
    """The settings in this file; what is wrong with them is told line by line, and ends the command."""
    from gateway.settings import load
    from gateway.settings.problems import SettingsError

    try:
        return load(config)
    except SettingsError as error:
        tell_problems(error, json=json)
        raise SystemExit(WRONG) from None


def tell_problems(error: SettingsError, *, json: bool) -> None:
    """What is wrong with settings, a line for each."""
    if not json:
        for line in error.lines():
            errors.print(line, markup=False, soft_wrap=True)
        return
    print_json(
        {
            "problems": [
                {
                    "file": None if problem.variables else str(error.source),
                    "line": problem.line,
                    "variables": list(problem.variables),
                    "key": problem.key,
                    "message": problem.message,
                }
                for problem in error.problems
            ]
        }
    )
