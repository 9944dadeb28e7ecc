"""How the authority's commands publish a change of the registry, or keep it as the draft, and say what came of it."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from rich.markup import escape

from gateway.terminal.output import agreed, console, print_json

if TYPE_CHECKING:
    from gateway.registry.read.entries import Content
    from gateway.registry.run.authority import Authority


class Manner(NamedTuple):
    """How a change is made: into the draft only, without asking, told as JSON."""

    draft: bool
    yes: bool
    json: bool


def stage_or_publish(ours: Authority, changed: Content, question: str, manner: Manner) -> None:
    """Say what a change is, ask, and keep it as the draft or publish it."""
    from gateway.registry.run import changes

    listed = [str(change) for change in changes.differences(ours.draft(), changed)]
    step = "keep this as the draft" if manner.draft else "sign and publish it"
    agreed([*listed, step], question, yes=manner.yes, json=manner.json)
    if not manner.draft:
        say_published(ours, ours.publish(changed, datetime.now(UTC)), json=manner.json, changes=listed)
        return
    ours.stage(changed)
    if manner.json:
        print_json({"draft": True, "changes": listed})


def say_published(ours: Any, done: Any, *, json: bool, **more: Any) -> None:
    folder = ours.publisher.folder
    left = done.expires - datetime.now(UTC)
    if json:
        print_json(
            {"folder": str(folder), "version": done.version, "signed": done.signed, "expires": done.expires} | more
        )
        return
    console.print(f"[green]✓[/] version {done.version} is published in [bold]{escape(str(folder))}[/]")
    console.print(f"  signed anew: {', '.join(done.signed)}")
    if "root" in more:
        console.print(f"  root fingerprint, to be told to members over another channel: {more['root']}")
    console.print(
        f"  good until {done.expires:%Y-%m-%d %H:%M} UTC ({left // timedelta(hours=1)} h): publish again before then"
    )


def fingerprint(root: bytes) -> str:
    from gateway.registry.run.enrolment import spoken

    return spoken(hashlib.sha256(root).hexdigest())
