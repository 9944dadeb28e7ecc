"""The parts that a node's settings name, made ready: secrets and keys, the log, the officer's desk, clients, backends.

Each function makes one part and raises NodeError in an operator's words where that cannot be. `gateway.node.node` wires
them into a node; commands that work beside a node take from here what they need.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import combinations
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Engine, make_url
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from adapters.sdk.versions import Version
from audit.log.failure import said
from audit.log.log import Log
from audit.log.policy import LogPolicy
from audit.questions.keys import SubjectKeys
from audit.questions.report import Controller
from audit.questions.subjects import Subjects
from audit.tree.checkpoint import KeyType, LogSigner, WitnessSigner
from consent.rulebook import load as load_rulebook
from consent.rules.document import RulebookError
from gateway.desk.context import DeskContext
from gateway.desk.desk import Desk
from gateway.exchange.witnesses import Proven
from gateway.keys import log_keys, ring
from gateway.keys.certificates import load, to_der
from gateway.keys.credentials import KeyPlace, Opening
from gateway.keys.errors import TrustError
from gateway.keys.tls import TlsKey, browser_context
from gateway.person.values import Register
from gateway.reading.readers import Adapters, Reading
from gateway.registry.read.distribution import RegistryClient
from gateway.registry.read.entries import log_origin, witness_name
from gateway.registry.read.standing import Standing, Standings
from gateway.settings import Settings
from gateway.settings.audit import AuditSettings
from gateway.settings.keys import KeySettings, MemberSettings
from gateway.sources.backends import Backend, HttpBackend
from gateway.sources.endpoint import Endpoint
from gateway.storage import engine as storage
from gateway.web.authentication import Caller, Registered
from gateway.web.tokens import ClientKeys, KeySetError
from gateway.wire.identifiers import MemberId, ServiceId, SubsystemId
from gateway.wire.signing import Signer, thumbprint

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


class NodeError(Exception):
    """The node cannot start: what is missing, and what would make it right."""

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.remedy = remedy


def utc_now() -> datetime:
    """The clock of a running node."""
    return datetime.now(UTC)


def database_error(settings: Settings, error: SQLAlchemyError) -> NodeError:
    """What to tell an operator whose database does not answer, or answers with an error."""
    # Neither the password nor the options, which may hold one; of the error nothing that a statement has carried.
    place = make_url(settings.database.url).set(query={}).render_as_string(hide_password=True)
    reason = said(error) if isinstance(error, OperationalError) else type(error.__cause__ or error).__name__
    return NodeError(
        f"the database {place} cannot be used: {reason}",
        "start the database, make room for it, or mend database.url in the settings; then start this again",
    )


def log_of(
    settings: Settings,
    engine: Engine,
    clock: Callable[[], datetime] = utc_now,
    told: Callable[[str | None], None] = lambda _failure: None,
) -> Log:
    """The node's log, not yet started: for the node itself, and for commands that put something on record."""
    signer = log_signer(settings)
    return Log(
        engine,
        signer,
        origin=signer.name,
        clock=clock,
        policy=LogPolicy(
            settings.database.appender_batch,
            settings.limits.queue,
            fault=partial(storage.fault_of, engine),
            told=told,
        ),
    )


def log_signer(settings: Settings) -> LogSigner:
    """The keys with which this node signs its log. Raises NodeError."""
    path = settings.secrets.log_key
    secrets_in(path)
    try:
        return log_keys.signer(path, log_origin(settings.node.id))
    except ring.RingError as error:
        raise NodeError(str(error), "restore the file from your backup") from None


def witness_signer(settings: Settings) -> WitnessSigner:
    """The key with which this node cosigns the checkpoints of others."""
    name = witness_name(settings.node.id)
    return WitnessSigner.from_seed(secret(settings.secrets.witness_key), name, witness_type(settings))


def witness_type(settings: Settings) -> KeyType:
    """Of what type the key is with which this node cosigns."""
    ed25519 = settings.audit.witness_algorithm == "ed25519"
    return KeyType.COSIGNATURE_ED25519 if ed25519 else KeyType.COSIGNATURE_ML_DSA_44


def witness_signers(settings: Settings, listed: Callable[[str], bool]) -> Callable[[], WitnessSigner]:
    """The same, for a node that runs: a key that was put in place of another is used once the registry lists it."""
    held, path = witness_signer(settings), settings.secrets.witness_key

    def current() -> WitnessSigner:
        nonlocal held
        if path.exists():
            # Half-copied or lost files stop nothing: the former goes on.
            with suppress(NodeError, OSError):
                found = witness_signer(settings)
                held = found if listed(str(found.verifier)) else held
        return held

    return current


