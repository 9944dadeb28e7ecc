"""Find who an item is about, with the words that count for it, and put on record what was found to be one person.

What is read here can change before an answer leaves. `Person.epoch` is what the release is held against: the
transaction that records a release reads the person again under the log's lock, and a word, a link or an undoing that
came in between makes it StaleError. Nothing is joined before that comparison, so that trying again always ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from sqlalchemy import Connection, Engine

from audit.log.entries import Entry, EntryType, Outcome, micros, new_id
from audit.questions import links
from audit.questions.links import GroupTooLargeError, LinkAct, LinkRow, Web
from audit.questions.subjects import Known, Subject, Subjects
from gateway.person import reading, registers, restrictions
from gateway.person.held import HeldRecords
from gateway.person.reading import Asked
from gateway.person.values import ConflictReason, Epoch, Named, Person, Settled
from gateway.person.words import conflict_of, corrects, counting, is_settled, parted, without
from gateway.storage.readers import Readers
from gateway.story import Story


class StaleError(Exception):
    """The person's words or links, or the rulebook, changed between the decision and its record; decide again."""


class People:
    """The data subjects of this node's members."""

    def __init__(self, engine: Engine, subjects: Subjects, held: HeldRecords, node: str = "") -> None:
        self._subjects = subjects
        self._held = held
        self._node = node
        self.readers = Readers(engine)

    def subjects(self, member: str) -> Subjects:
        return self._subjects.of(member)

    async def recall(self, named: Named) -> Person:
        """Read who it is and which words count. Creates nothing."""
        return await self.readers.read(lambda connection: self.recall_in(connection, named))

    def recall_in(self, connection: Connection, named: Named) -> Person:
        """The same inside a transaction."""
        subjects = self._subjects.of(named.member)
        person = self._recalled(connection, named, reading.asked(subjects, named.pairs))
        reached = [subject.id for known in person.known for subject in known.subjects]
        restricted = restrictions.of(connection, subjects, named.pairs, reached)
        return replace(person, restricted=restricted) if restricted else person

    def _recalled(self, connection: Connection, named: Named, asked: tuple[Asked, ...]) -> Person:
        subjects = self._subjects.of(named.member)
        try:
            rows = reading.rows(connection, asked)
        except GroupTooLargeError:
            known = subjects.known(connection, [(identifier.system, identifier.value) for identifier in asked])
            return Person(named, known, (), (), Epoch(), ConflictReason.TOO_MANY, asked=asked)
        found = reading.found(subjects, asked, rows)
        known, web = found.known, _with_notations(found.web, found.known)
        if not found.reached:
            reason = ConflictReason.BIRTH if _mixes(named) else None
            return Person(named, known, (), (), Epoch(), reason, asked=asked, rows=rows)
        held = reading.words(connection, found.reached) if found.changes else ()
        counts, shown = counting(held, known, web, named.member)
        epoch = Epoch(found.changes, tuple((link.first, link.second, link.act.value, link.at) for link in web.links))
        if not named.is_believed or len(named.identifiers) < 2 or is_settled(named, known, web):
            return Person(named, known, counts, shown, epoch, web=web, asked=asked, rows=rows)
        systems = subjects.systems(connection, found.reached)
        conflict, system = conflict_of(named, known, web, systems)
        correction = None
        if conflict is ConflictReason.TWO_VALUES:
            former = registers.named_before(connection, subjects, named)
            correction = corrects(named, known, former, system)
            if correction is not None:
                # Without what the register takes back, is there still something that says two persons?
                web_after = without(web, correction.former)
                left = [(subject, kind) for subject, kind in systems if subject != correction.former]
                conflict, _ = conflict_of(named, known, web_after, left)
                correction = correction if conflict is None else None
        return Person(named, known, counts, shown, epoch, conflict, correction, web, asked)

    def settle(self, connection: Connection, person: Person, now: datetime) -> Settled:
        """In the transaction that records a release: whom it is filed under, and what its record joins.

        Raises StaleError. A person in conflict joins nobody: their record is held, or an emergency passed it.
        """
        if not _is_as_before(connection, person):
            current = self._recalled(connection, person.named, person.asked)
            if current.epoch != person.epoch or current.conflict != person.conflict:
                raise StaleError
            person = current
        return self._join(connection, person, now)

    def file(self, connection: Connection, named: Named, now: datetime) -> Settled:
        """The same where nothing was decided on before: whom an entry about this person is filed under."""
        return self._join(connection, self.recall_in(connection, named), now)

    def file_as(self, connection: Connection, person: Person, now: datetime) -> Settled:
        """The same for a person who was recalled in this very transaction."""
        return self._join(connection, person, now)

    def pseudonyms(self, connection: Connection, person: Person) -> tuple[str, ...]:
        """All pseudonyms under which entries may speak of this person, doubtful joins included: for protecting only."""
        subjects = self._subjects.of(person.named.member)
        ids = person.web.connected(subject.id for known in person.known for subject in known.subjects)
        return tuple(dict.fromkeys(found for id_ in sorted(ids) for found in subjects.pseudonyms(connection, id_)))

    def _join(self, connection: Connection, person: Person, now: datetime) -> Settled:
        named = person.named
        subjects = self._subjects.of(named.member)
        if not named.is_believed or person.conflict is not None:
            # A source that is not believed files under what is known; only who is unknown altogether is made.
            found = person.subject or subjects.ensure(connection, named.pairs[:1], now)[0].subjects[0]
            return Settled(found, () if person.conflict is not None else self._held.corrected(connection, named, now))
        fresh = {(item.system, item.value) for item in person.known if not item.subjects}
        met = subjects.ensure(connection, named.pairs, now) if fresh else person.known
        lead = (person.subject or met[0].subjects[0]) if met else None
        if lead is None:
            raise ValueError("a record names nobody")
        acts = [
            act
            for act in self._acts(person, met, lead, fresh, now)
            # What a former version put under one subject is confirmed as a whole, or not at all: a record that leaves
            # one of the identifiers out says nothing of it, and what was said under it may be a stranger's.
            if act.first != act.second or subjects.names_all(connection, act.first, named.pairs)
        ]
        for act in acts:
            links.add(connection, act)
        if acts or fresh:
            registers.remember(connection, subjects, named, met, now)
        told = [act for act in acts if act.act is not LinkAct.ATTACHED]
        entries = (self._entry(named, lead, told, now),) if told else ()
        return Settled(lead, (*entries, *self._held.corrected(connection, named, now)))

    def _acts(
        self, person: Person, met: Sequence[Known], lead: Subject, fresh: set[tuple[str, str]], now: datetime
    ) -> Sequence[LinkRow]:
        """What this record says about who is who, beyond what stands."""
        register = person.named.register
        name = register.name if register is not None else None
        acts: list[LinkRow] = []

        def act(first: str, second: str, what: LinkAct, reason: str | None = None) -> None:
            acts.append(LinkRow(new_id(now), first, second, what, micros(now), "register", name, reason))

        web = person.web
        if person.correction is not None:
            former = person.correction.former
            for taken_back in web.touching(frozenset({former})):
                act(taken_back.first, taken_back.second, LinkAct.UNDONE, "corrected")
            web = without(web, former)
        certain = web.certain((lead.id,))
        lead_is_fresh = any(lead in item.subjects and (item.system, item.value) in fresh for item in met)
        for item in met:
            for subject in item.subjects[:1]:
                link = web.between(lead.id, subject.id)
                if link is not None and link.act is LinkAct.JOINED:
                    if links.day_of(link.joined) != links.day_of(micros(now)):
                        act(lead.id, subject.id, LinkAct.CONFIRMED)
                elif subject.id not in certain:
                    is_fresh = lead_is_fresh or (item.system, item.value) in fresh
                    act(lead.id, subject.id, LinkAct.ATTACHED if is_fresh else LinkAct.JOINED)
        return acts

    def _entry(self, named: Named, lead: Subject, acts: Sequence[LinkRow], now: datetime) -> Entry:
        return Story(node=self._node or None, subject=lead.pseudonym).entry(
            EntryType.IDENTITY,
            Outcome.SUCCESS,
            now,
            detail={
                "act": acts[-1].act.value,
                "acts": len(acts),
                "register": named.register.name if named.register is not None else "",
            },
        )

    def close(self) -> None:
        """End the reader threads."""
        self.readers.close()


def _is_as_before(connection: Connection, person: Person) -> bool:
    """Whether the rows that the person was read from are the same: words do not change without their epoch."""
    try:
        return person.rows is not None and reading.rows(connection, person.asked) == person.rows
    except GroupTooLargeError:
        return False


def known_apart(connection: Connection, subjects: Subjects, ids: Sequence[str]) -> tuple[Web, ConflictReason | None]:
    """What links these subjects, and why they are known to be several persons; None if nothing says so."""
    try:
        web = links.web(connection, ids)
    except GroupTooLargeError:
        return Web(), ConflictReason.TOO_MANY
    around = tuple({*ids, *(end for link in web.links for end in (link.first, link.second))})
    return web, parted(ids, web, subjects.systems(connection, around))


def _mixes(named: Named) -> bool:
    return named.is_believed and named.contradicts_itself and len(named.identifiers) > 1


def _with_notations(web: Web, known: Sequence[Known]) -> Web:
    """The same web, in which the notations of one identifier are one subject."""
    same = [
        links.Link(item.subjects[0].id, subject.id, LinkAct.ATTACHED, 0, 0, None)
        for item in known
        for subject in item.subjects[1:]
    ]
    return Web((*web.links, *same)) if same else web
