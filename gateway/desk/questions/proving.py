"""Can the log be trusted? Its seal and witnesses, one record with its proof, proofs for others, what was altered."""

from __future__ import annotations

import base64
from dataclasses import asdict, dataclass
from typing import Annotated, Any, ClassVar, Final

import orjson
from pydantic import Field, StrictInt
from sqlalchemy import func, select

from audit.log.entries import EntryType
from audit.log.tables import cosignatures
from audit.questions import query
from audit.questions.check import Report
from audit.questions.checking import MOST, check_newest
from audit.questions.query import Filters, Found
from audit.tree import proofs
from audit.tree.checkpoint import MAX_NOTE_BYTES, Checkpoint
from audit.tree.merkle import ProofError
from audit.tree.witness import Alarm, Watched, all_alarms, watched
from consent import replaying
from consent.explaining import explain
from gateway.desk.asking import EVERYONE, Answered, Note, Question, Role
from gateway.desk.forms import EntryRef, Language, text
from gateway.desk.questions.rulebooks import kept_of, loaded
from gateway.desk.reading import Reading
from gateway.exchange.keeping import kept_rulebook

MOST_PROVEN: Final = 1_000
MOST_EARLIER: Final = 16
NoteText = Annotated[str, *text(MAX_NOTE_BYTES)]


def checkpoint_to_dict(checkpoint: Checkpoint) -> dict[str, Any]:
    """A checkpoint as JSON tells it."""
    return {"size": checkpoint.size, "root": base64.b64encode(checkpoint.root).decode(), "note": checkpoint.note}


@dataclass(frozen=True, slots=True)
class Standing:
    """How the log stands: its seal, how far each witness covers it and since when, the logs it watches, alarms."""

    latest: Checkpoint
    key: str
    cosignatures: tuple[tuple[str, int, int], ...]
    watched: tuple[Watched, ...]
    alarms: tuple[Alarm, ...]


class Health(Question[Standing]):
    """The log's seal, witnesses, watched logs and alarms."""

    named: ClassVar[str] = "health"
    roles: ClassVar[frozenset[Role]] = EVERYONE

    def read(self, reading: Reading) -> Answered[Standing]:
        """All of it."""
        marks = select(cosignatures.c.witness, func.max(cosignatures.c.size), func.max(cosignatures.c.timestamp))
        rows = reading.connection.execute(marks.group_by(cosignatures.c.witness).order_by(cosignatures.c.witness))
        told = Standing(
            reading.context.log.latest(),
            str(reading.context.log_key),
            tuple((witness, size, at) for witness, size, at in rows),
            tuple(watched(reading.connection)),
            tuple(all_alarms(reading.connection)),
        )
        return Answered(told, Note())


