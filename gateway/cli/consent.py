"""`yhdyspinta consent`: bring the consents of a form into a node, as one of its information systems would.

The command calls the node's client face with a client's certificate, so that what it may do is what that client may
do, and it is on record as that client. Exit codes: 0 every row stands; 1 some were rejected, and each is told by row
and column; 2 the command or the file is wrong; 3 the node could not be reached.
"""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import Annotated, Any

import aiohttp
import orjson
import typer
from rich.markup import escape

from gateway.cli.configuration import Json
from gateway.cli.output import NO, OUTSIDE, WRONG, console, fail, print_json, progress, table

app = typer.Typer(help="Bring consents and refusals into a node.", no_args_is_help=True)
_KINDS = {".csv": "text/csv; charset=utf-8", ".json": "application/json"}


@app.callback()
def _consent() -> None:
    """Bring consents and refusals into a node."""


@app.command("import")
def bring(
    file: Annotated[Path, typer.Argument(help="Consents as a CSV file or a JSON list.", metavar="FILE")],
    node: Annotated[str, typer.Option("--node", metavar="URL", help="The client face, https://HOST:PORT.")],
    certificate: Annotated[Path, typer.Option("--certificate", metavar="FILE", help="The client's certificate.")],
    key: Annotated[Path, typer.Option("--key", metavar="FILE", help="Its private key.")],
    authority: Annotated[Path, typer.Option("--authority", metavar="FILE", help="Who issued the node's certificate.")],
    passphrase: Annotated[
        Path | None, typer.Option("--passphrase", metavar="FILE", help="File with the passphrase of the key.")
    ] = None,
    json: Json = False,
) -> None:
    """Record the consents of a form's CSV or JSON. What stands already is not doubled, so it can be run again."""
    kind = _KINDS.get(file.suffix.lower())
    if kind is None:
        fail(f"{file}: neither .csv nor .json", WRONG, remedy="name the file by what it is", json=json)
    try:
        data = file.read_bytes()
        context = ssl.create_default_context(cafile=str(authority))
        secret = passphrase.read_text("utf-8").strip() if passphrase is not None else None
        context.load_cert_chain(certificate, key, password=secret or "")
    except (OSError, ssl.SSLError) as error:
        fail(f"{getattr(error, 'filename', None) or key}: cannot be used ({type(error).__name__})", WRONG, json=json)
    try:
        with progress("recording the consents", quiet=json):
            status, answer = asyncio.run(_send(node, context, kind, data))
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        fail(f"{node} could not be reached ({type(error).__name__})", OUTSIDE, json=json)
    if "read" not in answer:
        fail(
            f"{answer.get('code', status)}: {answer.get('detail', 'the node refused')}",
            OUTSIDE if status >= 500 else WRONG,
            remedy=str(answer.get("remedy") or ""),
            json=json,
        )
    if json:
        print_json(answer)
    else:
        _tell(answer)
    raise SystemExit(NO if answer["rejected"] else 0)


async def _send(node: str, context: ssl.SSLContext, kind: str, data: bytes) -> tuple[int, dict[str, Any]]:
    timeout = aiohttp.ClientTimeout(total=300)
    connector = aiohttp.TCPConnector(ssl=context)
    async with (
        aiohttp.ClientSession(node, connector=connector, timeout=timeout) as session,
        session.post("/v1/consents/import", data=data, headers={"Content-Type": kind}) as answer,
    ):
        body = await answer.read()
        try:
            document = orjson.loads(body)
        except orjson.JSONDecodeError:
            document = {}
        return answer.status, document if isinstance(document, dict) else {}


def _tell(answer: dict[str, Any]) -> None:
    mark = "[bold red]✗[/]" if answer["rejected"] else "[green]✓[/]"
    console.print(
        f"{mark} {answer['read']} read, {answer['recorded']} recorded, {answer['known']} known before, "
        f"{answer['rejected']} rejected"
    )
    rows = [[str(one["row"]), escape(str(one["column"])), escape(str(one["message"]))] for one in answer["findings"]]
    if rows:
        console.print(table("Rejected", ("row", "column", "what is wrong"), rows))
