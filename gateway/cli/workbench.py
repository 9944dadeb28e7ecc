"""The adapter developer's workbench in the browser: a server for one person on one machine.

It listens on loopback and answers only to loopback's names, so that no page elsewhere can read what it shows. Who
would get what is decided by the same functions as in a node, by the reference rulebook or the one that is named.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from importlib.resources import files
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from adapters.scaffold.placing import places
from adapters.sdk import Finding
from adapters.workbench.editing import Edit, EditError, EditKind
from adapters.workbench.looking import Bench, Look
from consent.checking.explaining import explain
from consent.deciding.decision import decide
from consent.deciding.verdicts import Decision, PermittedCategory
from consent.rules.law import FlowDelivery, Rulebook
from consent.rules.request import Party, SubjectFacts
from consent.rules.request import Request as Question
from gateway.exchange.deciding import facts_in
from schemas.categories import PARTS
from schemas.facts import read_facts
from schemas.projection import project
from texts import LANGUAGES, Catalogue

_TEXTS: Final = Catalogue("workbench")
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "[::1]"})
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "img-src data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    # Where even its own pages tell no origin, a form without scripts looks like that of a page elsewhere.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_STATIC = {"workbench.css": "text/css", "workbench.js": "text/javascript"}
#: How often the files are looked at: seconds.
LOOK_SECONDS = 0.2
#: Stands for the wellbeing services county that is responsible for the person, whichever that is.
_COUNTY = "of-residence"


@dataclass(frozen=True, slots=True)
class Recipient:
    """One recipient of a flow, what was decided for it, and that in plain words."""

    title: str
    purpose: str
    explained: str


@dataclass(frozen=True, slots=True)
class Answer:
    """Whether a recipient gets a field, and by which basis or why not."""

    gets: bool
    why: str


@dataclass(frozen=True, slots=True)
class Row:
    """A field of the result against all recipients."""

    target: str
    column: str
    category: str
    answers: tuple[Answer, ...]


def who_gets(
    look: Look, rulebook: Rulebook, flow: str, at: datetime, language: str
) -> tuple[tuple[Recipient, ...], tuple[Row, ...]]:
    """Which recipient of a flow would get which field of a mapped record, under which basis."""
    assert look.bundle is not None
    bundle = dict(look.bundle)
    facts = facts_in(bundle, _COUNTY if read_facts(bundle).municipality else None, at)
    every = {withheld.pointer: withheld.category for withheld in project(bundle, ()).withheld}
    recipients: list[Recipient] = []
    columns: list[Callable[[str], Answer]] = []
    for part in rulebook.flows[flow].deliveries:
        decision = _decide(rulebook, part, facts, at)
        kept = every.keys() - {withheld.pointer for withheld in project(bundle, decision.permitted_categories).withheld}
        recipients.append(
            Recipient(
                _opening(rulebook.roles.get(part.to_role, {}).get(language, part.to_role)),
                rulebook.purposes.get(part.purpose, {}).get(language, part.purpose),
                explain(decision, rulebook, language),
            )
        )
        columns.append(_answering(decision, rulebook, every, kept, language))
    rows = []
    for resource, values in look.values.items():
        kind = resource.partition("/")[0]
        for value in values:
            pointer = next(
                (place for place in every if place == value.pointer or place.startswith(value.pointer + "/")), None
            )
            if pointer is None:
                continue
            known = rulebook.categories.get(every[pointer])
            title = known.title[language] if known is not None else every[pointer]
            target = value.target if kind == "Patient" else f"{kind}.{value.target}"
            rows.append(Row(target, value.column, title, tuple(answer(pointer) for answer in columns)))
    return tuple(recipients), tuple(rows)


def _answering(
    decision: Decision, rulebook: Rulebook, every: dict[str, str], kept: Any, language: str
) -> Callable[[str], Answer]:
    permitted = {given.category: given for given in decision.permitted}
    withheld = {refused.category: refused.code for refused in decision.withheld}

    def answer(pointer: str) -> Answer:
        category = every[pointer]
        whole = PARTS.get(category, category)
        if pointer in kept:
            return Answer(True, _basis(permitted.get(category) or permitted.get(whole), rulebook, language))
        why = withheld.get(category) or withheld.get(whole) or "not-asked"
        return Answer(False, _TEXTS.named("why", why, language))

    return answer


def _opening(text: str) -> str:
    return text[:1].upper() + text[1:]


def _basis(permitted: PermittedCategory | None, rulebook: Rulebook, language: str) -> str:
    basis = rulebook.basis(permitted.basis) if permitted is not None else None
    return basis.title[language] if basis is not None else ""


def _decide(rulebook: Rulebook, part: FlowDelivery, facts: SubjectFacts, at: datetime) -> Decision:
    """For the recipient that is responsible for the person; of several roles it may come from, the most generous."""
    serves = frozenset({facts.municipality} if facts.municipality else ())
    requester = Party(part.to_role, municipalities=serves, counties=frozenset({_COUNTY}))
    providers = sorted(part.from_roles) or sorted(rulebook.roles)
    decisions = [
        decide(Question(Party(role), requester, part.purpose, part.categories, facts), rulebook, (), at)
        for role in providers
    ]
    return max(decisions, key=lambda decision: len(decision.permitted))


class _Guard:
    """Answers only to loopback's own names, and puts the protective headers on everything."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        host = Request(scope).headers.get("host", "")
        name = host[: host.index("]") + 1] if host.startswith("[") and "]" in host else host.partition(":")[0]
        if name.lower() not in _LOOPBACK:
            refusal = PlainTextResponse("The workbench answers to 127.0.0.1 and localhost only.\n", 421)
            await refusal(scope, receive, send)
            return

        async def guarded(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    *message["headers"],
                    *((name.lower().encode(), value.encode()) for name, value in _HEADERS.items()),
                ]
            await send(message)

        await self._app(scope, receive, guarded)


