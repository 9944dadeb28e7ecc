"""`yhdyspinta audit`: is the log what it was, and is what was exported from it true?

`check` reads the whole database, `verify` only a file. Neither needs a running node, neither changes anything.
Exit codes: 0 all holds; 1 something does not, and it is named; 2 the input is wrong; 3 the database cannot be read.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from rich.markup import escape
from sqlalchemy import Engine, func, select
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from audit.log.tables import cosignatures
from audit.questions.check import Report
from audit.questions.check import check as check_log
from audit.questions.checks import Others
from audit.tree.checkpoint import NoteError, VerifierKey, parse_checkpoint
from audit.tree.verify import ExportError, ExportReport, verify_export
from audit.tree.witness import held_notes
from gateway.keys import log_keys
from gateway.keys.errors import TrustError
from gateway.registry.read.distribution import RegistryClient
from gateway.registry.read.entries import log_origin
from gateway.settings import Settings
from gateway.storage import engine as storage
from gateway.terminal.configuration import CONFIG, Config, Json, settings_of
from gateway.terminal.output import NO, OUTSIDE, WRONG, console, fail, print_json, progress, table

app = typer.Typer(help="Read, prove, check and archive the audit log.", no_args_is_help=True)
MEMBER: ContextVar[str | None] = ContextVar("member", default=None)
"""For which member of the node is asked."""


@app.callback()
def _audit(
    context: typer.Context,
    member: Annotated[
        str | None, typer.Option(metavar="MEMBER", help="Of a node that speaks for several members, for which you ask.")
    ] = None,
) -> None:
    # It is this command's alone: no other one in the same process asks for that member.
    asked = MEMBER.set(member)
    context.call_on_close(lambda: MEMBER.reset(asked))


LogKey = Annotated[
    str | None,
    typer.Option("--log-key", metavar="KEY", help="The log's verifier key, NAME+ID+KEY, or a file that holds it."),
]
Witnesses = Annotated[
    list[str] | None,
    typer.Option("--witness", metavar="KEY", help="Verifier key of a witness, or a file of it. Can be repeated."),
]


@app.command()
def check(
    config: Config = CONFIG,
    seen: Annotated[
        list[Path] | None,
        typer.Option("--seen", metavar="FILE", help="Checkpoints of this log that others hold. Can be repeated."),
    ] = None,
    newest: Annotated[
        int | None,
        typer.Option("--newest", min=1, metavar="COUNT", help="Only so many of the newest entries; all without it."),
    ] = None,
    log_key: LogKey = None,
    witness: Witnesses = None,
    json: Json = False,
) -> None:
    """Has the log ever been altered? Names the first affected entry of whatever was done to it."""
    settings = settings_of(config, json=json)
    key = _log_key(settings, log_key, json=json)
    notes = [note for path in seen or [] for note in notes_in(path, json=json)]
    engine = open_database(settings, json=json)
    try:
        witnesses = [*_keys(witness, json=json), *_listed_witnesses(settings, engine)]
        with progress("checking the log", quiet=json) as step:
            report = check_log(engine, log_key=key, others=Others(witnesses, notes), newest=newest, progress=step)
    except SQLAlchemyError as error:
        fail(
            f"the database cannot be read ({type(error.__cause__ or error).__name__})",
            OUTSIDE,
            remedy=f"is {make_url(settings.database.url).render_as_string()} the database of this node?",
            json=json,
        )
    finally:
        engine.dispose()
    _tell_check(report, json=json)
    raise SystemExit(0 if report.sound else NO)


def _tell_check(report: Report, *, json: bool) -> None:
    if json:
        print_json(report.to_dict())
        return
    if report.sound:
        which = f"{report.size} records" if report.checked >= report.size else f"the newest {report.checked} records"
        console.print(
            f"[green]✓[/] {escape(report.origin)}: {which}, none altered; {report.anchors} signed statements agree"
        )
        return
    rows = [
        [
            finding.kind,
            str(finding.index + 1)
            if finding.through == finding.index
            else f"{finding.index + 1}–{finding.through + 1}",
            finding.entry or "",
            escape(finding.explanation),
        ]
        for finding in report.findings
    ]
    console.print(table(f"✗ {report.origin} was altered", ("what", "records", "id", "what is seen"), rows))
    if report.first is not None:
        console.print(f"The first affected record is [bold]{report.first.index + 1}[/] ({report.first.kind}).")


@app.command()
def verify(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `audit prove` or `audit export` has written.")],
    log_key: LogKey = None,
    witness: Witnesses = None,
    json: Json = False,
) -> None:
    """Check proofs, checkpoint and cosignatures of an exported file. Needs no node, no database and no network."""
    try:
        report = verify_export(
            file.read_bytes(),
            log_key=None if log_key is None else _key(log_key, json=json),
            witnesses=_keys(witness, json=json) if witness else None,
        )
    except OSError as error:
        fail(f"{file}: {error.strerror}", WRONG, json=json)
    except ExportError as error:
        fail(f"{file}: {error}", WRONG, remedy="give the file that `audit prove --output` has written", json=json)
    _tell_export(report, json=json)
    raise SystemExit(0 if report.sound else NO)


def _tell_export(report: ExportReport, *, json: bool) -> None:
    checkpoint = report.checkpoint
    if json:
        print_json(
            {
                "sound": report.sound,
                "trusted": report.trusted,
                "checkpoint": None if checkpoint is None else _checkpoint(checkpoint),
                "entries": [{"index": index, "entry": entry.to_dict()} for index, entry in report.entries],
                "cosignatures": [
                    {"witness": cosignature.witness, "timestamp": cosignature.timestamp}
                    for cosignature in report.cosignatures
                ],
                "earlier": [_checkpoint(checkpoint) for checkpoint in report.earlier],
                "problems": [{"index": found.index, "explanation": found.explanation} for found in report.problems],
            }
        )
        return
    for problem in report.problems:
        console.print(f"[bold red]✗[/] {escape(problem.explanation)}")
    if checkpoint is None:
        return
    mark = "[green]✓[/]" if report.sound else "[bold red]✗[/]"
    console.print(
        f"{mark} {len(report.entries)} records stand in {escape(checkpoint.origin)} of {checkpoint.size} records, "
        f"sealed by {len(report.cosignatures)} witnesses"
    )
    if not report.trusted:
        console.print(
            "  The key of the log was taken from the file itself. To know whose log it is, give --log-key with the "
            "key that the registry lists."
        )


def _checkpoint(checkpoint: Any) -> dict[str, Any]:
    return {
        "origin": checkpoint.origin,
        "size": checkpoint.size,
        "root": base64.b64encode(checkpoint.root).decode(),
    }


@app.command()
def held(
    config: Config = CONFIG,
    origin: Annotated[str | None, typer.Option(help="Only checkpoints of this log.")] = None,
    json: Json = False,
) -> None:
    """Print the checkpoints of other logs that this node holds, for their owners' `audit check --seen`."""
    settings = settings_of(config, json=json)
    engine = open_database(settings, json=json)
    try:
        with engine.connect() as connection:
            notes = held_notes(connection, origin)
    except SQLAlchemyError as error:
        fail(f"the database cannot be read ({type(error.__cause__ or error).__name__})", OUTSIDE, json=json)
    finally:
        engine.dispose()
    if json:
        print_json([{"origin": parse_checkpoint(note).origin, "note": note} for note in notes])
    else:
        for note in notes:
            typer.echo(note)


