"""Settings of one node: one TOML file, and the environment over it.

`load` reads the file, lays the environment over it and checks the whole. What is wrong is told
line by line in one SettingsError, so that an operator mends the file once and not once per mistake. Relative paths are
relative to the file that names them. Secrets are never settings: settings name the files that hold them.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, Field, ValidationError, model_validator

from adapters.sdk import Limits as AdapterLimits
from gateway.settings.audit import AuditSettings
from gateway.settings.environment import lay_over
from gateway.settings.keys import KeySettings, MemberSettings, SecretSettings, TlsSettings
from gateway.settings.problems import SettingProblem, SettingsError, Sources, problems_of
from gateway.settings.sources import MllpSource, SourceSettings
from gateway.settings.values import (
    IDENTITY,
    Identity,
    Listen,
    SecretFileOrNone,
    Section,
    Service,
    Subsystem,
    database_url,
)
from gateway.wire.identifiers import SubsystemId
from texts import Language


class NodeSettings(Section):
    """Which node of the registry this is, and where it keeps its files."""

    id: str = Field(description="the node's id in the registry")
    subsystems: list[Subsystem] = Field(
        min_length=1, description="the subsystems it speaks for; of several members, see `[[members]]`"
    )
    language: Language = Field("fi", description="the organisation's language")


class DatabaseSettings(Section):
    """Where the node keeps its data: SQLite in a file, or PostgreSQL."""

    url: Annotated[str, AfterValidator(database_url)] = Field(
        "sqlite:///node.db", description="sqlite:///FILE or postgresql+psycopg://USER@HOST/DATABASE"
    )
    pool_size: int = Field(8, ge=2, le=200, description="connections kept open")
    cache_mb: int = Field(
        16, ge=1, le=1024, description="SQLite only: what each connection keeps of the file in memory, in MiB at most"
    )
    cached_keys: int = Field(8192, ge=1, le=1_000_000, description="persons whose key is kept in memory, at most")
    appender_batch: int = Field(256, ge=1, le=4096, description="how many units one commit of the log takes at most")


class RegistrySettings(Section):
    """Where the trust registry comes from."""

    source: str = Field(description="folder or http(s) address of the published registry")
    root: Path = Field(description="the root metadata that was handed over when the member joined")
    cache: Path = Field(Path("registry-cache"), description="folder for the last good registry")
    refresh_seconds: float = Field(60.0, gt=0, le=3600, description="how often it is looked at")


class ListenSettings(Section):
    """Where the faces listen, each as "HOST:PORT"."""

    peers: Listen = Field(description="for other nodes")
    clients: Listen = Field(description="for the organisation's own systems")
    local: Listen = Field(description="health, readiness and metrics; without login, so keep it on loopback")
    console: Listen | None = Field(None, description="for the data protection officer; no console without it")


Action = Literal["query", "handover", "inbox", "consent", "decision", "audit", "identity", "standing-request", "task"]
_ORDINARY: tuple[Action, ...] = ("query", "handover", "inbox", "consent", "decision")


class RightSettings(Section):
    """What one client may do. An empty list means: nothing of that kind."""

    services: list[str] = Field(default_factory=lambda: ["*"], description='services it may ask; ["*"] is all')
    purposes: list[str] = Field(default_factory=lambda: ["*"], description="purposes of use")
    categories: list[str] = Field(default_factory=lambda: ["*"], description="data categories")
    actions: list[Action] = Field(default_factory=lambda: list(_ORDINARY), description="what it may do")


class ClientSettings(Section):
    """An information system of the organisation that may call this node."""

    name: str = Field(description="its name in the log")
    subsystem: Subsystem = Field(description="the subsystem of the node that it acts for")
    certificates: list[Path] = Field(default_factory=list, description="certificates that it connects with")
    jwks: Path | None = Field(None, description="public keys for private_key_jwt, a JWK set")
    rights: RightSettings = RightSettings()
    identity: Identity = Field("claimed", description=IDENTITY)
    default_purpose: str | None = Field(None, description="for a system that cannot send one")
    default_categories: list[str] = Field(default_factory=list, description="for a system that cannot send any")


class IdentitySettings(Section):
    """Who is one person.

    A client, service or source with `identity = "authoritative"` is believed: the identifiers that one of its records
    names are one person from then on, unless something says otherwise; then that record is held for a registrar. Call a
    register authoritative only if it knows its people. With `identity = "claimed"`, the default, a record joins nobody.
    Four things then do not work. A refusal that was recorded under one identifier does not stop a record or a question
    that names only another one. A consent carries nothing of a record that also names a further identifier which the
    node knows. An extract, a search and erasure reach what stands under the identifier that was asked for and nothing
    else. And a record that mixes two people is not held. For one person at a time, a registrar's join or an acceptance
    that names the person mends the first three.
    """

    two_people: bool = Field(
        True,
        description="joining, undoing, placing and taking a held record for one person's are proposed by one and "
        "approved by another",
    )


class ServiceSettings(Section):
    """The source system behind a query service."""

    service: Service = Field(description="the service's id in the registry")
    adapter: str = Field(description="the adapter that reads its answers")
    identity: Identity = Field("claimed", description=IDENTITY)
    url: str = Field(description="where the source system answers")
    timeout_seconds: float = Field(10.0, gt=0, le=120, description="how long it is waited for")
    certificate_authority: Path | None = Field(None, description="issuer of its TLS certificate; none: the system's")


class OpenIdSettings(Section):
    """The organisation's OpenID Connect provider, and which of its claims give which role in the console."""

    issuer: str = Field(description="the provider's address, without /.well-known")
    client_id: str = Field(description="the console's id there")
    client_secret: SecretFileOrNone = Field(None, description="file with the client secret")
    role_claim: str = Field("roles", description="claim that says who may do what")
    roles: dict[Literal["officer", "operator", "auditor", "registrar"], list[str]] = Field(
        description="values of the role claim that give each role"
    )
    member_claim: str | None = Field(None, description="claim with the member that a person is limited to")
    certificate_authority: Path | None = Field(None, description="issuer of its TLS certificate; none: the system's")


