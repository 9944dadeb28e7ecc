"""A console that really runs: a log with a year of invented people in it, an OpenID provider, and a browser."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey
from sqlalchemy import Connection, Engine, create_engine, event

from audit.log.entries import Agents, Categories, Entry
from audit.log.log import Log
from audit.log.waiting import Written
from audit.questions.report import Activity, Controller
from audit.questions.subjects import HETU_SYSTEM, Subjects
from audit.tree.checkpoint import LogSigner, VerifierKey, WitnessSigner
from audit.tree.cosignatures import keep_cosignatures
from gateway.console.office import IdentifierKind, Office
from gateway.console.oidc import Door, Provider
from gateway.console.sessions import Identity, offer_link
from gateway.console.shell import console
from gateway.desk.context import DeskContext
from gateway.desk.desk import Desk
from gateway.desk.roles import Role
from gateway.exchange.witnesses import Proven
from gateway.storage.schema import METADATA
from gateway.web.forms import PersonForm
from gateway.wire.problems import ProblemError
from tests.people import joined
from tests.waiting import LIMIT_SECONDS, wait

NOW = datetime(2026, 11, 20, 9, 30, tzinfo=UTC)
ORIGIN = "yhdyspinta/centre.demo"
CENTRE = "FI-DEMO/GOV/9000001-1/vastaanotto"
KOTKA = "FI-DEMO/MUN/9000003-8/kotoutuminen"
COUNTY = "FI-DEMO/WSC/9000004-6/sosiaali"
OTHER = "FI-DEMO/GOV/9000005-4/kuntapaikat"
HETU = "010190-999W"
#: Values in the text of a statement as SQLite tells it.
VALUES = re.compile(r"[xX]?'(?:[^']|'')*'|\b[0-9.]+\b|\bNULL\b")
UNKNOWN_HETU = "010190-998V"
CUSTOMER = "90001234"
CUSTOMER_SYSTEM = "urn:yhdyspinta:id:migri-customer"
ATTACK = "<script>document.title='taken'</script><img src=x onerror=document.title='taken'>"
NAMES = {
    ATTACK: (ATTACK, ATTACK, ATTACK),
    "identity": ("henkilötiedot", "personuppgifter", "identity"),
    "contact": ("yhteystiedot", "kontaktuppgifter", "contact details"),
    "language": ("kieli ja tulkkaus", "språk och tolkning", "language and interpretation"),
    "family": ("perhe", "familj", "family"),
    "move": ("muutto", "flytt", "move"),
    "health-needs": ("terveydenhuollon tarpeet", "behov av hälso- och sjukvård", "health care needs"),
    CENTRE: ("Esimerkin vastaanottokeskus", "Exempelförläggningen", "Example reception centre"),
    KOTKA: ("Kotkan kaupunki", "Kotka stad", "City of Kotka"),
    COUNTY: ("Kymenlaakson hyvinvointialue", "Kymmenedalens välfärdsområde", "Kymenlaakso county"),
    OTHER: ("Elinvoimakeskus", "Livskraftscentralen", "Placement authority"),
    "reception-to-municipality": (
        "vastaanoton järjestäminen kunnassa",
        "ordnande av mottagande i kommunen",
        "arranging reception in the municipality",
    ),
    "reception-to-county": (
        "sosiaali- ja terveyspalvelujen järjestäminen",
        "ordnande av social- och hälsovård",
        "arranging social and health services",
    ),
    "service-need-lookup": ("palvelutarpeen selvittäminen", "utredning av servicebehov", "looking up service needs"),
    "integration-act": ("kotoutumisen edistäminen", "främjande av integration", "promotion of integration"),
}


def names(_kind: str, code: str, language: str) -> str | None:
    known = NAMES.get(code)
    return None if known is None else known[("fi", "sv", "en").index(language)]


@dataclass
class World:
    """A node's log with people in it, and what a test must know of it."""

    engine: Engine
    log: Log
    office: Office
    statements: list[str] = field(default_factory=list)
    now: datetime = NOW
    entries: dict[str, Entry] = field(default_factory=dict)
    pseudonym: str = ""

    def clock(self) -> datetime:
        return self.now

    @property
    def desk(self) -> DeskContext:
        return self.office.desk.context

    def link(
        self, role: Role = Role.OFFICER, *, member: str | None = None, valid: timedelta = timedelta(hours=1)
    ) -> str:
        def unit(connection: Connection) -> Written[str]:
            token = offer_link(connection, Identity("", "Aino Esimerkki", role, member), self.now, valid)
            return Written(token, ())

        return self.log.commit_blocking(unit).value


