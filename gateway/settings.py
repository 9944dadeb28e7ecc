"""Settings of one node: one TOML file, and the environment over it.

`load` reads the file, lays `YHDYSPINTA_<SECTION>__<KEY>` variables over it and checks the whole. What is wrong is told
line by line in one SettingsError, so that an operator mends the file once and not once per mistake. Relative paths are
relative to the file that names them. Secrets are never settings: settings name the files that hold them.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from audit.anomalies import Thresholds

ENVIRONMENT_PREFIX = "YHDYSPINTA_"


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _address(value: object) -> object:
    if isinstance(value, str):
        host, separator, port = value.rpartition(":")
        if not separator or not host or not port.isdigit() or int(port) > 65535:
            raise ValueError('write an address as "HOST:PORT", for example "127.0.0.1:8443"')
        return {"host": host.strip("[]"), "port": int(port)}
    return value


class Address(_Section):
    """Where a listener listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


Listen = Annotated[Address, BeforeValidator(_address)]


class NodeSettings(_Section):
    """Which node of the registry this is, and where it keeps its files."""

    id: str = Field(description="the node's id in the registry")
    subsystems: list[str] = Field(min_length=1, description="the subsystems it speaks for")
    language: Literal["fi", "sv", "en"] = "fi"


class DatabaseSettings(_Section):
    url: str = "sqlite:///node.db"
    pool_size: int = Field(8, ge=2, le=200)
    appender_batch: int = Field(256, ge=1, le=4096)


class RegistrySettings(_Section):
    source: str = Field(description="folder or http(s) address of the published registry")
    root: Path = Field(description="the root metadata that was handed over when the member joined")
    cache: Path = Path("registry-cache")
    refresh_seconds: float = Field(60.0, gt=0, le=3600)


class KeySettings(_Section):
    """A private key in an encrypted PKCS#8 file, or in a token reached through PKCS#11."""

    certificate: Path
    key: Path | None = None
    passphrase: Path | None = Field(None, description="file with the passphrase of the key")
    pkcs11_module: Path | None = None
    pkcs11_token: str | None = None
    pkcs11_label: str | None = None
    pkcs11_pin: Path | None = Field(None, description="file with the PIN")

    @model_validator(mode="after")
    def _one_kind(self) -> KeySettings:
        token = (self.pkcs11_module, self.pkcs11_token, self.pkcs11_label, self.pkcs11_pin)
        if (self.key is None) == (self.pkcs11_module is None):
            raise ValueError("give either `key` (a file) or `pkcs11_module` with token, label and pin")
        if self.pkcs11_module is not None and any(part is None for part in token):
            raise ValueError("a PKCS#11 key needs pkcs11_module, pkcs11_token, pkcs11_label and pkcs11_pin")
        return self


class SecretSettings(_Section):
    """Files of 32 random bytes each, in base64. They never leave the node."""

    wrapping_key: Path = Path("secrets/wrapping.key")
    index_key: Path = Path("secrets/index.key")
    log_key: Path = Path("secrets/log.key")
    witness_key: Path = Path("secrets/witness.key")
    token_key: Path = Path("secrets/token.key")


class TlsSettings(_Section):
    peers: KeySettings
    clients: KeySettings | None = None
    client_authorities: list[Path] = Field(default_factory=list, description="issuers of the clients' certificates")


class ListenSettings(_Section):
    peers: Listen
    clients: Listen
    local: Listen
    console: Listen | None = None


Action = Literal["query", "handover", "inbox", "consent", "decision", "audit"]
_ORDINARY: tuple[Action, ...] = ("query", "handover", "inbox", "consent", "decision")


class RightSettings(_Section):
    """What one client may do. An empty list means: nothing of that kind."""

    services: list[str] = Field(default_factory=lambda: ["*"])
    purposes: list[str] = Field(default_factory=lambda: ["*"])
    categories: list[str] = Field(default_factory=lambda: ["*"])
    actions: list[Action] = Field(default_factory=lambda: list(_ORDINARY))


