"""Nothing that the processes write, store or say names a person: not in logs, databases, traces, metrics or errors."""

from __future__ import annotations

import asyncio
import csv
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from gateway.demo.ports import LOOPBACK
from gateway.demo.story import Story, session
from schemas.identifiers import HETU
from tests.e2e.conftest import Stage, network
from tests.e2e.malformed import SECRETS, malformed

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

#: Columns of the export whose values are personal, however they are written.
PERSONAL = ("HETU", "SUKUNIMI", "ETUNIMET", "PUHELIN", "SAHKOPOSTI", "OSOITE", "ASIAKASNUMERO")


@contextmanager
def trace_sink() -> Iterator[tuple[str, list[bytes]]]:
    """An OTLP receiver on loopback, which keeps what nodes send it."""
    received: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer((LOOPBACK, 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://{LOOPBACK}:{server.server_port}", received
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def personal(export: Path) -> set[str]:
    """The personal values of the persons who were handed over or asked about, in each way of writing them."""
    rows = list(csv.DictReader(export.read_bytes().decode("windows-1252", "replace").splitlines(), delimiter=";"))
    values = {row[column] for row in rows[:50] for column in PERSONAL if row[column]}
    values |= {name for row in rows[:50] for name in row["ETUNIMET"].split()}
    values |= {row["PUHELIN"].replace(" ", "") for row in rows[:50]}
    # Shorter values would be found by accident in random bytes.
    return {value for value in values if len(value) >= 5}


def found_in(data: bytes, values: set[str]) -> set[str]:
    forms = {
        value: {value.encode(), value.encode("windows-1252", "replace"), value.encode("utf-16-le")} for value in values
    }
    return {value for value, encoded in forms.items() if any(form in data for form in encoded)}


async def provoke(stage: Stage) -> list[bytes]:
    """Every wrong thing a client can easily do, with a person's data in it; gives the answers' bytes."""
    row = next(csv.DictReader(stage.export.read_bytes().decode("windows-1252", "replace").splitlines(), delimiter=";"))
    question = {
        "service": stage.network.service("centre", "palvelutarve"),
        "subject": {"system": HETU, "value": row["HETU"]},
        "purpose": "service-need-lookup",
        "categories": ["identity"],
        "case": row["SUKUNIMI"],
        "user": row["ETUNIMET"],
    }
    wrong: list[tuple[str, str, Any]] = [
        ("kotka", "/v1/queries", {**question, "purpose": row["SUKUNIMI"]}),
        ("kotka", "/v1/queries", {**question, "categories": [row["SUKUNIMI"]]}),
        ("kotka", "/v1/queries", {**question, "service": f"FI-DEMO/GOV/{row['HETU']}/x/y"}),
        ("kotka", "/v1/queries", {**question, "subject": {"system": row["SUKUNIMI"], "value": row["HETU"]}}),
        ("kotka", "/v1/queries", {**question, "subject": {"system": HETU, "value": row["HETU"] + row["SUKUNIMI"]}}),
        ("kotka", "/v1/queries", {**question, "emergency": {"justification": ""}, "case": row["HETU"] * 40}),
        ("placement", "/v1/queries", question),
        ("centre", "/v1/handovers?adapter=canonical", {"resourceType": row["SUKUNIMI"], row["HETU"]: row["OSOITE"]}),
        ("centre", "/v1/handovers?adapter=municipality-json", [{"asiakasnumero": row["ASIAKASNUMERO"],
                                                                "sukunimi": row["SUKUNIMI"], "lupa": row["OSOITE"]}]),
        ("centre", "/v1/consents", {"subject": question["subject"], "status": row["SUKUNIMI"]}),
        ("centre", "/v1/consents", {"subject": question["subject"], "categories": ["identity"],
                                    "given_by": {"kind": "self"}, "ends": row["SUKUNIMI"]}),
    ]  # fmt: skip
    said = []
    for party, path, document in wrong:
        answer = await stage.call(party, "POST", path, document)
        assert answer["status"] >= 400, (path, answer["status"])
        said.append(repr(answer["body"]).encode())
    return said


async def send_malformed(stage: Stage) -> list[bytes]:
    """Hand over, from the centre's own system, what each format's reader stumbles over; gives the answers' bytes."""
    party = stage.network.parties["centre"]
    context = ssl.create_default_context(cafile=str(party.folder / "clients-authority.pem"))
    context.load_cert_chain(party.folder / "client.pem", party.folder / "client.key", stage.network.passphrase)
    said = []
    async with session() as http:
        for adapter, data in malformed():
            url = f"{party.address}/v1/handovers?flow=F1&adapter={adapter}"
            async with http.post(url, data=data, ssl=context) as answer:
                assert answer.status in {400, 422}, (adapter, answer.status)
                said.append(await answer.read())
    return said


async def scrape(stage: Stage) -> list[bytes]:
    said = []
    async with aiohttp.ClientSession() as http:
        for party in stage.network.parties.values():
            for page in ("metrics", "health", "ready"):
                async with http.get(f"http://{LOOPBACK}:{party.local}/{page}") as answer:
                    said.append(await answer.read())
    return said


async def tell(stage: Stage) -> None:
    async with session() as http:
        story = Story(stage.network, stage.cases, http)
        wishes = await story.wishes()
        await story.hand_over(lambda done, total: None)
        await story.withdraw(wishes)
        await story.arrivals(lambda done, total: None)
        await story.withdraw_after(wishes)
        await story.queries()
        await story.dirty()
        assert [check.promise for check in story.checks if not check.held] == []


def test_nothing_that_a_full_run_writes_or_says_names_a_person(tmp_path: Path) -> None:
    with trace_sink() as (endpoint, traces):
        settings = {
            "YHDYSPINTA_TELEMETRY__OTLP_ENDPOINT": endpoint,
            "YHDYSPINTA_TELEMETRY__SAMPLE_RATIO": "1",
            "YHDYSPINTA_TELEMETRY__LOG_LEVEL": "debug",
        }
        with network(tmp_path, environment=settings) as stage:
            asyncio.run(tell(stage))
            errors = asyncio.run(provoke(stage))
            errors += asyncio.run(send_malformed(stage))
            metrics = asyncio.run(scrape(stage))
    values = personal(stage.export) | SECRETS
    assert len(values) > 150

    # The register is the source's own: the samples stand in it, as they should.
    files = [path for path in tmp_path.rglob("*") if path.is_file() and path.parent.name != "register"]
    assert {"node.log", "system.log", "node.db"} <= {path.name for path in files}
    assert sum(path.stat().st_size for path in files if path.name == "node.log") > 2000
    leaks = {str(path.relative_to(tmp_path)): found for path in files if (found := found_in(path.read_bytes(), values))}
    assert leaks == {}
    assert traces, "no trace arrived"
    assert b"send" in b"".join(traces)
    assert found_in(b"\n".join(traces), values) == set()
    assert len(errors) > 10
    assert [found_in(body, values) for body in errors] == [set()] * len(errors)
    assert found_in(b"\n".join(metrics), values) == set()