class ConsoleSettings(Section):
    """The data protection officer's console; it runs where `listen.console` is set."""

    address: str | None = Field(None, description="the console's address as browsers see it, https://HOST[:PORT]")
    tls: KeySettings | None = Field(None, description="its TLS key; without one it listens on loopback only")
    openid: OpenIdSettings | None = None

    @model_validator(mode="after")
    def _whole_address(self) -> ConsoleSettings:
        if self.address is not None and not re.fullmatch(r"https?://[^/?#\s]+", self.address):
            raise ValueError('address: write it as "https://HOST" or "https://HOST:PORT", without a path')
        return self


class DeliverySettings(Section):
    """How handovers are delivered."""

    workers: int = Field(12, ge=1, le=64, description="deliveries under way at once")
    recipient_workers: int = Field(4, ge=1, le=64, description="deliveries under way at once to one recipient")
    recipient_failures: int = Field(
        3, ge=1, le=1000, description="failures in a row after which a recipient is only tried from time to time"
    )
    attempt_seconds: float = Field(20.0, gt=0, le=600, description="longest time of one attempt on the network")
    poll_seconds: float = Field(0.25, gt=0, le=60, description="how often due deliveries are looked for")
    retry_seconds: float = Field(
        2.0, gt=0, le=3600, description="wait after the first failure; doubles up to the limit"
    )
    retry_limit_seconds: float = Field(300.0, gt=0, le=86400, description="longest wait between attempts")
    lease_seconds: float = Field(30.0, gt=0, le=3600, description="how long one worker has a delivery to itself")
    overdue_hours: float = Field(24.0, gt=0, description="after how long without acceptance a handover is overdue")


class LimitSettings(Section):
    """What is refused, so that the rest keeps working."""

    body_bytes: int = Field(8 * 1024 * 1024, ge=1024, description="largest body")
    message_bytes: int = Field(16 * 1024, ge=1024, description="largest signed message, without its body")
    in_flight: int = Field(512, ge=1, description="requests at once on each face")
    in_flight_each: int = Field(128, ge=1, description="requests at once of one client, or of one other node")
    strangers: int = Field(32, ge=1, description="requests at once of all who have not shown yet who they are")
    queue: int = Field(4096, ge=1, description="units that may wait for the log")
    peer_timeout_seconds: float = Field(15.0, gt=0, le=300, description="how long another node is waited for")
    head_seconds: float = Field(10.0, gt=0, le=300, description="a caller's time for the head of a request")
    body_seconds: float = Field(60.0, gt=0, le=3600, description="a caller's time for the body of a request")