@dataclass(frozen=True, slots=True)
class Checked:
    """How a check of the newest records came out."""

    report: Report

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON tells it."""
        names = ("sound", "origin", "size", "since", "checked", "anchors")
        return {name: getattr(self.report, name) for name in names} | {
            "root": base64.b64encode(self.report.root).decode(),
            "findings": [asdict(finding) for finding in self.report.findings],
        }


class Check(Question[Checked]):
    """Have the newest entries been altered? Raises CheckingError while another check is made."""

    named: ClassVar[str] = "check"
    roles: ClassVar[frozenset[Role]] = EVERYONE

    newest: Annotated[StrictInt, Field(ge=1, le=MOST)] = MOST

    def read(self, reading: Reading) -> Answered[Checked]:
        """What the check found."""
        context = reading.context
        told = check_newest(
            context.engine,
            reading.checking,
            log_key=context.log_key,
            witnesses=context.witnesses(),
            newest=self.newest,
        )
        return Answered(Checked(told), Note(detail=told.to_codes()))


@dataclass(frozen=True, slots=True)
class Continuity:
    """Whether the log of today continues an earlier checkpoint of it."""

    told: proofs.Continuity

    def to_dict(self) -> dict[str, Any]:
        """The answer as JSON tells it."""
        return {
            "unchanged": self.told.unchanged,
            "problem": self.told.problem,
            "earlier": checkpoint_to_dict(self.told.earlier),
            "now": checkpoint_to_dict(self.told.now),
            "proof": [base64.b64encode(step).decode() for step in self.told.proof],
        }


class Unchanged(Question[Continuity]):
    """Has the log been altered since this checkpoint of it? Raises NoteError for what is no checkpoint."""

    named: ClassVar[str] = "unchanged-since"
    roles: ClassVar[frozenset[Role]] = EVERYONE

    checkpoint: NoteText

    def read(self, reading: Reading) -> Answered[Continuity]:
        """Whether it continues it."""
        told = proofs.unchanged_since(reading.connection, self.checkpoint, reading.context.log_key)
        return Answered(Continuity(told), Note(detail={"size": told.earlier.size, "holds": told.unchanged}))


@dataclass(frozen=True, slots=True)
class Proven:
    """One entry with what proves it."""

    proof: proofs.EntryProof

    def to_dict(self) -> dict[str, Any]:
        """The proof as JSON tells it."""
        proof = self.proof
        return {
            "index": proof.index,
            "position": proof.position,
            "entry": proof.entry.to_dict(),
            "canonical": proof.entry.canonical().decode(),
            "proof": [base64.b64encode(step).decode() for step in proof.proof],
            "checkpoint": proof.checkpoint.note,
            "since": None if proof.since is None else proof.since.note,
            "cosignatures": [
                {"witness": mark.witness, "timestamp": mark.timestamp, "size": checkpoint.size}
                for checkpoint, mark in proof.cosignatures
            ],
        }


class Proof(Question[Proven | None]):
    """The proof that an entry stands in the log; None if there is no such entry. Raises ProofError."""

    named: ClassVar[str] = "proof"

    entry: EntryRef

    def read(self, reading: Reading) -> Answered[Proven | None]:
        """Entry, path and signatures."""
        found = reading.locate(self.entry)
        if found is None:
            return Answered(None, Note(found=False))
        proof = proofs.prove(reading.connection, found.index, found.entry)
        return Answered(Proven(proof), Note(subject=found.entry.subject, detail={"of": found.index}))


@dataclass(frozen=True, slots=True)
class ProofFile:
    """A file that proves entries to anyone, and which of those that were asked for are not in the log."""

    whole: bytes
    missing: tuple[str, ...]

    @property
    def size(self) -> int:
        """How many entries the log has by the checkpoint in the file."""
        return int(orjson.loads(self.whole)["checkpoint"].split("\n")[1])


class Proofs(Question[ProofFile]):
    """A file that proves entries to anyone, for `audit verify`. Raises ProofError."""

    named: ClassVar[str] = "proofs"
    kind: ClassVar[EntryType] = EntryType.EXPORT

    entries: Annotated[tuple[EntryRef, ...], Field(max_length=MOST_PROVEN)] = ()
    earlier: Annotated[tuple[NoteText, ...], Field(max_length=MOST_EARLIER)] = ()

    def read(self, reading: Reading) -> Answered[ProofFile]:
        """The file, without what is not there."""
        located = {entry: reading.locate(entry) for entry in self.entries}
        found = [item for item in located.values() if item is not None]
        context = reading.context
        whole = proofs.export_proofs(
            reading.connection,
            [],
            log_key=context.log_key,
            witnesses=context.witnesses(),
            archived=[(item.index, item.entry) for item in found],
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
class Opened:
    """One record: what it says, what proves it, why it was decided so, and whether it belongs to a longer story."""

    found: Found
    proof: proofs.EntryProof | None
    reasons: Reasons | None
    has_story: bool

    @property
    def witnesses(self) -> list[tuple[str, int]]:
        """Who bears witness to it, and since when (seconds since the epoch)."""
        earliest: dict[str, int] = {}
        for _, mark in self.proof.cosignatures if self.proof is not None else ():
            earliest[mark.witness] = min(mark.timestamp, earliest.get(mark.witness, mark.timestamp))
        return sorted(earliest.items())


class Record(Question[Opened | None]):
    """What one entry says, and what proves that it has not changed; None if there is no such entry."""

    named: ClassVar[str] = "record"

    entry: EntryRef
    language: Language = Language.EN

    def read(self, reading: Reading) -> Answered[Opened | None]:
        """The entry with all that belongs to it."""
        found = reading.locate(self.entry)
        if found is None:
            return Answered(None, Note(found=False))
        try:
            proof: proofs.EntryProof | None = proofs.prove(reading.connection, found.index, found.entry)
        except ProofError:
            proof = None
        follows = Filters(previous=found.entry.id)
        has_story = found.entry.previous is not None or bool(reading.page(follows, limit=1).found)
        told = Opened(found, proof, self._reasons(reading, found), has_story)
        return Answered(told, Note(True, found.entry.subject, found.entry.case, {"of": found.index}))

    def _reasons(self, reading: Reading, found: Found) -> Reasons | None:
        """Why it was decided so: told to the officer only, since it speaks of the person's circumstances.

        A delivery that was answered rests on the decision of the delivery that was sent.
        """
        if reading.asker.role is not Role.OFFICER:
            return None
        reasons = self._reasons_of(reading, found.entry.id)
        if reasons is not None or found.entry.previous is None or found.entry.type != EntryType.DELIVERY:
            return reasons
        before = query.by_id(reading.connection, found.entry.previous, find=reading.find)
        if before is None or before.entry.type != EntryType.DELIVERY:
            return None
        return self._reasons_of(reading, before.entry.id)

    def _reasons_of(self, reading: Reading, entry: str) -> Reasons | None:
        kept = kept_of(reading, entry)
        if kept is None or kept.recorded is None or kept.consents is None:
            return None
        made_by = kept_rulebook(reading.context.engine, kept.rulebook)
        if made_by is None:
            return None
        book = loaded(made_by)
        decision = replaying.again(kept.recorded, book, kept.consents)
        return Reasons(explain(decision, book, self.language.value), decision.canonical() == kept.recorded.canonical)
