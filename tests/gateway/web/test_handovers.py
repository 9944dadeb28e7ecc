"""An idempotency key stands for one request: the same again is answered as before, another one is refused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import select

from gateway.storage.tables import handovers, requests
from tests.gateway.running import Running, running

pytestmark = pytest.mark.xdist_group("handovers")
PATH = "/v1/handovers?flow=F1&adapter=reception-centre-csv"
CASE, USER, KIND = "Yhdyspinta-Case", "Yhdyspinta-User", "Content-Type"


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("handovers"), nodes=("centre",), source=False) as found:
        yield found


def export(nodes: Running, *people: int) -> bytes:
    header, *rows = nodes.export.read_bytes().split(b"\r\n")
    return b"\r\n".join([header, *(rows[person] for person in people), b""])


async def hand_over(
    nodes: Running, body: bytes, key: str | None, path: str = PATH, **headers: str
) -> tuple[int, dict[str, Any]]:
    values = {KIND: "text/csv", CASE: "C-1", USER: "U-1"} | headers
    if key is not None:
        values["Idempotency-Key"] = key
    async with nodes.client("centre") as session, session.post(path, data=body, headers=values) as answer:
        return answer.status, await answer.json()


def count(nodes: Running) -> int:
    return len(nodes.rows("centre", select(handovers.c.id)))


async def test_the_same_request_under_its_key_is_answered_as_before(nodes: Running) -> None:
    key, body = str(uuid4()), export(nodes, 1, 2)
    first = await hand_over(nodes, body, key)
    before = count(nodes)

    again = await hand_over(nodes, body, key, "/v1/handovers?adapter=reception-centre-csv&flow=F1")

    assert (first[0], again[0]) == (201, 201)
    assert [one["existing"] for one in again[1]["handovers"]] == [True, True]
    assert [one["id"] for one in again[1]["handovers"]] == [one["id"] for one in first[1]["handovers"]]
    assert count(nodes) == before


async def test_another_persons_record_under_the_same_key_is_refused_and_can_be_sent_under_its_own(
    nodes: Running,
) -> None:
    key = str(uuid4())
    await hand_over(nodes, export(nodes, 3), key)
    before = count(nodes)

    status, problem = await hand_over(nodes, export(nodes, 4), key)

    assert (status, problem["code"]) == (409, "idempotency-conflict")
    assert count(nodes) == before
    status, document = await hand_over(nodes, export(nodes, 4), str(uuid4()))
    assert (status, document["handovers"][0]["existing"]) == (201, False)


async def test_another_batch_under_the_same_key_is_not_taken_by_position(nodes: Running) -> None:
    key = str(uuid4())
    await hand_over(nodes, export(nodes, 5, 6), key)
    before = count(nodes)

    status, problem = await hand_over(nodes, export(nodes, 7, 6, 5), key)

    assert (status, problem["code"]) == (409, "idempotency-conflict")
    assert count(nodes) == before


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        (PATH.replace("F1", "F5"), {}),
        (f"{PATH}&not_before=2030-01-01T00:00:00Z", {}),
        (PATH, {CASE: "C-2"}),
        (PATH, {USER: "U-2"}),
        (PATH, {KIND: "text/csv; charset=utf-8"}),
    ],
    ids=["flow", "not before", "case", "user", "content type"],
)
async def test_each_part_of_a_request_that_means_something_belongs_to_its_key(
    nodes: Running, path: str, headers: dict[str, str]
) -> None:
    key, body = str(uuid4()), export(nodes, 8)
    assert (await hand_over(nodes, body, key))[0] == 201

    status, problem = await hand_over(nodes, body, key, path, **headers)

    assert (status, problem["code"]) == (409, "idempotency-conflict")


async def test_request_of_which_nothing_was_handed_over_has_not_used_its_key_up(nodes: Running) -> None:
    key = str(uuid4())
    broken = export(nodes, 9).replace(b"\r\n", b"\r\n;", 2)
    status, problem = await hand_over(nodes, broken, key)

    assert (status, problem["status"], problem["code"]) == (422, 422, "nothing-handed-over")
    assert (problem["read"], problem["handed_over"], problem["rejected"]) == (1, 0, 1)
    assert problem["findings"]
    assert (await hand_over(nodes, export(nodes, 9), key))[0] == 201


async def test_without_a_key_the_same_content_is_taken_once(nodes: Running) -> None:
    body = export(nodes, 10)
    first = await hand_over(nodes, body, None)
    again = await hand_over(nodes, body, None, **{CASE: "C-3"})

    assert again[1]["handovers"][0]["existing"]
    assert again[1]["handovers"][0]["id"] == first[1]["handovers"][0]["id"]


@pytest.mark.parametrize("key", ["", "x" * 256, "\u00e4"], ids=["empty", "long", "not ASCII"])
async def test_key_that_cannot_be_one_is_refused(nodes: Running, key: str) -> None:
    before = count(nodes)

    status, problem = await hand_over(nodes, export(nodes, 11), key)

    assert (status, problem["code"]) == (400, "invalid-request")
    assert count(nodes) == before


async def test_what_is_kept_of_a_request_is_two_keyed_hashes(nodes: Running) -> None:
    key = f"key-{uuid4()}"
    await hand_over(nodes, export(nodes, 12), key)

    kept = [value for row in nodes.rows("centre", select(requests)) for value in (row.key, row.fingerprint)]
    assert {len(value) for value in kept} == {64}
    assert not [row for row in nodes.rows("centre", select(handovers.c.idempotency)) if key in row.idempotency]
