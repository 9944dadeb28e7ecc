"""The sources that a node reads by itself, as its settings name them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from gateway.settings.values import (
    IDENTITY,
    LOOPBACK,
    Identity,
    Listen,
    SecretFile,
    SecretFileOrNone,
    Section,
    Subsystem,
)


class _SourceSettings(Section):
    """What every source has: its name, whose client it is, and what its records become."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,47}$", description="its name in logs and books; keep it for good")
    subsystem: Subsystem = Field(description="the subsystem that hands over")
    adapter: str = Field(description="the adapter that reads it")
    identity: Identity = Field("claimed", description=IDENTITY)
    flow: str = Field("F1", description="the flow that its records are handed over in")
    reports: Path = Field(Path("reports"), description="folder for what could not be handed over")


class _PolledSettings(_SourceSettings):
    """A source that is looked at again and again."""

    poll_seconds: float = Field(10.0, ge=0.1, le=86400, description="how often it is looked at")
    retry_limit_seconds: float = Field(300.0, ge=1, le=86400, description="longest wait after a failure")


class _DropSettings(_PolledSettings):
    """A folder whose files are taken one by one, or several as one drop."""

    pattern: str = Field("*", description="which files: * and ? as in a shell")
    parts: list[str] = Field(
        default_factory=list,
        description="where several files are one drop, the name of each; what `*` stands for is the same in all",
    )
    marker: str = Field("", description="name of the file that says that a drop is whole")

    @model_validator(mode="after")
    def _whole_drop(self) -> Self:
        patterns = [*self.parts, *((self.marker,) if self.marker else ())]
        if self.marker and not self.parts:
            raise ValueError('marker: name the files that it stands for: parts = ["persons-*.csv"]')
        if len({pattern.count("*") for pattern in patterns}) > 1 or len(set(patterns)) < len(patterns):
            raise ValueError("parts, marker: each name has as many `*` as the others, and is another")
        return self


class DirectorySource(_DropSettings):
    """A directory that is watched."""

    kind: Literal["directory"] = Field(description="a watched directory")
    folder: Path = Field(description="the directory")


class DatabaseSource(_PolledSettings):
    """A query on the source's database."""

    kind: Literal["database"] = Field(description="a query on a database")
    url: str = Field(description="address of the database, without a password")
    password: SecretFileOrNone = Field(None, description="file with the password")
    query: str = Field(description="SELECT of the rows to hand over")
    changed: str = Field(description="column that grows with every change of a row")
    key: str = Field(description="column that is different in every row")
    children: dict[str, str] = Field(
        default_factory=dict,
        description="SELECTs of what each row has several of, with its `key`, by the field that they become",
    )
    page: int = Field(500, ge=1, le=100_000, description="rows read at once")
    overlap_seconds: float = Field(
        0.0, ge=0, le=86400, description="how far back is read again, for rows that were committed late"
    )


class HttpSource(_PolledSettings):
    """Pages of an HTTP API."""

    kind: Literal["http"] = Field(description="pages of an HTTP API")
    url: str = Field(description="address of the first page")
    records: str = Field("", description="JSON Pointer to a page's records; empty: the body")
    next: str = Field("", description="JSON Pointer to the next page; empty: the Link header")
    parameter: str = Field("", description="query parameter for a next page that is a token and no address")
    token_url: str | None = Field(None, description="where access tokens are had, by OAuth 2.0")
    client_id: str | None = Field(None, description="the node's id there")
    client_secret: SecretFileOrNone = Field(None, description="file with the client secret")
    scope: str = Field("", description="scope that is asked for")
    timeout_seconds: float = Field(30.0, gt=0, le=600, description="how long a page is waited for")
    certificate_authority: Path | None = Field(None, description="issuer of its TLS certificate; none: the system's")

    @model_validator(mode="after")
    def _whole_credentials(self) -> HttpSource:
        given = [setting is not None for setting in (self.token_url, self.client_id, self.client_secret)]
        if any(given) and not all(given):
            raise ValueError("client credentials are token_url, client_id and client_secret, all three")
        return self


class SftpSource(_DropSettings):
    """A drop on an SFTP server."""

    kind: Literal["sftp"] = Field(description="a drop on an SFTP server")
    host: str = Field(description="the server")
    port: int = Field(22, ge=1, le=65535, description="its port")
    user: str = Field(description="the node's user there")
    key: SecretFile = Field(description="file with the node's private SSH key, in PKCS#8")
    passphrase: SecretFileOrNone = Field(None, description="file with the passphrase of the key")
    known_hosts: Path = Field(description="file with the server's host key")
    folder: str = Field("", description="folder on the server")


class MllpSource(_SourceSettings):
    """A listener for HL7 v2 messages over MLLP."""

    kind: Literal["mllp"] = Field(description="a listener for HL7 v2 messages")
    listen: Listen = Field(description="where it listens")
    senders: list[str] = Field(
        default_factory=list, description="names of the `[[clients]]` whose certificates may send"
    )
    plain: bool = Field(False, description="without TLS: on loopback only, for an engine on the same machine")
    message_bytes: int = Field(1024 * 1024, ge=1024, le=64 * 1024 * 1024, description="longest message")
    message_seconds: float = Field(30.0, gt=0, le=600, description="how long a message may take from its first byte")
    idle_seconds: float = Field(3600.0, gt=0, le=604800, description="how long a connection may be silent")
    connections: int = Field(8, ge=1, le=1000, description="connections of one sender at once")
    window_seconds: float = Field(
        7 * 86400.0, ge=60, le=366 * 86400, description="how long a message is known by its number (MSH-10)"
    )

    @model_validator(mode="after")
    def _whole_door(self) -> MllpSource:
        if self.plain and self.listen.host not in LOOPBACK:
            raise ValueError(
                "plain: without TLS it listens on 127.0.0.1 or ::1 only; leave `plain` out, or listen there"
            )
        if self.plain and self.senders:
            raise ValueError("senders: they are known by their certificates, which without TLS nobody shows")
        if not self.plain and not self.senders:
            raise ValueError("senders: name the `[[clients]]` whose certificates may send")
        return self


PolledSettings = DirectorySource | DatabaseSource | HttpSource | SftpSource
SourceSettings = Annotated[
    DirectorySource | DatabaseSource | HttpSource | SftpSource | MllpSource,
    Field(discriminator="kind"),
]
