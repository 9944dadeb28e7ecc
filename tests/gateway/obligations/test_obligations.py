"""What comes with a delivery is done: people are told, contents end on their day, what may not go on does not."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from audit.log.entries import ZONE, Entry
from consent.rulebook import load, reference_rulebook
from consent.rules.law import Period
from consent.rules.provisions import Provision
from consent.rules.request import SubjectFacts
from gateway.exchange.deciding import Case, decide_between
from gateway.handover.plan import Plan
from gateway.obligations.arising import care_of
from gateway.obligations.retention import Retention
from gateway.obligations.tasks import Care, Settling, listed, one, settle
from gateway.person.restrictions import Restriction, keep
from gateway.registry.read.standing import Standing
from gateway.storage.tables import bodies, handovers, inbox, restrictions, tasks
from schemas.identifiers import MIGRI_CUSTOMER
from schemas.projection import project
from tests.gateway.exchange.inprocess import InProcess, Place, node, problem_of
from tests.gateway.handover.test_deliveries import order
from tests.gateway.web.faces import Face, faces

PURPOSE = "reception-to-municipality"
FOUR_YEARS = Period("four-years", dict.fromkeys(("fi", "sv", "en"), "4"), Provision.parse("615/2020 15"), 4)
GIVEN = ("identity", "language", "residence-permit")
WHO = {"Yhdyspinta-User": "rekisteri-1"}
TOLD = {"outcome": "told", "channel": "meeting", "language": "ti", "is_safe": True}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place.build(tmp_path_factory.mktemp("obligations"), rulebook=reference_rulebook())


@dataclass
class Obliging:
    """The network's rulebook, with other obligations of what the centre's handovers rest on."""

    obligations: frozenset[str]

    def __call__(self, standing: Standing) -> Standing:
        rulebook = load(reference_rulebook(), source="reference")
        bases = tuple(
            replace(basis, obligations=self.obligations, retention=FOUR_YEARS.code)
            if PURPOSE in basis.purposes
            else basis
            for basis in rulebook.bases
        )
        rulebook = replace(rulebook, retention={FOUR_YEARS.code: FOUR_YEARS})
        return replace(standing, rulebook=rulebook.with_bases(bases), possible=set())


@dataclass
class Clock:
    passed: timedelta = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.passed


@dataclass
class Kotka:
    """The municipality's node, which gets deliveries, and its own system."""

    here: InProcess
    face: Face
    clock: Clock

    async def brought(self, person: str, delivery: str, *categories: str) -> None:
        bundle = project(self.here.register.bundle(person), frozenset(categories or GIVEN)).bundle
        document = {"handover": f"h-{delivery}", "delivery": delivery, "flow": "F1", "bundle": bundle, "wrd": {}}
        answer = await self.here.bring("saapuvat", document, party="centre", purpose=PURPOSE)
        assert problem_of(answer) is None, str(answer.body)[-900:]

    async def tasks(self, *, everything: bool = False) -> list[dict[str, Any]]:
        answer = await self.face.call("GET", "/v1/tasks", params={"everything": str(everything).lower()})
        found: list[dict[str, Any]] = answer.json()["tasks"]
        return found

    async def end(self, task: str, **said: Any) -> Any:
        form = {"day": today()} | said
        return await self.face.call("POST", f"/v1/tasks/{task}/outcome", json=form, headers=WHO)

    def told(self, kind: str = "obligation") -> list[Entry]:
        return [entry for entry in self.here.entries() if entry.type == kind]


def today() -> str:
    return datetime.now(ZONE).date().isoformat()


async def a_node(place: Place, database: str, *obligations: str) -> AsyncIterator[Kotka]:
    clock = Clock()
    async with (
        node(place, database, of="kotka", standing=Obliging(frozenset(obligations)), clock=clock) as here,
        faces(here) as both,
    ):
        yield Kotka(here, both.clients, clock)
        assert both.clients.errors == []


@pytest.fixture
async def telling(place: Place, database_url: str) -> AsyncIterator[Kotka]:
    async for found in a_node(place, database_url, "minimise", "notify-subject"):
        yield found


@pytest.fixture
async def hiding(place: Place, database_url: str) -> AsyncIterator[Kotka]:
    async for found in a_node(place, database_url, "minimise", "notify-subject", "hide-from-subject"):
        yield found


@pytest.fixture
async def retaining(place: Place, database_url: str) -> AsyncIterator[Kotka]:
    async for found in a_node(place, database_url, "minimise", "retain-at-most"):
        yield found


@pytest.fixture
async def keeping(place: Place, database_url: str) -> AsyncIterator[Kotka]:
    async for found in a_node(place, database_url, "minimise", "no-onward-disclosure"):
        yield found


# -- the person is told ------------------------------------------------------------------------------------------------


