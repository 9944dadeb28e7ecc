"""`yhdyspinta conformance`: judge a system from outside, by what the published pages require.

Exit codes of `run`: 0 all tests that could be run have passed; 1 at least one has failed; 2 the command or the profile
is wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from gateway.conformance import demo as demo_profile
from gateway.conformance.case import Case, Group, Role
from gateway.conformance.catalogue import cases, chosen
from gateway.conformance.profile import Profile, ProfileError, load
from gateway.conformance.running import Result, Verdict, check
from gateway.conformance.running import run as run_cases
from gateway.terminal.output import NO, WRONG, console, fail, print_json, table

app = typer.Typer(help="Judge a system from outside, by what the published pages require.", no_args_is_help=True)
RoleOption = Annotated[
    Role | None, typer.Option("--role", help="Only tests in which the kit plays this: a client, or another node.")
]
Groups = Annotated[
    list[Group] | None, typer.Option("--group", help="Only tests of this group; may be given several times.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
_MARKS = {Verdict.PASSED: "[green]✓[/]", Verdict.FAILED: "[bold red]✗[/]", Verdict.NOT_RUN: "[dim]–[/]"}


@app.command("list")
def list_(role: RoleOption = None, group: Groups = None, json: Json = False) -> None:
    """List the tests: id, group, title and the section that requires it."""
    found = _chosen(role, group, None, json=json)
    if json:
        print_json({"tests": [_described(case) for case in found]})
        return
    rows = [[case.id, case.group.value, case.title, case.requirement.section] for case in found]
    console.print(table(f"{len(found)} tests", ["id", "group", "what must be so", "where it is required"], rows))


@app.command()
def explain(
    identifiers: Annotated[
        list[str] | None, typer.Argument(metavar="[ID]...", help="Ids of tests, such as CLI-7; none means all.")
    ] = None,
    role: RoleOption = None,
    json: Json = False,
) -> None:
    """Say what a test does, what it requires, and which section of the pages requires it."""
    found = _chosen(role, None, identifiers, json=json)
    if json:
        print_json({"tests": [_described(case) for case in found]})
        return
    for case in found:
        _explain(case)


def _explain(case: Case) -> None:
    rows = [
        ("what must be so", case.title),
        ("what the test does", case.does),
        ("what is required", case.requirement.text),
        ("by", case.requirement.section),
        ("group", case.group.value),
        ("the kit plays", "an information system" if case.role is Role.CLIENT else "another member's node"),
        ("needs of the profile", ", ".join(case.needs)),
    ]
    console.print(f"[bold]{case.id}[/]")
    for name, text in rows:
        console.print(f"  [dim]{name}:[/] {escape(text)}", soft_wrap=True)


@app.command()
def run(
    profile: Annotated[
        Path, typer.Option("--profile", metavar="FILE", help="The profile that says where the target is.")
    ],
    role: RoleOption = None,
    group: Groups = None,
    only: Annotated[
        list[str] | None, typer.Option("--only", metavar="ID", help="Only this test; may be given several times.")
    ] = None,
    json: Json = False,
) -> None:
    """Run the tests against the target of a profile."""
    found = _chosen(role, group, only, json=json)
    target = _loaded(profile, json=json)
    results = run_cases(target, found, (lambda _result: None) if json else _tell)
    counts = {verdict.value: sum(result.verdict is verdict for result in results) for verdict in Verdict}
    if json:
        print_json({"profile": str(profile), "counts": counts, "results": [_result(result) for result in results]})
    else:
        console.print(
            f"[bold]{counts[Verdict.PASSED]} passed, {counts[Verdict.FAILED]} failed[/]"
            + (f", {counts[Verdict.NOT_RUN]} not run" if counts[Verdict.NOT_RUN] else "")
        )
    if counts[Verdict.FAILED]:
        raise SystemExit(NO)


@app.command()
def profile(
    demo: Annotated[Path, typer.Option("--demo", metavar="STATE", help="The state file of a running demo.")],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Write the profile there instead of printing it.")
    ] = None,
) -> None:
    """Write the profile of a running demo network (`yhdyspinta demo --state STATE`)."""
    try:
        text = demo_profile.profile_of(demo)
    except ProfileError as error:
        fail(escape(str(error)), WRONG, remedy="give the file that yhdyspinta demo --state wrote, while the demo runs")
    if out is None:
        typer.echo(text, nl=False)
        return
    try:
        out.write_text(text, "utf-8")
    except OSError as error:
        fail(escape(f"{out} cannot be written: {error.strerror}"), WRONG, remedy="name a file in a folder that exists")


def _chosen(
    role: Role | None, groups: Sequence[Group] | None, only: Sequence[str] | None, *, json: bool
) -> tuple[Case, ...]:
    every = cases()
    wanted = frozenset(identifier.upper() for identifier in only or ())
    if unknown := sorted(wanted - {case.id for case in every}):
        remedy = "yhdyspinta conformance list names them all"
        fail(f"there is no test {escape(', '.join(unknown))}", WRONG, remedy=remedy, json=json)
    found = chosen(every, role=role, groups=frozenset(group.value for group in groups or ()), only=wanted)
    if not found:
        fail("no test is of all that was asked for", WRONG, remedy="ask for less at once", json=json)
    return found


def _loaded(path: Path, *, json: bool) -> Profile:
    try:
        found = load(path)
        check(found)
        return found
    except ProfileError as error:
        remedy = "docs/conformance.md describes the profile"
        fail(str(error) if json else escape(str(error)), WRONG, remedy=remedy, json=json)


def _tell(result: Result) -> None:
    """One line of a test; of a failed one also what was expected, what came, and what was exchanged."""
    case = result.case
    console.print(f"{_MARKS[result.verdict]} {case.id:<8} {escape(case.title)}", soft_wrap=True)
    if result.verdict is Verdict.NOT_RUN:
        console.print(f"    [dim]not run: the profile has no {', '.join(result.missing)}[/]", soft_wrap=True)
    if result.verdict is not Verdict.FAILED:
        return
    lines = [("expected", result.expected), ("got", result.got), ("required", case.requirement.text)]
    for name, text in [*lines, ("by", case.requirement.section)]:
        console.print(f"    [dim]{name}:[/] {escape(text)}", soft_wrap=True)
    for exchange in result.exchanges:
        for mark, text in (("→", exchange.request), ("←", exchange.answer)):
            console.print(f"    [dim]{mark} " + escape(text).replace("\n", "\n      ") + "[/]", soft_wrap=True)


def _described(case: Case) -> dict[str, Any]:
    return {
        "id": case.id,
        "role": case.role.value,
        "group": case.group.value,
        "title": case.title,
        "does": case.does,
        "requires": case.requirement.text,
        "section": case.requirement.section,
        "needs": list(case.needs),
    }


def _result(result: Result) -> dict[str, Any]:
    document = _described(result.case) | {"verdict": result.verdict.value}
    if result.verdict is Verdict.NOT_RUN:
        document["missing"] = list(result.missing)
    if result.verdict is Verdict.FAILED:
        exchanges = [{"request": exchange.request, "answer": exchange.answer} for exchange in result.exchanges]
        document |= {"expected": result.expected, "got": result.got, "exchanges": exchanges}
    return document