class ClientSettings(_Section):
    """An information system of the organisation that may call this node."""

    name: str
    subsystem: str
    certificates: list[Path] = Field(default_factory=list)
    jwks: Path | None = Field(None, description="public keys for private_key_jwt, a JWK set")
    rights: RightSettings = RightSettings()
    default_purpose: str | None = None
    default_categories: list[str] = Field(default_factory=list)


class ServiceSettings(_Section):
    """The source system behind a query service."""

    service: str = Field(description="the service's id in the registry")
    adapter: str
    url: str = Field(description="where the source system answers")
    timeout_seconds: float = Field(10.0, gt=0, le=120)
    certificate_authority: Path | None = None


class _SourceSettings(_Section):
    """What every source has: its name, whose client it is, and what its records become."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,47}$", description="its name in logs and books; keep it for good")
    subsystem: str = Field(description="the subsystem that hands over")
    adapter: str
    flow: str = "F1"
    reports: Path = Field(Path("reports"), description="folder for what could not be handed over")
    poll_seconds: float = Field(10.0, ge=0.1, le=86400)
    retry_limit_seconds: float = Field(300.0, ge=1, le=86400)


class DirectorySource(_SourceSettings):
    """A directory that is watched."""

    kind: Literal["directory"]
    folder: Path
    pattern: str = "*"


class DatabaseSource(_SourceSettings):
    """A query on the source's database."""

    kind: Literal["database"]
    url: str = Field(description="address of the database, without a password")
    password: Path | None = Field(None, description="file with the password")
    query: str
    changed: str = Field(description="column that grows with every change of a row")
    key: str = Field(description="column that is different in every row")
    page: int = Field(500, ge=1, le=100_000)
    overlap_seconds: float = Field(0.0, ge=0, le=86400)


class HttpSource(_SourceSettings):
    """Pages of an HTTP API."""

    kind: Literal["http"]
    url: str
    records: str = Field("", description="JSON Pointer to a page's records; empty: the body")
    next: str = Field("", description="JSON Pointer to the next page; empty: the Link header")
    parameter: str = Field("", description="query parameter for a next page that is a token and no address")
    token_url: str | None = None
    client_id: str | None = None
    client_secret: Path | None = Field(None, description="file with the client secret")
    scope: str = ""
    timeout_seconds: float = Field(30.0, gt=0, le=600)
    certificate_authority: Path | None = None

    @model_validator(mode="after")
    def _whole_credentials(self) -> HttpSource:
        given = [one is not None for one in (self.token_url, self.client_id, self.client_secret)]
        if any(given) and not all(given):
            raise ValueError("client credentials are token_url, client_id and client_secret, all three")
        return self


class SftpSource(_SourceSettings):
    """A drop on an SFTP server."""

    kind: Literal["sftp"]
    host: str
    port: int = Field(22, ge=1, le=65535)
    user: str
    key: Path = Field(description="file with the node's private SSH key, in PKCS#8")
    passphrase: Path | None = Field(None, description="file with the passphrase of the key")
    known_hosts: Path = Field(description="file with the server's host key")
    folder: str = ""
    pattern: str = "*"


SourceSettings = Annotated[
    DirectorySource | DatabaseSource | HttpSource | SftpSource,
    Field(discriminator="kind"),
]


class OpenIdSettings(_Section):
    """The organisation's OpenID Connect provider, and which of its claims give which role in the console."""

    issuer: str = Field(description="the provider's address, without /.well-known")
    client_id: str
    client_secret: Path | None = Field(None, description="file with the client secret")
    role_claim: str = "roles"
    roles: dict[Literal["officer", "operator", "auditor"], list[str]] = Field(
        description="values of the role claim that give each role"
    )
    member_claim: str | None = Field(None, description="claim with the member that a person is limited to")
    certificate_authority: Path | None = None


