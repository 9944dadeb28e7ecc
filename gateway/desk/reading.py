"""One question being answered: what it may read, and of whom. Nothing is read past what the asker may see."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from sqlalchemy import Connection, select

from audit.log.entries import ZONE, Entry
from audit.log.rows import member_of
from audit.log.tables import archives
from audit.questions import archive, query
from audit.questions.forgotten import remembering
from audit.questions.query import Filters, Found, Order, Page
from audit.questions.report import Telling
from audit.questions.said import TermsOf
from audit.questions.subjects import Subjects
from gateway.desk.context import DeskContext
from gateway.desk.forms import Handle
from gateway.desk.roles import Asker
from gateway.desk.words import terms_on
from gateway.story import Story
from gateway.web.forms import PersonForm

if TYPE_CHECKING:
    from gateway.desk.proposals import Proposals

NOBODY = ("-",)
"""Stands for a person of whom nothing is known, so that they are treated like anybody else: no entry has it."""


class Shelves:
    """The database and what was archived from it, searched as one; nobody is found there who was forgotten."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._archive: tuple[tuple[str, ...], archive.Archive] | None = None

    def find(self, connection: Connection, filters: Filters, *, order: Order, after: str | None, limit: int) -> Page:
        """A search like `audit.questions.query.search`."""
        return remembering(self._find)(connection, filters, order=order, after=after, limit=limit)

    def _find(self, connection: Connection, filters: Filters, *, order: Order, after: str | None, limit: int) -> Page:
        kept = self._opened(connection)
        if kept is None:
            return query.search(connection, filters, order=order, after=after, limit=limit)
        with self._lock:
            return kept.search_all(connection, filters, order=order, after=after, limit=limit)

    def at(self, connection: Connection, index: int) -> Found | None:
        """The entry at this index."""
        found = query.by_index(connection, index)
        if found is None:
            kept = self._opened(connection)
            if kept is not None:
                with self._lock:
                    archived = kept.entry(index)
                return None if archived is None else Found(index, archived)
        return found

    def _opened(self, connection: Connection) -> archive.Archive | None:
        rows = connection.execute(
            select(archives.c.folder, archives.c.month).where(archives.c.pruned.is_not(None)).order_by(archives.c.first)
        ).all()
        if not rows:
            return None
        mark = tuple(f"{row.folder}/{row.month}" for row in rows)
        with self._lock:
            if self._archive is None or self._archive[0] != mark:
                if self._archive is not None:
                    self._archive[1].close()
                opened = archive.Archive(*dict.fromkeys(Path(row.folder) for row in rows))
                for name in opened.lacks(row.month for row in rows):
                    opened.close()
                    self._archive = None
                    # Half an answer would look like a whole one.
                    raise archive.ArchiveError(f"the archived month {name} is not where it was archived to")
                self._archive = (mark, opened)
            return self._archive[1]

    def close(self) -> None:
        """Close what is open of archives."""
        with self._lock:
            if self._archive is not None:
                self._archive[1].close()
                self._archive = None


@dataclass(frozen=True, slots=True)
class Someone:
    """A person as the log knows them: all pseudonyms, and the one that the reading is recorded under; `ids` are the
    subjects that they are beyond doubt.
    """

    pseudonyms: tuple[str, ...] = NOBODY
    mark: str | None = None
    ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Reading:
    """What a question reads with. `connection` is for reading, `checking` is held while the log is checked."""

    context: DeskContext
    shelves: Shelves
    asker: Asker
    connection: Connection
    now: datetime
    checking: Lock
    proposals: Proposals

    @property
    def subjects(self) -> Subjects:
        """The data subjects whom the asker may look for."""
        return self.context.subjects_of(self.asker.member)

    def find(self, connection: Connection, filters: Filters, *, order: Order, after: str | None, limit: int) -> Page:
        """A search over database and archive, within what the asker may see. Raises QueryError."""
        return self.shelves.find(connection, self._scoped(filters), order=order, after=after, limit=limit)

    def page(self, filters: Filters, *, order: Order = "newest", after: str | None = None, limit: int = 50) -> Page:
        return self.find(self.connection, filters, order=order, after=after, limit=limit)

    def walk(self, filters: Filters, *, order: Order = "oldest", limit: int = 1_000) -> tuple[Found, ...]:
        """The first entries that match, at most `limit`."""
        return tuple(query.walk(self.connection, filters, order=order, limit=limit, find=self.find))

    def _scoped(self, filters: Filters) -> Filters:
        own = self.asker.member
        if own is None:
            return filters
        if filters.member not in (None, own):
            return replace(filters, member=own, id=NOBODY[0])  # another member's entries: there are none for this asker
        return replace(filters, member=own)

    def sees(self, entry: Entry) -> bool:
        """Whether the asker may see an entry."""
        own = self.asker.member
        return own is None or own in (member_of(entry.source), member_of(entry.agents.recipient))

    def locate(self, entry: str | int) -> Found | None:
        """The entry with this id or, for a number, at this index."""
        if isinstance(entry, str):
            return query.by_id(self.connection, entry, find=self.find)
        found = self.shelves.at(self.connection, entry)
        return found if found is not None and self.sees(found.entry) else None

    def someone(self, person: PersonForm | Handle | None) -> Someone:
        """The person, under all pseudonyms by which entries speak of them."""
        subjects, connection = self.subjects, self.connection
        if person is None:
            return Someone(())
        if isinstance(person, Handle):
            pseudonyms = subjects.pseudonyms(connection, person.subject)
            ids = subjects.group(connection, person.subject)
            return Someone(pseudonyms or NOBODY, pseudonyms[0] if pseudonyms else None, ids)
        known = subjects.all_of(connection, person.system, person.value)
        every = dict.fromkeys(
            pseudonym for subject in known for pseudonym in subjects.pseudonyms(connection, subject.id)
        )
        ids = tuple(dict.fromkeys(id_ for subject in known for id_ in subjects.group(connection, subject.id)))
        return Someone(tuple(every) or NOBODY, known[0].pseudonym if known else None, ids)

    def cases(self, reference: str) -> tuple[str, ...]:
        """What entries say of a case: keyed hashes of its reference, the one that is written today first."""
        return self.context.subjects.cases(reference)

    def telling(self, language: str, *, for_officer: bool = False) -> Telling:
        """How a report is told in this language."""
        context = self.context
        return Telling(
            language,
            context.names,
            self.now,
            context.controller(language, self.asker.member),
            context.hidden_bases(),
            for_officer,
            self.find,
            self.terms,
        )

    @property
    def terms(self) -> TermsOf:
        """What words say beyond their entries, and how they stand today."""
        return terms_on(self.now.astimezone(ZONE).date())

    @property
    def story(self) -> Story:
        """What all entries about this asker's doing have in common."""
        return story_of(self.context, self.asker)


def story_of(context: DeskContext, asker: Asker) -> Story:
    """What all entries about an asker's doing have in common."""
    return Story(client=asker.client, user=asker.user, node=context.node)
