"""What people had said to the first release holds under today's code, and nobody's data flows more than it did."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import orjson
import pytest

from audit.log.waiting import Written
from audit.questions import links
from audit.questions.links import LinkAct
from gateway.handover.plan import Handovers, Order
from gateway.person.registrar import Registrar
from gateway.person.values import Named, Register
from gateway.storage.engine import writer
from gateway.wire.problems import ProblemError
from schemas.facts import Identifier
from schemas.identifiers import HETU, MIGRI_CUSTOMER
from schemas.projection import categories_in
from tests.gateway.exchange.inprocess import InProcess, Place, node
from tests.upgrade.former import Clock, Somebody, Year

ASKED = frozenset(
    {
        "identity", "language", "contact", "move", "residence-permit", "family", "housing", "education", "employment",
        "guardianship", "vulnerability", "social-needs", "health-needs", "finances",
    }
)  # fmt: skip
TWO_SUBJECTS = ("both-consented-0", "stranger-open-0", "refusal-vanished-0", "consent-vanished-1", "leader-is-the-code")
TWO_IDENTIFIERS = ("pair-consent-0", "pair-refused-1", "odd-register", "typo-owner")


async def given(here: InProcess, identifier: Identifier, party: str = "kotka") -> frozenset[str]:
    """The categories that a peer gets about a person when it asks for all that it may ask for."""
    body = {"subject": {"system": identifier.system, "value": identifier.value}}
    answer = await here.ask("", party=party, body=body, categories=ASKED)
    return categories_in(orjson.loads(answer.body)) if answer.status == 200 else frozenset()


async def planned(here: InProcess, person: Somebody) -> dict[str, frozenset[str]]:
    """The categories that a handover would take to each recipient."""
    values: dict[str, Any] = {
        "client": "asks", "sender": here.party.subsystem, "bundle": here.register.bundle(person.customer), "flow": "F1",
        "idempotency": f"today/{person.name}", "case": None, "user": None, "not_before": None, "trace_id": "0" * 32,
        "register": Register("register", is_authoritative=True),
    }  # fmt: skip
    plan = await Handovers(here.exchange).plan(Order(**values))
    return {
        part.role: part.decision.permitted_categories if part.decision is not None else frozenset()
        for part in plan.deliveries
    }


def registrar(here: InProcess) -> Registrar:
    return Registrar(here.exchange.node, here.exchange.subjects.of(str(here.party.member)), here.exchange.held)


async def confirm(here: InProcess, person: Somebody) -> None:
    """The registrar says that both identifiers are this person's."""
    first, second = person.identifiers

    def act(connection: Any) -> Written[None]:
        entries = registrar(here).join(connection, first, second, "registrar", here.exchange.clock())
        return Written(None, entries)

    await here.exchange.log.commit(act)


@pytest.mark.parametrize("party", ["centre", "kotka"])
async def test_every_refusal_in_force_is_found_under_each_identifier_of_its_person(
    place: Place, year: Year, party: str
) -> None:
    looked = 0
    async with node(place, year.urls[party], of=party) as here:
        for person in year.people.values():
            # Of a code that was only ever recorded in an odd spelling no join tells: it is found under that code alone.
            known = person.identifiers[1:] if person.name == "odd-oid" else person.identifiers
            for refusal in person.refusals(party):
                for identifier in known:
                    named = Named.looked_for(str(here.party.member), identifier.system, identifier.value)
                    found = await here.exchange.people.recall(named)
                    assert refusal["id"] in {word.id for word in found.words}, (person.name, identifier.system)
                    looked += 1
    assert looked >= (25 if party == "centre" else 2)


async def test_every_refusal_in_force_stops_what_it_is_about(centre: InProcess, year: Year) -> None:
    for person in year.people.values():
        refused = {category for word in person.refusals("centre") for category in word["categories"]}
        for identifier in person.identifiers:
            got = await given(centre, identifier)
            assert got, (person.name, "what the law gives without asking anybody goes on")
            assert not refused & got, (person.name, identifier.system)


