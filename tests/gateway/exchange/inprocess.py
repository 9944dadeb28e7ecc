"""One node in the test's own process: the real parts behind its faces, without the faces, over a real database.

The network is the demo's, the registry is read as a node reads it, messages are signed with the peers' own keys. Only
the source system is the test's (a source is outside the node), and nobody listens at the other nodes' addresses.
"""

from __future__ import annotations

import base64
import copy
import io
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import select

from adapters.samples import write_samples
from adapters.sdk import Limits as AdapterLimits
from adapters.sdk import load as load_adapter
from audit.log.entries import Entry, new_id
from audit.log.tables import entries
from gateway.consents.record import Consents
from gateway.demo import network as demo
from gateway.demo.organisations import DEMO, Organisation
from gateway.exchange.context import DeliveryPolicy, Exchange, Limits
from gateway.exchange.opening import Answer, PeerCall
from gateway.handover.receive import Reception
from gateway.keys.certificates import to_der
from gateway.keys.keystore import FileKeyStore
from gateway.node.parts import assemble
from gateway.person.values import Register as OwnRegister
from gateway.query.answer import Provider
from gateway.registry.read.standing import Standing
from gateway.settings import Settings
from gateway.settings import load as load_settings
from gateway.settings.keys import MemberSettings
from gateway.sources.backends import Locator, Sourced
from gateway.wire.decided import body_digest
from gateway.wire.identifiers import ServiceId
from gateway.wire.message import RequestClaims
from gateway.wire.problems import ProblemError
from gateway.wire.signing import sign_request
from schemas.identifiers import MIGRI_CUSTOMER
from tests.databases import prepare_database
from tests.former import former_rulebook

Bundle = dict[str, Any]
INDEX_KEY = b"\x02" * 32


@dataclass
class Register:
    """The source system: one record for each customer number, all like the sample person's but for the number."""

    template: Bundle
    changed: dict[str, Callable[[Bundle], None]] = field(default_factory=dict)
    fetched: list[str] = field(default_factory=list)

    def bundle(self, person: str) -> Bundle:
        record = copy.deepcopy(self.template)
        record["entry"][0]["resource"]["identifier"] = [{"system": MIGRI_CUSTOMER, "value": person}]
        change = self.changed.get(person)
        if change is not None:
            change(record)
        return record

    async def fetch(self, locator: Locator) -> Sourced:
        self.fetched.append(locator.value)
        return Sourced(self.bundle(locator.value), (), key=locator.value)

    async def close(self) -> None:
        return None


@dataclass
class Place:
    """A demo network on disk, and the records that its centre's source holds."""

    network: demo.Network
    template: Bundle
    signers: dict[str, FileKeyStore] = field(default_factory=dict)

    def signer(self, party: str) -> FileKeyStore:
        """The signing key of one of the organisations."""
        if party not in self.signers:
            folder, passphrase = self.network.parties[party].folder, self.network.passphrase.encode()
            self.signers[party] = FileKeyStore.open(folder / "signing.key", folder / "signing.pem", passphrase)
        return self.signers[party]

    @classmethod
    def build(
        cls,
        folder: Path,
        case: str = "p01-asylum-adult",
        organisations: Sequence[Organisation] = DEMO,
        rulebook: bytes | None = None,
    ) -> Place:
        """A network under the former rulebook, unless another is given."""
        samples = folder / "samples"
        found = write_samples(samples, count=40)
        export, terms = samples / "reception-centre.csv", demo.Terms(rulebook or former_rulebook())
        network = demo.build(folder / "network", datetime.now(UTC), export, organisations=organisations, terms=terms)
        adapter = load_adapter("reception-centre-csv")
        with (samples / "reception-centre.csv").open("rb") as file:
            data = file.read()
        number = list(found["cases"]).index(case)
        for index, mapped in enumerate(adapter.convert(io.BytesIO(data), AdapterLimits())):
            if index == number:
                assert mapped.bundle is not None
                return cls(network, mapped.bundle)
        raise AssertionError(case)


