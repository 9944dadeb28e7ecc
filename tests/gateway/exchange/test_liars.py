"""A member that lies after the handshake: its message is signed and its own, and what it says is not so.

For each kind of message that brings something: the peer does X, it is answered with code Y, the log has that refusal,
and nothing else in the database is another than before. What no code refuses is held against its own promise below.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
import pytest_asyncio
from sqlalchemy import MetaData, select, text

from audit.log.entries import Categories, Entry, new_id
from audit.log.tables import claims, entries, held
from gateway.storage import engine as storage
from gateway.storage.tables import deliveries, inbox
from gateway.wire.message import Checkpoint
from gateway.wire.problems import ProblemError
from schemas.identifiers import HETU, MIGRI_CUSTOMER
from schemas.projection import project
from tests.gateway.exchange.inprocess import Bundle, InProcess, Place, node, problem_of
from tests.gateway.handover.test_deliveries import rows
from tests.gateway.handover.test_reception import CONTACT, arrived, change, to_the_municipality

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("liars")]
PERSON = [{"system": HETU, "value": "010190-900P"}]
NUL, LONG = "a\x00b", "x" * 65
#: What every message leaves behind: itself as evidence, its id, its entry and its sender's statement.
LEFT_BEHIND = frozenset(
    {
        "messages", "replays", "alembic_version", "audit_entries", "audit_facets", "audit_tiles", "audit_head",
        "audit_checkpoints", "audit_held", "audit_alarms", "sqlite_sequence",
    }
)  # fmt: skip


@dataclass
class Nodes:
    """The municipality, to which handovers and notices are brought, and the centre, whose handovers are accepted."""

    municipality: InProcess
    centre: InProcess
    tables: dict[str, MetaData] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for here in (self.municipality, self.centre):
            self.tables[here.exchange.node] = MetaData()
            self.tables[here.exchange.node].reflect(here.exchange.engine)

    def books(self, here: InProcess) -> dict[str, list[Any]]:
        """Every row of the database but for what a message leaves behind whatever becomes of it."""
        with here.exchange.engine.connect() as connection:
            return {
                table.name: sorted((tuple(row) for row in connection.execute(select(table))), key=repr)
                for table in self.tables[here.exchange.node].sorted_tables
                if table.name not in LEFT_BEHIND
            }


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["sqlite", "postgresql"])
async def nodes(
    request: pytest.FixtureRequest, place: Place, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Nodes]:
    """Both nodes, once for each kind of database and for all rows: a row that is refused leaves nothing to the next."""
    urls = [f"sqlite:///{tmp_path_factory.mktemp('liars')}/{name}.db" for name in ("municipality", "centre")]
    if request.param == "postgresql":
        server = storage.make_url(request.getfixturevalue("postgresql_server"))
        admin = storage.create(server.render_as_string(hide_password=False))
        with admin.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
            for name in ("liars_municipality", "liars_centre"):
                connection.execute(text(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"))
                connection.execute(text(f"CREATE DATABASE {name}"))
        admin.dispose()
        names = ("liars_municipality", "liars_centre")
        urls = [server.set(database=name).render_as_string(hide_password=False) for name in names]
    async with AsyncExitStack() as stack:
        municipality = await stack.enter_async_context(node(place, urls[0], of="kotka"))
        yield Nodes(municipality, await stack.enter_async_context(node(place, urls[1])))


def since(here: InProcess, size: int) -> list[Entry]:
    """What the log has got since it had so many entries."""
    statement = select(entries.c.body).where(entries.c.idx >= size).order_by(entries.c.idx)
    with here.exchange.engine.connect() as connection:
        return [Entry.parse(body) for body in connection.scalars(statement)]


def size_of(here: InProcess) -> int:
    return here.exchange.log.latest().size


# -- what is brought ---------------------------------------------------------------------------------------------------


def bundle_of(here: InProcess, *categories: str, person: str = "7000001") -> Bundle:
    return project(here.register.bundle(person), frozenset({"identity", *categories})).bundle


def handover(here: InProcess, **changes: Any) -> dict[str, Any]:
    document = {
        "handover": "h-1", "delivery": "d-refused", "flow": "F1", "consents": [], "bundle": bundle_of(here),
    } | changes  # fmt: skip
    return {name: value for name, value in document.items() if value is not ...}


def notice(**changes: Any) -> dict[str, Any]:
    document = {
        "notice": "n-refused", "consent": "c-1", "status": "withdrawn", "categories": ["health-needs"],
        "subject": PERSON, "messages": [],
    } | changes  # fmt: skip
    return {name: value for name, value in document.items() if value is not ...}


def word(here: InProcess, **changes: Any) -> dict[str, Any]:
    """A consent that carries health needs to the municipality, as its holder states it with a delivery."""
    document = {
        "id": "c-1", "version": 1, "status": "active", "kind": "consent", "given_by": {"kind": "self"},
        "purposes": ["reception-to-municipality"], "recipients": ["municipality"], "categories": ["health-needs"],
        "language": "fi", "recorded_by": str(here.place.network.parties["centre"].subsystem),
        "recorded_at": "2026-01-01T00:00:00+00:00",
    } | changes  # fmt: skip
    return {name: value for name, value in document.items() if value is not ...}


def carried(here: InProcess, **changes: Any) -> dict[str, Any]:
    """A handover of health needs whose basis is a consent, which the changes falsify."""
    return handover(here, bundle=bundle_of(here, "health-needs"), consents=[word(here, **changes)])


def altered(here: InProcess, alter: Callable[[Bundle], Any]) -> dict[str, Any]:
    bundle = bundle_of(here)
    alter(bundle)
    return handover(here, bundle=bundle)


def patient(bundle: Bundle) -> Bundle:
    found: Bundle = bundle["entry"][0]["resource"]
    return found


def identified(here: InProcess, *values: str, system: str = MIGRI_CUSTOMER) -> dict[str, Any]:
    given = [{"system": system, "value": value} for value in values]
    return altered(here, lambda bundle: patient(bundle).update(identifier=given))


def deep(depth: int) -> bytes:
    return b'{"bundle":' + b"[" * depth + b"]" * depth + b"}"


Lie = tuple[Callable[[InProcess], Any], str, str | None]
#: Bodies that are no document of any kind.
SHAPELESS: dict[str, Lie] = {
    "no JSON": (lambda _: b"no", "invalid-request", None),
    "empty": (lambda _: b"", "invalid-request", None),
    "an array": (lambda _: [], "invalid-request", None),
    "a text": (lambda _: "x", "invalid-request", None),
    "null": (lambda _: None, "invalid-request", None),
    "not UTF-8": (lambda _: b'{"delivery":"\xff"}', "invalid-request", None),
    "half a character": (lambda _: b'{"delivery":"\\ud800"}', "invalid-request", None),
    "a number beyond all": (lambda _: b'{"delivery":1e400}', "invalid-request", None),
    "nested 900 deep": (lambda _: deep(900), "invalid-request", None),
    "nested 100 000 deep": (lambda _: deep(100_000), "invalid-request", None),
    "no member": (lambda _: {}, "invalid-request", None),
}
#: Ids that nobody can keep, for each member that is one.
UNKEPT: dict[str, Any] = {
    "missing": ..., "null": None, "empty": "", "a number": 5, "a list": ["d-1"], "an object": {}, "true": True,
    "65 characters": LONG, "a megabyte": "x" * 1_000_000, "NUL": NUL, "two lines": "a\nb", "half a blank": "a\u2028b",
}  # fmt: skip


def each(member: str, make: Callable[..., dict[str, Any]], unkept: dict[str, Any]) -> dict[str, Lie]:
    def lie(value: Any) -> Lie:
        return (lambda here: make(here, **{member: value}), "invalid-request", f"/{member}")

    return {f"{member}: {name}": lie(value) for name, value in unkept.items()}


HANDOVERS: dict[str, Lie] = {
    **SHAPELESS,
    **each("delivery", handover, UNKEPT),
    **each("handover", handover, UNKEPT),
    **each("flow", handover, {name: value for name, value in UNKEPT.items() if not isinstance(value, str)}),
    **each("bundle", handover, {"missing": ..., "null": None, "a list": [], "a text": "x"}),
    "flow: there is none such": (lambda here: handover(here, flow="F99"), "flow-unknown", "/flow"),
    "flow: NUL": (lambda here: handover(here, flow="F\x00"), "flow-unknown", "/flow"),
    "flow: empty": (lambda here: handover(here, flow=""), "flow-unknown", "/flow"),
    "flow: a megabyte": (lambda here: handover(here, flow="F" * 1_000_000), "flow-unknown", "/flow"),
    "bundle: empty": (lambda here: handover(here, bundle={}), "invalid-request", None),
    "bundle: no entry": (lambda here: altered(here, lambda one: one.update(entry=[])), "invalid-request", None),
    "bundle: two persons": (
        lambda here: altered(here, lambda one: one["entry"].append({"resource": {**patient(one), "id": "patient-2"}})),
        "invalid-request", None,
    ),
    "bundle: a resource that there is not": (
        lambda here: altered(here, lambda one: one["entry"].append({"resource": {"resourceType": "Binary"}})),
        "invalid-request", None,
    ),
    "bundle: a text where form is to stand": (
        lambda here: altered(here, lambda one: patient(one).update(id="asthma-1")), "invalid-request", None,
    ),
    "bundle: a narrative": (
        lambda here: altered(here, lambda one: patient(one).update(text={"div": "<div>asthma</div>"})),
        "invalid-request", None,
    ),
    "bundle: NUL in a name": (
        lambda here: altered(here, lambda one: patient(one)["name"][0].update(family=NUL)), "invalid-request", None,
    ),
    "bundle: nobody's identifier": (identified, "invalid-request", None),
    "bundle: an identifier of no system": (
        lambda here: identified(here, "7000001", system="urn:alien"), "invalid-request", None,
    ),
    "bundle: NUL in an identifier": (lambda here: identified(here, NUL), "invalid-request", None),
    "bundle: a wrong check character": (
        lambda here: identified(here, "010190-9000", system=HETU), "invalid-request", None,
    ),
    "bundle: 100 000 identifiers": (
        lambda here: identified(here, *(str(7_000_000 + number) for number in range(100_000))), "invalid-request", None,
    ),
    "bundle: 20 000 resources": (
        lambda here: altered(here, lambda one: one["entry"].extend([one["entry"][0]] * 20_000)), "invalid-request",
        None,
    ),
    "bundle: more than a basis gives": (
        lambda here: handover(here, bundle=here.register.bundle("7000001")), "not-permitted", "/bundle",
    ),
    "consents: a number": (lambda here: handover(here, consents=5), "invalid-request", "/consents"),
    "consents: a text": (lambda here: handover(here, consents="c-1"), "invalid-request", "/consents"),
    "consents: an object": (lambda here: handover(here, consents={"id": "c-1"}), "invalid-request", "/consents"),
    "consents: null": (lambda here: handover(here, consents=None), "invalid-request", "/consents"),
    "consents: of numbers": (lambda here: handover(here, consents=[5]), "invalid-request", "/consents"),
    "consents: 100 000": (
        lambda here: handover(here, consents=[word(here)] * 100_000), "invalid-request", "/consents",
    ),
    "consent: none": (lambda here: handover(here, bundle=bundle_of(here, "health-needs")), "not-permitted", "/bundle"),
    "consent: of another organisation": (
        lambda here: carried(here, recorded_by=str(here.place.network.parties["kymenlaakso"].subsystem)),
        "invalid-request", "/consents",
    ),
    "consent: of the recipient itself": (
        lambda here: carried(here, recorded_by=str(here.party.subsystem)), "invalid-request", "/consents",
    ),
    "consent: of nobody": (lambda here: carried(here, recorded_by=...), "invalid-request", "/consents"),
    "consent: withdrawn": (lambda here: carried(here, status="withdrawn"), "not-permitted", "/bundle"),
    "consent: entered in error": (lambda here: carried(here, status="entered-in-error"), "not-permitted", "/bundle"),
    "consent: a refusal": (lambda here: carried(here, status="refused", kind=...), "not-permitted", "/bundle"),
    "consent: over": (lambda here: carried(here, ends="2026-01-02"), "not-permitted", "/bundle"),
    "consent: of tomorrow": (
        lambda here: carried(here, starts=str((datetime.now(UTC) + timedelta(days=2)).date())), "not-permitted",
        "/bundle",
    ),
    "consent: for another recipient": (lambda here: carried(here, recipients=["county"]), "not-permitted", "/bundle"),
    "consent: for all recipients": (lambda here: carried(here, recipients=[]), "not-permitted", "/bundle"),
    "consent: for another purpose": (
        lambda here: carried(here, purposes=["service-need-lookup"]), "not-permitted", "/bundle",
    ),
    "consent: for all purposes": (lambda here: carried(here, purposes=[]), "not-permitted", "/bundle"),
    "consent: to something else": (lambda here: carried(here, categories=["housing"]), "not-permitted", "/bundle"),
    "consent: no category": (lambda here: carried(here, categories=[]), "invalid-request", "/consents"),
    "consent: 100 000 categories": (
        lambda here: carried(here, categories=[f"c{number}" for number in range(100_000)]), "invalid-request",
        "/consents",
    ),
    "consent: of no status": (lambda here: carried(here, status="given"), "invalid-request", "/consents"),
    "consent: status: a list": (lambda here: carried(here, status=["active"]), "invalid-request", "/consents"),
    "consent: version: a text": (lambda here: carried(here, version="x"), "invalid-request", "/consents"),
    "consent: version: null": (lambda here: carried(here, version=None), "invalid-request", "/consents"),
    "consent: version: beyond every column": (
        lambda here: carried(here, version=2**63), "invalid-request", "/consents",
    ),
    "consent: version: 1e308": (lambda here: carried(here, version=1e308), "invalid-request", "/consents"),
    "consent: id: NUL": (lambda here: carried(here, id=NUL), "invalid-request", "/consents"),
    "consent: id: none": (lambda here: carried(here, id=...), "invalid-request", "/consents"),
    "consent: version: 0": (lambda here: carried(here, version=0), "invalid-request", "/consents"),
    "consent: id: 100 000 characters": (lambda here: carried(here, id="x" * 100_000), "invalid-request", "/consents"),
    "consent: id: 65 characters": (lambda here: carried(here, id=LONG), "invalid-request", "/consents"),
    "consent: no such time": (lambda here: carried(here, recorded_at="now"), "invalid-request", "/consents"),
    "consent: given by a list": (lambda here: carried(here, given_by=["self"]), "invalid-request", "/consents"),
    "consent: given by a list of kinds": (
        lambda here: carried(here, given_by={"kind": ["self"]}), "invalid-request", "/consents",
    ),
}  # fmt: skip

CODES: dict[str, Any] = {
    "missing": ..., "null": None, "a text": "health-needs", "an object": {"health-needs": 1}, "of numbers": [5],
    "of lists": [["health-needs"]], "of nulls": [None], "NUL": [NUL], "two codes in one": ["health-needs housing"],
    "129 codes": [f"c{number}" for number in range(129)],
    "100 000 codes": [f"c{number}" for number in range(100_000)], "a code of a megabyte": ["c" * 1_000_000],
}  # fmt: skip
NOTICES: dict[str, Lie] = {
    **SHAPELESS,
    **each("notice", lambda _, **changes: notice(**changes), UNKEPT),
    **each("consent", lambda _, **changes: notice(**changes), UNKEPT),
    **each("categories", lambda _, **changes: notice(**changes), CODES),
    **each("subject", lambda _, **changes: notice(**changes), {
        "missing": ..., "null": None, "a text": "010190-900P", "an object": PERSON[0], "nobody": [],
        "six identifiers": PERSON * 6, "100 000 identifiers": PERSON * 100_000,
    }),
    "subject: a number": (lambda _: notice(subject=[5]), "invalid-request", "/subject/0"),
    "subject: no value": (lambda _: notice(subject=[{"system": HETU}]), "invalid-request", "/subject/0"),
    "subject: a value that is a list": (
        lambda _: notice(subject=[{"system": HETU, "value": ["010190-900P"]}]), "invalid-request", "/subject/0",
    ),
    "subject: no such system": (
        lambda _: notice(subject=[{"system": "urn:alien", "value": "1"}]), "subject-system-unknown",
        "/subject/0/system",
    ),
    "subject: a wrong check character": (
        lambda _: notice(subject=[*PERSON, {"system": HETU, "value": "010190-9000"}]), "subject-check",
        "/subject/1/value",
    ),
    "subject: NUL": (
        lambda _: notice(subject=[{"system": HETU, "value": "010190-900P\x00"}]), "subject-form", "/subject/0/value",
    ),
    "messages: a text": (lambda _: notice(messages="m-1"), "invalid-request", "/messages"),
    "messages: null": (lambda _: notice(messages=None), "invalid-request", "/messages"),
    "messages: of numbers": (lambda _: notice(messages=[5]), "invalid-request", "/messages"),
    "messages: NUL": (lambda _: notice(messages=[NUL]), "invalid-request", "/messages"),
    "messages: one id twice in one text": (lambda _: notice(messages=["m-1 m-1"]), "invalid-request", "/messages"),
    "messages: 65 characters": (lambda _: notice(messages=[LONG]), "invalid-request", "/messages"),
    "messages: 129": (lambda _: notice(messages=["m-1"] * 129), "invalid-request", "/messages"),
    "messages: 100 000": (lambda _: notice(messages=["m-1"] * 100_000), "invalid-request", "/messages"),
}  # fmt: skip

ACCEPTANCES: dict[str, Lie] = {
    **SHAPELESS,
    **each("delivery", lambda _, **changes: {"delivery": "d", "contact": CONTACT} | changes, {
        name: value for name, value in UNKEPT.items() if value is not ...}),
    "no such delivery": (
        lambda _: {"delivery": "d-nobody", "contact": CONTACT}, "delivery-unknown", "/delivery",
    ),
    "no contact": (lambda _: {"delivery": "d-nobody"}, "invalid-request", "/contact"),
    "NUL in the contact": (
        lambda _: {"delivery": "d-nobody", "contact": {"name": NUL}}, "invalid-request", None,
    ),
    "100 000 members in the contact": (
        lambda _: {"delivery": "d-nobody", "contact": {f"m{number}": "x" for number in range(100_000)}},
        "invalid-request", "/contact",
    ),
}  # fmt: skip


#: What a record of a refusal speaks of, by the service that something came to.
CAME = {"saapuvat": "receipt", "hyvaksynnat": "acceptance", "ilmoitukset": "consent"}


async def brought(nodes: Nodes, here: InProcess, service: str, party: str, lie: Lie, **changes: Any) -> None:
    """The refusal is exact and signed, its entry is the one new one, and nothing else changed."""
    make, code, pointer = lie
    before, size = nodes.books(here), size_of(here)

    answer = await here.bring(service, make(here), party=party, **changes)

    assert problem_of(answer) == code, answer.body
    assert answer.message is not None
    [entry] = since(here, size)
    assert (entry.type, entry.outcome, entry.reason) == (CAME.get(service, "query"), "refused", code)
    if service in {"saapuvat", "ilmoitukset"}:
        # Whoever brought it is who would have given, and the node that refused it gave nothing.
        assert entry.taker == entry.source == str(here.party.subsystem)
        assert entry.giver != entry.taker
    assert nodes.books(here) == before
    if pointer is not None:
        assert orjson.loads(answer.body)["pointer"] == pointer


@pytest.mark.parametrize("name", HANDOVERS)
async def test_handover_that_lies_is_refused_and_changes_nothing(nodes: Nodes, name: str) -> None:
    await brought(nodes, nodes.municipality, "saapuvat", "centre", HANDOVERS[name])


@pytest.mark.parametrize("name", NOTICES)
async def test_notice_that_lies_is_refused_and_changes_nothing(nodes: Nodes, name: str) -> None:
    await brought(nodes, nodes.municipality, "ilmoitukset", "centre", NOTICES[name], purpose="withdrawal-notice")


@pytest.mark.parametrize("name", ACCEPTANCES)
async def test_acceptance_that_lies_is_refused_and_changes_nothing(nodes: Nodes, name: str) -> None:
    await brought(nodes, nodes.centre, "hyvaksynnat", "kotka", ACCEPTANCES[name])


CLAIMED: list[tuple[str, str, str, dict[str, Any], str]] = [
    ("a handover for the purpose of a notice", "saapuvat", "centre", {"purpose": "withdrawal-notice"},
     "purpose-not-declared"),
    ("a handover for the purpose of a question", "saapuvat", "centre", {"purpose": "service-need-lookup"},
     "purpose-not-declared"),
    ("a handover for the purpose of another recipient", "saapuvat", "centre", {"purpose": "reception-to-county"},
     "not-permitted"),
    ("a handover from one that has no such role", "saapuvat", "kymenlaakso", {}, "not-permitted"),
    ("a handover of no category", "saapuvat", "centre", {"categories": frozenset()}, "category-unknown"),
    ("a handover of a category that there is not", "saapuvat", "centre", {"categories": frozenset({"horoscope"})},
     "category-unknown"),
    ("a handover brought as a notice", "ilmoitukset", "centre", {"purpose": "withdrawal-notice"}, "invalid-request"),
    ("a notice for the purpose of a handover", "ilmoitukset", "centre", {}, "purpose-not-declared"),
    ("a handover brought as an acceptance", "hyvaksynnat", "centre", {}, "invalid-request"),
]  # fmt: skip


@pytest.mark.parametrize(("service", "party", "changes", "code"), [row[1:] for row in CLAIMED],
                         ids=[row[0] for row in CLAIMED])  # fmt: skip
async def test_message_of_one_kind_does_not_pass_for_another(
    nodes: Nodes, service: str, party: str, changes: dict[str, Any], code: str
) -> None:
    lie: Lie = (handover, code, None)
    await brought(nodes, nodes.municipality, service, party, lie, **changes)


async def test_what_is_true_is_taken_from_the_same_makers(nodes: Nodes) -> None:
    """Without this control the tables above would be passed by a node that refuses everything."""
    here = nodes.municipality
    for number, document in enumerate((handover(here), carried(here))):
        answer = await here.bring("saapuvat", document | {"delivery": f"d-good-{number}"}, party="centre")
        assert answer.status == 200, answer.body
    answer = await here.bring("ilmoitukset", notice(notice="n-good"), party="centre", purpose="withdrawal-notice")
    assert answer.status == 200, answer.body

    assert [row.delivery for row in arrived(here)][-3:] == ["d-good-0", "d-good-1", "n-good"]


# -- what no code refuses ----------------------------------------------------------------------------------------------


async def test_another_record_under_the_id_of_a_former_delivery_is_not_taken_in(nodes: Nodes) -> None:
    """It is answered with the receipt of what came first, whose digest says so; it joins nobody, nothing of it is held,
    and its entry does not say that any category of it was received.
    """
    here = nodes.municipality
    first = orjson.loads((await here.bring("saapuvat", handover(here, delivery="d-twice"), party="centre")).body)
    before = nodes.books(here)
    other = handover(here, delivery="d-twice", bundle=bundle_of(here, person="7000002"))

    again = orjson.loads((await here.bring("saapuvat", other, party="centre")).body)

    assert again == first
    assert nodes.books(here) == before
    entry = since(here, size_of(here) - 1)[-1]
    assert (entry.detail["again"], entry.detail["differs"]) == (True, True)
    assert (entry.categories, entry.bases, entry.consents) == (Categories(), (), ())


async def test_the_same_record_again_is_told_apart_from_another_under_its_id(nodes: Nodes) -> None:
    here = nodes.municipality
    document = handover(here, delivery="d-again", bundle=bundle_of(here, person="7000012"))
    first = await here.bring("saapuvat", document, party="centre")
    again = await here.bring("saapuvat", document, party="centre")

    assert orjson.loads(again.body) == orjson.loads(first.body)
    entry = since(here, size_of(here) - 1)[-1]
    assert (entry.detail["again"], entry.detail["differs"]) == (True, False)


async def test_notice_about_what_another_brought_is_not_filed_with_it(nodes: Nodes) -> None:
    """A peer names the message of another: who that one was about is neither told nor touched."""
    here = nodes.municipality
    brought_by_centre = handover(here, delivery="d-other", bundle=bundle_of(here, person="7000003"))
    receipt = orjson.loads((await here.bring("saapuvat", brought_by_centre, party="centre")).body)
    about = next(row for row in arrived(here) if row.id == receipt["receipt"])
    with here.exchange.engine.connect() as connection:
        before = connection.execute(select(claims).where(claims.c.subject == about.subject)).all()

    for party, is_filed in (("kymenlaakso", False), ("centre", True)):
        document = notice(notice=f"n-{party}", messages=[receipt["receipt"]])
        answer = await here.bring("ilmoitukset", document, party=party, purpose="withdrawal-notice")
        assert answer.status == 200, answer.body
        with here.exchange.engine.connect() as connection:
            filed = connection.execute(select(claims).where(claims.c.subject == about.subject)).all()
        assert (len(filed) > len(before)) is is_filed


async def test_receipt_of_another_is_no_receipt_of_ones_own(nodes: Nodes) -> None:
    """Two senders use one id: each has its own arrival, and neither learns of the other's."""
    here = nodes.municipality
    receipts = {}
    for party in ("centre", "kymenlaakso"):
        answer = await here.bring("ilmoitukset", notice(notice="n-same"), party=party, purpose="withdrawal-notice")
        receipts[party] = orjson.loads(answer.body)["receipt"]

    assert receipts["centre"] != receipts["kymenlaakso"]
    assert [row.sender for row in arrived(here) if row.delivery == "n-same"] == [
        str(here.place.network.parties[party].subsystem) for party in receipts
    ]