async def test_recipient_gets_a_task_to_tell_the_person_and_proves_that_it_did(telling: Kotka) -> None:
    await telling.brought("7000001", "d-1")

    (task,) = await telling.tasks()
    assert (task["kind"], task["state"], task["overdue"]) == ("notify-subject", "open", False)
    assert task["bases"]
    assert task["categories"] == sorted(GIVEN)
    assert "7000001" not in str(task), "a list shows nobody"
    opened = (await telling.face.call("POST", f"/v1/tasks/{task['id']}/opening", headers=WHO)).json()
    assert {"system": MIGRI_CUSTOMER, "value": "7000001"} in opened["subject"]
    assert "vastaanottokeskus" in opened["notices"]["fi"].lower()
    assert set(opened["notices"]) == {"fi", "sv", "en"}

    ended = await telling.end(task["id"], **TOLD)
    assert (ended.status_code, ended.json()["state"], ended.json()["outcome"]) == (201, "done", "told")
    proof = ended.json()["proof"]
    assert (proof["day"], proof["channel"], proof["language"]) == (today(), "meeting", "ti")
    assert proof["by"]
    assert await telling.tasks() == []
    assert [done["id"] for done in await telling.tasks(everything=True)] == [task["id"]]
    assert (await telling.end(task["id"], **TOLD)).json()["code"] == "not-found"
    made, seen, done = telling.told()
    assert [str(entry.outcome) for entry in (made, seen, done)] == ["pending", "success", "success"]
    assert (done.previous, done.detail["outcome"], done.detail["channel"]) == (made.id, "told", "meeting")
    assert made.subject == done.subject is not None
    assert "7000001" not in str([entry.to_dict() for entry in (made, seen, done)])


async def test_person_is_told_once_of_one_sender_purpose_and_basis(telling: Kotka) -> None:
    await telling.brought("7000001", "d-1")
    await telling.brought("7000001", "d-2")
    assert len(await telling.tasks()) == 1

    await telling.brought("7000002", "d-3")
    assert len(await telling.tasks()) == 2


async def test_task_that_nobody_saw_to_is_overdue_after_a_month(telling: Kotka) -> None:
    await telling.brought("7000001", "d-1")
    with telling.here.exchange.engine.begin() as connection:
        connection.execute(tasks.update().values(due="2026-01-31"))

    answer = (await telling.face.call("GET", "/v1/tasks")).json()

    assert answer["overdue"] == 1
    assert answer["tasks"][0]["overdue"] is True


async def test_who_must_not_be_told_is_not_told(hiding: Kotka) -> None:
    await hiding.brought("7000001", "d-1")

    assert await hiding.tasks() == []
    assert hiding.told() == []


@pytest.mark.parametrize(
    ("said", "pointer"),
    [
        ({"outcome": "told", "language": "ti", "is_safe": True}, "/channel"),
        ({"outcome": "told", "channel": "letter", "is_safe": True}, "/language"),
        ({"outcome": "deleted"}, "/outcome"),
        ({"outcome": "laid-down-by-law"}, "/remark"),
        ({"outcome": "must-stay-secret", "remark": " "}, "/remark"),
        ({**TOLD, "day": "2999-01-01"}, "/day"),
        ({**TOLD, "day": "1999-01-01"}, "/day"),
        ({**TOLD, "day": (datetime.now(ZONE) - timedelta(days=2)).date().isoformat()}, "/day"),
    ],
)
async def test_ending_that_proves_nothing_is_refused(telling: Kotka, said: dict[str, Any], pointer: str) -> None:
    await telling.brought("7000001", "d-1")
    (task,) = await telling.tasks()

    answer = await telling.end(task["id"], **said)

    assert (answer.status_code, answer.json()["pointer"]) == (400, pointer)
    assert [task["state"] for task in await telling.tasks()] == ["open"]


async def test_what_excuses_telling_may_be_older_than_the_data(telling: Kotka) -> None:
    await telling.brought("7000001", "d-1")
    (task,) = await telling.tasks()

    ended = await telling.end(task["id"], outcome="knows-already", remark="heard it at the centre", day="2026-01-02")

    assert (ended.status_code, ended.json()["state"]) == (201, "done")


async def test_where_a_letter_can_harm_a_human_weighs_the_way(telling: Kotka) -> None:
    """The record does not say whether there is a safety prohibition, so that there may be one."""
    await telling.brought("7000001", "d-1")
    (task,) = await telling.tasks()
    assert "safety-prohibition" in task["care"]

    answer = await telling.end(task["id"], **(TOLD | {"is_safe": False, "channel": "letter"}))

    assert answer.json()["pointer"] == "/is_safe"


