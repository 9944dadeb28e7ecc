"""`yhdyspinta demo`: a complete small network on this machine, and the story of what it does.

Exit code 0 means that every promise of the demo was seen to hold.
"""

from __future__ import annotations

import asyncio
import shutil
import signal
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from rich.markup import escape
from rich.rule import Rule

from gateway.terminal.output import NO, OUTSIDE, WRONG, console, fail, print_json, progress, table

app = typer.Typer()
Once = Annotated[bool, typer.Option("--once", help="End when the story is told, instead of staying up until Ctrl-C.")]
State = Annotated[
    Path | None,
    typer.Option("--state", metavar="FILE", help="Write addresses, ids, credentials and log keys there, as JSON."),
]
Folder = Annotated[
    Path | None, typer.Option("--folder", metavar="DIR", help="Keep everything in this new folder afterwards.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document when the story is told.")]


@app.command()
def demo(once: Once = False, state: State = None, folder: Folder = None, json: Json = False) -> None:
    """Run four organisations on this machine, hand twenty invented persons over, and check all that was promised."""
    kept = folder is not None
    try:
        if folder is None:
            place = Path(tempfile.mkdtemp(prefix="yhdyspinta-demo-"))
        else:
            folder.mkdir(parents=True)
            place = folder.resolve()
    except FileExistsError:
        fail(f"{folder} exists already", WRONG, remedy="name a folder that is not there yet", json=json)
    try:
        held = asyncio.run(_run(place, once=once, state=state, json=json))
    except KeyboardInterrupt:
        held = True
    finally:
        if not kept:
            shutil.rmtree(place, ignore_errors=True)
    if not held:
        raise SystemExit(NO)


async def _run(place: Path, *, once: bool, state: Path | None, json: bool) -> bool:
    # Imported here, so that `yhdyspinta --help` need not wait for a whole network.
    from adapters.samples import write_samples
    from gateway.demo.network import build
    from gateway.demo.processes import ProcessError, running
    from gateway.demo.story import Story, StoryError, session
    from gateway.demo.tokens import let_in_by_token

    begun = time.monotonic()
    _say(json, "[bold]1[/] Making keys, certificates, a signed registry and an export of 200 invented persons …")
    samples = write_samples(place / "register")
    network = build(place / "network", datetime.now(UTC), place / "register" / "reception-centre.csv")
    let_in_by_token(network, "centre")
    try:
        with running(network) as processes:
            await processes.ready()
            if state is not None:
                await asyncio.to_thread(state.write_bytes, orjson.dumps(network.state(), option=orjson.OPT_INDENT_2))
            _say(json, f"  four nodes and four information systems are up ({time.monotonic() - begun:.1f} s)")
            async with session() as http:
                story = Story(network, samples["cases"], http)
                try:
                    result = await processes.while_alive(_tell(story, json=json))
                except StoryError as error:
                    processes.check()
                    fail(str(error), OUTSIDE, remedy=f"the processes' logs are in {network.folder}", json=json)
            held = all(check.held for check in story.checks)
            if json:
                print_json({**result, "checks": [{"promise": c.promise, "held": c.held} for c in story.checks]})
            else:
                _print_checks(story, time.monotonic() - begun)
            if not once:
                await _stay(network, state, json=json)
            return held
    except ProcessError as error:
        fail(str(error), OUTSIDE, json=json)


def _say(json: bool, text: str) -> None:
    if not json:
        console.print(text)


async def _tell(story: Any, *, json: bool) -> dict[str, Any]:
    _say(
        json,
        "[bold]2[/] Three persons say what they want: one refuses one recipient and permits another, two consent …",
    )
    wishes = await story.wishes()
    _say(json, "[bold]3[/] The reception centre hands twenty persons over …")
    with progress("handing over", quiet=json) as step:
        await story.hand_over(step)
    _say(json, "[bold]4[/] A consent is withdrawn before the delivery that it was to carry …")
    await story.withdraw(wishes)
    with progress("arriving and being accepted", quiet=json) as step:
        shares = await story.arrivals(step)
    if not json:
        _print_shares(shares)
    _say(json, "[bold]5[/] A consent is withdrawn after data was received under it: the recipient is told, signed …")
    await story.withdraw_after(wishes)
    _say(json, "[bold]6[/] Municipality, county and placement authority ask the reception centre …")
    asked = await story.queries()
    if not json:
        _print_asked(asked)
    _say(json, "[bold]7[/] Rows of the export with planted faults …")
    dirty = await story.dirty()
    if not json:
        _print_findings(dirty)
    _say(json, "[bold]8[/] Every log is checked from its first entry to its last, and one entry is proven …")
    reports = story.logs()
    proven = story.proof()
    story.evidence()
    if not json:
        for name, report in reports.items():
            console.print(f"  [green]✓[/] {name}: {report.size} entries, root {report.root.hex()[:16]}…")
        console.print(
            f"  [green]✓[/] {proven.party}: receipt {proven.entry} is number {proven.position} of {proven.size},"
            " proven offline with the log's public key"
        )
    return {
        "shares": [
            _fields(share, "person", "flow", "recipient", "state", "got", "bases", "withheld") for share in shares
        ],
        "queries": [_fields(question, "who", "person", "status", "got", "withheld") for question in asked],
        "dirty": {name: dirty[name] for name in ("read", "handed_over", "rejected")},
        "logs": {name: {"size": report.size, "sound": report.sound} for name, report in reports.items()},
        "proof": {"log": proven.party, "entry": proven.entry, "sound": proven.report.sound},
    }