def _open(folder: Path) -> Engine:
    engine = create_engine(
        f"sqlite:///{folder / 'log.db'}",
        connect_args={"check_same_thread": False, "timeout": LIMIT_SECONDS},
        pool_size=16,
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: Any) -> None:
        connection.execute("PRAGMA journal_mode=WAL")

    return engine


def _delivery(at: datetime, who: str, to: str, purpose: str, **more: Any) -> Entry:
    entry = Entry(
        "delivery",
        "success",
        at,
        agents=Agents(client="register", user="f" * 32, node="centre.demo", recipient=to),
        source=CENTRE,
        subject=who,
        purpose=purpose,
        categories=Categories(("identity", "language", "contact", "move", "family"), ("health-needs",)),
        bases=("integration-act",),
        rulebook="sha-256:demo",
    )
    return replace(entry, **more)


def _people(world: World, subjects: Subjects) -> None:
    """A main person with a whole story, thirty others with little, and somebody who looks around too much."""

    def unit(connection: Connection) -> Written[str]:
        person = joined(connection, subjects, [(HETU_SYSTEM, HETU), (CUSTOMER_SYSTEM, CUSTOMER)], NOW)
        entries: list[Entry] = []

        def add(name: str, entry: Entry) -> Entry:
            entries.append(entry)
            world.entries[name] = entry
            return entry

        who, case = person.pseudonym, subjects.case("ASIA-7")
        day = NOW - timedelta(days=200)
        plan = add(
            "plan",
            Entry(
                "handover", "planned", day, agents=Agents(client="register", node="centre.demo"), source=CENTRE,
                subject=who, case=case, detail={"flow": "F1"},
            ),
        )  # fmt: skip
        consent = ("c-1", 1)
        add(
            "consent",
            Entry(
                "consent", "success", day + timedelta(minutes=3), agents=Agents(client="register"), source=CENTRE,
                subject=who, consents=(consent,), categories=Categories(("health-needs",)), detail={"status": "active"},
            ),
        )  # fmt: skip
        to_kotka = add(
            "to-kotka",
            _delivery(
                day + timedelta(minutes=5), who, KOTKA, "reception-to-municipality", previous=plan.id, case=case,
                consents=(consent,),
            ),
        )  # fmt: skip
        add(
            "to-county",
            _delivery(day + timedelta(minutes=6), who, COUNTY, "reception-to-county", previous=plan.id, case=case),
        )
        receipt = add(
            "receipt",
            Entry(
                "receipt", "success", day + timedelta(minutes=7),
                agents=Agents(node="centre.demo", recipient=KOTKA), source=CENTRE, subject=who, previous=to_kotka.id,
                case=case,
            ),
        )  # fmt: skip
        add(
            "acceptance",
            Entry(
                "acceptance", "success", day + timedelta(days=1), agents=Agents(recipient=KOTKA), source=CENTRE,
                subject=who, previous=receipt.id, case=case,
            ),
        )  # fmt: skip
        add(
            "withdrawal",
            Entry(
                "consent", "success", day + timedelta(days=20), agents=Agents(client="register"), source=CENTRE,
                subject=who, consents=(("c-1", 2),), categories=Categories((), ("health-needs",)),
                detail={"status": "withdrawn"},
            ),
        )  # fmt: skip
        entries.extend(
            _delivery(
                day + timedelta(days=11 * week, hours=week), who, (KOTKA, COUNTY)[week % 2],
                ("reception-to-municipality", "reception-to-county")[week % 2],
            )
            for week in range(14)
        )  # fmt: skip
        for number in range(3):
            add(
                f"refused-{number}",
                Entry(
                    "query", "refused", NOW - timedelta(days=number + 2, hours=3),
                    agents=Agents(client=ATTACK, user="a" * 32, node="other", recipient=OTHER), source=CENTRE,
                    service=f"{CENTRE}/{ATTACK}", subject=who, purpose=ATTACK, reason=ATTACK,
                    categories=Categories((), ("identity", ATTACK)),
                ),
            )  # fmt: skip
        add(
            "emergency",
            Entry(
                "break-glass", "success", NOW - timedelta(days=4), agents=Agents("ward", "b" * 32, "k", COUNTY),
                source=CENTRE, subject=who, purpose="service-need-lookup",
                categories=Categories(("health-needs", "identity")), bases=("integration-act",),
                detail={"identity": "disputed"},
            ),
        )  # fmt: skip
        for number in range(30):
            other = joined(connection, subjects, [(CUSTOMER_SYSTEM, f"9100{number:04}")], NOW).pseudonym
            entries.append(
                _delivery(
                    NOW - timedelta(days=number % 25, hours=number), other, (KOTKA, COUNTY, OTHER)[number % 3],
                    ("reception-to-municipality", "reception-to-county", "service-need-lookup")[number % 3],
                )
            )  # fmt: skip
            if number < 8:
                entries.append(
                    Entry(
                        "query", "refused", NOW - timedelta(days=1, minutes=number),
                        agents=Agents("other-system", "d" * 32, "other", OTHER), source=CENTRE, subject=other,
                        purpose="service-need-lookup", reason="no-basis",
                        categories=Categories((), ("identity", "family")),
                    )
                )  # fmt: skip
        entries.sort(key=lambda entry: entry.recorded)
        return Written(who, entries)

    world.pseudonym = world.log.commit_blocking(unit).value


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with made(tmp_path) as world:
        yield world


