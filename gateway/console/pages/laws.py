"""Pages of the console about the law: the rulebook, cases over time, and what another rulebook would change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from functools import partial
from typing import Any, Final

from consent.checking.explaining import condition, explain
from consent.deciding.examples import decide_case
from consent.deciding.verdicts import Decision, legal_day
from consent.rules.document import RulebookError
from consent.rules.law import Case, Rulebook
from gateway.console.office import Answer, Ask, Page, Shown, Visit
from gateway.console.pages.searching import period_of
from gateway.desk.proposals import LONGEST, MOST, ComparingError, Foresight, NothingStandsError
from gateway.desk.questions.rulebooks import Change, ChangeShown
from gateway.desk.roles import EVERYONE
from gateway.wire.problems import ProblemError

FIRST: Final = date(2022, 1, 1)
LAST: Final = date(2027, 12, 31)
SPAN: Final = (LAST - FIRST).days
SHOWN: Final = ChangeShown.shown
FAULTS: Final = 10
PROPOSAL_FORM: Final = 1536 * 1024  # as browsers write forms, a letter takes up to three times its bytes


def book_of(visit: Visit) -> Rulebook | None:
    """The rulebook that the node has."""
    standing = visit.office.desk.context.standing()
    return None if standing is None else standing.rulebook


def rulebook(visit: Visit) -> Answer:
    """The rulebook in force: each basis with its act, its time and conditions, and whether a lawyer signed it off."""
    book = book_of(visit)
    values = {
        "book": book,
        "today": legal_day(visit.now),
        "condition": partial(_condition, visit.language),
        "unreviewed": sum(not basis.reviewed for basis in book.bases) if book is not None else 0,
    }
    return Shown("rulebook.html", values, {"rulebook": book.digest if book is not None else ""})


def _condition(language: str, name: str) -> str:
    return condition(name, language)


# -- cases over time ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one party may have for one purpose on a day, and what the law changed for it since the change before."""

    party: str
    role: str
    purpose: str
    decision: Decision
    text: str
    gained: tuple[str, ...]
    lost: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Stretch:
    """A stretch of days under one law: its share of the whole time (per mille) and how many categories may move.

    `height` draws the count, of 40 in all.
    """

    start: int
    length: int
    count: int
    height: int


def changes(book: Rulebook) -> list[date]:
    """Days on which a basis or prohibition of the rulebook begins, or has just ended, within FIRST and LAST."""
    spans = [(basis.starts, basis.ends) for basis in book.bases] + [
        (prohibition.starts, prohibition.ends) for prohibition in book.prohibitions
    ]
    begun = {starts for starts, _ in spans if starts is not None}
    over = {ends + timedelta(days=1) for _, ends in spans if ends is not None}
    return sorted(day for day in begun | over if FIRST < day <= LAST)


def asked(book: Rulebook, provider: str, requester: str) -> list[str]:
    """Purposes for which some basis, at any time, may let one party give the other something that is about a person.

    Bases without any condition (directories, notices) hold for everybody and tell the cases apart in nothing.
    """
    roles = book.parties[provider]["role"], book.parties[requester]["role"]
    return [
        purpose
        for purpose in book.purposes
        if any(basis.permits or basis.conditions for basis in book.bases_for(roles[0], roles[1], purpose))
    ]


