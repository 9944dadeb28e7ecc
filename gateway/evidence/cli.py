"""`yhdyspinta evidence`: write the proof of an exchange into a file, and verify such a file offline."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from gateway.keys.errors import TrustError
from gateway.terminal.configuration import CONFIG, Config, Json
from gateway.terminal.output import NO, OUTSIDE, WRONG, console, fail, print_json, table

if TYPE_CHECKING:
    from gateway.evidence.verifying import Report
    from gateway.settings import Settings

app = typer.Typer(help="Prove an exchange to others, and check such proof.", no_args_is_help=True)


@app.command("export")
def export_(
    message_id: Annotated[str, typer.Argument(help="The message's id, as the audit log names it.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Where to write.", metavar="FILE")] = None,
    config: Config = CONFIG,
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
    from sqlalchemy.exc import SQLAlchemyError

    from audit.log.log import LogError
    from gateway.evidence.exporting import Opened, Wanted, export
    from gateway.node import secret_files
    from gateway.node.wiring import NodeError, database_error
    from gateway.storage import engine as storage

    settings = _settings(config, json)
    target = output if output is not None else Path(f"evidence-{message_id}.zip")
    if target.exists():
        fail(f"{target} is there already", WRONG, remedy="choose another name with --output", json=json)
    try:
        opened = Opened.of(settings)
        engine = storage.create(settings.database.url)
        secret_files.verify(settings, engine, "log_key", "wrapping_key", "index_key")
        wanted = Wanted(message_id, direction, tuple(archive or ()), bodies)
        evidence = export(settings, engine, opened, wanted, target)
        engine.dispose()
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
    from gateway.evidence import package
    from gateway.evidence.verifying import verify

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


def _settings(config: Path, json: bool) -> Settings:
    from gateway.settings import load
    from gateway.settings.problems import SettingsError

    try:
        return load(config)
    except SettingsError as error:
        fail("; ".join(error.lines()), WRONG, json=json)
