"""What a rulebook is made of, as frozen values: bases with their source, prohibitions, flows, gaps, people of examples.

A rulebook of the first form knew neither mode nor source; it is read as it was meant, and decided by
`consent.deciding.older`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from enum import StrEnum
from typing import Any, Final

from consent.rules.provisions import Provision
from consent.rules.request import SubjectFacts

Words = Mapping[str, str]
RETAIN: Final = "retain-at-most"
"""The obligation to end what came, of which the basis says when."""


class Mode(StrEnum):
    """What a provision asks of the holder, read from its verb."""

    DUTY = "duty"  # the holder gives on its own
    RIGHT_TO_GET = "right-to-get"  # the recipient may ask; sent only under its standing request
    ON_REQUEST = "on-request"  # the recipient may ask, case by case, and is never sent it
    MAY_GIVE = "may-give"  # the holder may give, though nobody may demand it
    BY_WORD = "by-word"  # it moves by the person's word


class Word(StrEnum):
    """What the person's word does to a basis."""

    SHOWN = "shown"  # a prohibition does not stop it, and is shown beside it
    PERMISSION = "permission"  # it needs the person's permission to disclose
    CONSENT = "consent"  # it needs the person's consent
    FORBIDDEN = "forbidden"  # it carries only what the person has forbidden, or cannot permit
    REFUSABLE = "refusable"  # a refusal stops it; only in rulebooks of the first form


@dataclass(frozen=True, slots=True)
class Category:
    """A data category, or a part of one that the law gives on its own."""

    code: str
    title: Words
    class_: str
    parent: str | None = None
    parts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Act:
    """An act that bases stand on: its number, its names, where its text is, and the moments that must be accounted for.

    `moments` are sections with their number of moments, as far as the act gives data away.
    """

    number: str
    name: Words
    eli: str | None = None
    moments: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Source:
    """Where a basis was read: which provision, as amended by what, on which day, on which ground of the GDPR.

    `amended_unread` are amendments whose wording nobody here has read.
    """

    provision: Provision
    act: Act
    also: tuple[Provision, ...] = ()
    amended_by: tuple[str, ...] = ()
    amended_unread: tuple[str, ...] = ()
    read_on: date | None = None
    gdpr: tuple[str, ...] = ()

    def cited(self, language: str) -> str:
        """The act and its provisions, as a reader of the language writes them."""
        name = self.act.name.get(language) or self.act.name["en"]
        said = f"{name} ({self.act.number}), {self.provision.said(language)}"
        return ", ".join([said, *(also.said(language) for also in self.also)])


@dataclass(frozen=True, slots=True)
class Statute:
    """The act that a basis of the first form stands on. A section is given only where it is sure."""

    name: str
    number: str
    section: str | None


class Dated:
    """What is in force from its first day to its last, both counted; open where there is none."""

    __slots__ = ()
    starts: date | None
    ends: date | None

    def in_force(self, day: date) -> bool:
        """Whether it is in force on a day (Finnish calendar)."""
        return (self.starts is None or self.starts <= day) and (self.ends is None or day <= self.ends)


@dataclass(frozen=True, slots=True)
class Basis(Dated):
    """A legal basis: who may give what to whom, for which purpose, about which persons, and what the person's word
    does to it. `doubt` is a question that a lawyer should settle.
    """

    id: str
    title: Words
    reviewed: bool
    starts: date | None
    ends: date | None
    purposes: frozenset[str]
    providers: frozenset[str]
    requesters: frozenset[str]
    permits: frozenset[str]
    categories: frozenset[str]
    conditions: tuple[str, ...]
    word: Word
    emergency: bool
    obligations: frozenset[str]
    statute: Statute | None = None
    source: Source | None = None
    mode: Mode | None = None
    gives: Words | None = None
    doubt: Words | None = None
    retention: str | None = None

    @property
    def needs_word(self) -> bool:
        """Whether it carries nothing without the person's permission or consent."""
        return self.word in (Word.PERMISSION, Word.CONSENT)

    def cited(self, language: str) -> str:
        """The act and the provision, as a reader of the language writes them; nothing for a basis without a source."""
        if self.source is not None:
            return self.source.cited(language)
        if self.statute is None:
            return ""
        section = f", {self.statute.section}" if self.statute.section else ""
        return f"{self.statute.name} {self.statute.number}{section}"