# -- what commands are given -----------------------------------------------------------------------------------------


def open_database(settings: Settings, *, json: bool) -> Engine:
    """The node's database, which must be there already."""
    url = make_url(settings.database.url)
    if url.get_backend_name() == "sqlite" and not Path(url.database or "").is_file():
        fail(
            f"{url.database}: there is no such database",
            OUTSIDE,
            remedy="start the node once, or mend database.url in the settings",
            json=json,
        )
    return storage.create(settings.database.url, pool_size=2)


def _log_key(settings: Settings, given: str | None, *, json: bool) -> VerifierKey:
    if given is not None:
        return _key(given, json=json)
    path = settings.secrets.log_key
    try:
        return log_keys.signer(path, log_origin(settings.node.id)).verifier
    except (OSError, ValueError) as error:
        fail(
            f"{path}: the log's key cannot be read ({type(error).__name__})",
            WRONG,
            remedy="give the log's verifier key by --log-key; the registry lists it with the node",
            json=json,
        )


def _key(text: str, *, json: bool) -> VerifierKey:
    try:
        path = Path(text)
        return VerifierKey.parse(path.read_text("utf-8") if "+" not in text and path.is_file() else text)
    except (NoteError, OSError, UnicodeDecodeError) as error:
        fail(f"{text[:60]}: {error}", WRONG, remedy="a verifier key reads NAME+ID+KEY", json=json)


def _keys(texts: list[str] | None, *, json: bool) -> list[VerifierKey]:
    return [_key(text, json=json) for text in texts or []]


def _listed_witnesses(settings: Settings, engine: Engine) -> list[VerifierKey]:
    """The witnesses that the registry lists, if there is anything of theirs to check and the registry can be had."""
    with engine.connect() as connection:
        if not connection.scalar(select(func.count()).select_from(cosignatures)):
            return []
    try:
        client = RegistryClient(settings.registry.source, settings.registry.cache, settings.registry.root.read_bytes())
        return list(client.refresh(datetime.now(UTC)).witness_keys)
    except (TrustError, OSError):
        return []


def notes_in(path: Path, *, json: bool) -> Iterator[str]:
    """The signed notes in a file: one after the other, or a JSON list of them."""
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        fail(f"{path}: {error}", WRONG, json=json)
    try:
        if text.lstrip().startswith("["):
            yield from [load["note"] if isinstance(load, dict) else str(load) for load in orjson.loads(text)]
            return
    except (ValueError, KeyError) as error:
        fail(f"{path}: not a list of checkpoints: {error}", WRONG, json=json)
    lines: list[str] = []
    for line in text.splitlines():
        if lines and lines[-1].startswith("— ") and not line.startswith("— "):
            yield "\n".join(lines) + "\n"
            lines = []
        if line or lines:
            lines.append(line)
    if lines:
        yield "\n".join(lines) + "\n"
