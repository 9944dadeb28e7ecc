"""By which word of the person a delivery or an answer goes, in the form that travels: enough to check it, and no more.

For each category that a permission or consent carries: its kind, the digest of the record, the day on which it was
recorded, who gave it, and the provision by which it counts. The receiver decides by its own rulebook whether a word of
that kind carries the category, and whether by that provision; it keeps what it was told with the arrival. A withdrawal
names the same digest. Nothing else of the record travels: not its form, its other recipients, categories or language.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Any, Final

import orjson
from sqlalchemy import Connection, select

from audit.log.statements import Fixed
from consent.deciding.verdicts import Decision, PermittedCategory, legal_day
from consent.rules.law import Basis, Rulebook
from consent.words.consents import ConsentRecord, Evidence, WordKind, WordStatus
from consent.words.givers import Giver, GiverKind
from gateway.registry.read.registry import Registry
from gateway.storage.tables import arrival_words, inbox
from gateway.wire.decided import body_digest
from gateway.wire.identifiers import MemberId, SubsystemId
from gateway.wire.message import MESSAGE_VERSIONS
from gateway.wire.problems import ProblemError

CARRIERS: Final = 2
IN_ANSWERS: Final = 3
MOST: Final = 128
_DIGEST = re.compile(r"sha-256=:[A-Za-z0-9+/]{43}=:")
_CODE = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*(?:/[a-z0-9]+(?:-[a-z0-9]+)*)?")
_LONGEST_SECTION = 300
_MEMBERS = frozenset({"kind", "digest", "day", "giver", "section"})
_CARRYING = frozenset({WordKind.PERMISSION.value, WordKind.CONSENT.value})
_SPEAKERS = frozenset(GiverKind) - {GiverKind.OTHER}


@dataclass(frozen=True, slots=True)
class Carrier:
    """The word that carries one category."""

    category: str
    kind: WordKind
    digest: str
    day: date
    giver: GiverKind
    section: str

    def to_json(self) -> dict[str, str]:
        """As it travels."""
        return {
            "kind": self.kind.value,
            "digest": self.digest,
            "day": self.day.isoformat(),
            "giver": self.giver.value,
            "section": self.section,
        }


def version_for(registry: Registry, member: MemberId) -> int:
    """The highest version that both take: any of the member's nodes may be the one that answers."""
    listed = [frozenset(node.messages) for node in registry.nodes_of(member)]
    return max(frozenset(MESSAGE_VERSIONS).intersection(*listed), default=1) if listed else 1


def digest_of(record: ConsentRecord) -> str:
    """What a version of a word is known by outside: the same for as long as it is stored, whoever computes it."""
    said = {
        "categories": sorted(record.categories),
        "giver": record.given_by.kind,
        "id": record.id,
        "kind": record.kind,
        "purposes": sorted(record.purposes),
        "recipients": sorted(record.recipients),
        "recorded_at": record.recorded_at.isoformat(),
        "recorded_by": record.recorded_by,
        "subject": record.subject,
        "version": record.version,
    }
    return body_digest(orjson.dumps(said, option=orjson.OPT_SORT_KEYS))


def carriers(decision: Decision, rulebook: Rulebook, words: Iterable[ConsentRecord]) -> dict[str, dict[str, str]]:
    """What carries a decision, by category."""
    by_version = {(word.id, word.version): word for word in words}
    found = {}
    for permitted in decision.permitted:
        word = by_version.get((permitted.consent_id or "", permitted.consent_version or 0))
        if word is not None:
            section = section_of(rulebook.basis(permitted.basis))
            day = legal_day(word.recorded_at)
            carrier = Carrier(permitted.category, word.kind, digest_of(word), day, word.given_by.kind, section)
            found[permitted.category] = carrier.to_json()
    return found


def section_of(basis: Basis | None) -> str:
    """The provision of a basis, in the one form in which it travels; empty for a basis that names none."""
    if basis is None:
        return ""
    if basis.source is not None:
        return str(basis.source.provision)
    statute = basis.statute
    return f"{statute.number} {statute.section or ''}".strip() if statute is not None else ""


def read(document: Mapping[str, Any], now: datetime) -> tuple[Carrier, ...]:
    """The carriers that a sender states. Raises ProblemError `invalid-request`."""
    stated = document.get("wrd")
    if not isinstance(stated, dict) or len(stated) > MOST:
        raise _unread(f"wrd is no object of at most {MOST} categories")
    return tuple(_carrier(category, value, now) for category, value in stated.items())


