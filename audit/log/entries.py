"""The vocabulary of the audit log: what one entry says, and the exact bytes that are hashed for it.

An entry speaks in codes, digests, member ids and keyed pseudonyms. It never holds a name, an identifier of a person or
a payload. Its words are those of FHIR AuditEvent. `Entry.canonical` gives the JSON of RFC 8785, so that the same entry
always has the same bytes and the same leaf hash; fields that say nothing are left out.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final
from zoneinfo import ZoneInfo

import orjson


class EntryType(StrEnum):
    """What an entry speaks of."""

    QUERY = "query"
    HANDOVER = "handover"
    DELIVERY = "delivery"
    RECEIPT = "receipt"
    ACCEPTANCE = "acceptance"
    CONSENT = "consent"
    REFUSAL = "refusal"
    DECISION = "decision"
    REGISTRY = "registry"
    KEY = "key"
    CONSOLE_READ = "console-read"
    EXPORT = "export"
    BREAK_GLASS = "break-glass"
    ANOMALY = "anomaly"
    IDENTITY = "identity"
    PERMISSION = "permission"
    PROHIBITION = "prohibition"
    NOTICE = "notice"
    OBLIGATION = "obligation"
    RETENTION = "retention"
    SECRET = "secret"  # noqa: S105 - a word
    RESTORE = "restore"
    MAINTENANCE = "maintenance"


class Outcome(StrEnum):
    """What came of it."""

    SUCCESS = "success"
    PARTIAL = "partial"  # released, but for what was withheld
    REFUSED = "refused"  # somebody asked and got nothing, by rule
    FAILED = "failed"  # it did not work
    REQUESTED = "requested"  # a question or a delivery has left; another entry says how it ended
    WITHHELD = "withheld"  # it was held back, by rule
    NOT_FOUND = "not-found"
    STOPPED = "stopped"  # it was to be sent, and was not
    PLANNED = "planned"
    PENDING = "pending"  # it waits for somebody


TYPES: Final = frozenset(EntryType)
OUTCOMES: Final = frozenset(Outcome)
MAX_BYTES: Final = 65_535  # the length of an entry must fit the 16-bit prefix of an entry bundle
ZONE: Final = ZoneInfo("Europe/Helsinki")
"""The calendar by which days, months and years are told to people."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SAFE_INTEGER: Final = 2**53 - 1


class EntryError(ValueError):
    """An entry that cannot be recorded: an unknown word, a value without canonical form, or one that is too long."""


def micros(moment: datetime) -> int:
    """Microseconds since the epoch of an aware datetime. Raises EntryError for a naive one."""
    if moment.tzinfo is None:
        raise EntryError("a time needs its zone; give an aware datetime in UTC")
    delta = moment - _EPOCH
    return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds


def moment(value: int) -> datetime:
    """The UTC datetime of microseconds since the epoch."""
    seconds, fraction = divmod(value, 1_000_000)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=fraction)


def timestamp(at: datetime) -> str:
    """RFC 3339 in UTC with six decimals, the one notation of times in entries."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def new_id(now: datetime) -> str:
    """A fresh entry id: UUID version 7 of this moment, so that ids sort by time. Source: RFC 9562 section 5.7."""
    value = (micros(now) // 1000) << 80 | secrets.randbits(80)
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


@dataclass(frozen=True, slots=True)
class Agents:
    """Who took part: client system, the person behind it (a pseudonym), the node, and the receiving subsystem."""

    client: str | None = None
    user: str | None = None
    node: str | None = None
    recipient: str | None = None


@dataclass(frozen=True, slots=True)
class Categories:
    """Data categories that were let through and those that were held back, in the rulebook's codes."""

    permitted: tuple[str, ...] = ()
    withheld: tuple[str, ...] = ()