ACCEPTED: list[tuple[str, dict[str, Any], str, dict[str, Any], str]] = [
    ("of what was sent to another", {"state": "delivered"}, "kymenlaakso", {}, "delivery-unknown"),
    ("of what was not sent", {}, "kotka", {}, "delivery-state"),
    ("of what was stopped", {"state": "stopped"}, "kotka", {}, "delivery-unknown"),
    ("of what another member of this node sent", {"state": "delivered", "consumer": "FI-DEMO/GOV/1/x"}, "kotka", {},
     "delivery-unknown"),
    ("for another purpose than it was sent for", {"state": "delivered"}, "kotka", {"purpose": "reception-to-county"},
     "delivery-unknown"),
]  # fmt: skip


@pytest.mark.parametrize(("state", "party", "claimed", "code"), [row[1:] for row in ACCEPTED],
                         ids=[row[0] for row in ACCEPTED])  # fmt: skip
async def test_acceptance_that_is_not_the_issuers_to_give_is_refused_and_changes_nothing(
    nodes: Nodes, state: dict[str, Any], party: str, claimed: dict[str, Any], code: str
) -> None:
    here = nodes.centre
    person = str(7_000_100 + [row[1:] for row in ACCEPTED].index((state, party, claimed, code)))
    delivery = await to_the_municipality(here, person)
    if state:
        change(here, deliveries, delivery, **state)

    lie: Lie = (lambda _: {"delivery": delivery, "contact": CONTACT}, code, "/delivery")
    await brought(nodes, here, "hyvaksynnat", party, lie, **claimed)