def subsystems_of(settings: Settings) -> tuple[SubsystemId, ...]:
    """The subsystems that the node speaks for."""
    return tuple(SubsystemId.parse(subsystem) for subsystem in settings.node.subsystems)


def subjects_of(settings: Settings) -> Subjects:
    """The data subjects of the members that the node speaks for."""
    members = dict.fromkeys(str(subsystem.member) for subsystem in subsystems_of(settings))
    wrapping, index = secrets_in(settings.secrets.wrapping_key), secrets_in(settings.secrets.index_key)
    keys = SubjectKeys(wrapping, index, settings.database.cached_keys)
    return Subjects.under(keys, tuple(members))


@dataclass(frozen=True, slots=True)
class DeskParts:
    """What a node that runs gives its officer's desk; beside a node there are only the log and the subjects."""

    log: Log
    subjects: Subjects
    signer: Callable[[MemberId], Signer] | None = None
    proven_to: Callable[[], Sequence[Proven]] = tuple
    installed: Callable[[], Sequence[Version]] | None = None
    not_taken: Callable[[], Iterable[str]] = tuple


def desk_of(
    settings: Settings,
    engine: Engine,
    clock: Callable[[], datetime] = utc_now,
    *,
    parts: DeskParts | None = None,
    standing: Callable[[], Standing | None] | None = None,
) -> Desk:
    """The officer's desk: for the node itself, with its log and subjects, and for commands beside it."""
    own = parts or DeskParts(log_of(settings, engine, clock), subjects_of(settings))
    return Desk(
        DeskContext(
            node=settings.node.id,
            engine=engine,
            log=own.log,
            subjects=own.subjects,
            clock=clock,
            standing=standing or _kept_standing(settings, clock),
            subsystems=subsystems_of(settings),
            given={
                settings.spoken_for[0]: controller_of(settings.audit),
                **{member.id: controller_of(member) for member in settings.members},
            },
            thresholds=settings.audit.unusual.thresholds(),
            overdue_seconds=settings.delivery.overdue_hours * 3600,
            signer=own.signer,
            proven_to=own.proven_to,
            installed=own.installed or partial(_installed, settings),
            not_taken=own.not_taken,
        )
    )


def _installed(settings: Settings) -> Sequence[Version]:
    """The adapters that are installed, as a reader tells them: a command holds keys, and loads none of their code."""
    reading = Reading(settings.adapters.limits())
    try:
        reading.start()
        return reading.editions.installed()
    finally:
        reading.close()


def controller_of(given: AuditSettings | MemberSettings) -> Controller:
    """Who answers for a member's processing, as the settings name them."""
    return Controller(given.controller, given.contact, given.officer)


def _kept_standing(settings: Settings, clock: Callable[[], datetime]) -> Callable[[], Standing | None]:
    """The registry and rulebook for a command: read once, when a name is first asked for; None without a registry."""
    found: list[Standing | None] = []

    def standing() -> Standing | None:
        if not found:
            try:
                root = settings.registry.root.read_bytes()
                registry = RegistryClient(settings.registry.source, settings.registry.cache, root).refresh(clock())
                found.append(Standing(registry, load_rulebook(registry.rulebook)))
            except (TrustError, RulebookError, OSError):
                found.append(None)
        return found[0]

    return standing


def console_tls(settings: Settings) -> ssl.SSLContext | None:
    """What the console's listener shows browsers; None for plain HTTP, which is for loopback only. Raises NodeError."""
    if settings.console.tls is not None:
        key = settings.console.tls
        if key.key is None:
            raise NodeError("console.tls: the key is in a token", "use a key in a file for the console's TLS")
        passphrase = key.passphrase.read_bytes().strip() if key.passphrase is not None else None
        return browser_context(TlsKey(key.certificate, key.key, passphrase))
    assert settings.listen.console is not None
    if settings.listen.console.host not in LOOPBACK:
        raise NodeError(
            "listen.console: without TLS the console listens on loopback only",
            "give console.tls, or listen on 127.0.0.1 behind a reverse proxy that speaks TLS",
        )
    return None


def signing_name(settings: Settings, member: str) -> str:
    """What the signing key of a member is called in health, metrics and the log."""
    return "signing" if member == settings.spoken_for[0] else f"signing/{member}"


def keys_of(settings: Settings) -> dict[str, KeySettings]:
    """The node's keys, each by its name: of the first member `signing`, of another one `signing/MEMBER`."""
    return {
        **{signing_name(settings, member): key for member, key in settings.signing_keys.items()},
        "peers": settings.tls.peers,
        "clients": settings.tls.clients or settings.tls.peers,
    }