@dataclass
class InProcess:
    """A node, the centre's unless said otherwise, ready to answer peers and to do what its own systems order."""

    place: Place
    party: demo.Party
    exchange: Exchange
    register: Register
    provider: Provider
    consents: Consents

    @property
    def service(self) -> ServiceId:
        return ServiceId(self.place.network.parties["centre"].subsystem, "palvelutarve")

    async def ask(self, person: str, *, party: str = "kotka", **changes: Any) -> Answer:
        """A signed question of a peer, answered. `changes` are fields of the claims, `body`, or whose `key` signs."""
        peer = self.place.network.parties[party]
        document = changes.pop("body", {"subject": {"system": MIGRI_CUSTOMER, "value": person}})
        key = changes.pop("key", party)
        body = document if isinstance(document, bytes) else orjson.dumps(document)
        now = self.exchange.clock()
        standing = self.exchange.standing(now)
        checkpoint = self.exchange.log.latest()
        from gateway.wire.message import Checkpoint

        claims = RequestClaims(
            issuer=peer.subsystem,
            audience=self.service,
            message_id=new_id(now),
            issued_at=now,
            expires_at=now + timedelta(seconds=60),
            method="POST",
            target="/",
            content_type="application/json",
            digest=body_digest(body),
            purpose="service-need-lookup",
            categories=frozenset({"identity", "health-needs"}),
            rulebook=standing.rulebook.digest,
            checkpoint=Checkpoint(checkpoint.origin, checkpoint.size, checkpoint.root),
        )
        claims = replace(claims, **changes)
        call = PeerCall(
            message=sign_request(claims, self.place.signer(key)),
            body=body,
            content_type="application/json",
            certificate=to_der((peer.folder / "tls.pem").read_bytes()),
            trace_id="0" * 32,
            trace={},
        )
        return await self.provider.answer(call)

    async def bring(self, code: str, document: Any, *, party: str, **changes: Any) -> Answer:
        """A signed message of a peer to the service of this node that has the code, answered."""
        values = {"purpose": "reception-to-municipality", "categories": frozenset({"identity"})} | changes
        values.setdefault("audience", ServiceId(self.party.subsystem, code))
        return await self.ask("", party=party, body=document, **values)

    async def consent(self, person: str, **changes: Any) -> str:
        """Record a consent to the municipality's look-up of health needs; returns its id."""
        form = {
            "purposes": ["service-need-lookup", "reception-to-municipality"],
            "recipients": ["municipality"],
            "categories": ["health-needs"],
            "given_by": {"kind": "self"},
        } | changes
        party = self.place.network.parties["centre"]
        recorded = await self.consents.record("test", party.subsystem, Locator(MIGRI_CUSTOMER, person), form)
        return recorded.record.id

    async def withdraw(self, consent: str) -> None:
        await self.consents.withdraw("test", self.place.network.parties["centre"].subsystem, consent)

    def entries(self) -> list[Entry]:
        """The whole log, in its order."""
        with self.exchange.engine.connect() as connection:
            return [Entry.parse(body) for body in connection.scalars(select(entries.c.body).order_by(entries.c.idx))]


def problem_of(answer: Answer) -> str | None:
    """The code of the problem that an answer is; None for one that is none."""
    code: str | None = orjson.loads(answer.body).get("code")
    return code if answer.status != 200 else None


def hidden_reason(here: InProcess, answer: Answer) -> str | None:
    """Why a peer that is told nothing got nothing, as the holder's log says."""
    assert (answer.status, problem_of(answer)) == (404, "not-available")
    reason: str | None = here.entries()[-1].reason
    return reason


def utc_now() -> datetime:
    return datetime.now(UTC)


@asynccontextmanager
async def node(
    place: Place,
    database: str,
    *,
    clock: Callable[[], datetime] = utc_now,
    standing: Callable[[Standing], Standing] = lambda one: one,
    retry_seconds: float = 30.0,
    lease_seconds: float = 30.0,
    recipient_failures: int = 3,
    of: str = "centre",
    also: Sequence[str] = (),
    keys_of: str | None = None,
) -> AsyncIterator[InProcess]:
    """A party's node over this database. `standing` may change what the registry says at one moment or another.

    `also` are parties that it speaks for besides, as two members on one node would share a process and a database; with
    `keys_of` those sign with the key of that party.
    """
    prepare_database(database)
    party = place.network.parties[of]
    spoken_for = [party, *(place.network.parties[other] for other in also)]
    async with AsyncExitStack() as stack:
        signers = [place.network.parties[keys_of or other] for other in also]
        settings = _settings(party, spoken_for, signers, database)
        parts = await assemble(settings, stack, clock)
        register, service = Register(place.template), ServiceId(party.subsystem, "palvelutarve")
        exchange = replace(
            parts.exchange,
            standing=lambda at: standing(parts.standings.now(at)),
            standing_ungated=None,
            registers={service: OwnRegister("register", is_authoritative=True)},
            backends={service: register},
            limits=Limits(1 << 20, 16 * 1024, 2.0),
            delivery=DeliveryPolicy(
                workers=12,
                poll_seconds=0.02,
                retry_seconds=retry_seconds,
                retry_limit_seconds=retry_seconds,
                lease_seconds=lease_seconds,
                overdue_seconds=3600.0,
                recipient_failures=recipient_failures,
            ),
        )
        yield InProcess(place, party, exchange, register, Provider(exchange, Reception(exchange)), Consents(exchange))


def _settings(
    party: demo.Party, spoken_for: Sequence[demo.Party], signers: Sequence[demo.Party], database: str
) -> Settings:
    """The settings of the party's node, over this database and with secrets that tests know."""
    settings = load_settings(party.config, {})
    secrets = {
        name: party.folder / f"known-{name}"
        for name in ("log_key", "wrapping_key", "index_key", "witness_key", "token_key")
    }
    for number, name in ((7, "log_key"), (1, "wrapping_key"), (2, "index_key"), (8, "witness_key"), (9, "token_key")):
        secrets[name].write_bytes(base64.b64encode(bytes([number]) * 32))
    further = [
        MemberSettings(id=str(other.subsystem.member), signing=load_settings(signer.config, {}).signing)
        for other, signer in zip(spoken_for[1:], signers, strict=True)
    ]
    return settings.model_copy(
        update={
            "members": further,
            "database": settings.database.model_copy(update={"url": database}),
            "node": settings.node.model_copy(update={"subsystems": [str(spoken.subsystem) for spoken in spoken_for]}),
            "secrets": settings.secrets.model_copy(update=secrets),
        }
    )


__all__ = ["InProcess", "Place", "ProblemError", "Register", "hidden_reason", "node", "problem_of"]
