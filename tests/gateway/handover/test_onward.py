"""A withdrawal goes as far as the data went: who was told of it tells those to whom they have passed the data on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
from sqlalchemy import select

from audit.questions import query
from gateway.handover import onward
from gateway.registry.read.registry import Registry
from gateway.storage.engine import writer
from gateway.storage.sealing import unseal
from gateway.storage.tables import deliveries, inbox
from gateway.wire.identifiers import ServiceId, SubsystemId
from gateway.wire.problems import ProblemError, UnsentError
from schemas.identifiers import MIGRI_CUSTOMER
from tests.gateway.exchange.inprocess import Place
from tests.gateway.handover.chain import WHO, Chain, a_place, chained, consented, releases, worked
from tests.gateway.handover.test_deliveries import order
from tests.people import joined


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return a_place(tmp_path_factory.mktemp("onward"))


@pytest.fixture
async def chain(place: Place, database_url: str, tmp_path: Path) -> AsyncIterator[Chain]:
    async with chained(place, database_url, tmp_path) as found:
        yield found


async def test_withdrawal_reaches_those_to_whom_the_recipient_passed_the_data_on(chain: Chain) -> None:
    await chain.came()
    await chain.passed_on()

    receipt = await chain.told()
    await worked(chain.kotka)

    assert receipt["onward"] == 1
    (delivery,) = chain.planned()
    assert delivery.state == "accepted"
    with chain.tampere.exchange.engine.connect() as connection:
        arrived = {row.kind: row for row in connection.execute(select(inbox))}
    assert arrived["notice"].handover == "c-1"
    assert arrived["notice"].subject == arrived["handover"].subject, "it is shown with what came of the person"
    assert arrived["notice"].sender == str(chain.kotka.party.subsystem), "from whom it has the data, the holder keeps"
    assert "vastaanotto" not in str(arrived["notice"]).lower()


async def test_course_of_the_notice_tells_to_how_many_it_went_on(chain: Chain) -> None:
    await chain.came()
    await chain.passed_on()
    await chain.told()
    await worked(chain.kotka)

    (notice,) = [entry for entry in chain.kotka.entries() if entry.detail.get("notice") == "n-1"]
    with chain.kotka.exchange.engine.connect() as connection:
        course = [found.entry for found in query.chain(connection, notice.id, limit=50)]
    ended = [entry for entry in course if entry.detail.get("kind") == "notice" and entry.outcome == "success"]
    assert notice.detail["onward"] == 1
    assert [entry.agents.recipient for entry in ended] == [str(chain.tampere.party.subsystem)]
    case = chain.kotka.exchange.case_pseudonym("CASE-1")
    assert {entry.case for entry in ended} == {case}, "it stands in the course of the case too"


async def test_holder_learns_how_many_were_told_and_not_who(chain: Chain) -> None:
    await order(chain.centre, WHO)
    await worked(chain.centre)
    await chain.passed_on()
    form = {"kind": "prohibition", "purposes": [], "recipients": [], "categories": ["housing"]}
    await consented(chain.centre, WHO, form)

    await worked(chain.centre)

    told = [entry for entry in releases(chain.centre) if entry.detail.get("kind") == "notice"]
    assert [entry.detail.get("onward", 0) for entry in told if entry.outcome == "success"] == [1]
    written = str([entry.to_dict() for entry in chain.centre.entries()]).lower()
    assert str(chain.tampere.party.subsystem).lower() not in written
    assert "tampere" not in written


async def test_first_notice_names_each_message_once_however_many_entries_tell_of_it(chain: Chain) -> None:
    await order(chain.centre, WHO)
    await worked(chain.centre)
    form = {"kind": "prohibition", "purposes": [], "recipients": [], "categories": ["housing"]}
    await consented(chain.centre, WHO, form)

    exchange = chain.centre.exchange
    with exchange.engine.connect() as connection:
        named = []
        for planned in connection.execute(select(deliveries).where(deliveries.c.kind == "notice")):
            key = exchange.subjects.key_of(connection, planned.subject)
            assert key is not None
            named.append(orjson.loads(unseal(key, f"deliveries/{planned.id}", planned.sealed))["messages"])
    assert named
    assert all(len(messages) == len(set(messages)) == 1 for messages in named)


async def test_notice_that_is_told_again_goes_on_once(chain: Chain) -> None:
    await chain.came()
    await chain.passed_on()

    receipts = [await chain.told(), await chain.told(), await chain.told(notice="n-2")]

    assert [receipt["onward"] for receipt in receipts] == [1, 1, 0]
    assert len(chain.planned()) == 1


async def test_circle_of_recipients_ends(chain: Chain) -> None:
    await chain.came()
    await chain.passed_on()
    await chain.told()
    await worked(chain.kotka)

    back = await chain.told("tampere", notice="n-3")

    assert back["onward"] == 0, "it has given us nothing, and who told it knows"


@pytest.mark.parametrize(
    "changes", [{"categories": ["health"]}, {"subject": [{"system": MIGRI_CUSTOMER, "value": "7000002"}]}]
)
async def test_what_the_notice_does_not_name_is_told_nobody(chain: Chain, changes: dict[str, Any]) -> None:
    await chain.came()
    await chain.passed_on()

    assert (await chain.told(**changes))["onward"] == 0
    assert chain.planned() == []


async def test_sender_of_nothing_sets_nobody_going(chain: Chain) -> None:
    await chain.came()
    await chain.passed_on()

    assert (await chain.told("kymenlaakso"))["onward"] == 0


async def test_notice_is_no_data_that_came(chain: Chain) -> None:
    """Whoever has told something of the person before has given nothing by it."""
    await chain.came()
    await chain.told("kymenlaakso")
    await chain.passed_on()

    assert (await chain.told("kymenlaakso", notice="n-2", consent="c-2"))["onward"] == 0
    assert (await chain.told())["onward"] == 1


async def test_word_is_known_by_who_told_it_and_to_which_of_our_subsystems(chain: Chain) -> None:
    """Two members of one node are told of a word one by one, and each passes it on."""
    await chain.came()
    await chain.told()
    ours, parties = chain.kotka.party.subsystem, chain.kotka.place.network.parties
    centre, county = parties["centre"].subsystem, parties["kymenlaakso"].subsystem

    with chain.kotka.exchange.engine.connect() as connection:

        def is_new(word: str, teller: SubsystemId, told: SubsystemId) -> bool:
            claims, service = SimpleNamespace(issuer=teller), SimpleNamespace(id=ServiceId(told, "ilmoitukset"))
            values: Any = SimpleNamespace(claims=claims, service=service)
            return onward._is_told_anew(connection, values, word)

        assert not is_new("c-1", centre, ours)
        assert [is_new("c-2", centre, ours), is_new("c-1", county, ours), is_new("c-1", centre, county)] == [True] * 3


@pytest.mark.parametrize("takes_notices", [True, False])
async def test_recipient_that_takes_no_notices_is_not_counted_as_told(chain: Chain, takes_notices: bool) -> None:
    await chain.came()
    await chain.passed_on()
    exchange, ours, theirs = chain.kotka.exchange, chain.kotka.party.subsystem, chain.tampere.party.subsystem
    standing = exchange.standing(exchange.clock())
    content = standing.registry.content
    offered = [
        service
        for service in content.services
        if takes_notices or (service.id.subsystem, service.kind) != (theirs, "notice")
    ]
    registry = Registry(replace(content, services=offered), version=9, expires=standing.registry.expires)
    centre = chain.kotka.place.network.parties["centre"].subsystem
    incoming: Any = SimpleNamespace(
        claims=SimpleNamespace(issuer=centre),
        service=SimpleNamespace(id=ServiceId(ours, "ilmoitukset")),
        registry=registry,
        rulebook=standing.rulebook,
    )
    told = onward.Told("c-9", "refused", frozenset({"housing"}), [(MIGRI_CUSTOMER, WHO)])

    with exchange.engine.connect() as connection:
        (arrived,) = connection.execute(select(inbox.c.subject).distinct())
        subject: Any = SimpleNamespace(id=arrived.subject)
        to = onward.going_on(exchange, connection, incoming, told, subject).to

    assert set(to) == ({str(theirs)} if takes_notices else set())


def test_notice_names_the_newest_of_many_messages_each_once() -> None:
    messages = [f"m-{number}" for number in range(150)]

    assert onward.named([*messages, "m-0", "m-149"]) == messages[50:]


async def test_what_went_before_it_came_has_not_been_passed_on(chain: Chain) -> None:
    await chain.passed_on()
    await chain.came()

    assert (await chain.told())["onward"] == 0


async def test_whoever_tells_is_told_nothing_back_though_it_got_the_data_too(chain: Chain) -> None:
    await chain.came()
    await chain.came_back()
    await chain.passed_on()

    assert (await chain.told("tampere"))["onward"] == 0
    assert (await chain.told("centre"))["onward"] == 1


async def test_of_what_may_have_arrived_its_recipient_is_told_too(chain: Chain) -> None:
    await chain.came()
    await chain.passed_on(breaks=ProblemError("peer-timeout", detail="the answer was lost"))

    assert (await chain.told())["onward"] == 1
    (delivery,) = chain.planned()
    assert delivery.service.startswith(str(chain.tampere.party.subsystem))


async def test_of_what_never_left_nobody_is_told(chain: Chain) -> None:
    """A notice would be the first word of the person there."""
    await chain.came()
    await chain.passed_on(breaks=UnsentError("peer-unreachable", detail="nobody listens there"))

    assert (await chain.told())["onward"] == 0


async def test_word_that_another_told_of_first_goes_on_when_its_holder_tells(chain: Chain) -> None:
    """The id of a word is its sender's to choose: whoever names it first keeps nobody from being told."""
    await chain.came()
    await chain.passed_on()

    assert (await chain.told("kymenlaakso"))["onward"] == 0
    assert (await chain.told())["onward"] == 1