def workbench(
    bench: Bench, rulebook: Rulebook, clock: Callable[[], datetime], stopping: asyncio.Event, *, language: str = "fi"
) -> Starlette:
    """The workbench's application."""
    pages = _Pages(bench, rulebook, clock, language)

    async def events(_: Request) -> Response:
        return StreamingResponse(_marks(bench, stopping), media_type="text/event-stream")

    return Starlette(
        routes=[
            Route("/", lambda request: pages.shown(request, "page.html")),
            Route("/view", lambda request: pages.shown(request, "bench.html")),
            Route("/events", events),
            Route("/edit", pages.edit, methods=["POST"]),
            Route("/static/{name}", _static),
        ],
        middleware=[Middleware(_Guard)],
    )


class _Pages:
    """The page, whole or only what changes, for the sample, record, language and flow that are asked for."""

    def __init__(self, bench: Bench, rulebook: Rulebook, clock: Callable[[], datetime], language: str) -> None:
        self._bench = bench
        self._rulebook = rulebook
        self._clock = clock
        self._language = language
        # Pages elsewhere can send a form here, but read none: what they cannot know, their forms lack.
        self._token = secrets.token_urlsafe(24)
        self._flows = {code: flow for code, flow in rulebook.flows.items() if flow.deliveries}
        self._templates = Environment(
            loader=PackageLoader("adapters.workbench"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
        )

    async def edit(self, request: Request) -> Response:
        """Write a change that somebody has clicked, and show the page again; 409 if it cannot be written."""
        body = await _body(request)
        if body is None:
            return PlainTextResponse("The form is too large.\n", 413)
        form = dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))
        origin = request.headers.get("origin", "")
        is_ours = origin in {"", f"http://{request.headers.get('host', '')}"}
        if not is_ours or not secrets.compare_digest(form.get("token", "").encode(), self._token.encode()):
            return PlainTextResponse("The form is not the workbench's own; load the page again.\n", 403)
        try:
            if form.get("kind") == "undo":
                await asyncio.to_thread(self._bench.undo)
            else:
                await asyncio.to_thread(self._bench.edit, change(form), form.get("digest", ""))
        except EditError as error:
            return await asyncio.to_thread(self._refused, request, error)
        except OSError as error:
            return PlainTextResponse(f"{error.strerror}\n", 500)
        return RedirectResponse("/?" + urlencode(self._state(request)), 303)

    def _refused(self, request: Request, error: EditError) -> Response:
        told = _TEXTS(error.code, self._state(request)["language"], told=error.told)
        if request.headers.get("accept") == "text/plain":
            return PlainTextResponse(told, 409)
        return self.shown(request, "page.html", told)

    def shown(self, request: Request, template: str, refused: str = "") -> Response:
        """Answer a request with a template."""
        state = self._state(request)
        mark = self._bench.mark()
        look = self._bench.look(state["sample"], state["record"])
        speaking = state["language"]
        recipients, rows = (
            who_gets(look, self._rulebook, state["flow"], self._clock(), speaking)
            if look.bundle is not None
            else ((), ())
        )

        def link(to: str = "/", **changes: object) -> str:
            return f"{to}?" + urlencode({**state, **changes})

        html = self._templates.get_template(template).render(
            t=lambda key, **values: _TEXTS(key, speaking, **values),
            link=link,
            look=look,
            say=lambda text: text.in_language(speaking),
            mark=mark,
            token=self._token,
            refused=refused,
            places=places(),
            lacking=lacking,
            language=speaking,
            flow=state["flow"],
            flows=[(code, _opening(flow.title[speaking])) for code, flow in self._flows.items()],
            flow_title=_opening(self._flows[state["flow"]].title[speaking]),
            recipients=recipients,
            rows=rows,
        )
        return HTMLResponse(html, 409 if refused else 200)

    def _state(self, request: Request) -> dict[str, Any]:
        asked = request.query_params
        chosen = asked.get("language", "")
        return {
            "sample": asked.get("sample", ""),
            "record": int(asked["record"]) if asked.get("record", "").isdecimal() else 0,
            "language": chosen if chosen in LANGUAGES else self._language,
            "flow": asked["flow"] if asked.get("flow") in self._flows else next(iter(self._flows)),
        }


