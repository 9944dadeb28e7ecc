"""`yhdyspinta identity`: the registrar's acts, who is one person and who is not.

The commands call the node's client face with the certificate of a client that has the right `identity`, and sign with
the person who is logged in at the operating system. Joining, undoing, placing and `same` take two people unless the
settings say otherwise: one proposes, another looks (`open`) and approves. A list names nobody. Identifiers are read
from standard input, where the shell does not remember them.
Exit codes: 0 found, or done; 1 nothing found, or the node refused; 2 the command or its input is wrong; 3 the node
could not be reached.
"""

from __future__ import annotations

import getpass
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import quote

import typer
from rich.markup import escape

from gateway.terminal.client_face import Face, with_face
from gateway.terminal.identifiers import SYSTEMS
from gateway.terminal.output import NO, WRONG, console, fail, print_json, table
from gateway.web.acting import asked, posted
from schemas.identifiers import SubjectIdentifierError, canonical

app = typer.Typer(help="Decide who is one person and who is not.", no_args_is_help=True)
Id = Annotated[str, typer.Argument(metavar="ID", help="Of what waits, as `identity held` shows it.")]


@app.command()
@with_face
def held(client: Face) -> None:
    """Show what waits for a decision: its age, who answers for it, and whether it is overdue."""
    found = asked(client, "/v1/identity/held")["held"]
    if client.json:
        print_json({"held": found})
    elif found:
        columns = ("id", "kind", "age", "owner", "register", "why")
        console.print(table("waiting for a decision", columns, [_waiting(record) for record in found]))
    else:
        console.print("[green]✓[/] nothing waits for a decision")
    raise SystemExit(0 if found else NO)


@app.command()
@with_face
def unconfirmed(client: Face) -> None:
    """Show the joins that one record made and nothing has confirmed yet, the oldest first."""
    found = asked(client, "/v1/identity/unconfirmed")["unconfirmed"]
    if client.json:
        print_json({"unconfirmed": found})
    elif found:
        rows = [[join["joined"][:16], escape(join["register"] or ""), " ".join(join["subjects"])] for join in found]
        console.print(table("joins that nobody has confirmed", ("joined (UTC)", "register", "subjects"), rows))
    else:
        console.print("[green]✓[/] every join is confirmed")
    raise SystemExit(0 if found else NO)


@app.command("open")
@with_face
def open_(client: Face, item: Id) -> None:
    """Show whom a held record names, or what a proposal is about. That you have seen it is on record."""
    found = posted(client, f"/v1/identity/held/{_part(item)}/opening")
    if client.json:
        print_json(found)
        return
    console.print(f"[bold]{found['kind']}[/], {found['reason']}")
    if found["about"]:
        console.print(f"  about what waits as {found['about']}")
    if found["record_key"]:
        console.print(f"  record {escape(found['record_key'])} of the register {escape(found['register'])}")
    for identifier in found["identifiers"]:
        console.print(f"  {escape(identifier['system'])} {escape(identifier['value'])}")
    _warn_of_two(found)


@app.command()
@with_face
def take(client: Face, item: Id) -> None:
    """Answer for a held record from now on."""
    _tell(client, posted(client, f"/v1/identity/held/{_part(item)}/owner"), "the record is yours")


@app.command()
@with_face
def same(client: Face, item: Id) -> None:
    """A held record is about one person: its identifiers are joined, and a handover that waited goes on."""
    _done(client, posted(client, f"/v1/identity/held/{_part(item)}/same"), "one person")


@app.command()
@with_face
def apart(client: Face, item: Id) -> None:
    """A held record mixes two people: it is dropped, and its identifiers are known apart from now on."""
    _tell(client, posted(client, f"/v1/identity/held/{_part(item)}/apart"), "two people; the record was dropped")


@app.command()
@with_face
def join(client: Face) -> None:
    """Two identifiers are one person; also confirms a join that stands in doubt.

    The two identifiers are read from standard input: two lines, KIND VALUE.
    """
    _act(client, "join")


