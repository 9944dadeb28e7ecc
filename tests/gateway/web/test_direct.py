"""A route that is answered directly answers as it would the usual way, whatever it is asked and whatever it raises."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from fastapi import APIRouter, Depends, Request, Response
from starlette.testclient import TestClient

from audit.log.log import LogOverloadedError, LogUnavailableError
from gateway.web.application import application
from gateway.web.direct import Direct
from gateway.web.doors import Bytes
from gateway.wire.problems import ProblemError

ADDRESS = ("POST", "/v1/things")
RAISED: dict[str, Callable[[], Exception]] = {
    "problem": lambda: ProblemError("subject-not-found", detail="nobody"),
    "busy": lambda: LogOverloadedError(5, 3.0),
    "log": lambda: LogUnavailableError("full"),
    "fault": lambda: KeyError("secret"),
}


class Gate:
    """A door: what it says of the request, and whether it knows which route it stands before."""

    async def __call__(self, request: Request) -> str:
        assert request.scope["route"].path == ADDRESS[1]
        if request.headers.get("name") is None:
            raise ProblemError("not-authenticated", detail="say who you are")
        return request.headers["name"]


def face(direct: list[tuple[str, str]]) -> tuple[TestClient, list[str]]:
    """The same application either way, and the refusals that it told of."""
    told: list[str] = []
    routes = APIRouter()
    gate, body = Depends(Gate()), Depends(Bytes(100, ["text/plain"]))

    @routes.post(ADDRESS[1], response_model=None)
    async def things(request: Request, name: str = gate, content: bytes = body) -> Response:
        if name in RAISED:
            raise RAISED[name]()
        return Response(b"%s says %s at %s" % (name.encode(), content, request.url.path.encode()), 201)

    async def refused(request: Request, problem: ProblemError) -> None:
        told.append(f"{problem.code} at {getattr(request.scope.get('route'), 'path', 'no route')}")

    app = application("things", routes, refused=refused, direct=direct)
    return TestClient(app, raise_server_exceptions=False), told


@pytest.mark.parametrize("method", ["POST", "GET", "PUT"])
@pytest.mark.parametrize("path", ["/v1/things", "/v1/things?a=1", "/v1/things/", "/v1/%74hings", "/v1/other"])
@pytest.mark.parametrize("content", [b"x", b"x" * 101])
@pytest.mark.parametrize("headers", [{"content-type": "text/plain"}, {"accept-language": "fi"}])
@pytest.mark.parametrize("name", [None, "me", *RAISED])
def test_what_is_answered_directly_is_what_is_answered_the_usual_way(
    method: str, path: str, content: bytes, headers: dict[str, str], name: str | None
) -> None:
    given = headers if name is None else {**headers, "name": name}
    (direct, told_directly), (usual, told) = face([ADDRESS]), face([])

    found = direct.request(method, path, content=content, headers=given)
    expected = usual.request(method, path, content=content, headers=given)

    assert (found.status_code, found.content, dict(found.headers)) == (
        expected.status_code,
        expected.content,
        dict(expected.headers),
    )
    assert told_directly == told


def test_route_that_takes_more_than_its_doors_is_not_answered_directly() -> None:
    routes = APIRouter()

    async def named(name: str) -> str:
        return name

    @routes.post(ADDRESS[1], response_model=None)
    async def things(request: Request, name: str = Depends(named)) -> Response:
        return Response(name)

    @routes.post("/v1/others", response_model=None)
    async def others(request: Request, name: str) -> Response:
        return Response(name)

    for route in routes.routes:
        with pytest.raises(ValueError, match="cannot be answered directly"):
            Direct(route, lambda _request, _error: None)  # type: ignore[arg-type]
