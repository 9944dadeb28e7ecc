"""Decide who is who: the registrar's acts. The officer sees each of them in the log and performs none.

A mistaken join is undone by an act of its own. From then on words follow the identifier that they were given under;
prohibitions of before hold on both sides until they are placed, permissions and consents of before carry nothing on
either. Whoever undoes a join learns what was released under it, and to whom.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from itertools import combinations

from sqlalchemy import Connection, select

from audit.log.entries import Entry, EntryType, Outcome, micros, moment, new_id
from audit.log.tables import claims
from audit.questions import links
from audit.questions.links import LinkAct, LinkRow
from audit.questions.query import disclosures, walk
from audit.questions.subjects import Known, Subjects
from gateway.person.held import HeldRecords, HeldState
from gateway.person.people import known_apart
from gateway.person.values import ConflictReason, acting
from gateway.wire.problems import ProblemError
from schemas.facts import Identifier


class IdentityAct(StrEnum):
    """What is said of two identifiers."""

    JOIN = "join"
    UNDO = "undo"
    PLACE = "place"


@dataclass(frozen=True, slots=True)
class Released:
    """What left while two persons were taken for one: the record's number in the log, when, to whom, what."""

    index: int
    recorded: datetime
    recipient: str | None
    categories: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Doubtful:
    """A join that nobody has confirmed."""

    first: str
    second: str
    joined: datetime
    register: str | None