async def test_who_accepts_twice_does_not_change_who_is_responsible(nodes: Nodes) -> None:
    here = nodes.centre
    delivery = await to_the_municipality(here, "7000011")
    change(here, deliveries, delivery, state="delivered")
    for name in ("Kotoutumispalvelut", "Somebody else"):
        answer = await here.bring("hyvaksynnat", {"delivery": delivery, "contact": {"name": name}}, party="kotka")
        assert answer.status == 200, answer.body
        if name == "Kotoutumispalvelut":
            first = rows(here)[delivery]

    assert rows(here)[delivery] == first
    assert since(here, size_of(here) - 1)[-1].detail["again"] is True


# -- the checkpoint in any message -------------------------------------------------------------------------------------

KINDS = {
    "handover": ("saapuvat", lambda here, id_: handover(here, delivery=id_), {}),
    "notice": ("ilmoitukset", lambda here, id_: notice(notice=id_), {"purpose": "withdrawal-notice"}),
}


async def stated(here: InProcess, kind: str, origin: str, size: int, root: bytes) -> list[tuple[str, str | None]]:
    """What is on record, beside the arrival itself, after a message that states this checkpoint."""
    service, make, changes = KINDS[kind]
    size_before = size_of(here)
    checkpoint = Checkpoint(origin, size, root)
    document = make(here, new_id(here.exchange.clock()))
    answer = await here.bring(service, document, party="centre", checkpoint=checkpoint, **changes)
    assert answer.status == 200, answer.body
    told = since(here, size_before)
    assert told[0].type in {"receipt", "consent"}
    return [(entry.type, entry.reason) for entry in told[1:]]


