"""What is said of the dependencies' known vulnerabilities: what was found, and what could not be asked."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "scripts" / "vulnerabilities"
SOUND = {"name": "sound", "version": "1.0", "vulns": []}
FAULTY = {"name": "faulty", "version": "2.0", "vulns": [{"id": "PYSEC-1", "fix_versions": ["2.1"]}]}
UNKNOWN = {"name": "unknown", "skip_reason": "Dependency not found"}


def told(folder: Path, says: str) -> tuple[int, str]:
    """What the script tells where the tool, which asks another host, says this on its standard output."""
    (folder / "pip_audit.py").write_text(f"print({says!r})\n")
    lock = folder / "some.lock"
    lock.write_text("sound==1.0\n")
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(lock)], env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout


@pytest.mark.parametrize(
    ("dependencies", "code", "says"),
    [
        ([SOUND], 0, "some.lock: 1 packages checked, 0 vulnerable"),
        ([SOUND, FAULTY], 1, "some.lock: faulty 2.0: PYSEC-1, mended in 2.1"),
        ([UNKNOWN, UNKNOWN], 0, "NOT CHECKED: some.lock: 2 of 2 packages"),
        ([UNKNOWN, FAULTY], 1, "NOT CHECKED: some.lock: 1 of 2 packages"),
    ],
    ids=["none", "one", "the service knows none of them", "the service knows one of them"],
)
def test_vulnerable_package_stops_and_package_that_was_not_asked_for_is_said(
    tmp_path: Path, dependencies: list[object], code: int, says: str
) -> None:
    outcome = told(tmp_path, json.dumps({"dependencies": dependencies}))

    assert outcome[0] == code
    assert says in outcome[1]


def test_service_that_cannot_be_reached_is_said(tmp_path: Path) -> None:
    assert told(tmp_path, "") == (
        0, "NOT CHECKED: some.lock: the service of known vulnerabilities cannot be reached from here\n",
    )  # fmt: skip
