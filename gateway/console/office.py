"""What a page of the console is, what it is given, and what it may answer.

A page is a plain function: it takes a Visit and gives an Answer, and knows nothing of HTTP, nothing of the database and
nothing of the log. What it wants to know it asks the desk, by an Ask: the shell puts the question, which goes on
record, and hands the answer to the page. The shell has checked before who visits and whether they may.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal

from gateway.console.sessions import Session
from gateway.desk.asking import Detail, Question
from gateway.desk.desk import Desk
from gateway.desk.forms import person
from gateway.desk.roles import INSPECTORS, Asker, Role
from gateway.keys.expiry import Ending
from gateway.web.forms import PersonForm
from gateway.wire.problems import ProblemError

Group = Literal["people", "log", "network", ""]
FORM_LIMIT: Final = 64 * 1024
STYLE: Final = "/static/console.css"


class NotHereError(Exception):
    """There is no such thing for this visitor: it does not exist, or it belongs to another member."""


@dataclass(frozen=True, slots=True)
class IdentifierKind:
    """A kind of identifier by which a person can be found: its code in texts, and its system."""

    code: str
    system: str
    read: Callable[[str, str], PersonForm] = person


@dataclass(frozen=True, slots=True)
class Condition:
    """How the node is that people look at: why it is held, if it is, and what ends soon, the soonest first."""

    held: str | None = None
    lacking: int = 0
    since: datetime | None = None
    endings: tuple[Ending, ...] = ()


@dataclass(frozen=True, slots=True)
class Office:
    """What the console works with: where browsers reach it (`https://HOST`), the desk, and how people are named.

    `condition` says how the node is.
    """

    address: str
    desk: Desk
    identifiers: tuple[IdentifierKind, ...]
    condition: Callable[[], Condition] = Condition


@dataclass(frozen=True, slots=True)
class Visit:
    """One visit of a signed-in person to a page."""

    office: Office
    session: Session
    language: str
    now: datetime
    method: str
    path: Mapping[str, str]
    query: Mapping[str, str]
    form: Mapping[str, str]

    def asker(self, page: Page) -> Asker:
        """Who asks, as the desk knows them."""
        return asker_of(self.session, page)

    def days(self, choices: tuple[int, ...], default: int) -> int:
        """Of how many days the page is to tell: one of its choices."""
        return next((days for days in choices if str(days) == self.query.get("days")), default)


@dataclass(frozen=True, slots=True)
class Shown:
    """Show a template. What was asked for it is on record; where nothing was, the visit is, with `detail`."""

    template: str
    values: Mapping[str, Any] = field(default_factory=dict)
    detail: Detail = field(default_factory=dict)
    status: int = 200


@dataclass(frozen=True, slots=True)
class Moved:
    """Go to another page of the console."""

    to: str


@dataclass(frozen=True, slots=True)
class Sent:
    """Give a file."""

    body: Iterable[bytes]
    media_type: str
    filename: str | None


@dataclass(frozen=True, slots=True)
class Ask:
    """Put a question to the desk, and go on with its answer; or, where it raises one of `refusals`, with `refused`."""

    question: Question[Any]
    then: Callable[[Any], Answer]
    refusals: tuple[type[Exception], ...] = ()
    refused: Callable[[Any], Answer] | None = None


Answer = Shown | Moved | Sent | Ask


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


def asker_of(session: Session, page: Page) -> Asker:
    """Whoever is signed in, as the desk knows them."""
    identity = session.identity
    return Asker("console", identity.user, Role(identity.role), identity.member, page.name)


def asked(make: Callable[[], Question[Any]], then: Callable[[Any], Answer]) -> Answer:
    """Ask what an address names; an address that names what cannot be is one of nothing."""
    try:
        return Ask(make(), then)
    except ProblemError:
        raise NotHereError from None


def here(found: Any) -> Any:
    """What was asked for. Raises NotHereError where there is none."""
    if found is None:
        raise NotHereError
    return found


def inside(page: str) -> str:
    """The inside of a report's page, which stands on a sheet of the console."""
    return page.split("<main>", 1)[1].rsplit("</main>", 1)[0]
