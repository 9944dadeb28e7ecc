"""What the pages promise is there: links inside the project lead somewhere, make targets and commands exist."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from typer.main import get_command

from gateway.cli.main import NOUNS, app

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    ROOT / name
    for name in subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_of_a_page_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)
    links = [link.split("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text)]

    broken = [
        link
        for link in links
        if link and "://" not in link and "mailto:" not in link and not (page.parent / link).exists()
    ]

    assert broken == []


def test_make_targets_that_pages_name_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), flags=re.MULTILINE))
    named = {name for page in PAGES for name in re.findall(r"`make ([a-z]+)", page.read_text("utf-8"))}

    assert {"demo", "test", "lint", "bench"} <= named
    assert named <= targets


def test_commands_that_pages_name_exist() -> None:
    group = get_command(app)
    known: dict[str, set[str]] = {}
    for noun in NOUNS:
        command = group.get_command(None, noun)  # type: ignore[attr-defined, arg-type]
        known[noun] = set(getattr(command, "commands", {}))
    code = [
        piece
        for page in PAGES
        for piece in re.findall(r"```.*?```|`[^`\n]+`", page.read_text("utf-8"), flags=re.DOTALL)
    ]
    named = {
        found
        for piece in code
        for found in re.findall(r"(?:^|[`$/ ])yhdyspinta ([a-z]+)(?: ([a-z][a-z-]*))?", piece, re.M)
    }

    assert {noun for noun, _ in named} <= known.keys()
    assert [(noun, verb) for noun, verb in named if verb and known[noun] and verb not in known[noun]] == []
