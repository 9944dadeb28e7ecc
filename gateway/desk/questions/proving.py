"""Can the log be trusted? Its seal and witnesses, one record with its proof, proofs for others, what was altered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final

import orjson
from pydantic import Field
from sqlalchemy import func, select

from audit.log.entries import Entry, EntryType
from audit.log.tables import cosignatures
from audit.questions import query
from audit.questions.check import Report
from audit.questions.checking import MOST, check_newest
from audit.questions.query import Filters, Found
from audit.questions.said import Aim, aim_of, terms_in, word_of
from audit.tree import proofs
from audit.tree.checkpoint import MAX_NOTE_BYTES, Checkpoint
from audit.tree.merkle import ProofError
from audit.tree.witness import Alarm, Watched, all_alarms, watched
from consent.checking.explaining import explain
from consent.deciding import replaying
from gateway.desk.asking import Answered, Note, Question
from gateway.desk.forms import EntryRef, Language, lines
from gateway.desk.questions.rulebooks import kept_of, loaded
from gateway.desk.reading import Reading
from gateway.desk.roles import EVERYONE, Role
from gateway.exchange.keeping import kept_rulebook
from gateway.exchange.witnesses import Proven

MOST_PROVEN: Final = 1_000
MOST_EARLIER: Final = 16
NoteText = Annotated[str, lines(MAX_NOTE_BYTES)]


@dataclass(frozen=True, slots=True)
class Standing:
    """How the log stands: its seal, how far each witness covers it and since when, the logs it watches, alarms."""

    latest: Checkpoint
    key: str
    cosignatures: tuple[tuple[str, int, int], ...]
    watched: tuple[Watched, ...]
    proven_to: tuple[Proven, ...]
    alarms: tuple[Alarm, ...]


class Health(Question[Standing], named="health", roles=EVERYONE):
    """The log's seal, witnesses, watched logs and alarms."""

    def read(self, reading: Reading) -> Answered[Standing]:
        told = Standing(
            reading.context.log.latest(),
            str(reading.context.log_key),
            _covered(reading),
            tuple(watched(reading.connection)),
            tuple(reading.context.proven_to()),
            tuple(all_alarms(reading.connection)),
        )
        return Answered(told, Note())


def _covered(reading: Reading) -> tuple[tuple[str, int, int], ...]:
    """How far each witness covers the log, and when it last said so (seconds since the epoch)."""
    marks = select(cosignatures.c.witness, func.max(cosignatures.c.size), func.max(cosignatures.c.timestamp))
    rows = reading.connection.execute(marks.group_by(cosignatures.c.witness).order_by(cosignatures.c.witness))
    return tuple((witness, size, at) for witness, size, at in rows)


class Check(Question[Report], named="check", roles=EVERYONE):
    """Have the newest entries been altered? Raises CheckingError while another check is made."""

    newest: Annotated[int, Field(ge=1, le=MOST)] = MOST

    def read(self, reading: Reading) -> Answered[Report]:
        context = reading.context
        told = check_newest(
            context.engine,
            reading.checking,
            log_key=context.log_key,
            witnesses=context.witnesses(),
            newest=self.newest,
        )
        return Answered(told, Note(detail=told.to_codes()))


class Unchanged(Question[proofs.Continuity], named="unchanged-since", roles=EVERYONE):
    """Has the log been altered since this checkpoint of it? Raises NoteError for what is no checkpoint."""

    checkpoint: NoteText

    def read(self, reading: Reading) -> Answered[proofs.Continuity]:
        told = proofs.unchanged_since(reading.connection, self.checkpoint, reading.context.log_key)
        return Answered(told, Note(detail={"size": told.earlier.size, "holds": told.unchanged}))


class Proof(Question[proofs.EntryProof | None], named="proof"):
    """The proof that an entry stands in the log; None if there is no such entry. Raises ProofError."""

    entry: EntryRef

    def read(self, reading: Reading) -> Answered[proofs.EntryProof | None]:
        found = reading.locate(self.entry)
        if found is None:
            return Answered(None, Note(found=False))
        proof = proofs.prove(reading.connection, found.index, found.entry)
        return Answered(proof, Note(subject=found.entry.subject, detail={"of": found.index}))


@dataclass(frozen=True, slots=True)
class ProofFile:
    """A file that proves entries to anyone, and which of those that were asked for are not in the log."""

    whole: bytes
    missing: tuple[str, ...]

    @property
    def size(self) -> int:
        """How many entries the log has by the checkpoint in the file."""
        return int(orjson.loads(self.whole)["checkpoint"].split("\n")[1])


