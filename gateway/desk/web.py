"""The data protection officer's questions as an interface for the organisation's own systems.

For clients whose settings give them the action `audit`. A person is named in the body of a POST, never in an address;
each reading is itself an entry of the log, committed before the answer leaves. The person behind the client goes on
record as a keyed hash of the header `Yhdyspinta-User`. What can be asked, and what is wrong with what cannot, the
questions say (`gateway.desk.questions`); here they only get an address.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import orjson
from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse

from audit.questions.archive import ArchiveError
from audit.questions.checking import CheckingError
from audit.questions.query import QueryError
from audit.questions.reviews import EMERGENCY, ReviewError
from audit.tree.checkpoint import NoteError
from audit.tree.merkle import ProofError
from consent.rulebook import RulebookError
from gateway.desk import shapes
from gateway.desk.asking import Asker, Question, QuestionError
from gateway.desk.desk import Desk
from gateway.desk.forms import FILTERS, YEARS, Format
from gateway.desk.proposals import MOST, ComparingError, NothingStandsError
from gateway.desk.questions.counting import Flows, Processing
from gateway.desk.questions.persons import AfterWithdrawal, ConsentsOf, DaysOf, Extract
from gateway.desk.questions.proving import Check, Proof, Proofs, Unchanged
from gateway.desk.questions.reviewing import SignOff, Unreviewed, Unusual
from gateway.desk.questions.rulebooks import RulebookChange
from gateway.desk.questions.searching import Entries, Export, Find, Named, Timeline
from gateway.exchange.context import Exchange
from gateway.web.authentication import Callers
from gateway.web.bodies import read_json
from gateway.web.problems import language_of
from gateway.wire.problems import CONTENT_TYPE, ProblemError

USER_HEADER = "Yhdyspinta-User"
_PAGE = "text/html; charset=utf-8"
_NO_STORE: Final = {"Cache-Control": "no-store"}
_MOST_FAULTS = 5
_LONGEST_FAULT = 300
Ask = Callable[[Request, type[Question[Any]], Mapping[str, Any]], Awaitable[Any]]
Give = Callable[[Request, Any], Response]


@dataclass(frozen=True, slots=True)
class Call:
    """One call: its address, the question it asks, what it answers, and an example for its description.

    `media` are the content types of an answer that is no JSON object. Parts of the path are members of the form.
    """

    path: str
    question: type[Question[Any]]
    summary: str
    answer: Any = None
    example: Mapping[str, Any] = field(default_factory=dict)
    description: str = ""
    method: str = "POST"
    status: int = 200
    media: tuple[str, ...] = ()
    give: Give | None = None


def _sheet(request: Request, made: Any) -> Response:
    if "text/html" in request.headers.get("accept", ""):
        return Response(made.page(), 200, _NO_STORE, _PAGE)
    return _json(made.to_dict())


def _file(_request: Request, made: Entries) -> Response:
    name = {"Content-Disposition": f'attachment; filename="log.{made.ending}"'}
    return StreamingResponse(made.pieces(), 200, _NO_STORE | name, made.media_type)


def _proofs(_request: Request, made: Any) -> Response:
    if made.missing:
        raise ProblemError("not-found", pointer="/entries", detail="some of these entries are not in this log")
    return Response(made.whole, 200, _NO_STORE, "application/json")


def _proof(_request: Request, made: Any) -> Response:
    if made is None:
        raise ProblemError("not-found", detail="there is no such entry in this log")
    return _json(made.to_dict())


_PERSON: Final = {"person": {"system": "urn:oid:1.2.246.21", "value": "010190-900P"}}
_WINDOW: Final = {"from": "2026-01-01T00:00:00Z", "to": "2026-02-01T00:00:00Z"}
_SEARCH: Final = {
    "question": "disclosures",
    **_PERSON,
    "filters": {"purpose": "service-need-lookup", "outcome": ["success", "partial"]},
    "from": "2026-01-01T00:00:00Z",
    "order": "newest",
    "limit": 50,
}
_PROPOSAL: Final = {"rulebook": "rulebook: fi-kotoutuminen\nversion: 2027-01-01\n…", "from": "2026-01-01T00:00:00Z"}
_VERDICT: Final = {"verdict": "explained", "remark": "They work at night.", "rule": "night-use"}
CALLS: Final = (
    Call("/search", Find, "Ask a question; answers come in pages", shapes.PageShape, _SEARCH),
    Call(
        "/timeline",
        Timeline,
        "Everything about one handover, case or entry, oldest first",
        shapes.CourseShape,
        {"case": "KOTKA-2026-17"},
    ),
    Call(
        "/consents",
        ConsentsOf,
        "A person's consents and refusals, and what was given under each",
        shapes.ConsentsShape,
        _PERSON,
        "`carried` are the categories of a disclosure that the consent is about; the rest moved without it.",
    ),
    Call("/after-withdrawal", AfterWithdrawal, "What left after a withdrawal: must be nothing", shapes.LateShape),
    Call("/unusual", Unusual, "Unusual patterns in a time window", shapes.PatternsShape, _WINDOW),
    Call("/flows", Flows, "How much went from whom to whom in a time window", shapes.FlowsShape, _WINDOW),
    Call("/days", DaysOf, "How often a person's data was disclosed, by day", shapes.DaysShape, _PERSON),
    Call(
        "/rulebook-change",
        RulebookChange,
        "Which disclosures would a new rulebook change?",
        shapes.ChangeShape,
        _PROPOSAL,
        f"Decides the newest {MOST} decisions of the window by the rulebook in force and by the given one.",
    ),
    Call(
        "/unreviewed",
        Unreviewed,
        "Emergency accesses and patterns that nobody has signed off",
        shapes.QueueShape,
        method="GET",
    ),
    Call(
        "/reviews/{entry}",
        SignOff,
        "Sign an emergency access or a pattern off",
        shapes.ReviewShape,
        _VERDICT,
        f"Where several reviews of an entry wait, `rule` says which; {EMERGENCY} is the emergency access.",
        status=201,
    ),
    Call("/check", Check, "Have the newest entries been altered?", shapes.CheckShape, {"newest": 10_000}),
    Call(
        "/entries/{entry}/proof",
        Proof,
        "Prove that an entry existed and has not changed",
        shapes.ProofShape,
        method="GET",
        give=_proof,
    ),
    Call(
        "/proofs",
        Proofs,
        "A file that proves entries to anyone, for `audit verify`",
        shapes.ProofFileShape,
        {"entries": ["01990000-0000-7000-8000-000000000000"]},
        give=_proofs,
    ),
    Call(
        "/unchanged",
        Unchanged,
        "Has the log been altered since this checkpoint of it?",
        shapes.UnchangedShape,
        {"checkpoint": "yhdyspinta/kotka\n447\n…"},
    ),
    Call(
        "/extract",
        Extract,
        "The extract for a person (GDPR art. 15), as JSON or as a printable page",
        shapes.ExtractShape,
        {**_PERSON, "language": "fi"},
        media=("text/html",),
        give=_sheet,
    ),
    Call(
        "/processing/{year}",
        Processing,
        "The record of processing (GDPR art. 30) of a year",
        shapes.ProcessingShape,
        description=f"A year of Finnish time from {YEARS[0]} to {YEARS[1]}, as JSON or as a printable page.",
        method="GET",
        media=("text/html",),
        give=_sheet,
    ),
    Call(
        "/export",
        Export,
        "The whole answer to a question, as CSV, JSON Lines or a FHIR bundle",
        example={"question": "refusals", "format": "csv"},
        media=("text/csv", "application/x-ndjson", "application/fhir+json"),
        give=_file,
    ),
)


def router(exchange: Exchange, desk: Desk, callers: Callers) -> APIRouter:
    """Questions about the log."""
    routes = APIRouter(prefix="/v1/audit", tags=["audit"])

    def asker(request: Request) -> Asker:
        caller = callers.identify(request)
        caller.may("audit")
        return Asker(caller.name, exchange.user_pseudonym(caller.subsystem, request.headers.get(USER_HEADER)))

    @routes.get("/questions", summary="Which questions can be asked, and by which filters", responses=_PROBLEMS)
    async def questions(request: Request) -> shapes.AskableShape:
        asker(request)
        return {"questions": list(Named), "filters": list(FILTERS), "formats": list(Format)}

    def answering(call: Call) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            who = asker(request)
            sent = await read_json(request, exchange.limits.body_bytes) if call.method == "POST" else {}
            language = {"language": language_of(request)}
            made = await _asked(desk, call.question, {**language, **_said(sent), **_path(request)}, who)
            return call.give(request, made) if call.give is not None else _json(made.to_dict(), call.status)

        return answer

    for call in CALLS:
        routes.add_api_route(
            call.path,
            answering(call),
            methods=[call.method],
            status_code=call.status,
            summary=call.summary,
            description=call.description or call.question.__doc__,
            response_model=call.answer,
            responses={**_PROBLEMS, **_media(call)},
            openapi_extra=_described(call),
            name=call.question.named,
        )
    return routes


def _said(sent: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in sent.items() if value is not None}


def _path(request: Request) -> dict[str, Any]:
    """Members of the form that stand in the path; a year is a number."""
    given: dict[str, Any] = dict(request.path_params)
    year = given.get("year", "")
    if year.isascii() and year.isdecimal() and len(year) <= 9:
        given["year"] = int(year)
    return given


async def _asked(desk: Desk, question: type[Question[Any]], given: Mapping[str, Any], who: Asker) -> Any:
    """Ask in a thread; what makes no sense becomes a problem that names the place."""
    try:
        return await asyncio.to_thread(desk.ask, question.asked(given), who)
    except QuestionError as error:
        raise ProblemError(error.code, pointer=error.pointer, detail=error.detail, remedy=error.remedy) from None
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


# -- the description of the interface --------------------------------------------------------------------------------

_PROBLEM: Final = {
    "content": {CONTENT_TYPE: {"schema": {"type": "object", "required": ["type", "title", "status", "code"]}}}
}
_PROBLEMS: Final[dict[int | str, dict[str, Any]]] = {
    400: {"description": "What was asked makes no sense; `pointer` says where", **_PROBLEM},
    401: {"description": "The client is not known", **_PROBLEM},
    403: {"description": "The client has no right to the action `audit`", **_PROBLEM},
    404: {"description": "There is no such entry in this log", **_PROBLEM},
    503: {"description": "The question could not be put on record, or the answer not be proven", **_PROBLEM},
}


def _media(call: Call) -> dict[int | str, dict[str, Any]]:
    if not call.media:
        return {}
    schema = {"schema": {"type": "string"}}
    return {200: {"description": "The answer", "content": dict.fromkeys(call.media, schema)}}


def _described(call: Call) -> dict[str, Any]:
    """The form of a question, as the description of the interface gives it."""
    schema = call.question.model_json_schema(by_alias=True)
    known, properties = schema.pop("$defs", {}), schema["properties"]
    documented = call.question.documented().values()
    parts = [part.split("}")[0] for part in call.path.split("{")[1:]]

    def inline(value: Any) -> Any:
        if isinstance(value, dict):
            if "$ref" in value:
                return inline(known[value["$ref"].rsplit("/", 1)[1]])
            return {name: inline(item) for name, item in value.items()}
        return [inline(item) for item in value] if isinstance(value, list) else value

    parameters = [{"name": part, "in": "path", "required": True, "schema": inline(properties[part])} for part in parts]
    if call.method != "POST":
        return {"parameters": parameters}
    body = {
        **schema,
        "properties": {
            name: inline(value) for name, value in properties.items() if name in documented and name not in parts
        },
        "required": [name for name in schema.get("required", ()) if name not in parts],
    }
    content = {"application/json": {"schema": body, "example": dict(call.example)}}
    return {"parameters": parameters, "requestBody": {"required": True, "content": content}}
