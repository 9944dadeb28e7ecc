"""Record what people permit, consent to, forbid and take back.

A change is in force for every decision whose record comes after it: the release of an answer or a delivery compares
the person's words under the same lock. Deliveries that were planned are decided again when they are sent, so nothing
more is needed to stop them. Recipients that already hold data under a word that ends, or of a kind that is now
forbidden, get a signed notice (`notices`). What somebody reports who may not speak for the person waits in `reports`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from audit.log.entries import Categories, Entry, new_id
from audit.log.waiting import Written
from audit.questions.subjects import Subject
from consent.words import store
from consent.words.consents import ConsentRecord, Ending, Stamp, WordKind, WordStatus
from consent.words.reading import ConsentError
from gateway.consents.endings import UNSAID, Lifting, TakenBack, check_reason, check_taken_back, invalid
from gateway.consents.notices import Change, Notices
from gateway.exchange.context import Exchange
from gateway.obligations.asking import answered
from gateway.person.values import Person
from gateway.registry.read.standing import Standing
from gateway.sources.backends import Locator
from gateway.storage.engine import read
from gateway.story import Story
from gateway.wire.identifiers import IdentifierError, SubsystemId
from gateway.wire.problems import ProblemError
from schemas.identifiers import born


@dataclass(frozen=True, slots=True)
class Recorder:
    """The client that records a word, and the subsystem in whose name."""

    client: str
    subsystem: SubsystemId


@dataclass(frozen=True, slots=True)
class Recorded:
    """A record that stands, whether it had been recorded before, and how many recipients are being told."""

    record: ConsentRecord
    known: bool
    notices: int


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """A word that ended, how many recipients are being told, and whether it had ended before."""

    record: ConsentRecord
    notices: int
    known: bool = False


class Consents:
    """The words that this node holds. A member sees and ends only what was recorded in its own name."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._notices = Notices(exchange)

    async def record(
        self, client: str, recorder: SubsystemId, locator: Locator, document: dict[str, Any], *, once: bool = False
    ) -> Recorded:
        """Store a word from its JSON. With `once`, one that was taken before with the same content is not taken anew.

        Raises ProblemError `consent-invalid`.
        """
        standing = self._exchange.standing_though_held(self._exchange.clock())
        check_codes(standing, document)
        who = Recorder(client, recorder)

        def write(connection: Connection) -> Written[Recorded]:
            return self.write(connection, who, locator, document, once=once)

        return (await self._exchange.log.commit(write)).value

    def write(
        self, connection: Connection, who: Recorder, locator: Locator, document: dict[str, Any], *, once: bool = False
    ) -> Written[Recorded]:
        """The same inside a transaction, of a form whose codes were checked."""
        now = self._exchange.clock()
        standing = self._exchange.standing_though_held(now)
        named = self._exchange.looked_for(who.subsystem, locator.system, locator.value)
        subject = self._exchange.people.file(connection, named, now).subject
        person = self._exchange.people.recall_in(connection, named)
        try:
            stamp = Stamp(new_id(now), subject.id, str(who.subsystem), now)
            record = ConsentRecord.from_form(document, stamp, born(locator.system, locator.value))
        except ConsentError as error:
            raise invalid(error) from None
        if once and (taken := _taken(connection, person, record)) is not None:
            return Written(Recorded(taken, True, 0), ())
        store.add(connection, record)
        entry = entry_of(self._exchange, who, record, subject, now)
        notices = 0
        if record.forbids and record.kind is not WordKind.REPORT:
            change = Change(record, who.subsystem, subject, entry, standing, now)
            notices = self._notices.of_prohibition(connection, change, person, locator)
        # Whoever is found under these identifiers: a task names the person as the handover's record did.
        known = {subject.id, *(other.id for known in person.known for other in known.subjects)}
        story = Story(node=self._exchange.node, client=who.client, source=str(who.subsystem), subject=subject.pseudonym)
        ended = answered(connection, story, record, known, standing.rulebook)
        return Written(Recorded(record, False, notices), (entry, *ended))

    async def withdraw(
        self,
        client: str,
        recorder: SubsystemId,
        identifier: str,
        ending: Ending = WordStatus.WITHDRAWN,
        said: TakenBack = UNSAID,
    ) -> Withdrawn:
        """End a permission or consent, or lift a prohibition, and plan the notices; doing it again changes nothing.

        A prohibition says who takes it back. Raises ProblemError `consent-unknown`, `consent-withdrawn`,
        `consent-invalid`.
        """
        now = self._exchange.clock()
        standing = self._exchange.standing_though_held(now)
        who = Recorder(client, recorder)

        def write(connection: Connection) -> Written[Withdrawn]:
            held, subject = own_word(self._exchange, connection, recorder, identifier)
            if held.status is ending:
                # A client that lost the first answer does it again, and reads what stands.
                return Written(Withdrawn(held, 0, known=True), (self._reading(who, subject.pseudonym, (held,)),))
            if not held.stands:
                raise ProblemError("consent-withdrawn", detail=f"the record is {held.status} already")
            # Whatever the ending is called: only what the person answers, or silence, ends what holds in their favour.
            if held.kind is WordKind.REPORT:
                raise ProblemError(
                    "invalid-request",
                    detail="what somebody else reported is not theirs to take back",
                    remedy="ask the person, and say what they answered (POST /v1/reports/ID/answer)",
                )
            check_reason(ending, said, is_needed=held.forbids)
            if held.forbids:
                check_taken_back(self._exchange, connection, Lifting(held, recorder, now), said)
            record = held.ended(ending, now, str(recorder)).taken_back_by(said.giver, said.error)
            store.add(connection, record)
            entry = entry_of(self._exchange, who, record, subject, now)
            change = Change(record, recorder, subject, entry, standing, now)
            return Written(Withdrawn(record, self._notices.of_ending(connection, change)), (entry,))

        return (await self._exchange.log.commit(write)).value

    async def of(self, client: str, recorder: SubsystemId, locator: Locator) -> tuple[ConsentRecord, ...]:
        """The current consents and refusals of a person. Reading them is on record."""
        named = self._exchange.looked_for(recorder, locator.system, locator.value)
        person = await self._exchange.people.recall(named)
        found = tuple(word for word in person.shown if is_of(word, recorder))
        if person.subject is not None:
            await self._record_reading(client, recorder, person.subject.pseudonym, found)
        return found

    async def history(self, client: str, recorder: SubsystemId, identifier: str) -> tuple[ConsentRecord, ...]:
        """All versions of one consent, oldest first; reading them is on record. Raises `consent-unknown`."""

        def look(connection: Connection) -> tuple[tuple[ConsentRecord, ...], Subject | None]:
            versions = store.history(connection, identifier)
            return versions, self._exchange.subjects.by_id(connection, versions[0].subject) if versions else None

        versions, subject = await read(self._exchange.engine, look)
        if subject is None or not is_of(versions[0], recorder):
            raise _unknown()
        await self._record_reading(client, recorder, subject.pseudonym, versions[-1:])
        return versions

    async def _record_reading(
        self, client: str, recorder: SubsystemId, pseudonym: str, found: tuple[ConsentRecord, ...]
    ) -> None:
        await self._exchange.log.append((self._reading(Recorder(client, recorder), pseudonym, found),))

    def _reading(self, who: Recorder, pseudonym: str, found: tuple[ConsentRecord, ...]) -> Entry:
        by, shown = str(who.subsystem), tuple((item.id, item.version) for item in found)
        story = Story(client=who.client, node=self._exchange.node, recipient=by, source=by, subject=pseudonym)
        return story.entry("consent", "success", self._exchange.clock(), consents=shown, detail={"act": "read"})


