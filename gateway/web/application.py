"""Make the ASGI application of one face from its routers."""

from __future__ import annotations

from collections.abc import Collection

from fastapi import APIRouter
from fastapi.routing import APIRoute

from gateway.web import problems
from gateway.web.description import describe
from gateway.web.direct import Address, Face
from gateway.web.problems import Recorder


def application(
    title: str,
    *routers: APIRouter,
    documented: bool = False,
    refused: Recorder | None = None,
    direct: Collection[Address] = (),
) -> Face:
    """An application with these routes and the common answers to what goes wrong; `refused` puts them on record.

    `direct` are addresses that are answered without the layers of the framework.
    """
    app = Face(
        title=title,
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json" if documented else None,
        redirect_slashes=False,
    )
    for router in routers:
        app.include_router(router)
    problems.install(app, refused)
    routes = [route for router in routers for route in router.routes if isinstance(route, APIRoute)]
    app.answer_directly(routes, direct, problems.answering(refused))
    describe(app)
    return app
