"""Signing in and out: by the organisation's OpenID Connect provider, or by a link that works once.

Who guesses is stopped: after a few failures an address waits, whatever it sends. Each sign-in, and each refusal, is an
entry of the log. A sign-in that begins gets a cookie of its own, to which its form and the provider's answer are tied,
so that nobody can be signed in as somebody else by a planted link or answer.
"""

from __future__ import annotations

import asyncio
import hmac
import secrets
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from audit.log.entries import EntryType, Outcome
from audit.log.log import Written
from gateway.console.office import Office
from gateway.console.oidc import Door, SignInError
from gateway.console.reading import language_switch, read_form, same_origin
from gateway.console.sessions import Identity, Sessions, redeem_link
from gateway.story import Story

SESSION_COOKIE: Final = "__Host-yhdyspinta"
DOOR_COOKIE: Final = "__Host-yhdyspinta-door"
FAILURES: Final = 10
WINDOW: Final = timedelta(minutes=10)
_KNOWN: Final = 10_000


class Attempts:
    """Failed sign-ins by address, of the last few minutes."""

    def __init__(self, failures: int = FAILURES, window: timedelta = WINDOW) -> None:
        self._most = failures
        self._window = window
        self._failed: OrderedDict[str, deque[datetime]] = OrderedDict()

    def wait(self, address: str, now: datetime) -> int:
        """For how many seconds this address is not listened to; 0 if it may try."""
        failed = self._failed.get(address)
        if failed is None:
            return 0
        while failed and failed[0] <= now - self._window:
            failed.popleft()
        if len(failed) < self._most:
            return 0
        return max(1, int((failed[0] + self._window - now).total_seconds()) + 1)

    def fail(self, address: str, now: datetime) -> None:
        """Note a failure."""
        failed = self._failed.setdefault(address, deque(maxlen=self._most))
        failed.append(now)
        self._failed.move_to_end(address)
        if len(self._failed) > _KNOWN:
            self._failed.popitem(last=False)


