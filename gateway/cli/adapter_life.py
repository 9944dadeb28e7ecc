"""`yhdyspinta adapter take`, `back` and `versions`: the life of an adapter beside a node that runs.

A version is looked through, loaded as a node's reader loads it and, if a sample is named, tried on it before anything
is written. Nodes take it up within a second or two, without being started anew.
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from adapters.sdk import AdapterError, is_installed
from gateway.cli.beside import opened_log, reason_of
from gateway.registry.cli.running import Yes
from gateway.terminal.configuration import CONFIG, Config, Json, settings_of
from gateway.terminal.output import NO, OUTSIDE, WRONG, agreed, console, errors, fail, print_json, table

if TYPE_CHECKING:
    from audit.log.log import Log
    from gateway.reading.editions import Edition
    from gateway.settings import Settings
    from gateway.story import Story

Name = Annotated[str, typer.Argument(help="The adapter's name.")]


@dataclass(frozen=True, slots=True)
class _Beside:
    """What the commands work with beside nodes that run."""

    log: Log
    story: Story


@contextmanager
def _beside(settings: Settings, command: str, *, json: bool) -> Iterator[_Beside]:
    """The node's log, as whoever may read its secrets writes it; what goes wrong ends the command."""
    from sqlalchemy.exc import SQLAlchemyError

    from audit.log.log import LogError
    from gateway.node.wiring import NodeError
    from gateway.story import Story

    try:
        # No face of the node changes what it runs.
        with opened_log(settings) as beside:
            yield _Beside(
                beside.log, Story(client=f"yhdyspinta adapter {command}", user=beside.user, node=settings.node.id)
            )
    except AdapterError as error:
        fail(escape(str(error)), NO, json=json)
    except NodeError as error:
        fail(escape(str(error)), OUTSIDE, remedy=escape(error.remedy), json=json)
    except (SQLAlchemyError, LogError, OSError) as error:
        reason = escape(reason_of(settings, error))
        fail(f"nothing was changed: {reason}", OUTSIDE, remedy="see `yhdyspinta audit check`", json=json)


