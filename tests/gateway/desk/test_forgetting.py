"""Who is forgotten is forgotten whole, whatever identifier something was filed under; or it is said what is left."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from sqlalchemy import select

from audit.questions.links import LinkAct
from gateway.desk.forgetting import Forgotten, Others, forget
from gateway.desk.roles import Asker
from gateway.person.held import HeldState
from gateway.storage.tables import held_records, inbox, tasks
from gateway.web.forms import PersonForm
from schemas.identifiers import HETU, MIGRI_CUSTOMER
from tests.gateway.exchange.inprocess import InProcess, hidden_reason
from tests.gateway.exchange.test_persons import CODE, OTHER_CODE, moved, say, with_code
from tests.gateway.obligations.test_obligations import GIVEN, WHO, Kotka, a_node, place
from tests.gateway.web.faces import desk_of
from tests.people import say as said

__all__ = ["place"]
PERSON = {HETU: CODE, MIGRI_CUSTOMER: "7000001"}
OFFICER = Asker("test", "officer")


@pytest.fixture
async def kotka(place: object, database_url: str) -> AsyncIterator[Kotka]:
    """A recipient to whom a person was handed over under two identifiers that nobody here has tied together."""
    async for found in a_node(place, database_url, "minimise", "notify-subject"):  # type: ignore[arg-type]
        found.here.register.changed["7000001"] = with_code()  # type: ignore[assignment]
        await found.brought("7000001", "d-1")
        yield found


def forgotten(here: InProcess, system: str, value: str, others: Others | None = None) -> Forgotten:
    desk = desk_of(here.exchange)
    try:
        return forget(desk, OFFICER, PersonForm(system=system, value=value), others)
    finally:
        desk.close()


async def arrival(kotka: Kotka) -> int:
    """How the call answers by which the recipient's system opens what came."""
    with kotka.here.exchange.engine.connect() as connection:
        item = connection.scalars(select(inbox.c.id).order_by(inbox.c.number)).first()
    status: int = (await kotka.face.call("GET", f"/v1/inbox/{item}", headers=WHO)).status_code
    return status


def knows(here: InProcess, system: str) -> bool:
    with here.exchange.engine.connect() as connection:
        return here.exchange.subjects_of(here.party.subsystem).find(connection, system, PERSON[system]) is not None


def own(kotka: Kotka, system: str) -> None:
    """The organisation has something of its own about whoever has this identifier."""
    exchange = kotka.here.exchange
    with exchange.engine.execution_options(writes=True).begin() as connection:
        subjects = exchange.subjects_of(kotka.here.party.subsystem)
        subjects.ensure(connection, [(system, PERSON[system])], exchange.clock())


@pytest.mark.parametrize("by", [HETU, MIGRI_CUSTOMER])
async def test_what_came_under_two_identifiers_is_forgotten_by_either(kotka: Kotka, by: str) -> None:
    assert await arrival(kotka) == 200

    done = forgotten(kotka.here, by, PERSON[by])

    assert (done.keys, done.tasks, done.kept, done.is_open) == (3, 1, {}, False)
    assert await arrival(kotka) == 410
    assert not any(knows(kotka.here, system) for system in PERSON)


async def test_open_tasks_of_who_is_forgotten_end_as_such_and_the_log_names_none_of_them(kotka: Kotka) -> None:
    (open_before,) = await kotka.tasks()

    forgotten(kotka.here, HETU, CODE)

    assert await kotka.tasks() == []
    (ended,) = await kotka.tasks(everything=True)
    assert (ended["id"], ended["state"], ended["outcome"]) == (open_before["id"], "done", "person-forgotten")
    assert (await kotka.end(ended["id"], outcome="told")).json()["code"] == "not-found"
    entry = kotka.here.entries()[-1]
    assert (entry.type, entry.subject, dict(entry.detail)) == (
        "key",
        None,
        {"action": "destroy-subject-key", "keys": 3, "tasks": 1},
    )


@pytest.mark.parametrize("others", [None, Others.FORGET, Others.KEEP], ids=str)
async def test_of_what_may_be_somebody_elses_whoever_forgets_decides_before_anything_is_destroyed(
    kotka: Kotka, others: Others | None
) -> None:
    own(kotka, MIGRI_CUSTOMER)

    done = forgotten(kotka.here, HETU, CODE, others)

    if others is None:
        assert (done.keys, done.is_open, done.systems) == (0, True, (MIGRI_CUSTOMER,))
        assert {kind: done.kept.get(kind) for kind in ("arrivals", "tasks")} == {"arrivals": 1, "tasks": 1}
        assert kotka.here.entries()[-1].outcome == "refused"
    elif others is Others.KEEP:
        assert (done.keys, done.is_open, done.systems) == (1, False, (MIGRI_CUSTOMER,))
        assert done.kept.items() >= {"arrivals": 1, "tasks": 1}.items()
    else:
        assert (done.keys, done.tasks, done.kept) == (3, 1, {})
    assert await arrival(kotka) == (410 if others is Others.FORGET else 200)
    assert knows(kotka.here, HETU) is (others is None)
    assert knows(kotka.here, MIGRI_CUSTOMER) is (others is not Others.FORGET)