def own_word(
    exchange: Exchange, connection: Connection, recorder: SubsystemId, identifier: str
) -> tuple[ConsentRecord, Subject]:
    """A word that was recorded in the name of the caller's member, and whose it is. Raises `consent-unknown`."""
    held = store.current(connection, identifier)
    subject = exchange.subjects.by_id(connection, held.subject) if held is not None else None
    if held is None or subject is None or not is_of(held, recorder):
        raise _unknown()
    return held, subject


def check_codes(standing: Standing, document: dict[str, Any]) -> None:
    """A word speaks in the rulebook's codes: one that was misspelt would protect nobody. Raises `consent-invalid`."""
    rulebook = standing.rulebook
    roles = set(rulebook.roles)
    for name, known in (("purposes", set(rulebook.purposes)), ("categories", set(rulebook.categories))):
        for index, code in enumerate(_listed(document.get(name))):
            if code not in known:
                raise invalid(ConsentError(f"/{name}/{index}", "is no code of the rulebook"))
    members = {str(member.id) for member in standing.registry.members()}
    for index, code in enumerate(_listed(document.get("recipients"))):
        # A prohibition may name one system of an organisation, and then holds for all of it.
        member = "/".join(str(code).split("/")[:3]) if is_prohibition(document) else code
        if isinstance(code, str) and code not in roles and member not in members:
            raise invalid(ConsentError(f"/recipients/{index}", "is neither a role nor a member of the registry"))


