"""What a page of the console is, what it is given, and what it may answer.

A page is a plain function: it takes a Visit and gives an Answer, and knows nothing of HTTP. The shell around it has
checked who visits and whether they may, and records the visit before it shows the answer. Pages from outside this room
(the handover board, the registry, the rulebook) are the same kind of value.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from threading import Lock
from typing import Any, Final, Literal

from sqlalchemy import Connection, Engine

from audit.log.entries import Entry
from audit.log.log import Log, Unit
from audit.log.rows import member_of
from audit.questions.anomalies import Thresholds
from audit.questions.forgotten import remembering
from audit.questions.query import Filters, Found, Order, Search, by_index, search, walk
from audit.questions.query import Page as Results
from audit.questions.report import Activity, Controller, Names
from audit.questions.subjects import Subjects
from audit.tree.checkpoint import VerifierKey
from gateway.desk.console.sessions import Role, Session

Group = Literal["people", "log", "network", ""]
EVERYONE: Final[frozenset[Role]] = frozenset({"officer", "operator", "auditor"})
OFFICER: Final[frozenset[Role]] = frozenset({"officer"})
INSPECTORS: Final[frozenset[Role]] = frozenset({"officer", "auditor"})
FORM_LIMIT: Final = 64 * 1024
ABSENT: Final = "-"
"""Stands in handles and filters for a person of whom nothing is known, so that they are treated like anybody else."""


class NotHereError(Exception):
    """There is no such thing for this visitor: it does not exist, or it belongs to another member."""


@dataclass(frozen=True, slots=True)
class IdentifierKind:
    """A kind of identifier by which a person can be found: its code in texts, its system, and how one is written.

    `written` gives the notation that is looked up, or None for what cannot be an identifier of this system.
    """

    code: str
    system: str
    written: Callable[[str], str | None]


@dataclass(frozen=True, slots=True)
class Reasons:
    """Why a decision fell as it did, in words; `same`: made again now, it came out byte for byte as it was recorded."""

    text: str
    same: bool


@dataclass(frozen=True, slots=True)
class Office:
    """What the console works with, all of one node.

    `address` is where browsers reach the console (`https://HOST`), `organisation` gives its name by language. `witness`
    keys are those whose cosignatures count. `hidden_bases` are the bases under which the person must not be told.
    `reasons` explains the decision of an entry in a language. `find` and `at` know what was moved out of the database.
    `checking` is held while the log is checked for somebody.
    """

    address: str
    node: str
    organisation: Callable[[str], str]
    engine: Engine
    log: Log
    log_key: VerifierKey
    subjects: Subjects
    clock: Callable[[], datetime]
    identifiers: tuple[IdentifierKind, ...]
    names: Names
    witnesses: Callable[[], Sequence[VerifierKey]] = tuple
    controller: Callable[[str], Controller] = lambda _language: Controller("")
    activities: Callable[[str], Sequence[Activity]] = lambda _language: ()
    hidden_bases: Callable[[], Collection[str]] = tuple
    thresholds: Thresholds = field(default_factory=Thresholds)
    reasons: Callable[[str, str], Reasons | None] = lambda _entry, _language: None
    find: Search = field(default_factory=lambda: remembering(search))
    at: Callable[[Connection, int], Found | None] = by_index
    checking: Lock = field(default_factory=Lock)


@dataclass(frozen=True, slots=True)
class Visit:
    """One visit of a signed-in person to a page. `connection` is for reading."""

    office: Office
    session: Session
    connection: Connection
    language: str
    now: datetime
    method: str
    path: Mapping[str, str]
    query: Mapping[str, str]
    form: Mapping[str, str]

    def find(self, connection: Connection, filters: Filters, *, order: Order, after: str | None, limit: int) -> Results:
        """A search like `audit.questions.query.search`, within what this visitor may see. Raises QueryError."""
        return self.office.find(connection, self.scoped(filters), order=order, after=after, limit=limit)

    def search(
        self, filters: Filters, *, order: Order = "newest", after: str | None = None, limit: int = 50
    ) -> Results:
        """One page of entries that this visitor may see. Raises QueryError."""
        return self.find(self.connection, filters, order=order, after=after, limit=limit)

    def walk(self, filters: Filters, *, order: Order = "oldest", limit: int = 1_000) -> list[Found]:
        """The first entries that match, at most `limit`."""
        return list(walk(self.connection, filters, order=order, limit=limit, find=self.find))

    def scoped(self, filters: Filters) -> Filters:
        """The filters, narrowed to the visitor's own member if they are limited to one."""
        own = self.session.identity.member
        if own is None:
            return filters
        if filters.member not in (None, own):
            return replace(filters, member=own, id=ABSENT)  # another member's entries: there are none for this visitor
        return replace(filters, member=own)

    def sees(self, entry: Entry) -> bool:
        """Whether this visitor may see an entry."""
        own = self.session.identity.member
        return own is None or own in (member_of(entry.source), member_of(entry.agents.recipient))

    def pseudonyms(self, subject: str) -> tuple[str, ...]:
        """The pseudonyms of a person by their opaque id; for nobody one that no entry has."""
        return self.office.subjects.pseudonyms(self.connection, subject) or (ABSENT,)


@dataclass(frozen=True, slots=True)
class Shown:
    """Show a template. `detail` (codes and counts), `subject` and `case` go into the entry that records the visit."""

    template: str
    values: Mapping[str, Any] = field(default_factory=dict)
    detail: Mapping[str, str | int | bool] = field(default_factory=dict)
    subject: str | None = None
    case: str | None = None
    status: int = 200


@dataclass(frozen=True, slots=True)
class Moved:
    """Go to another page of the console. Recorded like a page that is shown."""

    to: str
    detail: Mapping[str, str | int | bool] = field(default_factory=dict)
    subject: str | None = None
    case: str | None = None


@dataclass(frozen=True, slots=True)
class Sent:
    """Give a file. It is recorded as an `export` before the first byte leaves."""

    body: Callable[[Connection], Iterable[bytes]]
    media_type: str
    filename: str | None
    detail: Mapping[str, str | int | bool] = field(default_factory=dict)
    subject: str | None = None


@dataclass(frozen=True, slots=True)
class Act:
    """Write something: the unit brings its own entries, then the browser goes to `then`."""

    unit: Unit[Any]
    then: str


Answer = Shown | Moved | Sent | Act


@dataclass(frozen=True, slots=True)
class Page:
    """A page: its path, its name in entries and texts (`page.NAME`), who may see it, and its place in the menu.

    Pages of no group stand in no menu. `form_bytes` is the largest form that is read.
    """

    path: str
    name: str
    answer: Callable[[Visit], Answer]
    roles: frozenset[Role] = INSPECTORS
    methods: tuple[str, ...] = ("GET",)
    group: Group = ""
    rank: int = 0
    form_bytes: int = FORM_LIMIT


@dataclass(frozen=True, slots=True)
class Annex:
    """Pages from outside this room, with the package of their templates and their texts by key and language."""

    pages: tuple[Page, ...]
    templates: str | None = None
    texts: Mapping[str, tuple[str, str, str]] = field(default_factory=dict)
