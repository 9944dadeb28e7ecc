"""The registrar's acts over HTTP: who may, who is named, what is refused, and what stands on record."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import update

from gateway.handover.deliver import Deliveries
from gateway.handover.plan import Handovers
from gateway.identity import web as identity_web
from gateway.identity.acts import Identity
from gateway.node.refusals import client_recorder
from gateway.storage.engine import writer
from gateway.storage.tables import held_records
from gateway.web.application import application
from gateway.web.authentication import Caller, Callers, Registered
from gateway.web.headers import USER_HEADER
from gateway.web.listeners import CERTIFICATE
from gateway.wire.identifiers import SubsystemId
from gateway.wire.signing import thumbprint
from schemas.identifiers import HETU, LOCAL, MIGRI_CUSTOMER
from tests.gateway.exchange.inprocess import InProcess, Place, node
from tests.gateway.exchange.test_persons import CODE, OTHER_CODE, moved, say, with_code
from tests.gateway.identity.test_identity import held_handover

FIRST, SECOND = {USER_HEADER: "rekisteri-1"}, {USER_HEADER: "rekisteri-2"}
NUMBER, PERSON = {"system": MIGRI_CUSTOMER, "value": "7000001"}, {"system": HETU, "value": CODE}
BOTH = {"identifiers": [NUMBER, PERSON]}
ASGI = Callable[[Any, Any, Any], Awaitable[None]]


@dataclass
class Desk:
    """The client face of a node in the test's process, as each of three clients reaches it."""

    here: InProcess
    app: FastAPI

    @asynccontextmanager
    async def client(self, name: str) -> AsyncIterator[httpx.AsyncClient]:
        async def shown(scope: Any, receive: Any, send: Any) -> None:
            # What the listener says of the TLS connection.
            await self.app({**scope, CERTIFICATE: name.encode()}, receive, send)

        transport = httpx.ASGITransport(app=shown)
        async with httpx.AsyncClient(transport=transport, base_url="https://node") as client:
            yield client

    async def post(self, path: str, document: Any = None, *, client: str = "registrar", **sent: Any) -> httpx.Response:
        async with self.client(client) as session:
            return await session.post(path, json={} if document is None else document, **({"headers": FIRST} | sent))

    async def get(self, path: str, *, client: str = "registrar", **sent: Any) -> httpx.Response:
        async with self.client(client) as session:
            return await session.get(path, **({"headers": FIRST} | sent))

    def acts(self) -> list[Any]:
        return [entry.detail.get("act") for entry in self.here.entries() if entry.type == "identity"]


@pytest.fixture
async def desk(place: Place, database_url: str) -> AsyncIterator[Desk]:
    everything = frozenset({"*"})
    async with node(place, database_url) as here:
        registrar = Caller(
            "registrar", here.party.subsystem, frozenset({"identity"}), everything, everything, everything, None,
            frozenset(),
        )  # fmt: skip
        other = SubsystemId.parse("FI-DEMO/GOV/9000009-9/toinen")
        clients = (
            registrar,
            replace(registrar, name="ordinary", actions=frozenset({"query", "handover", "inbox", "consent", "audit"})),
            replace(registrar, name="neighbour", subsystem=other),
            replace(registrar, name="second-system"),
            replace(registrar, name="sister", subsystem=SubsystemId(here.party.member, "toinen")),
        )
        registered = [Registered(client, frozenset({thumbprint(client.name.encode())})) for client in clients]
        callers = Callers(registered, tokens=None, clock=here.exchange.clock)
        identity = Identity(here.exchange, Handovers(here.exchange))
        routes = identity_web.router(here.exchange, identity, Deliveries(here.exchange), callers)
        yield Desk(here, application("test", routes, documented=True, refused=client_recorder(here.exchange)))


ADDRESSES = [
    ("GET", "/v1/identity/held"),
    ("GET", "/v1/identity/unconfirmed"),
    ("POST", "/v1/identity/held/{id}/opening"),
    ("POST", "/v1/identity/held/{id}/owner"),
    ("POST", "/v1/identity/held/{id}/same"),
    ("POST", "/v1/identity/held/{id}/apart"),
    ("POST", "/v1/identity/join"),
    ("POST", "/v1/identity/undo"),
    ("POST", "/v1/identity/place"),
    ("POST", "/v1/identity/proposals/{id}/approval"),
    ("POST", "/v1/identity/proposals/{id}/drop"),
]