@dataclass(frozen=True, slots=True)
class Prohibition(Dated):
    """What may not move although a basis gives it: when all of `when` hold, unless one of `unless` does.

    It stops the bases that it names, and marks what the others give with `obliges`. In a rulebook of the first form it
    names none and stops all of them, those for emergencies too unless it says otherwise.
    """

    id: str
    title: Words
    starts: date | None
    ends: date | None
    purposes: frozenset[str]
    categories: frozenset[str]
    when: tuple[str, ...]
    unless: tuple[str, ...]
    stops_emergencies: bool = True
    source: Source | None = None
    bases: frozenset[str] | None = None
    obliges: frozenset[str] = frozenset()
    code: str = "prohibited"

    def stops(self, basis: Basis) -> bool:
        """Whether it stops this basis while it applies."""
        if self.bases is not None:
            return basis.id in self.bases
        return self.stops_emergencies or not basis.emergency


@dataclass(frozen=True, slots=True)
class Permit(Dated):
    """What a residence permit rests on. Before its first day and after its last it carries no basis."""

    code: str
    title: Words
    starts: date | None
    ends: date | None


@dataclass(frozen=True, slots=True)
class FlowDelivery:
    """One recipient of a flow, by role, the roles that it may come from, and what is to reach it if the law lets it."""

    to_role: str
    purpose: str
    categories: frozenset[str]
    from_roles: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Flow:
    """A flow as the field knows it: its code and its name, what a handover of it plans, what is asked case by case."""

    code: str
    title: Words
    deliveries: tuple[FlowDelivery, ...]
    asked: tuple[FlowDelivery, ...] = ()


@dataclass(frozen=True, slots=True)
class Gap(Dated):
    """Why something that a flow asks for is given by no basis. An empty set means: all of them."""

    id: str
    reason: Words
    starts: date | None
    ends: date | None
    purposes: frozenset[str]
    providers: frozenset[str]
    requesters: frozenset[str]
    permits: frozenset[str]
    categories: frozenset[str]


@dataclass(frozen=True, slots=True)
class Without:
    """Why a moment of an act has no basis here."""

    provision: Provision
    reason: Words


class Bearer(StrEnum):
    """On whom a duty that comes with data falls: who gives it, who gets it, or both."""

    PROVIDER = "provider"
    RECIPIENT = "recipient"
    BOTH = "both"


@dataclass(frozen=True, slots=True)
class Obligation:
    """A duty that comes with data: on whom it falls, since which provision, for how long, in the reader's words.

    `by_word` is on whom it falls instead where the holder hands over by the person's permission or consent, and
    `by_word_says` in which words.
    """

    code: str
    says: Words
    falls_on: Bearer
    provision: Provision | None = None
    years: int | None = None
    by_word: Bearer | None = None
    by_word_says: Words | None = None

    def bearer(self, *, by_word: bool) -> Bearer:
        """On whom it falls; `by_word` is whether the holder hands over by the person's word."""
        return self.by_word if by_word and self.by_word is not None else self.falls_on


@dataclass(frozen=True, slots=True)
class Period:
    """For how long data may be kept at most: since which provision, in the reader's words; `but` is what it leaves."""

    code: str
    says: Words
    provision: Provision
    years: int
    but: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Case:
    """A person of a worked example."""

    id: str
    title: Words
    facts: SubjectFacts
    consents: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Example:
    """A worked example of a basis: who asks what about which case on which day, and what must come out.

    `asked` says whether the recipient has a standing request for what a handover brings.
    """

    basis: str
    case: str
    provider: str
    requester: str
    purpose: str
    on: date
    permitted: frozenset[str]
    withheld: frozenset[str]
    emergency: bool
    mode: str = "query"
    asked: bool = False


Triple = tuple[str, str, str]
_MOST_DAYS = 64