MOST_FORM_BYTES = 16 * 1024


async def _body(request: Request) -> bytes | None:
    """The body of a form; None if it is too large for one."""
    found = b""
    async for piece in request.stream():
        found += piece
        if len(found) > MOST_FORM_BYTES:
            return None
    return found


def change(form: Mapping[str, str]) -> Edit:
    """The change that a form asks for. Raises EditError."""
    name, table = form.get("name", ""), form.get("table", "")
    match form.get("kind", ""):
        case EditKind.IGNORE | EditKind.CANNOT_SAY as kind if name:
            return Edit(EditKind(kind), name)
        case EditKind.CODE if name and table and form.get("code"):
            return Edit(EditKind.CODE, name, table=table, code=form["code"])
        case EditKind.MAP if name:
            for place in places():
                if place.concept == form.get("concept"):
                    return Edit(
                        EditKind.MAP,
                        name,
                        transform=place.transform,
                        path=place.path,
                        beside=place.beside,
                        resource=place.resource,
                    )
    raise EditError("edit-other")


def lacking(finding: Finding, tables: Mapping[str, tuple[str, ...]]) -> tuple[str, tuple[str, ...]] | None:
    """The table that a value of a finding could be added to, and the codes that it may give; the nearest first."""
    if finding.code != "code-unknown" or finding.shown is None:
        return None
    word, _, table = finding.shown.rule.partition(" ")
    codes = tables.get(table, ())
    if word not in {"code", "table"} or not codes:
        return None
    near = finding.shown.near
    return table, tuple(sorted(codes, key=lambda code: (code != near, code)))


async def _marks(bench: Bench, stopping: asyncio.Event) -> AsyncIterator[str]:
    """An event whenever the files have changed, until the server stops."""
    last = ""
    while not stopping.is_set():
        mark = await asyncio.to_thread(bench.mark)
        if mark != last:
            last = mark
            yield f"event: mark\ndata: {mark}\n\n"
        with suppress(TimeoutError):
            async with asyncio.timeout(LOOK_SECONDS):
                await stopping.wait()


def _static(request: Request) -> Response:
    name = request.path_params["name"]
    if name not in _STATIC:
        return PlainTextResponse("not found\n", 404)
    return Response((files("adapters.workbench") / "static" / name).read_bytes(), media_type=_STATIC[name])
