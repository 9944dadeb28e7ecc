"""What commands at the officer's desk share: the desk, the person asked about, a window of time, entries as rows.

A person is never named on the command line, where the shell would remember it: identifiers are read from standard
input.
"""

from __future__ import annotations

import getpass
import sys
from collections.abc import Generator, Iterable
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Final, NoReturn

import typer
from rich.markup import escape
from sqlalchemy.exc import SQLAlchemyError

from audit.log.entries import timestamp
from audit.log.log import LogError
from audit.questions.archive import ArchiveError
from audit.questions.identities import act_of, matter_of
from audit.questions.query import Found, QueryError
from audit.questions.reviews import ReviewError
from audit.questions.said import about, saying, step, word_of
from audit.questions.words import told_as
from audit.tree.merkle import ProofError
from gateway.desk.cli.log import MEMBER, open_database
from gateway.desk.desk import Desk
from gateway.desk.forms import person
from gateway.desk.roles import Asker
from gateway.settings import Settings
from gateway.storage.engine import BUSY_TIMEOUT_MS, is_busy
from gateway.terminal.configuration import settings_of
from gateway.terminal.identifiers import SYSTEMS
from gateway.terminal.output import NO, OUTSIDE, WRONG, fail
from gateway.web.forms import PersonForm
from gateway.wire.problems import ProblemError
from texts import Language as Spoken

CLIENT: Final = "command-line"
DAYS: Final = 30
HEADINGS: Final = ("record", "recorded (UTC)", "type", "outcome", "recipient", "categories", "basis or reason")
Language = Annotated[Spoken, typer.Option("--language", "-l", help="In this language.")]
Who = Annotated[
    bool, typer.Option("--person", help="About one person: their identifier is read from standard input, one line.")
]
System = Annotated[
    str, typer.Option("--system", help="What kind of identifier: `hetu`, `migri`, `local`, or the URI of its system.")
]
Since = Annotated[datetime | None, typer.Option("--from", help="From this time on (UTC).")]
Until = Annotated[datetime | None, typer.Option("--to", help="Before this time (UTC).")]
WindowStart = Annotated[
    datetime | None, typer.Option("--from", help=f"From this time on (UTC). Without it, {DAYS} days before the end.")
]
WindowEnd = Annotated[datetime | None, typer.Option("--to", help="Before this time (UTC). Without it, now.")]


@contextmanager
def desk(config: Path, *, json: bool) -> Generator[tuple[Desk, Asker]]:
    """The officer's desk of a node, running or not; what goes wrong there ends the command."""
    from gateway.node.secret_files import verify
    from gateway.node.wiring import NodeError, desk_of

    settings = settings_of(config, json=json)
    member = _member(settings, json=json)
    for path in (settings.secrets.log_key, settings.secrets.wrapping_key, settings.secrets.index_key):
        if not path.is_file():
            fail(f"{path}: there is no such file", WRONG, remedy="run this where the node's secrets are", json=json)
    engine = open_database(settings, json=json)
    with ExitStack() as stack:
        stack.callback(engine.dispose)
        try:
            verify(settings, engine, "log_key", "wrapping_key", "index_key")
            made = desk_of(settings, engine)
            made.context.log.start()
            stack.callback(made.context.log.close)
            stack.callback(made.close)
            user = made.context.subjects.user(CLIENT, getpass.getuser())
            yield made, Asker(CLIENT, user, member=member)
        except ProblemError as error:
            fail(error.detail, WRONG, remedy=error.remedy, json=json)
        except (QueryError, ArchiveError) as error:
            fail(str(error), WRONG, json=json)
        except ReviewError as error:
            fail(str(error), NO, remedy="`yhdyspinta audit unreviewed` names what waits", json=json)
        except ProofError as error:
            fail(str(error), NO, remedy="run `yhdyspinta audit check`", json=json)
        except NodeError as error:
            fail(str(error), OUTSIDE, remedy=error.remedy, json=json)
        except (LogError, SQLAlchemyError) as error:
            _fail_by_database(error, json=json)


def _fail_by_database(error: LogError | SQLAlchemyError, *, json: bool) -> NoReturn:
    """Say why the database or the log in it could not be used, and end the command."""
    if is_busy(error):
        held = f"another process has held the database for {BUSY_TIMEOUT_MS // 1000} seconds; this was not recorded"
        fail(held, OUTSIDE, remedy="run the command again", json=json)
    if isinstance(error, LogError):
        fail(str(error), OUTSIDE, remedy="run `yhdyspinta audit check`", json=json)
    reason = type(error.__cause__ or error).__name__
    fail(f"the database cannot be used ({reason})", OUTSIDE, remedy="is it the one of this node?", json=json)


def _member(settings: Settings, *, json: bool) -> str | None:
    """For which member is asked: where a node speaks for several, `audit --member` says it."""
    members, asked = settings.spoken_for, MEMBER.get()
    if asked not in (None, *members) or (asked is None and len(members) > 1):
        fail(
            "this node speaks for several members, and for none of that name"
            if asked
            else "this node speaks for several members, and each has its own persons and entries",
            WRONG,
            remedy=f"say for which: `audit --member {members[0]} …`",
            json=json,
        )
    return asked


def person_given(system: str, *, json: bool) -> PersonForm:
    """The person whose identifier stands on standard input, one line; none, or one that cannot be, ends the command."""
    prompt = "Identifier of the person (not shown): "
    value = getpass.getpass(prompt) if sys.stdin.isatty() else sys.stdin.readline()
    if not value.strip():
        fail("no identifier was given", WRONG, remedy="write it to standard input, on one line", json=json)
    try:
        return person(SYSTEMS.get(system, system), value.strip())
    except ProblemError as error:
        fail(error.detail, WRONG, remedy=error.remedy, json=json)


def entry_named(given: str, *, json: bool) -> str | int:
    """The entry that a person names: by its id, or by the number of the record, which counts from 1."""
    if not (given.isascii() and given.isdecimal()):
        return given
    if not int(given[:16]) >= 1:
        fail("records are counted from 1", WRONG, remedy="give the number that the table shows", json=json)
    return int(given) - 1 if len(given) <= 15 else given


def utc(at: datetime | None) -> datetime | None:
    """A time from the command line, which names no zone and means UTC."""
    return None if at is None else at.replace(tzinfo=UTC) if at.tzinfo is None else at


def window(start: datetime | None, end: datetime | None) -> tuple[datetime, datetime]:
    """The window between --from and --to; without them the last DAYS days."""
    last = utc(end) or datetime.now(UTC)
    return utc(start) or last - timedelta(days=DAYS), last


def rows(found: Iterable[Found]) -> list[list[str]]:
    """Entries under HEADINGS."""
    return [
        [
            str(item.record),
            timestamp(item.entry.recorded)[:19],
            saying(item.entry) or told_as(item.entry),
            step(item.entry) if word_of(item.entry) else act_of(item.entry) or item.entry.outcome,
            escape(item.entry.taker or item.entry.agents.client or ""),
            escape(" ".join(about(item.entry) if word_of(item.entry) else item.entry.categories.permitted)),
            escape(matter_of(item.entry) or item.entry.reason or " ".join(item.entry.bases)),
        ]
        for item in found
    ]
