"""The tutorial, done literally: every file written, every command run, every line of output there, every edit made."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.adapters.tools.documents import DOCS, ROOT, Block, blocks


def write(block: Block, folder: Path) -> None:
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


def run(block: Block, folder: Path) -> None:
    expected = int(block.about.removeprefix("exit=") or 0)
    for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
        command, _, wanted = part.partition("\n")
        done = subprocess.run(
            ["/bin/sh", "-c", command],
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


@pytest.mark.slow
def test_the_tutorial_ends_with_a_passing_adapter(tmp_path: Path) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for name, module in (("yhdyspinta", "-m gateway"), ("python", "")):
        shim = tools / name
        shim.write_text(f'#!/bin/sh\nPYTHONPATH="{ROOT}:$PYTHONPATH" exec "{sys.executable}" {module} "$@"\n', "utf-8")
        shim.chmod(0o755)
    kinds = {"csv": write, "diff": edit, "console": run}
    done = []

    for block in blocks(DOCS / "tutorial.md"):
        kinds[block.language](block, tmp_path)
        done.append(block.language)

    assert done.count("console") == 7
    assert done.count("diff") == 3
