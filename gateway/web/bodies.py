"""Read a request's body within its limit, as it comes, whatever Content-Length says."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from fastapi import Request
from starlette.requests import ClientDisconnect

from gateway.web.listeners import TIMED_OUT
from gateway.web.validation import holds, plain_json
from gateway.wire.problems import ProblemError

_NUL = re.compile("\0")


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
    check_media_type(request, ("application/json", "application/fhir+json"))
    document = plain_json(await read_body(request, limit))
    if not isinstance(document, dict):
        raise ProblemError("invalid-json", detail="the body is not a JSON object", remedy="send one JSON object")
    if holds(document, _NUL):
        # One database would take it and the other not; no reader has a use for it.
        raise ProblemError("invalid-request", detail="a text holds the character NUL", remedy="leave it out")
    return document


def check_media_type(request: Request, media_types: Sequence[str]) -> None:
    """Refuse a body of another media type. Raises ProblemError `unsupported-media-type`."""
    if media_type(request.headers.get("content-type", "")) not in media_types:
        raise ProblemError(
            "unsupported-media-type",
            detail="the body is of a media type that is not taken here",
            remedy="send Content-Type: " + " or ".join(media_types),
        )


def media_type(header: str) -> str:
    """The media type that a header names, without its parameters."""
    return header.split(";", maxsplit=1)[0].strip().lower()


def _too_large(limit: int) -> ProblemError:
    return ProblemError(
        "body-too-large",
        detail=f"the body is over {limit} bytes",
        remedy="send less at once, or raise limits.body_bytes",
    )
