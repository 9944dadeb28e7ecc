"""Which identifiers belong to one person: acts that are never changed, and the group that follows from them.

An identifier has a subject of its own, with a key and a pseudonym. That two subjects are one person is an act: who said
so, when, by which register. Taking it back is another act. Rows and entries keep the subject they were written under
for ever; the group of a person is computed from the acts, so that undoing a mistake splits what belongs apart.

A group is read in two widths. The *certain* width holds what is joined beyond doubt: it is what permissions, extracts,
searches and erasure go by. The *protective* width holds doubtful joins as well, and those that were undone, for what
was said until then: it is what prohibitions go by, since a doubt may only protect.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from sqlalchemy import Connection, and_, bindparam, exists, func, or_, select

from audit.log.entries import ZONE, moment
from audit.log.statements import Counted, Fixed
from audit.log.tables import links as links_table

#: Larger groups than this belong to no person; whoever meets one decides nothing by it.
MOST_LINKED: Final = 64
_FOREVER: Final = 2**63 - 1


class LinkAct(StrEnum):
    """What was said about two subjects."""

    ATTACHED = "attached"  # an identifier that was seen for the first time came with a known one
    JOINED = "joined"  # a register named two that were both known
    CONFIRMED = "confirmed"  # a second record of another day, an acceptance or a human said so too
    UNDONE = "undone"  # they are two persons after all; prohibitions of before hold on both sides
    PLACED = "placed"  # a human has said on which side each of them belongs
    APART = "apart"  # a human has said that they are two persons, before any join


CERTAIN: Final = frozenset({LinkAct.ATTACHED, LinkAct.CONFIRMED})
SEPARATE: Final = frozenset({LinkAct.UNDONE, LinkAct.PLACED, LinkAct.APART})


class GroupTooLargeError(RuntimeError):
    """More subjects are linked than can be one person: nothing may be decided by such a group."""


@dataclass(frozen=True, slots=True)
class LinkRow:
    """One act. `at` is in microseconds, `register` the source that named both, `reason` a human's, in codes."""

    id: str
    first: str
    second: str
    act: LinkAct
    at: int
    by: str
    register: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Link:
    """Where two subjects stand: the last act about them, and since when they have been joined."""

    first: str
    second: str
    act: LinkAct
    at: int
    joined: int
    register: str | None

    def other(self, subject: str) -> str:
        """The other end."""
        return self.second if subject == self.first else self.first


@dataclass(frozen=True, slots=True)
class Web:
    """The links around some subjects, as far as they reach."""

    links: tuple[Link, ...] = ()

    def certain(self, starts: Iterable[str]) -> frozenset[str]:
        """All subjects that are one person with these beyond doubt, themselves included."""
        return frozenset(self._reach(starts, lambda link: _FOREVER if link.act in CERTAIN else None))

    def connected(self, starts: Iterable[str]) -> frozenset[str]:
        """The same with the joins that nobody has confirmed."""
        return frozenset(self._reach(starts, lambda link: None if link.act in SEPARATE else _FOREVER))

    def protective(self, starts: Iterable[str]) -> Mapping[str, int]:
        """Whose prohibitions hold for these subjects, each with the moment until which they count (microseconds)."""
        return self._reach(starts, _protects_until)

    def between(self, first: str, second: str) -> Link | None:
        """The link between two subjects, if anything was ever said about them."""
        return next((link for link in self.links if {link.first, link.second} == {first, second}), None)

    def touching(self, subjects: frozenset[str]) -> tuple[Link, ...]:
        """The links that begin or end at one of these."""
        return tuple(link for link in self.links if link.first in subjects or link.second in subjects)

    def _reach(self, starts: Iterable[str], until: Callable[[Link], int | None]) -> dict[str, int]:
        reached = dict.fromkeys(starts, _FOREVER)
        waiting = list(reached)
        while waiting:
            subject = waiting.pop()
            for link in self.links:
                if subject not in (link.first, link.second):
                    continue
                limit = until(link)
                if limit is None:
                    continue
                bound, other = min(limit, reached[subject]), link.other(subject)
                if bound > reached.get(other, -1):
                    reached[other] = bound
                    waiting.append(other)
        return reached


def _protects_until(link: Link) -> int | None:
    # What a person forbade before a join was undone may have been meant for either side: it holds on both until placed.
    if link.act is LinkAct.UNDONE:
        return link.at
    return None if link.act in SEPARATE else _FOREVER


