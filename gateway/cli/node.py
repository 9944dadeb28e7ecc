"""`yhdyspinta node`: run a node, or check its settings without running it."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Final

import typer
import uvloop
from rich.markup import escape
from sqlalchemy.exc import SQLAlchemyError

from audit.log.log import LogError
from gateway.cli.beside import opened_log, reason_of
from gateway.keys.errors import TrustError
from gateway.registry.cli.running import Yes
from gateway.settings import Settings, load
from gateway.settings.problems import SettingProblem, SettingsError
from gateway.terminal.configuration import CONFIG, Config, Json, logged_in, settings_of, tell_problems
from gateway.terminal.output import OUTSIDE, WRONG, agreed, console, fail, print_json

if TYPE_CHECKING:
    from gateway.node.rotation import Beside, Secret

app = typer.Typer(help="Run a node, or check its settings.", no_args_is_help=True)

_LOG: Final = "log"
GARBAGE: Final = 50_000
"""So many more objects made than ended, and the garbage collector looks at the young ones."""


@app.command()
def run(config: Config = CONFIG) -> None:
    """Run the node until it is told to stop (Ctrl-C, SIGTERM)."""
    from gateway.loglines import configure_logging
    from gateway.node import memory
    from gateway.node.node import Node
    from gateway.node.wiring import NodeError

    memory.settle()
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
    """Check the settings file, line by line, and that nobody else can read the secret files that it names."""
    from gateway.settings.exposed import exposed

    settings = settings_of(config, json=json)
    if found := exposed(settings):
        tell_problems(
            SettingsError(config, [SettingProblem(None, file.key, f"{file.fault}; {file.remedy}") for file in found]),
            json=json,
        )
        raise SystemExit(WRONG)
    if json:
        print_json({"node": settings.node.id, "problems": []})
    else:
        console.print(f"[green]✓[/] {config}: node {settings.node.id}, the settings are usable")


@app.command()
def rotate(
    secret: Annotated[str, typer.Argument(help="index, wrapping, token or log.")],
    prepare: Annotated[
        bool, typer.Option("--prepare", help="Only add the new key to the file, to be copied to all replicas first.")
    ] = False,
    settle: Annotated[float, typer.Option(help="Seconds in which every node has looked at its files.", min=0)] = 5.0,
    config: Config = CONFIG,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Change a secret of a node that may be running. Ended before its end, it goes on where it was when run again.

    The keys that others know the node by change through the registry: `yhdyspinta registry enrol --renew`. Of the
    log's key this takes the last step, once the registry lists the new one.
    """
    from gateway.node.rotation import Secret

    if secret == _LOG:
        _succeed(settings_of(config, json=json), settle, yes=yes, json=json)
        return
    if secret not in set(Secret):
        remedy = (
            f"one of {', '.join(Secret)}; log; signing, tls and witness change by `yhdyspinta registry enrol --renew`"
        )
        fail(f"{escape(secret)} is no secret that changes here", WRONG, remedy=remedy, json=json)
    settings = settings_of(config, json=json)
    agreed(
        [
            f"make another {secret} key beside the one in use, in {settings.secrets.log_key.parent}",
            "nothing further: copy the file to every replica, then run this again without --prepare"
            if prepare
            else "have every node read it, then write under it, on record",
            Secret(secret).kept,
        ],
        "Change the secret?",
        yes=yes,
        json=json,
    )
    count = _rotated(settings, Secret(secret), None if prepare else settle, json=json)
    if json:
        print_json({"secret": secret, "prepared": prepare, "wrapped_anew": count})
    elif prepare:
        console.print("[green]✓[/] the new key waits in the file")
    else:
        console.print(f"[green]✓[/] the {secret} key is another" + (f"; {count} keys wrapped anew" if count else ""))


def _rotated(settings: Settings, secret: Secret, settle: float | None, *, json: bool) -> int:
    """Change it; without `settle` only prepare. What goes wrong ends the command."""
    from gateway.node.rotation import Rotation

    with _beside(settings, settle or 0, json=json) as beside:
        change = Rotation(secret, beside)
        change.prepare()
        if settle is None:
            return 0
        return change.carry_out(lambda step: None if json else console.print(f"  {step}"))