class ConsoleSettings(_Section):
    """The data protection officer's console; it runs where `listen.console` is set."""

    address: str | None = Field(None, description="the console's address as browsers see it, https://HOST[:PORT]")
    tls: KeySettings | None = Field(None, description="its TLS key; without one it listens on loopback only")
    openid: OpenIdSettings | None = None

    @model_validator(mode="after")
    def _whole_address(self) -> ConsoleSettings:
        if self.address is not None and not re.fullmatch(r"https?://[^/?#\s]+", self.address):
            raise ValueError('address: write it as "https://HOST" or "https://HOST:PORT", without a path')
        return self


class DeliverySettings(_Section):
    workers: int = Field(4, ge=1, le=64)
    poll_seconds: float = Field(0.25, gt=0, le=60)
    retry_seconds: float = Field(
        2.0, gt=0, le=3600, description="wait after the first failure; doubles up to the limit"
    )
    retry_limit_seconds: float = Field(300.0, gt=0, le=86400)
    lease_seconds: float = Field(30.0, gt=0, le=3600)
    overdue_hours: float = Field(24.0, gt=0)


class LimitSettings(_Section):
    body_bytes: int = Field(8 * 1024 * 1024, ge=1024)
    message_bytes: int = Field(16 * 1024, ge=1024)
    in_flight: int = Field(512, ge=1)
    queue: int = Field(4096, ge=1)
    peer_timeout_seconds: float = Field(15.0, gt=0, le=300)
    head_seconds: float = Field(10.0, gt=0, le=300, description="a caller's time for the head of a request")
    body_seconds: float = Field(60.0, gt=0, le=3600, description="a caller's time for the body of a request")


class UnusualSettings(_Section):
    """When a pattern of look-ups counts as unusual. Hours are local to `zone`."""

    bulk_lookups_per_hour: int = Field(60, ge=2)
    persons_per_day: int = Field(100, ge=2)
    night_from: int = Field(22, ge=12, le=23)
    night_until: int = Field(6, ge=0, le=12)
    night_lookups: int = Field(5, ge=1)
    denied_per_hour: int = Field(5, ge=2)
    client_within_days: float = Field(90, gt=0)
    never_clients: int = Field(3, ge=1)
    zone: str = "Europe/Helsinki"

    def thresholds(self) -> Thresholds:
        """The same as the rules take them."""
        values = self.model_dump(exclude={"client_within_days"})
        return Thresholds(**values, client_within=timedelta(days=self.client_within_days))


class AuditSettings(_Section):
    """The audit log: who answers for it, how peers' logs are watched, and what counts as unusual."""

    controller: str = Field("", description="name of the controller, for extracts and the record of processing")
    contact: str = ""
    officer: str = Field("", description="the data protection officer and how to reach them")
    witness_seconds: float = Field(60.0, gt=0, le=86400, description="how often peers are asked for proofs")
    cosign_seconds: float = Field(3600.0, gt=0, le=86400, description="how often witnesses are asked to cosign")
    witnesses: int = Field(5, ge=0, le=32, description="how many of the registry's witnesses are asked")
    readers: list[str] = Field(default_factory=list, description="ids of nodes that may read entries, not only hashes")
    witness_algorithm: Literal["ml-dsa-44", "ed25519"] = "ml-dsa-44"
    unusual: UnusualSettings = UnusualSettings()


class TimestampSettings(_Section):
    """A time stamping authority (RFC 3161) that says by when the log had come how far."""

    url: str | None = Field(None, description="where the authority answers")
    authorities: list[Path] = Field(default_factory=list, description="certificates of the authority's root")
    every_seconds: float = Field(3600.0, gt=0)

    @model_validator(mode="after")
    def _with_root(self) -> TimestampSettings:
        if self.url is not None and not self.authorities:
            raise ValueError("a time stamp is of use only with the `authorities` by which it is checked")
        return self


class TelemetrySettings(_Section):
    otlp_endpoint: str | None = None
    sample_ratio: float = Field(0.0, ge=0, le=1)
    log_level: Literal["debug", "info", "warning", "error"] = "info"


