"""Two members on one node, each with a key, an officer and persons of its own; one of them lies after the handshake.

The node speaks for the centre and for the county, and the registry says so. For each kind of message one of the two
says what only the other may say: it is answered with the code, and nothing is taken in.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import Any

import httpx
import orjson
import pytest
from sqlalchemy import func, select
from typer.testing import CliRunner

from audit.log.tables import claims, held
from gateway.cli.main import app as cli
from gateway.desk import usage as usage_web
from gateway.desk import web as audit_web
from gateway.desk.asking import NotPermittedError
from gateway.desk.context import DeskContext
from gateway.desk.desk import Desk
from gateway.desk.forgetting import forget
from gateway.desk.forms import person
from gateway.desk.questions.counting import Processing
from gateway.desk.questions.persons import ConsentsOf, ExtractOf, FindPerson
from gateway.desk.questions.proving import Health
from gateway.desk.questions.searching import Find
from gateway.desk.roles import Asker, Role
from gateway.exchange.messaging import Message, prepare
from gateway.node.wiring import NodeError
from gateway.registry.read.registry import Registry
from gateway.registry.read.standing import Standing
from gateway.storage.tables import deliveries, inbox
from gateway.web.application import application
from gateway.web.authentication import Caller, Callers, Registered
from gateway.web.listeners import CERTIFICATE
from gateway.wire.identifiers import ServiceId
from gateway.wire.message import Checkpoint
from gateway.wire.problems import ProblemError
from gateway.wire.signing import Verifier, author, thumbprint
from schemas.identifiers import MIGRI_CUSTOMER
from tests.gateway.exchange.inprocess import InProcess, Place, node, problem_of
from tests.gateway.exchange.test_liars import CONTACT, handover, notice, since, size_of
from tests.gateway.exchange.test_members import FORM, REFUSED, both, recorded
from tests.gateway.handover.test_reception import arrived, change, to_the_municipality

PERSON = person(MIGRI_CUSTOMER, "7000001")
MEMBERS = ("centre", "kymenlaakso")


def together() -> Callable[[Standing], Standing]:
    """The same network, in which the centre's node speaks for the county as well."""
    made: dict[int, Registry] = {}

    def changed(standing: Standing) -> Standing:
        before = standing.registry
        if before.version not in made:
            owners = {listed.id: listed.owner for listed in before.content.nodes}
            nodes = tuple(
                replace(listed, serves=listed.serves | {owners["kymenlaakso.demo"]})
                if listed.id == "centre.demo"
                else listed
                for listed in before.content.nodes
            )
            content = replace(before.content, nodes=nodes)
            made[before.version] = Registry(content, version=before.version, expires=before.expires)
        return replace(standing, registry=made[before.version])

    return changed


@dataclass
class Nodes:
    """The node of the two members, and the municipality's."""

    two: InProcess
    municipality: InProcess

    async def said(self, by: str, key: str, service: str, document: Any, **changes: Any) -> Any:
        """What the municipality answers to a message that the node of the two sends in the name of one of them."""
        issuer = self.two.place.network.parties[by].subsystem
        return await self.municipality.bring(service, document, party="centre", issuer=issuer, key=key, **changes)


@pytest.fixture
async def nodes(place: Place, database_url: str, tmp_path: Any) -> AsyncIterator[Nodes]:
    async with AsyncExitStack() as stack:
        two = node(place, database_url, also=("kymenlaakso",), standing=together())
        municipality = node(place, f"sqlite:///{tmp_path}/municipality.db", of="kotka", standing=together())
        made = Nodes(await stack.enter_async_context(two), await stack.enter_async_context(municipality))
        exchange = made.municipality.exchange
        # The node's own watch over logs reads the registry by itself; here it is to read the changed one as well.
        exchange.witnessing._registry = lambda: exchange.standing(exchange.clock()).registry
        yield made


# -- a key each --------------------------------------------------------------------------------------------------------


