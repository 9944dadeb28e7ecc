"""`yhdyspinta audit unusual | unreviewed | sign-off | adapters`: what deserves a look, and who has looked at it.

Like every reading at the officer's desk each is an entry of the log before anything is printed, and so is a sign-off.
The reasons of a sign-off are read from standard input, so that the shell does not remember them; they hold no personal
data.
Exit codes: 0 found, or signed off; 1 nothing found, or nothing to sign off; 2 the question is wrong; 3 database or log.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from rich.markup import escape

from audit.log.entries import timestamp
from audit.questions.reviews import EMERGENCY, MAX_REMARK, Verdict, is_disputed
from gateway.desk.cli.desk import HEADINGS, Language, WindowEnd, WindowStart, desk, entry_named, rows, window
from gateway.desk.questions.adapters import Adapters, Used
from gateway.desk.questions.reviewing import Queue, SignOff, Unreviewed, Unusual
from gateway.terminal.configuration import CONFIG, Config, Json
from gateway.terminal.output import NO, WRONG, console, fail, print_json, progress, table

Concluded = Annotated[Verdict, typer.Option("--verdict", help="What was concluded.")]


def unusual(
    config: Config = CONFIG,
    start: WindowStart = None,
    end: WindowEnd = None,
    language: Language = "en",
    queue: Annotated[
        bool,
        typer.Option("--queue", help="Let what is new wait for review: `audit unreviewed` and the console show it."),
    ] = False,
    json: Json = False,
) -> None:
    """Look for unusual patterns in a window: many look-ups, at night, refused again and again, one's own data.

    A pattern accuses nobody; each comes with what may explain it.
    """
    first, last = window(start, end)
    with desk(config, json=json) as (officer, asker), progress("looking for patterns", quiet=json):
        told = officer.ask(Unusual.of(start=first, end=last, queue=queue, language=language), asker)
    if json:
        print_json({"from": timestamp(first), "to": timestamp(last), **told.to_dict()})
    else:
        columns = ("pattern", "by", "first (UTC)", "last (UTC)", "what was seen, and what may explain it")
        lines = [
            [
                item.rule,
                escape(item.actor),
                timestamp(item.first)[:16],
                timestamp(item.last)[:16],
                escape(item.explanation(language)),
            ]
            for item in told.found
        ]
        title = f"unusual from {timestamp(first)[:16]} to {timestamp(last)[:16]} (UTC)"
        console.print(table(title, columns, lines, lines=True, widest=4))
    raise SystemExit(0 if told.found else NO)


def unreviewed(config: Config = CONFIG, json: Json = False) -> None:
    """Show what nobody has signed off: emergency accesses, and patterns put into the queue by `unusual --queue`.

    Exit code 1 if nothing waits.
    """
    with desk(config, json=json) as (officer, asker):
        told = officer.ask(Unreviewed.of(), asker)
    if json:
        print_json(told.to_dict())
    elif told.waits:
        _tell_queue(told)
    else:
        console.print("[green]✓[/] nothing waits for review")
    raise SystemExit(0 if told.waits else NO)


def _tell_queue(told: Queue) -> None:
    if told.emergencies:
        console.print(table("emergency accesses that nobody has signed off", HEADINGS, rows(told.emergencies)))
        for item in told.emergencies:
            # A peer's free text: what a terminal would act on is not printed.
            said = told.justifications.get(item.entry.id, "no justification is kept")
            plain = "".join(letter if letter.isprintable() else " " for letter in said)
            console.print(f"Record {item.record}: {escape(plain)}")
            if is_disputed(item.entry):
                console.print(f"Record {item.record}: identity disputed, the record named identifiers of two people.")
    if told.patterns:
        columns = ("entry", "rule", "opened (UTC)", "what was seen, and what may explain it")
        seen = [
            [pattern.entry, pattern.name, timestamp(pattern.opened)[:19], escape(pattern.explanation)]
            for pattern, _ in told.patterns
        ]
        console.print(table("patterns that nobody has signed off", columns, seen, lines=True, widest=3))
    console.print("Sign one off: audit sign-off ENTRY --verdict justified|explained|not-justified|escalated")
    named = [pattern.entry for pattern, _ in told.patterns] + [item.entry.id for item in told.emergencies]
    if len(set(named)) < len(named):
        console.print("Where several of one entry wait, add --rule RULE")


def sign_off(
    entry: Annotated[
        str, typer.Argument(metavar="ENTRY", help="Id of the entry that waits, or the number of the record.")
    ],
    verdict: Concluded,
    rule: Annotated[
        str | None,
        typer.Option("--rule", help=f"Which review, where several of one entry wait; {EMERGENCY}: the emergency."),
    ] = None,
    config: Config = CONFIG,
    json: Json = False,
) -> None:
    """Sign an emergency access or a pattern off. Written once, and itself an entry of the log.

    The reasons are read from standard input. Write no personal data into them.
    """
    if sys.stdin.isatty():
        remark = typer.prompt("Reasons (no personal data)", err=True)
    else:
        remark = sys.stdin.read(MAX_REMARK + 2)
    if not remark.strip():
        fail("a sign-off needs its reasons", WRONG, remedy="write them to standard input", json=json)
    named = entry_named(entry, json=json)
    with desk(config, json=json) as (officer, asker):
        done = officer.ask(SignOff.of(entry=named, verdict=verdict, remark=remark.strip(), rule=rule), asker)
    if json:
        print_json(done.to_dict())
    else:
        console.print(f"[green]✓[/] {escape(done.entry)} signed off as {done.verdict}")


def adapters(config: Config = CONFIG, json: Json = False) -> None:
    """Tell which version of each adapter is in use, since when and by whom, and which there were."""
    with desk(config, json=json) as (officer, asker):
        told = officer.ask(Adapters(), asker)
    if json:
        print_json(told.to_dict())
    else:
        columns = ("adapter", "version", "digest", "in use since (UTC)", "by")
        console.print(table("adapters", columns, [line for used in told.found for line in _turns(used)]))
    raise SystemExit(0 if told.found else NO)


def _turns(used: Used) -> list[list[str]]:
    """The turns of an adapter's versions; of one that was never changed the version that is installed."""
    if not used.turns:
        return [[used.version.name, used.version.declared, used.version.digest[:12], "its installation", ""]]
    return [
        [
            "" if number else used.version.name,
            turn.version.declared,
            turn.version.digest[:12] or "installed",
            timestamp(turn.since)[:19],
            escape(f"{turn.user or ''} {turn.client or ''}".strip()),
        ]
        for number, turn in enumerate(used.turns)
    ]


COMMANDS = (unusual, unreviewed, sign_off, adapters)