def _fields(thing: Any, *names: str) -> dict[str, Any]:
    """Some of what a share or a question says, as JSON."""
    found = {name: getattr(thing, name) for name in names}
    return found | {"withheld": dict(thing.withheld)}


def _print_shares(shares: Any) -> None:
    from gateway.demo.story import grouped

    rows = []
    for share, persons in grouped(shares):
        who = persons[0] if len(persons) == 1 else f"{persons[0]} and {len(persons) - 1} more"
        got = escape(", ".join(_whole(share.got))) or "[dim]nothing[/]"
        basis = "".join(f"\n[dim]basis {escape(basis)}[/]" for basis in share.bases)
        rows.append(
            [f"{who}\n{share.flow} → {share.recipient}\n{_state(share.state)}", f"{got}{basis}", _held_back(share)]
        )
    console.print(table("Who got what, on which basis", ["person", "received", "withheld"], rows, lines=True, widest=1))


def _whole(categories: Sequence[str]) -> list[str]:
    """Categories for reading: where every part of one is there, the one."""
    from consent.rulebook import load, reference_rulebook

    known = load(reference_rulebook(), source="reference rulebook").categories
    shown = set(categories)
    for category in {category.partition("/")[0] for category in categories}:
        parts = set(known[category].parts)
        if len(parts) > 1 and parts <= shown:
            shown.add(category)
    return sorted(name for name in shown if name.partition("/")[0] == name or name.partition("/")[0] not in shown)


def _held_back(told: Any) -> str:
    by_code: dict[str, list[str]] = {}
    for category, code in told.withheld:
        by_code.setdefault(code, []).append(category)
    if not told.got and len(by_code) == 1:
        return f"everything\n[dim]{next(iter(by_code))}[/]"
    return "\n".join(f"{', '.join(categories)}\n[dim]{code}[/]" for code, categories in by_code.items())


def _state(state: str) -> str:
    return {
        "accepted": "[green]accepted[/]",
        "not-permitted": "[yellow]stopped: no basis[/]",
        "recipient-unknown": "[yellow]waits: no member[/]",
    }.get(state, state)


def _print_asked(asked: Any) -> None:
    rows = []
    for question in asked:
        outcome = "[green]answered[/]" if not question.withheld else "[yellow]answered in part[/]"
        if question.status != 200:
            outcome = f"[red]refused ({question.status})[/]"
        got = ", ".join(question.got) or "[dim]nothing[/]"
        rows.append(
            [
                f"{question.who} about {question.person}",
                ", ".join(question.asked),
                f"{outcome}\n{got}",
                _held_back(question),
            ]
        )
    console.print(table("Questions", ["who asks", "asked for", "outcome", "withheld"], rows, lines=True))


def _print_findings(dirty: dict[str, Any]) -> None:
    found = {
        (finding["export_row"], finding["column"] or "", finding["message"]["en"], finding["hint"]["en"])
        for finding in dirty["findings"]
        if finding["severity"] == "error"
    }
    title = f"{dirty['read']} rows read, {dirty['handed_over']} handed over, {dirty['rejected']} rejected"
    rows = [[f"row {row}", column, what, how] for row, column, what, how in sorted(found)]
    console.print(table(title, ["where", "column", "what is wrong", "how to mend it"], rows))


def _print_checks(story: Any, seconds: float) -> None:
    console.print(Rule("What was promised", align="left"))
    for check in story.checks:
        mark = "[green]✓[/]" if check.held else "[bold red]✗[/]"
        console.print(f"  {mark} {check.promise}{f' [dim]({check.seen})[/]' if check.seen else ''}")
    failed = sum(not check.held for check in story.checks)
    if failed:
        console.print(f"[bold red]{failed} of {len(story.checks)} promises did not hold.[/]")
    else:
        console.print(f"[bold green]All {len(story.checks)} promises held.[/] {seconds:.0f} seconds from the start.")


async def _stay(network: Any, state: Path | None, *, json: bool) -> None:
    from gateway.cli.console import Guest, make_link
    from gateway.settings import load

    if not json:
        rows = [
            [party.title.en, party.address, f"http://127.0.0.1:{party.local}/health", str(party.folder)]
            for party in network.parties.values()
        ]
        console.print(table("The network stays up", ["organisation", "client API", "health", "files"], rows))
        first = next(iter(network.parties.values()))
        console.print("Ask a node something, with its client's certificate:", soft_wrap=True)
        console.print(
            f"  curl --cacert {first.folder}/clients-authority.pem --cert {first.folder}/client.pem "
            f"--key {first.folder}/client.key --pass {network.passphrase} {first.address}/v1/handovers?limit=1",
            soft_wrap=True,
            markup=False,
        )
        console.print("Sign in to its data protection officer's console (the link works once, for an hour):")
        link = await asyncio.to_thread(make_link, load(first.config), Guest(minutes=60), datetime.now(UTC))
        console.print(f"  {link}", soft_wrap=True, markup=False)
        if state is not None:
            console.print(
                f"Everything a script needs to know stands in {state}. Judge the network from outside:", soft_wrap=True
            )
            console.print(
                f"  yhdyspinta conformance profile --demo {state} --out profile.toml\n"
                "  yhdyspinta conformance run --profile profile.toml",
                soft_wrap=True,
                markup=False,
            )
        console.print("Ctrl-C ends it.")
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    await stopping.wait()
