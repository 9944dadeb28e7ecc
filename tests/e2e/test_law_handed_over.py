"""What the acts let move, handed over for real: by a running node, to the nodes that take it in.

Each person is made for their case out of a record of the register, with a number of their own.
"""

from __future__ import annotations

import asyncio
import copy
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import pytest

from adapters.sdk import Limits
from adapters.sdk import load as load_adapter
from consent.rulebook import load, reference_rulebook
from gateway.demo.network import Network
from gateway.demo.organisations import DEMO, Organisation
from schemas.facts import EXTENSION
from schemas.identifiers import MIGRI_CUSTOMER
from tests.e2e.conftest import Stage, network
from tests.e2e.test_ten_people import NEIGHBOURS, plan
from tests.waiting import until
from texts import Text

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

RULEBOOK = load(reference_rulebook(), source="reference")
TAMPERE = next(organisation for organisation in NEIGHBOURS if organisation.name == "tampere")
KELA = Organisation(
    "kela",
    Text("Kela (demo)", "FPA (demo)", "Kela (demo)"),
    "GOV/9000009-7",
    "etuudet",
    ("benefits-agency",),
    "kela.demo",
)
ACTIONS = '["query", "handover", "inbox", "consent", "decision", "task"]'
TO_CONTACT: dict[str, Any] = {
    "by": "kotka", "kind": "consent", "purposes": ["onward-move"], "recipients": ["municipality"],
    "categories": ["identity", "language", "contact", "move", "housing"],
}  # fmt: skip
NUMBERS = count(1)
Record = dict[str, Any]


@dataclass
class Outcome:
    """Of one delivery: by which provision each category goes, and why the others do not."""

    handover: str
    state: str
    given: dict[str, str]
    withheld: dict[str, str]


@dataclass
class People:
    """Somebody of each case, as often as a test needs one."""

    stage: Stage
    records: dict[str, Record] = field(default_factory=dict)

    def somebody(self, case: str, *changes: Callable[[Record], None]) -> Record:
        if not self.records:
            adapter = load_adapter("reception-centre-csv")
            read = adapter.convert(io.BytesIO(self.stage.export.read_bytes()), Limits())
            for name, mapped in zip(self.stage.cases, read, strict=False):
                if mapped.bundle is not None:
                    self.records[name] = mapped.bundle
        record = copy.deepcopy(self.records[case])
        record["entry"][0]["resource"]["identifier"] = [{"system": MIGRI_CUSTOMER, "value": f"LAW-{next(NUMBERS)}"}]
        for change in changes:
            change(record)
        return record

    def hand_over(self, record: Record, flow: str = "F1", sender: str = "centre") -> dict[str, Outcome]:
        """What became of it, by the role of the recipient."""
        path = f"/v1/handovers?flow={flow}&adapter=canonical"
        answer = asyncio.run(self.stage.call(sender, "POST", path, record, expect=201))
        (planned,) = answer["body"]["handovers"]
        return {delivery["role"]: outcome(planned["id"], delivery) for delivery in planned["deliveries"]}

    def say(self, record: Record, *, by: str = "centre", **word: Any) -> dict[str, Any]:
        document = {"subject": record["entry"][0]["resource"]["identifier"][0], "given_by": {"kind": "self"}, **word}
        answer = asyncio.run(self.stage.call(by, "POST", "/v1/consents", document, expect=201))
        found: dict[str, Any] = answer["body"]
        return found

    def arrived(self, at: str, handover: str) -> dict[str, Any]:
        """What another node has taken in of it."""

        async def looked() -> list[dict[str, Any]]:
            answer = await self.stage.call(at, "GET", "/v1/inbox?limit=1000", expect=200)
            return [item for item in answer["body"]["items"] if item["handover"] == handover]

        (item,) = asyncio.run(until(looked, bool))
        return dict(item)


def outcome(handover: str, delivery: dict[str, Any]) -> Outcome:
    given = {}
    for permitted in delivery["permitted"] or ():
        basis = RULEBOOK.basis(permitted["basis"])
        assert basis is not None
        assert basis.source is not None
        given[permitted["category"]] = str(basis.source.provision)
    withheld = {held["category"]: held["code"] for held in delivery["withheld"] or ()}
    return Outcome(handover, delivery["state"], given, withheld)


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Iterator[People]:
    folder = tmp_path_factory.mktemp("handed")
    with network(folder, (*DEMO, TAMPERE, KELA), prepare=_let_systems_see_tasks) as stage:
        yield People(stage)