async def test_each_member_signs_what_it_says_and_answers_with_its_own_key(nodes: Nodes) -> None:
    here = nodes.two
    now = here.exchange.clock()
    standing = here.exchange.standing(now)
    verifier = Verifier(standing.registry.signing_key, now)
    for own in both(here):
        inbox_of = standing.registry.service(ServiceId(nodes.municipality.party.subsystem, "ilmoitukset"))
        assert inbox_of is not None
        message = Message(
            consumer=own, service=inbox_of, purpose="withdrawal-notice", categories=frozenset({"identity"}), body=b"{}"
        )
        sent = prepare(here.exchange, standing, message, now)
        document = notice(notice=f"n-{own.code}")
        answer = await here.ask(
            "", body=document, audience=ServiceId(own, "ilmoitukset"), purpose="withdrawal-notice",
            categories=frozenset({"identity"}),
        )  # fmt: skip

        assert author(sent.text, verifier) == own.member
        assert answer.status == 200, answer.body
        assert author(str(answer.message), verifier) == own.member


async def test_nothing_is_signed_for_a_member_that_the_node_does_not_speak_for(nodes: Nodes) -> None:
    with pytest.raises(KeyError):
        nodes.two.exchange.signer(nodes.municipality.party.member)


async def test_a_node_whose_members_would_sign_with_one_key_does_not_start(place: Place, database_url: str) -> None:
    with pytest.raises(NodeError, match="two members would sign with one key"):
        async with node(place, database_url, also=("kymenlaakso",), keys_of="centre"):
            pass


# -- one lies ----------------------------------------------------------------------------------------------------------

Said = tuple[str, Callable[[InProcess], Any], dict[str, Any]]
WITHDRAWN = {"purpose": "withdrawal-notice"}
KINDS: dict[str, Said] = {
    "a question": ("palvelutarve", lambda _: {"subject": {"system": MIGRI_CUSTOMER, "value": "7000001"}}, {}),
    "a handover": ("saapuvat", handover, {}),
    "an acceptance": ("hyvaksynnat", lambda _: {"delivery": "d-1", "contact": CONTACT}, {}),
    "a withdrawal": ("ilmoitukset", lambda _: notice(), WITHDRAWN),
    "a refusal": ("ilmoitukset", lambda _: notice(status="refused"), WITHDRAWN),
    "a checkpoint": ("ilmoitukset", lambda _: notice(), WITHDRAWN | {"checkpoint": Checkpoint("o", 9, b"1" * 32)}),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("by", "key"), [MEMBERS, MEMBERS[::-1]], ids=["as the centre", "as the county"])
async def test_what_one_member_signs_in_the_name_of_the_other_is_refused_and_nothing_is_taken_in(
    nodes: Nodes, kind: str, by: str, key: str
) -> None:
    service, make, changes = KINDS[kind]
    here = nodes.municipality
    size = size_of(here)

    with pytest.raises(ProblemError) as refused:
        await nodes.said(by, key, service, make(here), **changes)

    assert refused.value.code == "certificate-of-another"
    assert arrived(here) == []
    assert since(here, size) == []
    with here.exchange.engine.connect() as connection:
        assert connection.scalar(select(func.count()).select_from(held).where(held.c.origin == "o")) == 0


async def test_what_each_signs_in_its_own_name_is_believed(nodes: Nodes) -> None:
    """Without this control the table above would be passed by a node that refuses all that comes from the two."""
    for member in MEMBERS:
        document = notice(notice=f"n-{member}")
        answer = await nodes.said(member, member, "ilmoitukset", document, **WITHDRAWN)
        assert answer.status == 200, answer.body
    assert [row.delivery for row in arrived(nodes.municipality)] == [f"n-{member}" for member in MEMBERS]


async def test_a_log_that_the_two_state_differently_is_caught(nodes: Nodes) -> None:
    """They share one log: what one states of it and what the other states must agree."""
    here = nodes.municipality
    size = size_of(here)
    for number, member in enumerate(MEMBERS):
        checkpoint = Checkpoint("yhdyspinta/centre.demo", 1_000, bytes([number]) * 32)
        document = notice(notice=f"n-{member}")
        answer = await nodes.said(member, member, "ilmoitukset", document, checkpoint=checkpoint, **WITHDRAWN)
        assert answer.status == 200, answer.body

    assert [entry.reason for entry in since(here, size) if entry.type == "anomaly"] == ["log-fork"]


# -- what others say to one of them ------------------------------------------------------------------------------------


