"""What the pages promise is there: links inside the project lead somewhere, make targets and commands exist."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from gateway.cli.main import NOUNS, load
from scripts import docs

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


def test_links_of_the_pages_lead_somewhere() -> None:
    pages = docs.read()

    assert {ROOT / path for path in pages} == set(PAGES)
    assert docs.broken(pages) == []


def test_every_picture_is_shown_by_a_page_and_small() -> None:
    pictures = [path for path in (ROOT / "docs").rglob("*") if f"*{path.suffix}" in docs.PICTURES]

    assert docs.unused(docs.read()) == []
    assert len(pictures) >= 3
    assert [path.name for path in pictures if path.stat().st_size > 200_000] == []


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project of two pages and a file."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "README.md").write_text("# Start\n\n[that](docs/a.md#so-it-is), [here](#start), [data](docs/x.csv)\n")
    (tmp_path / "docs" / "a.md").write_text("# A\n\n## So: `it` is!\n\n[back](../README.md), [twice](#a-1)\n\n## A\n")
    (tmp_path / "docs" / "x.csv").write_text("a;b\n")
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    return tmp_path


def test_anchors_are_those_of_the_headings_as_they_are_shown_on_the_web(project: Path) -> None:
    assert docs.broken(docs.read(project), project) == []


@pytest.mark.parametrize(
    ("link", "fault"),
    [
        ("docs/b.md", "there is no such file"),
        ("docs/a.md#so", "has no such heading"),
        ("#ende", "has no such heading"),
        ("../../etc/passwd", "there is no such file"),
        ("docs/x.csv#row", "an anchor of what is no page"),
    ],
)
def test_a_link_that_leads_nowhere_is_told_with_its_page_and_line(project: Path, link: str, fault: str) -> None:
    with (project / "README.md").open("a") as page:
        page.write(f"\nNow [this]({link}).\n")

    [found] = docs.broken(docs.read(project), project)

    assert found.startswith(f"README.md:5: {link}: ")
    assert fault in found


def test_built_pages_link_to_each_other_and_carry_the_files_they_name(project: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"

    docs.build(docs.read(project), out, project)

    start = (out / "index.html").read_text("utf-8")
    assert 'href="docs/a.html#so-it-is"' in start
    assert 'id="so-it-is"' in (out / "docs" / "a.html").read_text("utf-8")
    assert 'href="../index.html"' in (out / "docs" / "a.html").read_text("utf-8")
    assert (out / "docs" / "x.csv").read_text() == "a;b\n"
    assert "src=" not in start, "nothing is fetched from elsewhere"


def test_a_picture_is_copied_and_one_that_is_missing_or_unused_is_told(project: Path, tmp_path: Path) -> None:
    (project / "docs" / "b.png").write_bytes(b"b")
    (project / "docs" / "deep").mkdir()
    (project / "docs" / "deep" / "c.webp").write_bytes(b"c")
    with (project / "docs" / "a.md").open("a") as page:
        page.write("\n![what it shows](b.png)\n\n![gone](gone.png)\n")
    pages = docs.read(project)

    assert docs.broken(pages, project) == ["docs/a.md:11: gone.png: there is no such file"]
    assert [fault.partition(":")[0] for fault in docs.unused(pages, project)] == ["docs/deep/c.webp"]

    docs.build(pages, tmp_path / "out", project)

    assert (tmp_path / "out" / "docs" / "b.png").read_bytes() == b"b"


def test_make_targets_that_pages_name_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), flags=re.MULTILINE))
    named = {name for page in PAGES for name in re.findall(r"`make ([a-z]+)", page.read_text("utf-8"))}

    assert {"demo", "test", "lint", "bench"} <= named
    assert named <= targets


def test_commands_that_pages_name_exist() -> None:
    known = {noun: set(getattr(load(noun), "commands", {})) for noun in NOUNS}
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
