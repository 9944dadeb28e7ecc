"""The data protection officer's questions as an interface for the organisation's own systems.

For clients whose settings give them the action `audit`. A person is named in the body of a POST, never in an address;
each reading is itself an entry of the log, committed before the answer leaves. The person behind the client goes on
record as a keyed hash of the header `Yhdyspinta-User`. What can be asked, and what is wrong with what cannot, the
questions say (`gateway.desk.questions`); here they only get an address.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, TypeVar

import orjson
from fastapi import APIRouter, Depends, Path, Request, Response
from fastapi.responses import StreamingResponse

from audit.questions.archive import ArchiveError
from audit.questions.checking import CheckingError
from audit.questions.query import QueryError
from audit.questions.reviews import EMERGENCY, ReviewError
from audit.tree.checkpoint import NoteError
from audit.tree.merkle import ProofError
from consent.rules.document import RulebookError
from gateway.desk.answers import ANSWERS
from gateway.desk.asking import Question
from gateway.desk.desk import Desk
from gateway.desk.forms import FILTERS, Format, Language
from gateway.desk.proposals import ComparingError, NothingStandsError
from gateway.desk.questions.adapters import Adapters
from gateway.desk.questions.counting import Flows, Processing
from gateway.desk.questions.persons import AfterWithdrawal, ConsentsOf, DaysOf, ExtractOf
from gateway.desk.questions.proving import Check, Proof, ProofFile, Proofs, Unchanged
from gateway.desk.questions.reviewing import Conclusion, SignOff, Unreviewed, Unusual
from gateway.desk.questions.rulebooks import RulebookChange
from gateway.desk.questions.searching import MEDIA, Entries, Export, Find, Named
from gateway.desk.questions.stories import Timeline
from gateway.desk.roles import Asker
from gateway.exchange.context import Exchange
from gateway.web.authentication import Caller, Callers
from gateway.web.description import problems
from gateway.web.doors import Body, Door
from gateway.web.forms import User
from gateway.web.problems import language_of
from gateway.wire.problems import ProblemError

A = TypeVar("A")
_NO_STORE: Final = {"Cache-Control": "no-store"}
_MOST_FAULTS = 5
_LONGEST_FAULT = 300
_PERSON: Final = {"person": {"system": "urn:oid:1.2.246.21", "value": "010190-900P"}}
_WINDOW: Final = {"from": "2026-01-01T00:00:00Z", "to": "2026-02-01T00:00:00Z"}
_SEARCH: Final = {"question": "disclosures", **_PERSON, "filters": {"outcome": ["success", "partial"]}, "limit": 50}
_PROPOSAL: Final = {"rulebook": "rulebook: fi-kotoutuminen\nversion: 2027-01-01\n…", "from": "2026-01-01T00:00:00Z"}
_VERDICT: Final = {"verdict": "explained", "remark": "They work at night.", "rule": "night-use"}
EntryPath = Annotated[str, Path(min_length=1, max_length=100, description="the entry's id, or its index")]
_NOBODY: Final = ("subject-system-unknown", "subject-form", "subject-check")
_UNPROVEN: Final = ("log-not-proven",)
_SHEET: Final = ("text/html",)


@dataclass(frozen=True, slots=True)
class Call:
    """One question that is posted: its address, what it answers, an example, and the problems of its own.

    `media` are the types of an answer that need not be JSON.
    """

    path: str
    question: type[Question[Any]]
    answer: str | None
    example: dict[str, Any] = field(default_factory=dict)
    codes: tuple[str, ...] = ()
    media: tuple[str, ...] = ()


CALLS: Final = (
    Call("/search", Find, "Page", _SEARCH, _NOBODY + _UNPROVEN),
    Call("/timeline", Timeline, "Course", {"case": "KOTKA-2026-17"}, _UNPROVEN),
    Call("/consents", ConsentsOf, "Consents", _PERSON, _NOBODY + _UNPROVEN),
    Call("/after-withdrawal", AfterWithdrawal, "AfterWithdrawal", _PERSON, _NOBODY + _UNPROVEN),
    Call("/unusual", Unusual, "Patterns", _WINDOW, _UNPROVEN),
    Call("/flows", Flows, "Flows", _WINDOW, _UNPROVEN),
    Call("/days", DaysOf, "Days", _PERSON, _NOBODY + _UNPROVEN),
    Call("/rulebook-change", RulebookChange, "Change", _PROPOSAL),
    Call("/check", Check, "Check", {"newest": 10_000}),
    Call("/proofs", Proofs, "ProofFile", {"entries": ["196"]}, ("not-found", *_UNPROVEN)),
    Call("/unchanged", Unchanged, "Continuity", {"checkpoint": "yhdyspinta/kotka\n447\n…"}, _UNPROVEN),
    Call("/extract", ExtractOf, "Extract", {**_PERSON, "language": "fi"}, _NOBODY + _UNPROVEN, _SHEET),
    Call(
        "/export",
        Export,
        None,
        {"question": "refusals", "format": "csv"},
        _NOBODY + _UNPROVEN,
        tuple(media.partition(";")[0] for media, _ in MEDIA.values()),
    ),
)


def router(exchange: Exchange, desk: Desk, callers: Callers) -> APIRouter:
    """Questions about the log."""
    routes = APIRouter(prefix="/v1/audit", tags=["audit"])
    door = Door(callers, "audit")

    async def who(caller: Caller = Depends(door), user: User = None) -> Asker:
        return asker_of(exchange, caller, user)

    asker = Depends(who)

    for call in CALLS:
        body = Depends(Body(call.question, exchange.limits.body_bytes, example=call.example))
        routes.add_api_route(
            call.path,
            _posted(desk, asker, body),
            methods=["POST"],
            summary=(call.question.__doc__ or "").split("\n")[0],
            description=call.question.__doc__,
            response_model=ANSWERS[call.answer] if call.answer else None,
            responses={**problems(*call.codes), **_told(*call.media)},
        )
    _add_addressed(routes, desk, asker, Depends(Body(Conclusion, exchange.limits.body_bytes, example=_VERDICT)))
    return routes


def asker_of(exchange: Exchange, caller: Caller, user: str | None = None) -> Asker:
    """A system that asks: of several members on a node, each asks about its own."""
    members = {subsystem.member for subsystem in exchange.subsystems}
    own = str(caller.subsystem.member) if len(members) > 1 else None
    return Asker(caller.name, exchange.user_pseudonym(caller.subsystem, user), member=own)


def _posted(desk: Desk, asker: Any, body: Any) -> Callable[..., Any]:
    """What answers a question that is posted."""

    async def answer(request: Request, asker: Asker = asker, question: Any = body) -> Response:
        if "language" in type(question).model_fields and "language" not in question.model_fields_set:
            question = question.model_copy(update={"language": Language(language_of(request))})
        return _given(request, await _asked(desk, question, asker))

    return answer


def _add_addressed(routes: APIRouter, desk: Desk, asker: Any, conclusion: Any) -> None:
    """Questions that an address asks."""

    @routes.get(
        "/questions",
        summary="Which questions can be asked, and by which filters",
        response_model=ANSWERS["Askable"],
    )
    async def questions(asker: Asker = asker) -> Response:
        return _json({"questions": list(Named), "filters": FILTERS, "formats": list(Format)})

    @routes.get(
        "/unreviewed", summary="What nobody has signed off", response_model=ANSWERS["Queue"], responses=_problems()
    )
    async def unreviewed(request: Request, asker: Asker = asker) -> Response:
        return _given(request, await _asked(desk, Unreviewed(), asker))

    @routes.get(
        "/adapters",
        summary="Which version of each adapter is in use, since when and by whom, and which there were",
        response_model=ANSWERS["Adapters"],
        responses=_problems(),
    )
    async def adapters(request: Request, asker: Asker = asker) -> Response:
        return _given(request, await _asked(desk, Adapters(), asker))

    @routes.post(
        "/reviews/{entry}",
        status_code=201,
        summary="Sign an emergency access or a pattern off",
        description=f"Where several reviews of an entry wait, `rule` says which; {EMERGENCY} is the emergency access.",
        response_model=ANSWERS["Review"],
        responses=_problems(),
    )
    async def review(entry: EntryPath, asker: Asker = asker, said: Conclusion = conclusion) -> Response:
        question = SignOff.of(entry=entry, verdict=said.verdict, remark=said.remark, rule=said.rule)
        return _json((await _asked(desk, question, asker)).to_dict(), 201)

    @routes.get(
        "/entries/{entry}/proof",
        summary="Prove that an entry existed and has not changed",
        response_model=ANSWERS["EntryProof"],
        responses=_problems("not-found"),
    )
    async def proof(request: Request, entry: EntryPath, asker: Asker = asker) -> Response:
        return _given(request, await _asked(desk, Proof.of(entry=entry), asker))

    @routes.get(
        "/processing/{year}",
        summary="The record of processing (GDPR art. 30) of a year, as JSON or as a printable page",
        response_model=ANSWERS["RecordOfProcessing"],
        responses={**_problems(), **_told(*_SHEET)},
    )
    async def processing(request: Request, year: int, asker: Asker = asker) -> Response:
        question = Processing.of(year=year, language=language_of(request))
        return _given(request, await _asked(desk, question, asker))


def _problems(*codes: str) -> dict[int | str, dict[str, Any]]:
    return problems(*codes, *_UNPROVEN)


def _told(*media: str) -> dict[int | str, dict[str, Any]]:
    """What else than JSON objects of our form is answered."""
    kinds = {kind: {"schema": {"type": "object" if kind.endswith("+json") else "string"}} for kind in media}
    return {200: {"content": kinds}} if kinds else {}


def _given(request: Request, made: Any) -> Response:
    """An answer in the form that the caller accepts."""
    if made is None:
        raise ProblemError("not-found", detail="there is no such entry in this log")
    if isinstance(made, Entries):
        name = {"Content-Disposition": f'attachment; filename="log.{made.ending}"'}
        return StreamingResponse(made.pieces(), 200, _NO_STORE | name, made.media_type)
    if hasattr(made, "page") and "text/html" in request.headers.get("accept", ""):
        return Response(made.page(), 200, _NO_STORE, "text/html; charset=utf-8")
    if isinstance(made, ProofFile) and made.missing:
        raise ProblemError("not-found", pointer="/entries", detail="some of these entries are not in this log")
    if isinstance(made, ProofFile):
        return Response(made.whole, 200, _NO_STORE, "application/json")
    return _json(made.to_dict())


async def _asked(desk: Desk, question: Question[A], asker: Asker) -> A:
    """Ask in a thread; what cannot be answered becomes a problem that names the place."""
    try:
        return await asyncio.to_thread(desk.ask, question, asker)
    except RulebookError as error:
        raise _no_rulebook(error) from None
    except NothingStandsError:
        raise ProblemError("registry-unavailable", detail="the node has no rulebook that it can believe") from None
    except CheckingError:
        raise ProblemError("busy", detail="the log is being checked right now", retry_after=5) from None
    except ComparingError:
        raise ProblemError("busy", detail="another rulebook is being compared right now", retry_after=10) from None
    except (QueryError, ReviewError, NoteError) as error:
        raise ProblemError("invalid-request", detail=str(error)) from None
    except (ProofError, ArchiveError):
        raise ProblemError(
            "log-not-proven",
            detail="the log cannot prove this",
            remedy="run `yhdyspinta audit check`: it names what was altered",
        ) from None


def _no_rulebook(error: RulebookError) -> ProblemError:
    """What is wrong with a proposed rulebook, and in which places of its text."""
    told = [
        f"line {fault.line}{f', {fault.pointer}' if fault.pointer else ''}: {fault.message[:_LONGEST_FAULT]}"
        for fault in error.faults[:_MOST_FAULTS]
    ]
    if len(error.faults) > _MOST_FAULTS:
        told.append(f"and {len(error.faults) - _MOST_FAULTS} more")
    remedy = error.faults[0].remedy or "`yhdyspinta rulebook check` tells everything that is wrong with it"
    return ProblemError("invalid-request", pointer="/rulebook", detail="; ".join(told), remedy=remedy)


def _json(document: Any, status: int = 200) -> Response:
    return Response(orjson.dumps(document), status, _NO_STORE, "application/json")