@contextmanager
def _beside(settings: Settings, settle: float, *, json: bool) -> Iterator[Beside]:
    """What a change of a secret works with. What goes wrong in it ends the command."""
    from gateway.node import rotation
    from gateway.node.wiring import NodeError, utc_now

    try:
        with opened_log(settings) as beside:
            yield rotation.Beside(settings, beside.engine, beside.log, utc_now, lambda: time.sleep(settle), beside.user)
    except NodeError as error:
        fail(escape(str(error)), OUTSIDE, remedy=escape(error.remedy), json=json)
    except TrustError as error:
        fail(escape(error.detail), OUTSIDE, remedy=escape(error.remedy), json=json)
    except (SQLAlchemyError, LogError, OSError) as error:
        reason = escape(reason_of(settings, error))
        fail(f"the change is not complete: {reason}", OUTSIDE, remedy="mend that and run it again", json=json)


def _succeed(settings: Settings, settle: float, *, yes: bool, json: bool) -> None:
    """Let the log go on under its new key alone. What goes wrong ends the command."""
    from gateway.node.rotation import Succession
    from gateway.registry.read.distribution import RegistryClient

    # By then every node of the network has read the registry that lists the new key.
    waits = max(settle, 2 * settings.registry.refresh_seconds)
    agreed(
        [
            f"wait {waits:g} s, until every node knows the new key of this node's log",
            "put it on record, and write down the former key's last word beside the secrets, in log.former",
            f"take the former key out of {settings.secrets.log_key}; back both files up afterwards",
        ],
        "Let the log go on under its new key?",
        yes=yes,
        json=json,
    )

    def listed() -> str | None:
        # In a folder of its own: the node that runs writes into its cache at any moment.
        with TemporaryDirectory() as cache:
            root = settings.registry.root.read_bytes()
            registry = RegistryClient(settings.registry.source, Path(cache), root).refresh(datetime.now(UTC))
        node = registry.node(settings.node.id)
        return node.log_key if node is not None else None

    with _beside(settings, waits, json=json) as beside:
        Succession(beside, listed()).carry_out(lambda step: None if json else console.print(f"  {step}"))
    if json:
        print_json({"secret": _LOG, "prepared": False, "wrapped_anew": 0})
    else:
        console.print("[green]✓[/] the log's key is another")


@app.command("end-hold")
def end_hold(
    size: Annotated[int, typer.Option(help="How far the log had come, as `hold` in /health says.", min=0)],
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
            f"answer for it that this database is the right one: what another's log said up to entry {size}",
            "and this one's does not is lost: consents and prohibitions, withdrawals, and what was delivered",
            f"put that on record, and let the node release data again if nobody knows of more than {size} entries",
        ],
        "Go on with this database?",
        yes=yes,
        json=json,
    )
    engine = storage.create(settings.database.url)
    try:
        secret_files.verify(settings, engine, "log_key", "index_key", "wrapping_key")
        user = subjects_of(settings).user("operating system", logged_in())
        checkpoint = hold.end(settings, engine, size, user=user, now=datetime.now(UTC))
    except NodeError as error:
        fail(escape(str(error)), OUTSIDE, remedy=escape(error.remedy), json=json)
    except hold.HoldError as error:
        fail(escape(str(error)), WRONG, remedy="give the size that `hold` in /health says", json=json)
    except (SQLAlchemyError, LogError, OSError) as error:
        reason = escape(reason_of(settings, error))
        fail(f"the hold is not ended: {reason}", OUTSIDE, remedy="see `yhdyspinta audit check`", json=json)
    finally:
        engine.dispose()
    if json:
        print_json({"answered_for": size, "size": checkpoint.size})
    else:
        console.print(f"[green]✓[/] answered for up to entry {size}; the log goes on at entry {checkpoint.size}")
        console.print("Whoever knows of a later one that the database lacks holds the node still: `hold` of /health.")
