"""What the first release kept can be read, proved and carried on with under today's code."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Engine, inspect, select, text

from audit.log.entries import Agents, Entry, new_id
from audit.log.waiting import Written
from audit.questions.check import check
from audit.questions.checks import Others
from gateway.demo.leash import leashed
from gateway.exchange.keeping import kept_decisions, kept_rulebook
from gateway.exchange.opening import PeerCall
from gateway.exchange.rejudging import replay
from gateway.exchange.transport import Reply
from gateway.handover.accept import Inbox, Opener
from gateway.handover.deliver import Deliveries
from gateway.handover.overview import Overview
from gateway.handover.plan import Handovers, Order, Plan
from gateway.keys.certificates import to_der
from gateway.person.registrar import Registrar
from gateway.person.values import Named, Register
from gateway.registry.read.entries import Node
from gateway.storage import engine as storage
from gateway.storage import schema
from gateway.storage.tables import deliveries
from gateway.wire.problems import ProblemError
from tests.gateway.exchange.inprocess import InProcess, Place, node
from tests.upgrade.former import Year

OPEN = "from gateway.storage import engine, schema; import sys; schema.bring_up_to_date(engine.create(sys.argv[1]))"


def rows(engine: Engine) -> Mapping[str, list[tuple[Any, ...]]]:
    """All that a database holds."""
    with engine.connect() as connection:
        return {
            table: sorted((tuple(row) for row in connection.execute(text(f"SELECT * FROM {table}"))), key=repr)
            for table in sorted(inspect(engine).get_table_names())
        }


async def order(here: InProcess, told: Mapping[str, Any], bundle: Any) -> Plan:
    values: dict[str, Any] = {
        "client": "centre-system", "sender": here.party.subsystem, "bundle": bundle, "flow": "F1",
        "idempotency": told["key"], "case": None, "user": None, "not_before": None, "trace_id": "0" * 32,
        "register": Register("register", is_authoritative=True),
    }  # fmt: skip
    return await Handovers(here.exchange).plan(Order(**values))


@pytest.mark.parametrize("party", ["centre", "kotka"])
async def test_log_goes_on_from_where_it_was(place: Place, year: Year, party: str) -> None:
    for _ in range(2):
        async with node(place, year.urls[party], of=party) as here:
            await here.exchange.log.append((Entry("key", "success", here.exchange.clock(), id=new_id(
                here.exchange.clock()), agents=Agents(node=here.exchange.node)),))  # fmt: skip
            key = here.exchange.log.verifier
            report = check(here.exchange.engine, log_key=key, others=Others(seen=[year.done["heads"][party]]))
            assert report.sound, report.first
            assert report.size > year.done["entries"][party]


async def test_decisions_come_out_as_they_did(centre: InProcess, year: Year) -> None:
    engine = centre.exchange.engine
    replayed = replay(kept_decisions(engine, centre.exchange.subjects), lambda digest: kept_rulebook(engine, digest))

    assert replayed.sound
    assert replayed.decisions == year.done["decisions"]["centre"]
    assert replayed.same == replayed.decisions - len(replayed.forgotten)
    assert 0 < len(replayed.forgotten) < 10, "those about the person who was forgotten, and no others"


async def test_arrivals_open_and_contacts_are_read(kotka: InProcess, year: Year) -> None:
    inbox, own = Inbox(kotka.exchange), kotka.party.subsystem
    contacts = {told["arrival"] for told in year.done["contacts"]}
    items, _ = await inbox.list(own, state=None, after="", limit=500)
    assert [item.id for item in items] == year.done["arrivals"]
    for item in items:
        opened, content = await inbox.open(own, item.id, Opener("kotka-system"), None)
        assert content
        if item.id in contacts:
            assert (opened.state, opened.contact) == ("accepted", year.done["contact"])
    assert contacts
    waiting = [item for item in items if item.state == "received" and item.kind == "handover"]
    accepted = await inbox.accept(own, waiting[0].id, Opener("kotka-system"), year.done["contact"])
    assert (accepted.state, accepted.contact) == ("accepted", year.done["contact"])


async def test_contacts_of_deliveries_are_read(centre: InProcess, year: Year) -> None:
    shown, _ = await Overview(centre.exchange).handovers(centre.party.subsystem, state=None, after="", limit=500)
    contacts = {part["id"]: part["contact"] for handover in shown for part in handover["deliveries"]}
    accepted = {told["delivery"] for told in year.done["contacts"]}

    assert len(accepted) > 5
    assert {id_: contacts[id_] for id_ in accepted} == dict.fromkeys(accepted, year.done["contact"])


async def test_cursors_that_clients_hold_go_on(centre: InProcess, kotka: InProcess, year: Year) -> None:
    arrivals = year.done["arrivals"]
    items, cursor = await Inbox(kotka.exchange).list(kotka.party.subsystem, state=None, after=arrivals[3], limit=500)
    assert [item.id for item in items] == arrivals[4:]
    assert await Inbox(kotka.exchange).list(kotka.party.subsystem, state=None, after=cursor, limit=9) == ([], cursor)

    ordered = sorted(told["id"] for told in year.done["handovers"])
    overview = Overview(centre.exchange)
    shown, _ = await overview.handovers(centre.party.subsystem, state=None, after=ordered[3], limit=500)
    assert [handover["id"] for handover in shown] == ordered[4:]


async def test_orders_of_before_are_still_known(centre: InProcess, year: Year) -> None:
    """By the key of the client, and where it gave none by the record itself."""
    with_key = [told for told in year.done["handovers"] if told["key"] is not None]
    without = [told for told in year.done["handovers"] if "bundle" in told]
    assert with_key
    assert without
    for told in (*with_key, *without):
        bundle = told.get("bundle") or centre.register.bundle(year.people[told["person"]].customer)
        plan = await order(centre, told, bundle)
        assert (plan.id, plan.existing) == (told["id"], True), told["person"]


async def test_what_was_due_is_delivered_on(centre: InProcess, kotka: InProcess, year: Year) -> None:
    """The county's node answers nobody, as before; the municipality's is reached again."""

    async def carry(to: Node, message: str, body: bytes, content_type: str, trace: Any) -> Reply:
        if to.id != "kotka.demo":
            raise ProblemError("peer-unreachable", detail="nobody answers")
        certificate = to_der((centre.party.folder / "tls.pem").read_bytes())
        answer = await kotka.provider.answer(PeerCall(message, body, content_type, certificate, "0" * 32, trace))
        return Reply(answer.status, answer.message, answer.content_type, answer.body)

    async def call(to: Node, _method: str, _path: str) -> Reply:
        if to.id != "kotka.demo":
            raise ProblemError("peer-unreachable", detail="nobody answers")
        return Reply(200, None, "text/plain", b"")

    centre.exchange.transport.send = carry  # type: ignore[method-assign]
    centre.exchange.transport.call = call  # type: ignore[assignment]
    # All of it is claimed, so that each is seen: nobody is left alone for being away.
    centre.exchange.delivery = replace(centre.exchange.delivery, recipient_failures=1_000)
    workers = Deliveries(centre.exchange)
    claimed = set()
    while taken := await workers._claim():
        for delivery in taken:
            claimed.add(delivery.id)
            await workers._attempt(delivery)

    left = set(year.done["due"]) - claimed
    with centre.exchange.engine.connect() as connection:
        rows = {row.id: row for row in connection.execute(select(deliveries))}
    # What the county has not got waits for its turn behind an earlier handover about the same person.
    assert claimed <= set(year.done["due"])
    for waits in (rows[id_] for id_ in left):
        ahead = [rows[id_] for id_ in claimed if (rows[id_].subject, rows[id_].role) == (waits.subject, waits.role)]
        assert waits.role == "county"
        assert any(row.handover < waits.handover for row in ahead)
    with centre.exchange.engine.connect() as connection:
        found = connection.execute(select(deliveries).where(deliveries.c.id.in_(claimed))).all()
    waited = {told["id"]: told["key"] for told in year.done["handovers"] if str(told["key"]).startswith("waits-")}
    states = {waited[row.handover]: row.state for row in found if row.handover in waited and row.role == "municipality"}
    assert states == dict.fromkeys(("waits-1", "waits-2", "waits-3"), "delivered")
    assert {row.state for row in found if row.kind == "notice"} == {"accepted"}
    assert {row.problem for row in found if row.state == "due"} == {"peer-unreachable"}


@pytest.mark.parametrize("name", ["plain-refused-0", "pair-refused-0", "both-refused-0"])
async def test_person_is_forgotten_with_all_that_is_theirs_beyond_doubt(
    centre: InProcess, year: Year, name: str
) -> None:
    person, subjects = year.people[name], centre.exchange.subjects.of(str(centre.party.member))
    now = centre.exchange.clock()

    def forget(connection: Any) -> Written[None]:
        subject = subjects.find(connection, *person.named[0])
        assert subject is not None
        subjects.destroy(connection, subject.id, now)
        return Written(None, (Entry("key", "success", now, id=new_id(now), detail={"action": "destroy"}),))

    await centre.exchange.log.commit(forget)

    left = [await centre.exchange.people.recall(Named.looked_for("", *pair)) for pair in person.named]
    # Two subjects that nobody has confirmed to be one are forgotten each on its own.
    assert [found.subject is None for found in left] == (
        [True, False] if name.startswith("both") else [True] * len(left)
    )
    engine = centre.exchange.engine
    assert replay(kept_decisions(engine, subjects), lambda digest: kept_rulebook(engine, digest)).sound
    assert check(engine, log_key=centre.exchange.log.verifier).sound


async def test_joins_of_who_was_forgotten_are_nobodys_to_confirm(place: Place, year: Year) -> None:
    """The first release forgot two subjects that it had joined; their row said so for ever."""
    engine = storage.create(year.urls["centre"])
    with storage.writer(engine).begin() as connection:
        statement = text("SELECT id, same_as FROM audit_subjects WHERE same_as IS NOT NULL ORDER BY id LIMIT 1")
        pair = tuple(connection.execute(statement).one())
        for subject in pair:
            connection.execute(text("DELETE FROM audit_identifiers WHERE subject = :s"), {"s": subject})
            connection.execute(
                text("UPDATE audit_subjects SET wrapped_key = NULL, pseudonym = NULL, destroyed = 1 WHERE id = :s"),
                {"s": subject},
            )
    engine.dispose()

    async with node(place, year.urls["centre"]) as here:
        registrar = Registrar(here.exchange.node, here.exchange.subjects, here.exchange.held)
        with here.exchange.engine.connect() as connection:
            listed = {frozenset((doubt.first, doubt.second)) for doubt in registrar.doubtful(connection)}
    assert frozenset(pair) not in listed
    assert listed


async def test_two_processes_upgrade_once_and_the_next_start_changes_nothing(place: Place, year: Year) -> None:
    url = year.urls["centre"]
    started = [subprocess.Popen(leashed([sys.executable, "-c", OPEN, url]), stderr=subprocess.PIPE) for _ in range(2)]
    for process in started:
        assert process.communicate()[1] == b""
        assert process.returncode == 0
    engine = storage.create(url)
    once = rows(engine)

    schema.bring_up_to_date(engine)
    async with node(place, url):
        pass

    # The first start notes which secrets the database depends on from now on.
    assert {**rows(engine), "secret_fingerprints": []} == once
    held, newest = schema.revision(engine)
    assert held == newest
    engine.dispose()
