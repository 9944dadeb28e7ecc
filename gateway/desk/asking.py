"""What a question of the officer is: its form, what goes on record when it is asked, and its answer.

A question is one frozen class. Its fields are the form: what can be asked, within which limits, and what is wrong with
what cannot. `read` is the only place that reads the log for it, and gives the answer with the note that is put on
record. Who wants to show an answer (console, interface, command) asks the desk; nobody else reads, and nobody else
records.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar, Final, Generic, Self, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from sqlalchemy import Connection

from audit.log.entries import Entry, EntryType

if TYPE_CHECKING:
    from gateway.desk.reading import Reading

A = TypeVar("A")
Detail = Mapping[str, str | int | bool]


class Role(StrEnum):
    """What somebody may do at the desk. Systems with the right `audit`, and whoever has the node's secrets, do all."""

    OFFICER = "officer"
    OPERATOR = "operator"
    AUDITOR = "auditor"


EVERYONE: Final = frozenset(Role)
INSPECTORS: Final = frozenset({Role.OFFICER, Role.AUDITOR})
OFFICER: Final = frozenset({Role.OFFICER})


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks: the system that they use, the person by a pseudonym, and their role.

    `member` limits what they see to entries that name it. `page` is the console's page that asks.
    """

    client: str
    user: str | None = None
    role: Role = Role.OFFICER
    member: str | None = None
    page: str | None = None


class QuestionError(ValueError):
    """A question that makes no sense: `pointer` names the part (as in a JSON pointer), `code` the problem."""

    def __init__(self, pointer: str | None, detail: str, remedy: str = "", code: str = "invalid-request") -> None:
        super().__init__(detail)
        self.pointer = pointer
        self.detail = detail
        self.remedy = remedy
        self.code = code


class WrongError(ValueError):
    """What is wrong with one part of a form; `member` is the part of it that is meant, if it has parts."""

    def __init__(self, detail: str, remedy: str = "", code: str = "invalid-request", member: str = "") -> None:
        super().__init__(detail)
        self.detail = detail
        self.remedy = remedy
        self.code = code
        self.member = member


class NotPermittedError(PermissionError):
    """The asker's role has no right to this question; the attempt is on record."""


@dataclass(frozen=True, slots=True)
class Note:
    """What an entry says about a question that was asked. `detail` holds codes and counts only."""

    found: bool = True
    subject: str | None = None
    case: str | None = None
    detail: Detail = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Answered(Generic[A]):
    """An answer that nobody has seen yet, and what goes on record before anybody does.

    `write` changes something in the same transaction, and gives the answer with the entries that tell of it. `placed`
    makes the answer from the place of its entry, where the answer is the log as it was when it was asked.
    Without a note only what `write` gives is recorded.
    """

    value: A | None
    note: Note | None
    write: Callable[[Connection], tuple[A, tuple[Entry, ...]]] | None = None
    placed: Callable[[int], A] | None = None


class Question(BaseModel, ABC, Generic[A]):
    """One question. `named` is what it is called on record, `roles` who may ask it, `kind` the type of its entry."""

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True, populate_by_name=True)

    named: ClassVar[str]
    kind: ClassVar[EntryType] = EntryType.CONSOLE_READ
    roles: ClassVar[frozenset[Role]] = INSPECTORS
    is_recorded: ClassVar[bool] = True

    @abstractmethod
    def read(self, reading: Reading) -> Answered[A]:
        """The answer and its note."""

    @property
    def recorded_as(self) -> str:
        """What it is called on record."""
        return self.named

    @classmethod
    def documented(cls) -> dict[str, str]:
        """The members of the form that a caller may give, by the names of the fields behind them."""
        return {name: field.alias or name for name, field in cls.model_fields.items() if not field.exclude}

    @classmethod
    def asked(cls, document: Mapping[str, Any]) -> Self:
        """The question that a document from outside asks; what is null or no member of the form says nothing.

        Raises QuestionError.
        """
        members = cls.documented().values()
        return cls.of(**{name: document[name] for name in members if document.get(name) is not None})

    @classmethod
    def of(cls, **given: Any) -> Self:
        """The question that these values ask. Raises QuestionError that names the part which makes no sense."""
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            raise _refused(error) from None


def _refused(error: ValidationError) -> QuestionError:
    """The first thing that is wrong, in this product's words: what was given may be personal and is not repeated."""
    first = error.errors(include_url=False, include_input=False)[0]
    name = next((str(part) for part in reversed(first["loc"]) if isinstance(part, str)), "")
    pointer = "".join(f"/{part}" for part in first["loc"]).rstrip("/0123456789") or None
    context = first.get("ctx", {})
    cause = context.get("error")
    if isinstance(cause, WrongError):
        where = f"{pointer or ''}/{cause.member}" if cause.member else pointer
        return QuestionError(where, cause.detail, cause.remedy, cause.code)
    if first["type"] == "extra_forbidden":
        return QuestionError(pointer, "there is no such filter", "GET /v1/audit/questions names those that there are")
    said = _SAID.get(first["type"])
    detail = said.format(**context) if said else "does not have the right form"
    return QuestionError(pointer, f"{name} {detail}".strip())


_SAID: Final = {
    "missing": "is missing",
    "string_type": "is to be a text",
    "string_too_long": "is a text of at most {max_length} characters",
    "string_too_short": "is not to be empty",
    "int_type": "is to be a whole number",
    "greater_than_equal": "is to be at least {ge}",
    "less_than_equal": "is to be at most {le}",
    "bool_type": "is to be true or false",
    "enum": "is to be one of {expected}",
    "literal_error": "is to be one of {expected}",
    "list_type": "is to be a list of texts",
    "tuple_type": "is to be a list",
    "too_long": "is a list of at most {max_length}",
    "too_short": "is a list of at least {min_length}",
    "model_type": "is to be an object of names and values",
    "dict_type": "is to be an object of names and values",
}