_FIELDS: Final = ("id", "first", "second", "act", "at", "made_by", "register", "reason")
_JOINED: Final = Fixed(
    select(links_table.c.first, links_table.c.second).where(links_table.c.act == bindparam("what")).distinct(), "what"
)
#: Joins that are the last act about their two subjects, in whichever order those were named.
_LATER: Final = links_table.alias("later")
_UNCONFIRMED: Final = Fixed(
    select(func.count())
    .select_from(links_table)
    .where(
        links_table.c.act == bindparam("what"),
        ~exists().where(
            or_(
                and_(_LATER.c.first == links_table.c.first, _LATER.c.second == links_table.c.second),
                and_(_LATER.c.first == links_table.c.second, _LATER.c.second == links_table.c.first),
            ),
            or_(_LATER.c.at > links_table.c.at, and_(_LATER.c.at == links_table.c.at, _LATER.c.id > links_table.c.id)),
        ),
    ),
    "what",
)
_ADD: Final = Fixed.insert(links_table, *_FIELDS)


def add(connection: Connection, row: LinkRow) -> None:
    """Store an act."""
    _ADD.run(connection, row.id, row.first, row.second, row.act.value, row.at, row.by, row.register, row.reason)


def web(connection: Connection, subjects: Sequence[str]) -> Web:
    """Everything that is linked to these subjects, directly or through others. Raises GroupTooLargeError."""
    return folded(acts_around(connection, subjects))


def are_one(connection: Connection, ids: Sequence[str]) -> bool:
    """Whether all these are one person beyond doubt; a group that is too large to be a person is nobody."""
    try:
        return set(ids) <= web(connection, ids).certain(ids[:1])
    except GroupTooLargeError:
        return False


def acts_around(connection: Connection, subjects: Sequence[str]) -> tuple[LinkRow, ...]:
    """The acts that such a web is folded from, in the order in which they were found. Raises GroupTooLargeError."""
    seen: set[str] = set()
    acts: dict[str, LinkRow] = {}
    waiting = sorted(set(subjects))
    while waiting:
        if len(seen) + len(waiting) > MOST_LINKED:
            raise GroupTooLargeError
        found = around(connection, waiting)
        seen.update(waiting)
        acts.update((row.id, row) for row in found)
        waiting = sorted({end for row in found for end in (row.first, row.second)} - seen)
    return tuple(acts.values())


def day_of(at: int) -> int:
    """The Finnish day of a moment in microseconds, as a number that grows by one each day."""
    return moment(at).astimezone(ZONE).date().toordinal()


def unconfirmed(connection: Connection) -> tuple[Link, ...]:
    """Every join of the database that nobody has confirmed."""
    found: dict[tuple[str, str], Link] = {}
    for first, second in _JOINED.rows(connection, LinkAct.JOINED.value):
        link = web(connection, (first, second)).between(first, second)
        if link is not None and link.act is LinkAct.JOINED:
            found[link.first, link.second] = link
    return tuple(found[pair] for pair in sorted(found))


def count_unconfirmed(connection: Connection) -> int:
    """How many joins of the database nobody has confirmed."""
    row = _UNCONFIRMED.row(connection, LinkAct.JOINED.value)
    return int(row[0]) if row is not None else 0


def around(connection: Connection, subjects: Sequence[str]) -> list[LinkRow]:
    """The acts about these subjects; call it with at most MOST_LINKED."""
    rows = _AROUND.rows(connection, subjects)
    return [LinkRow(row[0], row[1], row[2], LinkAct(row[3]), *row[4:]) for row in rows]


_ACT: Final = tuple(links_table.c[name] for name in _FIELDS)
_AROUND: Final = Counted(
    lambda ends: (
        select(*_ACT).where(links_table.c.first.in_(ends)).union(select(*_ACT).where(links_table.c.second.in_(ends)))
    )
)


def _order(row: LinkRow) -> tuple[int, str]:
    return row.at, row.id


def folded(rows: Iterable[LinkRow]) -> Web:
    """The last act about each pair, with the moment since which the pair has been joined."""
    links: dict[tuple[str, str], Link] = {}
    for row in sorted(rows, key=_order):
        pair = (min(row.first, row.second), max(row.first, row.second))
        former = links.get(pair)
        joined = former.joined if former is not None and former.act not in SEPARATE else row.at
        register = row.register or (former.register if former is not None else None)
        links[pair] = Link(*pair, row.act, row.at, joined, register)
    return Web(tuple(links[pair] for pair in sorted(links)))
