"""`yhdyspinta node`: run a node, or check its settings without running it."""

from __future__ import annotations

import asyncio
import gc
import os
import pwd
from datetime import UTC, datetime
from typing import Annotated, Final

import typer
import uvloop
from rich.markup import escape
from sqlalchemy.exc import SQLAlchemyError

from audit.log.log import LogError
from gateway.registry.cli.running import Yes
from gateway.settings import load
from gateway.terminal.configuration import CONFIG, Config, Json, settings_of
from gateway.terminal.output import OUTSIDE, WRONG, agreed, console, fail, print_json

app = typer.Typer(help="Run a node, or check its settings.", no_args_is_help=True)

GARBAGE: Final = 50_000
"""So many more objects made than ended, and the garbage collector looks at the young ones."""


@app.command()
def run(config: Config = CONFIG) -> None:
    """Run the node until it is told to stop (Ctrl-C, SIGTERM)."""
    from gateway.loglines import configure_logging
    from gateway.node.node import Node
    from gateway.node.wiring import NodeError

    settings = settings_of(config, json=False)
    configure_logging(settings.telemetry.log_level)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(Node(settings, reread=lambda: load(config), ready=_loaded).run())
    except NodeError as error:
        fail(escape(str(error)), OUTSIDE, remedy=escape(error.remedy))


def _loaded() -> None:
    # What is loaded by now stays for good: the collector is spared from going through it while requests wait.
    gc.collect()
    gc.freeze()
    # An exchange leaves hardly a cycle behind. By the interpreter's own threshold the collector walked everything that
    # was in flight several times in each exchange, which was a twelfth of a node's processor time.
    gc.set_threshold(GARBAGE, 20, 20)


@app.command()
def settings() -> None:
    """Print every setting with its kind, its default and its meaning, as Markdown."""
    from gateway.cli.settings_reference import reference

    typer.echo(reference())


@app.command()
def check(config: Config = CONFIG, json: Json = False) -> None:
    """Check the settings file, line by line."""
    settings = settings_of(config, json=json)
    if json:
        print_json({"node": settings.node.id, "problems": []})
    else:
        console.print(f"[green]✓[/] {config}: node {settings.node.id}, the settings are usable")


@app.command("end-hold")
def end_hold(
    size: Annotated[int, typer.Option(help="How far the log had come, as `hold` in /health says.", min=1)],
    config: Config = CONFIG,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Go on with a database that is older than the node's own log, after what it lacks was entered again.

    Works beside the running node, which releases again within a second. It is put on record.
    """
    from gateway.node import hold, secret_files
    from gateway.node.wiring import NodeError, subjects_of
    from gateway.storage import engine as storage

    settings = settings_of(config, json=json)
    agreed(
        [
            f"answer for it that what the log said from here up to entry {size} is lost from this database",
            "in particular: consents and prohibitions given since, withdrawals, and what was delivered",
            "put that on record, and let the node release data again",
        ],
        "Go on with this database?",
        yes=yes,
        json=json,
    )
    engine = storage.create(settings.database.url)
    try:
        secret_files.verify(settings, engine, "log_key", "index_key", "wrapping_key")
        user = subjects_of(settings).user("operating system", pwd.getpwuid(os.getuid()).pw_name)
        checkpoint = hold.end(settings, engine, size, user=user, now=datetime.now(UTC))
    except NodeError as error:
        fail(escape(str(error)), OUTSIDE, remedy=escape(error.remedy), json=json)
    except hold.HoldError as error:
        fail(escape(str(error)), WRONG, remedy="give the size that `hold` in /health says", json=json)
    except (SQLAlchemyError, LogError, OSError) as error:
        fail(
            f"the hold is not ended ({type(error).__name__})", OUTSIDE, remedy="see `yhdyspinta audit check`", json=json
        )
    finally:
        engine.dispose()
    if json:
        print_json({"ended": True, "size": checkpoint.size})
    else:
        console.print(f"[green]✓[/] the hold is ended; the log goes on at entry {checkpoint.size}")
