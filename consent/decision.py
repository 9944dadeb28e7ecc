"""Decide what may move: each data category on its own, denied unless a legal basis in force gives it.

Pure and total: the same request, rulebook, consents and moment always give the same Decision, byte for byte. The first
basis that carries a category without a condition left open is named; of several, that which asks the least of the
person, then that which the rulebook names first.

What beats what, from the strongest: a prohibition (but not a basis for emergencies, where the rulebook says that the
prohibition does not stop them); a refusal by the person (but not of a statutory duty, where the
Decision shows the refusal beside the basis that overrides it); a basis that needs no consent; a basis that a refusal
would have stopped; a basis with the consent that it requires; a basis for emergencies.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import Any, Literal
from zoneinfo import ZoneInfo

import orjson

from consent.conditions import CONDITIONS
from consent.consents import ConsentRecord
from consent.request import Emergency, Party, Request, SubjectFacts
from consent.rulebook import Basis, Prohibition, Rulebook
from consent.said import Asked, Said, Silence

__all__ = [
    "Decision",
    "Emergency",
    "Party",
    "PermittedCategory",
    "Request",
    "SubjectFacts",
    "WithheldCategory",
    "decide",
    "legal_day",
]

Outcome = Literal["permit", "partial", "deny", "possible"]

#: Acts are in force by the Finnish calendar.
_HELSINKI = ZoneInfo("Europe/Helsinki")


@dataclass(frozen=True, slots=True)
class PermittedCategory:
    """A category that may move: by which basis and consent, with the facts still needed if it is only possible.

    `overridden` is the id of a refusal that the basis is not stopped by.
    """

    category: str
    basis: str
    consent_id: str | None = None
    consent_version: int | None = None
    possible: bool = False
    needs: tuple[str, ...] = ()
    overridden: str | None = None


@dataclass(frozen=True, slots=True)
class WithheldCategory:
    """A category that may not move: why, and the basis that came nearest with its first unmet condition."""

    category: str
    code: str
    nearest_basis: str | None = None
    unmet: str | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """What may move and what not, for one request at one moment under one rulebook.

    `request` and `considered` (ids and versions of the consents that stood) are what it was made of; with the rulebook
    and the moment they make the same Decision again. `request` holds facts about the person: it is never logged.
    """

    id: str
    outcome: Outcome
    permitted: tuple[PermittedCategory, ...]
    withheld: tuple[WithheldCategory, ...]
    obligations: tuple[str, ...]
    rulebook: str
    at: datetime
    provider: str
    requester: str
    purpose: str
    emergency: bool
    request: Request = field(repr=False, compare=False)
    considered: tuple[tuple[str, int], ...] = field(repr=False, compare=False)
    _canonical: bytes = field(repr=False, compare=False)

    @property
    def permitted_categories(self) -> frozenset[str]:
        """The categories and parts that may move."""
        return frozenset(permitted.category for permitted in self.permitted)

    def canonical(self) -> bytes:
        """The decision as canonical JSON (RFC 8785), the text that its id is a digest of."""
        return self._canonical

    def to_dict(self) -> dict[str, Any]:
        """The decision as JSON values, with its id."""
        document: dict[str, Any] = orjson.loads(self._canonical)
        return {"id": self.id, **document}


def legal_day(at: datetime) -> date:
    """The day of a moment by the Finnish calendar, by which acts are in force or not."""
    return at.astimezone(_HELSINKI).date()


def decide(request: Request, rulebook: Rulebook, consents: Sequence[ConsentRecord], at: datetime) -> Decision:
    """Decide each category of the request. A category that is withheld as a whole is also tried by its parts."""
    case = _Case(request, rulebook, consents, legal_day(at))
    permitted: list[PermittedCategory] = []
    withheld: list[WithheldCategory] = []
    for category in sorted(request.categories):
        verdict = case.verdict(category)
        if isinstance(verdict, PermittedCategory):
            permitted.append(verdict)
            continue
        withheld.append(verdict)
        known = rulebook.categories.get(category)
        for part in known.parts if known is not None else ():
            inner = case.verdict(part) if part not in request.categories else verdict
            if isinstance(inner, PermittedCategory):
                permitted.append(inner)
    considered = tuple((consent.id, consent.version) for consent in consents)
    return _sealed(request, rulebook, tuple(permitted), tuple(withheld), considered, at)


@dataclass(frozen=True, slots=True)
class _Miss:
    """Why a basis does not carry a category."""

    code: str
    basis: str
    unmet: str | None = None


#: Reasons from the farthest to the nearest miss: the one told is that of the basis that came nearest.
_NEARNESS = {
    code: place
    for place, code in enumerate(
        (
            "basis-not-in-force",
            "subject-group",
            "condition-unmet",
            "emergency-only",
            "consent-missing",
            "consent-withdrawn",
            "reported",
            "refused",
        )
    )
}


_SILENCES = {
    Silence.MISSING: "consent-missing",
    Silence.WITHDRAWN: "consent-withdrawn",
    Silence.REPORTED: "reported",
}


class _Case:
    """One request, with what can be worked out once for all its categories."""

    def __init__(self, request: Request, rulebook: Rulebook, consents: Sequence[ConsentRecord], day: date) -> None:
        self._request = request
        self._rulebook = rulebook
        self._day = day
        role, member, purpose = request.requester.role, request.requester.member, request.purpose
        self._said = Said(
            # No basis tells permissions from consents yet: a word that names no purpose or recipient carries nothing.
            (word for word in consents if word.forbids or (word.purposes and word.recipients and word.categories)),
            Asked(request.provider.member, role, member, purpose, day),
            rulebook,
        )
        self._bases = rulebook.bases_for(request.provider.role, role, purpose)
        self._emergencies = frozenset(basis.id for basis in self._bases if basis.emergency)
        self._answers: dict[str, bool | None] = {}
        self._alike: dict[str, _Miss | tuple[str, ...]] = {}
        self._prohibitions = [
            (prohibition, needs)
            for prohibition in rulebook.prohibitions
            if prohibition.in_force(day) and (not prohibition.purposes or purpose in prohibition.purposes)
            if (needs := self._stands(prohibition)) is not None
        ]

    def verdict(self, category: str) -> PermittedCategory | WithheldCategory:
        if category not in self._rulebook.categories:
            return WithheldCategory(category, "category-unknown")
        standing, open_ = self._prohibited(category)
        if not standing:
            found = self._first(self._bases, category)
        elif all(not item.stops_emergencies for item in standing):
            # Every prohibition that stands lets emergencies pass: theirs are the only bases that are asked.
            found = self._first(tuple(basis for basis in self._bases if basis.emergency), category)
        else:
            found = None
        if standing and not isinstance(found, PermittedCategory):
            return WithheldCategory(category, "prohibited", standing[0].id)
        if found is None:
            return WithheldCategory(category, "no-basis")
        if isinstance(found, _Miss):
            return WithheldCategory(category, found.code, found.basis, found.unmet)
        by_emergency = found.basis in self._emergencies
        open_facts = {fact for one, needs in open_ if one.stops_emergencies or not by_emergency for fact in needs}
        if open_facts:
            return replace(found, possible=True, needs=tuple(sorted({*found.needs, *open_facts})))
        return found

    def _first(self, bases: Sequence[Basis], category: str) -> PermittedCategory | _Miss | None:
        """What the first basis that carries a category says, else the nearest miss; None if none speaks of it."""
        refusal = self._said.prohibition_of(category)
        carried: PermittedCategory | None = None
        nearest: _Miss | None = None
        for basis in bases:
            if not self._rulebook.covers(basis.categories, category):
                continue
            found = self._by(basis, category, refusal)
            if isinstance(found, _Miss):
                if nearest is None or _NEARNESS[found.code] > _NEARNESS[nearest.code]:
                    nearest = found
            elif not found.possible:
                return found
            elif carried is None:
                carried = found
        return carried if carried is not None else nearest

    def _by(self, basis: Basis, category: str, refusal: ConsentRecord | None) -> PermittedCategory | _Miss:
        """What one basis says of one category."""
        alike = self._alike.get(basis.id)
        if alike is None:
            alike = self._alike[basis.id] = self._whatever_category(basis)
        if isinstance(alike, _Miss):
            return alike
        if refusal is not None and basis.consent != "not-needed":
            return _Miss("refused", basis.id)
        needs: tuple[str, ...] = alike
        consent: ConsentRecord | None = None
        if basis.consent == "required":
            word = self._said.word_for(category)
            if word is Silence.REPORTED or (isinstance(word, Silence) and self._request.known):
                return _Miss(_SILENCES[word], basis.id)
            if isinstance(word, Silence):
                needs = (*alike, "consent")
            else:
                consent = word
        return PermittedCategory(
            category,
            basis.id,
            consent.id if consent is not None else None,
            consent.version if consent is not None else None,
            bool(needs),
            tuple(sorted(set(needs))) if needs else (),
            refusal.id if refusal is not None else None,
        )

    def _whatever_category(self, basis: Basis) -> _Miss | tuple[str, ...]:
        """Why a basis carries nothing, whatever the category; or the facts that it still needs, none if it carries."""
        if not basis.in_force(self._day):
            limit = basis.ends if basis.ends is not None and self._day > basis.ends else basis.starts
            return _Miss("basis-not-in-force", basis.id, limit.isoformat() if limit else None)
        needs: list[str] = []
        group = self._in_group(basis)
        if group is False:
            return _Miss("subject-group", basis.id, "permit")
        if group is None:
            needs.append("permit_ground")
        for name in basis.conditions:
            holds = self._holds(name)
            if holds is False:
                return _Miss("condition-unmet", basis.id, name)
            if holds is None:
                needs.append(CONDITIONS[name].needs)
        if basis.emergency and self._request.emergency is None:
            return _Miss("emergency-only", basis.id)
        return tuple(needs)

    def _in_group(self, basis: Basis) -> bool | None:
        if not basis.permits:
            return True
        ground = self._request.stated.permit_ground
        if ground is not None:
            permit = self._rulebook.permits.get(ground)
            return ground in basis.permits and permit is not None and permit.in_force(self._day)
        return False if self._request.known else None

    def _stands(self, one: Prohibition) -> tuple[str, ...] | None:
        """None if a prohibition does not apply; else the facts on which it still depends, none if it does apply."""
        when = [self._holds(name) for name in one.when]
        unless = [self._holds(name) for name in one.unless]
        if any(answer is False for answer in when) or any(answer is True for answer in unless):
            return None
        named = zip((*one.when, *one.unless), (*when, *unless), strict=True)
        return tuple(CONDITIONS[name].needs for name, answer in named if answer is None)

    def _prohibited(self, category: str) -> tuple[list[Prohibition], list[tuple[Prohibition, tuple[str, ...]]]]:
        """The prohibitions that stop a category, and those of which it is open, with the facts that they depend on."""
        standing: list[Prohibition] = []
        open_: list[tuple[Prohibition, tuple[str, ...]]] = []
        for one, needs in self._prohibitions:
            if self._rulebook.touches(one.categories, category):
                if needs:
                    open_.append((one, needs))
                else:
                    standing.append(one)
        return standing, open_

    def _holds(self, name: str) -> bool | None:
        if name not in self._answers:
            answer = CONDITIONS[name].holds(self._request)
            # With the record at hand, what it does not say does not hold.
            self._answers[name] = False if answer is None and self._request.known else answer
        return self._answers[name]


def _sealed(
    request: Request,
    rulebook: Rulebook,
    permitted: tuple[PermittedCategory, ...],
    withheld: tuple[WithheldCategory, ...],
    considered: tuple[tuple[str, int], ...],
    at: datetime,
) -> Decision:
    outcome: Outcome = "permit"
    if not permitted:
        outcome = "deny"
    elif any(one.possible for one in permitted):
        outcome = "possible"
    elif withheld:
        outcome = "partial"
    named = {one.basis for one in permitted}
    used = [basis for basis in rulebook.bases if basis.id in named] if named else []
    obligations = tuple(sorted(frozenset().union(*(basis.obligations for basis in used))))
    emergency = any(basis.emergency for basis in used)
    document = {
        "at": at.isoformat(),
        "emergency": emergency,
        "obligations": obligations,
        "outcome": outcome,
        "permitted": [_permitted(one) for one in permitted],
        "provider": request.provider.role,
        "purpose": request.purpose,
        "requester": request.requester.role,
        "rulebook": rulebook.digest,
        "withheld": [_withheld(one) for one in withheld],
    }
    # All names are ASCII and there are no numbers but small integers, so sorted compact JSON is RFC 8785's form.
    canonical = orjson.dumps(document, option=orjson.OPT_SORT_KEYS)
    return Decision(
        id="d-" + hashlib.sha256(canonical).hexdigest()[:32],
        outcome=outcome,
        permitted=permitted,
        withheld=withheld,
        obligations=obligations,
        rulebook=rulebook.digest,
        at=at,
        provider=request.provider.role,
        requester=request.requester.role,
        purpose=request.purpose,
        emergency=emergency,
        request=request,
        considered=considered,
        _canonical=canonical,
    )


def _permitted(one: PermittedCategory) -> dict[str, Any]:
    document: dict[str, Any] = {"category": one.category, "basis": one.basis}
    if one.consent_id is not None:
        document["consent"] = [one.consent_id, one.consent_version]
    if one.possible:
        document["needs"] = one.needs
    if one.overridden is not None:
        document["overridden"] = one.overridden
    return document


def _withheld(one: WithheldCategory) -> dict[str, Any]:
    document: dict[str, Any] = {"category": one.category, "code": one.code}
    if one.nearest_basis is not None:
        document["nearest"] = one.nearest_basis
    if one.unmet is not None:
        document["unmet"] = one.unmet
    return document