@dataclass(frozen=True, slots=True)
class Rulebook:
    """A rulebook that has been checked."""

    name: str
    version: str
    status: str
    digest: str
    source: str
    purposes: Mapping[str, Words]
    roles: Mapping[str, Words]
    permits: Mapping[str, Permit]
    categories: Mapping[str, Category]
    flows: Mapping[str, Flow]
    bases: tuple[Basis, ...]
    prohibitions: tuple[Prohibition, ...]
    gaps: tuple[Gap, ...]
    parties: Mapping[str, Mapping[str, Any]]
    cases: Mapping[str, Case]
    examples: tuple[Example, ...]
    form: int = 1
    acts: Mapping[str, Act] = field(default_factory=dict)
    without: tuple[Without, ...] = ()
    obligations: Mapping[str, Obligation] = field(default_factory=dict)
    retention: Mapping[str, Period] = field(default_factory=dict)
    _index: Mapping[Triple, tuple[Basis, ...]] = field(default_factory=dict, repr=False, compare=False)
    _by_id: Mapping[str, Basis] = field(default_factory=dict, repr=False, compare=False)
    # The bases of a day by category: worked out when first asked for, the same for everybody.
    _daily: dict[date, dict[tuple[Triple, str], tuple[Basis, ...]]] = field(
        default_factory=dict, repr=False, compare=False
    )

    def bases_for(self, provider: str, requester: str, purpose: str) -> tuple[Basis, ...]:
        """The bases between two roles for a purpose, whatever their dates: first those that need no consent, then those
        that a refusal stops, those that a consent carries, those for emergencies; each in the rulebook's order.
        """
        return self._index.get((provider, requester, purpose), ())

    def carriers(self, triple: Triple, category: str, day: date) -> tuple[Basis, ...]:
        """Those of them that speak of a category and are in force on a day, in the same order."""
        daily = self._daily.get(day)
        if daily is None:
            if len(self._daily) >= _MOST_DAYS:
                self._daily.clear()
            daily = self._daily[day] = {}
        found = daily.get((triple, category))
        if found is None:
            found = daily[triple, category] = tuple(
                basis
                for basis in self._index.get(triple, ())
                if basis.in_force(day) and self.covers(basis.categories, category)
            )
        return found

    def basis(self, identifier: str) -> Basis | None:
        """A basis by its id."""
        return self._by_id.get(identifier)

    def covers(self, categories: frozenset[str], category: str) -> bool:
        """Whether a set of categories holds this one, or the one that it is a part of."""
        if category in categories:
            return True
        known = self.categories.get(category)
        return known is not None and known.parent in categories

    def touches(self, categories: frozenset[str], category: str) -> bool:
        """Whether a refusal or prohibition of these categories stops this one: also when one is a part of it."""
        if self.covers(categories, category):
            return True
        known = self.categories.get(category)
        return known is not None and any(part in categories for part in known.parts)

    def with_bases(self, bases: Iterable[Basis]) -> Rulebook:
        """The same rulebook with other bases."""
        every = tuple(bases)
        return replace(
            self, bases=every, _index=index(every), _by_id={basis.id: basis for basis in reversed(every)}, _daily={}
        )


#: What a basis asks of the person, from the least to the most: of two that carry, the lighter is named.
_WEIGHT = {Word.SHOWN: 0, Word.FORBIDDEN: 0, Word.REFUSABLE: 1, Word.PERMISSION: 2, Word.CONSENT: 2}


def index(bases: Iterable[Basis]) -> dict[Triple, tuple[Basis, ...]]:
    """The bases by provider, requester and purpose, each in the order in which they are asked."""
    found: dict[Triple, list[Basis]] = {}
    for basis in bases:
        for provider in basis.providers:
            for requester in basis.requesters:
                for purpose in basis.purposes:
                    found.setdefault((provider, requester, purpose), []).append(basis)
    for carrying in found.values():
        carrying.sort(key=lambda basis: (basis.emergency, _WEIGHT[basis.word]))
    return {triple: tuple(carrying) for triple, carrying in found.items()}