@contextmanager
def made(folder: Path) -> Iterator[World]:
    """A log with people in it, sealed by two witnesses."""
    engine, statements = _open(folder), list[str]()

    @event.listens_for(engine, "connect")
    def note(connection: Any, _record: Any) -> None:
        # By the driver: many statements go to it past the engine. Values are left out.
        connection.set_trace_callback(lambda text: statements.append(VALUES.sub("?", text)))

    for tables in METADATA:
        tables.create_all(engine)
    signer = LogSigner(Ed25519PrivateKey.from_private_bytes(b"\x07" * 32), ORIGIN)
    subjects = Subjects(b"\x01" * 32, b"\x02" * 32)
    world = World(engine, None, None, statements=statements)  # type: ignore[arg-type]
    log = Log(engine, signer, origin=ORIGIN, clock=world.clock)
    log.start()
    world.log = log
    _people(world, subjects)
    witnesses = [
        WitnessSigner(Ed25519PrivateKey.from_private_bytes(b"\x09" * 32), "kotka.demo"),
        WitnessSigner(MLDSA44PrivateKey.from_seed_bytes(b"\x0a" * 32), "kymenlaakso.demo"),
    ]
    keys = [witness.verifier for witness in witnesses]
    checkpoint = log.latest()

    def seal(connection: Connection) -> Written[None]:
        marks = [witness.cosign(checkpoint, int(NOW.timestamp())) for witness in witnesses]
        keep_cosignatures(connection, checkpoint.note, marks, log_key=signer.verifier, witnesses=keys)
        return Written(None, ())

    log.commit_blocking(seal)
    world.office = office(world, subjects, keys)

    yield world
    log.close()
    engine.dispose()


