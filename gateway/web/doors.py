"""The doors of a face: who calls and with which right, and only then what was sent, in its declared form.

A route takes each as a dependency, in this order. The description of the interface is made from the same values, so
that it cannot say anything else than what is done.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from fastapi import Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from pydantic import BaseModel

from gateway.web.authentication import Caller, Callers
from gateway.web.bodies import check_media_type, read_body
from gateway.web.validation import read, unknown_name
from gateway.wire.problems import ProblemError

JSON = "application/json"
CERTIFICATE_SCHEME, TOKEN_SCHEME = "certificate", "token"

Reading = Callable[[], Awaitable[bytes]]
Parameters = tuple[tuple[str, ...], tuple[str, ...]]
"""The names of the query parameters and of the headers that a route takes."""


class Gate:
    """Says who may come in: by which schemes of the description, and with which problems others are sent away."""

    schemes: tuple[str, ...] = ()
    codes: tuple[str, ...] = ()


class Door(Gate):
    """Lets in a registered client with the right to an action."""

    schemes = (CERTIFICATE_SCHEME, TOKEN_SCHEME)
    codes = (
        "not-authenticated", "client-unknown", "client-revoked", "token-refused", "token-expired",
        "client-not-permitted",
    )  # fmt: skip

    def __init__(self, callers: Callers, action: str) -> None:
        self.action = action
        self._callers = callers
        self._parameters: dict[object, Parameters] = {}

    async def __call__(self, request: Request) -> Caller:
        """The client. Raises ProblemError, also for parameters that the route does not have."""
        caller = self._callers.identify(request)
        caller.may(self.action)
        route = request.scope.get("route")
        if isinstance(route, APIRoute):
            known = self._parameters.get(route.endpoint)
            if known is None:
                known = self._parameters[route.endpoint] = _parameters(route)
            _check_parameters(request, known)
        return caller


class Bytes:
    """A body as it was sent, in one of these media types; all if none is named."""

    def __init__(self, limit: int, media_types: Sequence[str] = ()) -> None:
        self.limit = limit
        self.media_types = tuple(media_types)

    async def __call__(self, request: Request) -> bytes:
        """The body. Raises ProblemError."""
        if self.media_types:
            check_media_type(request, self.media_types)
        return await read_body(request, self.limit)


class Body:
    """A JSON body in a declared form. `codes` says how its members are refused, under "" for all not named.

    `is_typed`: whether it has to say that it is JSON.
    """

    is_needed = True

    def __init__(
        self,
        form: type[BaseModel],
        limit: int,
        *,
        codes: Mapping[str, str] | None = None,
        example: Any = None,
        is_typed: bool = True,
    ) -> None:
        self._is_typed = is_typed
        self.form = form
        self.limit = limit
        self.media_types: tuple[str, ...] = (JSON,)
        self.codes = codes
        self.example = example

    async def __call__(self, request: Request) -> Any:
        """The form. Raises ProblemError."""
        if self._is_typed:
            check_media_type(request, self.media_types)
        return read(self.form, await read_body(request, self.limit), codes=self.codes)


class OptionalBody(Body):
    """A JSON body in a declared form, which need not be there: None then."""

    is_needed = False

    async def __call__(self, request: Request) -> Any:
        """The form, or None. Raises ProblemError."""
        body = await read_body(request, self.limit)
        if not body:
            return None
        check_media_type(request, self.media_types)
        return read(self.form, body, codes=self.codes)


class Messages:
    """A body of one of several kinds, read when the route asks for it: which kind, its signed message says."""

    def __init__(self, forms: Sequence[type[BaseModel]], limit: int) -> None:
        self.forms = tuple(forms)
        self.limit = limit

    async def __call__(self, request: Request) -> Reading:
        """What reads it; raises ProblemError."""

        async def reading() -> bytes:
            return await read_body(request, self.limit)

        return reading


class Form:
    """A body of a web form, read when the route asks: what is wrong with it gets an answer of the route's own."""

    def __init__(self, form: type[BaseModel], limit: int) -> None:
        self.form = form
        self.limit = limit
        self.media_types: tuple[str, ...] = ("application/x-www-form-urlencoded",)

    async def __call__(self, request: Request) -> Reading:
        """What reads it; raises ProblemError."""

        async def reading() -> bytes:
            check_media_type(request, self.media_types)
            return await read_body(request, self.limit)

        return reading


def _check_parameters(request: Request, known: Parameters) -> None:
    """Refuse a query parameter that the route does not have, and any parameter or header of it that stands twice."""
    names, headers = known
    given = request.query_params.multi_items()
    for name, _ in given:
        if name not in names:
            raise unknown_name(name, names, "/", kind="query parameter")
    if len({name for name, _ in given}) != len(given):
        raise ProblemError(
            "invalid-request", detail="a query parameter stands twice", remedy="send each parameter once"
        )
    for header in headers:
        if len(request.headers.getlist(header)) > 1:
            # Of two headers of one name, what was checked may be one and what is done the other.
            raise ProblemError(
                "invalid-request",
                pointer=f"/{header}",
                detail=f"the header {header} stands twice",
                remedy="send it once",
            )


def _parameters(route: APIRoute) -> Parameters:
    """The names of the query parameters and headers that a route and its dependencies take."""
    found = list(dependencies(route.dependant))
    names = {field.alias for dependant in found for field in dependant.query_params}
    headers = {field.alias for dependant in found for field in dependant.header_params}
    return tuple(sorted(names)), tuple(sorted(headers))


def dependencies(dependant: Dependant) -> list[Dependant]:
    """A dependant and all below it."""
    return [dependant, *(deeper for below in dependant.dependencies for deeper in dependencies(below))]