class Proofs(Question[ProofFile], named="proofs", kind=EntryType.EXPORT):
    """A file that proves entries to anyone, for `audit verify`. Raises ProofError."""

    entries: list[EntryRef] = Field(default_factory=list, max_length=MOST_PROVEN)
    earlier: list[NoteText] = Field(default_factory=list, max_length=MOST_EARLIER)

    def read(self, reading: Reading) -> Answered[ProofFile]:
        located = {entry: reading.locate(entry) for entry in self.entries}
        found = [item for item in located.values() if item is not None]
        context = reading.context
        whole = proofs.export_proofs(
            reading.connection,
            {item.index: item.entry for item in found},
            log_key=context.log_key,
            witnesses=context.witnesses(),
            earlier=self.earlier,
        )
        missing = tuple(str(entry) for entry, item in located.items() if item is None)
        subject = found[0].entry.subject if len(found) == 1 else None
        return Answered(ProofFile(whole, missing), Note(bool(found), subject, detail={"entries": len(found)}))


@dataclass(frozen=True, slots=True)
class Reasons:
    """Why a decision fell as it did, in words; `same`: made again now, it came out byte for byte as it was recorded."""

    text: str
    same: bool


@dataclass(frozen=True, slots=True)
class Seal:
    """What proves a record, and who stands behind it.

    `behind` are the witnesses that have not come as far as this record: how far, and when they last said so.
    """

    proof: proofs.EntryProof | None
    behind: tuple[tuple[str, int, int], ...] = ()

    @property
    def witnesses(self) -> list[tuple[str, int]]:
        """Who bears witness to it, and since when (seconds since the epoch)."""
        earliest: dict[str, int] = {}
        for _, mark in self.proof.cosignatures if self.proof is not None else ():
            earliest[mark.witness] = min(mark.timestamp, earliest.get(mark.witness, mark.timestamp))
        return sorted(earliest.items())


def seal_over(reading: Reading, found: Found) -> Seal:
    """The proof of a record as the log and its witnesses stand now."""
    behind = tuple(mark for mark in _covered(reading) if mark[1] <= found.index)
    try:
        return Seal(proofs.prove(reading.connection, found.index, found.entry), behind)
    except ProofError:
        return Seal(None, behind)


@dataclass(frozen=True, slots=True)
class Opened:
    """One record: what it says, what proves it, why it was decided so, and whether it belongs to a longer story."""

    found: Found
    seal: Seal
    reasons: Reasons | None
    has_story: bool
    aim: Aim | None = None


class Record(Question[Opened | None], named="record"):
    """What one entry says, and what proves that it has not changed; None if there is no such entry."""

    entry: EntryRef
    language: Language = Language.EN

    def read(self, reading: Reading) -> Answered[Opened | None]:
        found = reading.locate(self.entry)
        if found is None:
            return Answered(None, Note(found=False))
        follows = Filters(previous=found.entry.id)
        has_story = found.entry.previous is not None or bool(reading.page(follows, limit=1).found)
        reasons = reasons_of(reading, found, self.language)
        told = Opened(found, seal_over(reading, found), reasons, has_story, _aim_of(reading, found.entry))
        return Answered(told, Note(True, found.entry.subject, found.entry.case, {"of": found.index}))


def _aim_of(reading: Reading, entry: Entry) -> Aim | None:
    """What the word of an entry is aimed at: which it is, only the officer is told."""
    is_told = reading.asker.role is Role.OFFICER and word_of(entry) is not None
    terms = terms_in(reading.connection, entry, reading.terms) if is_told else None
    return aim_of(entry) if terms is None else terms.aim


def reasons_of(reading: Reading, found: Found, language: Language) -> Reasons | None:
    """Why it was decided so: told to the officer only, since it speaks of the person's circumstances.

    A delivery that was answered rests on the decision of the delivery that was sent.
    """
    if reading.asker.role is not Role.OFFICER:
        return None
    reasons = _reasons_by(reading, found.entry.id, language)
    if reasons is not None or found.entry.previous is None or found.entry.type != EntryType.DELIVERY:
        return reasons
    before = query.by_id(reading.connection, found.entry.previous, find=reading.find)
    if before is None or before.entry.type != EntryType.DELIVERY:
        return None
    return _reasons_by(reading, before.entry.id, language)


def _reasons_by(reading: Reading, entry: str, language: Language) -> Reasons | None:
    kept = kept_of(reading, entry)
    if kept is None or kept.recorded is None or kept.consents is None:
        return None
    made_by = kept_rulebook(reading.context.engine, kept.rulebook)
    if made_by is None:
        return None
    book = loaded(made_by)
    decision = replaying.again(kept.recorded, book, kept.consents)
    return Reasons(explain(decision, book, language.value), decision.canonical() == kept.recorded.canonical)
