"""Where a permission was never asked, the holder's desk gets a task to ask, which ends when the person's word comes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

from consent.rulebook import reference_rulebook
from tests.gateway.exchange.inprocess import InProcess, Place, node
from tests.gateway.handover.test_deliveries import order
from tests.gateway.web.faces import Face, faces

COUNTY = {"purposes": ["reception-to-county"], "recipients": ["county"], "categories": ["health-needs"]}
WHO = {"Yhdyspinta-User": "rekisteri-1"}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place.build(tmp_path_factory.mktemp("asking-persons"), rulebook=reference_rulebook())


@dataclass
class Centre:
    here: InProcess
    face: Face

    async def tasks(self) -> list[dict[str, Any]]:
        answer = await self.face.call("GET", "/v1/tasks")
        return [task for task in answer.json()["tasks"] if task["kind"] == "ask-permission"]

    def outcomes(self) -> list[tuple[str, Any]]:
        told = [entry for entry in self.here.entries() if entry.detail.get("kind") == "ask-permission"]
        return [(str(entry.outcome), entry.detail.get("outcome")) for entry in told]


@pytest.fixture
async def centre(place: Place, database_url: str) -> AsyncIterator[Centre]:
    async with node(place, database_url) as here, faces(here) as both:
        yield Centre(here, both.clients)


async def test_who_has_consented_where_a_permission_is_needed_is_asked_once(centre: Centre) -> None:
    await centre.here.consent("A1", **COUNTY)

    await order(centre.here, "A1")
    await order(centre.here, "A1", idempotency="again")

    (task,) = await centre.tasks()
    assert task["categories"] == ["health-needs"]
    assert task["purpose"] == "reception-to-county"
    assert centre.outcomes() == [("pending", None)]


@pytest.mark.parametrize(
    ("word", "outcome"),
    [({"kind": "permission"}, "permitted"), ({"kind": "prohibition", "purposes": [], "recipients": []}, "refused")],
)
async def test_task_ends_with_the_persons_word(centre: Centre, word: dict[str, Any], outcome: str) -> None:
    await centre.here.consent("A2", **COUNTY)
    await order(centre.here, "A2")
    await centre.here.consent("A3", **(COUNTY | word))
    assert len(await centre.tasks()) == 1, "another person's word"

    await centre.here.consent("A2", **(COUNTY | word))

    assert await centre.tasks() == []
    assert centre.outcomes() == [("pending", None), ("success", outcome)]


@pytest.mark.parametrize(
    "word",
    [
        {"language": "fi"},
        {"kind": "permission", "categories": ["social-needs"]},
        {"kind": "prohibition", "purposes": [], "recipients": [], "given_by": {"kind": "other"}},
    ],
    ids=["another consent", "permission for something else", "somebody else's report"],
)
async def test_task_goes_on_where_a_word_does_not_answer_it(centre: Centre, word: dict[str, Any]) -> None:
    await centre.here.consent("A6", **COUNTY)
    await order(centre.here, "A6")

    await centre.here.consent("A6", **(COUNTY | word))

    assert len(await centre.tasks()) == 1
    assert centre.outcomes() == [("pending", None)]


async def test_who_could_not_be_asked_is_recorded_with_the_reason(centre: Centre) -> None:
    await centre.here.consent("A4", **COUNTY)
    await order(centre.here, "A4")
    (task,) = await centre.tasks()
    path, said = f"/v1/tasks/{task['id']}/outcome", {"outcome": "could-not-be-asked", "day": "2026-03-02"}

    assert (await centre.face.call("POST", path, json=said, headers=WHO)).json()["pointer"] == "/remark"
    done = await centre.face.call("POST", path, json=said | {"remark": "moved away"}, headers=WHO)

    assert (done.status_code, done.json()["outcome"]) == (201, "could-not-be-asked")
    assert done.json()["proof"]["remark"] == "moved away"


async def test_nobody_is_asked_who_has_said_nothing(centre: Centre) -> None:
    await order(centre.here, "A5")

    assert await centre.tasks() == []