@app.command()
@with_face
def undo(client: Face) -> None:
    """Two identifiers are two people after all; tells what was released while they were taken for one, and to whom.

    The two identifiers are read from standard input: two lines, KIND VALUE.
    """
    _act(client, "undo")


@app.command()
@with_face
def place(client: Face) -> None:
    """After an undoing, each refusal stands where it belongs: none holds on the other side any more.

    The two identifiers are read from standard input: two lines, KIND VALUE.
    """
    _act(client, "place")


@app.command()
@with_face
def approve(client: Face, item: Id) -> None:
    """Carry out what somebody else has proposed."""
    _tell(client, posted(client, f"/v1/identity/proposals/{_part(item)}/approval"), "done")


@app.command()
@with_face
def drop(client: Face, item: Id) -> None:
    """Take back what was proposed, by you or by somebody else: it is not carried out."""
    _tell(client, posted(client, f"/v1/identity/proposals/{_part(item)}/drop"), "the proposal is dropped")


def _act(client: Face, act: str) -> None:
    identifiers = [{"system": system, "value": value} for system, value in _two_given(json=client.json)]
    _done(client, posted(client, f"/v1/identity/{act}", {"identifiers": identifiers}), "done")


def _done(client: Face, answer: dict[str, Any], what: str) -> None:
    if "proposal" in answer and not client.json:
        console.print(f"[green]✓[/] proposed as {escape(answer['proposal'])}")
        console.print(f"  Somebody else carries it out: identity approve {escape(answer['proposal'])}")
        _warn_of_two(answer)
        return
    _tell(client, answer, what)


def _tell(client: Face, answer: dict[str, Any], what: str) -> None:
    if client.json:
        print_json(answer)
        return
    console.print(f"[green]✓[/] {what}")
    if answer.get("handover"):
        console.print(f"  The handover that waited goes on as {escape(answer['handover'])}")
    if answer.get("released"):
        rows = [
            [
                str(item["index"] + 1),  # people read records from one, files from zero
                item["recorded"][:19],
                escape(item["recipient"] or ""),
                escape(" ".join(item["categories"])),
            ]
            for item in answer["released"]
        ]
        title = "released while the two were taken for one: tell the data protection officer"
        console.print(table(title, ("record", "recorded (UTC)", "recipient", "categories"), rows))


def _warn_of_two(answer: dict[str, Any]) -> None:
    if answer["known_apart"]:
        console.print(f"  [yellow]The identifiers are known to be two people ({answer['known_apart']}).[/]")


def _part(item: str) -> str:
    return quote(item, safe="")


def _waiting(record: dict[str, Any]) -> Sequence[str]:
    hours = int((datetime.now(UTC) - datetime.fromisoformat(record["since"])).total_seconds() // 3600)
    age = f"{hours // 24} d {hours % 24} h" + (" [bold red]overdue[/]" if record["overdue"] else "")
    client, _, person = (record["owner"] or "nobody ").rpartition(" ")
    owner = f"{escape(client)} {person[:8]}".rstrip()
    return record["id"], record["kind"], age, owner, escape(record["register"]), record["reason"]


def _two_given(*, json: bool) -> list[tuple[str, str]]:
    """The two identifiers that stand on standard input, each on a line; anything else ends the command."""
    if sys.stdin.isatty():
        lines = [getpass.getpass(f"Identifier {number} of 2, KIND VALUE (not shown): ") for number in (1, 2)]
    else:
        lines = [line for line in sys.stdin.read(1024).splitlines() if line.strip()]
    if len(lines) != 2:
        fail(
            "two identifiers are needed",
            WRONG,
            remedy="write them to standard input, each on a line: `hetu`, `migri`, `local` or the URI of its system, "
            "a blank, and the identifier",
            json=json,
        )
    return [_identifier(line, json=json) for line in lines]


def _identifier(line: str, *, json: bool) -> tuple[str, str]:
    kind, _, value = line.strip().partition(" ")
    try:
        return canonical(SYSTEMS.get(kind, kind), value)
    except SubjectIdentifierError as error:
        fail(error.detail, WRONG, remedy=error.remedy, json=json)
