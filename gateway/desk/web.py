"""The data protection officer's questions as an interface for the organisation's own systems.

For clients whose settings give them the action `audit`. A person is named in the body of a POST, never in an address;
each reading is itself an entry of the log, committed before the answer leaves. The person behind the client goes on
record as a keyed hash of the header `Yhdyspinta-User`.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, TypeVar

import orjson
from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse

from audit.questions import report
from audit.questions.archive import ArchiveError
from audit.questions.checking import MOST as MOST_CHECKED
from audit.questions.checking import CheckingError
from audit.questions.query import QueryError
from audit.questions.reviews import EMERGENCY, ReviewError
from audit.tree.checkpoint import Checkpoint, NoteError
from audit.tree.merkle import ProofError
from consent.rulebook import RulebookError
from gateway.desk.officer import Officer
from gateway.desk.proposals import LONGEST, MOST, ComparingError, Foresight, NothingStandsError
from gateway.desk.questions import (
    EXPORTS,
    FILTERS,
    QUESTIONS,
    OfficerError,
    Person,
    Question,
    Reader,
    filters_of,
)
from gateway.exchange.context import Exchange
from gateway.sources.backends import Locator
from gateway.web.authentication import Callers
from gateway.web.bodies import read_json
from gateway.web.headers import USER_HEADER
from gateway.web.problems import language_of
from gateway.wire.problems import ProblemError

T = TypeVar("T")
_MEDIA = {"csv": "text/csv; charset=utf-8", "jsonl": "application/x-ndjson", "fhir": "application/fhir+json"}
_PAGE = "text/html; charset=utf-8"
_NO_STORE = {"Cache-Control": "no-store"}
_MOST_ENTRIES = 1_000
_MOST_FAULTS = 5
_LONGEST_FAULT = 300
_PROPOSAL = {"rulebook": "rulebook: fi-kotoutuminen\nversion: 2027-01-01\n…", "from": "2026-01-01T00:00:00Z"}
_VERDICT = {"verdict": "explained", "remark": "They work at night.", "rule": "night-use"}
_EXAMPLE = {
    "question": "disclosures",
    "person": {"system": "urn:oid:1.2.246.21", "value": "010190-900P"},
    "filters": {"purpose": "service-need-lookup", "outcome": ["success", "partial"]},
    "from": "2026-01-01T00:00:00Z",
    "order": "newest",
    "limit": 50,
}


def router(exchange: Exchange, officer: Officer, callers: Callers) -> APIRouter:
    """Questions about the log."""
    routes = APIRouter(prefix="/v1/audit", tags=["audit"])

    def reader(request: Request) -> Reader:
        caller = callers.identify(request)
        caller.may("audit")
        return Reader(caller.name, exchange.user_pseudonym(caller.subsystem, request.headers.get(USER_HEADER)))

    async def body(request: Request) -> dict[str, Any]:
        return await read_json(request, exchange.limits.body_bytes)

    @routes.get("/questions", summary="Which questions can be asked, and by which filters")
    async def questions(request: Request) -> dict[str, Any]:
        reader(request)
        return {"questions": list(QUESTIONS), "filters": list(FILTERS), "formats": list(EXPORTS)}

    @routes.post("/search", summary="Ask a question; answers come in pages", openapi_extra=_described(_EXAMPLE))
    async def search(request: Request) -> Response:
        who, document = reader(request), await body(request)
        page = await _asked(
            lambda: officer.search(
                who,
                _question(document),
                order="oldest" if _one_of(document, "order", ("newest", "oldest"), "newest") == "oldest" else "newest",
                after=_text(document, "after"),
                limit=_number(document, "limit", 50),
            )
        )
        return _json({"found": [item.to_dict() for item in page.found], "next": page.next})

    @routes.post("/timeline", summary="Everything about one handover, case or entry, oldest first")
    async def timeline(request: Request) -> Response:
        who, document = reader(request), await body(request)
        wanted = {name: _text(document, name) for name in ("handover", "entry", "case")}
        if sum(value is not None for value in wanted.values()) != 1:
            raise ProblemError(
                "invalid-request", detail="a timeline is of one thing", remedy="send one of handover, entry and case"
            )
        story = await _asked(lambda: officer.timeline(who, **wanted))
        return _json({"found": [item.to_dict() for item in story]})

    @routes.post("/consents", summary="A person's consents and refusals, and what was given under each")
    async def consents(request: Request) -> Response:
        who, document = reader(request), await body(request)
        told = await _asked(lambda: officer.consents(who, _someone(document)))
        return _json({"consents": [item.to_dict() for item in told]})

    @routes.post("/after-withdrawal", summary="What left after a withdrawal: must be nothing")
    async def after_withdrawal(request: Request) -> Response:
        who, document = reader(request), await body(request)
        person, start = _person(document), _time(document, "from")
        pairs = await _asked(lambda: officer.left_after_withdrawal(who, person, start=start))
        left = [{"withdrawal": one.to_dict(), "release": other.to_dict()} for one, other in pairs]
        return _json({"holds": not left, "left": left})

    @routes.post("/unusual", summary="Unusual patterns in a time window")
    async def unusual(request: Request) -> Response:
        who, document = reader(request), await body(request)
        (start, end), queue = _window(document), document.get("queue") is True
        found = await _asked(lambda: officer.unusual(who, start, end, queue=queue))
        language = language_of(request)
        return _json(
            {"unusual": [{**asdict(item), "explanation": item.explanation(language)} for item in found]},
        )

    @routes.post("/flows", summary="How much went from whom to whom in a time window")
    async def flows(request: Request) -> Response:
        who, document = reader(request), await body(request)
        start, end = _window(document)
        told = await _asked(lambda: officer.flows(who, start, end))
        return _json({"flows": [item.to_dict() for item in told]})

    @routes.post("/days", summary="How often a person's data was disclosed, by day")
    async def days(request: Request) -> Response:
        who, document = reader(request), await body(request)
        person, start, end = _someone(document), _time(document, "from"), _time(document, "to")
        told = await _asked(lambda: officer.days(who, person, start=start, end=end))
        return _json({"days": [{"date": item.date.isoformat(), "count": item.count} for item in told]})

    @routes.post(
        "/rulebook-change",
        summary="Which disclosures would a new rulebook change?",
        description=f"Decides the newest {MOST} decisions of the window by the rulebook in force and by the given one.",
        openapi_extra=_described(_PROPOSAL),
    )
    async def rulebook_change(request: Request) -> Response:
        who, document = reader(request), await body(request)
        text = _text(document, "rulebook", LONGEST)
        if text is None:
            raise _wrong("rulebook", "the text of the proposed rulebook is missing")
        start, end = _time(document, "from"), _time(document, "to")
        return _json(_foreseen(await _asked(lambda: officer.rulebook_change(who, text, start=start, end=end))))

    @routes.get("/unreviewed", summary="Emergency accesses and patterns that nobody has signed off")
    async def unreviewed(request: Request) -> Response:
        who = reader(request)
        told = await _asked(lambda: officer.unreviewed(who))
        return _json(
            {
                "found": [item.to_dict() for item in told.emergencies],
                "patterns": [asdict(pattern) for pattern in told.patterns],
            }
        )

    @routes.post(
        "/reviews/{entry}",
        status_code=201,
        summary="Sign an emergency access or a pattern off",
        description=f"Where several reviews of an entry wait, `rule` says which; {EMERGENCY} is the emergency access.",
        openapi_extra=_described(_VERDICT),
    )
    async def review(request: Request, entry: str) -> Response:
        who, document = reader(request), await body(request)
        verdict, remark = _text(document, "verdict") or "", _text(document, "remark", 2_000) or ""
        rule = _text(document, "rule")
        done = await _asked(lambda: officer.sign_off(who, entry, verdict=verdict, remark=remark, rule=rule))
        return _json(asdict(done), 201)

    @routes.post("/check", summary="Have the newest entries been altered?")
    async def check(request: Request) -> Response:
        who, document = reader(request), await body(request)
        told = await _asked(lambda: officer.check(who, _number(document, "newest", MOST_CHECKED)))
        names = ("sound", "origin", "size", "since", "checked", "anchors")
        return _json(
            {name: getattr(told, name) for name in names}
            | {"root": base64.b64encode(told.root).decode(), "findings": [asdict(finding) for finding in told.findings]}
        )

    @routes.get("/entries/{entry}/proof", summary="Prove that an entry existed and has not changed")
    async def proof(request: Request, entry: str) -> Response:
        who = reader(request)
        made = await _asked(lambda: officer.prove(who, entry))
        if made is None:
            raise ProblemError("not-found", detail="there is no such entry in this log")
        return _json(
            {
                "index": made.index,
                "position": made.position,
                "entry": made.entry.to_dict(),
                "canonical": made.entry.canonical().decode(),
                "proof": [base64.b64encode(one).decode() for one in made.proof],
                "checkpoint": made.checkpoint.note,
                "since": None if made.since is None else made.since.note,
                "cosignatures": [
                    {"witness": mark.witness, "timestamp": mark.timestamp, "size": checkpoint.size}
                    for checkpoint, mark in made.cosignatures
                ],
            }
        )

    @routes.post("/proofs", summary="A file that proves entries to anyone, for `audit verify`")
    async def proofs(request: Request) -> Response:
        who, document = reader(request), await body(request)
        entries, earlier = _texts(document, "entries", 1_000), _texts(document, "earlier", 16)
        whole, missing = await _asked(lambda: officer.prove_to_others(who, entries, earlier=earlier))
        if missing:
            raise ProblemError("not-found", pointer="/entries", detail="some of these entries are not in this log")
        return Response(whole, 200, _NO_STORE, "application/json")

    @routes.post("/unchanged", summary="Has the log been altered since this checkpoint of it?")
    async def unchanged(request: Request) -> Response:
        who, document = reader(request), await body(request)
        note = _text(document, "checkpoint", 500_000)
        if note is None:
            raise ProblemError("invalid-request", pointer="/checkpoint", detail="the checkpoint is missing")
        told = await _asked(lambda: officer.unchanged_since(who, note))
        return _json(
            {
                "unchanged": told.unchanged,
                "problem": told.problem,
                "earlier": _checkpoint(told.earlier),
                "now": _checkpoint(told.now),
                "proof": [base64.b64encode(one).decode() for one in told.proof],
            }
        )

    @routes.post("/extract", summary="The extract for a person (GDPR art. 15), as JSON or as a printable page")
    async def extract(request: Request) -> Response:
        who, document = reader(request), await body(request)
        person, language = _someone(document), _language(document, request)
        start, end = _time(document, "from"), _time(document, "to")
        officers = document.get("for_officer") is True
        made = await _asked(
            lambda: officer.extract(who, person, language=language, start=start, end=end, for_officer=officers)
        )
        if _wants_page(request):
            return Response(report.extract_page(made), 200, _NO_STORE, _PAGE)
        return _json(asdict(made))

    @routes.get("/processing/{year}", summary="The record of processing (GDPR art. 30) of a year")
    async def processing(request: Request, year: int) -> Response:
        who, language = reader(request), language_of(request)
        if not 2020 <= year <= 2200:
            raise ProblemError("invalid-request", pointer="/year", detail="the year lies between 2020 and 2200")
        made = await _asked(lambda: officer.record_of_processing(who, year, language=language))
        if _wants_page(request):
            return Response(report.processing_page(made), 200, _NO_STORE, _PAGE)
        return _json(asdict(made))

    @routes.post("/export", summary="The whole answer to a question, as CSV, JSON Lines or a FHIR bundle")
    async def export(request: Request) -> Response:
        who, document = reader(request), await body(request)
        form = _one_of(document, "format", EXPORTS, "jsonl")
        pieces = await _asked(lambda: officer.export(who, _question(document), form))
        name = {"Content-Disposition": f'attachment; filename="log.{"json" if form == "fhir" else form}"'}
        return StreamingResponse(pieces, 200, _NO_STORE | name, _MEDIA[form])

    return routes


async def _asked(question: Callable[[], T]) -> T:
    """Ask in a thread; what makes no sense becomes a problem that names the place."""
    try:
        return await asyncio.to_thread(question)
    except OfficerError as error:
        raise ProblemError("invalid-request", pointer=f"/{error.pointer}", detail=str(error)) from None
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


def _wrong(pointer: str, detail: str) -> ProblemError:
    return ProblemError("invalid-request", pointer=f"/{pointer}", detail=detail)


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


def _foreseen(told: Foresight) -> dict[str, Any]:
    swing, apart = told.swing, told.differences
    return {
        "old": told.old.digest,
        "new": told.new.digest,
        "recorded": swing.decisions,
        "forgotten": swing.forgotten,
        "cut": told.cut,
        "otherwise": swing.otherwise,
        "by_purpose": swing.by_purpose,
        "gained": swing.gained,
        "lost": swing.lost,
        "entries": swing.entries[:_MOST_ENTRIES],
        "more": len(swing.entries) > _MOST_ENTRIES,
        "differences": None
        if apart is None
        else {
            "points": apart.cells,
            "changes": [change.to_dict() for change in apart.changes[:_MOST_ENTRIES]],
            "more": len(apart.changes) > _MOST_ENTRIES,
            "prohibitions": [{"id": name, "change": said} for name, said in apart.prohibitions],
        },
    }


def _described(example: dict[str, Any]) -> dict[str, Any]:
    return {
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"type": "object"}, "example": example}},
        }
    }


def _json(document: Any, status: int = 200) -> Response:
    return Response(orjson.dumps(document), status, _NO_STORE, "application/json")


def _checkpoint(checkpoint: Checkpoint) -> dict[str, Any]:
    return {"size": checkpoint.size, "root": base64.b64encode(checkpoint.root).decode(), "note": checkpoint.note}


def _wants_page(request: Request) -> bool:
    return "text/html" in request.headers.get("accept", "")


def _question(document: dict[str, Any]) -> Question:
    given = document.get("filters", {})
    if not isinstance(given, dict):
        raise _wrong("filters", "filters is an object of names and values")
    pairs = [
        (str(name), value)
        for name, values in given.items()
        for value in (values if isinstance(values, list) else [values])
    ]
    for name, value in pairs:
        if not isinstance(value, str):
            raise _wrong(f"filters/{name}", "a filter is a text, or a list of texts")
    start, end = _time(document, "from"), _time(document, "to")
    return Question(
        _text(document, "question") or "search",
        filters_of(pairs, start=start, end=end),
        _person(document),
        _text(document, "case"),
    )


def _person(document: dict[str, Any]) -> Person | None:
    if document.get("person") is None:
        return None
    locator = Locator.of(document["person"], "/person")
    return locator.system, locator.value


def _someone(document: dict[str, Any]) -> Person:
    person = _person(document)
    if person is None:
        raise _wrong("person", "the question is about a person; say which")
    return person


def _text(document: dict[str, Any], name: str, longest: int = 1_300) -> str | None:
    value = document.get(name)
    if value is None or (isinstance(value, str) and len(value) <= longest):
        return value
    raise _wrong(name, f"{name} is a text of at most {longest} characters")


def _texts(document: dict[str, Any], name: str, most: int) -> list[str]:
    value = document.get(name, [])
    if isinstance(value, list) and len(value) <= most and all(isinstance(one, str) for one in value):
        return value
    raise ProblemError("invalid-request", pointer=f"/{name}", detail=f"{name} is a list of at most {most} texts")


def _one_of(document: dict[str, Any], name: str, known: tuple[str, ...], default: str) -> str:
    value = document.get(name, default)
    if value not in known:
        raise ProblemError("invalid-request", pointer=f"/{name}", detail=f"{name} is one of {', '.join(known)}")
    return str(value)


def _number(document: dict[str, Any], name: str, default: int) -> int:
    value = document.get(name, default)
    if type(value) is not int:
        raise _wrong(name, f"{name} is a whole number")
    return value


def _time(document: dict[str, Any], name: str) -> datetime | None:
    value = document.get(name)
    if value is None:
        return None
    try:
        at = datetime.fromisoformat(value)
        if at.tzinfo is None:
            raise ValueError("no zone")
        return at.astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        raise ProblemError(
            "invalid-request",
            pointer=f"/{name}",
            detail=f"{name} is not a time with a zone",
            remedy="write it as in 2026-01-31T12:00:00Z",
        ) from None


def _window(document: dict[str, Any]) -> tuple[datetime, datetime]:
    start, end = _time(document, "from"), _time(document, "to")
    if start is None or end is None or start >= end:
        raise ProblemError("invalid-request", pointer="/from", detail="from and to make a time window")
    return start, end


def _language(document: dict[str, Any], request: Request) -> str:
    asked = document.get("language")
    return asked if asked in {"fi", "sv", "en"} else language_of(request)