def _let_systems_see_tasks(built: Network) -> None:
    for party in built.parties.values():
        text = party.config.read_text("utf-8")
        assert "[clients.rights]" not in text
        party.config.write_text(f"{text}\n[clients.rights]\nactions = {ACTIONS}\n", "utf-8")


def moves_to(municipality: str) -> Callable[[Record], None]:
    def moved(record: Record) -> None:
        for part in _extension(record, "move")["extension"]:
            if part["url"] == "municipality":
                part["valueCoding"] = {**part["valueCoding"], "code": municipality}

    return moved


def gets(benefit: str, first: str, last: str = "") -> Callable[[Record], None]:
    """A benefit, from a day on, and until one if there is such."""
    days = {f"{benefit}-from": first, f"{benefit}-until": last}
    said = [{"url": name, "valueDate": day} for name, day in days.items() if day]

    def told(record: Record) -> None:
        record["entry"][0]["resource"]["extension"].append({"url": f"{EXTENSION}benefits", "extension": said})

    return told


def has_plan(record: Record) -> None:
    record["entry"].append(plan("2025-01-01"))


def died(day: str) -> Callable[[Record], None]:
    return lambda record: record["entry"][0]["resource"].update(deceasedDateTime=day)


def without_permit(record: Record) -> None:
    for part in _extension(record, "residence-permit")["extension"]:
        if part["url"] == "granted":
            part["valueBoolean"] = False
        if part["url"] == "ground":
            part["valueCoding"] = {**part["valueCoding"], "code": "pending"}


def without_mark(record: Record) -> None:
    person = record["entry"][0]["resource"]
    mark = EXTENSION + "safety-prohibition"
    person["extension"] = [part for part in person["extension"] if part["url"] != mark]


def _extension(record: Record, name: str) -> Any:
    return next(part for part in record["entry"][0]["resource"]["extension"] if part["url"] == EXTENSION + name)


# 2 The move to another municipality: contact with the client's consent, and only with it (681/2023 85 §).


def test_next_municipality_is_contacted_with_consent_only(people: People) -> None:
    someone = people.somebody("p10-moves-on", moves_to("837"), has_plan)
    without = people.hand_over(someone, "F10", "kotka")["municipality"]
    agreed = people.somebody("p10-moves-on", moves_to("837"), has_plan)
    people.say(agreed, **TO_CONTACT)
    by_consent = people.hand_over(agreed, "F10", "kotka")["municipality"]
    refusing = people.somebody("p10-moves-on", moves_to("837"), has_plan)
    people.say(refusing, **TO_CONTACT)
    people.say(refusing, by="kotka", kind="prohibition")
    against = people.hand_over(refusing, "F10", "kotka")["municipality"]

    assert (without.state, without.given) == ("stopped", {})
    assert by_consent.given.get("housing") == "681/2023 85"
    assert "health-needs" not in by_consent.given
    assert (against.state, against.given) == ("stopped", {})
    assert people.arrived("tampere", by_consent.handover)["flow"] == "F10"


def test_contact_needs_a_plan_in_force_besides_the_consent(people: People) -> None:
    someone = people.somebody("p10-moves-on", moves_to("837"))
    people.say(someone, **TO_CONTACT)

    assert "681/2023 85" not in people.hand_over(someone, "F10", "kotka")["municipality"].given.values()


# 3 Patient data to the county: by permission, and against no prohibition (703/2023 54 §, 58 §).


def test_patient_data_goes_to_the_county_by_permission(people: People) -> None:
    someone = people.somebody("p01-asylum-adult")
    unasked = people.hand_over(someone)["county"]
    permitting = people.somebody("p01-asylum-adult")
    people.say(permitting, kind="permission", recipients=["county"], categories=["health-needs"])
    permitted = people.hand_over(permitting)["county"]
    forbidding = people.somebody("p01-asylum-adult")
    people.say(forbidding, kind="permission", recipients=["county"], categories=["health-needs"])
    people.say(forbidding, kind="prohibition", categories=["health-needs"])
    forbidden = people.hand_over(forbidding)["county"]

    assert unasked.withheld["health-needs"] in {"consent-missing", "permission-missing", "permission-not-asked"}
    assert permitted.given["health-needs"] == "703/2023 54:1"
    assert "health-needs" in forbidden.withheld
    assert people.arrived("kymenlaakso", permitted.handover)["categories"]