def cases(visit: Visit) -> Answer:
    """One person of the rulebook's examples: who may have what on a day, and how the law changes over the years."""
    book = book_of(visit)
    if book is None or not book.cases:
        return Shown("rulebook-cases.html", {"book": None})
    case = book.cases.get(visit.query.get("case", "")) or next(iter(book.cases.values()))
    provider = visit.query.get("provider", "")
    givers = [name for name in book.parties if any(asked(book, name, other) for other in book.parties if other != name)]
    if provider not in givers:
        provider = givers[0]
    day = _day(visit)
    turns = changes(book)
    before = max((turn for turn in turns if turn <= day), default=FIRST) - timedelta(days=1)
    look = Look(book, case, provider, day, before, visit.language)
    verdicts = [
        _verdict(look, party, purpose)
        for party in book.parties
        if party != provider
        for purpose in asked(book, provider, party)
    ]
    values = {
        "book": book,
        "case": case,
        "provider": provider,
        "givers": givers,
        "day": day,
        "offset": (day - FIRST).days,
        "first": FIRST,
        "span": SPAN,
        "turns": turns,
        "turn": before + timedelta(days=1),
        "permitted": [verdict for verdict in verdicts if verdict.decision.permitted],
        "denied": [verdict for verdict in verdicts if not verdict.decision.permitted],
        "strips": _strips(book, case, provider, turns),
        "years": range(FIRST.year, LAST.year + 1),
    }
    return Shown("rulebook-cases.html", values, {"case": case.id, "on": day.isoformat()})


def _day(visit: Visit) -> date:
    text = visit.query.get("day", "")
    if text.isascii() and text.isdigit() and len(text) < 6:
        return FIRST + timedelta(days=min(int(text), SPAN))
    try:
        return min(max(date.fromisoformat(visit.query.get("on", "")), FIRST), LAST)
    except ValueError:
        return min(max(legal_day(visit.now), FIRST), LAST)


@dataclass(frozen=True, slots=True)
class Look:
    """One case at one day, and at the last day before the law last changed; `provider` is who would give."""

    book: Rulebook
    case: Case
    provider: str
    day: date
    before: date
    language: str

    def decided(self, party: str, purpose: str, day: date) -> Decision:
        """What a party may have for a purpose on a day."""
        return decide_case(self.book, self.case, provider=self.provider, requester=party, purpose=purpose, on=day)


def _verdict(look: Look, party: str, purpose: str) -> Verdict:
    decision = look.decided(party, purpose, look.day)
    former = look.decided(party, purpose, max(look.before, FIRST))
    return Verdict(
        party,
        decision.requester,
        purpose,
        decision,
        explain(decision, look.book, look.language),
        tuple(sorted(decision.permitted_categories - former.permitted_categories)),
        tuple(sorted(former.permitted_categories - decision.permitted_categories)),
    )


def _strips(book: Rulebook, case: Case, provider: str, turns: list[date]) -> list[tuple[str, list[Stretch]]]:
    """For each party the number of categories that may reach it, under each stretch of unchanged law."""
    starts = [FIRST, *turns]
    ends = [*turns, LAST + timedelta(days=1)]
    strips = []
    for party in book.parties:
        if party == provider or not asked(book, provider, party):
            continue
        stretches = []
        for start, end in zip(starts, ends, strict=True):
            allowed: set[str] = set()
            for purpose in asked(book, provider, party):
                decision = decide_case(book, case, provider=provider, requester=party, purpose=purpose, on=start)
                allowed |= decision.permitted_categories
            place = round((start - FIRST).days * 1_000 / (SPAN + 1))
            length = round((end - FIRST).days * 1_000 / (SPAN + 1)) - place
            height = round(len(allowed) * 36 / len(book.categories)) if allowed else 0
            stretches.append(Stretch(place, length, len(allowed), height + 4))
        if any(stretch.count for stretch in stretches):
            strips.append((party, stretches))
    return strips


# -- another rulebook --------------------------------------------------------------------------------------------------