@pytest.mark.parametrize(
    ("facts", "reasons"),
    [
        (None, {Care.SAFETY, Care.MINOR}),
        (SubjectFacts(safety_prohibition=False, age=30), set()),
        (SubjectFacts(safety_prohibition=True, age=30), {Care.SAFETY}),
        (SubjectFacts(safety_prohibition=False, age=17), {Care.MINOR}),
        (SubjectFacts(safety_prohibition=False), {Care.MINOR}),
        (SubjectFacts(safety_prohibition=False, age=30, trafficking_victim=True), {Care.TRAFFICKING}),
        (SubjectFacts(safety_prohibition=False, age=30, has_guardian=True), {Care.GUARDIAN}),
    ],
)
def test_what_protects_holds_where_it_is_not_known(facts: SubjectFacts | None, reasons: set[Care]) -> None:
    assert set(care_of(facts)) == reasons


async def test_task_needs_the_person_who_sees_to_it_and_is_ones_own(telling: Kotka) -> None:
    await telling.brought("7000001", "d-1")
    (task,) = await telling.tasks()

    answer = await telling.face.call("POST", f"/v1/tasks/{task['id']}/opening")

    assert answer.json()["pointer"] == "/Yhdyspinta-User"
    assert (await telling.face.call("POST", "/v1/tasks/none/opening", headers=WHO)).status_code == 404


async def test_task_ends_once_and_at_whoever_saw_it_as_it_stands(telling: Kotka) -> None:
    await telling.brought("7000001", "d-1")
    (task,) = await telling.tasks()
    exchange, member = telling.here.exchange, str(telling.here.party.subsystem.member)
    entry = replace(telling.told()[0], id="another")
    with exchange.engine.begin() as connection:
        row = one(connection, [member], task["id"])
        assert row is not None
        assert one(connection, ["FI-DEMO/GOV/another"], task["id"]) is None
        assert listed(connection, ["FI-DEMO/GOV/another"], None, exchange.clock().date()) == ()

        assert settle(connection, row, None, Settling("told", {}, entry))
        assert not settle(connection, row, None, Settling("knows-already", {}, entry))


# -- what is kept ends -------------------------------------------------------------------------------------------------


async def test_content_ends_on_its_day_and_the_recipient_confirms_its_own(retaining: Kotka) -> None:
    await retaining.brought("7000001", "d-1")
    (item,) = (await retaining.face.call("GET", "/v1/inbox")).json()["items"]
    assert item["retain_until"] is not None
    assert item["retain_until"][:4] == str(int(today()[:4]) + 4)
    (task,) = await retaining.tasks()
    assert (task["kind"], task["due"]) == ("confirm-deletion", item["retain_until"])
    retention = Retention(retaining.here.exchange)
    assert not await retention.is_any_over()
    assert await retention.end() == 0

    last = datetime.fromisoformat(f"{item['retain_until']}T12:00:00").replace(tzinfo=ZONE)
    retaining.clock.passed = last - datetime.now(UTC)
    assert not await retention.is_any_over(), "on its last day it is kept"
    retaining.clock.passed += timedelta(days=1)
    assert await retention.is_any_over()
    assert await retention.end() == 1
    retaining.clock.passed = timedelta()
    with retaining.here.exchange.engine.connect() as connection:
        (row,) = connection.execute(select(inbox)).all()
        assert connection.execute(select(bodies).where(bodies.c.message_id == row.id)).all() == []
    assert (row.sealed, row.contact) == (None, None)
    opened = await retaining.face.call("GET", f"/v1/inbox/{item['id']}")
    assert opened.json()["code"] == "body-destroyed"
    (entry,) = retaining.told("retention")
    assert (entry.detail["delivery"], entry.detail["last"]) == ("d-1", item["retain_until"])
    assert await retention.end() == 0, "once"


async def test_recipient_confirms_a_deletion_or_says_that_the_relationship_goes_on(retaining: Kotka) -> None:
    await retaining.brought("7000001", "d-1")
    (task,) = await retaining.tasks()

    missing = await retaining.end(task["id"], outcome="relationship-goes-on")
    assert missing.json()["pointer"] == "/until"
    at_once = await retaining.end(task["id"], outcome="relationship-goes-on", until=today())
    assert at_once.json()["pointer"] == "/until"
    later = await retaining.end(task["id"], outcome="relationship-goes-on", until="2035-06-30")
    assert (later.json()["state"], later.json()["due"]) == ("open", "2035-06-30")
    done = await retaining.end(task["id"], outcome="deleted")
    assert (done.json()["state"], done.json()["outcome"]) == ("done", "deleted")
    assert [entry.detail.get("outcome") for entry in retaining.told()] == [None, "relationship-goes-on", "deleted"]


# -- what may not go on ------------------------------------------------------------------------------------------------


