"""Two members on one node share a process, a database and a log: neither sees or ends anything of the other's."""

from __future__ import annotations

import hmac
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import update

from audit.log.tables import identifiers
from audit.questions.subjects import normalised
from consent.words.consents import ConsentRecord
from consent.words.givers import Giver, GiverKind
from gateway.consents.endings import TakenBack
from gateway.handover.accept import Inbox, Opener
from gateway.handover.overview import Overview
from gateway.handover.plan import Handovers
from gateway.identity.acts import Actor, Identity
from gateway.sources.backends import Locator
from gateway.storage.engine import writer
from gateway.wire.identifiers import ServiceId, SubsystemId
from gateway.wire.problems import ProblemError
from schemas.identifiers import MIGRI_CUSTOMER
from tests.gateway.exchange.inprocess import INDEX_KEY, InProcess, Place, node, problem_of
from tests.gateway.exchange.test_liars import CONTACT, notice
from tests.gateway.exchange.test_persons import CODE, OTHER_CODE, moved, order_of, with_code
from tests.gateway.handover.test_deliveries import order

PERSON = Locator(MIGRI_CUSTOMER, "7000001")
FORM = {"status": "active", "categories": ["health-needs"], "purposes": ["service-need-lookup"],
        "recipients": ["municipality"], "given_by": {"kind": "self"}}  # fmt: skip
REFUSED = {"status": "refused", "categories": ["health-needs"]}


@pytest.fixture
async def here(place: Place, database_url: str) -> AsyncIterator[InProcess]:
    """A node that speaks for the centre and for the county."""
    async with node(place, database_url, also=("kymenlaakso",)) as running:
        yield running


def both(here: InProcess) -> tuple[SubsystemId, SubsystemId]:
    return here.party.subsystem, here.place.network.parties["kymenlaakso"].subsystem


async def recorded(here: InProcess, member: SubsystemId, form: dict[str, object]) -> ConsentRecord:
    return (await here.consents.record("test", member, PERSON, form)).record


def in_the_former_notation(here: InProcess) -> None:
    """As a former version knew the person: under an index that kept no members apart."""
    text = normalised(PERSON.system, PERSON.value)
    blind = hmac.digest(INDEX_KEY, f"identifier\x00{PERSON.system}\x00{text}".encode(), "sha256")
    with writer(here.exchange.engine).begin() as connection:
        connection.execute(update(identifiers).values(blind=blind))


@pytest.mark.parametrize("is_former", [False, True], ids=["today", "known to a former version"])
async def test_consent_and_refusal_of_one_member_are_not_there_for_the_other(here: InProcess, is_former: bool) -> None:
    centre, county = both(here)
    words = [await recorded(here, centre, FORM), await recorded(here, centre, REFUSED)]
    if is_former:
        in_the_former_notation(here)

    for word in words:
        for attempt in (here.consents.withdraw, here.consents.history):
            with pytest.raises(ProblemError) as refused:
                await attempt("test", county, word.id)
            assert refused.value.code == "consent-unknown"
    assert await here.consents.of("test", county, PERSON) == ()
    assert {word.status for word in await here.consents.of("test", centre, PERSON)} == {"active", "refused"}
    taken_back = TakenBack(Giver(GiverKind.SELF), PERSON, age=34)
    done = await here.consents.withdraw("test", centre, words[1].id, said=taken_back)
    assert done.record.status == "withdrawn"


async def test_word_that_one_member_recorded_carries_and_stops_nothing_of_the_others(here: InProcess) -> None:
    centre, county = both(here)
    await recorded(here, county, FORM)
    assert not await moved(here, PERSON.value), "the county's consent is not the centre's"

    await recorded(here, centre, FORM)
    await recorded(here, county, REFUSED)

    assert await moved(here, PERSON.value), "nor is its refusal"


@pytest.mark.parametrize("is_former", [False, True], ids=["today", "known to a former version"])
async def test_notices_tell_of_what_the_member_itself_sent(here: InProcess, is_former: bool) -> None:
    centre, county = both(here)
    await recorded(here, centre, FORM)
    assert await moved(here, PERSON.value)
    if is_former:
        in_the_former_notation(here)

    assert (await here.consents.record("test", county, PERSON, REFUSED)).notices == 0
    assert (await here.consents.record("test", centre, PERSON, REFUSED)).notices == 1


async def test_handovers_of_one_member_are_not_there_for_the_other(here: InProcess) -> None:
    centre, county = both(here)
    plan = await order(here, PERSON.value)
    overview = Overview(here.exchange)

    assert (await overview.handovers(county, state=None, after="", limit=10))[0] == []
    assert len((await overview.handovers(centre, state=None, after="", limit=10))[0]) == 1
    with pytest.raises(ProblemError) as refused:
        await overview.handover(county, plan.id)
    assert refused.value.code in {"not-found", "handover-unknown"}


async def test_arrivals_for_one_member_are_not_there_for_the_other(here: InProcess) -> None:
    centre, county = both(here)
    answer = await here.ask(
        "", party="kotka", body=notice(notice="n-1"), audience=ServiceId(centre, "ilmoitukset"),
        purpose="withdrawal-notice", categories=frozenset({"identity"}),
    )  # fmt: skip
    assert problem_of(answer) is None
    inbox = Inbox(here.exchange)
    (arrival,), _ = await inbox.list(centre, state=None, after="", limit=10)

    assert (await inbox.list(county, state=None, after="", limit=10))[0] == []
    with pytest.raises(ProblemError) as opened:
        await inbox.open(county, arrival.id, Opener("test"), None)
    with pytest.raises(ProblemError) as accepted:
        await inbox.accept(county, arrival.id, Opener("test"), CONTACT)
    assert (opened.value.code, accepted.value.code) == ("not-found", "not-found")
    assert (await inbox.list(centre, state=None, after="", limit=10))[0] == [arrival]


async def test_record_of_one_member_that_waits_is_not_there_for_the_others_registrar(here: InProcess) -> None:
    centre, county = both(here)
    for person, code in (("7000001", CODE), ("7000002", OTHER_CODE)):
        here.register.changed[person] = with_code(code)  # type: ignore[assignment]
        await Handovers(here.exchange).plan(order_of(here, person))
    here.register.changed["7000001"] = with_code(OTHER_CODE)  # type: ignore[assignment]
    with pytest.raises(ProblemError, match="waits as"):
        await Handovers(here.exchange).plan(order_of(here, "7000001"))
    identity = Identity(here.exchange, Handovers(here.exchange))
    own, other = Actor("desk", centre, "a" * 32), Actor("desk", county, "b" * 32)
    (waiting,) = await identity.waiting(own)

    assert await identity.waiting(other) == ()
    for act in (identity.same, identity.apart):
        with pytest.raises(ProblemError) as refused:
            await act(other, waiting.id)
        assert refused.value.code == "not-found"
    assert [record.id for record in await identity.waiting(own)] == [waiting.id]
