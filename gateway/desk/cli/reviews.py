"""`yhdyspinta audit unusual | unreviewed | sign-off`: what deserves a look, and who has looked at it.

Like every reading at the officer's desk each is an entry of the log before anything is printed, and so is a sign-off.
The reasons of a sign-off are read from standard input, so that the shell does not remember them; they hold no personal
data.
Exit codes: 0 found, or signed off; 1 nothing found, or nothing to sign off; 2 the question is wrong; 3 database or log.
"""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import Annotated, Literal

import typer
from rich.markup import escape

from audit.log.entries import timestamp
from audit.questions.reviews import EMERGENCY, MAX_REMARK, is_disputed
from gateway.desk.cli.desk import HEADINGS, Language, WindowEnd, WindowStart, desk, rows, window
from gateway.terminal.configuration import CONFIG, Config, Json
from gateway.terminal.output import NO, WRONG, console, fail, print_json, progress, table

Verdict = Annotated[
    Literal["justified", "explained", "not-justified", "escalated"],
    typer.Option("--verdict", help="What was concluded."),
]


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
    first, last = window(start, end, json=json)
    with desk(config, json=json) as (officer, reader), progress("looking for patterns", quiet=json):
        found = officer.unusual(reader, first, last, queue=queue)
    if json:
        patterns = [{**asdict(item), "explanation": item.explanation(language)} for item in found]
        print_json({"from": timestamp(first), "to": timestamp(last), "unusual": patterns})
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
            for item in found
        ]
        title = f"unusual from {timestamp(first)[:16]} to {timestamp(last)[:16]} (UTC)"
        console.print(table(title, columns, lines, lines=True, widest=4))
    raise SystemExit(0 if found else NO)


def unreviewed(config: Config = CONFIG, json: Json = False) -> None:
    """Show what nobody has signed off: emergency accesses, and patterns put into the queue by `unusual --queue`.

    Exit code 1 if nothing waits.
    """
    with desk(config, json=json) as (officer, reader):
        told = officer.unreviewed(reader)
    waits = bool(told.emergencies or told.patterns)
    if json:
        patterns = [asdict(pattern) for pattern in told.patterns]
        print_json({"found": [item.to_dict() for item in told.emergencies], "patterns": patterns})
    elif waits:
        if told.emergencies:
            console.print(table("emergency accesses that nobody has signed off", HEADINGS, rows(told.emergencies)))
            for item in told.emergencies:
                if is_disputed(item.entry):
                    console.print(f"Entry {item.index}: identity disputed, the record named identifiers of two people.")
        if told.patterns:
            columns = ("entry", "rule", "opened (UTC)", "what was seen, and what may explain it")
            seen = [
                [pattern.entry, pattern.name, timestamp(pattern.opened)[:19], escape(pattern.explanation)]
                for pattern in told.patterns
            ]
            console.print(table("patterns that nobody has signed off", columns, seen, lines=True, widest=3))
        console.print("Sign one off: audit sign-off ENTRY --verdict justified|explained|not-justified|escalated")
        named = [pattern.entry for pattern in told.patterns] + [item.entry.id for item in told.emergencies]
        if len(set(named)) < len(named):
            console.print("Where several of one entry wait, add --rule RULE")
    else:
        console.print("[green]✓[/] nothing waits for review")
    raise SystemExit(0 if waits else NO)


def sign_off(
    entry: Annotated[str, typer.Argument(metavar="ENTRY", help="Id of the entry that waits, or its place.")],
    verdict: Verdict,
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
    remark = remark.strip()
    if not remark:
        fail("a sign-off needs its reasons", WRONG, remedy="write them to standard input", json=json)
    if len(remark) > MAX_REMARK:
        fail(f"the reasons have at most {MAX_REMARK} characters", WRONG, remedy="shorten them", json=json)
    with desk(config, json=json) as (officer, reader):
        done = officer.sign_off(reader, entry, verdict=verdict, remark=remark, rule=rule)
    if json:
        print_json(asdict(done))
    else:
        console.print(f"[green]✓[/] {escape(done.entry)} signed off as {done.verdict}")


COMMANDS = (unusual, unreviewed, sign_off)
