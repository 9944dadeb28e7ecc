"""`yhdyspinta audit consents | withdrawals | days | flows`: under which consent, after which end, how often, to whom.

Like every reading at the officer's desk each is an entry of the log before anything is printed, and a person's
identifier is read from standard input.
Exit codes: 0 found, or nothing left after a withdrawal; 1 nothing found, or something left; 2 the question is wrong;
3 database or log.
"""

from __future__ import annotations

from rich.markup import escape

from audit.log.entries import timestamp
from audit.questions.query import ConsentStory, Found
from gateway.desk.cli.desk import (
    HEADINGS,
    Since,
    System,
    Until,
    Who,
    WindowEnd,
    WindowStart,
    desk,
    person_given,
    rows,
    utc,
    window,
)
from gateway.terminal.configuration import CONFIG, Config, Json
from gateway.terminal.output import NO, WRONG, console, fail, print_json, progress, table


def consents(config: Config = CONFIG, system: System = "hetu", json: Json = False) -> None:
    """Tell a person's consents and refusals, how each went, and what was disclosed under it.

    The identifier is read from standard input.
    """
    who = person_given(system, json=json)
    with desk(config, json=json) as (officer, reader):
        told = officer.consents(reader, who)
    if json:
        print_json({"consents": [item.to_dict() for item in told]})
    else:
        for item in told:
            _tell_consent(item)
        if not told:
            console.print("The log knows no consent or refusal of this person.")
    raise SystemExit(0 if told else NO)


def _tell_consent(story: ConsentStory) -> None:
    history = [
        [
            str(item.index),
            timestamp(item.entry.recorded)[:19],
            item.entry.type,
            escape(str(item.entry.detail.get("status", item.entry.detail.get("act", "")))),
            escape(item.entry.source or item.entry.agents.client or ""),
            escape(" ".join(sorted({*item.entry.categories.permitted, *item.entry.categories.withheld}))),
        ]
        for item in story.history
    ]
    columns = ("entry", "recorded (UTC)", "type", "status", "recorded by", "categories")
    console.print(table(escape(story.consent), columns, history))
    if story.disclosed:
        console.print(table("disclosed under it", HEADINGS, rows(story.disclosed)))
    else:
        console.print("Nothing was disclosed under it.")
    if story.more:
        console.print(f"There is more: audit search --where consent={escape(story.consent)}", soft_wrap=True)
    console.print()


def withdrawals(
    config: Config = CONFIG, person: Who = False, system: System = "hetu", start: Since = None, json: Json = False
) -> None:
    """Did anything leave under a consent after its withdrawal? For a person or for everyone: it must be nothing.

    --from looks at withdrawals from then on only. Exit code 0 if nothing left, 1 if something did.
    """
    who = person_given(system, json=json) if person else None
    with desk(config, json=json) as (officer, reader), progress("looking at withdrawals", quiet=json):
        left = officer.left_after_withdrawal(reader, who, start=utc(start))
    if json:
        pairs = [{"withdrawal": one.to_dict(), "release": other.to_dict()} for one, other in left]
        print_json({"holds": not left, "left": pairs})
    elif left:
        columns = ("withdrawn by entry", "at (UTC)", "left by entry", "at (UTC)", "recipient", "categories", "consent")
        console.print(table("✗ this left after a withdrawal", columns, [_late(*pair) for pair in left]))
    else:
        console.print("[green]✓[/] nothing left after a withdrawal")
    raise SystemExit(NO if left else 0)


def _late(withdrawal: Found, release: Found) -> list[str]:
    ended = {consent for consent, _ in withdrawal.entry.consents}
    return [
        str(withdrawal.index),
        timestamp(withdrawal.entry.recorded)[:19],
        str(release.index),
        timestamp(release.entry.recorded)[:19],
        escape(release.entry.agents.recipient or ""),
        escape(" ".join(release.entry.categories.permitted)),
        escape(" ".join(consent for consent, _ in release.entry.consents if consent in ended)),
    ]


def days(
    config: Config = CONFIG, system: System = "hetu", start: Since = None, end: Until = None, json: Json = False
) -> None:
    """Count how often a person's data was disclosed, by day (of Finnish time).

    The identifier is read from standard input.
    """
    first, last = utc(start), utc(end)
    if first is not None and last is not None and first >= last:
        fail("the time window ends before it begins", WRONG, remedy="give a --from that is before --to", json=json)
    who = person_given(system, json=json)
    with desk(config, json=json) as (officer, reader):
        told = officer.days(reader, who, start=first, end=last)
    if json:
        print_json({"days": [{"date": item.date.isoformat(), "count": item.count} for item in told]})
    else:
        counted = [[item.date.isoformat(), str(item.count)] for item in told]
        console.print(table("disclosures by day", ("day", "disclosures"), counted))
    raise SystemExit(0 if told else NO)


def flows(config: Config = CONFIG, start: WindowStart = None, end: WindowEnd = None, json: Json = False) -> None:
    """Count how much went from whom to whom in a window: released, refused, and sought in vain."""
    first, last = window(start, end, json=json)
    with desk(config, json=json) as (officer, reader), progress("counting", quiet=json):
        told = officer.flows(reader, first, last)
    if json:
        flowed = [item.to_dict() for item in told]
        print_json({"from": timestamp(first), "to": timestamp(last), "flows": flowed})
    else:
        title = f"from {timestamp(first)[:16]} to {timestamp(last)[:16]} (UTC)"
        lines = [
            [
                escape(item.source or "—"),
                escape(item.recipient or "—"),
                str(item.released),
                str(item.refused),
                str(item.fruitless),
            ]
            for item in told
        ]
        console.print(table(title, ("source", "recipient", "released", "refused", "fruitless"), lines))
    raise SystemExit(0 if told else NO)


COMMANDS = (consents, withdrawals, days, flows)
