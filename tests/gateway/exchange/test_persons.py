"""A refusal protects the person under each of their identifiers, and no other organisation's message ends it."""

from __future__ import annotations

from itertools import permutations

import pytest

from audit.questions import reviews
from gateway.handover.plan import Handovers, Order
from gateway.person.values import Register
from gateway.sources.backends import Locator
from gateway.wire.identifiers import ServiceId
from gateway.wire.problems import ProblemError
from schemas.identifiers import HETU, MIGRI_CUSTOMER
from tests.gateway.exchange.inprocess import Bundle, InProcess, hidden_reason, problem_of

CODE = "010190-900P"
OTHER_CODE = "020290-9016"
CARRIED = {
    "purposes": ["service-need-lookup", "reception-to-municipality"],
    "recipients": ["municipality"],
    "given_by": {"kind": "self"},
}


def with_code(code: str = CODE) -> object:
    """The person's record also has an identity code, and says nothing that the code denies."""

    def change(bundle: Bundle) -> None:
        person = bundle["entry"][0]["resource"]
        person["identifier"].append({"system": HETU, "value": code})
        person["birthDate"] = f"19{code[4:6]}-{code[2:4]}-{code[:2]}"
        person["gender"] = "male" if int(code[7:10]) % 2 else "female"

    return change


async def say(here: InProcess, status: str, system: str, value: str) -> str:
    form = {"status": status, "categories": ["health-needs"], **(CARRIED if status == "active" else {})}
    sender = here.place.network.parties["centre"].subsystem
    return (await here.consents.record("test", sender, Locator(system, value), form)).record.id


async def moved(here: InProcess, person: str) -> bool:
    """Whether health needs leave for the municipality that asks."""
    answer = await here.ask(person)
    return problem_of(answer) is None and b"Observation" in answer.body


@pytest.mark.parametrize("order", list(permutations(["consent", "refusal", "record"])), ids="-".join)
@pytest.mark.parametrize("refused_under", [HETU, MIGRI_CUSTOMER])
async def test_a_refusal_holds_in_every_order_of_consent_refusal_and_record(
    here: InProcess, order: tuple[str, ...], refused_under: str
) -> None:
    here.register.changed["7000001"] = with_code()  # type: ignore[assignment]
    values = {HETU: CODE, MIGRI_CUSTOMER: "7000001"}
    consented_under = MIGRI_CUSTOMER if refused_under == HETU else HETU
    for step in order:
        match step:
            case "consent":
                await say(here, "active", consented_under, values[consented_under])
            case "refusal":
                await say(here, "refused", refused_under, values[refused_under])
            case "record":
                await here.ask("7000001")

    for _ in range(3):
        assert not await moved(here, "7000001")
    sender = here.place.network.parties["centre"].subsystem
    for system, value in values.items():
        found = await here.consents.of("test", sender, Locator(system, value))
        assert "refused" in {word.status for word in found}, "the refusal is seen under each identifier"


async def test_changes_under_two_identifiers_never_make_a_person_busy_for_good(here: InProcess) -> None:
    here.register.changed["7000001"] = with_code()  # type: ignore[assignment]
    await say(here, "active", MIGRI_CUSTOMER, "7000001")
    for _ in range(2):
        await say(here, "refused", HETU, CODE)
    for _ in range(2):
        assert problem_of(await here.ask("7000001")) != "busy"
    handovers = Handovers(here.exchange)
    plan = await handovers.plan(order_of(here, "7000001"))
    assert plan.deliveries


