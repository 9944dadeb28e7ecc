"""`yhdyspinta request`: what the organisation asks of others once for all, made and ended through its node.

The commands call the node's client face with the certificate of a client that has the right `standing-request`, and
sign with the person who is logged in at the operating system. What the node has signed the authority publishes.
Exit codes: 0 found, or done; 1 there is none, or the node refused; 2 the command or its file is wrong; 3 the node
could not be reached.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import orjson
import typer
from rich.markup import escape

from gateway.terminal.client_face import Face, with_face
from gateway.terminal.output import NO, WRONG, console, fail, print_json, table
from gateway.web.acting import asked, posted

app = typer.Typer(help="Make and end standing requests through a node.", no_args_is_help=True)
Id = Annotated[str, typer.Argument(metavar="ID", help="As `request list` shows it.")]


@app.command("list")
@with_face
def show(client: Face) -> None:
    """Show what the organisation asks once for all and what is asked of it, and how far each has come."""
    found = asked(client, "/v1/standing-requests")
    if client.json:
        print_json(found)
    else:
        for title, name in (("asked by us", "ours"), ("asked of us", "of_us")):
            if found[name]:
                columns = ("id", "by", "provision", "purpose", "from", "to", "state")
                console.print(table(title, columns, [_row(item) for item in found[name]]))
        if not found["ours"] and not found["of_us"]:
            console.print("there is no standing request")
    raise SystemExit(0 if found["ours"] or found["of_us"] else NO)


@app.command()
@with_face
def rights(client: Face) -> None:
    """Show the rights to get by which the organisation can make a standing request."""
    found = asked(client, "/v1/standing-requests/rights")
    if client.json:
        print_json(found)
    else:
        rows = [
            [right["provision"], right["role"], " ".join(right["providers"]), " ".join(right["purposes"])]
            for right in found["rights"]
        ]
        console.print(table("rights", ("provision", "role", "providers", "purposes"), rows))
    raise SystemExit(0 if found["rights"] else NO)


@app.command()
@with_face
def make(
    client: Face, file: Annotated[Path, typer.Argument(metavar="FILE", help="The request as JSON: docs/registry.md.")]
) -> None:
    """Make and sign a standing request. The same id replaces the former one."""
    try:
        document = orjson.loads(file.read_bytes())
    except (OSError, orjson.JSONDecodeError) as error:
        fail(f"{file}: cannot be used ({type(error).__name__})", WRONG, json=client.json)
    if not isinstance(document, dict):
        fail(f"{file}: is no JSON object", WRONG, json=client.json)
    _tell(client, posted(client, "/v1/standing-requests", document))


@app.command()
@with_face
def end(
    client: Face,
    request: Id,
    last: Annotated[str, typer.Option(metavar="DAY", help="The last day on which it stands.")],
) -> None:
    """Sign that a standing request ends with a day."""
    _tell(client, posted(client, f"/v1/standing-requests/{quote(request, safe='')}/end", {"last": last}))


@app.command()
@with_face
def signed(client: Face, request: Id) -> None:
    """Print a standing request as it was signed last: what the authority publishes (`registry take`)."""
    print_json(asked(client, f"/v1/standing-requests/{quote(request, safe='')}"))


def _tell(client: Face, listed: dict[str, Any]) -> None:
    if client.json:
        print_json(listed)
        return
    request = listed["request"]
    last = f" to {request['last']}" if request["last"] else ""
    console.print(
        f"[green]✓[/] {escape(request['id'])} is signed: {request['provision']} from {request['first']}{last}"
    )
    console.print(f"  Send it to the authority: request signed {escape(request['id'])}")


def _row(item: dict[str, Any]) -> list[str]:
    request = item["request"]
    return [
        escape(request["id"]), escape(request["member"]), request["provision"], request["purpose"], request["first"],
        request["last"] or "", item["state"],
    ]  # fmt: skip