def change(visit: Visit) -> Answer:
    """What a new rulebook would change: the recorded decisions of a period, decided by it and by the one in force."""
    values: dict[str, Any] = {
        "book": book_of(visit),
        "form": {name: visit.form.get(name, "") for name in ("from", "to")},
        "wrong": {},
        "faults": (),
        "told": None,
        "most": MOST,
        "longest": LONGEST,
    }
    if visit.method == "GET" or values["book"] is None:
        return Shown("rulebook-change.html", values)
    wrong: dict[str, str] = {}
    window = period_of(values["form"], wrong)

    def refused(error: Exception) -> Answer:
        if isinstance(error, NothingStandsError):
            return Shown("rulebook-change.html", {**values, "book": None})
        faults: dict[str, Any] = {}
        if isinstance(error, RulebookError):
            wrong["rulebook"] = "change.no-rulebook"
            faults = {"faults": error.faults[:FAULTS], "more_faults": max(len(error.faults) - FAULTS, 0)}
        elif isinstance(error, ComparingError):
            wrong["rulebook"] = "change.another"
        elif isinstance(error, ProblemError) and error.pointer == "/to":
            wrong["to"] = "change.wrong-period"
        else:
            wrong["rulebook"] = "change.no-rulebook"
        return Shown("rulebook-change.html", {**values, **faults, "wrong": wrong}, {"act": "compare"}, 400)

    if wrong:
        return Shown("rulebook-change.html", {**values, "wrong": wrong}, {"act": "compare"}, 400)
    # Browsers end the lines of a form with CRLF, whatever the file had.
    text = visit.form.get("rulebook", "").replace("\r\n", "\n")
    try:
        asked = ChangeShown.of(rulebook=text, **window)
    except ProblemError as error:
        return refused(error)

    def shown(told: Change) -> Answer:
        return Shown("rulebook-change.html", {**values, **_foreseen(told, visit)})

    return Ask(asked, shown, (RulebookError, ComparingError, NothingStandsError), refused)


_SAID: Final = {
    "is new": "change.prohibition-new",
    "no longer stands": "change.prohibition-gone",
    "says something else": "change.prohibition-changed",
}


def _foreseen(change: Change, visit: Visit) -> dict[str, Any]:
    """What the page shows of a comparison, in words of the rulebook that has them."""
    told: Foresight = change.foresight

    def category(code: str) -> str:
        known = told.new.categories.get(code) or told.old.categories.get(code)
        return code if known is None else known.title[visit.language]

    def purpose(code: str) -> str:
        words = told.new.purposes.get(code) or told.old.purposes.get(code)
        return code if words is None else words[visit.language]

    def counted(codes: Mapping[str, int]) -> list[tuple[str, int]]:
        return sorted(((category(code), count) for code, count in codes.items()), key=lambda pair: (-pair[1], pair[0]))

    def role(code: str) -> str:
        words = told.new.roles.get(code) or told.old.roles.get(code)
        return code if words is None else words[visit.language]

    def prohibition(code: str) -> str:
        known = next((stop for stop in (*told.new.prohibitions, *told.old.prohibitions) if stop.id == code), None)
        return code if known is None else known.title[visit.language]

    apart = told.differences
    return {
        "told": told,
        "turns": [
            (purpose(code), turn.exchanges, counted(turn.gained), counted(turn.lost))
            for code, turn in told.swing.turns.items()
        ],
        "found": change.found,
        "shown": SHOWN,
        "texts": [
            {
                "change": difference.change,
                "provider": role(difference.provider),
                "requester": role(difference.requester),
                "purpose": purpose(difference.purpose),
                "category": category(difference.category),
                "first": None if difference.interval.first == date.min else difference.interval.first,
                "last": None if difference.interval.last == date.max else difference.interval.last,
            }
            for difference in (apart.changes[:SHOWN] if apart is not None else ())
        ],
        "prohibitions": [(prohibition(code), _SAID[said]) for code, said in (apart.prohibitions if apart else ())],
    }


PAGES: Final = (
    Page("/rulebook", "rulebook", rulebook, EVERYONE, group="network", rank=30),
    Page("/rulebook/cases", "rulebook-cases", cases, EVERYONE, group="network", rank=40),
    Page(
        "/rulebook/change",
        "rulebook-change",
        change,
        ChangeShown.roles,
        methods=("GET", "POST"),
        group="network",
        rank=50,
        form_bytes=PROPOSAL_FORM,
    ),
)
