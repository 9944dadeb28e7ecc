"""What the demo's story found: promises and whether they held, what each recipient got, what questions brought."""

from __future__ import annotations

from dataclasses import dataclass

from audit.tree.verify import ExportReport


@dataclass(frozen=True, slots=True)
class Check:
    """One promise of the demo, and whether it held."""

    promise: str
    held: bool
    seen: str = ""


@dataclass(frozen=True, slots=True)
class Share:
    """What one recipient got of one person, or why nothing."""

    person: str
    flow: str
    recipient: str
    state: str
    got: tuple[str, ...]
    bases: tuple[str, ...]
    withheld: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Asked:
    """One query: who asked whom about what, and what came back."""

    who: str
    person: str
    purpose: str
    asked: tuple[str, ...]
    status: int
    got: tuple[str, ...]
    withheld: tuple[tuple[str, str], ...]
    problem: str


@dataclass(frozen=True, slots=True)
class Wishes:
    """What persons said before anything moved: the ids of their consents, by person."""

    refusal: str
    permission: str
    kept: str
    overtaken: str


@dataclass(frozen=True, slots=True)
class Proven:
    """A proof of one entry, as a file that stands alone, and what its verification said."""

    party: str
    entry: str
    position: int
    size: int
    report: ExportReport
