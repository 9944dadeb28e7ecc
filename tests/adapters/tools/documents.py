"""Read the fenced blocks of a page of the documentation, in their order, and do what they say."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[3]
DOCS = ROOT / "docs" / "adapters"

_FENCE = re.compile(r"^```(\w+)?([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, what stands after it on the fence, its text, the heading that it is under."""

    language: str
    about: str
    text: str
    heading: str


def blocks(page: Path) -> Iterator[Block]:
    text = page.read_text("utf-8")
    for found in _FENCE.finditer(text):
        headings = re.findall(r"^## (.+)$", text[: found.start()], re.MULTILINE)
        yield Block(found[1] or "", found[2].strip(), found[3], headings[-1] if headings else "")


def write(block: Block, folder: Path) -> None:
    """A file that the page holds whole."""
    (folder / block.about).write_text(block.text, encoding="utf-8")


def edit(block: Block, folder: Path) -> None:
    """Lines after `-` are there and become the lines after `+` that follow them."""
    path = folder / block.about
    text = path.read_text("utf-8")
    for change in re.finditer(r"((?:^-[^\n]*\n)+)((?:^\+[^\n]*\n)+)", block.text, re.MULTILINE):
        old, new = ("".join(line[1:] for line in part.splitlines(keepends=True)) for part in change.groups())
        assert text.count(old) == 1, f"{block.about} does not hold these lines once:\n{old}"
        text = text.replace(old, new)
    path.write_text(text, encoding="utf-8")


def shims(folder: Path) -> None:
    """The commands of a reader who has installed this tree."""
    for name, module in (("yhdyspinta", "-m gateway"), ("python", "")):
        shim = folder / name
        shim.write_text(f'#!/bin/sh\nPYTHONPATH="{ROOT}:$PYTHONPATH" exec "{sys.executable}" {module} "$@"\n', "utf-8")
        shim.chmod(0o755)


def run(block: Block, folder: Path, before: str = "") -> None:
    """Each command does what stands below it; `before` are definitions of the shell."""
    expected = int(block.about.removeprefix("exit=")) if block.about.startswith("exit=") else 0
    for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
        command, _, wanted = part.partition("\n")
        done = subprocess.run(
            ["/bin/sh", "-c", f"{before}\n{command}"],
            cwd=folder,
            env={**os.environ, "PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "COLUMNS": "200", "PYTHONPATH": ""},
            capture_output=True,
            text=True,
            check=False,
        )
        said = done.stdout + done.stderr
        assert done.returncode == expected, f"$ {command}\n{said}"
        at = 0
        for line in wanted.splitlines():
            for piece in filter(None, re.split(r"\s{2,}", line.strip())):
                found = said.find(piece, at)
                assert found >= 0, f"$ {command}\nlacks, after what came before it: {piece}\n{said}"
                at = found + len(piece)