class RateSettings(Section):
    """How much one asker may ask, a client of the node's own or another member; 0 is as much as it likes."""

    user_per_minute: int = Field(120, ge=0, description="questions of one user for one purpose in a minute")
    caller_per_minute: int = Field(
        3000, ge=0, description="questions of one client, or of one other member, in a minute"
    )
    user_in_vain_per_hour: int = Field(
        20, ge=0, description="persons about whom one user gets nothing in an hour; then it asks no more"
    )
    caller_in_vain_per_hour: int = Field(
        200, ge=0, description="the same of one client or other member, whatever users it names"
    )


class AdapterSettings(Section):
    """How much of a source an adapter reads before it refuses it."""

    total_bytes: int = Field(64 * 1024 * 1024, ge=1024, description="size of a source, unpacked")
    records: int = Field(1_000_000, ge=1, description="records in a source")
    row_characters: int = Field(200_000, ge=100, description="length of one record as text")
    field_characters: int = Field(20_000, ge=10, description="length of one field")
    fields: int = Field(1_000, ge=1, description="fields of one record")
    depth: int = Field(32, ge=1, le=200, description="depth of nesting")
    ratio: int = Field(100, ge=1, description="how much larger a packed source may be unpacked")
    seconds: float = Field(3600.0, gt=0, description="time for one source")
    memory_mb: int = Field(1024, ge=256, le=65536, description="address space of a process that reads, in MiB")
    record_seconds: float = Field(10.0, ge=1, le=3600, description="processor time for one record, in seconds")

    def limits(self) -> AdapterLimits:
        """The same as adapters take them."""
        return AdapterLimits(**self.model_dump())


class TimestampSettings(Section):
    """A time stamping authority (RFC 3161) that says by when the log had come how far."""

    url: str | None = Field(None, description="where the authority answers")
    authorities: list[Path] = Field(default_factory=list, description="certificates of the authority's root")
    every_seconds: float = Field(3600.0, gt=0, description="how often")

    @model_validator(mode="after")
    def _with_root(self) -> TimestampSettings:
        if self.url is not None and not self.authorities:
            raise ValueError("a time stamp is of use only with the `authorities` by which it is checked")
        return self


class TelemetrySettings(Section):
    """What operators see. Nothing personal is in any of it."""

    otlp_endpoint: str | None = Field(None, description="where traces go, by OTLP over HTTP")
    sample_ratio: float = Field(0.0, ge=0, le=1, description="part of the exchanges that is traced")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="what is logged")