async def test_end_that_is_none_of_ours_is_passed_on_as_a_withdrawal(chain: Chain) -> None:
    await chain.came()
    await chain.passed_on()
    await chain.told(status="x" * 60)

    (notice,) = chain.planned()
    exchange = chain.kotka.exchange
    with exchange.engine.connect() as connection:
        key = exchange.subjects.key_of(connection, notice.subject)
    assert key is not None
    document = orjson.loads(unseal(key, f"deliveries/{notice.id}", notice.sealed))
    (message,) = document.pop("messages")
    assert message in {entry.message_id for entry in releases(chain.kotka)}
    assert document == {
        "notice": notice.id,
        "consent": "c-1",
        "status": "withdrawn",
        "categories": ["housing"],
        "subject": [{"system": MIGRI_CUSTOMER, "value": WHO}],
        "onward": True,
    }


async def test_who_is_known_under_several_identifiers_is_found_under_each(chain: Chain) -> None:
    """What was passed on stands under one identifier, and the notice names another of the same person."""
    await chain.came()
    await chain.passed_on()
    exchange = chain.kotka.exchange
    subjects = exchange.subjects_of(chain.kotka.party.subsystem)
    with writer(exchange.engine).begin() as connection:
        joined(connection, subjects, [(MIGRI_CUSTOMER, WHO), (MIGRI_CUSTOMER, "7000008")], exchange.clock())

    assert (await chain.told(subject=[{"system": MIGRI_CUSTOMER, "value": "7000008"}]))["onward"] == 1