def is_prohibition(document: dict[str, Any]) -> bool:
    """Whether a form says that something is forbidden."""
    return document.get("status") == WordStatus.REFUSED or document.get("kind") == WordKind.PROHIBITION


def entry_of(exchange: Exchange, who: Recorder, record: ConsentRecord, subject: Subject, now: datetime) -> Entry:
    """The entry that tells of a new version of a word; a report waits for an answer."""
    named = tuple(sorted(record.categories))
    detail: dict[str, str | int | bool] = {
        "status": record.status.value,
        "version": record.version,
        "kind": record.kind.value,
        "given_by": record.given_by.kind.value,
    }
    if record.target is not None:
        # Of what kind, and not which: a document's code may tell what it is about.
        detail["target"] = record.target.kind.value
    if record.ended_by is not None:
        detail["ended_by"] = record.ended_by.kind.value
    if record.error is not None:
        detail["error"] = record.error.value
    return Story(
        client=who.client or None, node=exchange.node, source=str(who.subsystem), subject=subject.pseudonym
    ).entry(
        "refusal" if record.forbids or record.status is WordStatus.LAPSED else "consent",
        "pending" if record.forbids and record.kind is WordKind.REPORT else "success",
        now,
        categories=Categories(named, ()) if record.carries else Categories((), named),
        consents=((record.id, record.version),),
        detail=detail,
    )


def is_of(record: ConsentRecord, caller: SubsystemId) -> bool:
    """Whether a record was made in the name of the caller's own member."""
    try:
        return SubsystemId.parse(record.recorded_by).member == caller.member
    except IdentifierError:
        return False


def _taken(connection: Connection, person: Person, record: ConsentRecord) -> ConsentRecord | None:
    """The word of a file that was taken before, as it is now. None where it says something that was not said yet.

    A permission or consent that has ended since was taken too: a file that is sent again is nobody's new will. A
    prohibition that was lifted comes back, since it can only protect.
    """
    for word in person.shown:
        if _content(word) == _content(record):
            return word
    if record.forbids:
        return None
    for word in person.shown:
        if not word.stands and _content(store.history(connection, word.id)[0]) == _content(record):
            return word
    return None


def _content(record: ConsentRecord) -> ConsentRecord:
    """What a record says, whoever recorded it and when."""
    return replace(record, id="", version=0, recorded_by="", recorded_at=datetime.min, origin=None)  # noqa: DTZ901


def _listed(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _unknown() -> ProblemError:
    return ProblemError("consent-unknown", detail="this node holds no consent of that id")