async def test_every_address_needs_the_right_and_the_person_who_decides(desk: Desk) -> None:
    held = await held_handover(desk.here)
    before = desk.acts()
    for method, path in ADDRESSES:
        for client, headers, status, code in (
            ("ordinary", FIRST, 403, "client-not-permitted"),
            ("registrar", {}, 400, "invalid-request"),
            ("registrar", {USER_HEADER: ""}, 400, "invalid-request"),
        ):
            async with desk.client(client) as session:
                sent = {"json": BOTH} if method == "POST" else {}
                answer = await session.request(method, path.format(id=held), headers=headers, **sent)
            assert (answer.status_code, answer.json()["code"]) == (status, code), (path, client, headers)
            if client == "registrar":
                assert answer.json()["pointer"] == f"/{USER_HEADER}"

    assert desk.acts() == before
    (waiting,) = (await desk.get("/v1/identity/held")).json()["held"]
    assert waiting["owner"] is None


@pytest.mark.parametrize("act", ["opening", "owner", "same", "apart"])
async def test_another_members_held_record_is_not_found(desk: Desk, act: str) -> None:
    held = await held_handover(desk.here)
    before = desk.acts()

    answer = await desk.post(f"/v1/identity/held/{held}/{act}", client="neighbour")

    assert (answer.status_code, answer.json()["code"]) == (404, "not-found")
    assert (await desk.get("/v1/identity/held", client="neighbour")).json() == {"held": []}
    assert desk.acts() == before
    assert [record["id"] for record in (await desk.get("/v1/identity/held")).json()["held"]] == [held]


async def test_another_members_proposal_is_not_approved_and_its_persons_are_unknown(desk: Desk) -> None:
    await doubted(desk.here)
    proposal = (await desk.post("/v1/identity/join", BOTH)).json()["proposal"]

    for address in (f"proposals/{proposal}/approval", f"proposals/{proposal}/drop", f"held/{proposal}/opening"):
        answer = await desk.post(f"/v1/identity/{address}", client="neighbour", headers=SECOND)
        assert answer.status_code == 404, address
    # The neighbour's own proposal about the same identifiers is about other persons, whom it does not know.
    answer = await desk.post("/v1/identity/join", BOTH, client="neighbour")

    assert (answer.status_code, answer.json()["code"]) == (404, "not-found")
    assert (await desk.get("/v1/identity/held", client="neighbour")).json() == {"held": []}
    assert (await desk.get("/v1/identity/unconfirmed", client="neighbour")).json() == {"unconfirmed": []}
    assert len((await desk.get("/v1/identity/unconfirmed")).json()["unconfirmed"]) == 1


async def doubted(here: InProcess) -> None:
    """Both identifiers were known when one record named them together: a join that nobody has confirmed."""
    await say(here, "active", MIGRI_CUSTOMER, "7000001")
    await say(here, "active", HETU, CODE)
    here.register.changed["7000001"] = with_code()  # type: ignore[assignment]
    await here.ask("7000001")


WRONG: list[tuple[str, Any, str, str]] = [
    ("none", {}, "invalid-request", "/identifiers"),
    ("one", {"identifiers": [NUMBER]}, "invalid-request", "/identifiers"),
    ("three", {"identifiers": [NUMBER, PERSON, PERSON]}, "invalid-request", "/identifiers"),
    ("no list", {"identifiers": NUMBER}, "invalid-request", "/identifiers"),
    ("a text", {"identifiers": [NUMBER, CODE]}, "invalid-request", "/identifiers/1"),
    (
        "check character",
        {"identifiers": [NUMBER, PERSON | {"value": "010190-900A"}]},
        "subject-check",
        "/identifiers/1/value",
    ),
    (
        "unknown system",
        {"identifiers": [NUMBER | {"system": "x"}, PERSON]},
        "subject-system-unknown",
        "/identifiers/0/system",
    ),
]


@pytest.mark.parametrize(("document", "code", "pointer"), [row[1:] for row in WRONG], ids=[row[0] for row in WRONG])
async def test_a_body_that_names_no_two_people_is_refused_with_the_place(
    desk: Desk, document: Any, code: str, pointer: str
) -> None:
    answer = await desk.post("/v1/identity/join", document)

    assert (answer.status_code, answer.json()["code"], answer.json()["pointer"]) == (400, code, pointer)
    assert desk.acts() == []


STRANGER, OTHER = {"system": LOCAL, "value": "K-11"}, {"system": HETU, "value": OTHER_CODE}


