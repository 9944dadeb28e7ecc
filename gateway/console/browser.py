"""What a browser's request says: its language, its form, and whether it comes from the console's own pages."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Final
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from gateway.console.office import FORM_LIMIT
from gateway.web.languages import language_in
from texts import LANGUAGES

LANGUAGE_COOKIE: Final = "language"


def language_of(request: Request) -> str:
    """The language of a visit: chosen before, else the browser's, else Finnish."""
    chosen = request.cookies.get(LANGUAGE_COOKIE, "")
    return chosen if chosen in LANGUAGES else language_in(request.headers.get("accept-language", ""), LANGUAGES[0])


def language_switch(request: Request) -> Response | None:
    """The answer to `?language=`: the choice is kept in a cookie, and the page is asked for again without it."""
    chosen = request.query_params.get("language")
    if request.method != "GET" or chosen not in LANGUAGES:
        return None
    rest = [(name, value) for name, value in request.query_params.multi_items() if name != "language"]
    answer = RedirectResponse(request.url.path + (f"?{urlencode(rest)}" if rest else ""), 303)
    answer.set_cookie(
        LANGUAGE_COOKIE, str(chosen), max_age=365 * 86_400, secure=True, httponly=True, samesite="lax", path="/"
    )
    return answer


def too_large(request: Request, limit: int) -> bool:
    """Whether a form says itself that it is over a limit."""
    length = request.headers.get("content-length", "")
    return length.isdecimal() and int(length) > limit


def kept(values: Mapping[str, str]) -> dict[str, str]:
    """What was sent, as both databases take it: PostgreSQL fails at U+0000, which stands in nothing that is kept."""
    return {name: value.replace("\0", "\ufffd") for name, value in values.items()}


async def read_form(request: Request, limit: int = FORM_LIMIT) -> dict[str, str]:
    """The fields of a form that was sent; files, and a body over the limit or without a length, are not read."""
    kind = request.headers.get("content-type", "").split(";")[0].strip()
    length = request.headers.get("content-length", "")
    if kind != "application/x-www-form-urlencoded" or not length.isdecimal() or too_large(request, limit):
        return {}
    async with AsyncExitStack() as stack:
        form = await stack.enter_async_context(request.form(max_files=0, max_fields=64))
        return {name: value for name, value in form.items() if isinstance(value, str)}


def same_origin(request: Request, address: str) -> bool:
    """Whether the browser says that the request comes from the console's own pages; both marks must agree."""
    site = request.headers.get("sec-fetch-site")
    origin = request.headers.get("origin")
    if site is not None and site != "same-origin":
        return False
    if origin is not None:
        return origin == address
    return site == "same-origin"