class Registrar:
    """The acts of one member's registrar. Each works in a unit and gives the entries that tell of it."""

    def __init__(self, node: str, subjects: Subjects, held: HeldRecords) -> None:
        self._node = node
        self._subjects = subjects
        self._held = held

    def same(self, connection: Connection, held: str, by: str, now: datetime) -> tuple[Entry, ...]:
        """The record is about one person: whoever it names is joined without doubt."""
        subjects = self._named_by(connection, held)
        for ends in combinations(subjects, 2):
            self._act(connection, ends, LinkAct.CONFIRMED, by, now)
        return self._held.settle(connection, held, HeldState.SAME, by, now)

    def apart(self, connection: Connection, held: str, by: str, now: datetime) -> tuple[Entry, ...]:
        """The record mixes two persons: it is dropped, and what it names is known apart from now on."""
        subjects = self._named_by(connection, held)
        web = links.web(connection, subjects)
        for first, second in combinations(subjects, 2):
            if second not in web.certain((first,)):
                self._act(connection, (first, second), LinkAct.APART, by, now)
        return self._held.settle(connection, held, HeldState.APART, by, now)

    def weigh(
        self, connection: Connection, act: IdentityAct, first: Identifier, second: Identifier
    ) -> ConflictReason | None:
        """Whether an act could be carried out as things stand; of a join, why the two are known apart, if they are.

        Raises ProblemError for what could not: nobody is asked to approve it.
        """
        if act is IdentityAct.UNDO:
            self._joined(connection, first, second)
        elif act is IdentityAct.PLACE:
            self._parted(connection, first, second)
        else:
            self._joinable(connection, first, second)
            return self.known_apart(connection, first, second)
        return None

    def known_apart(self, connection: Connection, first: Identifier, second: Identifier) -> ConflictReason | None:
        """Why two identifiers are known to be two persons; None if nothing says so."""
        ids = tuple(known.subjects[0].id for known in self._known(connection, first, second))
        return known_apart(connection, self._subjects, ids)[1]

    def join(
        self, connection: Connection, first: Identifier, second: Identifier, by: str, now: datetime
    ) -> tuple[Entry, ...]:
        """Two identifiers are one person; also confirms a join that stands in doubt."""
        left, right = self._joinable(connection, first, second)
        self._act(connection, (left.subjects[0].id, right.subjects[0].id), LinkAct.CONFIRMED, by, now)
        return (self._entry(left, LinkAct.CONFIRMED, by, now),)

    def _joinable(self, connection: Connection, first: Identifier, second: Identifier) -> tuple[Known, Known]:
        left, right = self._known(connection, first, second)
        pairs = tuple((identifier.system, identifier.value) for identifier in (first, second))
        mine = left.subjects[0].id
        if mine == right.subjects[0].id and not self._subjects.names_all(connection, mine, pairs):
            raise ProblemError(
                "subject-ambiguous",
                detail="a former version put more than these two identifiers together, and all of them stand or fall",
                remedy="have the register send a record that names all of them, or ask the person for consent anew",
            )
        return left, right

    def undo(
        self, connection: Connection, first: Identifier, second: Identifier, by: str, now: datetime
    ) -> tuple[tuple[Entry, ...], tuple[Released, ...]]:
        """Two identifiers are two persons after all. Gives what was released while they were taken for one."""
        left, right, web = self._joined(connection, first, second)
        mine, theirs = left.subjects[0].id, right.subjects[0].id
        path = [link for link in web.links if _parts(web, link, mine, theirs)]
        since = min(link.joined for link in path)
        for link in path:
            self._act(connection, (link.first, link.second), LinkAct.UNDONE, by, now)
        if web.between(mine, theirs) is None:
            # The two were joined by way of others: say of these two as well that they are apart.
            self._act(connection, (mine, theirs), LinkAct.APART, by, now)
        released = self._released(connection, web.connected((mine,)), since)
        return (self._entry(left, LinkAct.UNDONE, by, now, released=len(released)),), released

    def _joined(self, connection: Connection, first: Identifier, second: Identifier) -> tuple[Known, Known, links.Web]:
        left, right = self._known(connection, first, second)
        mine, theirs = left.subjects[0].id, right.subjects[0].id
        web = links.web(connection, (mine,))
        if theirs not in web.connected((mine,)) or mine == theirs:
            raise ProblemError("not-found", detail="the two identifiers are not joined", remedy="nothing needs undoing")
        return left, right, web

    def place(
        self, connection: Connection, first: Identifier, second: Identifier, by: str, now: datetime
    ) -> tuple[Entry, ...]:
        """Each prohibition of before an undoing stands on its right side now: none holds on the other any more."""
        left, link = self._parted(connection, first, second)
        self._act(connection, (link.first, link.second), LinkAct.PLACED, by, now)
        return (self._entry(left, LinkAct.PLACED, by, now),)

    def _parted(self, connection: Connection, first: Identifier, second: Identifier) -> tuple[Known, links.Link]:
        left, right = self._known(connection, first, second)
        link = links.web(connection, (left.subjects[0].id,)).between(left.subjects[0].id, right.subjects[0].id)
        if link is None or link.act is not LinkAct.UNDONE:
            raise ProblemError("not-found", detail="no join of the two identifiers was undone")
        return left, link

    def doubtful(self, connection: Connection) -> tuple[Doubtful, ...]:
        """The member's joins that nobody has confirmed, the oldest first: for the registrar to look through."""
        found = links.unconfirmed(connection)
        others = self._subjects.of_others(connection, [link.first for link in found])
        return tuple(
            Doubtful(link.first, link.second, moment(link.joined), link.register)
            for link in sorted(found, key=lambda link: link.joined)
            if link.first not in others
        )

    def _named_by(self, connection: Connection, held: str) -> list[str]:
        record = next((record for record in self._held.waiting(connection) if record.id == held), None)
        if record is None:
            raise ProblemError("not-found", detail="no record of that id waits for a decision about who it is about")
        return list(
            connection.scalars(
                select(claims.c.subject).where(claims.c.claim == record.subject).order_by(claims.c.subject)
            )
        )

    def _known(self, connection: Connection, first: Identifier, second: Identifier) -> tuple[Known, Known]:
        if first == second:
            raise ProblemError(
                "invalid-request",
                pointer="/identifiers/1",
                detail="both identifiers are the same one",
                remedy="name two identifiers",
            )
        known = self._subjects.known(connection, ((first.system, first.value), (second.system, second.value)))
        missing = [str(number) for number, item in enumerate(known, start=1) if not item.subjects]
        if missing:
            raise ProblemError(
                "not-found",
                detail="nothing is known of identifier " + " and ".join(missing),
                remedy="check how it is written",
            )
        return known[0], known[1]

    def _released(self, connection: Connection, subjects: frozenset[str], since: int) -> tuple[Released, ...]:
        pseudonyms = tuple(
            dict.fromkeys(
                pseudonym
                for subject in sorted(subjects)
                for pseudonym in self._subjects.pseudonyms(connection, subject)
            )
        )
        found = walk(
            connection,
            disclosures(pseudonyms, start=moment(since)),
        )
        return tuple(
            Released(item.index, item.entry.recorded, item.entry.agents.recipient, item.entry.categories.permitted)
            for item in found
        )

    def _act(self, connection: Connection, ends: tuple[str, str], act: LinkAct, by: str, now: datetime) -> None:
        links.add(connection, LinkRow(new_id(now), *ends, act, micros(now), by[:128]))

    def _entry(self, left: Known, act: LinkAct, by: str, now: datetime, **more: int) -> Entry:
        return replace(acting(by, self._node), subject=left.subjects[0].pseudonym).entry(
            EntryType.IDENTITY, Outcome.SUCCESS, now, detail={"act": act.value, **more}
        )


def _parts(web: links.Web, link: links.Link, mine: str, theirs: str) -> bool:
    """Whether a link lies on the way between two subjects: without all such links they are apart."""
    if link.act in links.SEPARATE:
        return False
    near = links.Web(tuple(other for other in web.links if other is not link))
    return mine in (link.first, link.second) and link.other(mine) in near.connected((theirs,))
