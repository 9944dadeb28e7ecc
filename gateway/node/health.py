"""The local face: is the node alive, is it ready to move data, and its metrics. No login; bind it to loopback."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from gateway.node.readiness import FaceName


def router(state: Callable[[], dict[str, Any]]) -> APIRouter:
    """`state` tells the node's condition; its member `ready` says whether data can move."""
    routes = APIRouter()

    @routes.get("/health")
    async def health() -> JSONResponse:
        """Alive: the process answers. The condition of its parts stands beside."""
        return JSONResponse(state())

    @routes.get("/ready")
    async def ready() -> JSONResponse:
        """Ready: data can move, in and out. 503 says in `faces` what each face misses."""
        condition = state()
        return JSONResponse(condition, 200 if condition["ready"] else 503)

    @routes.get("/ready/{face}")
    async def ready_face(face: FaceName) -> JSONResponse:
        """The same of one face, for the balancer in front of it."""
        told: dict[str, Any] = state()["faces"][face.value]
        return JSONResponse(told, 200 if told["ready"] else 503)

    @routes.get("/metrics")
    async def metrics() -> Response:
        """Metrics in the Prometheus text format."""
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    return routes
