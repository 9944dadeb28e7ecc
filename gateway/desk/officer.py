"""The data protection officer's desk: every question about the log, and each question itself on record.

Whatever reads the log for a person (command, interface, console) asks here. A question is answered inside this module,
its entry is committed, and only then is the answer handed out: nobody reads the log without leaving a trace in it.
Archived months are searched with the database, as one. All functions block; call them from a thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from threading import Lock
from typing import Any, Final

from sqlalchemy import Connection, Engine, select

from audit.log.entries import Entry
from audit.log.log import Log, Written
from audit.log.tables import archives
from audit.questions import (
    anomalies,
    archive,
    data_tracker,
    export,
    query,
    report,
    reviews,
    tallies,
)
from audit.questions.check import Report
from audit.questions.checking import MOST, check_newest
from audit.questions.forgotten import remembering
from audit.questions.query import Filters, Found, Order, Page
from audit.questions.subjects import Subject, Subjects, scrub
from audit.tree import proofs
from audit.tree.checkpoint import VerifierKey
from consent.rulebook import Rulebook
from gateway.desk.describing import activities, hidden_bases, names_of
from gateway.desk.proposals import Foresight, Proposals
from gateway.desk.questions import EXPORTS, QUESTIONS, OfficerError, Person, Question, Reader
from gateway.exchange.keeping import Kept, kept_decisions, kept_rulebook
from gateway.exchange.rejudging import Progress, Replay, Swing, replay
from gateway.exchange.rejudging import swing as count_swing
from gateway.registry.read.standing import Standing
from gateway.storage.tables import handovers, inbox
from gateway.story import Story

_NOBODY: Final = ("-",)


@dataclass(frozen=True, slots=True)
class Unreviewed:
    """What waits for somebody to sign it off, oldest first."""

    emergencies: tuple[Found, ...]
    patterns: tuple[reviews.Review, ...]


class Officer:
    """Answers questions from one node's log."""

    def __init__(
        self,
        node: str,
        engine: Engine,
        log: Log,
        subjects: Subjects,
        *,
        clock: Callable[[], datetime],
        standing: Callable[[], Standing | None],
        log_key: VerifierKey,
        controller: report.Controller | None = None,
        thresholds: anomalies.Thresholds | None = None,
    ) -> None:
        self._node = node
        self._engine = engine
        self._log = log
        self._subjects = subjects
        self._clock = clock
        self._standing = standing
        self._log_key = log_key
        self._controller = controller or report.Controller(node)
        self._thresholds = thresholds or anomalies.Thresholds()
        self.names = names_of(standing)
        self.proposals = Proposals(engine, subjects, standing)
        self._lock = Lock()
        self.checking = Lock()
        self._archive: tuple[tuple[str, ...], archive.Archive] | None = None

    # -- on record ------------------------------------------------------------------------------------------------

    def _record(
        self,
        reader: Reader,
        what: str,
        *,
        found: bool,
        type_: str = "console-read",
        subject: str | None = None,
        case: str | None = None,
        detail: Mapping[str, str | int | bool] | None = None,
    ) -> int:
        """Put a reading on record; gives the place of its entry."""
        now = self._clock()
        entry = Story(client=reader.client, user=reader.user, node=self._node, subject=subject, case=case).entry(
            type_, "success" if found else "not-found", now, detail={"question": what, **(detail or {})}
        )
        return self._log.append_blocking((entry,)).indexes[0]

    def _person(self, connection: Connection, person: Person | None) -> tuple[Subject | None, tuple[str, ...]]:
        """The subject, and all pseudonyms under which entries speak of them; nobody is a pseudonym that none has."""
        if person is None:
            return None, ()
        known = self._subjects.all_of(connection, *person)
        if not known:
            return None, _NOBODY
        pseudonyms = dict.fromkeys(
            pseudonym for subject in known for pseudonym in self._subjects.pseudonyms(connection, subject.id)
        )
        return known[0], tuple(pseudonyms) or _NOBODY

    def _filters(self, connection: Connection, question: Question) -> tuple[Filters, Subject | None]:
        named, filters = QUESTIONS[question.name], question.filters
        subject, pseudonyms = self._person(connection, question.person)
        return (
            replace(
                filters,
                subjects=pseudonyms or filters.subjects,
                types=filters.types or named.types,
                outcomes=filters.outcomes or named.outcomes,
                case=self._subjects.case(question.case) if question.case is not None else filters.case,
            ),
            subject,
        )

    # -- database and archive as one --------------------------------------------------------------------------------

    def find(self, connection: Connection, filters: Filters, *, order: Order, after: str | None, limit: int) -> Page:
        """A search over the database and what was archived from it, in which nobody is found who was forgotten.

        Not on record: for use inside questions.
        """
        return remembering(self._find)(connection, filters, order=order, after=after, limit=limit)

    def _find(self, connection: Connection, filters: Filters, *, order: Order, after: str | None, limit: int) -> Page:
        kept = self._opened(connection)
        if kept is None:
            return query.search(connection, filters, order=order, after=after, limit=limit)
        with self._lock:
            return archive.search_all(connection, kept, filters, order=order, after=after, limit=limit)

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

    # -- questions --------------------------------------------------------------------------------------------------

    def search(
        self,
        reader: Reader,
        question: Question,
        *,
        order: Order = "newest",
        after: str | None = None,
        limit: int = 50,
    ) -> Page:
        """One page of the answer. Raises QueryError, OfficerError, LogError."""
        with self._engine.connect() as connection:
            filters, subject = self._filters(connection, question)
            page = self.find(connection, filters, order=order, after=after, limit=limit)
        self._record(
            reader,
            question.name,
            found=bool(page.found),
            subject=subject.pseudonym if subject else None,
            case=filters.case,
            detail={**filters.to_codes(), "shown": len(page.found)},
        )
        return page

    def timeline(
        self, reader: Reader, *, handover: str | None = None, entry: str | None = None, case: str | None = None
    ) -> tuple[Found, ...]:
        """Everything about one handover (sent or received), one entry's story, or one case, oldest first."""
        with self._engine.connect() as connection:
            story: dict[int, Found] = {}
            starts = [entry] if entry is not None else []
            if handover is not None:
                starts += connection.scalars(select(handovers.c.entry).where(handovers.c.id == handover))
                starts += connection.scalars(select(inbox.c.entry).where(inbox.c.handover == handover))
            for start in starts:
                story.update((item.index, item) for item in query.chain(connection, start, find=self.find))
            if case is not None:
                filters = Filters(case=self._subjects.case(case))
                story.update(
                    (item.index, item) for item in query.walk(connection, filters, limit=1_000, find=self.find)
                )
        told = tuple(story[index] for index in sorted(story))
        key = self._subjects.case(case) if case is not None else None
        what = next(
            name
            for name, value in (("case", case), ("handover", handover), ("entry", entry or ""))
            if value is not None
        )
        self._record(reader, f"timeline-{what}", found=bool(told), case=key, detail={"shown": len(told)})
        return told

    def consents(self, reader: Reader, person: Person) -> tuple[query.ConsentStory, ...]:
        """A person's consents and refusals: their history, and what was disclosed under each."""
        with self._engine.connect() as connection:
            subject, pseudonyms = self._person(connection, person)
            told = query.consents_of(connection, pseudonyms, find=self.find)
        self._record(reader, "consents", found=bool(told), subject=subject.pseudonym if subject else None)
        return told

    def left_after_withdrawal(
        self, reader: Reader, person: Person | None = None, *, start: datetime | None = None
    ) -> tuple[tuple[Found, Found], ...]:
        """What left after a withdrawal although it needed the consent: must be nothing."""
        with self._engine.connect() as connection:
            subject, pseudonyms = self._person(connection, person)
            pairs = query.left_after_withdrawal(connection, pseudonyms, start=start, find=self.find, at=self._at)
        self._record(reader, "after-withdrawal", found=bool(pairs), subject=subject.pseudonym if subject else None)
        return pairs

    def unusual(
        self, reader: Reader, start: datetime, end: datetime, *, queue: bool = False
    ) -> tuple[anomalies.Anomaly, ...]:
        """Unusual patterns in a window. With `queue` those that are new wait for review from then on, on record."""
        now = self._clock()
        with self._engine.connect() as connection:
            found = anomalies.detect(connection, start, end, self._thresholds, now=now, find=self.find)
        self._record(reader, "unusual", found=bool(found), detail={"shown": len(found)})

        def unit(connection: Connection) -> Written[None]:
            opened = reviews.open_anomalies(connection, found, now)
            return Written(None, tuple(self._noticed(reader, one, review, now) for one, review in opened))

        if queue and found:
            self._log.commit_blocking(unit)
        return found

    def _noticed(self, reader: Reader, seen: anomalies.Anomaly, review: reviews.Review, now: datetime) -> Entry:
        return Story(client=reader.client, user=reader.user, node=self._node).entry(
            "anomaly",
            "pending",
            now,
            previous=seen.entries[0],
            detail={"rule": seen.rule, "count": seen.count, "review": review.id},
        )

    def days(
        self, reader: Reader, person: Person, *, start: datetime | None = None, end: datetime | None = None
    ) -> tuple[query.Day, ...]:
        """How often a person's data was disclosed, by day."""
        with self._engine.connect() as connection:
            subject, pseudonyms = self._person(connection, person)
            told = query.heat(connection, query.disclosures(pseudonyms, start=start, end=end), find=self.find)
        self._record(reader, "days", found=bool(told), subject=subject.pseudonym if subject else None)
        return told

    def flows(self, reader: Reader, start: datetime, end: datetime) -> tuple[tallies.Count, ...]:
        """How much went from whom to whom in a window."""
        with self._engine.connect() as connection:
            told = tallies.between(connection, start, end)
        self._record(reader, "flows", found=bool(told))
        return told

    def unreviewed(self, reader: Reader) -> Unreviewed:
        """What nobody has signed off: emergency accesses, and patterns that were put into the queue."""
        with self._engine.connect() as connection:
            told = Unreviewed(
                reviews.unreviewed_emergencies(connection, find=self.find), reviews.waiting(connection, kind="anomaly")
            )
        shown = len(told.emergencies) + len(told.patterns)
        self._record(reader, "unreviewed", found=bool(shown), detail={"shown": shown})
        return told

    def rulebook_change(
        self, reader: Reader, rulebook: str, *, start: datetime | None = None, end: datetime | None = None
    ) -> Foresight:
        """Which recorded exchanges of a window a new rulebook would change. Raises OfficerError, and what
        `Proposals.compare` raises.
        """
        if start is not None and end is not None and start >= end:
            raise OfficerError("to", "the time window ends before it begins")
        told = self.proposals.compare(rulebook, start=start, end=end)
        self._record(
            reader,
            "rulebook-change",
            found=bool(told.swing.entries),
            detail={
                **Filters(start, end).to_codes(),
                "rulebook": told.new.digest,
                "recorded": told.swing.decisions,
                "otherwise": told.swing.otherwise,
            },
        )
        return told

    def decision(self, reader: Reader, entry: str) -> tuple[Kept, bytes] | None:
        """The decision that is kept for an entry (id or place), opened, and the rulebook by which it was made."""
        with self._engine.connect() as connection:
            found = self.locate(connection, entry)
        kept = None if found is None else self._kept(found)
        text = None if kept is None else kept_rulebook(self._engine, kept.rulebook)
        self._record_of(reader, "explain", found, {}, seen=kept is not None)
        return None if kept is None or text is None else (kept, text)

    def replayed(
        self, reader: Reader, *, since: datetime | None = None, entry: str | None = None, progress: Progress
    ) -> Replay:
        """The kept decisions since a moment, or that of one entry, made again. One entry records the whole run."""
        found = None
        if entry is not None:
            with self._engine.connect() as connection:
                found = self.locate(connection, entry)
            entry = found.entry.id if found is not None else entry
        kept = kept_decisions(self._engine, self._subjects, since=since, entry=entry)
        with closing(kept):
            told = replay(kept, lambda digest: kept_rulebook(self._engine, digest), progress)
        detail = {**Filters(since).to_codes(), "recorded": told.decisions, "same": told.same}
        self._record_of(reader, "replay", found, detail, seen=bool(told.decisions))
        return told

    def swing(
        self,
        reader: Reader,
        old: Rulebook,
        new: Rulebook,
        *,
        since: datetime | None = None,
        progress: Progress,
    ) -> Swing:
        """How two rulebooks decide what was recorded since a moment. One entry records the whole run."""
        kept = kept_decisions(self._engine, self._subjects, since=since)
        with closing(kept):
            told = count_swing(kept, old, new, progress)
        self._record(
            reader,
            "rulebook-change",
            found=bool(told.entries),
            detail={
                **Filters(since).to_codes(),
                "rulebook": new.digest,
                "recorded": told.decisions,
                "otherwise": told.otherwise,
            },
        )
        return told

    def _kept(self, found: Found) -> Kept | None:
        with closing(kept_decisions(self._engine, self._subjects, entry=found.entry.id)) as kept:
            return next(kept, None)

    def _record_of(
        self,
        reader: Reader,
        what: str,
        found: Found | None,
        detail: Mapping[str, str | int | bool],
        *,
        seen: bool,
    ) -> None:
        """Put on record that decisions were opened: those of many, or that of one entry, with its place and person."""
        if found is None:
            self._record(reader, what, found=seen, detail=detail)
        else:
            of = {**detail, "of": found.index}
            self._record(reader, what, found=seen, subject=found.entry.subject, detail=of)

    def sign_off(
        self, reader: Reader, entry: str, *, verdict: str, remark: str, rule: str | None = None
    ) -> reviews.Review:
        """Sign an emergency access or a pattern off; the decision is on record with it.

        `entry` is the id of the entry that it is about, or its place in the log; `rule` says which of its reviews is
        meant where several wait. Raises ReviewError, and OfficerError if that is not said or there is none by it.
        """
        now = self._clock()
        with self._engine.connect() as connection:
            found = self.locate(connection, entry)
        if found is None:
            raise reviews.ReviewError(f"there is no entry {entry}")

        def unit(connection: Connection) -> Written[reviews.Review]:
            review = reviews.meant(connection, found, rule, now)
            done = reviews.sign_off(
                connection, review.id, by=reader.user or reader.client, verdict=verdict, remark=remark, now=now
            )
            record = Story(client=reader.client, user=reader.user, node=self._node, subject=found.entry.subject).entry(
                "decision",
                "success",
                now,
                previous=found.entry.id,
                detail={"question": "sign-off", "review": review.kind, "rule": review.name, "verdict": verdict},
            )
            return Written(done, (record,))

        try:
            return self._log.commit_blocking(unit).value
        except reviews.ChoiceError as error:
            raise OfficerError("rule", str(error)) from None

    # -- proofs -----------------------------------------------------------------------------------------------------

    def locate(self, connection: Connection, entry: str) -> Found | None:
        """The entry with this id or, if it is a number, at this index; also from the archive."""
        # More digits than a database's whole numbers have are no index.
        if not (entry.isascii() and entry.isdecimal() and len(entry) <= 18):
            return query.by_id(connection, entry, find=self.find)
        return self._at(connection, int(entry))

    def _at(self, connection: Connection, index: int) -> Found | None:
        found = query.by_index(connection, index)
        if found is None:
            kept = self._opened(connection)
            if kept is not None:
                with self._lock:
                    archived = kept.entry(index)
                return None if archived is None else Found(index, archived)
        return found

    def check(self, reader: Reader, newest: int) -> Report:
        """Have the newest entries been altered? Raises CheckingError while another check is made."""
        if not 1 <= newest <= MOST:
            raise OfficerError("newest", f"between 1 and {MOST} of the newest entries are checked at once")
        told = check_newest(
            self._engine, self.checking, log_key=self._log_key, witnesses=self.witness_keys(), newest=newest
        )
        self._record(reader, "check", found=True, detail=told.to_codes())
        return told

    def prove(self, reader: Reader, entry: str) -> proofs.EntryProof | None:
        """The proof that an entry stands in the log, or None if there is no such entry."""
        with self._engine.connect() as connection:
            found = self.locate(connection, entry)
            proof = None if found is None else proofs.prove(connection, found.index, found.entry)
        self._record(
            reader,
            "proof",
            found=found is not None,
            subject=found.entry.subject if found else None,
            detail={"of": found.index} if found else {},
        )
        return proof

    def prove_to_others(
        self, reader: Reader, entries: Sequence[str], *, earlier: Sequence[str] = ()
    ) -> tuple[bytes, tuple[str, ...]]:
        """A file that proves these entries to anyone, and those of them that are not in the log. Raises ProofError."""
        with self._engine.connect() as connection:
            located = {entry: self.locate(connection, entry) for entry in entries}
            found = [item for item in located.values() if item is not None]
            whole = proofs.export_proofs(
                connection,
                [],
                log_key=self._log_key,
                witnesses=self.witness_keys(),
                archived=[(item.index, item.entry) for item in found],
                earlier=earlier,
            )
        missing = tuple(entry for entry, item in located.items() if item is None)
        self._record(reader, "proofs", type_="export", found=bool(found), detail={"entries": len(found)})
        return whole, missing

    def witness_keys(self) -> tuple[VerifierKey, ...]:
        """The witnesses that the registry lists."""
        standing = self._standing()
        return () if standing is None else standing.registry.witness_keys

    def unchanged_since(self, reader: Reader, note: str) -> proofs.Continuity:
        """Has the log been altered since this checkpoint of it? Raises NoteError."""
        with self._engine.connect() as connection:
            told = proofs.unchanged_since(connection, note, self._log_key)
        self._record(reader, "unchanged-since", found=True, detail={"size": told.earlier.size, "holds": told.unchanged})
        return told

    # -- reports and exports ----------------------------------------------------------------------------------------

    def extract(
        self,
        reader: Reader,
        person: Person,
        *,
        language: str,
        start: datetime | None = None,
        end: datetime | None = None,
        for_officer: bool = False,
    ) -> report.Extract:
        """What the log says about one person, for them to read."""
        with self._engine.connect() as connection:
            subject, pseudonyms = self._person(connection, person)
            made = report.extract(
                connection,
                pseudonyms,
                controller=self._controller.name,
                language=language,
                now=self._clock(),
                start=start,
                end=end,
                names=self.names,
                hidden_bases=self._hidden(),
                for_officer=for_officer,
                find=self.find,
            )
        self._record(
            reader,
            "extract",
            type_="export",
            found=subject is not None,
            subject=subject.pseudonym if subject else None,
            detail={"lines": len(made.disclosures), "language": language},
        )
        return made

    def _hidden(self) -> frozenset[str]:
        standing = self._standing()
        return frozenset() if standing is None else hidden_bases(standing.rulebook)

    def record_of_processing(self, reader: Reader, year: int, *, language: str) -> report.RecordOfProcessing:
        """The record of processing activities of one year."""
        standing = self._standing()
        described = () if standing is None else activities(standing.rulebook, language)
        with self._engine.connect() as connection:
            made = report.record_of_processing(
                connection,
                year,
                described,
                controller=self._controller,
                language=language,
                now=self._clock(),
                names=self.names,
            )
        self._record(reader, "record-of-processing", type_="export", found=True, detail={"year": year})
        return made

    def export(self, reader: Reader, question: Question, form: str, *, limit: int | None = None) -> Iterator[bytes]:
        """The whole answer as CSV, JSON Lines or a FHIR bundle, in pieces. On record before the first piece."""
        if form not in EXPORTS:
            raise OfficerError("format", f"there is no such format; use one of {', '.join(EXPORTS)}")
        with self._engine.connect() as connection:
            filters, subject = self._filters(connection, question)
            some = bool(self.find(connection, filters, order="oldest", after=None, limit=1).found)
        place = self._record(
            reader,
            question.name,
            type_="export",
            found=some,
            subject=subject.pseudonym if subject else None,
            case=filters.case,
            detail={**filters.to_codes(), "format": form},
        )
        return self._exported(filters, form, limit, place)

    def _exported(self, filters: Filters, form: str, limit: int | None, place: int) -> Iterator[bytes]:
        with self._engine.connect() as connection:
            whole = query.walk(connection, filters, order="oldest", limit=limit, find=self.find)
            found = (item for item in whole if item.index < place)  # the log as it was when it was asked
            if form == "csv":
                yield from (line.encode() for line in export.to_csv(found))
            elif form == "jsonl":
                yield from export.to_json_lines(found)
            else:
                yield from export.to_fhir(found, origin=self._log.origin)

    # -- the person's own view --------------------------------------------------------------------------------------

    def usages(
        self,
        reader: Reader,
        person: Person,
        *,
        start: datetime | None,
        end: datetime | None,
        offset: int,
        limit: int,
        language: str,
    ) -> data_tracker.Usages:
        """Uses of a person's data as they may see them. Raises UsageError."""
        with self._engine.connect() as connection:
            subject, pseudonyms = self._person(connection, person)
            told = data_tracker.find_usage(
                connection,
                pseudonyms,
                start=start,
                end=end,
                offset=offset,
                limit=limit,
                language=language,
                names=self.names,
                hidden_bases=self._hidden(),
                find=self.find,
            )
        self._record(
            reader,
            "usages",
            found=bool(told.usages),
            subject=subject.pseudonym if subject else None,
            detail={"shown": len(told.usages)},
        )
        return told

    def usage_period(self) -> data_tracker.UsagePeriod:
        """The time that the log covers; about nobody, so not on record."""
        with self._engine.connect() as connection:
            return data_tracker.usage_period(connection, self._clock(), find=self.find)

    def heartbeat(self) -> data_tracker.Heartbeat:
        """Whether uses can be looked up just now; about nobody, so not on record."""
        with self._engine.connect() as connection:
            return data_tracker.heartbeat(connection)

    # -- archiving ------------------------------------------------------------------------------------------------

    def archive_months(
        self, reader: Reader, folder: Path, *, prune: bool, progress: Callable[[int, int], None] | None = None
    ) -> tuple[archive.Month, ...]:
        """Write the months that are over to a folder and check what was written; with `prune`, take them out of the
        database. Raises ArchiveError.
        """
        now = self._clock()
        with self._engine.connect() as connection:
            due = archive.closed_months(connection, now)
        done = []
        for number, (name, first, through) in enumerate(due):

            def unit(connection: Connection, name: str = name, first: int = first, through: int = through) -> Any:
                month = archive.archive_month(connection, folder, name, first, through, now=now)
                return Written(month, (self._archived(reader, "archive", month),))

            month: archive.Month = self._log.commit_blocking(unit).value
            checked = archive.verify_month(folder, month.name, self._log_key)
            if not checked.sound:
                raise archive.ArchiveError(f"{month.name} does not hold at entry {checked.first}: {checked.problem}")
            done.append(month)
            if progress is not None:
                progress(number + 1, len(due))
        if prune:
            self._prune(reader, folder)
        return tuple(done)

    def _prune(self, reader: Reader, folder: Path) -> None:
        with self._engine.connect() as connection:
            names = connection.scalars(
                select(archives.c.month).where(archives.c.pruned.is_(None)).order_by(archives.c.first)
            ).all()
        kept = {month.name: month for month in archive.months(folder)}
        for name in names:
            if name not in kept:
                raise archive.ArchiveError(f"{name} is not in {folder}; name the folder that it was archived to")
            self._log.append_blocking((self._archived(reader, "prune", kept[name]),))
            archive.prune(self._engine, folder, name, log_key=self._log_key, now=self._clock())

    def _archived(self, reader: Reader, action: str, month: archive.Month) -> Entry:
        now = self._clock()
        return Story(client=reader.client, user=reader.user, node=self._node).entry(
            "export",
            "success",
            now,
            detail={"action": action, "month": month.name, "first": month.first, "through": month.through},
        )

    # -- forgetting ---------------------------------------------------------------------------------------------------

    def forget(self, reader: Reader, person: Person) -> int:
        """Destroy a person's key: their entries stay, and nobody can tell whose they are. Gives how many keys went."""
        now = self._clock()

        def unit(connection: Connection) -> Written[int]:
            known = self._subjects.all_of(connection, *person)
            gone = {id_ for subject in known for id_ in self._subjects.destroy(connection, subject.id, now)}
            # The entry names nobody: it would be the thread by which the others could be found again.
            record = Story(client=reader.client, user=reader.user, node=self._node).entry(
                "key",
                "success" if gone else "not-found",
                now,
                detail={"action": "destroy-subject-key", "keys": len(gone)},
            )
            return Written(len(gone), (record,))

        gone = self._log.commit_blocking(unit).value
        if gone:
            with self._engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
                scrub(connection)
        return gone