async def test_an_act_that_is_none_is_refused(desk: Desk) -> None:
    strange = await desk.post("/v1/identity/merge", BOTH)

    assert 400 <= strange.status_code < 500
    assert strange.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("act", "named", "status", "detail"),
    [
        ("join", (PERSON, STRANGER), 404, "nothing is known of identifier 2"),
        ("join", (PERSON, PERSON), 400, "both identifiers are the same one"),
        ("join", (PERSON, PERSON | {"value": CODE.lower()}), 400, "both identifiers are the same one"),
        ("undo", (STRANGER, PERSON), 404, "nothing is known of identifier 1"),
        ("undo", (PERSON, PERSON), 400, "both identifiers are the same one"),
        ("undo", (PERSON, OTHER), 404, "the two identifiers are not joined"),
        ("place", (NUMBER, PERSON), 404, "no join of the two identifiers was undone"),
    ],
)
async def test_what_cannot_be_carried_out_is_refused_when_it_is_proposed(
    desk: Desk, act: str, named: tuple[Any, Any], status: int, detail: str
) -> None:
    await doubted(desk.here)
    await say(desk.here, "active", HETU, OTHER_CODE)
    before = desk.acts()

    answer = await desk.post(f"/v1/identity/{act}", {"identifiers": named})

    assert (answer.status_code, answer.json()["detail"]) == (status, detail)
    assert CODE not in answer.text
    assert (await desk.get("/v1/identity/held")).json() == {"held": []}
    assert desk.acts() == before


async def test_whoever_approves_sees_the_act_and_whom_it_is_about_and_that_is_on_record(desk: Desk) -> None:
    for code in (CODE, OTHER_CODE):
        await say(desk.here, "active", HETU, code)
    answer = await desk.post("/v1/identity/join", {"identifiers": [PERSON, OTHER]})
    assert answer.json()["known_apart"] == "two-values", "two identity codes"
    proposal = answer.json()["proposal"]

    listed = await desk.get("/v1/identity/held", headers=SECOND)
    opened = await desk.post(f"/v1/identity/held/{proposal}/opening", headers=SECOND)

    (waiting,) = listed.json()["held"]
    assert (waiting["kind"], waiting["reason"]) == ("proposal", "join")
    assert CODE not in listed.text
    assert opened.json().items() >= {"reason": "join", "known_apart": "two-values"}.items()
    assert opened.json()["identifiers"] == [PERSON, OTHER]
    told = desk.here.entries()[-1]
    assert told.detail == {"act": "opened", "held": proposal, "proposal": "join"}
    assert told.agents.user != desk.here.entries()[-2].agents.user


async def test_whoever_agrees_that_a_record_is_about_one_person_sees_whom_it_names(desk: Desk) -> None:
    held = await held_handover(desk.here)
    answer = (await desk.post(f"/v1/identity/held/{held}/same")).json()

    opened = (await desk.post(f"/v1/identity/held/{answer['proposal']}/opening", headers=SECOND)).json()

    assert answer["known_apart"] == "two-values"
    assert (opened["reason"], opened["about"]) == ("same", held)
    assert opened["identifiers"] == [NUMBER, OTHER]


@pytest.mark.parametrize("by", [FIRST, SECOND], ids=["proposer", "another"])
async def test_a_proposal_is_dropped_by_whoever_made_it_and_by_another(desk: Desk, by: dict[str, str]) -> None:
    await doubted(desk.here)
    proposal = (await desk.post("/v1/identity/join", BOTH)).json()["proposal"]

    dropped = await desk.post(f"/v1/identity/proposals/{proposal}/drop", headers=by)
    late = await desk.post(f"/v1/identity/proposals/{proposal}/approval", headers=SECOND)

    assert dropped.status_code == 200
    assert late.status_code == 404
    assert (await desk.post(f"/v1/identity/proposals/{proposal}/drop", headers=by)).status_code == 404
    assert (await desk.get("/v1/identity/held")).json() == {"held": []}
    assert len((await desk.get("/v1/identity/unconfirmed")).json()["unconfirmed"]) == 1, "nothing was joined"
    told = desk.here.entries()[-1]
    assert (told.detail, told.agents.client) == (
        {"act": "dropped", "held": proposal, "proposal": "join"},
        "registrar",
    )


async def test_a_held_record_is_no_proposal_and_is_not_dropped(desk: Desk) -> None:
    held = await held_handover(desk.here)

    assert (await desk.post(f"/v1/identity/proposals/{held}/drop")).status_code == 404

    assert [record["id"] for record in (await desk.get("/v1/identity/held")).json()["held"]] == [held]


async def test_one_proposes_and_another_approves_and_each_is_on_record(desk: Desk) -> None:
    await doubted(desk.here)
    proposal = (await desk.post("/v1/identity/join", BOTH)).json()["proposal"]

    alone = await desk.post(f"/v1/identity/proposals/{proposal}/approval")
    assert (alone.status_code, alone.json()["code"]) == (403, "client-not-permitted")
    done = await desk.post(f"/v1/identity/proposals/{proposal}/approval", headers=SECOND)
    again = await desk.post(f"/v1/identity/proposals/{proposal}/approval", headers=SECOND)

    assert (done.status_code, done.json()) == (200, {"released": [], "handover": None})
    assert again.status_code == 404
    assert (await desk.get("/v1/identity/unconfirmed")).json() == {"unconfirmed": []}
    told = [entry for entry in desk.here.entries() if entry.type == "identity" and entry.agents.user]
    assert [entry.detail["act"] for entry in told] == ["proposed", "done", "confirmed"]
    assert {entry.agents.client for entry in told} == {"registrar"}
    assert told[0].agents.user != told[1].agents.user == told[2].agents.user


