"""Signing in and out: by the organisation's OpenID Connect provider, or by a link that works once.

Who guesses is stopped: what was tried in vain a few times, a link or an answer to a sign-in that began here, is not
looked at for a while. An address counts nothing: behind one there may be a whole organisation, and any page can make
a browser send something. Each sign-in is an entry of the log, and each refusal, summed where they come in numbers. A
sign-in that begins gets a cookie of its own, to which its form and the provider's answer are tied,
so that nobody can be signed in as somebody else by a planted link or answer.
"""

from __future__ import annotations

import asyncio
import hashlib
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
from audit.log.waiting import Written
from gateway.console.browser import language_switch, read_form, same_origin
from gateway.console.office import Office
from gateway.console.oidc import Door, SignInError
from gateway.console.sessions import Identity, Sessions, redeem_link
from gateway.story import Story

SESSION_COOKIE: Final = "__Host-yhdyspinta"
DOOR_COOKIE: Final = "__Host-yhdyspinta-door"
FAILURES: Final = 10
WINDOW: Final = timedelta(minutes=10)
_KNOWN: Final = 10_000


class Attempts:
    """What was tried in vain in the last few minutes."""

    def __init__(self, failures: int = FAILURES, window: timedelta = WINDOW) -> None:
        self._most = failures
        self._window = window
        self._failed: OrderedDict[str, deque[datetime]] = OrderedDict()

    def wait(self, tried: str, now: datetime) -> int:
        """For how many seconds this is not looked at; 0 if it may be tried."""
        failed = self._failed.get(tried)
        if failed is None:
            return 0
        while failed and failed[0] <= now - self._window:
            failed.popleft()
        if len(failed) < self._most:
            return 0
        return max(1, int((failed[0] + self._window - now).total_seconds()) + 1)

    def fail(self, tried: str, now: datetime) -> None:
        """Note a failure."""
        failed = self._failed.setdefault(tried, deque(maxlen=self._most))
        failed.append(now)
        self._failed.move_to_end(tried)
        if len(self._failed) > _KNOWN:
            self._failed.popitem(last=False)


class Refusals:
    """How many refusals go on record: the first few of a kind in a window, and the sum of the others with the next."""

    def __init__(self) -> None:
        self._kinds: dict[str, tuple[datetime, int]] = {}

    def count(self, kind: str, now: datetime) -> int:
        """Of how many refusals an entry is to be made now; 0 for none yet. Kinds are few, and ours to name."""
        began, count = self._kinds.get(kind, (now, 0))
        if now - began >= WINDOW:
            self._kinds[kind] = (now, 1)
            return max(0, count - FAILURES) + 1
        self._kinds[kind] = (began, count + 1)
        return 1 if count < FAILURES else 0


class Doorway:
    """The pages before sign-in."""

    def __init__(self, office: Office, sessions: Sessions, door: Door | None, render: Callable[..., Response]) -> None:
        self._address = office.address
        self._context = office.desk.context
        self._sessions = sessions
        self._door = door
        self._render = render
        self._attempts = Attempts()
        self._refusals = Refusals()

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
        cookie = request.cookies.get(DOOR_COOKIE)
        if self._door is None or cookie is None:
            return await self._refused(request, "answer")
        tried = _digest("answer", cookie)
        waiting = await self._closed(request, tried)
        if waiting is not None:
            return waiting
        now = self._context.clock()
        try:
            identity = await self._door.back(cookie, dict(request.query_params), now.timestamp())
        except SignInError as error:
            return await self._refused(request, error.code, tried)
        return await self._signed_in(request, identity, "provider")

    async def _redeem(self, request: Request) -> Response:
        form = await self._own_form(request)
        if not form:
            return await self._refused(request, "form")
        token, now = form.get("token", ""), self._context.clock()
        tried = _digest("link", token)
        waiting = await self._closed(request, tried)
        if waiting is not None:
            return waiting

        def unit(connection: Connection) -> Written[Identity | None]:
            return Written(redeem_link(connection, token, now), ())

        found = (await self._context.log.commit(unit)).value
        if found is None:
            return await self._refused(request, "link", tried)
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

    async def _closed(self, request: Request, tried: str) -> Response | None:
        seconds = self._attempts.wait(tried, self._context.clock())
        if not seconds:
            return None
        answer = self._shown(request, "sign-in-refused.html", 429, reason="wait", minutes=-(-seconds // 60))
        answer.headers["retry-after"] = str(seconds)
        return answer

    async def _refused(self, request: Request, reason: str, tried: str | None = None) -> Response:
        if tried is not None:
            self._attempts.fail(tried, self._context.clock())
        count = self._refusals.count(reason, self._context.clock())
        if count:
            await self._record(Outcome.REFUSED, reason, None, count)
        return self._shown(request, "sign-in-refused.html", 403, reason=reason, minutes=0)

    async def _record(self, outcome: Outcome, how: str, identity: Identity | None, count: int = 1) -> None:
        detail: dict[str, str | int | bool] = {"page": "sign-in", "how": how}
        if count > 1:
            detail["count"] = count
        if identity is not None:
            detail["role"] = identity.role
        user = identity.user if identity is not None else None
        story = Story(client="console", user=user, node=self._context.node)
        await self._context.log.append(
            [story.entry(EntryType.CONSOLE_READ, outcome, self._context.clock(), detail=detail)]
        )


def _form_token(cookie: str) -> str:
    return hmac.digest(cookie.encode(), b"sign-in\x00form", "sha256").hex()


def _digest(kind: str, tried: str) -> str:
    """What was tried, without keeping it."""
    return f"{kind}/{hashlib.sha256(tried.encode()).hexdigest()}"


def _set(answer: Response, name: str, value: str, *, strict: bool = False) -> None:
    # The cookie of a sign-in under way must come back with the provider's redirect, which begins at another site.
    answer.set_cookie(name, value, secure=True, httponly=True, samesite="strict" if strict else "lax", path="/")
