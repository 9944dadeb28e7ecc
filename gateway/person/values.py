"""A person as one value, and what names one.

Links permit, claims only protect. What names a person is either a *record* of one of our own registers, a *claim* that
another organisation makes, or an *identifier* that somebody looks for. Only the record of a register that the settings
call authoritative, an acceptance of our own or a human joins two identifiers; a claim never does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from audit.log.entries import Entry
from audit.questions.links import Web
from audit.questions.subjects import Known, Subject
from consent.words.consents import ConsentRecord
from gateway.person.reading import Asked, Rows
from gateway.story import Story
from schemas.facts import Identifier, contradicts_identity_code, identifiers


class ConflictReason(StrEnum):
    """What says that identifiers which one record names belong to two persons."""

    TWO_VALUES = "two-values"  # they would make one person with two identifiers of one system
    NOT_THE_SAME = "not-the-same"  # a human, or an undone join, has said so
    BIRTH = "birth"  # the record's date of birth or sex is not that of its identity code
    TOO_MANY = "too-many"  # more identifiers are linked than one person can have


@dataclass(frozen=True, slots=True)
class Register:
    """A source of records of our own. An authoritative one is believed when it names two identifiers together."""

    name: str
    is_authoritative: bool = False


@dataclass(frozen=True, slots=True)
class Named:
    """How a person is named by one item: for which member of this node, by which identifiers, in which register.

    `key` is the register's own key of the record, if it has one.
    """

    member: str
    identifiers: tuple[Identifier, ...]
    register: Register | None = None
    key: str | None = None
    contradicts_itself: bool = False

    @classmethod
    def looked_for(cls, member: str, system: str, value: str) -> Named:
        """A person whom somebody looks for by one identifier."""
        return cls(member, (Identifier(system, value),))

    @classmethod
    def in_record(cls, member: str, bundle: Mapping[str, Any], register: Register, key: str | None = None) -> Named:
        """The person of a valid record of one of our registers."""
        return cls(member, identifiers(bundle), register, key, contradicts_identity_code(bundle))

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """The identifiers as pairs of system and value."""
        return tuple((identifier.system, identifier.value) for identifier in self.identifiers)

    @property
    def is_believed(self) -> bool:
        """Whether what it names together is one person until something says otherwise."""
        return self.register is not None and self.register.is_authoritative


@dataclass(frozen=True, slots=True)
class Epoch:
    """What a decision about a person rests on. A release is recorded only if it is still the same.

    `words` counts the changes of each subject's words, `links` is the state of each link around them.
    """

    words: tuple[tuple[str, int], ...] = ()
    links: tuple[tuple[str, str, str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Correction:
    """A register names another value of a system under the record key that had a former one."""

    former: str
    system: str


@dataclass(frozen=True, slots=True)
class Person:
    """A data subject as one member knows them at one moment, by all that one item names them by.

    `words` are those that count for a decision: every prohibition of anybody whom these identifiers may be, and
    permissions and consents only where the identifiers are one person beyond doubt. `shown` are what a human sees.
    """

    named: Named
    known: tuple[Known, ...]
    words: tuple[ConsentRecord, ...]
    shown: tuple[ConsentRecord, ...]
    epoch: Epoch
    conflict: ConflictReason | None = None
    correction: Correction | None = None
    web: Web = field(default_factory=Web)
    asked: tuple[Asked, ...] = ()
    #: What it was read from, where that was all; None where more was asked, and it has to be worked out again.
    rows: Rows | None = None
    #: Categories that came to us under the condition that they are not disclosed onward.
    restricted: frozenset[str] = frozenset()

    @property
    def subject(self) -> Subject | None:
        """Whom the item is filed under: the first of its identifiers that is known."""
        return next((subject for known in self.known for subject in known.subjects), None)


def acting(by: str, node: str) -> Story:
    """Who did an act that is signed `CLIENT USER`, as its entry names them: the user is found by their pseudonym."""
    client, _, user = by.rpartition(" ")
    return Story(client=client or None, user=user, node=node or None)


@dataclass(frozen=True, slots=True)
class Settled:
    """The person of an item that is being recorded: filed under `subject`; `entries` tell what was joined by it."""

    subject: Subject
    entries: tuple[Entry, ...] = ()
