"""Read a request's body within its limit, as it comes, whatever Content-Length says."""

from __future__ import annotations

from typing import Any

import orjson
from fastapi import Request
from starlette.requests import ClientDisconnect

from gateway.web.listeners import TIMED_OUT
from gateway.wire.problems import ProblemError


async def read_body(request: Request, limit: int) -> bytes:
    """The body. Raises ProblemError `body-too-large`, `unsupported-content-encoding` or `request-timeout`."""
    if any(coding.strip().lower() != "identity" for coding in request.headers.getlist("content-encoding")):
        raise ProblemError(
            "unsupported-content-encoding",
            detail="compressed bodies are not taken",
            remedy="send the body as it is, without Content-Encoding",
        )
    declared = request.headers.get("content-length")
    if declared is not None and declared.isdigit() and int(declared) > limit:
        raise _too_large(limit)
    parts: list[bytes] = []
    size = 0
    try:
        async for part in request.stream():
            size += len(part)
            if size > limit:
                raise _too_large(limit)
            parts.append(part)
    except ClientDisconnect:
        if request.scope.get(TIMED_OUT):
            raise ProblemError("request-timeout", detail="the body of the request did not come in time") from None
        raise ProblemError("invalid-request", detail="the connection ended before the body did") from None
    return parts[0] if len(parts) == 1 else b"".join(parts)


async def read_json(request: Request, limit: int) -> dict[str, Any]:
    """The body as a JSON object. Raises ProblemError."""
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if kind not in {"application/json", "application/fhir+json"}:
        raise ProblemError(
            "unsupported-media-type", detail="the body is to be JSON", remedy="send Content-Type: application/json"
        )
    body = await read_body(request, limit)
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise ProblemError(
            "invalid-json",
            detail=f"line {error.lineno}, column {error.colno}: this is not JSON",
            remedy="send one JSON object in UTF-8",
        ) from None
    if not isinstance(document, dict):
        raise ProblemError("invalid-json", detail="the body is not a JSON object", remedy="send one JSON object")
    return document


def _too_large(limit: int) -> ProblemError:
    return ProblemError(
        "body-too-large",
        detail=f"the body is over {limit} bytes",
        remedy="send less at once, or raise limits.body_bytes",
    )
