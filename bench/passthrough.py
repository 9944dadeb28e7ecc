"""The baseline: the same hops and the same TLS, by a plain FastAPI application that only passes bytes on.

`python -m bench.passthrough SETTINGS` with a JSON file: {"port", "path", "next", "client": "aiohttp" | "httpx",
"serve": [certificate, key, passphrase, authorities], "call": the same or null, "hostname"}.
"""

from __future__ import annotations

import json
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import uvicorn
from fastapi import FastAPI, Request, Response


def context(purpose: ssl.Purpose, files: list[str]) -> ssl.SSLContext:
    """A TLS context with a certificate of one's own, which demands one of the other side."""
    certificate, key, passphrase, authorities = files
    made = ssl.create_default_context(purpose, cafile=authorities)
    made.load_cert_chain(certificate, key, passphrase)
    made.verify_mode = ssl.CERT_REQUIRED
    made.check_hostname = False
    if purpose is ssl.Purpose.CLIENT_AUTH:
        made.num_tickets = 0
    return made


def application(settings: dict[str, Any]) -> FastAPI:
    """One hop: read the body, post it on, give the answer back."""
    calling = context(ssl.Purpose.SERVER_AUTH, settings["call"]) if settings["call"] else None
    target, fast = settings["next"], settings["client"] == "aiohttp"

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        if fast:
            connector = aiohttp.TCPConnector(limit=0, ssl=calling or True)
            async with aiohttp.ClientSession(connector=connector) as session:
                app.state.client = session
                yield
        else:
            limits = httpx.Limits(max_connections=None, max_keepalive_connections=256)
            async with httpx.AsyncClient(verify=calling or True, limits=limits, timeout=60) as client:
                app.state.client = client
                yield

    app = FastAPI(lifespan=lifespan)

    @app.post(settings["path"])
    async def pass_on(request: Request) -> Response:
        body = await request.body()
        client = request.app.state.client
        headers = {"Content-Type": "application/json"}
        if fast:
            async with client.post(target, data=body, headers=headers) as answer:
                return Response(await answer.read(), answer.status)
        answer = await client.post(target, content=body, headers=headers)
        return Response(answer.content, answer.status_code)

    return app


if __name__ == "__main__":
    given = json.loads(Path(sys.argv[1]).read_bytes())
    serving = context(ssl.Purpose.CLIENT_AUTH, given["serve"])
    uvicorn.run(
        application(given), host="127.0.0.1", port=given["port"], log_level="warning", access_log=False,
        http="httptools", loop="uvloop", ssl_context_factory=lambda _config, _default: serving,
    )  # fmt: skip
