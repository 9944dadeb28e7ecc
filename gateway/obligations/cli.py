"""`yhdyspinta task`: what people are to be told or asked and what is to be deleted, seen to at the command line.

The commands call the node's client face with the certificate of a client that has the right `task`, and sign with the
person who is logged in at the operating system. A list names nobody; whoever opens a task is on record.
Exit codes: 0 found, or done; 1 nothing waits, or the node refused; 2 the command is wrong; 3 the node could not be
reached.
"""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import quote

import typer
from rich.markup import escape

from gateway.terminal.client_face import Face, with_face
from gateway.terminal.output import NO, console, print_json, table
from gateway.web.acting import asked, posted

app = typer.Typer(help="See to what comes with data: tell people, ask them, confirm deletions.", no_args_is_help=True)
Id = Annotated[str, typer.Argument(metavar="ID", help="As `task list` shows it.")]


@app.command("list")
@with_face
def show(
    client: Face,
    everything: Annotated[bool, typer.Option("--everything", help="Also what was seen to.")] = False,
    overdue: Annotated[bool, typer.Option("--overdue", help="Only what is overdue.")] = False,
) -> None:
    """Show what is to be done, the first due first. Nobody is named."""
    answer = asked(client, f"/v1/tasks?everything={str(everything).lower()}")
    found = [task for task in answer["tasks"] if task["overdue"] or not overdue]
    if client.json:
        print_json({"tasks": found, "overdue": answer["overdue"]})
    elif found:
        columns = ("id", "what", "due", "party", "purpose", "state")
        console.print(table("tasks", columns, [_row(task) for task in found]))
    else:
        console.print("[green]✓[/] nothing is " + ("overdue" if overdue else "to be done"))
    raise SystemExit(0 if found else NO)


@app.command("open")
@with_face
def open_(
    client: Face,
    task: Id,
    language: Annotated[str, typer.Option(help="Of the text to print: fi, sv, en, or that of a draft.")] = "fi",
) -> None:
    """Show whom a task is about and what the person is to be told. That you have seen it is on record."""
    found = posted(client, f"/v1/tasks/{quote(task, safe='')}/opening")
    if client.json:
        print_json(found)
        return
    names = ", ".join(escape(item["value"]) for item in found["subject"])
    console.print(f"[bold]{found['kind']}[/], by {found['due']}: {names}")
    if found["care"]:
        console.print(f"  [yellow]a human weighs how this person is reached ({', '.join(found['care'])})[/]")
    for line in _texts(found, language):
        console.print(escape(line))
    if found["proof"] is not None:
        console.print(f"  ended as {found['outcome']} on {escape(str(found['proof']['day']))}")


@app.command()
@with_face
def end(
    client: Face,
    task: Id,
    outcome: Annotated[str, typer.Option(help="How it ended: told, deleted, permitted, and so on.")],
    day: Annotated[str, typer.Option(metavar="DAY", help="On which day it was done.")],
    channel: Annotated[str, typer.Option(help="How the person was reached: meeting, letter, and so on.")] = "",
    language: Annotated[str, typer.Option(help="In which language (BCP 47).")] = "",
    remark: Annotated[str, typer.Option(help="In a sentence, where the outcome needs one.")] = "",
    until: Annotated[str, typer.Option(metavar="DAY", help="When to ask again.")] = "",
    safe: Annotated[bool, typer.Option("--safe", help="You have weighed how this person can be reached.")] = False,
) -> None:
    """Say how a task ended, with what proves it."""
    said = {"channel": channel, "language": language, "remark": remark, "until": until}
    form: dict[str, Any] = {"outcome": outcome, "day": day, "is_safe": safe}
    form |= {name: value for name, value in said.items() if value}
    done = posted(client, f"/v1/tasks/{quote(task, safe='')}/outcome", form)
    if client.json:
        print_json(done)
    else:
        until_when = f", asked again on {done['due']}" if done["state"] == "open" else ""
        console.print(f"[green]✓[/] {done['kind']} ended as {done['outcome']}{until_when}")


def _texts(found: dict[str, Any], language: str) -> list[str]:
    """What the person is told. A draft is shown beside the Finnish text only, and as what it is."""
    notices, drafts = found["notices"], found["drafts"]
    if not notices:
        return []
    if language in notices:
        lines = [notices[language]]
    elif language in drafts:
        note = "DRAFT, not proof-read: give it only beside the text above, with an interpreter who checks it."
        lines = [notices["fi"], note, drafts[language]]
    else:
        lines = [notices["fi"], f"There is no text in {language}: tell the person through an interpreter."]
    if found["translation"] in ("draft", "missing"):
        lines.append(f"The person's language is {found['language']}: {found['translation']}.")
    return lines


def _row(task: dict[str, Any]) -> list[str]:
    state = "[bold red]overdue[/]" if task["overdue"] else task["outcome"] or task["state"]
    return [task["id"], task["kind"], task["due"], escape(task["party"]), task["purpose"], state]
