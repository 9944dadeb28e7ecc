"""The information systems of the demo's organisations, each a process of its own that speaks HTTP to its own node.

`source` is a reception centre's client register: it answers its node's questions with rows of its export, and hands
records over when the story tells it to. `recipient` is a municipality's or a county's client system: it fetches what
arrives, accepts it and keeps it. Both listen on loopback for the story; a real system would have a user interface
there.
"""

from __future__ import annotations

import asyncio
import csv
import io
import json
import ssl
import sys
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web
from pydantic import BaseModel

HETU_SYSTEM = "urn:oid:1.2.246.21"


class SystemSettings(BaseModel):
    """What one of the demo's systems needs to know."""

    name: str
    kind: str  # "source" or "recipient"
    port: int
    node: str
    authority: Path
    certificate: Path
    key: Path
    passphrase: str
    export: Path | None = None
    adapter: str = "canonical"
    contact: dict[str, str] = {}


def run(settings: SystemSettings) -> None:
    """Run the system until it is told to stop."""
    app = web.Application()
    app["settings"] = settings
    app.cleanup_ctx.append(_session)
    if settings.kind == "source":
        register = ClientRegister(settings.export) if settings.export else None
        app["register"] = register
        app.add_routes([web.post("/records", _records), web.post("/hand-over", _hand_over)])
    else:
        app["held"] = {}
        app.cleanup_ctx.append(_fetching)
        app.add_routes([web.get("/held", _held)])
    app.add_routes([web.post("/call", _call), web.get("/up", _up)])
    web.run_app(app, host="127.0.0.1", port=settings.port, print=None, access_log=None, handle_signals=True)


class ClientRegister:
    """The reception centre's register, as its CSV export (windows-1252, semicolons)."""

    def __init__(self, export: Path) -> None:
        text = export.read_bytes().decode("windows-1252", "surrogateescape")
        self._lines = list(csv.reader(io.StringIO(text, newline=""), delimiter=";"))
        self.header = self._lines[0]
        self._customer = self.header.index("ASIAKASNUMERO")
        self._hetu = self.header.index("HETU")

    def find(self, system: str, value: str) -> list[list[str]]:
        """The rows of a person: the same text as in the export."""
        column = self._hetu if system == HETU_SYSTEM else self._customer
        return [line for line in self._lines[1:] if len(line) == len(self.header) and line[column] == value]

    def rows(self, numbers: list[int]) -> list[list[str]]:
        """Rows by their number in the file; the first after the header is 2, as in a spreadsheet."""
        return [self._lines[number - 1] for number in numbers if 1 < number <= len(self._lines)]

    def written(self, rows: list[list[str]]) -> bytes:
        """Rows as a file of their own, with the header."""
        text = io.StringIO(newline="")
        writer = csv.writer(text, delimiter=";", lineterminator="\r\n")
        writer.writerow(self.header)
        writer.writerows(rows)
        return text.getvalue().encode("windows-1252", "surrogateescape")


async def _session(app: web.Application) -> Any:
    settings: SystemSettings = app["settings"]
    context = ssl.create_default_context(cafile=str(settings.authority))
    context.load_cert_chain(settings.certificate, settings.key, password=settings.passphrase)
    connector = aiohttp.TCPConnector(ssl=context)
    async with aiohttp.ClientSession(settings.node, connector=connector) as session:
        app["session"] = session
        yield


async def _fetching(app: web.Application) -> Any:
    task = asyncio.create_task(_fetch_forever(app))
    yield
    task.cancel()


async def _fetch_forever(app: web.Application) -> None:
    """Fetch what has arrived, keep it, accept it. A node that is away for a while is asked again."""
    settings: SystemSettings = app["settings"]
    session: aiohttp.ClientSession = app["session"]
    while True:
        try:
            async with session.get("/v1/inbox", params={"state": "received", "limit": "50"}) as answer:
                items = (await answer.json())["items"] if answer.status == 200 else []
            for item in items:
                form = settings.adapter if item["kind"] == "handover" else "canonical"
                async with session.get(f"/v1/inbox/{item['id']}", params={"adapter": form}) as answer:
                    if answer.status != 200:
                        continue
                    content = await answer.json(content_type=None)
                # Kept first and accepted then: whoever accepts has hold.
                app["held"][item["id"]] = {**item, "content": content}
                await session.post(f"/v1/inbox/{item['id']}/acceptance", json={"contact": settings.contact})
        except (aiohttp.ClientError, OSError):
            pass
        await asyncio.sleep(0.1)


async def _up(_request: web.Request) -> web.Response:
    return web.Response(text="up")


async def _held(request: web.Request) -> web.Response:
    return web.json_response(list(request.app["held"].values()))


async def _records(request: web.Request) -> web.Response:
    """What the reception centre's node asks: the rows of one person, in the export's own form."""
    subject = (await request.json())["subject"]
    register: ClientRegister = request.app["register"]
    rows = register.find(subject["system"], subject["value"])
    if not rows:
        return web.Response(status=404)
    return web.Response(body=register.written(rows), content_type="text/csv", charset="windows-1252")


async def _hand_over(request: web.Request) -> web.Response:
    """Hand rows of the register over: `{"rows": [2, 3], "flow": "F1", "key": …}`.

    Tried again until the node has them, or nobody waits for that any more.
    """
    order = await request.json()
    register: ClientRegister = request.app["register"]
    session: aiohttp.ClientSession = request.app["session"]
    body = register.written(register.rows(order["rows"]))
    parameters = {"flow": order["flow"], "adapter": "reception-centre-csv", **order.get("parameters", {})}
    headers = {"Content-Type": "text/csv; charset=windows-1252", "Idempotency-Key": order["key"]}
    while request.transport is not None and not request.transport.is_closing():
        try:
            async with session.post("/v1/handovers", params=parameters, data=body, headers=headers) as answer:
                if answer.status < 500:
                    return web.json_response(await answer.json(content_type=None), status=answer.status)
        except (aiohttp.ClientError, OSError):
            pass
        await asyncio.sleep(0.1)
    return web.Response(status=504)


async def _call(request: web.Request) -> web.Response:
    """Call the system's own node on behalf of the story: `{"method", "path", "json"}`."""
    order = await request.json()
    session: aiohttp.ClientSession = request.app["session"]
    async with session.request(order["method"], order["path"], json=order.get("json")) as answer:
        body = await answer.read()
        return web.json_response({"status": answer.status, "body": json.loads(body) if body else None})


if __name__ == "__main__":
    run(SystemSettings.model_validate_json(Path(sys.argv[1]).read_bytes()))
