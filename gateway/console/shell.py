"""The shell around every page: who visits, may they, is the form theirs, is the visit on record, and how it is shown.

No page does any of this itself, so no page can forget it. The order is fixed: host, session, role, form token, read,
record, show. If the log cannot record the visit, nothing is shown.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
from collections.abc import Awaitable, Callable, Mapping
from importlib.resources import files
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from jinja2 import Environment, PackageLoader, StrictUndefined
from sqlalchemy.exc import SQLAlchemyError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from audit.log.entries import Outcome
from audit.log.log import LogError
from audit.questions.identities import act_of, matter_of
from audit.questions.said import about, aim_of, saying, step, word_of
from audit.questions.words import told_as
from gateway.console.browser import kept, language_of, language_switch, read_form, same_origin, too_large
from gateway.console.door import SESSION_COOKIE, Doorway
from gateway.console.office import Ask, Moved, NotHereError, Office, Page, Sent, Shown, Visit, asker_of
from gateway.console.oidc import Door
from gateway.console.pages import PAGES
from gateway.console.sessions import Session, Sessions
from gateway.console.wording import Words
from texts import LANGUAGES

LOGGER = logging.getLogger("yhdyspinta.console")
_GROUPS: Final = ("people", "log", "network")
_STATIC: Final = {
    "console.css": "text/css; charset=utf-8",
    "console.js": "text/javascript; charset=utf-8",
    "verify.js": "text/javascript; charset=utf-8",
    "htmx.min.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
_HEADERS: Final = {
    b"content-security-policy": (
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        b"form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    b"x-frame-options": b"DENY",
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"same-origin",
    b"cross-origin-opener-policy": b"same-origin",
    b"cross-origin-resource-policy": b"same-origin",
    b"permissions-policy": b"camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}


def console(office: Office, door: Door | None = None) -> ASGIApp:
    """The console as an ASGI application. Without a `door` only one-time links sign in."""
    return _Guard(_Shell(office, door).application(), office.address)


class _Guard:
    """Answers only under the console's own name, and gives every answer the headers that keep a browser safe."""

    def __init__(self, app: ASGIApp, address: str) -> None:
        self._app = app
        parts = urlsplit(address)
        self._host = parts.netloc.encode()
        self._secure = parts.scheme == "https"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return

        async def guarded(message: Any) -> None:
            if message["type"] == "http.response.start":
                headers = dict(_HEADERS)
                if self._secure:
                    headers[b"strict-transport-security"] = b"max-age=31536000"
                given = {name for name, _ in message["headers"]}
                if b"cache-control" not in given:
                    headers[b"cache-control"] = b"no-store"
                message["headers"] = [*message["headers"], *((name, value) for name, value in headers.items())]
            await send(message)

        host = next((value for name, value in scope["headers"] if name == b"host"), b"")
        if host.lower() != self._host.lower():
            await Response("The console does not answer under this name.\n", 421)(scope, receive, guarded)
            return
        await self._app(scope, receive, guarded)


