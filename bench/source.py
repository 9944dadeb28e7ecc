"""A source system for measurements: answers every question with one person's row, as fast as it can.

`python -m bench.source PORT EXPORT`
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import orjson
import uvicorn


class Source:
    """The rows of an export by customer number, each with the header as a file of its own."""

    def __init__(self, export: Path) -> None:
        header, *rows = export.read_bytes().split(b"\r\n")
        self._answers = {row.split(b";", 1)[0].decode(): header + b"\r\n" + row + b"\r\n" for row in rows if row}

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """ASGI."""
        body = b""
        while True:
            event = await receive()
            body += event.get("body", b"")
            if not event.get("more_body"):
                break
        found = self._answers.get(orjson.loads(body)["subject"]["value"]) if body else b"up"
        headers = [
            (b"content-type", b"text/csv; charset=windows-1252"),
            (b"content-length", str(len(found or b"")).encode()),
        ]
        await send({"type": "http.response.start", "status": 200 if found is not None else 404, "headers": headers})
        await send({"type": "http.response.body", "body": found or b""})


if __name__ == "__main__":
    uvicorn.run(
        Source(Path(sys.argv[2])), host="127.0.0.1", port=int(sys.argv[1]), lifespan="off", log_level="warning",
        access_log=False, http="httptools", loop="uvloop",
    )  # fmt: skip
