"""Three nodes in one process, each wired to the doors of the others: the centre, a municipality, and the next one."""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import select

from audit.log.entries import Entry
from consent.rulebook import reference_rulebook
from gateway.demo.organisations import DEMO, Organisation
from gateway.exchange.opening import PeerCall
from gateway.exchange.transport import Reply
from gateway.handover.deliver import Deliveries
from gateway.keys.certificates import to_der
from gateway.registry.read.entries import Node
from gateway.storage.tables import deliveries
from gateway.wire.problems import ProblemError, UnsentError
from schemas.identifiers import MIGRI_CUSTOMER
from schemas.projection import categories_in, project
from tests.gateway.exchange.inprocess import InProcess, Place, node, problem_of
from tests.gateway.handover.test_deliveries import order
from texts import Text

WHO = "7000001"
GIVEN = frozenset({"identity", "language", "residence-permit", "housing", "contact"})
TAMPERE = Organisation(
    "tampere",
    Text("Tampere (demo)", "Tammerfors (demo)", "Tampere (demo)"),
    "MUN/9000008-9",
    "kotoutuminen",
    ("municipality",),
    "tampere.demo",
    municipalities=("837",),
)
KOTKA = "285"
WORD = {
    "kind": "consent", "digest": f"sha-256=:{'A' * 43}=:", "day": "2026-01-01", "giver": "self",
    "section": "681/2023 85",
}  # fmt: skip
NOTICE: Mapping[str, Any] = {
    "notice": "n-1", "consent": "c-1", "status": "refused", "categories": ["housing"],
    "subject": [{"system": MIGRI_CUSTOMER, "value": WHO}],
}  # fmt: skip


def a_place(folder: Path) -> Place:
    return Place.build(folder, organisations=(*DEMO, TAMPERE), rulebook=reference_rulebook())


@dataclass
class Wire:
    """Carries a node's signed messages to the doors of the others, as its transport does over TLS."""

    sender: InProcess
    nodes: dict[str, InProcess]
    #: How the line breaks: after the message has been carried, or before.
    breaks: ProblemError | None = None

    async def send(self, to: Node, message: str, body: bytes, content_type: str, trace: Mapping[str, str]) -> Reply:
        if to.id not in self.nodes:
            raise ProblemError("peer-unreachable", detail="nobody listens there")
        if isinstance(self.breaks, UnsentError):
            raise self.breaks
        certificate = to_der((self.sender.party.folder / "tls.pem").read_bytes())
        call = PeerCall(message, body, content_type, certificate, "0" * 32, trace)
        answer = await self.nodes[to.id].provider.answer(call)
        if self.breaks is not None:
            raise self.breaks
        return Reply(answer.status, answer.message, answer.content_type, answer.body)


