"""`yhdyspinta rulebook`: read a rulebook as a whole, compare two, explain a case, make recorded decisions again.

`check` and `diff` need no node. `replay`, `diff --config` and `explain --entry` open the decisions that a node keeps.
These are readings at the officer's desk, each an entry of the log before it prints anything; they change nothing else.
Exit codes: 0 all is well; 1 the rulebook has faults, or a decision came out otherwise; 2 the input is wrong, or the
node's secrets are not here; 3 database or log.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.markup import escape

from consent.checking.analysis import Check
from consent.checking.analysis import check as check_rulebook
from consent.checking.coverage import cover
from consent.checking.difference import differences
from consent.checking.explaining import explain as explain_decision
from consent.checking.invariants import Proof, prove
from consent.checking.report import Report, of_check, of_coverage, of_differences
from consent.checking.stating import Invariant, load_invariants, reference_invariants
from consent.deciding.replaying import again
from consent.deciding.verdicts import Decision, legal_day
from consent.rulebook import load, reference_rulebook
from consent.rules.document import RulebookError
from consent.rules.law import Rulebook
from consent.rules.request import Way
from gateway.cli.supposing import Supposition, SuppositionError, supposed_decision
from gateway.desk.cli.desk import desk, entry_named
from gateway.desk.questions.rulebooks import Again, Explain, Swings
from gateway.exchange.rejudging import Swing
from gateway.terminal.configuration import CONFIG, Config, Json
from gateway.terminal.output import (
    NO,
    OUTSIDE,
    WRONG,
    console,
    errors,
    fail,
    print_json,
    progress,
    table,
)
from texts import LANGUAGES

app = typer.Typer(help="Check, compare and explain rulebooks; make recorded decisions again.", no_args_is_help=True)
REFERENCE = "the reference rulebook"
_WHICH = f"A rulebook; without one, {REFERENCE}."
File = Annotated[Path | None, typer.Argument(help=_WHICH, metavar="[FILE]")]
Html = Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Also write the report as an HTML page.")]
Since = Annotated[
    datetime | None,
    typer.Option("--since", formats=["%Y-%m-%d"], metavar="DATE", help="Only decisions from this day on."),
]
OptionalConfig = Annotated[
    Path | None, typer.Option("--config", "-c", metavar="FILE", help="A node's settings: count its recorded exchanges.")
]


@app.command()
def check(
    file: File = None,
    invariants: Annotated[
        Path | None,
        typer.Option("--invariants", metavar="FILE", help="What must hold of it; the reference's own without a file."),
    ] = None,
    cases: Annotated[
        Path | None, typer.Option("--cases", metavar="FOLDER", help="Write what breaks an invariant there, as cases.")
    ] = None,
    html: Html = None,
    json: Json = False,
) -> None:
    """Is there a gap without a reason, a contradiction, a basis in vain, or an invariant that is broken?"""
    rulebook = _rulebook(file, json=json)
    stated = _invariants(rulebook, file, invariants, json=json)
    with progress("looking at the whole space", quiet=json) as step:
        found = check_rulebook(rulebook, step)
    proofs = prove(rulebook, stated)
    report = of_check(found, proofs)
    _write(html, report, json=json)
    _write_cases(cases, proofs, json=json)
    if json:
        print_json(_checked(found, proofs))
    else:
        _tell(report, without=("Legal bases", "What prohibitions stop"))
    raise SystemExit(0 if report.good else NO)


def _checked(found: Check, proofs: tuple[Proof, ...]) -> dict[str, Any]:
    rulebook = found.rulebook
    return {
        "rulebook": rulebook.name,
        "version": rulebook.version,
        "digest": rulebook.digest,
        "sound": found.sound and all(proof.holds for proof in proofs),
        "points": found.cells,
        "given": found.given,
        "closed": found.closed,
        "meant_gaps": [
            {"id": meant.gap.id, "reason": dict(meant.gap.reason), "points": meant.cells} for meant in found.explained
        ],
        "findings": [
            {
                "kind": finding.kind,
                "fault": finding.fault,
                "about": finding.about,
                "where": finding.where,
                "message": finding.message,
                "points": finding.cells,
            }
            for finding in found.findings
        ],
        "invariants": [
            {
                "id": proof.invariant.id,
                "says": dict(proof.invariant.says),
                "holds": proof.holds,
                "points": proof.points,
                "counterexample": proof.counterexample.supposed.to_dict() if proof.counterexample else None,
            }
            for proof in proofs
        ],
    }


def _invariants(rulebook: Rulebook, file: Path | None, invariants: Path | None, *, json: bool) -> tuple[Invariant, ...]:
    if invariants is None and file is not None:
        return ()
    try:
        data = reference_invariants() if invariants is None else invariants.read_bytes()
        return load_invariants(data, rulebook, source=str(invariants or "invariants"))
    except OSError as error:
        fail(f"{invariants}: {error.strerror}", WRONG, json=json)
    except RulebookError as error:
        _refuse(error, json=json)


def _write_cases(folder: Path | None, proofs: tuple[Proof, ...], *, json: bool) -> None:
    if folder is None:
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for proof in proofs:
            if proof.counterexample is not None:
                path = folder / f"{proof.invariant.id}.json"
                path.write_bytes(proof.counterexample.supposed.to_json())
    except OSError as error:
        fail(f"{folder}: {error.strerror}", OUTSIDE, json=json)


@app.command()
def coverage(
    act: Annotated[str, typer.Argument(help="The act's number, such as 681/2023.", metavar="ACT")],
    file: File = None,
    html: Html = None,
    language: Annotated[str, typer.Option("--language", "-l", metavar="fi|sv|en", help="The language.")] = "en",
    json: Json = False,
) -> None:
    """Which sections and moments of an act have a basis, which have none and why, which were amended since."""
    rulebook = _rulebook(file, json=json)
    if language not in LANGUAGES:
        fail(f"there is no report in {language!r}", WRONG, remedy="use fi, sv or en", json=json)
    if act not in rulebook.acts:
        remedy = "use one of: " + ", ".join(rulebook.acts) if rulebook.acts else "name a rulebook of the second form"
        fail(f"the rulebook names no act {act!r}", WRONG, remedy=remedy, json=json)
    found = cover(rulebook, act)
    report = of_coverage(found, language)
    _write(html, report, json=json)
    if json:
        print_json(found.to_dict())
    else:
        _tell(report)
    raise SystemExit(0 if report.good else NO)


@app.command()
def diff(
    old: Annotated[Path, typer.Argument(help="The rulebook that stands.", metavar="OLD")],
    new: Annotated[Path, typer.Argument(help="The rulebook that is to take its place.", metavar="NEW")],
    config: OptionalConfig = None,
    since: Since = None,
    html: Html = None,
    json: Json = False,
) -> None:
    """What becomes permitted, what becomes withheld, and how many recorded exchanges would have gone otherwise."""
    before, after = _rulebook(old, json=json), _rulebook(new, json=json)
    with progress("comparing", quiet=json) as step:
        found = differences(before, after, step)
    counted: Swing | None = None
    if config is not None:
        with (
            desk(config, json=json) as (officer, asker),
            progress("deciding the recorded exchanges by both", quiet=json) as step,
        ):
            asked = Swings.of(old=before, new=after, since=_moment(since), progress=lambda done: step(done, done))
            counted = officer.ask(asked, asker)
    report = of_differences(found, (counted.otherwise, counted.decisions) if counted is not None else None)
    _write(html, report, json=json)
    if json:
        print_json(
            {
                "old": before.digest,
                "new": after.digest,
                "points": found.cells,
                "changes": [change.to_dict() for change in found.changes],
                "prohibitions": [{"id": name, "change": said} for name, said in found.prohibitions],
                "exchanges": None
                if counted is None
                else {
                    "recorded": counted.decisions,
                    "forgotten": counted.forgotten,
                    "otherwise": counted.otherwise,
                    "by_purpose": dict(counted.by_purpose),
                    "gained": dict(counted.gained),
                    "lost": dict(counted.lost),
                    "entries": list(counted.entries),
                },
            }
        )
    else:
        _tell(report)


@app.command()
def explain(
    case: Annotated[
        str | None,
        typer.Argument(help="A case of the rulebook, as in its examples, or a file that `check --cases` wrote."),
    ] = None,
    to: Annotated[str, typer.Option("--to", metavar="PARTY", help="Who asks: a party of the rulebook.")] = "kotka",
    provider: Annotated[str, typer.Option("--from", metavar="PARTY", help="Who is asked.")] = "centre",
    purpose: Annotated[
        str | None, typer.Option("--purpose", metavar="CODE", help="Without it, what a flow brings the one who asks.")
    ] = None,
    on: Annotated[
        datetime | None, typer.Option("--on", formats=["%Y-%m-%d"], metavar="DATE", help="The day; today without it.")
    ] = None,
    category: Annotated[list[str] | None, typer.Option("--category", help="Can be repeated; all without it.")] = None,
    emergency: Annotated[bool, typer.Option("--emergency", help="Asked in an emergency.")] = False,
    handover: Annotated[bool, typer.Option("--handover", help="Sent by the holder, not asked for.")] = False,
    asked: Annotated[bool, typer.Option("--asked", help="The recipient has made its standing requests.")] = False,
    rulebook: Annotated[
        Path | None, typer.Option("--rulebook", metavar="FILE", help=f"A rulebook; without one, {REFERENCE}.")
    ] = None,
    entry: Annotated[
        str | None, typer.Option("--entry", metavar="ID", help="A log entry: explain what was decided then.")
    ] = None,
    config: Config = CONFIG,
    language: Annotated[
        str, typer.Option("--language", "-l", metavar="fi|sv|en|all", help="The language of the paragraph.")
    ] = "all",
    json: Json = False,
) -> None:
    """The paragraph that a lawyer reads, for a case of the rulebook or for an entry of the log."""
    if language not in (*LANGUAGES, "all"):
        fail(f"there are no explanations in {language!r}", WRONG, remedy="use fi, sv, en or all", json=json)
    if entry is not None:
        decision, book = _decided(config, entry, json=json)
    else:
        book = _rulebook(rulebook, json=json)
        supposition = Supposition(
            case or "",
            provider,
            to,
            purpose,
            day_of(on, datetime.now(UTC)),
            tuple(category or ()),
            emergency=emergency,
            way=Way.HANDOVER if handover else Way.QUERY,
            asked=asked,
        )
        try:
            decision = supposed_decision(book, supposition)
        except SuppositionError as error:
            fail(str(error), WRONG, remedy=error.remedy, json=json)
    languages = LANGUAGES if language == "all" else (language,)
    texts = {language: explain_decision(decision, book, language) for language in languages}
    if json:
        print_json({"decision": decision.to_dict(), "explanation": texts})
        return
    for written, text in texts.items():
        console.print(f"[bold]{written}[/] {escape(text)}\n")


@app.command()
def replay(
    config: Config = CONFIG,
    since: Since = None,
    entry: Annotated[
        str | None, typer.Option("--entry", metavar="ID", help="Only the decision of this log entry.")
    ] = None,
    json: Json = False,
) -> None:
    """Make the recorded decisions again, by the rulebook and the consents of their time, and compare byte for byte."""
    with desk(config, json=json) as (officer, asker), progress("deciding again", quiet=json) as step:
        named = entry_named(entry, json=json) if entry is not None else None
        asked = Again.of(since=_moment(since), entry=named, progress=lambda done: step(done, done))
        found = officer.ask(asked, asker)
    if json:
        print_json(
            {
                "decisions": found.decisions,
                "same": found.same,
                "different": list(found.different),
                "without_rulebook": list(found.without_rulebook),
                "forgotten": list(found.forgotten),
                "sound": found.sound,
            }
        )
    else:
        mark = "[green]✓[/]" if found.sound else "[bold red]✗[/]"
        console.print(f"{mark} {found.same} of {found.decisions} decisions came out byte for byte the same")
        rows = [
            *(["another decision came out", entry] for entry in found.different),
            *(["its rulebook is not held, or was altered", entry] for entry in found.without_rulebook),
        ]
        if rows:
            console.print(table("Decisions that could not be confirmed", ("why", "log entry"), rows))
        if found.forgotten:
            console.print(
                f"{len(found.forgotten)} belong to persons whose key was destroyed; nobody can make them again"
            )
    raise SystemExit(0 if found.sound else NO)


def _rulebook(file: Path | None, *, json: bool) -> Rulebook:
    try:
        if file is None:
            return load(reference_rulebook(), source=REFERENCE)
        return load(file.read_bytes(), source=str(file))
    except OSError as error:
        fail(f"{file}: {error.strerror}", WRONG, json=json)
    except RulebookError as error:
        _refuse(error, json=json)


def _refuse(error: RulebookError, *, json: bool) -> NoReturn:
    """Tell every fault of a file with its place, and end."""
    if json:
        faults = [
            {
                "file": error.source,
                "line": fault.line,
                "pointer": fault.pointer,
                "message": fault.message,
                "remedy": fault.remedy,
            }
            for fault in error.faults
        ]
        print_json({"faults": faults})
    else:
        for fault in error.faults:
            told = f"{error.source}:{fault.line}: {fault.pointer}: {fault.message}"
            errors.print(told + (f" ({fault.remedy})" if fault.remedy else ""), markup=False, soft_wrap=True)
    raise SystemExit(WRONG) from None


def _decided(config: Path, entry: str, *, json: bool) -> tuple[Decision, Rulebook]:
    with desk(config, json=json) as (officer, asker):
        told = officer.ask(Explain.of(entry=entry_named(entry, json=json)), asker)
    if told is None:
        fail(
            "no decision is kept for that entry",
            WRONG,
            remedy="give the id of an entry that names a decision",
            json=json,
        )
    kept, text = told
    if kept.recorded is None or kept.consents is None:
        fail("the person's key was destroyed; nobody can make this decision again", NO, json=json)
    book = load(text, source=kept.rulebook)
    return again(kept.recorded, book, kept.consents), book


def day_of(on: datetime | None, now: datetime) -> date:
    """The day that was named, else today by the Finnish calendar, by which acts are in force."""
    return on.date() if on else legal_day(now)


def _moment(day: datetime | None) -> datetime | None:
    return day.replace(tzinfo=UTC) if day is not None else None


def _write(path: Path | None, report: Report, *, json: bool) -> None:
    if path is None:
        return
    try:
        path.write_text(report.html(), encoding="utf-8")
    except OSError as error:
        fail(f"{path}: {error.strerror}", OUTSIDE, json=json)


def _tell(report: Report, without: tuple[str, ...] = ()) -> None:
    console.print(f"[bold]{escape(report.title)}[/]")
    facts: list[tuple[str, Any]] = list(report.summary)
    for name, value in facts:
        console.print(f"  {escape(name)}: {escape(str(value))}", soft_wrap=True)
    for drawn in report.tables:
        if drawn.title not in without:
            console.print(table(drawn.title, drawn.columns, [[escape(value) for value in row] for row in drawn.rows]))
    console.print(f"{'[green]✓[/]' if report.good else '[bold red]✗[/]'} {escape(report.verdict)}")
