"""Who takes a prohibition back. To end one opens data, so it asks what giving the permission asks that it frees.

The same holds for a record that is said to be an error, and for a report that is answered with no: whatever an ending
is called, the person is heard, or whoever may permit in their name. To end a permission or consent protects, and asks
nobody.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Connection

from consent.deciding.verdicts import legal_day
from consent.words.consents import ConsentRecord, Ending, ErrorReason, WordStatus, person_on
from consent.words.givers import Giver, check_lifts
from consent.words.givers import Person as Known
from consent.words.reading import ConsentError
from gateway.exchange.context import Exchange
from gateway.sources.backends import Locator
from gateway.wire.identifiers import SubsystemId
from gateway.wire.problems import ProblemError
from schemas.identifiers import HETU, born

_FORM: Final = '{"subject": …, "given_by": {"kind": "self"}}'


@dataclass(frozen=True, slots=True)
class TakenBack:
    """Who takes a word back, whose it is, and why it was an error: of a prohibition needed, of others if it is said."""

    giver: Giver | None = None
    about: Locator | None = None
    age: int | None = None
    is_unaccompanied: bool = False
    error: ErrorReason | None = None


UNSAID: Final = TakenBack()


@dataclass(frozen=True, slots=True)
class Lifting:
    """A prohibition that is to end, in whose name and when."""

    held: ConsentRecord
    by: SubsystemId
    at: datetime


def check_reason(ending: Ending, said: TakenBack, *, is_needed: bool) -> None:
    """Whether it is said why a record is an error, where it is one. Raises ProblemError `consent-invalid`."""
    is_error = ending is WordStatus.ENTERED_IN_ERROR
    if said.error is None and is_error and is_needed:
        raise _refused("/reason", "why it is an error is not said", "give one of the reasons in /openapi.json")
    if said.error is not None and not is_error:
        raise _refused("/reason", "a withdrawal has no such reason", "leave it out, or say that it is an error")


def check_taken_back(exchange: Exchange, connection: Connection, lifting: Lifting, said: TakenBack) -> None:
    """Whether a prohibition may end so. Raises ProblemError `consent-invalid`, `consent-unknown`."""
    if said.giver is None:
        detail = "to end a prohibition opens data, and who takes it back is not said"
        raise _refused("/given_by", detail, f"send {_FORM}: the person, or who may permit in the person's name")
    if said.about is None:
        raise _refused("/subject", "whose prohibition is taken back is not said", f"send {_FORM}")
    known = _age_known(exchange, connection, lifting, said, said.about)
    try:
        check_lifts(said.giver, lifting.held.given_by, lifting.held.target, known)
    except ConsentError as error:
        raise invalid(error) from None


def _age_known(exchange: Exchange, connection: Connection, lifting: Lifting, said: TakenBack, about: Locator) -> Known:
    """What is known of the person whom a prohibition protects. Raises ProblemError if it is not who is named."""
    named = exchange.looked_for(lifting.by, about.system, about.value)
    person = exchange.people.recall_in(connection, named)
    subjects = {subject.id for known in person.known for subject in known.subjects}
    group = person.web.connected((lifting.held.subject,))
    if not subjects & group:
        # Said of somebody else, the wrong person's will would open the right one's data.
        raise ProblemError("consent-unknown", pointer="/subject", detail="the prohibition is about somebody else")
    if not subjects & person.web.certain((lifting.held.subject,)):
        raise _refused(
            "/subject", "that the two numbers are one person has not been confirmed", "let a registrar join them first"
        )
    systems = exchange.subjects.of(str(lifting.by.member)).systems(connection, tuple(group))
    if about.system != HETU and any(system == HETU for _, system in systems):
        # Under another number anybody could claim any age.
        detail = "the person is known by an identity code, which tells the age"
        raise _refused("/subject", detail, "name the person by the identity code")
    code = born(about.system, about.value)
    return person_on(legal_day(lifting.at), code, said.age, is_unaccompanied=said.is_unaccompanied)


def invalid(error: ConsentError) -> ProblemError:
    """What is wrong with a form, with its place."""
    return _refused(error.pointer, error.reason, "see the interface description at /openapi.json")


def _refused(pointer: str, detail: str, remedy: str) -> ProblemError:
    return ProblemError("consent-invalid", pointer=pointer, detail=detail, remedy=remedy)
