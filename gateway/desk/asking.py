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
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Generic, Self, TypeVar

from pydantic import BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from sqlalchemy import Connection

from audit.log.entries import Entry, EntryType
from gateway.desk.roles import INSPECTORS, Role
from gateway.web.forms import Moment, Shape
from gateway.web.validation import fault, problem_of

if TYPE_CHECKING:
    from gateway.desk.reading import Reading

A = TypeVar("A")
Detail = Mapping[str, str | int | bool]


class NotPermittedError(PermissionError):
    """The asker has no right to this question, by their role or for want of a member; the attempt is on record."""


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
    makes the answer from the place of its entry, where the answer is the log as it was when it was asked. Without a
    note only what `write` gives is recorded.
    """

    value: A | None
    note: Note | None
    write: Callable[[Connection], tuple[A, tuple[Entry, ...]]] | None = None
    placed: Callable[[int], A] | None = None


class Question(Shape, ABC, Generic[A]):
    """One question. `named` is what it is called on record, `roles` who may ask it, `kind` the type of its entry."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    named: ClassVar[str] = ""
    kind: ClassVar[EntryType] = EntryType.CONSOLE_READ
    roles: ClassVar[frozenset[Role]] = INSPECTORS
    is_recorded: ClassVar[bool] = True

    def __init_subclass__(cls, **about: Any) -> None:
        """Let a question say of itself what it is, as arguments of its class."""
        super().__init_subclass__()
        for name, value in about.items():
            setattr(cls, name, value)

    @abstractmethod
    def read(self, reading: Reading) -> Answered[A]:
        """The answer and its note."""

    def permits(self, role: Role) -> bool:
        """Whether a role may ask it. What is asked about a person by an identifier, an officer alone asks."""
        return role in self.roles and (getattr(self, "person", None) is None or role is Role.OFFICER)

    @property
    def recorded_as(self) -> str:
        """What it is called on record."""
        return self.named

    @classmethod
    def of(cls, **given: Any) -> Self:
        """The question that these values ask; None says nothing. Raises ProblemError that names what makes no sense."""
        said = {cls.model_fields[name].alias or name: value for name, value in given.items() if value is not None}
        try:
            return cls.model_validate(said)
        except ValidationError as error:
            raise problem_of(error.errors(include_url=False, include_input=False), cls) from None


def _zoned(stated: Any) -> Any:
    try:
        is_local = isinstance(stated, str) and datetime.fromisoformat(stated).tzinfo is None
    except ValueError:
        is_local = False  # the moment itself says what is wrong
    if is_local:
        raise fault("invalid-request", "a time needs its zone", "write it as in 2026-01-31T12:00:00Z")
    return stated


Zoned = Annotated[Moment, BeforeValidator(_zoned)]


class Windowed(Question[A], Generic[A]):
    """A question within a window of time, open at either end unless it `needs_both`."""

    needs_both: ClassVar[bool] = False

    start: Zoned | None = Field(None, alias="from")
    end: Zoned | None = Field(None, alias="to")

    @property
    def window(self) -> tuple[datetime, datetime]:
        """The window of a question that needs both ends."""
        assert self.start is not None
        assert self.end is not None
        return self.start, self.end

    @model_validator(mode="after")
    def _begins_before_it_ends(self) -> Self:
        start, end, remedy = self.start, self.end, "give a beginning that is before the end"
        if self.needs_both and (start is None or end is None or start >= end):
            raise fault("invalid-request", "from and to make a time window", remedy, member="from")
        if start is not None and end is not None and start >= end:
            raise fault("invalid-request", "the time window ends before it begins", remedy, member="to")
        return self