def office(world: World, subjects: Subjects, witnesses: list[VerifierKey]) -> Office:
    titles = {"fi": "Esimerkin vastaanottokeskus", "sv": "Exempelförläggningen", "en": "Example reception centre"}

    def read(is_one: Callable[[str], bool]) -> Callable[[str, str], PersonForm]:
        def identifier(system: str, text: str) -> PersonForm:
            if not is_one(text):
                raise ProblemError("subject-form")
            return PersonForm(system=system, value=text)

        return identifier

    context = DeskContext(
        node="centre.demo",
        engine=world.engine,
        log=world.log,
        subjects=subjects,
        clock=world.clock,
        given=Controller("", "05 000 0000", "Aino Esimerkki", ("mTLS", "TUF")),
        named=names,
        witnessed=lambda: witnesses,
        proven_to=lambda: (Proven("kotka.demo", 1200, NOW), Proven("kymenlaakso.demo", 3, NOW)),
        called=lambda language: titles[language],
        described=lambda language: (
            Activity(
                "reception-to-municipality",
                NAMES["reception-to-municipality"][("fi", "sv", "en").index(language)],
                ("681/2023",),
                ("identity", "language"),
                "",
            ),
        ),
    )
    return Office(
        "http://localhost:0",
        Desk(context),
        (
            IdentifierKind("personal-identity-code", HETU_SYSTEM, read(lambda text: len(text) == 11)),
            IdentifierKind("customer-number", CUSTOMER_SYSTEM, read(str.isdigit)),
        ),
    )


class Visitor(httpx.Client):
    """Keeps cookies as browsers do on this machine, where Secure ones travel without TLS as well."""

    def __init__(self, **settings: Any) -> None:
        self.kept: dict[str, str] = {}
        super().__init__(timeout=None, event_hooks={"request": [self._send], "response": [self._keep]}, **settings)

    def _send(self, request: httpx.Request) -> None:
        if self.kept:
            request.headers["cookie"] = "; ".join(f"{name}={value}" for name, value in self.kept.items())

    def _keep(self, response: httpx.Response) -> None:
        for header in response.headers.get_list("set-cookie"):
            for name, morsel in SimpleCookie(header).items():
                self.kept[name] = morsel.value
                if morsel["max-age"] == "0":
                    del self.kept[name]


@dataclass
class Running:
    """A console that answers at `address`."""

    world: World
    address: str

    def client(self) -> Visitor:
        """A visitor who keeps cookies as a browser does, and follows nothing by itself."""
        return Visitor(base_url=self.address, headers={"accept-language": "en"})

    def enter(self, role: Role = Role.OFFICER, member: str | None = None) -> Visitor:
        """A client that has signed in by a one-time link."""
        client = self.client()
        answer = redeem(client, self.address, self.world.link(role, member=member))
        assert answer.status_code == 200, answer.text
        return client


def redeem(client: httpx.Client, address: str, token: str) -> httpx.Response:
    """Open a one-time link and press its button."""
    page = client.get(f"/link/{token}")
    return client.post("/link", data={"token": token, "csrf": hidden(page)}, headers={"origin": address})


def hidden(page: httpx.Response) -> str:
    """The token of a page's forms."""
    return page.text.split('name="csrf" value="', 1)[1].split('"', 1)[0]


@contextmanager
def serving(world: World, *, provider: Callable[[str], Provider] | None = None) -> Iterator[Running]:
    bound = socket.socket()
    bound.bind(("127.0.0.1", 0))
    address = f"http://localhost:{bound.getsockname()[1]}"
    world.office = replace(world.office, address=address)
    door = Door(provider(address), f"{address}/sign-in/answer") if provider is not None else None
    server = uvicorn.Server(
        uvicorn.Config(console(world.office, door), log_config=None, lifespan="off", server_header=False)
    )
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]}, daemon=True)
    thread.start()
    try:
        wait(lambda: server.started or not thread.is_alive())
        assert server.started, "the console did not start"
        yield Running(world, address)
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture
def running(world: World) -> Iterator[Running]:
    with serving(world) as found:
        yield found