async def test_nobodys_data_flows_more_than_before(centre: InProcess, year: Year) -> None:
    more: dict[str, dict[str, frozenset[str]]] = {}
    less = set()
    for name, person in year.people.items():
        before = {asked: frozenset(categories) for asked, categories in year.done["given"][name].items()}
        now = {f"handover/{role}": got for role, got in (await planned(centre, person)).items()}
        for value in filter(None, (person.customer, person.code)):
            system = HETU if value == person.code else MIGRI_CUSTOMER
            for party in ("kotka", "kymenlaakso"):
                now[f"query/{party}/{value}"] = await given(centre, Identifier(system, value), party)
        assert now.keys() == before.keys()
        beyond = {asked: now[asked] - before[asked] for asked in now if now[asked] - before[asked]}
        if beyond:
            more[name] = beyond
        if any(before[asked] - now[asked] for asked in now):
            less.add(name)
    assert more == {}
    assert {"refusal-vanished-0", "odd-lower", "odd-hyphen", "both-consented-0", "typo-owner"} <= less


@pytest.mark.parametrize("name", ["plain-consent-0", "plain-consent-1"])
async def test_consent_of_a_person_known_by_one_identifier_still_carries(
    centre: InProcess, year: Year, name: str
) -> None:
    assert "health-needs" in await given(centre, year.people[name].identifiers[0])


@pytest.mark.parametrize("name", ["both-consented-0", "pair-consent-0"])
@pytest.mark.parametrize("how", ["registrar", "register"])
async def test_consent_from_before_an_unconfirmed_join_carries_when_the_join_is_confirmed(
    centre: InProcess, year: Year, clock: Clock, name: str, how: str
) -> None:
    """A record of the register confirms on another day than that on which the node was upgraded."""
    person = year.people[name]
    for identifier in person.identifiers:
        assert "health-needs" not in await given(centre, identifier)

    if how == "registrar":
        await confirm(centre, person)
    else:
        clock.passed = timedelta(days=1)
        await given(centre, person.identifiers[0])

    for identifier in person.identifiers:
        assert "health-needs" in await given(centre, identifier)


async def test_record_that_names_not_all_that_were_put_together_confirms_nothing(
    centre: InProcess, year: Year, clock: Clock
) -> None:
    """A typo had put a stranger's code, and the consent given under it, under a person whose record is right now."""
    owner, stranger = year.people["typo-owner"], year.people["typo-stranger"]
    for days in (0, 1):
        clock.passed = timedelta(days=days)
        for person in (owner, stranger):
            for identifier in person.identifiers:
                assert "health-needs" not in await given(centre, identifier), (days, person.name)

    with pytest.raises(ProblemError, match="more than these two"):
        await confirm(centre, owner)
    assert "health-needs" not in await given(centre, owner.identifiers[0])


async def test_former_joins_are_listed_as_unconfirmed_and_no_others(centre: InProcess, year: Year) -> None:
    subjects = centre.exchange.subjects.of(str(centre.party.member))
    with centre.exchange.engine.connect() as connection:
        listed = {frozenset((doubt.first, doubt.second)): doubt for doubt in registrar(centre).doubtful(connection)}
        ids = {
            name: [subjects.all_of(connection, *pair)[0].id for pair in person.named]
            for name, person in year.people.items()
            if name in TWO_SUBJECTS + TWO_IDENTIFIERS
        }
    for name in TWO_SUBJECTS + TWO_IDENTIFIERS:
        assert frozenset(ids[name]) in listed or all(frozenset((one,)) in listed for one in ids[name]), name
    assert len([pair for pair in listed if len(pair) == 2]) == year.done["vanished"]["centre"]


async def test_mistaken_former_join_is_undone_and_its_refusals_stay_on_both_sides(
    centre: InProcess, year: Year
) -> None:
    careful, open_ = year.people["stranger-careful-0"], year.people["stranger-open-0"]
    now = centre.exchange.clock()

    def undo(connection: Any) -> Written[Any]:
        first, second = careful.identifiers[1], open_.identifiers[1]
        entries, released = registrar(centre).undo(connection, first, second, "registrar", now)
        return Written(released, entries)

    await centre.exchange.log.commit(undo)

    for person in (careful, open_):
        assert not {"health-needs", "housing"} & await given(centre, person.identifiers[1])
    with writer(centre.exchange.engine).begin() as connection:
        registrar(centre).place(
            connection, careful.identifiers[1], open_.identifiers[1], "registrar", centre.exchange.clock()
        )
        first, second = (
            centre.exchange.subjects.find(connection, *pair) for pair in (careful.named[1], open_.named[1])
        )
        assert first is not None
        assert second is not None
        link = links.web(connection, (first.id,)).between(first.id, second.id)
        assert link is not None
        assert link.act is LinkAct.PLACED
    assert "housing" not in await given(centre, careful.identifiers[1])
    assert "housing" in await given(centre, open_.identifiers[1])
