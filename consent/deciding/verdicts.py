"""What a decision says, as values, and the text that it is a digest of."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Literal
from zoneinfo import ZoneInfo

import orjson

from consent.rules.law import Basis, Rulebook
from consent.rules.request import Request
from consent.words.consents import ConsentRecord

Outcome = Literal["permit", "partial", "deny", "possible"]

#: Acts are in force by the Finnish calendar.
_HELSINKI = ZoneInfo("Europe/Helsinki")


@dataclass(frozen=True, slots=True)
class PermittedCategory:
    """A category that may move: by which basis and word, with the facts still needed if it is only possible.

    `overridden` is the id of a refusal that the basis is not stopped by, `standing` that of the standing request under
    which a right to get carries a handover.
    """

    category: str
    basis: str
    consent_id: str | None = None
    consent_version: int | None = None
    possible: bool = False
    needs: tuple[str, ...] = ()
    overridden: str | None = None
    standing: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """As JSON values, without what does not apply."""
        document: dict[str, Any] = {"category": self.category, "basis": self.basis}
        if self.consent_id is not None:
            document["consent"] = [self.consent_id, self.consent_version]
        if self.possible:
            document["needs"] = self.needs
        if self.overridden is not None:
            document["overridden"] = self.overridden
        if self.standing is not None:
            document["standing"] = self.standing
        return document


@dataclass(frozen=True, slots=True)
class WithheldCategory:
    """A category that may not move: why, and the basis that came nearest with its first unmet condition."""

    category: str
    code: str
    nearest_basis: str | None = None
    unmet: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """As JSON values, without what does not apply."""
        document: dict[str, Any] = {"category": self.category, "code": self.code}
        if self.nearest_basis is not None:
            document["nearest"] = self.nearest_basis
        if self.unmet is not None:
            document["unmet"] = self.unmet
        return document


@dataclass(frozen=True, slots=True)
class Decision:
    """What may move and what not, for one request at one moment under one rulebook.

    `request` and `considered` (ids and versions of the words that stood) are what it was made of; with the rulebook
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


@dataclass(frozen=True, slots=True)
class Verdicts:
    """What was found of the categories asked for, and the obligations that come besides those of the bases."""

    permitted: tuple[PermittedCategory, ...]
    withheld: tuple[WithheldCategory, ...]
    considered: tuple[tuple[str, int], ...]
    obliged: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Miss:
    """Why a basis does not carry a category."""

    code: str
    basis: str
    unmet: str | None = None


def each_category(
    request: Request,
    rulebook: Rulebook,
    words: Sequence[ConsentRecord],
    verdict: Callable[[str], PermittedCategory | WithheldCategory],
) -> Verdicts:
    """What is found of each category of the request. One that is withheld as a whole is also tried by its parts."""
    permitted: list[PermittedCategory] = []
    withheld: list[WithheldCategory] = []
    for category in sorted(request.categories):
        found = verdict(category)
        if isinstance(found, PermittedCategory):
            permitted.append(found)
            continue
        withheld.append(found)
        known = rulebook.categories.get(category)
        for part in known.parts if known is not None else ():
            if part in request.categories:
                continue
            inner = verdict(part)
            if isinstance(inner, PermittedCategory):
                permitted.append(inner)
    return Verdicts(tuple(permitted), tuple(withheld), tuple((word.id, word.version) for word in words))


def in_group(request: Request, rulebook: Rulebook, basis: Basis, day: date) -> bool | None:
    """Whether the person is of those whom a basis is about, by the ground of the permit; None while nobody knows."""
    if not basis.permits:
        return True
    ground = request.stated.permit_ground
    if ground is not None:
        permit = rulebook.permits.get(ground)
        return ground in basis.permits and permit is not None and permit.in_force(day)
    return False if request.known else None


def legal_day(at: datetime) -> date:
    """The day of a moment by the Finnish calendar, by which acts are in force or not."""
    return at.astimezone(_HELSINKI).date()


def sealed(request: Request, rulebook: Rulebook, found: Verdicts, at: datetime) -> Decision:
    """The Decision of what was found, with its text and its id."""
    outcome: Outcome = "permit"
    if not found.permitted:
        outcome = "deny"
    elif any(permitted.possible for permitted in found.permitted):
        outcome = "possible"
    elif found.withheld:
        outcome = "partial"
    named = {permitted.basis for permitted in found.permitted}
    used = [basis for basis in map(rulebook.basis, named) if basis is not None]
    obligations = tuple(sorted(found.obliged.union(*(basis.obligations for basis in used))))
    emergency = any(basis.emergency for basis in used)
    document = {
        "at": at.isoformat(),
        "emergency": emergency,
        "obligations": obligations,
        "outcome": outcome,
        "permitted": [permitted.to_dict() for permitted in found.permitted],
        "provider": request.provider.role,
        "purpose": request.purpose,
        "requester": request.requester.role,
        "rulebook": rulebook.digest,
        "withheld": [withheld.to_dict() for withheld in found.withheld],
    }
    if rulebook.form > 1:  # the text of a decision under a rulebook of the first form stays what it was
        document["way"] = request.way.value
    # All names are ASCII and there are no numbers but small integers, so sorted compact JSON is RFC 8785's form.
    canonical = orjson.dumps(document, option=orjson.OPT_SORT_KEYS)
    return Decision(
        id="d-" + hashlib.sha256(canonical).hexdigest()[:32],
        outcome=outcome,
        permitted=found.permitted,
        withheld=found.withheld,
        obligations=obligations,
        rulebook=rulebook.digest,
        at=at,
        provider=request.provider.role,
        requester=request.requester.role,
        purpose=request.purpose,
        emergency=emergency,
        request=request,
        considered=found.considered,
        _canonical=canonical,
    )