@pytest.mark.parametrize("spelt", ["REKISTERI-1", "Rekisteri-1"])
async def test_nobody_is_a_second_person_by_another_spelling_of_the_name(desk: Desk, spelt: str) -> None:
    await doubted(desk.here)
    proposal = (await desk.post("/v1/identity/join", BOTH)).json()["proposal"]

    answer = await desk.post(f"/v1/identity/proposals/{proposal}/approval", headers={USER_HEADER: spelt})

    assert (answer.status_code, answer.json()["code"]) == (403, "client-not-permitted")


@pytest.mark.parametrize("by", ["second-system", "sister"])
async def test_nobody_is_a_second_person_by_another_system_of_the_organisation(desk: Desk, by: str) -> None:
    await doubted(desk.here)
    proposal = (await desk.post("/v1/identity/join", BOTH)).json()["proposal"]

    alone = await desk.post(f"/v1/identity/proposals/{proposal}/approval", client=by)
    assert (alone.status_code, alone.json()["code"]) == (403, "client-not-permitted")
    done = await desk.post(f"/v1/identity/proposals/{proposal}/approval", client=by, headers=SECOND)
    assert done.status_code == 200


async def test_undoing_tells_what_left(desk: Desk) -> None:
    desk.here.register.changed["7000001"] = with_code()  # type: ignore[assignment]
    await say(desk.here, "active", MIGRI_CUSTOMER, "7000001")
    assert await moved(desk.here, "7000001")
    proposal = (await desk.post("/v1/identity/undo", BOTH)).json()["proposal"]

    done = await desk.post(f"/v1/identity/proposals/{proposal}/approval", headers=SECOND)

    (released,) = done.json()["released"]
    assert [entry.detail["released"] for entry in desk.here.entries() if entry.detail.get("act") == "undone"] == [1]
    assert released["recipient"] == str(desk.here.place.network.parties["kotka"].subsystem)
    assert "health-needs" in released["categories"]


async def test_a_held_record_has_an_owner_until_it_leaves(desk: Desk) -> None:
    held = await held_handover(desk.here)
    for headers in (FIRST, FIRST, SECOND):
        taken = await desk.post(f"/v1/identity/held/{held}/owner", headers=headers)
        assert taken.status_code == 200
    (record,) = (await desk.get("/v1/identity/held")).json()["held"]
    assert record["owner"] == taken.json()["owner"]
    assert record["owner"].startswith("registrar ")
    assert desk.acts()[-2:] == ["taken", "taken"], "whoever has it already takes nothing"

    assert (await desk.post(f"/v1/identity/held/{held}/apart")).status_code == 200
    assert (await desk.post(f"/v1/identity/held/{held}/owner")).status_code == 404
    proposal = (await desk.post("/v1/identity/join", BOTH)).json()["proposal"]
    answer = await desk.post(f"/v1/identity/held/{proposal}/owner", headers=SECOND)
    assert answer.status_code == 404, "a proposal stays its proposer's: taking it over would let one person be two"


async def test_a_record_is_overdue_after_a_working_day(desk: Desk) -> None:
    await held_handover(desk.here)
    assert [record["overdue"] for record in (await desk.get("/v1/identity/held")).json()["held"]] == [False]

    with writer(desk.here.exchange.engine).begin() as connection:
        week = 7 * 86_400_000_000
        connection.execute(update(held_records).values(created=held_records.c.created - week))

    assert [record["overdue"] for record in (await desk.get("/v1/identity/held")).json()["held"]] == [True]


async def test_the_handover_that_waited_goes_on(desk: Desk) -> None:
    held = await held_handover(desk.here)

    proposal = (await desk.post(f"/v1/identity/held/{held}/same")).json()["proposal"]
    alone = await desk.post(f"/v1/identity/proposals/{proposal}/approval", client="second-system")
    answer = await desk.post(f"/v1/identity/held/{held}/same", headers=SECOND)

    assert (alone.status_code, alone.json()["code"]) == (403, "client-not-permitted")
    assert answer.status_code == 200
    assert answer.json()["handover"]
    assert OTHER_CODE not in answer.text


async def test_the_description_of_the_interface_shows_every_address(desk: Desk) -> None:
    paths = (await desk.get("/openapi.json")).json()["paths"]

    shown = {(method.upper(), path) for path, methods in paths.items() for method in methods}
    for method, path in ADDRESSES:
        found = path.replace("{id}", "{identifier}")
        for act in ("join", "undo", "place"):
            found = "/v1/identity/{act}" if found.endswith(f"identity/{act}") else found
        assert (method, found) in shown
