"""A real node with a real source, killed as by a power cut again and again: nothing is lost and nothing doubled."""

from __future__ import annotations

import io
import json
import sqlite3
from datetime import UTC, datetime
from pathlib import Path

import pytest

from adapters.sdk import Limits, load
from gateway.demo.network import build
from gateway.demo.processes import Processes
from tests.gateway.sources.conftest import export as export_of
from tests.waiting import LIMIT_SECONDS, wait

PEOPLE = 160


def count(database: Path, query: str) -> int:
    try:
        with sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=LIMIT_SECONDS) as connection:
            return int(connection.execute(query).fetchone()[0])
    except sqlite3.OperationalError:  # not there yet
        return 0


@pytest.mark.e2e
def test_a_node_killed_in_the_middle_of_a_file_hands_each_record_over_once(tmp_path: Path) -> None:
    export = tmp_path / "export.csv"
    content = export_of([f"A{number}" for number in range(PEOPLE)])
    for number in range(3, PEOPLE, 20):
        content = content.replace(f";A{number};".encode(), b";;").replace(f"\nA{number};".encode(), b"\n;")
    export.write_bytes(content)
    mapped = list(load("reception-centre-csv").convert(io.BytesIO(export.read_bytes()), Limits()))
    valid = sum(one.bundle is not None for one in mapped)
    assert 100 < valid < PEOPLE
    network = build(tmp_path, datetime.now(UTC), export)
    centre = network.parties["centre"]
    drop = centre.folder / "drop"
    drop.mkdir()
    with centre.config.open("a", encoding="utf-8") as settings:
        settings.write(
            '\n[[sources]]\nkind = "directory"\nname = "register"\nadapter = "reception-centre-csv"\n'
            f'subsystem = "{centre.subsystem}"\nfolder = "drop"\npattern = "*.csv"\npoll_seconds = 0.1\n'
        )
    (drop / "export.csv").write_bytes(export.read_bytes())
    database = centre.folder / "node.db"
    handovers, finished = "SELECT count(*) FROM handovers", "SELECT count(*) FROM sources WHERE finished = 1"
    processes = Processes(network)

    killed = 0
    try:
        for part in (1, 70):
            processes.start_node("centre")
            wait(
                lambda: count(database, handovers),
                lambda found, part=part: found >= min(part, valid),  # type: ignore[misc]
                alive=processes.check,
            )
            processes.kill("centre-node")
            killed += 1
        processes.start_node("centre")
        wait(
            lambda: (count(database, handovers), count(database, finished)),
            lambda seen: seen[1] == 1,
            alive=processes.check,
        )
        wait(lambda: list((drop / "done").glob("export-*.csv")), alive=processes.check)
    finally:
        processes.stop()

    assert killed == 2
    assert count(database, handovers) == valid, "each valid record is one handover"
    (report,) = (centre.folder / "reports" / "register").iterdir()
    told = [json.loads(line) for line in report.read_text("utf-8").splitlines()]
    assert len(told[-1].pop("adapter")) == 64, "which version of the adapter mapped it"
    assert told[-1] == {"summary": True, "read": len(mapped), "taken": valid, "rejected": len(mapped) - valid}
    assert len([one for one in told if one.get("rejected_record")]) == len(mapped) - valid
