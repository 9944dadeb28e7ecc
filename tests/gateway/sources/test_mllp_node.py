"""A running node that listens for HL7 messages: who may send, what is on record then, what it never writes."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from gateway.demo.ports import Ports
from gateway.sources.mllp import HANDSHAKES, HANDSHAKES_EACH
from tests.adapters.judging import DEMANDS, file_of
from tests.gateway.running import Running, running
from tests.gateway.sources.hl7 import batch, codes, is_heard, message, said, sender
from tests.waiting import until

pytestmark = pytest.mark.e2e

SOURCE = """
[[sources]]
kind = "mllp"
name = "{name}"
adapter = "county-hl7"
subsystem = "{subsystem}"
listen = "127.0.0.1:{port}"
{door}
"""
NAMES = ("Salainen", "Liisa", "0101900")


@dataclass
class Listening:
    """The centre's node with three listeners: for its own client, for a client that no certificate has, and plain."""

    ports: Ports = field(default_factory=lambda: Ports(3))
    running: Running | None = None

    @property
    def nodes(self) -> Running:
        assert self.running is not None
        return self.running

    def prepare(self, network: Any) -> None:
        centre = network.parties["centre"]
        doors = ('senders = ["centre-system"]', 'senders = ["other"]', "plain = true")
        with centre.config.open("a", encoding="utf-8") as file:
            file.write(f'\n[[clients]]\nname = "other"\nsubsystem = "{centre.subsystem}"\n')
            for name, port, door in zip(("county", "others", "local"), self.ports, doors, strict=True):
                file.write(SOURCE.format(name=name, subsystem=centre.subsystem, port=port, door=door))

    def port(self, name: str) -> int:
        return list(self.ports)[("county", "others", "local").index(name)]

    def handovers(self) -> int:
        return len(self.nodes.entries("centre", type="handover"))

    def log(self) -> bytes:
        return b"".join(path.read_bytes() for path in self.nodes.network.folder.rglob("*.log") if path.is_file())


@pytest.fixture(scope="module")
def listening(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Listening]:
    held = Listening()
    folder = tmp_path_factory.mktemp("mllp")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("YHDYSPINTA_TELEMETRY__LOG_LEVEL", "debug")
        with running(folder, nodes=("centre",), source=False, prepare=held.prepare) as nodes:
            held.running = nodes
            yield held


async def test_a_registered_sender_is_told_what_is_on_record(listening: Listening) -> None:
    before = listening.handovers()
    async with sender(listening.port("county"), listening.nodes.client_context("centre")) as county:
        answer = await county.say(message("M1", "MLLP-1"))

        assert said(answer) == ["AA M1"]
        assert listening.handovers() == before + 1
        assert said(await county.say(message("M1", "MLLP-1"))) == ["AA M1"]
        assert listening.handovers() == before + 1


async def test_what_was_taken_is_there_after_a_power_cut_and_known_by_its_number(listening: Listening) -> None:
    context = listening.nodes.client_context("centre")
    async with sender(listening.port("county"), context) as county:
        assert said(await county.say(message("K1", "MLLP-K1"))) == ["AA K1"]
    taken = listening.handovers()

    await listening.nodes.restart("centre")

    assert listening.handovers() == taken
    async with sender(listening.port("county"), context) as county:
        assert said(await county.say(message("K1", "MLLP-K1"))) == ["AA K1"]
        assert codes(await county.say(message("K1", "MLLP-K2"))) == ["control-reused"]
    assert listening.handovers() == taken


@pytest.mark.parametrize("has_certificate", [False, None], ids=["no-certificate", "plain"])
async def test_nobody_without_a_certificate_is_heard(listening: Listening, has_certificate: bool | None) -> None:
    before = listening.handovers()
    context = None if has_certificate is None else listening.nodes.client_context("centre", certificate=False)

    assert not await is_heard(listening.port("county"), context, message("M1", "MLLP-2"))
    assert listening.handovers() == before


async def test_a_client_that_the_source_does_not_name_is_not_heard(listening: Listening) -> None:
    before = listening.handovers()

    assert not await is_heard(
        listening.port("others"), listening.nodes.client_context("centre"), message("M1", "MLLP-3")
    )
    assert listening.handovers() == before


@pytest.mark.parametrize("addresses", [1, HANDSHAKES // HANDSHAKES_EACH], ids=["of one address", "of many"])
async def test_strangers_have_few_places_and_lose_them_in_time(listening: Listening, addresses: int) -> None:
    """The first connection that is too many is ended at once, the others when they have shown nothing for too long."""
    port = listening.port("county")
    sources = [f"127.0.0.{2 + number}" for number in range(addresses) for _ in range(HANDSHAKES_EACH)]
    # Of one address one more; when all places are taken, one of an address that has none yet.
    sources.append("127.0.0.2" if addresses == 1 else "127.0.0.99")
    opened = [await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0)) for source in sources]
    ended = [asyncio.create_task(reader.read()) for reader, _ in opened]

    first, _ = await asyncio.wait(ended, return_when=asyncio.FIRST_COMPLETED)

    assert first == {ended[-1]}
    await until(lambda: all(task.done() for task in ended))
    await asyncio.gather(*ended, return_exceptions=True)
    for _, writer in opened:
        writer.close()
    async with sender(port, listening.nodes.client_context("centre")) as county:
        assert said(await county.say(message(f"S{addresses}", f"MLLP-S{addresses}"))) == [f"AA S{addresses}"]


async def test_a_message_that_kills_its_reader_is_refused_and_the_next_is_taken(listening: Listening) -> None:
    async with sender(listening.port("local")) as local:
        deep = message("P1", "MLLP-P1") + b"OBX|9|ST|" + b"\\X0D\\" * 180_000 + b"\r"
        answer = await local.say(deep)
        assert said(answer)[0][:2] in ("AE", "AR")

        assert said(await local.say(message("P2", "MLLP-P2"))) == ["AA P2"]


async def test_doubtful_messages_are_answered_and_nothing_personal_is_written(listening: Listening) -> None:
    inputs = [name for name in DEMANDS if name.startswith("hl7-")]
    answers = []
    for name in inputs:
        body = file_of(name).read_bytes().strip(b"\x0b\x1c")
        if b"\x0b" not in body and b"\x1c" not in body:
            async with sender(listening.port("local")) as local:
                answers.append(await local.say(body))
    async with sender(listening.port("local")) as local:
        named = message("N1", "0101900-XYZ", name="Salainen^Liisa", born="Salainen")
        answers.append(await local.say(batch(named, message("N2", "MLLP-N2", name="Salainen^Liisa"))))

    assert len(answers) > 15
    assert all(said(answer) for answer in answers)
    personal = re.compile(rb"[0-9]{6}[-+A-FU-Y]9[0-9]{2}[0-9A-Y]|Suku[a-z]{3}\b|" + "|".join(NAMES).encode())
    reports = b"".join(path.read_bytes() for path in listening.nodes.network.folder.rglob("*.report.jsonl"))
    assert len(reports) > 1000
    for written in (listening.log(), reports, "".join(answers).encode()):
        assert set(personal.findall(written)) == set()


async def test_the_reports_and_log_are_readable_by_the_node_alone(listening: Listening) -> None:
    reports = list(listening.nodes.network.folder.rglob("messages-*.report.jsonl"))

    assert reports
    assert {Path(path).stat().st_mode & 0o077 for path in reports} == {0}