def key_places(stack: AsyncExitStack, settings: Settings, standings: Standings) -> dict[str, KeyPlace]:
    """The node's keys, opened. Raises NodeError, TrustError."""

    def signs_for(member: str) -> Callable[[bytes, datetime], bool]:
        def signs(certificate: bytes, now: datetime) -> bool:
            latest = standings.latest
            key = latest.registry.signing_key(thumbprint(certificate)) if latest is not None else None
            # Another member's key of this node is as strange here as anybody's.
            return key is not None and str(key.member) == member and key.not_before <= now <= key.not_after

        return signs

    def connects(certificate: bytes, _now: datetime) -> bool:
        latest = standings.latest
        if latest is None:
            return False
        node = latest.registry.node(settings.node.id)
        return node is not None and latest.registry.tls_certificate(node, certificate) is not None

    opening = Opening()
    stack.callback(opening.close)
    # Two refreshes: by then every peer that is alive has the registry that lists the new certificate.
    overlap = timedelta(seconds=2 * settings.registry.refresh_seconds)
    keys = keys_of(settings)
    signing = {
        name: KeyPlace(name, keys[name], opening.signing, signs_for(member), overlap)
        for member in settings.spoken_for
        for name in (signing_name(settings, member),)
    }
    public = [load(place.held.certificate).public_key() for place in signing.values()]
    if any(first == second for first, second in combinations(public, 2)):
        raise NodeError(
            "members: two members would sign with one key", "make a key for each, and have the registry list it"
        )
    return {
        **signing,
        "peers": KeyPlace("peers", keys["peers"], opening.tls, connects, overlap),
        "clients": KeyPlace("clients", keys["clients"], opening.tls, lambda _certificate, _now: True, timedelta(0)),
    }


def signers_of(settings: Settings, places: Mapping[str, KeyPlace]) -> Callable[[MemberId], Signer]:
    """What each member of this node signs with. Of another member there is none: nothing is signed for it."""
    own = {member: places[signing_name(settings, member)] for member in settings.spoken_for}

    def signer(member: MemberId) -> Signer:
        found = own[str(member)].held.signer
        assert found is not None
        return found

    return signer


def authorities(settings: Settings) -> list[bytes]:
    if not settings.tls.client_authorities and not any(client.jwks for client in settings.clients):
        raise NodeError(
            "tls.client_authorities is empty and no client has a jwks, so no client could ever connect",
            "name the certificates of the authorities that issue your clients' certificates",
        )
    return [to_der(path.read_bytes()) for path in settings.tls.client_authorities]


def secret(path: Path) -> bytes:
    """The key that a secret's file has first. Raises NodeError."""
    return secrets_in(path)[0]


def secrets_in(path: Path) -> tuple[bytes, ...]:
    """The keys of a secret's file. Never made here: over a database that depends on it, a new one would open or lose
    what the old one held. Raises NodeError.
    """
    if not path.exists():
        raise NodeError(f"{path} is missing", "restore the file from the backup of the node's secrets")
    try:
        return ring.read(path)
    except ring.RingError as error:
        raise NodeError(str(error), "restore the file from your backup") from None


def ed25519_key(path: Path) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(secret(path))


def client_keys(settings: Settings) -> list[ClientKeys]:
    try:
        return [ClientKeys.read(client.name, client.jwks) for client in settings.clients if client.jwks is not None]
    except KeySetError as error:
        raise NodeError(
            f"clients.jwks: {error}", "a JWK set holds the client's public keys, P-256 or Ed25519"
        ) from None


def backends_of(settings: Settings, adapters: Adapters) -> dict[ServiceId, Backend]:
    """What stands behind the query services; the adapters run where `adapters` says."""
    return {
        ServiceId.parse(service.service): HttpBackend(
            Endpoint.at(
                service.url, service.timeout_seconds, settings.limits.body_bytes, service.certificate_authority
            ),
            adapters.load(service.adapter),
            limits=settings.adapters.limits(),
        )
        for service in settings.services
    }


def registers_of(settings: Settings) -> dict[ServiceId, Register]:
    """The registers behind the query services, and whether they are believed."""
    return {
        ServiceId.parse(service.service): Register(service.service, service.identity == "authoritative")
        for service in settings.services
    }


def registered_clients(settings: Settings) -> list[Registered]:
    return [
        Registered(
            Caller(
                name=client.name,
                subsystem=SubsystemId.parse(client.subsystem),
                actions=frozenset(client.rights.actions),
                services=frozenset(client.rights.services),
                purposes=frozenset(client.rights.purposes),
                categories=frozenset(client.rights.categories),
                default_purpose=client.default_purpose,
                default_categories=frozenset(client.default_categories),
                is_authoritative=client.identity == "authoritative",
            ),
            frozenset(thumbprint(to_der(path.read_bytes())) for path in client.certificates),
        )
        for client in settings.clients
    ]
