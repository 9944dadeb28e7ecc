"""Answer the few addresses of every exchange without the layers of the framework.

A route is described, and its doors are declared, as any other; but of a request for it the application asks the doors
in their order and calls the endpoint, nothing else. What FastAPI does between the two (middleware, another look for the
route, the dependencies worked out anew) takes as long as to verify a signature. Everything that is not plainly such a
request, one with a query string for example, goes the usual way.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.routing import APIRoute
from starlette.types import Receive, Scope, Send

Address = tuple[str, str]
"""Method and path."""
Failure = Callable[[Request, Exception], Awaitable[Response]]
"""Gives the answer to whatever a route raises."""


class Face(FastAPI):
    """An application, some of whose routes are answered directly."""

    def answer_directly(self, routes: Iterable[APIRoute], addresses: Collection[Address], failure: Failure) -> None:
        """Answer these addresses so, each of which is that of one of the routes."""
        known = {(method, route.path): route for route in routes for method in route.methods or ()}
        self._direct: dict[Address, Direct] = {address: Direct(known[address], failure) for address in addresses}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] == "http" and not scope["query_string"]:
            direct = self._direct.get((scope["method"], scope["path"]))
            if direct is not None:
                scope["app"] = self
                await (await direct.answer(Request(scope, receive, send)))(scope, receive, send)
                return
        await super().__call__(scope, receive, send)


class Direct:
    """One route: its doors, and its endpoint."""

    def __init__(self, route: APIRoute, failure: Failure) -> None:
        """Raises ValueError for a route that takes more than the request and what its doors say of it.

        A header that it only describes is left out.
        """
        self._route = route
        self._failure = failure
        self._doors: list[tuple[str, Callable[[Request], Awaitable[Any]]]] = []
        for door in (route.dependant, *route.dependant.dependencies):
            further = (door.path_params, door.query_params, door.cookie_params, door.body_params)
            if any(further) or (door is not route.dependant and (door.dependencies or door.header_params)):
                raise ValueError(f"{route.path} cannot be answered directly: {door.name} takes more than the request")
        for door in route.dependant.dependencies:
            if door.call is not None and door.name is not None:
                self._doors.append((door.name, door.call))

    async def answer(self, request: Request) -> Response:
        """What the route answers, or what is answered to what it raises."""
        # Whoever records a refusal, and the doors themselves, ask by this which route it was.
        request.scope["route"] = self._route
        try:
            opened = {name: await door(request) for name, door in self._doors}
            response: Response = await self._route.endpoint(request, **opened)
        except Exception as error:
            return await self._failure(request, error)
        return response
