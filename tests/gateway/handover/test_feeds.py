"""What comes of a record that a source of the node's own brings."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from adapters.sdk import Mapped, Position
from gateway.handover.deliver import Deliveries
from gateway.handover.feeds import _hand_over
from gateway.settings.sources import DirectorySource
from schemas.identifiers import HETU, MIGRI_CUSTOMER
from tests.gateway.exchange.inprocess import InProcess, Place, node
from tests.gateway.exchange.test_persons import CODE, OTHER_CODE, with_code


@pytest.fixture
async def here(tmp_path: Path, database_url: str) -> AsyncIterator[InProcess]:
    async with node(Place.build(tmp_path), database_url) as running:
        yield running


async def test_a_register_that_is_read_by_the_node_corrects_itself_too(here: InProcess) -> None:
    sender = here.place.network.parties["centre"].subsystem
    settings = DirectorySource(
        kind="directory", name="ward", adapter="a", subsystem=str(sender), folder=Path("ward"),
        reports=Path("reports"), identity="authoritative",
    )  # fmt: skip
    hand_over = _hand_over(settings, here.exchange, Deliveries(here.exchange))
    for code in (OTHER_CODE, CODE):
        here.register.changed["7000001"] = with_code(code)  # type: ignore[assignment]
        record = Mapped("row-1", here.register.bundle("7000001"), {}, (), Position(row=1))
        assert not await hand_over(record, f"record of {code}")

    subjects = here.exchange.subjects
    with here.exchange.engine.connect() as connection:
        found = subjects.find(connection, MIGRI_CUSTOMER, "7000001")
        assert found is not None
        group = subjects.group(connection, found.id)
        told = [subjects.find(connection, HETU, code) for code in (CODE, OTHER_CODE)]
    assert [known is not None and known.id in group for known in told] == [True, False]
