"""Where a source system answers over HTTP, and how it is called."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An address of a source system, how long it is waited for (seconds), and how large an answer may be (bytes).

    `context` is the TLS context where its certificate comes from an authority of its own.
    """

    url: str
    timeout_seconds: float = 30.0
    body_limit: int = 64 * 1024 * 1024
    context: ssl.SSLContext | None = None

    @classmethod
    def at(cls, url: str, timeout_seconds: float, body_limit: int, authority: Path | None) -> Endpoint:
        """An endpoint whose certificate is by this authority (a PEM file); None: by one that the system knows."""
        context = ssl.create_default_context(cafile=str(authority)) if authority else None
        return cls(url, timeout_seconds, body_limit, context)
