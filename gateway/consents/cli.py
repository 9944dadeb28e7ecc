"""`yhdyspinta consent`: bring the consents of a form into a node, as one of its information systems would.

The command calls the node's client face with a client's certificate, so that what it may do is what that client may
do, and it is on record as that client. Exit codes: 0 every row stands; 1 some were rejected, and each is told by row
and column; 2 the command or the file is wrong; 3 the node could not be reached.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from gateway.terminal.client_face import Authority, Certificate, Credentials, Key, Node, Passphrase, face
from gateway.terminal.configuration import Json
from gateway.terminal.output import NO, WRONG, console, fail, print_json, progress, table

app = typer.Typer(help="Bring consents and refusals into a node.", no_args_is_help=True)
_KINDS = {".csv": "text/csv; charset=utf-8", ".json": "application/json"}


@app.callback()
def _consent() -> None:
    """Bring consents and refusals into a node."""


@app.command("import")
def bring(
    file: Annotated[Path, typer.Argument(help="Consents as a CSV file or a JSON list.", metavar="FILE")],
    node: Node,
    certificate: Certificate,
    key: Key,
    authority: Authority,
    passphrase: Passphrase = None,
    json: Json = False,
) -> None:
    """Record the consents of a form's CSV or JSON. What stands already is not doubled, so it can be run again."""
    kind = _KINDS.get(file.suffix.lower())
    if kind is None:
        fail(f"{file}: neither .csv nor .json", WRONG, remedy="name the file by what it is", json=json)
    try:
        data = file.read_bytes()
    except OSError as error:
        fail(f"{file}: cannot be used ({type(error).__name__})", WRONG, json=json)
    client = face(node, Credentials(certificate, key, authority, passphrase), json=json)
    with progress("recording the consents", quiet=json):
        status, answer = client.call("POST", "/v1/consents/import", data, {"Content-Type": kind})
    if "read" not in answer:
        client.refused(status, answer)
    if json:
        print_json(answer)
    else:
        _tell(answer)
    raise SystemExit(NO if answer["rejected"] else 0)


def _tell(answer: dict[str, Any]) -> None:
    mark = "[bold red]✗[/]" if answer["rejected"] else "[green]✓[/]"
    console.print(
        f"{mark} {answer['read']} read, {answer['recorded']} recorded, {answer['known']} known before, "
        f"{answer['rejected']} rejected"
    )
    rows = [
        [str(found["row"]), escape(str(found["column"])), escape(str(found["message"]))] for found in answer["findings"]
    ]
    if rows:
        console.print(table("Rejected", ("row", "column", "what is wrong"), rows))
