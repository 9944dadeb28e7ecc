"""Decide by a rulebook of the first form, as decisions were made when such rulebooks were in use.

Nothing here changes: a decision that was recorded then is made again byte for byte. In that form a basis has no mode, a
prohibition stops every basis, and what a record does not say never holds. What beats what, from the strongest: a
prohibition (but not a basis for emergencies, where the rulebook says that the prohibition does not stop them); a
refusal by the person (but not of a statutory duty, where the Decision shows the refusal beside the basis that overrides
it); a basis that needs no consent; a basis that a refusal would have stopped; a basis with the consent that it
requires; a basis for emergencies.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date

from consent.deciding.said import Asked, Said, Silence
from consent.deciding.verdicts import Miss, PermittedCategory, Verdicts, WithheldCategory, each_category, in_group
from consent.rules.conditions import CONDITIONS
from consent.rules.law import Basis, Prohibition, Rulebook, Word
from consent.rules.request import Request
from consent.words.consents import ConsentRecord, WordKind


def verdicts(request: Request, rulebook: Rulebook, consents: Sequence[ConsentRecord], day: date) -> Verdicts:
    """What such a rulebook says of each category of the request."""
    return each_category(request, rulebook, consents, _Case(request, rulebook, consents, day).verdict)


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


_SILENCES = {Silence.WITHDRAWN: "consent-withdrawn", Silence.REPORTED: "reported"}


class _Case:
    """One request, with what can be worked out once for all its categories."""

    def __init__(self, request: Request, rulebook: Rulebook, consents: Sequence[ConsentRecord], day: date) -> None:
        self._request = request
        self._rulebook = rulebook
        self._day = day
        role, member, purpose = request.requester.role, request.requester.member, request.purpose
        self._said = Said(
            # No basis of this form tells permissions from consents: what names no purpose or recipient carries nothing.
            (word for word in consents if word.forbids or (word.purposes and word.recipients and word.categories)),
            Asked(request.provider.member, role, member, purpose, day),
            rulebook,
        )
        self._bases = rulebook.bases_for(request.provider.role, role, purpose)
        self._emergencies = frozenset(basis.id for basis in self._bases if basis.emergency)
        self._answers: dict[str, bool | None] = {}
        self._alike: dict[str, Miss | tuple[str, ...]] = {}
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
        if isinstance(found, Miss):
            return WithheldCategory(category, found.code, found.basis, found.unmet)
        by_emergency = found.basis in self._emergencies
        open_facts = {fact for one, needs in open_ if one.stops_emergencies or not by_emergency for fact in needs}
        if open_facts:
            return replace(found, possible=True, needs=tuple(sorted({*found.needs, *open_facts})))
        return found

    def _first(self, bases: Sequence[Basis], category: str) -> PermittedCategory | Miss | None:
        """What the first basis that carries a category says, else the nearest miss; None if none speaks of it."""
        bases = [basis for basis in bases if self._rulebook.covers(basis.categories, category)]
        refusal = self._said.prohibition_of(category) if bases else None
        carried: PermittedCategory | None = None
        nearest: Miss | None = None
        for basis in bases:
            found = self._by(basis, category, refusal)
            if isinstance(found, Miss):
                if nearest is None or _NEARNESS[found.code] > _NEARNESS[nearest.code]:
                    nearest = found
            elif not found.possible:
                return found
            elif carried is None:
                carried = found
        return carried if carried is not None else nearest

    def _by(self, basis: Basis, category: str, refusal: ConsentRecord | None) -> PermittedCategory | Miss:
        """What one basis says of one category."""
        alike = self._alike.get(basis.id)
        if alike is None:
            alike = self._alike[basis.id] = self._whatever_category(basis)
        if isinstance(alike, Miss):
            return alike
        if refusal is not None and basis.word is not Word.SHOWN:
            return Miss("refused", basis.id)
        needs: tuple[str, ...] = alike
        consent: ConsentRecord | None = None
        if basis.needs_word:
            # A prohibition that was lifted counted as a consent that was withdrawn.
            word = self._said.word_for(category, frozenset(WordKind))
            if word is Silence.REPORTED or (isinstance(word, Silence) and self._request.known):
                return Miss(_SILENCES.get(word, "consent-missing"), basis.id)
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

    def _whatever_category(self, basis: Basis) -> Miss | tuple[str, ...]:
        """Why a basis carries nothing, whatever the category; or the facts that it still needs, none if it carries."""
        if not basis.in_force(self._day):
            limit = basis.ends if basis.ends is not None and self._day > basis.ends else basis.starts
            return Miss("basis-not-in-force", basis.id, limit.isoformat() if limit else None)
        needs: list[str] = []
        group = in_group(self._request, self._rulebook, basis, self._day)
        if group is False:
            return Miss("subject-group", basis.id, "permit")
        if group is None:
            needs.append("permit_ground")
        for name in basis.conditions:
            holds = self._holds(name)
            if holds is False:
                return Miss("condition-unmet", basis.id, name)
            if holds is None:
                needs.append(CONDITIONS[name].needs)
        if basis.emergency and self._request.emergency is None:
            return Miss("emergency-only", basis.id)
        return tuple(needs)

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
