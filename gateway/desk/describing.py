"""What codes of the log are called: organisations by the registry, purposes and bases by the rulebook in force.

The log speaks in codes, so that it need not be rewritten when a name changes. Whoever shows it to people looks the
names up here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, time
from typing import Final

from audit.log.entries import ZONE
from audit.questions.report import Activity, Names
from consent.rules.law import Basis, Rulebook
from gateway.registry.read.entries import witness_name
from gateway.registry.read.registry import Registry
from gateway.registry.read.standing import Standing
from gateway.wire.identifiers import IdentifierError, MemberId, SubsystemId
from gateway.wire.problem_table import PROBLEMS
from texts import Catalogue

HIDE: str = "hide-from-subject"
"""Obligation of a basis under which the law forbids telling the person."""
_TEXTS: Final = Catalogue("audit")


def names_of(standing: Callable[[], Standing | None]) -> Names:
    """Names by the registry and rulebook that stand at the moment of asking, and of reasons by the problem table.

    Kinds: `member`, `subsystem`, `recipient`, `purpose`, `basis`, `category`, `role`, `reason`, `log` and `witness` (an
    organisation, by what its node signs as). None for a code without a name.
    """

    def name(kind: str, code: str, language: str) -> str | None:
        if kind == "reason":
            problem = PROBLEMS.get(code)
            return None if problem is None else problem.title.in_language(language)
        known = standing()
        if known is None:
            return None
        if kind == "recipient":
            # A word names its recipients by role, by organisation or by system.
            return next((found for of in ("role", "member", "subsystem") if (found := name(of, code, language))), None)
        if kind in _IN_REGISTRY:
            return _IN_REGISTRY[kind](known.registry, code, language)
        return _in_rulebook(known.rulebook, kind, code, language)

    return name


def organisation(standing: Standing | None, subsystems: Sequence[SubsystemId], language: str) -> str | None:
    """The organisation that the first of these belongs to, by its name or its identifier; None without any."""
    for subsystem in subsystems[:1]:
        member = standing.registry.member(subsystem.member) if standing is not None else None
        return member.name.in_language(language) if member is not None else str(subsystem.member)
    return None


def organisation_named(registry: Registry, code: str, language: str) -> str | None:
    """The organisation of an identifier, by its name; None for one that is not listed."""
    try:
        member = registry.member(MemberId.parse(code))
    except IdentifierError:
        return None
    return None if member is None else member.name.in_language(language)


def _signer(registry: Registry, code: str, language: str) -> str | None:
    for node in registry.content.nodes:
        if code in (node.id, node.log_origin, witness_name(node.id)):
            member = registry.member(node.owner)
            return member.name.in_language(language) if member is not None else None
    return None


def _in_rulebook(rulebook: Rulebook, kind: str, code: str, language: str) -> str | None:
    if kind == "basis":
        basis = rulebook.basis(code)
        return None if basis is None else basis_name(basis, language)
    if kind == "category":
        category = rulebook.categories.get(code)
        return None if category is None else category.title.get(language)
    if kind not in {"purpose", "role"}:
        return None
    words = (rulebook.purposes if kind == "purpose" else rulebook.roles).get(code)
    return None if words is None else words.get(language)


def _subsystem(registry: Registry, code: str, language: str) -> str | None:
    try:
        identifier = SubsystemId.parse(code)
    except IdentifierError:
        return None
    member = registry.member(identifier.member)
    subsystem = registry.subsystem(identifier)
    if member is None:
        return None
    names = [member.name.in_language(language)]
    if subsystem is not None and subsystem.name != member.name:
        names.append(subsystem.name.in_language(language))
    return ", ".join(names)


_IN_REGISTRY: Mapping[str, Callable[[Registry, str, str], str | None]] = {
    "member": organisation_named,
    "subsystem": _subsystem,
    "log": _signer,
    "witness": _signer,
}


def basis_name(basis: Basis, language: str) -> str:
    """A basis with the act that it stands on."""
    title = basis.title.get(language) or basis.id
    return f"{title} ({basis.cited(language)})"


def hidden_bases(rulebook: Rulebook) -> frozenset[str]:
    """Bases under which the person must not be told."""
    return frozenset(basis.id for basis in rulebook.bases if HIDE in basis.obligations)


def activities(standing: Standing, year: int, subsystems: Sequence[SubsystemId], language: str) -> tuple[Activity, ...]:
    """What an organisation processes data for in a year: the purposes in which it has a role, by the law of that year.

    `subsystems` are the organisation's own.
    """
    first, last = date(year, 1, 1), date(year, 12, 31)
    # A role may have been held for a part of the year only.
    days = [*(date(year, month, 1) for month in range(1, 13)), last]
    moments = [datetime.combine(day, time(12), ZONE).astimezone(UTC) for day in days]
    roles = {role for at in moments for subsystem in subsystems for role in standing.registry.roles_of(subsystem, at)}
    found = []
    for code, words in standing.rulebook.purposes.items():
        bases = [
            basis
            for basis in standing.rulebook.bases
            if code in basis.purposes
            and roles & (basis.providers | basis.requesters)
            and (basis.starts is None or basis.starts <= last)
            and (basis.ends is None or first <= basis.ends)
        ]
        if bases:
            found.append(
                Activity(
                    code,
                    words.get(language) or code,
                    tuple(dict.fromkeys(basis_name(basis, language) for basis in bases)),
                    tuple(sorted({category for basis in bases for category in basis.categories})),
                    _TEXTS("processing.persons", language),
                )
            )
    return tuple(found)
