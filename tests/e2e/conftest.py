"""A whole network of real processes on loopback, built as the demo builds it, for tests that look from the outside."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from adapters.samples import write_samples
from gateway.demo.network import Network, Terms, build
from gateway.demo.organisations import DEMO, Organisation
from gateway.demo.ports import LOOPBACK
from gateway.demo.processes import Processes, running
from gateway.demo.story import session
from schemas.identifiers import MIGRI_CUSTOMER
from tests.nursery import Nursed

# An answer is waited for as long as the test may take.
PATIENT = aiohttp.ClientTimeout(total=None)


@dataclass
class Stage:
    """A running network, and what a test says to its information systems."""

    network: Network
    processes: Processes
    cases: dict[str, dict[str, str]]
    export: Path

    async def call(
        self, party: str, method: str, path: str, json: Any = None, *, expect: int | None = None
    ) -> dict[str, Any]:
        """One call of an organisation's system to its own node: `{"status", "body"}`."""
        answer = await self.post(party, "/call", {"method": method, "path": path, "json": json})
        if expect is not None:
            assert answer["status"] == expect, answer
        return answer

    async def post(self, party: str, path: str, json: Any) -> Any:
        """One call to an organisation's information system."""
        url = f"http://{LOOPBACK}:{self.network.parties[party].system}{path}"
        async with aiohttp.ClientSession(timeout=PATIENT) as session, session.post(url, json=json) as answer:
            assert answer.status < 500, (path, answer.status)
            return await answer.json()

    async def held(self, party: str) -> list[dict[str, Any]]:
        """What an organisation's system has received and accepted."""
        url = f"http://{LOOPBACK}:{self.network.parties[party].system}/held"
        async with aiohttp.ClientSession(timeout=PATIENT) as session, session.get(url) as answer:
            found: list[dict[str, Any]] = await answer.json()
            return found

    async def query(self, party: str, person: str, purpose: str, categories: Sequence[str]) -> dict[str, Any]:
        """Ask the reception centre about a person by customer number."""
        return await self.call(
            party,
            "POST",
            "/v1/queries",
            {
                "service": self.network.service("centre", "palvelutarve"),
                "subject": {"system": MIGRI_CUSTOMER, "value": person},
                "purpose": purpose,
                "categories": list(categories),
            },
        )

    async def hand_over(self, adapter: str, data: bytes, flow: str = "F1") -> dict[str, Any]:
        """Hand a file over from the reception centre's own system, with its certificate; gives the node's answer."""
        party = self.network.parties["centre"]
        context = ssl.create_default_context(cafile=str(party.folder / "clients-authority.pem"))
        context.load_cert_chain(party.folder / "client.pem", party.folder / "client.key", self.network.passphrase)
        url = f"{party.address}/v1/handovers?flow={flow}&adapter={adapter}"
        async with session() as http, http.post(url, data=data, ssl=context) as answer:
            assert answer.status in {201, 422}, (answer.status, await answer.text())
            found: dict[str, Any] = await answer.json()
            return found

    def key(self, case: str) -> str:
        """The customer number of one of the ten people."""
        return self.cases[case]["key"]

    def row(self, case: str) -> int:
        """The row of one of the ten people in the export."""
        return list(self.cases).index(case) + 2

    async def handovers(self) -> list[dict[str, Any]]:
        """The handovers of the reception centre, with their deliveries."""
        answer = await self.call("centre", "GET", "/v1/handovers?limit=1000", expect=200)
        found: list[dict[str, Any]] = answer["body"]["handovers"]
        return found


@contextmanager
def network(
    folder: Path,
    organisations: Sequence[Organisation] = DEMO,
    environment: dict[str, str] | None = None,
    terms: Terms | None = None,
    prepare: Callable[[Network], None] = lambda _network: None,
) -> Iterator[Stage]:
    """Build a network in a folder and run it; `prepare` is given it before a node starts."""
    samples = write_samples(folder / "register")
    export = folder / "register" / "reception-centre.csv"
    built = build(folder / "network", datetime.now(UTC), export, organisations=organisations, terms=terms or Terms())
    prepare(built)
    before = dict(os.environ)
    os.environ.update(environment or {})
    try:
        with running(built, Nursed(built)) as processes:
            asyncio.run(processes.ready())
            yield Stage(built, processes, samples["cases"], export)
    finally:
        os.environ.clear()
        os.environ.update(before)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """The four organisations of the demo."""
    with network(tmp_path_factory.mktemp("stage")) as running_stage:
        yield running_stage
