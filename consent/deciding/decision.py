"""Decide what may move: each data category on its own, denied unless a legal basis in force gives it.

Pure and total: the same request, rulebook, words and moment always give the same Decision, byte for byte. In this
order:

1. a basis for emergencies, where one is claimed;
2. a duty to give, or a right to get: no word of the person stops it, a prohibition is shown beside it. A right to get
   answers a query, and carries a handover only under a standing request of the recipient; a right that is on request
   only never carries one;
3. a basis by word: it needs the permission or consent that its section asks for, and a prohibition stops it;
4. otherwise nothing moves.

A prohibition of the rulebook stops the bases that it names, and no others. What a record does not say is taken to the
safe side: a condition of a basis does not hold then, one of a prohibition does. A rulebook of the first form is decided
as it was when it was new, by `consent.deciding.older`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime
from typing import Final

from consent.deciding import older
from consent.deciding.said import Asked, Said, Silence
from consent.deciding.verdicts import (
    Decision,
    Miss,
    PermittedCategory,
    WithheldCategory,
    each_category,
    in_group,
    legal_day,
    sealed,
)
from consent.rules.conditions import CONDITIONS
from consent.rules.law import Basis, Mode, Prohibition, Rulebook, Word
from consent.rules.request import Request, SubjectFacts, Way
from consent.rules.standing import StandingRequest
from consent.words.consents import ConsentRecord, WordKind


def decide(request: Request, rulebook: Rulebook, words: Sequence[ConsentRecord], at: datetime) -> Decision:
    """Decide each category of the request. A category that is withheld as a whole is also tried by its parts."""
    day = legal_day(at)
    if rulebook.form == 1:
        return sealed(request, rulebook, older.verdicts(request, rulebook, words, day), at)
    case = _Case(request, rulebook, words, day)
    found = each_category(request, rulebook, words, case.verdict)
    found = replace(found, obliged=case.obliged(found.permitted))
    return sealed(request, rulebook, found, at)


#: Why what came under the condition of `no-onward-disclosure` goes no further.
ONWARD: Final = "no-onward-disclosure"

#: Reasons from the farthest to the nearest miss: the one told is that of the basis that came nearest.
_NEARNESS: Final = {
    code: place
    for place, code in enumerate(
        (
            "basis-not-in-force",
            "emergency-only",
            "subject-group",
            "condition-unmet",
            "on-request-only",
            "consent-missing",
            "ask-first",
            "permission-missing",
            "permission-not-asked",
            "nobody-asked",
            ONWARD,
            "consent-ended",
            "permission-ended",
            "consent-withdrawn",
            "permission-withdrawn",
            "reported",
            "refused",
            "prohibited",
            "safety-unknown",
            "deceased",
        )
    )
}


_SILENT: Final = {Silence.WITHDRAWN: "withdrawn", Silence.ENDED: "ended"}


def _carrying(said: Said, basis: Basis, category: str) -> ConsentRecord | Miss:
    """The permission or consent that a basis needs, or why there is none that counts."""
    kind = WordKind(basis.word.value)
    word = said.word_for(category, {kind})
    if isinstance(word, ConsentRecord):
        return word
    if word is Silence.REPORTED:
        return Miss("reported", basis.id)
    if word is Silence.ANOTHER and kind is WordKind.PERMISSION:
        # A consent is for what its own words name: it is no permission, and nobody has asked for one.
        return Miss("permission-not-asked", basis.id)
    return Miss(f"{kind}-{_SILENT.get(word, 'missing')}", basis.id)


class _Case:
    """One request, with what can be worked out once for all its categories."""

    def __init__(self, request: Request, rulebook: Rulebook, words: Sequence[ConsentRecord], day: date) -> None:
        self._request = request
        self._rulebook = rulebook
        self._day = day
        facts = request.facts or SubjectFacts()
        asked = Asked(
            holder=request.provider.member,
            role=request.requester.role,
            member=request.requester.member,
            purpose=request.purpose,
            day=day,
            ages=facts.ages,
            is_unaccompanied=facts.unaccompanied,
        )
        self._said = Said(words, asked, rulebook)
        self._triple = (request.provider.role, request.requester.role, request.purpose)
        self._answers: dict[str, bool | None] = {}
        self._alike: dict[str, Miss | tuple[str, ...]] = {}
        self._applying = [
            (prohibition, needs)
            for prohibition in rulebook.prohibitions
            if prohibition.in_force(day) and (not prohibition.purposes or request.purpose in prohibition.purposes)
            if (needs := self._applies(prohibition)) is not None
        ]

    def verdict(self, category: str) -> PermittedCategory | WithheldCategory:
        """What becomes of one category."""
        if category not in self._rulebook.categories:
            return WithheldCategory(category, "category-unknown")
        other: PermittedCategory | None = None
        nearest: Miss | None = None
        is_by_word = self._rulebook.covers(self._request.by_word, category)
        for basis in self._ordered(category):
            found = self._by(basis, category)
            if isinstance(found, Miss):
                if nearest is None or _NEARNESS.get(found.code, 99) > _NEARNESS.get(nearest.code, 99):
                    nearest = found
            elif found.consent_id is not None if is_by_word else not found.possible:
                # Where its holder says that it goes by a word, no basis gave it that needs none, possible as it may be.
                return found
            elif other is None or self._supposes(found) < self._supposes(other):
                other = found
        if other is not None:
            return other
        nearest = nearest or self._out_of_force(category)
        if nearest is None:
            return WithheldCategory(category, "no-basis")
        return WithheldCategory(category, nearest.code, nearest.basis, nearest.unmet)

    def _supposes(self, found: PermittedCategory) -> tuple[bool, int]:
        """How much is to be supposed of the person for it to hold, but for the permit, which all have on some ground.

        In advance, with nothing of a record at hand, that tells nothing.
        """
        supposed = {*found.needs} - {"permit_ground"} if self._request.facts is not None else ()
        return found.possible, len(supposed)

    def obliged(self, permitted: Sequence[PermittedCategory]) -> frozenset[str]:
        """What prohibitions that apply ask of whoever gets what they speak of all the same."""
        return frozenset(
            obligation
            for prohibition, needs in self._applying
            if prohibition.obliges and not needs
            if any(self._rulebook.touches(prohibition.categories, item.category) for item in permitted)
            for obligation in prohibition.obliges
        )

    def _ordered(self, category: str) -> Sequence[Basis]:
        bases = self._rulebook.carriers(self._triple, category, self._day)
        if self._request.emergency is None:
            return bases
        return (*(basis for basis in bases if basis.emergency), *(basis for basis in bases if not basis.emergency))

    def _out_of_force(self, category: str) -> Miss | None:
        """The basis that would speak of it on another day, where none speaks of anything between the two on this one.

        Where the law of the day gives other categories, what it leaves out is not given: that it once was, misleads.
        """
        if any(basis.in_force(self._day) for basis in self._rulebook.bases_for(*self._triple)):
            return None
        for basis in self._rulebook.bases_for(*self._triple):
            if self._rulebook.covers(basis.categories, category) and not basis.in_force(self._day):
                limit = basis.ends if basis.ends is not None and self._day > basis.ends else basis.starts
                return Miss("basis-not-in-force", basis.id, limit.isoformat() if limit else None)
        return None

    def _by(self, basis: Basis, category: str) -> PermittedCategory | Miss:
        """What one basis says of one category."""
        alike = self._alike.get(basis.id)
        if alike is None:
            alike = self._alike[basis.id] = self._whatever_category(basis)
        if isinstance(alike, Miss):
            return alike
        stopped = self._stopped(basis, category)
        if isinstance(stopped, Miss):
            return stopped
        needs = {*alike, *stopped}
        if self._is_kept(basis, category):
            return Miss(ONWARD, basis.id)
        standing: StandingRequest | None = None
        if basis.mode is Mode.RIGHT_TO_GET and self._request.way is Way.HANDOVER:
            standing = self._asked(basis, category)
            if standing is None:
                return Miss("nobody-asked", basis.id)
        refusal = self._said.prohibition_of(category)
        word = self._word(basis, category, refusal)
        if isinstance(word, Miss):
            if self._request.known or word.code == "refused":
                return word
            needs.add("cannot_permit" if basis.word is Word.FORBIDDEN else basis.word.value)
            word = None
        return PermittedCategory(
            category,
            basis.id,
            consent_id=word.id if word is not None else None,
            consent_version=word.version if word is not None else None,
            possible=bool(needs),
            needs=tuple(sorted(needs)),
            overridden=refusal.id if refusal is not None else None,
            standing=standing.id if standing is not None else None,
        )

    def _stopped(self, basis: Basis, category: str) -> Miss | tuple[str, ...]:
        """The prohibition of the rulebook that stops a basis, or the facts on which it still depends that one does."""
        open_: list[str] = []
        for prohibition, needs in self._applying:
            if prohibition.stops(basis) and self._rulebook.touches(prohibition.categories, category):
                if not needs:
                    return Miss(prohibition.code, prohibition.id)
                open_ += needs
        return tuple(open_)

    def _word(self, basis: Basis, category: str, refusal: ConsentRecord | None) -> ConsentRecord | Miss | None:
        """The word of the person that carries a category by a basis, None where it needs none, or why none does."""
        if basis.word is Word.FORBIDDEN:
            # What passes a prohibition is not open before the person has been asked for a permission.
            asked = refusal is not None or self._holds("cannot-give-permission") is True
            return None if asked else Miss("ask-first", basis.id)
        if not basis.needs_word:
            return None
        return Miss("refused", basis.id) if refusal is not None else _carrying(self._said, basis, category)

    def _is_kept(self, basis: Basis, category: str) -> bool:
        """Whether it came on the condition to go no further. A duty to give and an emergency stand above that."""
        restricted = self._request.restricted
        if not restricted or basis.mode is Mode.DUTY or (basis.emergency and self._request.emergency is not None):
            return False
        return self._rulebook.touches(restricted, category)

    def _whatever_category(self, basis: Basis) -> Miss | tuple[str, ...]:
        """Why a basis carries nothing, whatever the category; or the facts that it still needs, none if it carries."""
        needs: list[str] = []
        group = in_group(self._request, self._rulebook, basis, self._day)
        if group is False:
            return Miss("subject-group", basis.id, "permit")
        if group is None:
            needs.append("permit_ground")
        for name in basis.conditions:
            holds = self._holds(name)
            if holds is None and self._request.known:
                holds = False  # the safe side of what permits
            if holds is False:
                return Miss("condition-unmet", basis.id, name)
            if holds is None:
                needs.append(CONDITIONS[name].needs)
        if basis.emergency and self._request.emergency is None:
            return Miss("emergency-only", basis.id)
        if basis.mode is Mode.ON_REQUEST and self._request.way is Way.HANDOVER:
            return Miss("on-request-only", basis.id)
        return tuple(needs)

    def _asked(self, basis: Basis, category: str) -> StandingRequest | None:
        """The standing request by which the recipient has asked for this, of the persons of whom this one is."""
        request = self._request
        for standing in request.standing:
            if (
                basis.source is not None
                and standing.provision.covers(basis.source.provision)
                and standing.stands(self._day)
                and standing.asks(request.requester, request.provider, request.purpose)
                and self._rulebook.covers(standing.categories, category)
                and all(name in CONDITIONS and self._holds(name) for name in standing.conditions)
            ):
                return standing
        return None

    def _applies(self, prohibition: Prohibition) -> tuple[str, ...] | None:
        """None if a prohibition does not apply; else the facts on which it still depends, none if it does apply."""
        when = {name: self._holds(name) for name in prohibition.when}
        unless = {name: self._holds(name) for name in prohibition.unless}
        if any(answer is False for answer in when.values()) or any(answer is True for answer in unless.values()):
            return None
        if self._request.known:
            return ()  # the safe side of what protects: what the record does not say is taken to hold
        return tuple(CONDITIONS[name].needs for name, answer in (when | unless).items() if answer is None)

    def _holds(self, name: str) -> bool | None:
        if name not in self._answers:
            self._answers[name] = CONDITIONS[name].holds(self._request)
        return self._answers[name]