class _Shell:
    def __init__(self, office: Office, door: Door | None) -> None:
        self._office = office
        self._sessions = Sessions(office.desk.context.engine)
        self._words = {language: Words(language) for language in LANGUAGES}
        self._templates = Environment(
            loader=PackageLoader("gateway.console", "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.globals.update(
            saying=saying, step=step, about=about, aim_of=aim_of, word_of=word_of, told_as=told_as, act_of=act_of,
            matter_of=matter_of,
        )  # fmt: skip
        self._doorway = Doorway(office, self._sessions, door, self._render_plain)

    def application(self) -> Starlette:
        routes = [
            Route("/static/{name}", self._static),
            *self._doorway.routes(),
            *(
                Route(page.path, self._endpoint(page), methods=["GET", "POST"], name=f"{page.name}:{page.path}")
                for page in PAGES
            ),
        ]
        return Starlette(
            routes=routes,
            exception_handlers={
                404: self._not_found,
                405: self._not_found,
                LogError: self._broken,
                SQLAlchemyError: self._broken,
                Exception: self._broken,
            },
        )

    # -- one visit -------------------------------------------------------------------------------------------------

    def _endpoint(self, page: Page) -> Callable[[Request], Awaitable[Response]]:
        async def visit(request: Request) -> Response:
            language = language_of(request)
            switched = language_switch(request)
            if switched is not None:
                return switched
            office = self._office
            now = office.desk.context.clock()
            token = request.cookies.get(SESSION_COOKIE, "")
            session = await asyncio.to_thread(self._sessions.find, token, now) if token else None
            if session is None:
                return self._to_sign_in(request)
            is_whose = office.desk.is_told_for_whom(asker_of(session, page))
            if session.identity.role not in page.roles or not is_whose:
                await self._refuse(page, session, "role" if is_whose else "member")
                return self._page(request, language, session, page, Shown("refused.html", status=403))
            if request.method not in page.methods:
                return self._page(request, language, session, page, Shown("missing.html", status=405))
            form: dict[str, str] = {}
            if request.method == "POST":
                if too_large(request, page.form_bytes):
                    await self._refuse(page, session, "form")
                    return self._page(request, language, session, page, Shown("too-large.html", status=413))
                form = await read_form(request, page.form_bytes)
                if not same_origin(request, office.address) or not _equal(form.pop("csrf", ""), session.csrf):
                    await self._refuse(page, session, "form")
                    return self._page(request, language, session, page, Shown("stale.html", status=403))
            visit = Visit(
                office=office,
                session=session,
                language=language,
                now=now,
                method=request.method,
                path=kept({name: str(value) for name, value in request.path_params.items()}),
                query=kept(request.query_params),
                form=kept(form),
            )
            try:
                return self._given(request, page, visit, await asyncio.to_thread(self._answered, page, visit))
            except NotHereError:
                return self._page(request, language, session, page, Shown("missing.html", status=404))

        return visit

    def _answered(self, page: Page, visit: Visit) -> Shown | Moved | Sent:
        """What the page answers, after all that it asked, or else the visit itself, is on record."""
        desk, asker, is_recorded = self._office.desk, visit.asker(page), False
        try:
            answer = page.answer(visit)
            while isinstance(answer, Ask):
                ask = answer
                try:
                    found = desk.ask(ask.question, asker)
                except ask.refusals as error:
                    assert ask.refused is not None
                    answer = ask.refused(error)
                else:
                    is_recorded = True
                    answer = ask.then(found)
        except NotHereError:
            if not is_recorded:
                desk.note(asker, Outcome.NOT_FOUND, {})
            raise
        if not is_recorded:
            desk.note(asker, Outcome.SUCCESS, answer.detail if isinstance(answer, Shown) else {})
        return answer

    def _given(self, request: Request, page: Page, visit: Visit, answer: Shown | Moved | Sent) -> Response:
        if isinstance(answer, Moved):
            return RedirectResponse(answer.to, 303)
        if isinstance(answer, Sent):
            headers = {"cache-control": "no-store"}
            if answer.filename is not None:
                headers["content-disposition"] = f'attachment; filename="{answer.filename}"'
            return StreamingResponse(answer.body, media_type=answer.media_type, headers=headers)
        return self._page(request, visit.language, visit.session, page, answer)

    async def _refuse(self, page: Page, session: Session, reason: str) -> None:
        asker = asker_of(session, page)
        await asyncio.to_thread(self._office.desk.note, asker, Outcome.REFUSED, {"reason": reason})

    # -- showing ---------------------------------------------------------------------------------------------------

    def _page(self, request: Request, language: str, session: Session, page: Page, shown: Shown) -> Response:
        menu = {
            group: [
                entry
                for entry in sorted(PAGES, key=lambda entry: entry.rank)
                if entry.group == group and session.identity.role in entry.roles
            ]
            for group in _GROUPS
        }
        values = {"session": session, "csrf": session.csrf, "menu": menu, "page": page, **shown.values}
        html = self._render(shown.template, request, language, values)
        return Response(html, shown.status, media_type="text/html")

    def _render(self, template: str, request: Request, language: str, values: Mapping[str, Any]) -> str:
        words, context = self._words[language], self._office.desk.context
        names, session = context.names, values.get("session")

        def name(kind: str, code: str | None) -> str:
            if code is None:
                return ""
            return names(kind, code, language) or words.code(kind, code)

        return self._templates.get_template(template).render(
            t=words,
            language=language,
            languages=LANGUAGES,
            organisation=context.organisation(language, session.identity.member if session is not None else None),
            name=name,
            now=context.clock(),
            here=request.url.path,
            query=dict(request.query_params),
            language_links={code: _with_language(request, code) for code in LANGUAGES},
            link=_link,
            **values,
        )

    def _render_plain(self, template: str, request: Request, status: int = 200, **values: Any) -> Response:
        html = self._render(template, request, language_of(request), {"session": None, "page": None, **values})
        return Response(html, status, media_type="text/html")

    def _to_sign_in(self, request: Request) -> Response:
        if request.headers.get("hx-request"):
            return Response(status_code=401, headers={"hx-redirect": "/sign-in"})
        return RedirectResponse("/sign-in", 303)

    async def _not_found(self, request: Request, _error: Exception) -> Response:
        return self._render_plain("missing.html", request, 404)

    async def _broken(self, request: Request, error: Exception) -> Response:
        unavailable = isinstance(error, LogError | SQLAlchemyError)
        LOGGER.error("page-failed", extra={"fields": {"reason": type(error).__name__}})
        return self._render_plain("broken.html", request, 503 if unavailable else 500)

    async def _static(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in _STATIC:
            return self._render_plain("missing.html", request, 404)
        body = (files("gateway.console") / "static" / name).read_bytes()
        return Response(body, media_type=_STATIC[name], headers={"cache-control": "public, max-age=3600"})


def _with_language(request: Request, language: str) -> str:
    rest = [(name, value) for name, value in request.query_params.multi_items() if name != "language"]
    return f"?{urlencode([*rest, ('language', language)])}"


def _link(query: Mapping[str, str], **changed: str | None) -> str:
    """The query string with some members changed, or left out where None."""
    merged = {**query, **changed}
    return f"?{urlencode({name: value for name, value in merged.items() if value})}"


def _equal(given: str, wanted: str) -> bool:
    return hmac.compare_digest(given.encode(), wanted.encode())