@pytest.mark.parametrize("kind", KINDS)
async def test_log_that_lies_in_a_message_is_caught_by_whoever_receives_it(nodes: Nodes, kind: str) -> None:
    here = nodes.municipality
    size = 1_000 + list(KINDS).index(kind)
    (origin,) = {
        listed.log_origin for listed in registry_of(here).nodes_of(here.place.network.parties["centre"].member)
    }
    assert origin is not None

    assert await stated(here, kind, origin, size, b"\x01" * 32) == []
    assert await stated(here, kind, origin, size, b"\x01" * 32) == [], "the same statement is no news"
    assert await stated(here, kind, origin, size, b"\x02" * 32) == [("anomaly", "log-fork")]
    assert await stated(here, kind, origin, size, b"\x02" * 32) == [], "it is told once"
    # An older size is what a restored backup states as well: it is kept, and asked a proof for.
    assert await stated(here, kind, origin, size - 500, b"\x03" * 32) == []
    own = here.exchange.log.latest()
    assert await stated(here, kind, own.origin, own.size, b"\x04" * 32) == [], "of our log we know better"
    with here.exchange.engine.connect() as connection:
        kept = connection.execute(select(held.c.size, held.c.state).where(held.c.origin == origin)).all()
    assert (size - 500, "unproven") in {tuple(row) for row in kept}
    assert (size, "contradicted") in {tuple(row) for row in kept}


