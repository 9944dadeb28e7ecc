"""Which moments of an act a rulebook accounts for: by a basis, by a reason why none is needed, or not at all.

An act names the sections that give data away, with their moments. A moment is accounted for by every basis whose source
is it, a part of it, or the whole section. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any

from consent.rules.law import Act, Basis, Prohibition, Rulebook, Source, Without
from consent.rules.provisions import Provision


@dataclass(frozen=True, slots=True)
class Moment:
    """One moment of an act, with what accounts for it."""

    provision: Provision
    bases: tuple[Basis, ...]
    prohibitions: tuple[Prohibition, ...]
    without: tuple[Without, ...]

    @property
    def is_accounted_for(self) -> bool:
        """Whether something says what becomes of it."""
        return bool(self.bases or self.prohibitions or self.without)

    @property
    def sources(self) -> tuple[Source, ...]:
        """Where what accounts for it was read."""
        found = (*(basis.source for basis in self.bases), *(prohibition.source for prohibition in self.prohibitions))
        return tuple(source for source in found if source is not None)

    @property
    def amended_unread(self) -> tuple[str, ...]:
        """Amendments whose wording nobody here has read."""
        return tuple(sorted({amendment for source in self.sources for amendment in source.amended_unread}))

    @property
    def read_on(self) -> date | None:
        """The last day on which it was read."""
        return max((source.read_on for source in self.sources if source.read_on is not None), default=None)


@dataclass(frozen=True, slots=True)
class Coverage:
    """An act, moment by moment."""

    act: Act
    moments: tuple[Moment, ...]

    @property
    def missing(self) -> tuple[Moment, ...]:
        """Moments of which nothing says what becomes of them."""
        return tuple(moment for moment in self.moments if not moment.is_accounted_for)

    @property
    def unread(self) -> int:
        """The number of moments that were amended since somebody here read them."""
        return sum(bool(moment.amended_unread) for moment in self.moments)

    def to_dict(self) -> dict[str, Any]:
        """As JSON says it."""
        return {
            "act": self.act.number,
            "name": dict(self.act.name),
            "eli": self.act.eli,
            "moments": [
                {
                    "provision": str(moment.provision),
                    "bases": [basis.id for basis in moment.bases],
                    "prohibitions": [prohibition.id for prohibition in moment.prohibitions],
                    "without": [dict(entry.reason) for entry in moment.without],
                    "amended_unread": list(moment.amended_unread),
                    "read_on": moment.read_on.isoformat() if moment.read_on is not None else None,
                }
                for moment in self.moments
            ],
            "missing": [str(moment.provision) for moment in self.missing],
            "amended_unread": self.unread,
        }


def cover(rulebook: Rulebook, number: str) -> Coverage:
    """Account for the moments of an act of the rulebook. Raises KeyError for an act that it does not know."""
    act = rulebook.acts[number]
    return Coverage(act, tuple(_moment(rulebook, provision) for provision in _provisions(act)))


def _provisions(act: Act) -> Iterator[Provision]:
    for section, moments in act.moments.items():
        for moment in range(1, moments + 1):
            yield Provision(act.number, section, moment)


def _moment(rulebook: Rulebook, provision: Provision) -> Moment:
    return Moment(
        provision,
        tuple(basis for basis in rulebook.bases if _speaks(basis.source, provision)),
        tuple(prohibition for prohibition in rulebook.prohibitions if _speaks(prohibition.source, provision)),
        tuple(entry for entry in rulebook.without if entry.provision.covers(provision)),
    )


def _speaks(source: Source | None, provision: Provision) -> bool:
    if source is None:
        return False
    return any(named.covers(provision) or provision.covers(named) for named in (source.provision, *source.also))