def _carrier(category: str, value: object, now: datetime) -> Carrier:
    if not isinstance(value, dict) or value.keys() != _MEMBERS or not all(isinstance(v, str) for v in value.values()):
        raise _unread("a carrier has exactly the texts kind, digest, day, giver and section")
    if len(category) > _LONGEST_SECTION or _CODE.fullmatch(category) is None:
        raise _unread("a carrier stands under the code of a category")
    if value["kind"] not in _CARRYING or value["giver"] not in _SPEAKERS:
        raise _unread("a carrier is a permission or consent, of the person or of who speaks for the person by law")
    if _DIGEST.fullmatch(value["digest"]) is None or len(value["section"]) > _LONGEST_SECTION:
        raise _unread("a carrier has a digest (sha-256=:…:) and a section")
    try:
        day = date.fromisoformat(value["day"])
    except ValueError:
        raise _unread("a carrier has a day (YYYY-MM-DD)") from None
    if day > legal_day(now):
        raise _unread("a carrier is of a day that has not come")
    return Carrier(category, WordKind(value["kind"]), value["digest"], day, GiverKind(value["giver"]), value["section"])


@dataclass(frozen=True, slots=True)
class Towards:
    """To whom something goes by a word, from whom, and for which purpose."""

    purpose: str
    recipient: MemberId
    sender: SubsystemId


def as_words(stated: Sequence[Carrier], towards: Towards) -> tuple[ConsentRecord, ...]:
    """The same as words of the person to us, for this purpose: the receiver decides on them by its own rulebook."""
    return tuple(
        ConsentRecord(
            id=carrier.digest,
            version=1,
            status=WordStatus.ACTIVE,
            subject="",
            given_by=Giver(carrier.giver),
            purposes=frozenset({towards.purpose}),
            recipients=frozenset({str(towards.recipient)}),
            categories=frozenset({carrier.category}),
            starts=None,
            ends=None,
            language="und",
            evidence=Evidence(),
            recorded_by=str(towards.sender),
            recorded_at=datetime.combine(carrier.day, time(), UTC),
            kind=carrier.kind,
        )
        for carrier in stated
    )


def is_carried(permitted: PermittedCategory) -> bool:
    """Whether a category came by right: a fact may be withheld and hold all the same, a word that is not stated is not
    there.
    """
    return not {word.value for word in WordKind}.intersection(permitted.needs)


def check_sections(decision: Decision, rulebook: Rulebook, stated: Sequence[Carrier]) -> None:
    """Hold what the sender says of each word's provision against our own rulebook. Raises ProblemError."""
    for permitted in decision.permitted:
        section = section_of(rulebook.basis(permitted.basis))
        if any(
            carrier.digest == permitted.consent_id
            and carrier.section != section
            and rulebook.covers(frozenset({carrier.category}), permitted.category)
            for carrier in stated
        ):
            raise ProblemError(
                "not-permitted",
                pointer="/wrd",
                detail="a word is said to carry a category by another provision than that of the rulebook",
                remedy="send by the rulebook that the network publishes",
            )


@dataclass(frozen=True, slots=True)
class Answering:
    """An answer that came by words: who answered, and the id under which its person is filed here."""

    sender: str
    subject: str


_TOLD: Final = ("kind", "digest", "day", "giver", "section")
_KEEP: Final = Fixed.insert(arrival_words, "arrival", "category", *_TOLD, "sender", "subject")


def keep(connection: Connection, arrival: str, stated: Iterable[Carrier], answering: Answering | None = None) -> None:
    """Keep with an arrival or an answer by which words it came, in the transaction that records it."""
    about = (None, None) if answering is None else (answering.sender, answering.subject)
    rows = [(arrival, carrier.category, *map(carrier.to_json().__getitem__, _TOLD), *about) for carrier in stated]
    if rows:
        _KEEP.many(connection, rows)


def arrivals_by(connection: Connection, digests: Sequence[str], sender: str) -> tuple[str, ...]:
    """The arrivals from a sender that came by words of these digests."""
    if not digests:
        return ()
    found = connection.scalars(
        select(arrival_words.c.arrival)
        .join(inbox, inbox.c.id == arrival_words.c.arrival)
        .where(arrival_words.c.digest.in_(digests), inbox.c.sender == sender)
    )
    return tuple(sorted(set(found)))


def answered_by(connection: Connection, digests: Sequence[str], sender: str) -> tuple[str, ...]:
    """Under whom the answers of a sender are filed that came by words of these digests."""
    if not digests:
        return ()
    kept = arrival_words.c
    found = connection.scalars(select(kept.subject).where(kept.digest.in_(digests), kept.sender == sender))
    return tuple(sorted(set(found)))


def _unread(detail: str) -> ProblemError:
    return ProblemError(
        "invalid-request", pointer="/wrd", detail=detail, remedy="see docs/protocol.md, the words that carry a delivery"
    )
