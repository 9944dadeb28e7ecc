"""`yhdyspinta evidence`: write the proof of an exchange into a file, and verify such a file offline."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from rich.markup import escape
from sqlalchemy.exc import SQLAlchemyError

from audit.log.entries import Entry, EntryType, Outcome
from audit.log.log import Log, LogError
from audit.questions.subjects import Subjects
from audit.tree.checkpoint import LogSigner
from gateway.evidence import package
from gateway.evidence.collecting import Holdings, collect, entries_of
from gateway.evidence.presenting import present
from gateway.evidence.verifying import Report, verify
from gateway.keys.errors import TrustError
from gateway.node import secret_files
from gateway.node.wiring import NodeError, database_error
from gateway.registry.read.distribution import RegistryClient
from gateway.settings import Settings, SettingsError, load
from gateway.storage import engine as storage
from gateway.story import Story
from gateway.terminal.output import NO, OUTSIDE, WRONG, console, fail, print_json, table

app = typer.Typer(help="Prove an exchange to others, and check such proof.", no_args_is_help=True)
Config = Annotated[Path, typer.Option("--config", "-c", help="The node's settings, a TOML file.", metavar="FILE")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


@app.command("export")
def export_(
    message_id: Annotated[str, typer.Argument(help="The message's id, as the audit log names it.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Where to write.", metavar="FILE")] = None,
    config: Config = Path("node.toml"),
    bodies: Annotated[bool, typer.Option(help="Include the bodies that are still held: personal data.")] = True,
    direction: Annotated[
        str | None, typer.Option(help="`sent` or `received`, where the node was both sides.", metavar="SIDE")
    ] = None,
    archive: Annotated[
        list[Path] | None, typer.Option("--archive", help="Folder of the log's archived months.", metavar="DIR")
    ] = None,
    json: Json = False,
) -> None:
    """Write the evidence of one exchange as a ZIP file, with a README that says how to check it.

    Works beside a running node. That it was exported, and whether with bodies, is recorded in the audit log first.
    """
    settings = _settings(config, json)
    target = output if output is not None else Path(f"evidence-{message_id}.zip")
    if target.exists():
        fail(f"{target} is there already", WRONG, remedy="choose another name with --output", json=json)
    try:
        wanted = _Wanted(message_id, direction, tuple(archive or ()), bodies)
        evidence = _write(settings, wanted, target)
    except TrustError as error:
        fail(f"{error.code}: {error.detail}", NO, remedy=error.remedy, json=json)
    except NodeError as error:
        fail(str(error), OUTSIDE, remedy=error.remedy, json=json)
    except SQLAlchemyError as error:
        unusable = database_error(settings, error)
        fail(escape(str(unusable)), OUTSIDE, remedy=unusable.remedy, json=json)
    except (LogError, OSError) as error:
        fail(str(error), OUTSIDE, remedy="nothing was written", json=json)
    if json:
        print_json({"file": str(target), **evidence.manifest()})
    else:
        held = ", with the bodies" if evidence.bodies else ", without bodies"
        console.print(f"[green]✓[/] {target}: evidence of {message_id}{held}", soft_wrap=True)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """Which message is to be proved, as which side of it, from which archives, and whether with its bodies."""

    message_id: str
    direction: str | None
    archives: tuple[Path, ...]
    with_bodies: bool


def _write(settings: Settings, wanted: _Wanted, target: Path) -> package.Evidence:
    """Write the evidence, after the log has an entry of it. Raises what reading secrets, database and log raises."""
    now = datetime.now(UTC)
    log_key = Ed25519PrivateKey.from_private_bytes(_secret(settings.secrets.log_key))
    subjects = Subjects(_secret(settings.secrets.wrapping_key), _secret(settings.secrets.index_key))
    signer = LogSigner(log_key, f"yhdyspinta/{settings.node.id}")
    engine = storage.create(settings.database.url)
    client = RegistryClient(settings.registry.source, settings.registry.cache, settings.registry.root.read_bytes())
    secret_files.verify(settings, engine, "log_key", "wrapping_key", "index_key")
    holdings = Holdings(
        client.vouched,
        signer.verifier,
        subjects if wanted.with_bodies else None,
        b"".join(path.read_bytes() for path in settings.timestamps.authorities),
        wanted.archives,
    )
    with engine.connect() as connection:
        evidence = collect(connection, wanted.message_id, holdings, direction=wanted.direction)
    data = package.write(evidence, present(evidence), now)
    log = Log(engine, signer, origin=signer.name, clock=lambda: datetime.now(UTC))
    log.start()
    try:
        # What may hold personal data leaves the node only once the log says that it does.
        log.append_blocking((_record(settings, evidence, now),))
    finally:
        log.close()
    with target.open("xb") as file:
        target.chmod(0o600)
        file.write(data)
    engine.dispose()
    return evidence


@app.command("verify")
def verify_(
    file: Annotated[Path, typer.Argument(help="The evidence, a ZIP file.", metavar="FILE")],
    root: Annotated[
        Path | None,
        typer.Option("--root", help="The registry's root metadata that you trust.", metavar="FILE"),
    ] = None,
    timestamp_authority: Annotated[
        list[Path] | None,
        typer.Option("--timestamp-authority", help="Certificate of a time stamping authority.", metavar="FILE"),
    ] = None,
    json: Json = False,
) -> None:
    """Check evidence offline: needs no node, no network and no key."""
    try:
        evidence, files = package.read(file.read_bytes())
        report = verify(
            evidence,
            files,
            root=root.read_bytes() if root is not None else None,
            timestamp_authorities=[path.read_bytes() for path in timestamp_authority or ()],
        )
    except TrustError as error:
        fail(f"{error.code}: {error.detail}", WRONG, remedy=error.remedy, json=json)
    except OSError as error:
        fail(f"{error.filename}: {error.strerror}", WRONG, json=json)
    if json:
        print_json(_document(report))
    else:
        _show(report)
    if not report.sound:
        raise SystemExit(NO)


def _show(report: Report) -> None:
    rows = [
        ("[green]✓[/]" if finding.holds else "[red]✗[/]", finding.code, finding.text) for finding in report.findings
    ]
    console.print(table(f"Evidence of {report.message_id}", ("", "what", "seen"), rows))
    if not report.anchored:
        console.print(
            "[yellow]![/] The registry's root was taken from the package itself. To know that this is the network you "
            "think it is, give the root that you were handed: --root FILE",
            soft_wrap=True,
        )
    if not report.compared:
        console.print(
            "[yellow]![/] The package is of an earlier form, whose README, certificates/, check/ and log/entry-* can "
            "be compared with nothing that was signed: believe only what is shown here",
            soft_wrap=True,
        )
    console.print("[green]✓[/] everything holds" if report.sound else "[bold red]✗[/] the evidence does not hold")


def _document(report: Report) -> dict[str, Any]:
    return {
        "message_id": report.message_id,
        "sound": report.sound,
        "anchored": report.anchored,
        "compared": report.compared,
        "findings": [
            {"code": finding.code, "holds": finding.holds, "text": finding.text} for finding in report.findings
        ],
        "entries": [entry.to_dict() for entry in report.entries],
    }


def _record(settings: Settings, evidence: package.Evidence, now: datetime) -> Entry:
    about = entries_of(evidence)[-1]
    return Story(
        client="yhdyspinta evidence",
        node=settings.node.id,
        source=about.source,
        service=about.service,
        subject=about.subject,
        purpose=about.purpose,
    ).entry(
        EntryType.EXPORT,
        Outcome.SUCCESS,
        now,
        categories=about.categories,
        previous=about.id,
        detail={"kind": "evidence", "message": evidence.message_id, "bodies": len(evidence.bodies)},
    )


def _secret(path: Path) -> bytes:
    try:
        secret = base64.b64decode(path.read_bytes(), validate=False)
    except ValueError:
        secret = b""
    if len(secret) != 32:
        raise TrustError("key-unreadable", f"{path} does not hold 32 bytes in base64", "restore it from your backup")
    return secret


def _settings(config: Path, json: bool) -> Settings:
    try:
        return load(config)
    except SettingsError as error:
        fail("; ".join(error.lines()), WRONG, json=json)