async def test_acceptance_that_is_told_to_the_other_member_is_refused(nodes: Nodes) -> None:
    here, (_, county) = nodes.two, both(nodes.two)
    delivery = await to_the_municipality(here, "7000001")
    change(here, deliveries, delivery, state="delivered")
    document = {"delivery": delivery, "contact": CONTACT}

    answer = await here.bring("hyvaksynnat", document, party="kotka", audience=ServiceId(county, "hyvaksynnat"))
    assert problem_of(answer) in {"delivery-unknown", "service-unknown"}
    with here.exchange.engine.connect() as connection:
        assert connection.scalar(select(deliveries.c.state).where(deliveries.c.id == delivery)) == "delivered"
    assert (await here.bring("hyvaksynnat", document, party="kotka")).status == 200


async def test_notice_about_what_came_to_the_other_member_is_not_filed_with_it(nodes: Nodes) -> None:
    """A peer names, to one member, the message that it sent to the other: no register of one is tied to the other's."""
    here, (centre, county) = nodes.two, both(nodes.two)
    first = await here.bring("ilmoitukset", notice(notice="n-1"), party="kotka", **WITHDRAWN)
    receipt = orjson.loads(first.body)["receipt"]
    with here.exchange.engine.connect() as connection:
        subject = connection.scalar(select(inbox.c.subject).where(inbox.c.id == receipt))

    for own, is_filed in ((county, False), (centre, True)):
        document = notice(notice=f"about-{own.code}", messages=[receipt], subject=[
            {"system": MIGRI_CUSTOMER, "value": "7000077"}])  # fmt: skip
        audience = ServiceId(own, "ilmoitukset")
        answer = await here.bring("ilmoitukset", document, party="kotka", audience=audience, **WITHDRAWN)
        assert answer.status == 200, answer.body
        with here.exchange.engine.connect() as connection:
            filed = connection.execute(select(claims).where(claims.c.subject == subject)).all()
        assert bool(filed) is is_filed


async def test_one_id_to_both_members_is_two_arrivals(nodes: Nodes) -> None:
    here = nodes.two
    receipts = set()
    for own in both(here):
        audience = ServiceId(own, "ilmoitukset")
        answer = await here.bring("ilmoitukset", notice(notice="n-1"), party="kotka", audience=audience, **WITHDRAWN)
        assert answer.status == 200, answer.body
        receipts.add(orjson.loads(answer.body)["receipt"])

    assert len(receipts) == 2
    assert [row.recipient for row in arrived(here)] == [str(own) for own in both(here)]


# -- an officer each ---------------------------------------------------------------------------------------------------


@pytest.fixture
async def desk(nodes: Nodes) -> AsyncIterator[Desk]:
    exchange = nodes.two.exchange
    context = DeskContext(
        node=exchange.node, engine=exchange.engine, log=exchange.log, subjects=exchange.subjects, clock=exchange.clock,
        standing=lambda: exchange.standing(exchange.clock()), subsystems=exchange.subsystems,
    )  # fmt: skip
    made = Desk(context)
    yield made
    made.close()


def officers(nodes: Nodes) -> tuple[Asker, Asker]:
    centre, county = both(nodes.two)
    return Asker("test", member=str(centre.member)), Asker("test", member=str(county.member))


async def test_an_officer_finds_the_persons_and_words_of_their_own_member_alone(nodes: Nodes, desk: Desk) -> None:
    centre, county = both(nodes.two)
    await recorded(nodes.two, centre, FORM)
    await recorded(nodes.two, county, REFUSED)
    of_centre, of_county = officers(nodes)

    for asker, status in ((of_centre, "active"), (of_county, "refused")):
        (story,) = desk.ask(ConsentsOf(person=PERSON), asker).stories
        assert story.to_dict()["history"][0]["entry"]["outcome"] is not None
        found = desk.ask(FindPerson(person=PERSON), asker)
        with nodes.two.exchange.engine.connect() as connection:
            own = nodes.two.exchange.subjects.of(str(asker.member)).find(connection, MIGRI_CUSTOMER, "7000001")
        assert own is not None
        assert found.subject == own.id
        assert status
        sources = {
            item.entry.source for item in desk.ask(Find.of(filters={"type": ["consent", "refusal"]}), asker).found
        }
        assert sources == {str(centre if asker is of_centre else county)}