class Doorway:
    """The pages before sign-in."""

    def __init__(self, office: Office, sessions: Sessions, door: Door | None, render: Callable[..., Response]) -> None:
        self._address = office.address
        self._context = office.desk.context
        self._sessions = sessions
        self._door = door
        self._render = render
        self._attempts = Attempts()

    def routes(self) -> list[Route]:
        """Their routes."""
        return [
            Route("/sign-in", self._page, methods=["GET"]),
            Route("/sign-in/provider", self._away, methods=["GET"]),
            Route("/sign-in/answer", self._back, methods=["GET"]),
            Route("/link/{token}", self._link, methods=["GET"]),
            Route("/link", self._redeem, methods=["POST"]),
            Route("/sign-out", self._out, methods=["POST"]),
        ]

    async def _page(self, request: Request) -> Response:
        return self._shown(
            request, "sign-in.html", provider=self._door is not None, signed_out="out" in request.query_params
        )

    async def _link(self, request: Request) -> Response:
        return self._shown(request, "link.html", token=request.path_params["token"])

    def _shown(self, request: Request, template: str, status: int = 200, **values: Any) -> Response:
        switched = language_switch(request)
        if switched is not None:
            return switched
        cookie = request.cookies.get(DOOR_COOKIE) or secrets.token_urlsafe(32)
        answer = self._render(template, request, status, csrf=_form_token(cookie), **values)
        _set(answer, DOOR_COOKIE, cookie)
        return answer

    async def _away(self, request: Request) -> Response:
        waiting = await self._closed(request)
        if waiting is not None:
            return waiting
        if self._door is None:
            return await self._refused(request, "provider")
        cookie = secrets.token_urlsafe(32)
        try:
            answer = RedirectResponse(await self._door.away(cookie), 303)
        except SignInError as error:
            return await self._refused(request, error.code)
        _set(answer, DOOR_COOKIE, cookie)
        return answer

    async def _back(self, request: Request) -> Response:
        waiting = await self._closed(request)
        if waiting is not None:
            return waiting
        cookie = request.cookies.get(DOOR_COOKIE)
        if self._door is None or cookie is None:
            return await self._refused(request, "answer")
        now = self._context.clock()
        try:
            identity = await self._door.back(cookie, dict(request.query_params), now.timestamp())
        except SignInError as error:
            return await self._refused(request, error.code)
        return await self._signed_in(request, identity, "provider")

    async def _redeem(self, request: Request) -> Response:
        waiting = await self._closed(request)
        if waiting is not None:
            return waiting
        form = await self._own_form(request)
        if not form:
            return await self._refused(request, "form")
        token, now = form.get("token", ""), self._context.clock()

        def unit(connection: Connection) -> Written[Identity | None]:
            return Written(redeem_link(connection, token, now), ())

        found = (await self._context.log.commit(unit)).value
        if found is None:
            return await self._refused(request, "link")
        return await self._signed_in(request, replace(found, user=f"link\x00{found.name}"), "link")

    async def _signed_in(self, request: Request, identity: Identity, way: str) -> Response:
        known = replace(identity, user=self._context.subjects.user("console", identity.user))
        await self._record(Outcome.SUCCESS, way, known)
        former = request.cookies.get(SESSION_COOKIE)
        token = await asyncio.to_thread(self._sessions.open, known, self._context.clock(), instead_of=former)
        # Not a redirect: a Strict cookie is not sent along one that began at another site's page.
        answer = self._render("welcome.html", request, 200, csrf="")
        answer.headers["refresh"] = "0; url=/"
        _set(answer, SESSION_COOKIE, token, strict=True)
        answer.delete_cookie(DOOR_COOKIE, path="/", secure=True, httponly=True)
        return answer

    async def _out(self, request: Request) -> Response:
        token = request.cookies.get(SESSION_COOKIE, "")
        session = await asyncio.to_thread(self._sessions.find, token, self._context.clock()) if token else None
        form = await read_form(request)
        if session is not None:
            given = form.get("csrf", "")
            if not same_origin(request, self._address) or not hmac.compare_digest(
                given.encode(), session.csrf.encode()
            ):
                return await self._refused(request, "form")
            await asyncio.to_thread(self._sessions.end, token)
        answer = RedirectResponse("/sign-in?out=1", 303)
        answer.delete_cookie(SESSION_COOKIE, path="/", secure=True, httponly=True)
        return answer

    # -- guarding --------------------------------------------------------------------------------------------------

    async def _own_form(self, request: Request) -> dict[str, str]:
        """The form, if it came from this browser's own sign-in page; else nothing."""
        form = await read_form(request)
        cookie = request.cookies.get(DOOR_COOKIE, "")
        wanted = _form_token(cookie).encode()
        own = bool(cookie) and hmac.compare_digest(form.get("csrf", "").encode(), wanted)
        return form if own and same_origin(request, self._address) else {}

    async def _closed(self, request: Request) -> Response | None:
        seconds = self._attempts.wait(_address(request), self._context.clock())
        if not seconds:
            return None
        answer = self._shown(request, "sign-in-refused.html", 429, reason="wait", minutes=-(-seconds // 60))
        answer.headers["retry-after"] = str(seconds)
        return answer

    async def _refused(self, request: Request, reason: str) -> Response:
        self._attempts.fail(_address(request), self._context.clock())
        await self._record(Outcome.REFUSED, reason, None)
        return self._shown(request, "sign-in-refused.html", 403, reason=reason, minutes=0)

    async def _record(self, outcome: Outcome, how: str, identity: Identity | None) -> None:
        detail: dict[str, str | int | bool] = {"page": "sign-in", "how": how}
        if identity is not None:
            detail["role"] = identity.role
        user = identity.user if identity is not None else None
        story = Story(client="console", user=user, node=self._context.node)
        await self._context.log.append(
            [story.entry(EntryType.CONSOLE_READ, outcome, self._context.clock(), detail=detail)]
        )


def _form_token(cookie: str) -> str:
    return hmac.digest(cookie.encode(), b"sign-in\x00form", "sha256").hex()


def _address(request: Request) -> str:
    return request.client.host if request.client is not None else "?"


def _set(answer: Response, name: str, value: str, *, strict: bool = False) -> None:
    # The cookie of a sign-in under way must come back with the provider's redirect, which begins at another site.
    answer.set_cookie(name, value, secure=True, httponly=True, samesite="strict" if strict else "lax", path="/")