def registry_of(here: InProcess) -> Any:
    return here.exchange.standing(here.exchange.clock()).registry


async def test_statement_about_a_log_that_is_not_its_senders_is_on_record_and_not_kept(nodes: Nodes) -> None:
    here = nodes.municipality

    assert await stated(here, "notice", "yhdyspinta/kymenlaakso.demo", 7, b"\x05" * 32) == [("anomaly", "log-unlisted")]

    with here.exchange.engine.connect() as connection:
        assert connection.execute(select(held).where(held.c.origin == "yhdyspinta/kymenlaakso.demo")).all() == []


@pytest.mark.parametrize(
    ("origin", "size", "code"),
    [
        ("", 1, "claim-invalid"), ("two words", 1, "claim-invalid"), ("x" * 256, 1, "claim-invalid"),
        ("a\x00b", 1, "message-text-refused"), ("o", -1, "message-number-refused"),
        ("o", 2**63, "message-number-refused"),
    ],
    ids=["no origin", "blank", "long", "NUL", "negative", "beyond every column"],
)  # fmt: skip
async def test_checkpoint_of_no_form_is_refused_before_anything_is_believed(
    nodes: Nodes, origin: str, size: int, code: str
) -> None:
    here = nodes.municipality
    before = nodes.books(here)

    with pytest.raises(ProblemError) as caught:
        await here.bring("saapuvat", handover(here), party="centre", checkpoint=Checkpoint(origin, size, b"\x01" * 32))

    assert caught.value.code == code
    assert nodes.books(here) == before
    assert not [row for row in arrived(here) if row.delivery == "d-refused"]
    assert inbox.name in before