async def test_nobody_looks_into_the_registers_of_two_members_at_once(nodes: Nodes, desk: Desk) -> None:
    centre, _ = both(nodes.two)
    await recorded(nodes.two, centre, FORM)
    size = size_of(nodes.two)

    for member in (None, "FI-DEMO/MUN/9000003-8"):
        for role in (Role.OFFICER, Role.AUDITOR):
            with pytest.raises(NotPermittedError):
                desk.ask(Find.of(), Asker("test", role=role, member=member))

    assert [entry.detail["reason"] for entry in since(nodes.two, size)][:1] == ["member"]
    assert desk.ask(Health(), Asker("test", role=Role.OPERATOR)).latest.size >= size


async def test_extract_and_record_of_processing_are_the_members_own(nodes: Nodes, desk: Desk) -> None:
    year = nodes.two.exchange.clock().year
    named = set()
    for asker in officers(nodes):
        extract = desk.ask(ExtractOf(person=PERSON), asker).to_dict()
        processing = desk.ask(Processing.of(year=year), asker).to_dict()
        assert extract["controller"] == processing["controller"]["name"]
        named.add(extract["controller"])
    assert len(named) == 2


async def test_a_system_with_the_right_to_audit_asks_about_its_own_member(nodes: Nodes, desk: Desk) -> None:
    exchange, everything = nodes.two.exchange, frozenset({"*"})
    await recorded(nodes.two, both(nodes.two)[0], FORM)
    registered = [
        Registered(
            Caller(own.code, own, frozenset({"audit"}), everything, everything, everything, None, frozenset()),
            frozenset({thumbprint(own.code.encode())}),
        )
        for own in both(nodes.two)
    ]
    callers = Callers(registered, tokens=None, clock=exchange.clock)
    app = application("test", audit_web.router(exchange, desk, callers), usage_web.router(exchange, desk, callers))
    body = {"person": {"system": MIGRI_CUSTOMER, "value": "7000001"}}
    centre = both(nodes.two)[0]

    for own, count, status in zip(both(nodes.two), (1, 0), (200, 404), strict=True):

        async def shown(scope: Any, receive: Any, send: Any, name: str = own.code) -> None:
            await app({**scope, CERTIFICATE: name.encode()}, receive, send)

        transport = httpx.ASGITransport(app=shown)
        async with httpx.AsyncClient(transport=transport, base_url="https://node") as client:
            assert len((await client.post("/v1/audit/consents", json=body)).json()["consents"]) == count
            assert len((await client.post("/v1/audit/search", json=body)).json()["found"]) == count
            assert (await client.get(f"/r1/{centre}/findUsage/v2/heartbeat")).status_code == status


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["audit", "unreviewed"], "for several members"),
        (["audit", "--member", "FI-DEMO/MUN/1", "unreviewed"], "none of that name"),
        (["console", "link"], "each has its own officer"),
        (["console", "link", "--member", "FI-DEMO/MUN/1"], "each has its own officer"),
    ],
)
def test_a_command_of_the_officer_says_for_which_member(
    place: Place, tmp_path: Any, arguments: list[str], told: str
) -> None:
    centre, county = (place.network.parties[member] for member in MEMBERS)
    text = centre.config.read_text().replace(f'["{centre.subsystem}"]', f'["{centre.subsystem}", "{county.subsystem}"]')
    signing = f'certificate = "{county.folder}/signing.pem"\nkey = "{county.folder}/signing.key"\n'
    config = centre.folder / "two.toml"
    config.write_text(f'{text}\n[[members]]\nid = "{county.subsystem.member}"\n[members.signing]\n{signing}')

    result = CliRunner().invoke(cli, [*arguments, "--config", str(config), "--json"])

    assert result.exit_code == 2, result.output
    assert told in result.output
    assert str(centre.subsystem.member) in json.loads(result.output)["remedy"]


async def test_a_person_is_forgotten_by_the_member_that_forgets_them(nodes: Nodes, desk: Desk) -> None:
    for own in both(nodes.two):
        await recorded(nodes.two, own, FORM)
    of_centre, of_county = officers(nodes)

    assert forget(desk, of_centre, PERSON).keys == 1

    assert desk.ask(ConsentsOf(person=PERSON), of_centre).stories == ()
    assert len(desk.ask(ConsentsOf(person=PERSON), of_county).stories) == 1