def test_prohibition_stops_no_right_of_the_municipality(people: People) -> None:
    forbidding = people.somebody("p01-asylum-adult")
    people.say(forbidding, kind="prohibition")

    given = people.hand_over(forbidding)["municipality"].given

    assert given["housing"].startswith("681/2023 8")


# 4 A neighbour's report holds what rests on words, until the person is asked; the person's answer counts.


def test_neighbours_report_holds_what_goes_by_consent_until_the_person_is_asked(people: People) -> None:
    someone = people.somebody("p01-asylum-adult")
    consent = {"purposes": ["reception-to-county"], "recipients": ["county"], "categories": ["vulnerability"]}
    people.say(someone, kind="consent", **consent)
    before = people.hand_over(someone)["county"]
    word = people.say(someone, kind="prohibition", given_by={"kind": "other"}, language="ti")
    told_again, told_later = copy.deepcopy(someone), copy.deepcopy(someone)
    has_plan(told_again)
    told_later["entry"].append(plan("2025-02-01"))
    held = people.hand_over(told_again)["county"]
    answer = {
        "forbids": False, "subject": someone["entry"][0]["resource"]["identifier"][0], "given_by": {"kind": "self"},
        "subject_age": 31,
    }  # fmt: skip
    answered = asyncio.run(people.stage.call("centre", "POST", f"/v1/reports/{word['id']}/answer", answer))
    after = people.hand_over(told_later)["county"]

    assert word["kind"] == "report"
    assert before.given.get("vulnerability") == "703/2023 6", before
    assert "vulnerability" in held.withheld
    assert answered["status"] in {200, 201}, answered
    assert after.given.get("vulnerability") == "703/2023 6", after


# 8 Of the dead only what their own section gives, which no handover is (703/2023 52 §).


def test_record_of_a_dead_person_is_handed_to_nobody(people: People) -> None:
    dead = people.hand_over(people.somebody("p01-asylum-adult", died("2026-03-01")))

    assert {part.state for part in dead.values()} == {"stopped"}
    assert {tuple(part.given) for part in dead.values()} == {()}
    assert ["deceased" in part.withheld.values() for part in dead.values()] == [True, True]


def test_death_that_is_said_as_a_day_to_come_stops_the_record(people: People) -> None:
    record = people.somebody("p01-asylum-adult", died("2999-01-01"))
    answer = asyncio.run(people.stage.call("centre", "POST", "/v1/handovers?flow=F1&adapter=canonical", record))

    assert answer["status"] == 422, answer


# 7 Without a final permit nothing moves for integration.


def test_asylum_seeker_is_handed_over_to_nobody_for_integration(people: People) -> None:
    parts = people.hand_over(people.somebody("p08-pending-permit"))

    assert {part.state for part in parts.values()} == {"stopped"}


# 6 and 7 What harms a child is told to the county: against no permit, and against no word (417/2007 25 §).


def test_child_welfare_notice_goes_without_a_permit_and_against_a_prohibition(people: People) -> None:
    child = people.somebody("p04-unaccompanied-minor", without_permit)
    people.say(child, kind="prohibition")
    integration = people.hand_over(copy.deepcopy(child))
    has_plan(child)
    notice = people.hand_over(child, "F19")

    assert {part.state for part in integration.values()} == {"stopped"}
    assert set(notice) == {"county"}
    assert notice["county"].given["child-protection"] == "417/2007 25:1(10)", notice
    assert people.arrived("kymenlaakso", notice["county"].handover)["flow"] == "F19"


def test_child_welfare_notice_is_of_no_adult(people: People) -> None:
    notice = people.hand_over(people.somebody("p08-pending-permit"), "F19")["county"]

    assert (notice.state, notice.given) == ("stopped", {})


# 6 Kela hears that there is a plan, and nothing else; what it combines goes only of whom the law names (88 §, 84 §).