def take(
    wheel: Annotated[Path, typer.Argument(help="The adapter's wheel, as `adapter package` makes it.", metavar="WHEEL")],
    sample: Annotated[
        Path | None, typer.Option("--sample", help="An export that it must map, with invented persons.", metavar="FILE")
    ] = None,
    config: Config = CONFIG,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Take a version of an adapter into use on a node that runs, on record. `back` takes it back.

    Records under way are finished by the version that began them.
    """
    from gateway.node.wiring import utc_now
    from gateway.reading import shelf

    settings = settings_of(config, json=json)
    try:
        data = wheel.read_bytes()
        content = sample.read_bytes() if sample is not None else None
    except OSError as error:
        fail(f"{error.filename}: {error.strerror}", OUTSIDE, json=json)
    edition, share = _tried(wheel.name, data, content, settings, json=json)
    version = edition.version
    agreed(
        [
            f"use {version.mark} for {version.name} on every node of this database, within seconds",
            "finish what is under way with the version that began it, and end its readers",
            "put that on record; `yhdyspinta adapter back` takes it back",
        ],
        "Take it into use?",
        yes=yes,
        json=json,
    )
    with _beside(settings, "take", json=json) as beside:
        unit = partial(shelf.take, version=version, data=data, story=beside.story, now=utc_now())
        is_new = beside.log.commit_blocking(unit).value
    if json:
        print_json({"adapter": version.name, "declared": version.declared, "digest": version.digest, "new": is_new})
    else:
        told = "is in use" if is_new else "was in use already"
        console.print(f"[green]✓[/] {escape(version.mark)} {told}{share}")


def _tried(file: str, data: bytes, content: bytes | None, settings: Settings, *, json: bool) -> tuple[Edition, str]:
    """The version, once it was loaded and tried as a node would; what is wrong with it ends the command."""
    from gateway.reading import wheels
    from gateway.reading.editions import tried
    from gateway.reading.process import LOAD_SECONDS

    limits = settings.adapters.limits()
    with tempfile.TemporaryDirectory(prefix="yhdyspinta-adapter-") as folder:
        try:
            if not wheels.is_universal(file):
                raise AdapterError(f"{file} is no wheel of plain Python (…-py3-none-any.whl)")
            package = wheels.opened(data)
            package.unpack(Path(folder))
            if not json:
                errors.print(
                    f"{escape(package.name)} is loaded, for {LOAD_SECONDS:g} seconds of processor time at most"
                )
            edition = tried(Path(folder), package.name, limits)
            return edition, _share(edition, content, settings) if content is not None else ""
        except AdapterError as error:
            fail(escape(str(error)), NO, remedy="the version in use goes on", json=json)


def _share(edition: Edition, content: bytes, settings: Settings) -> str:
    """How much of a sample it maps. Raises AdapterError if that is nothing."""
    from gateway.reading.editions import AtWork
    from gateway.reading.pool import Readers
    from gateway.reading.readers import RemoteAdapter

    limits = settings.adapters.limits()
    readers = Readers(1, limits.memory_mb, beside=edition.folder)
    try:
        at_work = AtWork(edition, readers)
        found = list(RemoteAdapter(lambda: at_work, "trial").convert(io.BytesIO(content), limits))
    finally:
        readers.close()
    mapped = sum(record.bundle is not None for record in found)
    if not mapped:
        codes = sorted({finding.code for record in found for finding in record.findings})
        raise AdapterError(f"it maps none of the {len(found)} records of the sample ({', '.join(codes)})")
    return f"; maps {mapped} of {len(found)} records of the sample"


def back(name: Name, config: Config = CONFIG, yes: Yes = False, json: Json = False) -> None:
    """Take the version before into use again, on record. Run twice, it brings the newer one again."""
    from gateway.node.wiring import utc_now
    from gateway.reading import shelf

    settings = settings_of(config, json=json)
    agreed(
        [
            f"use for {name} the version that was in use before, on every node of this database",
            "of the first one, what is installed there; nothing, and refuse what names it, if no such adapter is",
            "put that on record",
        ],
        "Take it back?",
        yes=yes,
        json=json,
    )
    with _beside(settings, "back", json=json) as beside:
        unit = partial(shelf.take_back, name=name, story=beside.story, now=utc_now())
        version = beside.log.commit_blocking(unit).value
    if json:
        print_json({"adapter": name, "declared": version.declared, "digest": version.digest or None})
    elif version.digest or is_installed(name):
        console.print(f"[green]✓[/] {escape(version.mark if version.digest else f'{name}, as installed,')} is in use")
    else:
        console.print(f"[green]✓[/] what was taken of {escape(name)} is out of use")
        console.print("No adapter of that name is installed here: what names it is refused from now on.")


def versions(name: Name, config: Config = CONFIG, json: Json = False) -> None:
    """List the versions that an adapter has been on a node, the one in use first."""
    from sqlalchemy.exc import SQLAlchemyError

    from gateway.reading import shelf
    from gateway.storage import engine as storage

    settings = settings_of(config, json=json)
    engine = storage.create(settings.database.url)
    try:
        with engine.connect() as connection:
            turns = shelf.history(connection, name)
    except SQLAlchemyError as error:
        fail(escape(reason_of(settings, error)), OUTSIDE, json=json)
    finally:
        engine.dispose()
    if json:
        print_json([_turn(use) for use in turns])
        return
    if not turns:
        fail(f"no version of {escape(name)} was taken into use here", WRONG, remedy="what is installed is in use")
    rows = [(use.declared, use.digest[:12] or "installed", f"{use.since:%Y-%m-%d %H:%M:%S}") for use in turns]
    console.print(table(name, ("version", "digest", "in use since (UTC)"), rows))


def _turn(use: Any) -> dict[str, Any]:
    return {"declared": use.declared, "digest": use.digest or None, "since": use.since.isoformat()}


COMMANDS = (take, back, versions)
