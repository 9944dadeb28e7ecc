"""What an officer can ask of the log, in the words that callers use: named questions, and filters of their own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Final

from audit.log.entries import OUTCOMES, REFUSED, TYPES
from audit.questions import query
from audit.questions.query import Filters

Person = tuple[str, str]
"""Identifier system and value."""

EVERYTHING: Final = Filters()
QUESTIONS: Final[Mapping[str, Filters]] = {
    "search": Filters(),
    "person": Filters(),
    "disclosures": Filters(types=query.RELEASES, outcomes=query.RELEASED),
    "fruitless": Filters(types=("query",), outcomes=query.NOT_RELEASED),
    "refusals": Filters(outcomes=REFUSED),
    "emergencies": Filters(types=("break-glass",)),
    "reads": Filters(types=("console-read", "export")),
    "anomalies": Filters(types=("anomaly",)),
}
"""Questions by name, each a search with its filters filled in."""
OF_A_PERSON: Final = frozenset({"person", "disclosures", "fruitless"})
EXPORTS: Final = ("csv", "jsonl", "fhir")
_LONGEST: Final = 1_300  # characters of a filter: as long as the longest identifier


class OfficerError(ValueError):
    """A question that makes no sense: `pointer` names the part, the text says what is wrong with it."""

    def __init__(self, pointer: str, message: str) -> None:
        super().__init__(message)
        self.pointer = pointer


@dataclass(frozen=True, slots=True)
class Reader:
    """Who reads: the system that they use, and the person by a pseudonym."""

    client: str
    user: str | None = None


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked: a named question, filters of its own, and the person or case if it is about one."""

    name: str = "search"
    filters: Filters = EVERYTHING
    person: Person | None = None
    case: str | None = None

    def __post_init__(self) -> None:
        if self.name not in QUESTIONS:
            raise OfficerError("question", f"there is no such question; ask one of {', '.join(QUESTIONS)}")
        if self.name in OF_A_PERSON and self.person is None and not self.filters.subjects:
            raise OfficerError("person", f"the question {self.name} is about a person; say which")


_ALTERNATIVES: Final = {"type": ("types", TYPES), "outcome": ("outcomes", OUTCOMES)}
_PLAIN: Final = frozenset(field.name for field in fields(Filters)) - {"start", "end", "subjects", "types", "outcomes"}
FILTERS: Final = tuple(sorted(_PLAIN | _ALTERNATIVES.keys() | {"subject"}))
"""Filters by the names that callers use; `type`, `outcome` and `subject` (a pseudonym) take alternatives."""


def filters_of(
    given: Iterable[tuple[str, str]], *, start: datetime | None = None, end: datetime | None = None
) -> Filters:
    """Filters from pairs of name and value; alternatives are repeated. Raises OfficerError that names the filter."""
    values: dict[str, tuple[str, ...]] = {}
    for name, value in given:
        if name not in FILTERS:
            raise OfficerError(name, f"there is no such filter; use one of {', '.join(FILTERS)}")
        if not value or len(value) > _LONGEST:
            raise OfficerError(name, f"a filter has between 1 and {_LONGEST} characters")
        if name in _ALTERNATIVES and value not in _ALTERNATIVES[name][1]:
            known = ", ".join(sorted(_ALTERNATIVES[name][1]))
            raise OfficerError(name, f"there is no such {name}; use one of {known}")
        if name in _PLAIN and name in values:
            raise OfficerError(name, "the filter is given twice")
        values[name] = (*values.get(name, ()), value)
    if start is not None and end is not None and start >= end:
        raise OfficerError("to", "the time window ends before it begins")
    plain = {name: value[0] for name, value in values.items() if name in _PLAIN}
    return Filters(
        start,
        end,
        subjects=values.get("subject", ()),
        types=values.get("type", ()),
        outcomes=values.get("outcome", ()),
        **plain,
    )
