"""What the tests of sources share: a node's database and log, and a feed whose handovers are a table of their own.

The sink stands for `Handovers.plan`: it takes a record under an idempotency key, once, as the table of handovers does.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Engine

from adapters.sdk import Change, Limits, Mapped, load
from audit.log.log import Log
from audit.tree.checkpoint import LogSigner
from gateway.sources.batches import Source
from gateway.sources.feed import Books, Feed, FeedPolicy, Intake
from gateway.sources.progress import Progress
from gateway.sources.taking import Door
from gateway.wire.problems import ProblemError
from tests.databases import migrate


def columns() -> list[str]:
    """The columns of the reception centre's export."""
    mapping = load("reception-centre-csv").mapping  # type: ignore[attr-defined]
    return sorted(mapping.fields)


def clock() -> datetime:
    return datetime(2026, 11, 24, 8, 0, tzinfo=UTC)


@pytest.fixture
def books(engine: Engine) -> Iterator[Progress]:
    """The books of sources in an empty database, once of each kind."""
    migrate(engine)
    origin = "yhdyspinta/centre.test"
    log = Log(engine, LogSigner(Ed25519PrivateKey.generate(), origin), origin=origin, clock=clock)
    log.start()
    yield Progress(engine, log, clock)
    log.close()


@dataclass
class Sink:
    """What was handed over, in order; refuses what it is told to refuse."""

    taken: dict[str, dict[str, Any]] = field(default_factory=dict)
    calls: int = 0
    refuse: dict[str, ProblemError] = field(default_factory=dict)
    stop_after: int | None = None
    changes: list[Change] = field(default_factory=list)

    async def __call__(self, mapped: Mapped, key: str) -> bool:
        bundle = mapped.bundle
        assert bundle is not None
        if self.stop_after is not None and len(self.taken) >= self.stop_after:
            raise ProblemError("registry-expired", detail="the registry is too old")
        person = customer(bundle)
        if person in self.refuse:
            raise self.refuse[person]
        self.calls += 1
        existing = key in self.taken
        self.taken.setdefault(key, bundle)
        return existing

    async def take_change(self, change: Change) -> dict[str, int]:
        self.changes.append(change)
        return {"stopped": 0, "gone": 0}

    @property
    def people(self) -> list[str]:
        return [customer(bundle) for bundle in self.taken.values()]


def customer(bundle: dict[str, Any]) -> str:
    return next(
        one["value"]
        for one in bundle["entry"][0]["resource"]["identifier"]
        if one["system"] == "urn:yhdyspinta:id:migri-customer"
    )


def feed_of(source: Source, sink: Sink, books: Progress, reports: Path, adapter: str = "reception-centre-csv") -> Feed:
    return Feed(
        "register",
        Intake(source, load(adapter), Limits()),
        Door(sink, sink.take_change),
        Books(books, reports),
        FeedPolicy(0.01, 0.02),
    )


async def drain(feed: Feed, idle: int = 2) -> None:
    """Step until the source has had nothing new several times: files are taken at the second look."""
    quiet = 0
    while quiet < idle:
        quiet = 0 if await feed.step() else quiet + 1


def export(people: Sequence[str], *, born: str = "5.2.1990") -> bytes:
    """A client register's export with these customer numbers, all columns there, most of them empty."""
    out = io.StringIO()
    writer = csv.DictWriter(out, columns(), delimiter=";", lineterminator="\r\n")
    writer.writeheader()
    for number in people:
        writer.writerow(row(number, born=born))
    return out.getvalue().encode("windows-1252")


def row(number: str, *, born: str = "5.2.1990") -> dict[str, str]:
    return {
        "ASIAKASNUMERO": number,
        "SUKUNIMI": "Enkö",
        "ETUNIMET": "Salim Tov",
        "SYNTYMAAIKA": born,
        "OLESKELULUPA": "TP",
        "KUNTA": "285",
    }
