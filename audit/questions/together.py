"""What stands beside a person without being theirs beyond doubt: what others named together, and doubtful joins.

Whoever forgets a person has to know of it, since it may be the same person's under another identifier. It joins
nobody: that it is one person, only whoever forgets them can say.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from sqlalchemy import Connection, select

from audit.log.tables import claims
from audit.log.tables import subjects as subjects_table
from audit.questions import links
from audit.questions.links import SEPARATE


@dataclass(frozen=True, slots=True)
class Beside:
    """Whom forgetting a person may concern.

    `person` is who it is beyond doubt, `others` who may be the same. `items` are the claims that name the person.
    """

    person: frozenset[str]
    others: frozenset[str]
    items: frozenset[str]


def beside(connection: Connection, person: Iterable[str], doubted: Collection[str] = ()) -> Beside:
    """Everything that may be this person's. Of `doubted` claims it is known that they name two people.

    Who was said to be another person is not among the others, nor is who was only named together with one of these: a
    number that a sender writes into every record would make one person of all. Raises GroupTooLargeError.
    """
    own = frozenset(person)
    items = claims_of(connection, own)
    web = links.web(connection, sorted(own))
    apart = {end for link in web.touching(own) if link.act in SEPARATE for end in (link.first, link.second)}
    others: set[str] = set()
    for other in (named_in(connection, items - frozenset(doubted)) | web.connected(own)) - apart - own:
        others |= links.web(connection, (other,)).certain((other,))
    return Beside(own, frozenset(others) - apart - own, items)


def only_named(connection: Connection, ids: Collection[str], items: Collection[str]) -> bool:
    """Whether only other organisations have named these, and nowhere but in these items."""
    own = select(subjects_table.c.id).where(subjects_table.c.id.in_(ids), subjects_table.c.claimed == 0)
    return connection.execute(own.limit(1)).first() is None and claims_of(connection, ids) <= frozenset(items)


def named_in(connection: Connection, items: Collection[str]) -> frozenset[str]:
    """The subjects under which these claims are found."""
    return frozenset(connection.scalars(select(claims.c.subject).where(claims.c.claim.in_(items))))


def claims_of(connection: Connection, ids: Collection[str]) -> frozenset[str]:
    """The claims that are found under these subjects."""
    return frozenset(connection.scalars(select(claims.c.claim).where(claims.c.subject.in_(ids))))