class Settings(_Section):
    """All settings of a node, checked."""

    node: NodeSettings
    registry: RegistrySettings
    listen: ListenSettings
    tls: TlsSettings
    signing: KeySettings
    database: DatabaseSettings = DatabaseSettings()
    secrets: SecretSettings = SecretSettings()
    clients: list[ClientSettings] = Field(default_factory=list)
    services: list[ServiceSettings] = Field(default_factory=list)
    sources: list[SourceSettings] = Field(default_factory=list)
    console: ConsoleSettings = ConsoleSettings()
    delivery: DeliverySettings = DeliverySettings()
    limits: LimitSettings = LimitSettings()
    telemetry: TelemetrySettings = TelemetrySettings()
    audit: AuditSettings = AuditSettings()
    timestamps: TimestampSettings = TimestampSettings()

    @model_validator(mode="after")
    def _clients_told_apart(self) -> Settings:
        names = [client.name for client in self.clients]
        if len(set(names)) != len(names):
            raise ValueError("two clients have the same name; what one may do would hold for the other")
        return self

    @model_validator(mode="after")
    def _sources_apart(self) -> Settings:
        names = [source.name for source in self.sources]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"sources: these names stand there twice: {', '.join(twice)}")
        return self


@dataclass(frozen=True, slots=True)
class SettingProblem:
    """One thing wrong with the settings: where, what, and what would make it right."""

    line: int | None
    key: str
    message: str


class SettingsError(Exception):
    """The settings cannot be used; `problems` has one item for each mistake."""

    def __init__(self, source: Path, problems: list[SettingProblem]) -> None:
        self.source = source
        self.problems = problems
        super().__init__("\n".join(self.lines()))

    def lines(self) -> list[str]:
        """One printable line for each mistake, `FILE:LINE: KEY: what is wrong`."""
        return [
            f"{self.source}{f':{problem.line}' if problem.line else ''}: {problem.key}: {problem.message}"
            for problem in self.problems
        ]


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
    _lay_over(document, environment)
    try:
        settings = Settings.model_validate(document)
    except ValidationError as error:
        problems = [
            SettingProblem(
                _line_of(text, item["loc"]),
                ".".join(str(part) for part in item["loc"]) or "file",
                _say(item["type"], item["msg"]),
            )
            for item in error.errors(include_url=False, include_input=False)
        ]
        raise SettingsError(path, problems) from None
    return _anchored(settings, path.resolve().parent)


def _say(kind: str, message: str) -> str:
    if kind == "missing":
        return "is missing; add it"
    if kind == "extra_forbidden":
        return "is not a setting; check the spelling or remove it"
    return message.removeprefix("Value error, ")


def _lay_over(document: dict[str, Any], environment: Mapping[str, str]) -> None:
    for name, value in environment.items():
        if not name.startswith(ENVIRONMENT_PREFIX) or "__" not in name:
            continue
        *sections, key = name.removeprefix(ENVIRONMENT_PREFIX).lower().split("__")
        target = document
        for section in sections:
            target = target.setdefault(section, {})
        target[key] = value


def _line_of(text: str, location: tuple[int | str, ...]) -> int | None:
    """Line of a key in the file, as near as can be told: the key if it is there, else its table."""
    lines = text.splitlines()
    tables = [str(part) for part in location if isinstance(part, str)]
    ordinal = next((part for part in location if isinstance(part, int)), 0)
    for depth in range(len(tables), 0, -1):
        header = re.compile(rf"^\s*\[\[?\s*{re.escape('.'.join(tables[:depth]))}\s*\]\]?")
        found = [number for number, line in enumerate(lines) if header.match(line)]
        if not found:
            continue
        start = found[min(ordinal, len(found) - 1)]
        for number in range(start + 1, len(lines)):
            if lines[number].lstrip().startswith("["):
                break
            if depth < len(tables) and re.match(rf"^\s*{re.escape(tables[depth])}\s*[.=]", lines[number]):
                return number + 1
        return start + 1
    return None


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
