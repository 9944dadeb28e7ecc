"""The demo as a newcomer runs it: it ends by itself, and its exit code says that every promise held."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.demo.leash import leashed

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        leashed([sys.executable, "-m", "gateway", "demo", *arguments]), capture_output=True, text=True, check=False
    )


def test_demo_ends_by_itself_with_every_promise_held_and_its_state_written(tmp_path: Path) -> None:
    state = tmp_path / "state.json"

    done = run("--once", "--json", "--state", str(state))

    assert done.returncode == 0, done.stderr[-3000:]
    document = json.loads(done.stdout)
    assert [one for one in document["checks"] if not one["held"]] == []
    assert len(document["checks"]) > 15
    assert {len(one) for one in (document["shares"], document["queries"])} == {39, 6}
    assert document["dirty"]["read"] == document["dirty"]["handed_over"] + document["dirty"]["rejected"]
    parties = json.loads(state.read_bytes())["parties"]
    assert set(parties) == {"centre", "kotka", "kymenlaakso", "placement"}
    assert all(
        party["client_api"].startswith("https://") and party["log"]["key"] and party["client"]["certificate"]
        for party in parties.values()
    )


def test_demo_refuses_a_folder_that_is_there_already(tmp_path: Path) -> None:
    done = run("--once", "--folder", str(tmp_path))

    assert done.returncode == 2
    assert "exists already" in done.stderr
    assert list(tmp_path.iterdir()) == []