@dataclass
class Chain:
    """Three nodes: the centre's, the first municipality's, and that to which the person moved on."""

    centre: InProcess
    kotka: InProcess
    tampere: InProcess

    async def came(self, person: str = WHO, party: str = "centre", delivery: str = "d-1", purpose: str = "") -> None:
        """The first municipality gets what a handover brings."""
        bundle = project(self.kotka.register.bundle(person), frozenset({"identity", "language"})).bundle
        document = {"handover": f"h-{delivery}", "delivery": delivery, "flow": "F1", "bundle": bundle, "wrd": {}}
        answer = await self.kotka.bring("saapuvat", document, party=party)
        assert problem_of(answer) is None, answer.body[-500:]

    async def came_back(self) -> None:
        """The first municipality gets the person from the next one, by the person's consent."""
        bundle = project(moving(self.kotka.register.bundle(WHO), KOTKA), frozenset({"identity", "housing"})).bundle
        bundle["entry"].append(moving(self.kotka.register.bundle(WHO))["entry"][-1])
        words = dict.fromkeys(categories_in(bundle), WORD)
        document = {"handover": "h-b", "delivery": "d-b", "flow": "F10", "bundle": bundle, "wrd": words}
        answer = await self.kotka.bring("saapuvat", document, party="tampere", purpose="onward-move")
        assert problem_of(answer) is None, answer.body[-500:]

    async def passed_on(self, person: str = WHO, breaks: ProblemError | None = None) -> None:
        """It hands the person over to the next one, by the person's consent, and the next one holds it.

        If the line breaks, it does not know whether it does.
        """
        wire = self.kotka.exchange.transport
        assert isinstance(wire, Wire)
        wire.breaks = breaks
        form = {
            "kind": "consent", "purposes": ["onward-move"], "recipients": ["municipality"], "categories": sorted(GIVEN),
            "given_by": {"kind": "self"},
        }  # fmt: skip
        await consented(self.kotka, person, form)
        await order(self.kotka, person, flow="F10", bundle=moving(self.kotka.register.bundle(person)))
        await worked(self.kotka)
        wire.breaks = None
        ended = "success" if breaks is None else "failed"
        assert [entry for entry in releases(self.kotka) if entry.outcome == ended]

    async def told(self, party: str = "centre", **changes: Any) -> dict[str, Any]:
        """The receipt of a notice that the first municipality gets."""
        answer = await self.kotka.bring("ilmoitukset", {**NOTICE, **changes}, party=party, purpose="withdrawal-notice")
        assert answer.status == 200, answer.body
        found: dict[str, Any] = orjson.loads(answer.body)
        return found

    def planned(self) -> list[Any]:
        with self.kotka.exchange.engine.connect() as connection:
            return list(connection.execute(select(deliveries).where(deliveries.c.kind == "notice")))


@asynccontextmanager
async def chained(place: Place, database_url: str, tmp_path: Path) -> AsyncIterator[Chain]:
    """The three nodes; the first municipality's over this database."""
    async with AsyncExitStack() as stack:
        centre = await stack.enter_async_context(node(place, f"sqlite:///{tmp_path}/centre.db"))
        kotka = await stack.enter_async_context(node(place, database_url, of="kotka"))
        tampere = await stack.enter_async_context(node(place, f"sqlite:///{tmp_path}/tampere.db", of="tampere"))
        by_node = {"centre.demo": centre, "kotka.demo": kotka, "tampere.demo": tampere}
        wired = [
            replace(here, exchange=replace(here.exchange, transport=Wire(here, by_node)))
            for here in (centre, kotka, tampere)
        ]
        yield Chain(*wired)


async def consented(here: InProcess, person: str, form: dict[str, Any]) -> str:
    from gateway.sources.backends import Locator

    recorded = await here.consents.record("test", here.party.subsystem, Locator(MIGRI_CUSTOMER, person), form)
    return recorded.record.id


def moving(bundle: dict[str, Any], municipality: str = "837") -> dict[str, Any]:
    """The same person, who moves to the next municipality, or this one, and has a plan in force."""
    moved = copy.deepcopy(bundle)
    move = next(part for part in moved["entry"][0]["resource"]["extension"] if part["url"].endswith(":move"))
    for part in move["extension"]:
        if part["url"] == "municipality":
            part["valueCoding"] = {**part["valueCoding"], "code": municipality}
    kind = {"system": "urn:yhdyspinta:codes:plan-kind", "code": "integration-plan"}
    plan = {
        "resource": {
            "resourceType": "CarePlan", "id": "care-plan-1", "status": "active", "intent": "plan",
            "category": [{"coding": [kind]}], "subject": {"reference": "Patient/patient-1"},
            "period": {"start": "2025-01-01"},
        }
    }  # fmt: skip
    moved["entry"].append(plan)
    return moved


async def worked(here: InProcess) -> None:
    """Send what is due."""
    work = Deliveries(here.exchange)
    for delivery in await work._claim():
        await work._attempt(delivery)


def releases(here: InProcess) -> list[Entry]:
    return [entry for entry in here.entries() if entry.type == "delivery"]
