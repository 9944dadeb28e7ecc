"""A person who is known by one number, then by another, and then found to be the same."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import select

from gateway.storage.tables import deliveries, inbox
from schemas.identifiers import HETU
from tests.gateway.running import Running, running
from tests.waiting import until

pytestmark = pytest.mark.xdist_group("linked")
ROW = 6


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A centre and a municipality."""
    with running(tmp_path_factory.mktemp("linked")) as found:
        yield found


async def hand_over(nodes: Running, *, with_identity_code: bool) -> str:
    """Hand one person of the register over; gives the id of the municipality's delivery."""
    header, *rows = nodes.export.read_bytes().split(b"\r\n")
    cells = rows[ROW - 1].split(b";")
    if not with_identity_code:
        cells[header.split(b";").index(b"HETU")] = b""
    body = b"\r\n".join([header, b";".join(cells), b""])
    async with (
        nodes.client("centre") as session,
        session.post(
            "/v1/handovers?flow=F1&adapter=reception-centre-csv", data=body, headers={"Content-Type": "text/csv"}
        ) as answer,
    ):
        document: dict[str, Any] = await answer.json()
        assert answer.status == 201, document
    return next(one["id"] for one in document["handovers"][0]["deliveries"] if one["role"] == "municipality")


async def test_what_was_sealed_before_two_numbers_were_linked_can_still_be_opened(nodes: Running) -> None:
    header, *rows = nodes.export.read_bytes().split(b"\r\n")
    code = rows[ROW - 1].split(b";")[header.split(b";").index(b"HETU")].decode()
    consent = {
        "subject": {"system": HETU, "value": code}, "status": "refused", "given_by": {"kind": "self"}, "purposes": [],
        "recipients": [], "categories": ["housing"],
    }  # fmt: skip
    async with nodes.client("kotka") as session:
        # The municipality first knows the person by the identity code, then by the customer number alone.
        async with session.post("/v1/consents", json=consent) as answer:
            assert answer.status == 201, await answer.text()
        first = await hand_over(nodes, with_identity_code=False)
        (row,) = await until(lambda: nodes.rows("kotka", select(inbox).where(inbox.c.delivery == first)))
        # Both numbers come together, so the two are one person, and the older of the two stands for them.
        second = await hand_over(nodes, with_identity_code=True)
        (later,) = await until(lambda: nodes.rows("kotka", select(inbox).where(inbox.c.delivery == second)))
        assert later.subject != row.subject

        async with session.get(f"/v1/inbox/{row.id}") as opened:
            document = await opened.json()
            assert opened.status == 200, document
        contact = {"contact": {"name": "Kotoutumispalvelut"}}
        async with session.post(f"/v1/inbox/{row.id}/acceptance", json=contact) as accepted:
            assert accepted.status == 201

    assert [one for one in document["content"]["entry"] if one["resource"]["resourceType"] == "Patient"]
    state = select(deliveries.c.state).where(deliveries.c.id == first, deliveries.c.state == "accepted")
    await until(lambda: nodes.rows("centre", state))
