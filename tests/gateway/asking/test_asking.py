"""Standing requests on the member's own node: made, published, ended, shown; and what a holder sends by them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from audit.log.entries import ZONE, Entry
from consent.rulebook import reference_rulebook
from consent.rules.conditions import CONDITIONS
from consent.rules.standing import StandingRequest
from gateway.asking.observing import Observing
from gateway.registry.read.asked import is_vouched
from gateway.registry.read.entries import Content
from gateway.registry.read.registry import Registry
from gateway.registry.read.standing import Standing
from gateway.registry.run.changes import with_standing_request, without_standing_request
from tests.gateway.exchange.inprocess import InProcess, Place, node
from tests.gateway.handover.test_deliveries import Clock, order
from tests.gateway.web.faces import Face, faces

ASKED: dict[str, Any] = {
    "id": "kotka-86-1",
    "role": "municipality",
    "providers": ["reception-centre"],
    "provision": "681/2023 86:1",
    "purpose": "reception-to-municipality",
    "categories": ["identity", "language"],
    "first": "2026-01-01",
}
WHO = {"Yhdyspinta-User": "rekisteri-1"}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place.build(tmp_path_factory.mktemp("asking"), rulebook=reference_rulebook())


@dataclass
class Published:
    """What the authority has published of standing requests: at first none."""

    requests: Content | None = None
    version: int = 1
    seen: dict[tuple[int, bool], Standing] = field(default_factory=dict)

    def __call__(self, standing: Standing) -> Standing:
        registry = standing.registry
        if self.requests is None:
            self.requests = replace(registry.content, standing_requests=())
        number = registry.version + self.version
        changed = Registry(self.requests, version=number, expires=registry.expires)
        return replace(standing, registry=changed, possible=set())

    def take(self, document: dict[str, Any]) -> None:
        """As `registry take` does with the file of the member."""
        assert self.requests is not None
        request = StandingRequest.from_dict(document)
        registry = Registry(self.requests, version=1, expires=datetime.now(UTC) + timedelta(days=1))
        assert is_vouched(request, registry.signing_key, datetime.now(UTC))
        self.requests = with_standing_request(self.requests, request)
        self.version += 1

    def revoke(self, identifier: str) -> None:
        assert self.requests is not None
        self.requests = without_standing_request(self.requests, identifier)
        self.version += 1


@dataclass
class Kotka:
    """The municipality's node, as its own system reaches it."""

    here: InProcess
    face: Face
    published: Published
    clock: Clock

    async def post(self, path: str, document: Any, **sent: Any) -> httpx.Response:
        return await self.face.call("POST", path, json=document, **({"headers": WHO} | sent))

    async def make(self, **changes: Any) -> httpx.Response:
        return await self.post("/v1/standing-requests", ASKED | changes)

    async def listed(self) -> dict[str, tuple[str, str | None]]:
        """The organisation's own requests: state, and the last day of what is published."""
        answer = await self.face.call("GET", "/v1/standing-requests")
        assert answer.status_code == 200
        return {
            item["request"]["id"]: (item["state"], (item["published"] or {}).get("last", "not published"))
            for item in answer.json()["ours"]
        }

    def told(self) -> list[tuple[str, str, str]]:
        """What the log says of standing requests."""
        return [
            (str(entry.type), str(entry.outcome), str(entry.detail["act"]))
            for entry in self.here.entries()
            if "standing_request" in entry.detail
        ]


@pytest.fixture
async def kotka(place: Place, database_url: str) -> AsyncIterator[Kotka]:
    published, clock = Published(), Clock()
    async with (
        node(place, database_url, of="kotka", standing=published, clock=clock) as here,
        faces(here) as both,
    ):
        yield Kotka(here, both.clients, published, clock)
        assert both.clients.errors == []


