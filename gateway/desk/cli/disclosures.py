"""`yhdyspinta audit consents | withdrawals | days | flows`: under which consent, after which end, how often, to whom.

Like every reading at the officer's desk each is an entry of the log before anything is printed, and a person's
identifier is read from standard input.
Exit codes: 0 found, or nothing left after a withdrawal; 1 nothing found, or something left; 2 the question is wrong;
3 database or log.
"""

from __future__ import annotations

from typing import Final

from rich.markup import escape

from audit.log.entries import timestamp
from audit.questions.query import Found
from audit.questions.said import State, Terms, about, saying, step
from audit.questions.withdrawals import ConsentStory
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
from gateway.desk.questions.counting import Flows
from gateway.desk.questions.persons import AfterWithdrawal, ConsentsOf, DaysOf
from gateway.terminal.configuration import CONFIG, Config, Json
from gateway.terminal.output import NO, console, print_json, progress, table


def consents(config: Config = CONFIG, system: System = "hetu", json: Json = False) -> None:
    """Tell a person's permissions, consents and prohibitions, how each went, and what was disclosed under it.

    The identifier is read from standard input.
    """
    who = person_given(system, json=json)
    with desk(config, json=json) as (officer, asker):
        told = officer.ask(ConsentsOf.of(person=who), asker)
    if json:
        print_json(told.to_dict())
    else:
        for story in told.stories:
            _tell_consent(story)
        if not told.stories:
            console.print("The log knows no permission, consent or prohibition of this person.")
    raise SystemExit(0 if told.stories else NO)


def _tell_consent(story: ConsentStory) -> None:
    history = [
        [
            str(item.record),
            timestamp(item.entry.recorded)[:19],
            saying(item.entry) or item.entry.type,
            step(item.entry),
            escape(item.entry.giver or item.entry.agents.client or ""),
            escape(" ".join(sorted(about(item.entry))) or "all"),
        ]
        for item in story.history
    ]
    columns = ("record", "recorded (UTC)", "word", "what became of it", "recorded by", "what it is about")
    console.print(table(escape(story.consent), columns, history))
    if story.terms is not None:
        console.print(escape(terms_line(story.terms)), soft_wrap=True)
    if story.disclosed:
        carried = [
            [*row[:5], escape(" ".join(story.carried(item))), row[6]]
            for item, row in zip(story.disclosed, rows(story.disclosed), strict=True)
        ]
        console.print(table("disclosed under it", HEADINGS, carried))
    else:
        console.print("Nothing was disclosed under it.")
    if story.more:
        console.print(f"There is more: audit search --where consent={escape(story.consent)}", soft_wrap=True)
    console.print()


_ENDED: Final = {State.WITHDRAWN: "taken back by", State.IN_ERROR: "said to be an error by"}


def terms_line(terms: Terms) -> str:
    """Who said it, of which data and for whom, and how it stands."""
    parts = [
        f"said by: {terms.speaker}",
        f"state: {terms.state}" if terms.state else "",
        f"about: {' '.join(terms.categories) or 'all'}",
        f"aimed at: {terms.aim.kind} {terms.aim.code}".rstrip() if terms.aim is not None else "",
        f"for: {' '.join(terms.recipients) or 'all'}",
        f"purposes: {' '.join(terms.purposes)}" if terms.purposes else "",
        f"from: {terms.starts}" if terms.starts else "",
        f"until: {terms.ends}" if terms.ends else "",
        f"{_ENDED[terms.state]}: {terms.ended_by or 'not recorded'}" if terms.state in _ENDED else "",
    ]
    return "; ".join(part for part in parts if part)


def withdrawals(
    config: Config = CONFIG, person: Who = False, system: System = "hetu", start: Since = None, json: Json = False
) -> None:
    """Did anything leave under a consent after its withdrawal? For a person or for everyone: it must be nothing.

    --from looks at withdrawals from then on only. Exit code 0 if nothing left, 1 if something did.
    """
    who = person_given(system, json=json) if person else None
    with desk(config, json=json) as (officer, asker), progress("looking at withdrawals", quiet=json):
        told = officer.ask(AfterWithdrawal.of(person=who, start=utc(start)), asker)
    left = told.left
    if json:
        print_json(told.to_dict())
    elif left:
        columns = (
            "withdrawn by record",
            "at (UTC)",
            "left by record",
            "at (UTC)",
            "recipient",
            "categories",
            "consent",
        )
        console.print(table("✗ this left after a withdrawal", columns, [_late(*pair) for pair in left]))
    else:
        console.print("[green]✓[/] nothing left after a withdrawal")
    raise SystemExit(NO if left else 0)


def _late(withdrawal: Found, release: Found) -> list[str]:
    ended = {consent for consent, _ in withdrawal.entry.consents}
    return [
        str(withdrawal.record),
        timestamp(withdrawal.entry.recorded)[:19],
        str(release.record),
        timestamp(release.entry.recorded)[:19],
        escape(release.entry.taker or ""),
        escape(" ".join(release.entry.categories.permitted)),
        escape(" ".join(consent for consent, _ in release.entry.consents if consent in ended)),
    ]


def days(
    config: Config = CONFIG, system: System = "hetu", start: Since = None, end: Until = None, json: Json = False
) -> None:
    """Count how often a person's data was disclosed, by day (of Finnish time).

    The identifier is read from standard input.
    """
    who = person_given(system, json=json)
    with desk(config, json=json) as (officer, asker):
        told = officer.ask(DaysOf.of(person=who, start=utc(start), end=utc(end)), asker)
    if json:
        print_json(told.to_dict())
    else:
        counted = [[day.date.isoformat(), str(day.count)] for day in told.days]
        console.print(table("disclosures by day", ("day", "disclosures"), counted))
    raise SystemExit(0 if told.days else NO)


def flows(config: Config = CONFIG, start: WindowStart = None, end: WindowEnd = None, json: Json = False) -> None:
    """Count how much went from whom to whom in a window: disclosed, refused, and without result."""
    first, last = window(start, end)
    with desk(config, json=json) as (officer, asker), progress("counting", quiet=json):
        told = officer.ask(Flows.of(start=first, end=last), asker)
    if json:
        print_json({"from": timestamp(first), "to": timestamp(last), **told.to_dict()})
    else:
        title = f"from {timestamp(first)[:16]} to {timestamp(last)[:16]} (UTC)"
        lines = [
            [
                escape(count.source or "—"),
                escape(count.recipient or "—"),
                str(count.released),
                str(count.refused),
                str(count.fruitless),
            ]
            for count in told.counts
        ]
        console.print(table(title, ("source", "recipient", "disclosed", "refused", "without result"), lines))
    raise SystemExit(0 if told.counts else NO)


COMMANDS = (consents, withdrawals, days, flows)
