"""Who a peer speaks of is read in one notation, and refused with its place and on record where it cannot be anyone."""

from __future__ import annotations

import io
from datetime import timedelta
from typing import Any

import orjson
import pytest
from sqlalchemy import select

from adapters.sdk import Limits as AdapterLimits
from adapters.sdk import load
from audit.log.entries import new_id
from audit.log.tables import identifiers
from consent.words.consents import ConsentRecord
from gateway.handover.plan import Handovers, Order
from gateway.person.values import Register
from gateway.sources.backends import Locator
from gateway.storage import engine as storage
from gateway.wire.identifiers import ServiceId
from gateway.wire.problems import ProblemError
from schemas.identifiers import HETU, MIGRI_CUSTOMER
from tests.gateway.exchange.inprocess import INDEX_KEY, InProcess, Place, hidden_reason, node, problem_of
from tests.people import as_recorded_before


@pytest.fixture
def database(database_url: str) -> str:
    return database_url


NOBODYS: list[tuple[str, Any, str, str]] = [
    ("check character", {"system": HETU, "value": "010190-900A"}, "subject-check", "/value"),
    ("day", {"system": HETU, "value": "310290-901X"}, "subject-form", "/value"),
    ("hyphen", {"system": HETU, "value": "010190\u2010900P"}, "subject-form", "/value"),
    ("NUL", {"system": MIGRI_CUSTOMER, "value": "A\x001"}, "subject-form", "/value"),
    ("inner blank", {"system": MIGRI_CUSTOMER, "value": "A 1"}, "subject-form", "/value"),
    ("system", {"system": "1.2.246.21", "value": "010190-900P"}, "subject-system-unknown", "/system"),
    ("a text", "010190-900P", "invalid-request", ""),
    ("no value", {"system": HETU}, "invalid-request", ""),
    ("a number", {"system": HETU, "value": 1}, "invalid-request", ""),
]
HOUSING = frozenset({"housing"})
IDS = [row[0] for row in NOBODYS]


def on_record(here: InProcess, code: str) -> None:
    (entry,) = [entry for entry in here.entries() if entry.reason == code]
    assert entry.outcome == "refused"
    with here.exchange.engine.connect() as connection:
        assert connection.execute(select(identifiers)).all() == []


@pytest.mark.parametrize(("subject", "code", "member"), [row[1:] for row in NOBODYS], ids=IDS)
async def test_question_about_nobody_is_refused_with_its_place_and_on_record(
    place: Place, database: str, subject: Any, code: str, member: str
) -> None:
    async with node(place, database) as here:
        answer = await here.ask("A1", body={"subject": subject})

        assert (answer.status, problem_of(answer)) == (400, code)
        assert orjson.loads(answer.body)["pointer"] == f"/subject{member}"
        assert answer.message is not None
        assert here.register.fetched == []
        on_record(here, code)


async def notice(here: InProcess, subject: Any) -> Any:
    """What the county's node answers, when there is one, to a notice; here the centre takes the county's place."""
    service = ServiceId(here.place.network.parties["centre"].subsystem, "ilmoitukset")
    body = {"notice": new_id(here.exchange.clock()), "consent": "c-1", "categories": ["housing"], "subject": subject}
    return await here.ask(
        "A1",
        audience=service,
        purpose="withdrawal-notice",
        expires_at=here.exchange.clock() + timedelta(seconds=30),
        body=body,
    )


@pytest.mark.parametrize(
    ("subject", "code", "member"),
    [(([row[1]]), row[2], f"/0{row[3]}") for row in NOBODYS]
    + [([], "invalid-request", ""), ("x", "invalid-request", ""), (None, "invalid-request", "")]
    + [([{"system": MIGRI_CUSTOMER, "value": "A1"}] * 6, "invalid-request", "")],
    ids=[*IDS, "nobody", "no list", "missing", "too many"],
)
async def test_notice_about_nobody_is_refused_with_its_place_and_on_record(
    place: Place, database: str, subject: Any, code: str, member: str
) -> None:
    async with node(place, database) as here:
        answer = await notice(here, subject)

        assert (answer.status, problem_of(answer)) == (400, code)
        assert orjson.loads(answer.body)["pointer"] == f"/subject{member}"
        on_record(here, code)


async def test_notice_in_another_notation_is_about_the_same_person(place: Place, database: str) -> None:
    async with node(place, database) as here:
        await here.consent("A1")

        assert (await notice(here, [{"system": MIGRI_CUSTOMER, "value": " a1 "}])).status == 200

        with here.exchange.engine.connect() as connection:
            assert len(connection.execute(select(identifiers)).all()) == 1