async def test_request_is_made_published_ended_and_each_step_is_on_record(kotka: Kotka) -> None:
    observing = Observing(kotka.here.exchange)

    made = await kotka.make()
    assert (made.status_code, made.json()["state"]) == (201, "waiting")
    assert await kotka.listed() == {"kotka-86-1": ("waiting", "not published")}
    assert await observing.look() == ()

    file = (await kotka.face.call("GET", "/v1/standing-requests/kotka-86-1")).json()
    kotka.published.take(file)
    assert await kotka.listed() == {"kotka-86-1": ("published", None)}
    (seen,) = await observing.look()
    assert seen.previous is not None
    assert await observing.look() == (), "told once"

    ended = await kotka.post("/v1/standing-requests/kotka-86-1/end", {"last": today()})
    assert (ended.status_code, ended.json()["state"]) == (201, "waiting")
    assert await kotka.listed() == {"kotka-86-1": ("waiting", None)}, "in force until the end is published"
    kotka.published.take((await kotka.face.call("GET", "/v1/standing-requests/kotka-86-1")).json())
    assert await kotka.listed() == {"kotka-86-1": ("published", today())}
    await observing.look()
    await kotka.post("/v1/standing-requests/kotka-86-1/end", {"last": "2026-06-30"})
    kotka.published.take((await kotka.face.call("GET", "/v1/standing-requests/kotka-86-1")).json())
    assert await kotka.listed() == {"kotka-86-1": ("ended", "2026-06-30")}
    await observing.look()

    kotka.published.revoke("kotka-86-1")
    assert await kotka.listed() == {"kotka-86-1": ("removed", "not published")}
    await observing.look()
    registry = "registry"
    assert kotka.told() == [
        (registry, "pending", "made"),
        (registry, "success", "published"),
        (registry, "pending", "ended"),
        (registry, "success", "published"),
        (registry, "pending", "ended"),
        (registry, "success", "published"),
        (registry, "stopped", "removed"),
    ]
    users = {entry.agents.user for entry in with_acts(kotka, "made", "ended")}
    assert len(users) == 1
    assert None not in users


async def test_request_that_was_never_published_is_taken_back_at_once(kotka: Kotka) -> None:
    await kotka.make()

    answer = await kotka.post("/v1/standing-requests/kotka-86-1/end", {"last": today()})

    assert (answer.status_code, answer.json()["state"]) == (201, "removed")
    again = await kotka.post("/v1/standing-requests/kotka-86-1/end", {"last": today()})
    assert again.json()["code"] == "not-found"
    assert [act for _, _, act in kotka.told()] == ["made", "taken-back"]
    assert (await kotka.make()).json()["state"] == "waiting", "and can be made anew"


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"role": "county"}, "/role"),
        ({"provision": "681/2023 83:1"}, "/provision"),  # a duty: nobody has to ask
        ({"provision": "703/2023 64:1"}, "/provision"),  # on request only: never sent
        ({"provision": "681/2023 999"}, "/provision"),
        ({"provision": "whatever"}, "/provision"),
        ({"purpose": "onward-move"}, "/purpose"),
        ({"purpose": "curiosity"}, "/purpose"),
        ({"providers": ["benefits-agency"]}, "/providers"),
        ({"providers": ["FI-DEMO/NO/1/such"]}, "/providers"),
        ({"categories": ["identity", "shoe-size"]}, "/categories"),
        ({"conditions": ["is-left-handed"]}, "/conditions"),
        ({"last": "2025-01-01"}, "/last"),
    ],
)
async def test_request_that_no_right_carries_is_not_signed(kotka: Kotka, changes: dict[str, Any], pointer: str) -> None:
    answer = await kotka.make(**changes)

    assert answer.status_code == 400
    assert (answer.json()["code"], answer.json()["pointer"]) == ("invalid-request", pointer)
    assert answer.json()["remedy"]
    assert kotka.told() == []
    assert await kotka.listed() == {}


async def test_unknown_condition_is_told_with_those_that_there_are(kotka: Kotka) -> None:
    answer = await kotka.make(conditions=["is-left-handed"])

    assert set(answer.json()["remedy"].removeprefix("use one of: ").split(", ")) == CONDITIONS.keys()


