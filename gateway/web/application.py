"""Make the ASGI application of one face from its routers."""

from __future__ import annotations

from fastapi import APIRouter, FastAPI

from gateway.web import problems
from gateway.web.description import describe
from gateway.web.problems import Recorder


def application(title: str, *routers: APIRouter, documented: bool = False, refused: Recorder | None = None) -> FastAPI:
    """An application with these routes and the common answers to what goes wrong; `refused` puts them on record."""
    app = FastAPI(
        title=title,
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json" if documented else None,
        redirect_slashes=False,
    )
    for router in routers:
        app.include_router(router)
    problems.install(app, refused)
    describe(app)
    return app