@pytest.mark.parametrize("asked", ["DEMO-X1", " demo-x1 ", "Demo-X1"])
@pytest.mark.parametrize("held", ["DEMO-X1", "demo-x1"])
async def test_refusal_holds_however_the_question_and_the_source_write_the_number(
    place: Place, database: str, asked: str, held: str
) -> None:
    async with node(place, database) as here:
        here.register.changed["DEMO-X1"] = lambda record: record["entry"][0]["resource"].update(
            identifier=[{"system": MIGRI_CUSTOMER, "value": held}]
        )
        party = place.network.parties["centre"]
        refusal = {"status": "refused", "purposes": [], "recipients": [], "categories": ["housing"]}
        await here.consents.record(
            "test", party.subsystem, Locator.of({"system": MIGRI_CUSTOMER, "value": "demo-x1"}), refusal
        )

        body = {"subject": {"system": MIGRI_CUSTOMER, "value": asked}}
        answer = await here.ask("A1", body=body, categories=HOUSING)

        assert hidden_reason(here, answer) == "not-permitted"
        assert here.register.fetched == ["DEMO-X1"]
        assert (await here.ask("A1", categories=HOUSING)).status == 200  # who has not refused


@pytest.mark.parametrize(
    "spelling",
    [
        (MIGRI_CUSTOMER, "demo-x1"),
        (MIGRI_CUSTOMER, "Demo-X1"),
        (MIGRI_CUSTOMER, "DEMO\u2010X1"),
        (f"{MIGRI_CUSTOMER} ", "DEMO-X1"),
    ],
    ids=["lower case", "capitals", "U+2010", "blank after the system"],
)
async def test_refusal_that_was_recorded_as_it_came_protects_whom_it_is_about(
    place: Place, database: str, spelling: tuple[str, str]
) -> None:
    """As a node did it before identifiers had one notation: nothing but the index knows the spelling."""
    async with node(place, database) as here:
        party = place.network.parties["centre"]
        refusal = {"status": "refused", "purposes": [], "recipients": [], "categories": ["housing"]}
        recorded = await here.consents.record("test", party.subsystem, Locator(*spelling), refusal)
        assert isinstance(recorded.record, ConsentRecord)
        with storage.writer(here.exchange.engine).begin() as connection:
            as_recorded_before(connection, INDEX_KEY, recorded.record.subject, spelling)

        answer = await here.ask("DEMO-X1", categories=HOUSING)

        assert hidden_reason(here, answer) == "not-permitted"


@pytest.mark.parametrize(("subject", "code", "member"), [row[1:] for row in NOBODYS], ids=IDS)
async def test_record_of_a_person_with_an_impossible_identifier_is_no_answer(
    place: Place, database: str, subject: Any, code: str, member: str
) -> None:
    async with node(place, database) as here:
        here.register.changed["A1"] = lambda record: record["entry"][0]["resource"]["identifier"].append(subject)

        answer = await here.ask("A1")

        assert hidden_reason(here, answer) == "source-invalid"


async def test_record_of_nobody_is_not_handed_over_and_its_place_is_told(place: Place, database: str) -> None:
    async with node(place, database) as here:
        bundle = here.register.bundle("A1")
        bundle["entry"][0]["resource"]["identifier"].append({"system": HETU, "value": "010190-900A"})
        party = place.network.parties["centre"]
        order = Order("test", party.subsystem, bundle, "F1", None, None, None, None, "0" * 32, Register("register"))

        with pytest.raises(ProblemError) as caught:
            await Handovers(here.exchange).plan(order)

        assert caught.value.code == "record-invalid"
        assert caught.value.pointer == "/entry/0/resource/identifier/1/value"
        assert here.entries() == []
    (mapped,) = load("canonical").convert(io.BytesIO(orjson.dumps(bundle)), AdapterLimits())
    assert (mapped.bundle, [one.code for one in mapped.findings]) == (None, ["hetu-check"])


def test_locator_of_a_caller_is_checked_before_anything_else() -> None:
    with pytest.raises(ProblemError) as caught:
        Locator.of({"system": HETU, "value": "010190-900A"})

    assert (caught.value.code, caught.value.status, caught.value.pointer) == ("subject-check", 400, "/subject/value")
    assert Locator.of({"system": HETU, "value": " 010190-900p "}) == Locator(HETU, "010190-900P")