async def test_nobody_is_forgotten_with_another_of_whom_it_is_known_that_they_are_two(kotka: Kotka) -> None:
    exchange = kotka.here.exchange
    with exchange.engine.execution_options(writes=True).begin() as connection:
        subjects = exchange.subjects_of(kotka.here.party.subsystem)
        met = subjects.ensure(connection, list(PERSON.items()), exchange.clock())
        said(connection, met[0].subjects[0], met[1].subjects[0], LinkAct.APART, exchange.clock())

    done = forgotten(kotka.here, HETU, CODE, Others.FORGET)

    assert (done.keys, done.systems) == (1, (MIGRI_CUSTOMER,))
    assert done.kept["arrivals"] == 1, "what names both is the other's too, and that is said"
    assert await arrival(kotka) == 200
    assert knows(kotka.here, MIGRI_CUSTOMER)


async def test_a_join_that_nobody_has_confirmed_is_asked_about_too(kotka: Kotka) -> None:
    exchange = kotka.here.exchange
    with exchange.engine.execution_options(writes=True).begin() as connection:
        subjects = exchange.subjects_of(kotka.here.party.subsystem)
        pairs = [(MIGRI_CUSTOMER, "8000001"), (MIGRI_CUSTOMER, "8000002")]
        met = subjects.ensure(connection, pairs, exchange.clock())
        said(connection, met[0].subjects[0], met[1].subjects[0], LinkAct.JOINED, exchange.clock())

    assert forgotten(kotka.here, MIGRI_CUSTOMER, "8000001").is_open
    assert forgotten(kotka.here, MIGRI_CUSTOMER, "8000001", Others.FORGET).keys == 2


async def test_a_record_that_is_held_joins_nobody_for_forgetting_and_leaves_when_all_of_it_is(here: InProcess) -> None:
    for person, code in (("7000001", CODE), ("7000002", OTHER_CODE)):
        here.register.changed[person] = with_code(code)  # type: ignore[assignment]
        await say(here, "active", MIGRI_CUSTOMER, person)
        assert await moved(here, person)
    here.register.changed["7000001"] = with_code(OTHER_CODE)  # type: ignore[assignment]
    assert hidden_reason(here, await here.ask("7000001")) == "subject-ambiguous"

    first = forgotten(here, HETU, CODE)

    assert (first.keys, first.is_open, dict(first.kept)) == (2, False, {"held records": 1})
    with here.exchange.engine.connect() as connection:
        assert len(here.exchange.held.waiting(connection)) == 1
    assert await moved(here, "7000002"), "the other person is as before"
    forgotten(here, HETU, OTHER_CODE)
    with here.exchange.engine.connect() as connection:
        (row,) = connection.execute(select(held_records))
    assert (row.state, row.sealed) == (HeldState.FORGOTTEN.value, None)


async def test_tasks_of_whom_a_former_version_forgot_end_with_the_next(kotka: Kotka) -> None:
    await kotka.brought("7000009", "d-9", *GIVEN)
    exchange = kotka.here.exchange
    with exchange.engine.execution_options(writes=True).begin() as connection:
        subjects = exchange.subjects_of(kotka.here.party.subsystem)
        found = subjects.find(connection, MIGRI_CUSTOMER, "7000009")
        assert found is not None
        subjects.destroy(connection, found.id, exchange.clock())

    assert forgotten(kotka.here, HETU, CODE).tasks == 2
    with exchange.engine.connect() as connection:
        assert set(connection.scalars(select(tasks.c.state))) == {"done"}


async def test_a_number_that_a_sender_writes_into_every_record_makes_one_person_of_nobody(kotka: Kotka) -> None:
    for number, person in enumerate(("7000002", "7000003")):
        kotka.here.register.changed[person] = with_code()  # type: ignore[assignment]
        await kotka.brought(person, f"d-2{number}")

    done = forgotten(kotka.here, MIGRI_CUSTOMER, "7000001")
    whole = forgotten(kotka.here, MIGRI_CUSTOMER, "7000001", Others.FORGET)

    assert (done.is_open, done.others) == (True, 1)
    assert (whole.keys, whole.systems, whole.kept["arrivals"]) == (3, (MIGRI_CUSTOMER,), 2)
    subjects = kotka.here.exchange.subjects_of(kotka.here.party.subsystem)
    with kotka.here.exchange.engine.connect() as connection:
        assert all(subjects.find(connection, MIGRI_CUSTOMER, person) for person in ("7000002", "7000003"))