async def restricted(here: InProcess, person: str) -> frozenset[str]:
    named = here.exchange.looked_for(here.party.subsystem, MIGRI_CUSTOMER, person)
    return (await here.exchange.people.recall(named)).restricted


async def test_what_came_on_that_condition_is_not_passed_on(keeping: Kotka) -> None:
    await keeping.brought("7000001", "d-1")
    here = keeping.here

    assert await restricted(here, "7000001") == set(GIVEN)
    assert await restricted(here, "7000002") == frozenset()
    with here.exchange.engine.connect() as connection:
        kept = connection.execute(select(restrictions)).all()
    assert {row.sender for row in kept} == {str(here.place.network.parties["centre"].subsystem)}
    assert all(row.basis for row in kept)


@pytest.mark.parametrize(("is_marked", "kept"), [(True, {"contact/address", "contact/telecom"}), (False, set())])
async def test_what_a_safety_prohibition_lets_through_goes_no_further(
    telling: Kotka, is_marked: bool, kept: set[str]
) -> None:
    def marked(bundle: dict[str, Any]) -> None:
        said = bundle["entry"][0]["resource"]["extension"]
        said[:] = [part for part in said if not part["url"].endswith(":safety-prohibition")]
        mark = {"url": "active", "valueBoolean": is_marked}
        said.append({"url": "urn:yhdyspinta:extension:safety-prohibition", "extension": [mark]})

    register = replace(telling.here.register, changed={"7000001": marked})
    here = replace(telling.here, register=register)

    await replace(telling, here=here).brought("7000001", "d-1", *GIVEN, "contact")

    assert await restricted(here, "7000001") == kept


async def test_nothing_is_held_back_of_what_came_without_the_condition(telling: Kotka) -> None:
    await telling.brought("7000001", "d-1")

    assert await restricted(telling.here, "7000001") == frozenset()


async def test_holder_sends_nothing_on_of_what_came_on_that_condition(place: Place, database_url: str) -> None:
    async with node(place, database_url) as here:
        before = await order(here, "R1")
        with here.exchange.engine.begin() as connection:
            subject = connection.execute(select(handovers.c.subject)).scalar_one()
            came = Restriction("m-1", "FI-DEMO/GOV/1/x", {"language": "b"})
            keep(connection, [subject], came, here.exchange.clock())
        after = await order(here, "R1", idempotency="again")
        other = await order(here, "R2")

    assert "language" in permitted_to("municipality", before)
    assert "language" not in permitted_to("municipality", after)
    assert "identity" in permitted_to("municipality", after)
    assert "language" in permitted_to("municipality", other)


async def test_question_is_answered_without_what_came_on_that_condition(place: Place, database_url: str) -> None:
    async with node(place, database_url) as here:
        await order(here, "R3")
        asked = frozenset({"identity", "language"})
        before = await here.ask("R3", categories=asked)
        with here.exchange.engine.begin() as connection:
            subject = connection.execute(select(handovers.c.subject)).scalar_one()
            keep(connection, [subject], Restriction("m-1", "FI-DEMO/GOV/1/x", {"language": "b"}), here.exchange.clock())
        after = await here.ask("R3", categories=asked)

        told = [entry.categories.permitted for entry in here.entries() if entry.type == "query"]

    assert (problem_of(before), problem_of(after)) == (None, None)
    assert told == [("identity", "language"), ("identity",)]


def permitted_to(role: str, plan: Plan) -> frozenset[str]:
    (planned,) = (planned for planned in plan.deliveries if planned.role == role)
    assert planned.decision is not None
    return planned.decision.permitted_categories


@pytest.mark.parametrize(
    ("restricted_", "emergency", "permitted"),
    [(frozenset(), False, True), (frozenset({"language"}), False, False), (frozenset({"identity"}), False, True)],
)
async def test_decision_withholds_it_with_a_reason_of_its_own(
    place: Place, database_url: str, restricted_: frozenset[str], emergency: bool, permitted: bool
) -> None:
    async with node(place, database_url) as here:
        now = here.exchange.clock()
        standing = here.exchange.standing(now)
        case = Case(
            provider=here.party.subsystem,
            requester=place.network.parties["kotka"].subsystem,
            purpose=PURPOSE,
            categories=frozenset({"language"}),
            at=now,
            facts=SubjectFacts(
                permit_ground="asylum-granted", permit_granted=True, age=30, municipality="285", county="08",
                safety_prohibition=False, within_three_years=True,
            ),
            mode="handover",
            restricted=restricted_,
        )  # fmt: skip
        decision = decide_between(standing.registry, standing.rulebook, case)

    assert ("language" in decision.permitted_categories) is permitted
    if not permitted:
        assert {withheld.code for withheld in decision.withheld} == {"no-onward-disclosure"}