def order_of(here: InProcess, person: str, **changes: object) -> Order:
    values: dict[str, object] = {
        "client": "c", "sender": here.place.network.parties["centre"].subsystem, "bundle": here.register.bundle(person),
        "flow": "F1", "idempotency": None, "case": None, "user": None, "not_before": None, "trace_id": "0" * 32,
        "register": Register("register", is_authoritative=True), "record_key": person,
    }  # fmt: skip
    return Order(**(values | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["notice", "question"])
async def test_a_peers_message_that_names_two_people_changes_nothing_for_either(here: InProcess, kind: str) -> None:
    for person, code in (("7000001", CODE), ("7000002", OTHER_CODE)):
        here.register.changed[person] = with_code(code)  # type: ignore[assignment]
        await here.ask(person)
    await say(here, "refused", HETU, CODE)
    await say(here, "active", MIGRI_CUSTOMER, "7000002")
    before = [await moved(here, person) for person in ("7000001", "7000002")]

    named = [{"system": HETU, "value": CODE}, {"system": HETU, "value": OTHER_CODE}]
    centre = here.place.network.parties["centre"].subsystem
    if kind == "notice":
        answer = await here.ask(
            "7000001",
            audience=ServiceId(centre, "ilmoitukset"),
            purpose="withdrawal-notice",
            categories=frozenset({"identity"}),
            body={"notice": "n-1", "consent": "c-1", "status": "withdrawn", "categories": [], "subject": named},
        )
        assert answer.status == 200, answer.body
    else:
        await here.ask("7000001", body={"subject": named[1]})

    assert [await moved(here, person) for person in ("7000001", "7000002")] == before == [False, True]


async def test_a_record_that_names_two_people_waits_and_nobody_else_does(here: InProcess) -> None:
    for person, code in (("7000001", CODE), ("7000002", OTHER_CODE)):
        here.register.changed[person] = with_code(code)  # type: ignore[assignment]
        await say(here, "active", MIGRI_CUSTOMER, person)
        assert await moved(here, person)

    here.register.changed["7000001"] = with_code(OTHER_CODE)  # type: ignore[assignment]
    assert hidden_reason(here, await here.ask("7000001")) == "subject-ambiguous"

    assert await moved(here, "7000002"), "the other person's own record goes on"
    with here.exchange.engine.connect() as connection:
        (waiting,) = here.exchange.held.waiting(connection)
    assert waiting.kind == "query"
    here.register.changed["7000001"] = with_code()  # type: ignore[assignment]
    assert await moved(here, "7000001"), "the source corrected itself"
    with here.exchange.engine.connect() as connection:
        assert here.exchange.held.waiting(connection) == ()
    assert [entry.detail.get("act") for entry in here.entries() if entry.type == "identity"] == ["held", "corrected"]


@pytest.mark.parametrize(("birth", "moves"), [("1990", True), ("1991", False), ("1990-01", True), ("1990-02", False)])
async def test_a_year_of_birth_is_held_against_the_identity_code(here: InProcess, birth: str, moves: bool) -> None:
    await say(here, "active", MIGRI_CUSTOMER, "7000001")
    here.register.changed["7000001"] = born(birth)  # type: ignore[assignment]

    assert await moved(here, "7000001") is moves
    assert moves or hidden_reason(here, await here.ask("7000001")) == "subject-ambiguous"


def born(birth: str) -> object:
    """The person's record has an identity code, and of the birth says this much."""

    def change(bundle: Bundle) -> None:
        with_code()(bundle)  # type: ignore[operator]
        bundle["entry"][0]["resource"]["birthDate"] = birth

    return change


async def test_a_register_that_corrects_an_identity_code_takes_the_former_one_back(here: InProcess) -> None:
    handovers = Handovers(here.exchange)
    for code in (OTHER_CODE, CODE):
        here.register.changed["7000001"] = with_code(code)  # type: ignore[assignment]
        await handovers.plan(order_of(here, "7000001", record_key="row-1"))

    subjects = here.exchange.subjects
    with here.exchange.engine.connect() as connection:
        ids = [subjects.find(connection, HETU, code) for code in (CODE, OTHER_CODE)]
        group = subjects.group(connection, subjects.find(connection, MIGRI_CUSTOMER, "7000001").id)  # type: ignore[union-attr]
    assert ids[0] is not None
    assert ids[1] is not None
    assert ids[0].id in group
    assert ids[1].id not in group
    # What was refused under the former code may have been meant for this person: it holds on both sides.
    await say(here, "refused", HETU, OTHER_CODE)
    assert [entry.detail["act"] for entry in here.entries() if entry.type == "identity"]


async def test_an_emergency_passes_a_record_that_waits_and_is_marked_for_review(here: InProcess) -> None:
    for person, code in (("7000001", CODE), ("7000002", OTHER_CODE)):
        here.register.changed[person] = with_code(code)  # type: ignore[assignment]
        await here.ask(person)
    here.register.changed["7000001"] = with_code(OTHER_CODE)  # type: ignore[assignment]
    assert hidden_reason(here, await here.ask("7000001")) == "subject-ambiguous"

    urgent = {"subject": {"system": MIGRI_CUSTOMER, "value": "7000001"}, "emergency": {"justification": "Unconscious."}}
    answer = await here.ask("7000001", party="kymenlaakso", body=urgent)

    assert answer.status == 200, answer.body
    with here.exchange.engine.begin() as connection:
        (waits,) = reviews.unreviewed_emergencies(connection)
        review = reviews.open_emergency(connection, waits, here.exchange.clock())
        assert len(here.exchange.held.waiting(connection)) == 1, "the record waits on, the emergency decided nothing"
    assert waits.entry.detail["identity"] == "disputed"
    assert "identifiers of two people" in review.explanation


async def test_an_emergency_about_a_person_nobody_doubts_carries_no_mark(here: InProcess) -> None:
    urgent = {"subject": {"system": MIGRI_CUSTOMER, "value": "7000001"}, "emergency": {"justification": "Unconscious."}}

    assert (await here.ask("7000001", party="kymenlaakso", body=urgent)).status == 200

    (entry,) = (entry for entry in here.entries() if entry.type == "break-glass")
    assert "identity" not in entry.detail


@pytest.mark.parametrize("named", ["member", "system"])
async def test_a_refusal_that_names_an_organisation_or_one_of_its_systems_holds_for_the_organisation(
    here: InProcess, named: str
) -> None:
    kotka = here.place.network.parties["kotka"].subsystem
    await say(here, "active", MIGRI_CUSTOMER, "7000001")
    assert await moved(here, "7000001")
    centre = here.place.network.parties["centre"].subsystem
    form = {"status": "refused", "categories": ["health-needs"]}

    recipients = [str(kotka.member if named == "member" else kotka)]
    await here.consents.record("test", centre, Locator(MIGRI_CUSTOMER, "7000001"), form | {"recipients": recipients})

    assert not await moved(here, "7000001")


@pytest.mark.parametrize("status", ["active", "refused"])
@pytest.mark.parametrize("spelt", ["FI-DEMO/MUN/1234567-1", "lower", "nobody/at/all", "trailing"])
async def test_a_word_that_names_nobody_of_the_registry_is_refused(here: InProcess, status: str, spelt: str) -> None:
    member = str(here.place.network.parties["kotka"].subsystem.member)
    code = {"lower": member.lower(), "trailing": f"{member.rpartition('/')[0]}/"}.get(spelt, spelt)
    form = {"status": status, "categories": ["health-needs"], **CARRIED, "recipients": [code]}
    centre = here.place.network.parties["centre"].subsystem

    with pytest.raises(ProblemError) as refused:
        await here.consents.record("test", centre, Locator(MIGRI_CUSTOMER, "7000001"), form)

    assert (refused.value.code, refused.value.pointer) == ("consent-invalid", "/recipients/0")


async def test_a_consent_for_one_system_of_an_organisation_is_refused_since_it_would_carry_nothing(
    here: InProcess,
) -> None:
    kotka = here.place.network.parties["kotka"].subsystem
    form = {"status": "active", "categories": ["health-needs"], **CARRIED, "recipients": [str(kotka)]}
    centre = here.place.network.parties["centre"].subsystem

    with pytest.raises(ProblemError) as refused:
        await here.consents.record("test", centre, Locator(MIGRI_CUSTOMER, "7000001"), form)

    assert refused.value.pointer == "/recipients/0"
