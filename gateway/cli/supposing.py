"""Decide for a case that is named on the command line: one of the rulebook's, or one in a file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from consent.deciding.examples import decide_case
from consent.deciding.supposed import Supposed, SupposedError
from consent.deciding.verdicts import Decision
from consent.rules.law import FlowDelivery, Rulebook
from consent.rules.request import Way


class SuppositionError(ValueError):
    """A case that cannot be decided: what is wrong with it, and what would be right."""

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.remedy = remedy


@dataclass(frozen=True, slots=True)
class Supposition:
    """What is supposed: a case by its name or its file, between two parties. Without a purpose, that of a flow."""

    case: str
    provider: str
    requester: str
    purpose: str | None
    on: date
    categories: tuple[str, ...] = ()
    emergency: bool = False
    way: Way = Way.QUERY
    asked: bool = False


def supposed_decision(book: Rulebook, supposition: Supposition) -> Decision:
    """What the rulebook decides for it. Raises SuppositionError."""
    if supposition.case.endswith(".json"):
        return _of_file(book, Path(supposition.case))
    _check(supposition.case, book.cases, "case")
    for name in (supposition.provider, supposition.requester):
        _check(name, book.parties, "party")
    purpose = supposition.purpose or _purpose(book, supposition)
    _check(purpose, book.purposes, "purpose")
    return decide_case(
        book,
        book.cases[supposition.case],
        provider=supposition.provider,
        requester=supposition.requester,
        purpose=purpose,
        on=supposition.on,
        emergency=supposition.emergency,
        categories=supposition.categories or None,
        way=supposition.way,
        asked=supposition.asked,
    )


def _of_file(book: Rulebook, path: Path) -> Decision:
    try:
        return Supposed.from_json(path.read_bytes()).decision(book)
    except OSError as error:
        raise SuppositionError(f"{path}: {error.strerror}") from None
    except SupposedError as error:
        raise SuppositionError(f"{path}: {error}", "give a file that `rulebook check --cases` wrote") from None


def _check(name: str, known: object, what: str) -> None:
    names = list(known) if isinstance(known, dict) else []
    if name not in names:
        raise SuppositionError(
            f"the rulebook has no {what} {name!r}" if name else "say which case is meant",
            "use one of: " + ", ".join(sorted(names)),
        )


def _purpose(book: Rulebook, supposition: Supposition) -> str:
    """What a flow brings this recipient from this provider: what a handover plans before what is asked for."""
    giving = book.parties[supposition.provider]["role"]
    getting = book.parties[supposition.requester]["role"]
    for part in _parts(book):
        if part.to_role == getting and giving in part.from_roles:
            return part.purpose
    raise SuppositionError(
        f"no flow goes from {supposition.provider} to {supposition.requester}",
        "name the purpose: one of " + ", ".join(sorted(book.purposes)),
    )


def _parts(book: Rulebook) -> Iterator[FlowDelivery]:
    for flow in book.flows.values():
        yield from flow.deliveries
    for flow in book.flows.values():
        yield from flow.asked