class Settings(Section):
    """All settings of a node, checked."""

    node: NodeSettings
    registry: RegistrySettings
    listen: ListenSettings
    tls: TlsSettings
    signing: KeySettings
    members: list[MemberSettings] = Field(default_factory=list)
    database: DatabaseSettings = DatabaseSettings()
    secrets: SecretSettings = SecretSettings()
    clients: list[ClientSettings] = Field(default_factory=list)
    identity: IdentitySettings = IdentitySettings()
    services: list[ServiceSettings] = Field(default_factory=list)
    sources: list[SourceSettings] = Field(default_factory=list)
    console: ConsoleSettings = ConsoleSettings()
    delivery: DeliverySettings = DeliverySettings()
    limits: LimitSettings = LimitSettings()
    rates: RateSettings = RateSettings()
    adapters: AdapterSettings = AdapterSettings()
    telemetry: TelemetrySettings = TelemetrySettings()
    audit: AuditSettings = AuditSettings()
    timestamps: TimestampSettings = TimestampSettings()

    @model_validator(mode="after")
    def _senders_known(self) -> Settings:
        known = {client.name for client in self.clients}
        for source in self.sources:
            for sender in source.senders if isinstance(source, MllpSource) else ():
                if sender not in known:
                    raise ValueError(f"sources: {source.name}: no `[[clients]]` is called {sender}")
        return self

    @model_validator(mode="after")
    def _clients_told_apart(self) -> Settings:
        names = [client.name for client in self.clients]
        if len(set(names)) != len(names):
            raise ValueError("two clients have the same name; what one may do would hold for the other")
        return self

    @model_validator(mode="after")
    def _a_key_each(self) -> Settings:
        # What one key signed for two members would be either's word, and a registry lists a key for one.
        first, *further = self.spoken_for
        given = [member.id for member in self.members]
        if lacking := sorted(set(further) - set(given)):
            raise ValueError(
                f"node.subsystems: {lacking[0]} has no signing key of its own; "
                "add [[members]] with its id and its `signing`"
            )
        if strange := [member for member in given if member not in further or given.count(member) > 1]:
            raise ValueError(
                f"members: {strange[0]} stands there twice, or signs with `signing`, or has none of node.subsystems; "
                f"name each member but {first} once"
            )
        keys = [key.place for key in self.signing_keys.values()]
        if twice := [member for member, key in zip(self.spoken_for, keys, strict=True) if keys.count(key) > 1]:
            raise ValueError(f"members: {' and '.join(twice)} would sign with one key; give each a key of its own")
        return self

    @model_validator(mode="after")
    def _an_officer_each(self) -> Settings:
        openid = self.console.openid
        if self.members and openid is not None and openid.member_claim is None:
            raise ValueError(
                "console.openid: of several members, each has its own officer; "
                "set member_claim to the claim that says whose somebody is"
            )
        return self

    @property
    def spoken_for(self) -> tuple[str, ...]:
        """The members that the node speaks for, in the order in which its subsystems name them."""
        return tuple(dict.fromkeys(str(SubsystemId.parse(subsystem).member) for subsystem in self.node.subsystems))

    @property
    def signing_keys(self) -> dict[str, KeySettings]:
        """Each member's own signing key, in the same order."""
        own = {member.id: member.signing for member in self.members}
        return {member: own.get(member, self.signing) for member in self.spoken_for}

    @model_validator(mode="after")
    def _sources_apart(self) -> Settings:
        names = [source.name for source in self.sources]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"sources: these names stand there twice: {', '.join(twice)}")
        strange = sorted({source.subsystem for source in self.sources} - set(self.node.subsystems))
        if strange:
            raise ValueError(f"sources: this node does not speak for {strange[0]}; name one of node.subsystems")
        return self


def load(path: Path, environment: Mapping[str, str] | None = None) -> Settings:
    """Read the settings from `path`, with the environment's variables over them. Raises SettingsError."""
    environment = os.environ if environment is None else environment
    try:
        text = path.read_text("utf-8")
        document = tomllib.loads(text)
    except FileNotFoundError:
        raise SettingsError(path, [SettingProblem(None, "file", "there is no such file")]) from None
    except UnicodeDecodeError as error:
        raise SettingsError(path, [SettingProblem(None, "file", f"is not UTF-8: {error.reason}")]) from None
    except tomllib.TOMLDecodeError as error:
        line = re.search(r"line (\d+)", str(error))
        problem = SettingProblem(int(line[1]) if line else None, "file", f"is not TOML: {error}")
        raise SettingsError(path, [problem]) from None
    faults = lay_over(document, environment)
    if faults:
        raise SettingsError(path, [SettingProblem(None, name, fault, (name,)) for name, fault in faults])
    try:
        settings = Settings.model_validate(document)
    except ValidationError as error:
        raise SettingsError(path, problems_of(error, Sources(text, tomllib.loads(text), environment))) from None
    return _anchored(settings, path.resolve().parent)


def _anchored(settings: Settings, folder: Path) -> Settings:
    """The same settings with every relative path made absolute, from the folder of the file."""

    def anchor(value: Any) -> Any:
        if isinstance(value, Path):
            return value if value.is_absolute() else folder / value
        if isinstance(value, BaseModel):
            return value.model_copy(update={name: anchor(getattr(value, name)) for name in type(value).model_fields})
        if isinstance(value, list):
            return [anchor(item) for item in value]
        return value

    anchored: Settings = anchor(settings)
    url = anchored.database.url
    if url.startswith("sqlite:///") and not url.startswith("sqlite:////"):
        url = f"sqlite:///{folder / url.removeprefix('sqlite:///')}"
    source = anchored.registry.source
    if "://" not in source and not Path(source).is_absolute():
        source = str(folder / source)
    return anchored.model_copy(
        update={
            "database": anchored.database.model_copy(update={"url": url}),
            "registry": anchored.registry.model_copy(update={"source": source}),
        }
    )
