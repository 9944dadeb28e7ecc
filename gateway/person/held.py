"""Records that name two persons who are known apart: each waits on its own, and nobody's other data waits with it.

A held record is sealed under a subject of its own and is found under each identifier that it names. It leaves by one of
three exits: a registrar says that it is one person, or that it is not, or the register sends the same record without
the contradiction. Which record it is, its key in the register says, and never the identifiers that are in doubt.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from itertools import chain
from typing import Any

import orjson
from sqlalchemy import Connection, Row, insert, select, update

from audit.log.entries import Entry, EntryType, Outcome, micros, new_id
from audit.log.statements import Counted
from audit.questions.subjects import Subject, Subjects
from gateway.person.values import Named, Person, acting
from gateway.storage.sealing import seal, unseal
from gateway.storage.tables import held_records
from gateway.story import Story
from gateway.wire.problems import ProblemError

NOT_PLACED = "not-placed"


class HeldState(StrEnum):
    """Where a held record is."""

    HELD = "held"
    FORGOTTEN = "forgotten"  # nobody can read it any more
    SAME = "same"  # a registrar said that it is one person
    APART = "apart"  # a registrar said that it is not
    CORRECTED = "corrected"  # the register sent another record in its place
    DONE = "done"  # of a proposal: it was carried out; of a word: it was placed
    DROPPED = "dropped"  # of a proposal: whoever made it, or another, took it back


#: By the leads of one record under each index key in use. The lead of a proposal is an id, and none of these.
_WAITING = Counted(
    lambda leads: (
        select(*(held_records.c[name] for name in ("id", "kind", "reason", "subject", "created", "owner")))
        .where(held_records.c.lead.in_(leads), held_records.c.state == HeldState.HELD.value)
        .order_by(held_records.c.created)
    )
)


class HeldKind(StrEnum):
    """What waits."""

    HANDOVER = "handover"
    QUERY = "query"
    PROPOSAL = "proposal"  # an act about two identifiers, until another person carries it out
    WORD = "word"  # a prohibition that names nobody whom it could protect


@dataclass(frozen=True, slots=True)
class HeldRecord:
    """One record that waits, or waited, without what it holds. The reason of a proposal is the act that it is for."""

    id: str
    kind: HeldKind
    member: str
    register: str
    reason: str
    subject: str
    state: HeldState
    created: datetime
    changed: datetime
    settled_by: str | None
    owner: str | None
    about: str | None  # of a proposal to take a held record for one person's: that record


def waiting(connection: Connection) -> tuple[HeldRecord, ...]:
    """All records that wait, the longest waiting first."""
    rows = connection.execute(
        select(held_records)
        .where(held_records.c.state == HeldState.HELD.value)
        .order_by(held_records.c.created, held_records.c.id)
    )
    return tuple(
        HeldRecord(
            row.id,
            HeldKind(row.kind),
            row.member,
            row.register,
            row.reason,
            row.subject,
            HeldState(row.state),
            _at(row.created),
            _at(row.changed),
            row.settled_by,
            row.owner,
            (row.lead or None) if row.kind == HeldKind.PROPOSAL.value else None,
        )
        for row in rows
    )


@dataclass(frozen=True, slots=True)
class _Deed:
    """What was done with a held record, how it came out, when, and by whom; None: by the node itself."""

    act: str
    outcome: Outcome
    at: datetime
    by: str | None


@dataclass(frozen=True, slots=True)
class Proposal:
    """What is proposed: the act, all of it as it is kept, and by whom."""

    act: str
    kept: bytes
    by: str


class HeldRecords:
    """The held records of one node."""

    def __init__(self, node: str, subjects: Subjects, clock: Callable[[], datetime]) -> None:
        self._node = node
        self._subjects = subjects
        self._clock = clock

    def hold(
        self, connection: Connection, person: Person, kind: HeldKind, record: bytes | None = None
    ) -> tuple[ProblemError, tuple[Entry, ...]]:
        """Put a record aside, in a unit. Gives the problem to answer with, and the entries that tell of it.

        A record that comes again while it waits, is put aside once: the newest is what will go on. If it names other
        people by now, or for another reason not one, it takes the place of the former.
        """
        now, named = self._clock(), person.named
        assert person.conflict is not None
        subjects, leads = self._subjects.of(named.member), self._leads(named)
        register = named.register.name if named.register is not None else ""
        content = record or orjson.dumps({"identifiers": named.pairs, "record_key": named.key})
        met = subjects.ensure(connection, named.pairs, now)
        names = {subject.id for known in met for subject in known.subjects}
        row = {
            "kind": kind.value,
            "member": named.member,
            "register": register,
            "reason": person.conflict.value,
            "lead": leads[0],
            "created": micros(now),
        }
        entries: tuple[Entry, ...] = ()
        for held, held_as, reason, subject_id, created, owner in _WAITING.rows(connection, leads):
            # The same record may wait to go in several flows: none of them takes the place of another.
            if held_as != kind.value or _flow(self.content(connection, held)) != _flow(content):
                continue
            if reason == row["reason"] and names == set(subjects.found_under(connection, [subject_id])):
                self._renew(connection, held, subject_id, content, now)
                return HeldError(held), entries
            # Under an id of its own: what a registrar saw or proposed of the former one is not said of this one.
            entries += self.settle(connection, held, HeldState.CORRECTED, f"register {register}", now)
            # Its age stays: a register that names somebody else each day would never be overdue.
            row |= {"created": min(created, row["created"]), "owner": owner}
        subject = subjects.claim(connection, named.pairs, now)
        deed = _Deed("held", Outcome.PENDING, now, None)
        identifier, entry = self._keep(connection, row, subject, content, deed)
        return HeldError(identifier), (*entries, entry)

    def _leads(self, named: Named) -> tuple[str, ...]:
        """By what a register's record is known while it waits, under each index key in use; to be written is the first.

        Without a key it is known by all that it names. By one identifier it would be taken for the record of whoever
        has that identifier by right, and that record would put an end to it.
        """
        register = named.register.name if named.register is not None else ""
        known_by = ("key", named.key) if named.key is not None else ("names", *chain(*sorted(named.pairs)))
        parts = (named.member, register, *known_by)
        return self._subjects.fingerprints("held", *(part.encode() for part in parts))

    def _renew(self, connection: Connection, held: str, subject: str, content: bytes, now: datetime) -> None:
        key = self._subjects.key_of(connection, subject)
        if key is None:
            return
        connection.execute(
            update(held_records)
            .where(held_records.c.id == held, held_records.c.state == HeldState.HELD.value)
            .values(sealed=seal(key, f"held/{held}", content), changed=micros(now))
        )

    def propose(
        self, connection: Connection, member: str, pairs: Sequence[tuple[str, str]], proposal: Proposal
    ) -> tuple[str, tuple[Entry, ...]]:
        """Keep an act about two identifiers until another person carries it out. In a unit; gives its id."""
        subject = self._subjects.of(member).claim(connection, pairs, self._clock())
        return self._propose(connection, {"member": member, "lead": ""}, subject, proposal)

    def propose_same(self, connection: Connection, held: str, proposal: Proposal) -> tuple[str, tuple[Entry, ...]]:
        """Keep that a held record is about one person until another person says so too. In a unit; gives its id.

        Raises ProblemError `not-found` for a record that does not wait.
        """
        record = self._waiting(connection, held)
        subject = self._subjects.of(record.member).by_id(connection, record.subject)
        if subject is None:
            raise _gone()
        return self._propose(connection, {"member": record.member, "lead": held}, subject, proposal)

    def _propose(
        self, connection: Connection, row: Mapping[str, str], subject: Subject, proposal: Proposal
    ) -> tuple[str, tuple[Entry, ...]]:
        now = self._clock()
        more = {"kind": HeldKind.PROPOSAL.value, "register": "", "reason": proposal.act, "owner": proposal.by[:128]}
        deed = _Deed("proposed", Outcome.PENDING, now, proposal.by)
        identifier, entry = self._keep(
            connection, {**row, **more, "created": micros(now)}, subject, proposal.kept, deed
        )
        return identifier, (entry,)

    def proposed_about(self, connection: Connection, held: str) -> tuple[str, ...]:
        """The proposals that wait about a held record."""
        return tuple(
            connection.scalars(
                select(held_records.c.id).where(
                    held_records.c.lead == held,
                    held_records.c.kind == HeldKind.PROPOSAL.value,
                    held_records.c.state == HeldState.HELD.value,
                )
            )
        )

    def keep_word(self, connection: Connection, member: str, form: bytes) -> tuple[str, tuple[Entry, ...]]:
        """Keep a prohibition that cannot be tied to a person until a human places it. In a unit; gives its id."""
        now = self._clock()
        subject = self._subjects.of(member).nobody(connection, now)
        row = {"kind": HeldKind.WORD.value, "member": member, "register": "", "reason": NOT_PLACED, "lead": ""}
        deed = _Deed("held", Outcome.PENDING, now, None)
        identifier, entry = self._keep(connection, {**row, "created": micros(now)}, subject, form, deed)
        return identifier, (entry,)

    def approved(self, connection: Connection, proposal: str, by: str, now: datetime) -> tuple[Entry, ...]:
        """A proposal is being carried out. Raises ProblemError for one that does not wait any more."""
        return self.settle(connection, proposal, HeldState.DONE, by, now)

    def _keep(
        self, connection: Connection, row: Mapping[str, str | int], subject: Subject, content: bytes, deed: _Deed
    ) -> tuple[str, Entry]:
        identifier = new_id(deed.at)
        entry = self._entry(identifier, subject, (str(row["kind"]), str(row["reason"])), deed)
        connection.execute(
            insert(held_records),
            {
                **row,
                "id": identifier,
                "subject": subject.id,
                "state": HeldState.HELD.value,
                "changed": micros(deed.at),
                "entry": entry.id,
                "sealed": seal(subject.key, f"held/{identifier}", content),
            },
        )
        return identifier, entry

    def corrected(self, connection: Connection, named: Named, now: datetime) -> tuple[Entry, ...]:
        """The register's record of this key does not contradict itself any more: what waits of it leaves. In a unit."""
        if named.register is None or not named.register.name:
            return ()
        entries: list[Entry] = []
        for identifier, *_ in _WAITING.rows(connection, self._leads(named)):
            entries += self.settle(connection, identifier, HeldState.CORRECTED, f"register {named.register.name}", now)
        return tuple(entries)

    def settle(
        self, connection: Connection, identifier: str, state: HeldState, by: str, now: datetime
    ) -> tuple[Entry, ...]:
        """Let a record leave by one of its exits, and what was proposed about it with it. In a unit.

        The entries stand only if it left. Raises ProblemError `not-found` for one that does not wait.
        """
        row = self._waiting(connection, identifier)
        moved = connection.execute(
            update(held_records)
            .where(held_records.c.id == identifier, held_records.c.state == HeldState.HELD.value)
            .values(state=state.value, changed=micros(now), settled_by=by[:128], sealed=None)
        ).rowcount
        if moved == 0:
            raise _gone()
        who = None if state is HeldState.CORRECTED else by  # then it is the register that did it, and nobody else
        entries = [self._told(connection, row, _Deed(state.value, Outcome.SUCCESS, now, who))]
        for proposal in self.proposed_about(connection, identifier):
            # Else it would wait for ever, and be approved about a record that nobody can look at any more.
            entries += self.settle(connection, proposal, state, by, now)
        return tuple(entries)

    def take(self, connection: Connection, identifier: str, by: str, now: datetime) -> tuple[Entry, ...]:
        """Somebody answers for a held record from now on, whoever did before. In a unit.

        Raises ProblemError `not-found` for one that does not wait.
        """
        row = self._waiting(connection, identifier)
        taken = connection.execute(
            update(held_records)
            .where(
                held_records.c.id == identifier,
                held_records.c.state == HeldState.HELD.value,
            )
            .values(owner=by[:128], changed=micros(now))
        ).rowcount
        if taken == 0:
            raise _gone()
        if row.owner == by[:128]:
            return ()
        return (self._told(connection, row, _Deed("taken", Outcome.SUCCESS, now, by)),)

    def opened(self, connection: Connection, identifier: str, by: str, now: datetime) -> tuple[Entry, ...]:
        """Somebody has seen whom what waits is about. Raises ProblemError `not-found` for what does not wait."""
        row = self._waiting(connection, identifier)
        return (self._told(connection, row, _Deed("opened", Outcome.SUCCESS, now, by)),)

    def content(self, connection: Connection, identifier: str) -> bytes | None:
        """What waits, unsealed; None where nothing was kept, or the person was forgotten."""
        row = connection.execute(
            select(held_records.c.sealed, held_records.c.subject).where(held_records.c.id == identifier)
        ).first()
        key = self._subjects.key_of(connection, row.subject) if row is not None else None
        if row is None or row.sealed is None or key is None:
            return None
        return unseal(key, f"held/{identifier}", row.sealed)

    def waiting(self, connection: Connection) -> tuple[HeldRecord, ...]:
        """All records that wait, the longest waiting first."""
        return waiting(connection)

    def _waiting(self, connection: Connection, identifier: str) -> Row[Any]:
        row = connection.execute(
            select(held_records).where(held_records.c.id == identifier, held_records.c.state == HeldState.HELD.value)
        ).first()
        if row is None:
            raise _gone()
        return row

    def _told(self, connection: Connection, row: Row[Any], deed: _Deed) -> Entry:
        subject = self._subjects.of(row.member).by_id(connection, row.subject)
        return self._entry(row.id, subject, (row.kind, row.reason), deed)

    def _entry(self, identifier: str, subject: Subject | None, about: tuple[str, str], deed: _Deed) -> Entry:
        kind, reason = about
        story = Story(node=self._node or None) if deed.by is None else acting(deed.by, self._node)
        return replace(story, subject=subject.pseudonym if subject is not None else None).entry(
            EntryType.IDENTITY,
            deed.outcome,
            deed.at,
            reason=NOT_PLACED if reason == NOT_PLACED else "subject-ambiguous",
            detail={
                "act": deed.act,
                "held": identifier,
                "proposal" if kind == HeldKind.PROPOSAL.value else "conflict": reason,
            },
        )


def _flow(content: bytes | None) -> str | None:
    found: str | None = orjson.loads(content or b"{}").get("flow")
    return found


def _gone() -> ProblemError:
    return ProblemError("not-found", detail="no record of that id waits for a decision about who it is about")


class HeldError(ProblemError):
    """A record names identifiers of two people. It waits as `held`."""

    def __init__(self, held: str) -> None:
        super().__init__(
            "subject-ambiguous",
            detail=f"the record names identifiers of two people; it waits as {held}",
            remedy="mend the record in the register and send it again, or have a registrar decide who it is about",
        )
        self.held = held


def held_as(problem: ProblemError) -> str:
    """The id under which the record that a problem is about waits for a decision; empty if it does not."""
    return problem.held if isinstance(problem, HeldError) else ""


def _at(value: int) -> datetime:
    return datetime.fromtimestamp(value / 1_000_000, UTC)