def test_kela_hears_of_a_plan_in_force_and_of_nothing_else(people: People) -> None:
    planned = people.somebody("p10-moves-on", has_plan)
    heard = people.hand_over(planned, "F15", "kotka")
    unplanned = people.hand_over(people.somebody("p10-moves-on"), "F15", "kotka")["benefits-agency"]

    assert set(heard) == {"benefits-agency"}
    assert heard["benefits-agency"].given == {"identity": "681/2023 88:1"}, heard
    assert (unplanned.state, unplanned.given) == ("stopped", {})
    assert people.arrived("kela", heard["benefits-agency"].handover)["categories"] == ["identity"]


def test_kela_gives_the_municipality_nothing_of_whom_it_does_not_say_that_they_get_a_benefit(people: People) -> None:
    part = people.hand_over(people.somebody("p01-asylum-adult"), "F15", "kela")["municipality"]

    assert (part.state, part.given) == ("stopped", {})


@pytest.mark.parametrize(
    ("benefit", "provision"),
    [("lasting-social-assistance", "681/2023 84:3"), ("home-care-allowance", "681/2023 84:2")],
)
def test_kela_tells_the_municipality_of_whom_its_record_says_that_they_get_a_benefit(
    people: People, benefit: str, provision: str
) -> None:
    someone = people.somebody("p01-asylum-adult", gets(benefit, "2025-01-01"))
    part = people.hand_over(someone, "F15", "kela")["municipality"]
    over = people.somebody("p01-asylum-adult", gets(benefit, "2025-01-01", "2025-02-01"))
    stopped = people.hand_over(over, "F15", "kela")["municipality"]

    assert set(part.given.values()) == {provision}, part
    assert {"identity", "contact"} <= part.given.keys()
    assert (stopped.state, stopped.given) == ("stopped", {})
    # Which benefit it is, is told by the provision alone: the record's means of support stay with Kela.
    arrived = {category.partition("/")[0] for category in people.arrived("kotka", part.handover)["categories"]}
    assert arrived == {category.partition("/")[0] for category in part.given}
    assert "finances" not in arrived


# 11 A safety prohibition is the person's own: with the mark, to whose task needs it, and no further.


def test_address_under_a_safety_prohibition_goes_no_further(people: People) -> None:
    someone = people.somebody("p07-safety-prohibition")
    first = people.hand_over(someone)["municipality"]
    people.arrived("kotka", first.handover)
    onward = copy.deepcopy(someone)
    moves_to("837")(onward)
    has_plan(onward)
    people.say(onward, **TO_CONTACT)
    further = people.hand_over(onward, "F10", "kotka")["municipality"]

    assert "contact" in first.given
    assert further.withheld["contact"] == "no-onward-disclosure"


def test_address_waits_where_nobody_knows_of_a_mark(people: People) -> None:
    part = people.hand_over(people.somebody("p01-asylum-adult", without_mark))["municipality"]

    assert part.withheld["contact"] == "safety-unknown"
    assert part.withheld["move"] == "safety-unknown"
    assert "housing" in part.given


# 12 What comes with data is done: whoever gave by the person's word tells, else whoever got it.


def test_whoever_owes_it_gets_the_task_to_tell_the_person(people: People) -> None:
    async def listed(party: str) -> list[dict[str, Any]]:
        found = (await people.stage.call(party, "GET", "/v1/tasks", expect=200))["body"]["tasks"]
        return [task for task in found if task["kind"] == "notify-of-disclosure"]

    before = {task["id"] for task in asyncio.run(listed("centre"))}
    someone = people.somebody("p01-asylum-adult")
    people.say(someone, kind="permission", recipients=["county"], categories=["health-needs"])
    parts = people.hand_over(someone)
    for role, party in (("municipality", "kotka"), ("county", "kymenlaakso")):
        people.arrived(party, parts[role].handover)
    value = someone["entry"][0]["resource"]["identifier"][0]["value"]

    async def made() -> list[dict[str, Any]]:
        return [task for task in await listed("centre") if task["id"] not in before]

    given = asyncio.run(until(made, bool))
    assert {tuple(task["categories"]) for task in given} == {("health-needs",)}
    assert value not in str(given)
