"""Whoever accepts an arrival may say whose it is in their own register: that joins for good, or nothing is accepted."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import select

from audit.questions import links
from gateway.handover.accept import Inbox, Opener
from gateway.handover.plan import Handovers
from gateway.identity.acts import Actor, Identity
from gateway.person.registrar import IdentityAct
from gateway.person.values import Named
from gateway.sources.backends import Locator
from gateway.storage.tables import inbox
from gateway.wire.problems import ProblemError
from schemas.facts import Identifier
from schemas.identifiers import HETU, LOCAL, MIGRI_CUSTOMER
from schemas.projection import project
from tests.gateway.exchange.inprocess import InProcess, Place, node
from tests.gateway.exchange.test_persons import CODE, OTHER_CODE, with_code

CONTACT = {"name": "Kotoutumispalvelut"}
OURS = Identifier(LOCAL, "K-1")


@pytest.fixture
async def here(place: Place, database_url: str) -> AsyncIterator[InProcess]:
    async with node(place, database_url, of="kotka") as running:
        yield running


async def arrive(here: InProcess, delivery: str, *codes: str) -> str:
    """The centre hands over a person with a customer number and these identity codes; gives the arrival's id."""
    for code in codes:
        here.register.changed["7000001"] = with_code(code)  # type: ignore[assignment]
    bundle = project(here.register.bundle("7000001"), frozenset({"identity"})).bundle
    document = {"handover": f"h-{delivery}", "delivery": delivery, "flow": "F1", "consents": [], "bundle": bundle}
    answer = await here.bring("saapuvat", document, party="centre")
    assert answer.status == 200, answer.body
    with here.exchange.engine.connect() as connection:
        return str(connection.scalar(select(inbox.c.id).where(inbox.c.delivery == delivery)))


async def accept(here: InProcess, arrival: str, person: Identifier | None = OURS) -> Any:
    return await Inbox(here.exchange).accept(here.party.subsystem, arrival, Opener("client"), CONTACT, person=person)


async def refuse(here: InProcess, identifier: Identifier) -> None:
    form = {"status": "refused", "categories": ["health-needs"]}
    await here.consents.record("test", here.party.subsystem, Locator(identifier.system, identifier.value), form)


async def is_refused(here: InProcess, identifier: Identifier) -> bool:
    named = Named.looked_for(str(here.party.member), identifier.system, identifier.value)
    person = await here.exchange.people.recall(named)
    return "refused" in {word.status for word in person.words}


def identity_entries(here: InProcess) -> list[dict[str, Any]]:
    return [dict(entry.detail) for entry in here.entries() if entry.type == "identity"]


async def test_an_acceptance_that_names_the_person_makes_a_refusal_hold_under_each_number(here: InProcess) -> None:
    arrival = await arrive(here, "d-1", CODE)
    await refuse(here, OURS)
    assert not await is_refused(here, Identifier(MIGRI_CUSTOMER, "7000001")), "what a peer names joins nobody"

    item = await accept(here, arrival)

    assert item.state == "accepted"
    assert await is_refused(here, Identifier(MIGRI_CUSTOMER, "7000001"))
    assert await is_refused(here, Identifier(HETU, CODE))
    assert identity_entries(here) == [{"act": "confirmed", "acts": 2, "arrival": arrival}]
    types = [entry.type for entry in here.entries()]
    assert types[types.index("acceptance") + 1] == "identity", "in one unit"


async def test_accepting_again_with_the_same_person_joins_nobody_twice(here: InProcess) -> None:
    arrival = await arrive(here, "d-1", CODE)
    for _ in range(2):
        await accept(here, arrival)

    assert len(identity_entries(here)) == 1
    assert [entry.type for entry in here.entries()].count("acceptance") == 1


async def test_an_acceptance_without_a_person_joins_nobody(here: InProcess) -> None:
    await accept(here, await arrive(here, "d-1", CODE), person=None)

    assert identity_entries(here) == []


async def test_whoever_is_known_apart_is_not_joined_and_nothing_is_accepted(here: InProcess) -> None:
    first = await arrive(here, "d-1", CODE)
    await accept(here, first)
    desk = Identity(here.exchange, Handovers(here.exchange), two_people=False)
    registrar = Actor("desk", here.party.subsystem, "a" * 32)
    await desk.propose(registrar, IdentityAct.UNDO, OURS, Identifier(HETU, CODE))

    second = await arrive(here, "d-2", CODE)
    before = len(here.entries())
    with pytest.raises(ProblemError) as apart:
        await accept(here, second)

    assert (apart.value.code, apart.value.pointer) == ("subject-ambiguous", "/person")
    with here.exchange.engine.connect() as connection:
        assert connection.scalar(select(inbox.c.state).where(inbox.c.id == second)) == "received"
    assert len(here.entries()) == before
    assert (await accept(here, second, person=None)).state == "accepted"


async def test_a_second_identity_code_is_known_to_be_another_person(here: InProcess) -> None:
    await accept(here, await arrive(here, "d-1", CODE))
    other = await arrive(here, "d-2", OTHER_CODE)

    with pytest.raises(ProblemError, match="two-values"):
        await accept(here, other)


async def test_an_arrival_that_itself_names_two_people_joins_neither(here: InProcess) -> None:
    """A notice may name anybody: two identity codes are two people, whoever is said to be theirs."""
    named = [{"system": HETU, "value": CODE}, {"system": HETU, "value": OTHER_CODE}]
    notice = {"notice": "n-1", "consent": "c-1", "status": "withdrawn", "categories": [], "subject": named}
    answer = await here.bring("ilmoitukset", notice, party="centre", purpose="withdrawal-notice")
    assert answer.status == 200, answer.body
    with here.exchange.engine.connect() as connection:
        arrival = str(connection.scalar(select(inbox.c.id).where(inbox.c.delivery == "n-1")))

    with pytest.raises(ProblemError, match="two-values"):
        await accept(here, arrival)

    subjects = here.exchange.subjects_of(here.party.subsystem)
    with here.exchange.engine.connect() as connection:
        found = [subjects.find(connection, HETU, code) for code in (CODE, OTHER_CODE)]
        assert links.web(connection, [subject.id for subject in found if subject is not None]).links == ()


async def test_whoever_was_forgotten_is_not_joined(here: InProcess) -> None:
    arrival = await arrive(here, "d-1")
    subjects = here.exchange.subjects_of(here.party.subsystem)
    with here.exchange.engine.begin() as connection:
        subject = subjects.find(connection, MIGRI_CUSTOMER, "7000001")
        assert subject is not None
        subjects.destroy(connection, subject.id, here.exchange.clock())

    with pytest.raises(ProblemError) as gone:
        await accept(here, arrival)

    assert gone.value.code == "body-destroyed"
