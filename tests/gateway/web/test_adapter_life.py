"""An adapter is taken into use and back on a node that runs, by the command; each record says which version made it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from typer.testing import CliRunner

from gateway.cli.main import app
from tests.gateway.reading.wheels import wheel
from tests.gateway.running import LOOPBACK, Running, running
from tests.waiting import until

SOURCE = '''
from adapters.reception_centre import csv_adapter
from adapters.sdk import Manifest, Text

class Harju:
    """Version {version}."""
    manifest = Manifest("harju", Text("Harju", "Harju", "Harju"), ("text/x-harju",))

    def __init__(self):
        self.mapping = csv_adapter().mapping
        self.convert = csv_adapter().convert
'''


def said(*arguments: str) -> Any:
    done = CliRunner().invoke(app, [*arguments, "--json"])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


async def marks(here: Running, party: str) -> dict[str, str]:
    port = next(
        line.split(":")[-1].strip().strip('"')
        for line in here.party(party).config.read_text("utf-8").splitlines()
        if line.startswith("local = ")
    )
    async with aiohttp.ClientSession() as session, session.get(f"http://{LOOPBACK}:{port}/health") as answer:
        found: dict[str, str] = (await answer.json())["readers"]["versions"]
        return found


@pytest.mark.e2e
def test_version_is_changed_on_a_running_node_and_each_record_tells_which_made_it(tmp_path: Path) -> None:
    with running(tmp_path) as here:
        config = str(here.party("centre").config)

        def taken(version: str) -> str:
            path = tmp_path / f"harju-{version}-py3-none-any.whl"
            path.write_bytes(wheel(version, source=SOURCE.format(version=version)))
            told = said("adapter", "take", str(path), "--sample", str(here.export), "--config", config, "--yes")
            return f"harju {told['declared']} {told['digest'][:12]}"

        async def hand_over(row: int) -> str | None:
            lines = here.export.read_bytes().splitlines(keepends=True)
            async with here.client("centre") as client:
                address = "/v1/handovers?flow=F1&adapter=harju"
                async with client.post(address, data=lines[0] + lines[row]) as answer:
                    document = await answer.json()
                    assert answer.status == 201, document
                async with client.get(f"/v1/handovers/{document['handovers'][0]['id']}") as answer:
                    found: str | None = (await answer.json())["adapter"]
                    return found

        async def journey() -> list[str]:
            alive = here.processes.check
            made: list[str] = []
            for version, row in (("1.0", 1), ("2.0", 2)):
                mark = taken(version)
                await until(lambda: marks(here, "centre"), lambda now: now.get("harju") == mark, alive=alive)  # noqa: B023
                assert await hand_over(row) == mark
                made.append(mark)
            bad = tmp_path / "harju-3.0-py3-none-any.whl"
            bad.write_bytes(wheel("3.0", source="raise ValueError"))
            refused = CliRunner().invoke(app, ["adapter", "take", str(bad), "--config", config, "--yes"])
            assert refused.exit_code == 1
            said("adapter", "back", "harju", "--config", config, "--yes")
            await until(lambda: marks(here, "centre"), lambda now: now.get("harju") == made[0], alive=alive)
            assert await hand_over(3) == made[0]
            return made

        made = asyncio.run(journey())

        assert [entry.detail["adapter"] for entry in here.entries("centre", type="handover")] == [*made, made[0]]
        turns = said("adapter", "versions", "harju", "--config", config)
        assert [turn["digest"][:12] for turn in turns] == [mark.split()[-1] for mark in (made[0], made[1], made[0])]
        acts = here.entries("centre", type="maintenance")
        assert [entry.agents.client for entry in acts] == ["yhdyspinta adapter take"] * 2 + ["yhdyspinta adapter back"]
        assert all(entry.agents.user for entry in acts)

        path, other = tmp_path / "harju-1.0-py3-none-any.whl", str(here.party("kotka").config)
        said("adapter", "take", str(path), "--config", other, "--yes")
        told = CliRunner().invoke(app, ["adapter", "back", "harju", "--config", other, "--yes"])
        assert told.exit_code == 0, told.output
        assert "is in use" not in told.output, "no adapter of that name is installed"
        assert "what names it is refused" in " ".join(told.output.split())