async def test_request_needs_the_person_who_decides(kotka: Kotka) -> None:
    answer = await kotka.post("/v1/standing-requests", ASKED, headers={})

    assert answer.json()["pointer"] == "/Yhdyspinta-User"
    assert kotka.told() == []


async def test_another_members_request_is_neither_replaced_nor_ended(kotka: Kotka) -> None:
    await kotka.make()
    kotka.published.take((await kotka.face.call("GET", "/v1/standing-requests/kotka-86-1")).json())
    content = kotka.published.requests
    assert content is not None
    (asked,) = content.standing_requests
    theirs = replace(asked, id="theirs", member=str(kotka.here.place.network.parties["kymenlaakso"].member))
    kotka.published.requests = replace(content, standing_requests=(theirs,))

    assert (await kotka.make(id="theirs")).json()["pointer"] == "/id"
    answer = await kotka.post("/v1/standing-requests/theirs/end", {"last": today()})
    assert answer.json()["code"] == "not-found"
    assert (await kotka.face.call("GET", "/v1/standing-requests/theirs")).status_code == 404


@pytest.mark.parametrize("last", ["2025-12-31", "2026-07-01"])
async def test_request_ends_on_a_day_on_which_it_stands(kotka: Kotka, last: str) -> None:
    await kotka.make(last="2026-06-30")
    kotka.published.take((await kotka.face.call("GET", "/v1/standing-requests/kotka-86-1")).json())

    answer = await kotka.post("/v1/standing-requests/kotka-86-1/end", {"last": last})

    assert answer.json()["pointer"] == "/last"


async def test_rights_are_those_of_the_members_roles(kotka: Kotka) -> None:
    rights = (await kotka.face.call("GET", "/v1/standing-requests/rights")).json()["rights"]

    assert {right["role"] for right in rights} == {"municipality"}
    assert "681/2023 86:1" in {right["provision"] for right in rights}
    assert "681/2023 83:1" not in {right["provision"] for right in rights}, "a duty"


async def test_right_to_get_carries_a_handover_from_publication_to_the_end(kotka: Kotka, tmp_path: Path) -> None:
    """The same handover by the holder, before, under and after the request."""
    await kotka.make()
    file = (await kotka.face.call("GET", "/v1/standing-requests/kotka-86-1")).json()
    holder = f"sqlite:///{tmp_path / 'centre.db'}"
    async with node(kotka.here.place, holder, standing=kotka.published, clock=kotka.clock) as centre:
        withheld = await decided(centre, "S1")
        kotka.published.take(file)
        permitted = await decided(centre, "S2")
        await kotka.post("/v1/standing-requests/kotka-86-1/end", {"last": today()})
        kotka.published.take((await kotka.face.call("GET", "/v1/standing-requests/kotka-86-1")).json())
        still = await decided(centre, "S3")
        await kotka.post("/v1/standing-requests/kotka-86-1/end", {"last": "2026-06-30"})
        kotka.published.take((await kotka.face.call("GET", "/v1/standing-requests/kotka-86-1")).json())
        over = await decided(centre, "S4")

    assert withheld == over == (frozenset(), True)
    assert permitted == still == (frozenset({"identity", "language"}), False)


async def decided(centre: InProcess, person: str) -> tuple[frozenset[str], bool]:
    """What a handover ordered now brings to the municipality, and whether the whole is withheld as not asked for."""
    plan = await order(centre, person)
    (planned,) = (planned for planned in plan.deliveries if planned.role == "municipality")
    decision = planned.decision
    assert decision is not None
    reasons = {withheld.code for withheld in decision.withheld if withheld.category in ("identity", "language")}
    return decision.permitted_categories, reasons == {"nobody-asked"}


def with_acts(kotka: Kotka, *acts: str) -> list[Entry]:
    return [entry for entry in kotka.here.entries() if entry.detail.get("act") in acts]


def today() -> str:
    return datetime.now(ZONE).date().isoformat()