REFUSED: Final = (Outcome.REFUSED, Outcome.WITHHELD)
"""Outcomes that say that somebody was told no."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One record of the log.

    `source` is the subsystem that holds the data or is called, `agents.recipient` the one that received, asked for it
    or called: `giver` and `taker` say which way the data went. `subject`
    is a pseudonym, `case` a keyed hash of a case reference, `consents` are pairs of consent id and version, `reason` is
    a problem code, `previous` the id of the entry this one follows from. `detail` holds codes and counts only.
    """

    type: EntryType
    outcome: Outcome
    recorded: datetime
    id: str = ""
    agents: Agents = Agents()
    source: str | None = None
    service: str | None = None
    message_id: str | None = None
    subject: str | None = None
    purpose: str | None = None
    categories: Categories = Categories()
    bases: tuple[str, ...] = ()
    consents: tuple[tuple[str, int], ...] = ()
    rulebook: str | None = None
    request_digest: str | None = None
    response_digest: str | None = None
    trace_id: str | None = None
    previous: str | None = None
    reason: str | None = None
    case: str | None = None
    detail: Mapping[str, str | int | bool] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # Whoever has the word as a text (a file, a test) gets the member for it, or is told that there is none.
        if type(self.type) is not EntryType:
            object.__setattr__(self, "type", _member(EntryType, self.type, "a type of entry"))
        if type(self.outcome) is not Outcome:
            object.__setattr__(self, "outcome", _member(Outcome, self.outcome, "an outcome"))
        if self.recorded.tzinfo is None:
            raise EntryError("recorded needs its zone; give an aware datetime in UTC")
        if not self.id:
            object.__setattr__(self, "id", new_id(self.recorded))

    def to_dict(self) -> dict[str, Any]:
        """The entry as JSON values, without the fields that say nothing."""
        agents, categories = self.agents, self.categories
        document: dict[str, Any] = {
            "agents": {
                name: value
                for name, value in (
                    ("client", agents.client),
                    ("node", agents.node),
                    ("recipient", agents.recipient),
                    ("user", agents.user),
                )
                if value is not None
            },
            "categories": {
                name: list(value)
                for name, value in (("permitted", categories.permitted), ("withheld", categories.withheld))
                if value
            },
            "bases": list(self.bases),
            "consents": [[id_, version] for id_, version in self.consents],
            "detail": dict(self.detail),
            "case": self.case,
            "id": self.id,
            "message_id": self.message_id,
            "outcome": self.outcome,
            "previous": self.previous,
            "purpose": self.purpose,
            "reason": self.reason,
            "recorded": timestamp(self.recorded),
            "request_digest": self.request_digest,
            "response_digest": self.response_digest,
            "rulebook": self.rulebook,
            "service": self.service,
            "source": self.source,
            "subject": self.subject,
            "trace_id": self.trace_id,
            "type": self.type,
        }
        return {name: value for name, value in document.items() if value is not None and value not in ({}, [])}

    @property
    def withdraws(self) -> bool:
        """Whether it records that a consent was withdrawn (its `detail.status` says so)."""
        return self.type is EntryType.CONSENT and self.detail.get("status") == "withdrawn"

    @property
    def giver(self) -> str | None:
        """The subsystem that the data came from, whoever sent the message that the entry tells of."""
        return self.agents.recipient if self._is_told_of_message else self.source

    @property
    def taker(self) -> str | None:
        """The subsystem that the data went to, whoever sent the message that the entry tells of."""
        return self.source if self._is_told_of_message else self.agents.recipient

    @property
    def _is_told_of_message(self) -> bool:
        """Whether `source` and `recipient` say who was called and who called, against the way that the data went.

        So it stands of what arrives, which calls a service of who gets the data; and of an acceptance on its way, which
        goes from who got the data to who gave it.
        """
        if self.type is EntryType.DELIVERY:
            return self.detail.get("kind") == "acceptance"
        arrives = self.type in (EntryType.RECEIPT, EntryType.CONSENT) and self.service is not None
        return arrives and (self.service or "").rpartition("/")[0] == self.source

    def canonical(self) -> bytes:
        """The canonical JSON of RFC 8785: these bytes are the leaf of the tree. Raises EntryError."""
        for key, value in self.detail.items():
            if not key.isascii():
                raise EntryError("a name in detail must be plain ASCII")
            if isinstance(value, int) and abs(value) > _SAFE_INTEGER:
                raise EntryError(f"detail.{key}: the number is too large for JSON")
            if isinstance(value, float):
                raise EntryError(f"detail.{key}: only texts, whole numbers and truth values are recorded")
        try:
            # For ASCII names, texts and whole numbers sorted output is the RFC 8785 form, at a fraction of its cost.
            body = orjson.dumps(self.to_dict(), option=orjson.OPT_SORT_KEYS)
        except (TypeError, ValueError) as error:
            raise EntryError(f"the entry has no JSON form: {error}") from error
        if len(body) > MAX_BYTES:
            raise EntryError(f"the entry is {len(body)} bytes long, at most {MAX_BYTES} are recorded")
        if b"\\u0000" in body:
            raise EntryError("a text of the entry holds a NUL character")
        return body

    @classmethod
    def parse(cls, body: bytes | str) -> Entry:
        """The entry of these canonical bytes. Raises EntryError."""
        try:
            document = orjson.loads(body)
            agents, categories = document.pop("agents", {}), document.pop("categories", {})
            return cls(
                agents=Agents(**agents),
                categories=Categories(**{name: tuple(codes) for name, codes in categories.items()}),
                bases=tuple(document.pop("bases", ())),
                consents=tuple((str(id_), int(version)) for id_, version in document.pop("consents", ())),
                recorded=datetime.fromisoformat(document.pop("recorded")),
                **document,
            )
        except EntryError:
            raise
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            raise EntryError(f"not an entry of this log: {error}") from error


def _member(words: type[StrEnum], word: str, what: str) -> StrEnum:
    """The member of a vocabulary. Raises EntryError."""
    try:
        return words(word)
    except ValueError:
        raise EntryError(f"{word!r} is not {what}; use one of {', '.join(sorted(words))}") from None
