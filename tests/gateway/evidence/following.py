"""What is done with a package of evidence: exported, checked by the command, its README followed to the letter."""

from __future__ import annotations

import io
import re
import subprocess
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
from typer.testing import CliRunner

from gateway.cli.main import app
from gateway.evidence import package
from gateway.evidence.verifying import Report, verify

if TYPE_CHECKING:
    from tests.gateway.evidence.conftest import Exchanged

RUNNER = CliRunner()


def command(*arguments: str) -> tuple[int, Any]:
    result = RUNNER.invoke(app, ["evidence", *arguments, "--json"])
    return result.exit_code, orjson.loads(result.stdout) if result.stdout else None


def exported(exchanged: Exchanged, party: str, message_id: str, target: Path, *options: str) -> Path:
    config = str(exchanged.nodes.party(party).config)
    code, said = command("export", message_id, "--output", str(target), "--config", config, *options)
    assert code == 0, said
    return target


def zipped(files: Mapping[str, bytes]) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return target.getvalue()


def checked(files: Mapping[str, bytes]) -> Report:
    return verify(*package.read(zipped(files)))


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def followed(folder: Path) -> list[tuple[bool, str]]:
    """Run each line of the README as the shell of a stranger does: whether it ended well, and what it said."""
    readme = (folder / "README.txt").read_text()
    return [run(line, folder) for line in re.findall(r"^    \$ (.*)$", readme, re.MULTILINE)]


def run(line: str, folder: Path) -> tuple[bool, str]:
    done = subprocess.run(["sh", "-c", line], check=False, cwd=folder, capture_output=True, text=True, errors="replace")
    return done.returncode == 0, done.stdout + done.stderr
