"""Pages of the console that know the node: handovers, registry, rulebook, cases over time, and what would change.

They are the audit room's kind of page: plain functions of a visit, recorded and guarded by its shell.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import partial
from importlib.resources import files
from typing import Any, Final

from sqlalchemy import Row, select

from audit.log.entries import moment
from audit.questions.query import by_id
from audit.questions.texts import read
from consent.decision import Decision, legal_day
from consent.examples import decide_case
from consent.explaining import condition, explain
from consent.rulebook import Case, Rulebook, RulebookError
from gateway.desk.console.office import EVERYONE, Annex, Answer, Page, Shown, Visit
from gateway.desk.console.pages.searching import filters_of
from gateway.desk.proposals import (
    LONGEST,
    MOST,
    ComparingError,
    Foresight,
    NothingStandsError,
    Proposals,
)
from gateway.exchange.context import Exchange
from gateway.exchange.handover.contact import kept_contact
from gateway.registry.read.standing import Standing
from gateway.storage.tables import deliveries, handovers, inbox
from gateway.wire.identifiers import ServiceId, SubsystemId

FIRST: Final = date(2022, 1, 1)
LAST: Final = date(2027, 12, 31)
SPAN: Final = (LAST - FIRST).days
BOARD: Final = 200
OPEN: Final = ("due", "delivered")
SHOWN: Final = 50
FAULTS: Final = 10
PROPOSAL_FORM: Final = 1024 * 1024  # as browsers write forms, a letter takes up to three times its bytes

Latest = Callable[[], Standing | None]


def annex(exchange: Exchange, latest: Latest, proposals: Proposals) -> Annex:
    """The node's pages for the console's shell."""
    return Annex(
        pages=(
            Page("/handovers", "handovers", partial(board, exchange, latest), EVERYONE, group="network", rank=10),
            Page("/registry", "registry", partial(registry, exchange, latest), EVERYONE, group="network", rank=20),
            Page("/rulebook", "rulebook", partial(rulebook, latest), EVERYONE, group="network", rank=30),
            Page("/rulebook/cases", "rulebook-cases", partial(cases, latest), EVERYONE, group="network", rank=40),
            Page(
                "/rulebook/change",
                "rulebook-change",
                partial(change, latest, proposals),
                methods=("GET", "POST"),
                group="network",
                rank=50,
                form_bytes=PROPOSAL_FORM,
            ),
        ),
        templates="gateway.desk.console:board_templates",
        texts=read((files("gateway.desk.console") / "boards.toml").read_text("utf-8")),
    )


# -- the handover board ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Leg:
    """One delivery of a handover, as the board shows it."""

    recipient: str
    role: str
    purpose: str
    state: str
    attempts: int
    problem: str | None
    since: datetime
    late: bool
    contact: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Journey:
    """One handover with its deliveries."""

    id: str
    flow: str
    state: str
    created: datetime
    entry: str
    legs: tuple[Leg, ...]

    @property
    def late(self) -> bool:
        """Whether a delivery of it has waited too long."""
        return any(leg.late for leg in self.legs)


def board(exchange: Exchange, latest: Latest, visit: Visit) -> Answer:
    """Handovers under way, overdue ones first; those that are over; and arrivals that nobody has accepted yet."""
    after = timedelta(seconds=exchange.delivery.overdue_seconds)
    newest = select(handovers).order_by(handovers.c.created.desc()).limit(BOARD)
    # What is open is never pushed off the board by what is new.
    unfinished = select(handovers).where(handovers.c.state == "planned").order_by(handovers.c.created).limit(BOARD)
    found = {row.id: row for row in (*visit.connection.execute(unfinished), *visit.connection.execute(newest))}
    legs: dict[str, list[Row[Any]]] = {}
    statement = select(deliveries).where(deliveries.c.handover.in_(found)).order_by(deliveries.c.id)
    for leg in visit.connection.execute(statement):
        legs.setdefault(leg.handover, []).append(leg)
    journeys = [
        Journey(
            row.id,
            _flow(latest, row.flow, visit.language),
            row.state,
            moment(row.created),
            row.entry,
            tuple(
                _leg(leg, visit.now - after, kept_contact(exchange.subjects, visit.connection, "deliveries", leg) or {})
                for leg in legs.get(row.id, ())
            ),
        )
        for row in found.values()
        if _own(visit, (leg.consumer for leg in legs.get(row.id, ())))
    ]
    arrived = visit.connection.execute(
        select(inbox)
        .where(inbox.c.kind == "handover", inbox.c.state == "received")
        .order_by(inbox.c.received)
        .limit(BOARD)
    )
    arrivals = [
        {
            "sender": row.sender,
            "flow": _flow(latest, row.flow, visit.language),
            "purpose": row.purpose,
            "received": moment(row.received),
            "entry": row.entry,
            "late": moment(row.received) < visit.now - after,
        }
        for row in arrived
        if _own(visit, (row.recipient,))
    ]
    open_ = [journey for journey in journeys if any(leg.state in OPEN for leg in journey.legs)]
    values = {
        "late": sorted((one for one in open_ if one.late), key=lambda one: one.created),
        "under_way": sorted((one for one in open_ if not one.late), key=lambda one: one.created),
        "over": sorted(
            (journey for journey in journeys if journey not in open_), key=lambda one: one.created, reverse=True
        )[:30],
        "arrivals": arrivals,
        "hours": round(after / timedelta(hours=1)),
    }
    return Shown("handovers.html", values)


def _own(visit: Visit, subsystems: Iterable[str]) -> bool:
    own = visit.session.identity.member
    return own is None or any(str(SubsystemId.parse(subsystem).member) == own for subsystem in subsystems)


def _leg(row: Row[Any], late_before: datetime, contact: Mapping[str, str]) -> Leg:
    created = moment(row.created)
    return Leg(
        recipient=str(ServiceId.parse(row.service).subsystem) if row.service else "",
        role=row.role,
        purpose=row.purpose,
        state=row.state,
        attempts=row.attempts,
        problem=row.problem,
        since=moment(row.changed),
        late=row.kind == "handover" and row.state in OPEN and created < late_before,
        contact=contact,
    )


def _flow(latest: Latest, code: str, language: str) -> str:
    standing = latest()
    flow = standing.rulebook.flows.get(code) if standing is not None else None
    return code if flow is None else f"{code} · {flow.title[language]}"


# -- registry and rulebook ---------------------------------------------------------------------------------------------


def registry(exchange: Exchange, latest: Latest, visit: Visit) -> Answer:
    """Who is who: members, their roles today, systems, services and nodes; and how fresh the registry is."""
    standing = latest()
    if standing is None:
        return Shown("registry.html", {"registry": None, "members": (), "expired": True, "municipalities": ()})
    known = standing.registry
    own = {subsystem.member for subsystem in exchange.subsystems}
    members = [
        {
            "id": str(member.id),
            "name": member.name.in_language(visit.language),
            "own": member.id in own,
            "roles": sorted(known.roles_of(member.id, visit.now)),
            "systems": [
                {
                    "id": str(one.id),
                    "name": one.name.in_language(visit.language),
                    "services": [
                        {"code": service.id.code, "title": service.title.in_language(visit.language)}
                        for service in known.services_of(one.id)
                    ],
                }
                for one in member.subsystems
            ],
            "contacts": [
                {
                    "topic": contact.topic.in_language(visit.language),
                    "name": contact.name,
                    "reach": contact.email or contact.phone or "",
                }
                for contact in member.contacts
            ],
            "nodes": [node.id for node in known.nodes_of(member.id)],
        }
        for member in known.members()
    ]
    municipalities = [
        {
            "code": municipality.code,
            "name": municipality.name.in_language(visit.language),
            "county": county.name.in_language(visit.language) if county is not None else "",
            "recipient": str(municipality.subsystem) if municipality.subsystem is not None else "",
        }
        for municipality in known.content.municipalities
        for county in (known.county(municipality.county, visit.now) if municipality.county is not None else None,)
    ]
    values = {
        "registry": known,
        "members": sorted(members, key=lambda one: (not one["own"], one["name"])),
        "expired": known.expired(visit.now),
        "municipalities": municipalities,
    }
    return Shown("registry.html", values, {"version": known.version})


def rulebook(latest: Latest, visit: Visit) -> Answer:
    """The rulebook in force: each basis with its act, its time and conditions, and whether a lawyer signed it off."""
    standing = latest()
    book = standing.rulebook if standing is not None else None
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


def cases(latest: Latest, visit: Visit) -> Answer:
    """One person of the rulebook's examples: who may have what on a day, and how the law changes over the years."""
    standing = latest()
    if standing is None or not standing.rulebook.cases:
        return Shown("rulebook-cases.html", {"book": None})
    book = standing.rulebook
    case = book.cases.get(visit.query.get("case", "")) or next(iter(book.cases.values()))
    provider = visit.query.get("provider", "")
    givers = [name for name in book.parties if any(asked(book, name, other) for other in book.parties if other != name)]
    if provider not in givers:
        provider = givers[0]
    day = _day(visit)
    turns = changes(book)
    before = max((turn for turn in turns if turn <= day), default=FIRST) - timedelta(days=1)
    verdicts = [
        _verdict(book, case, provider, party, purpose, day, before, visit.language)
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


def _verdict(
    book: Rulebook, case: Case, provider: str, party: str, purpose: str, day: date, before: date, language: str
) -> Verdict:
    decision = decide_case(book, case, provider=provider, requester=party, purpose=purpose, on=day)
    former = decide_case(book, case, provider=provider, requester=party, purpose=purpose, on=max(before, FIRST))
    return Verdict(
        party,
        decision.requester,
        purpose,
        decision,
        explain(decision, book, language),
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


def change(latest: Latest, proposals: Proposals, visit: Visit) -> Answer:
    """What a new rulebook would change: the recorded decisions of a period, decided by it and by the one in force."""
    standing = latest()
    values: dict[str, Any] = {
        "book": standing.rulebook if standing is not None else None,
        "form": {name: visit.form.get(name, "") for name in ("from", "to")},
        "wrong": {},
        "faults": (),
        "told": None,
        "most": MOST,
        "longest": LONGEST,
    }
    if visit.method == "GET" or standing is None:
        return Shown("rulebook-change.html", values)
    filters, wrong = filters_of(values["form"])
    if not wrong and filters.start is not None and filters.end is not None and filters.start >= filters.end:
        wrong["to"] = "change.wrong-period"
    # Browsers end the lines of a form with CRLF, whatever the file had.
    text = visit.form.get("rulebook", "").replace("\r\n", "\n")
    told = None
    if not wrong:
        try:
            own = visit.session.identity.member
            told = proposals.compare(text, start=filters.start, end=filters.end, member=own)
        except RulebookError as error:
            wrong["rulebook"] = "change.no-rulebook"
            values["faults"] = error.faults[:FAULTS]
            values["more_faults"] = max(len(error.faults) - FAULTS, 0)
        except ComparingError:
            wrong["rulebook"] = "change.another"
        except NothingStandsError:
            return Shown("rulebook-change.html", {**values, "book": None})
    if told is None:
        return Shown("rulebook-change.html", {**values, "wrong": wrong}, {"act": "compare"}, status=400)
    detail = {
        **filters.to_codes(),
        "act": "compare",
        "rulebook": told.new.digest,
        "recorded": told.swing.decisions,
        "otherwise": told.swing.otherwise,
    }
    return Shown("rulebook-change.html", {**values, **_foreseen(told, visit)}, detail)


_SAID: Final = {
    "is new": "change.prohibition-new",
    "no longer stands": "change.prohibition-gone",
    "says something else": "change.prohibition-changed",
}


def _foreseen(told: Foresight, visit: Visit) -> dict[str, Any]:
    """What the page shows of a comparison, in words of the rulebook that has them."""

    def category(code: str) -> str:
        known = told.new.categories.get(code) or told.old.categories.get(code)
        return code if known is None else known.title[visit.language]

    def purpose(code: str) -> str:
        words = told.new.purposes.get(code) or told.old.purposes.get(code)
        return code if words is None else words[visit.language]

    def counted(codes: Mapping[str, int]) -> list[tuple[str, int]]:
        return sorted(((category(code), count) for code, count in codes.items()), key=lambda one: (-one[1], one[0]))

    def role(code: str) -> str:
        words = told.new.roles.get(code) or told.old.roles.get(code)
        return code if words is None else words[visit.language]

    def prohibition(code: str) -> str:
        known = next((one for one in (*told.new.prohibitions, *told.old.prohibitions) if one.id == code), None)
        return code if known is None else known.title[visit.language]

    apart = told.differences
    located = [by_id(visit.connection, entry, find=visit.find) for entry in told.swing.entries[:SHOWN]]
    return {
        "told": told,
        "turns": [
            (purpose(code), turn.exchanges, counted(turn.gained), counted(turn.lost))
            for code, turn in told.swing.turns.items()
        ],
        "found": [one for one in located if one is not None],
        "shown": SHOWN,
        "texts": [
            {
                "change": one.change,
                "provider": role(one.provider),
                "requester": role(one.requester),
                "purpose": purpose(one.purpose),
                "category": category(one.category),
                "first": None if one.interval.first == date.min else one.interval.first,
                "last": None if one.interval.last == date.max else one.interval.last,
            }
            for one in (apart.changes[:SHOWN] if apart is not None else ())
        ],
        "prohibitions": [(prohibition(code), _SAID[said]) for code, said in (apart.prohibitions if apart else ())],
    }
