"""What sections of a node's settings share: how an address, a subsystem, a service and a database are written."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from gateway.wire.identifiers import IdentifierError, MemberId, ServiceId, SubsystemId


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class IsSecret:
    """Marks a setting that names a file which nobody but the node may read."""


SecretFile = Annotated[Path, IsSecret()]
SecretFileOrNone = Annotated[Path | None, IsSecret()]


def _address(value: object) -> object:
    if isinstance(value, str):
        host, separator, port = value.rpartition(":")
        if not separator or not host or not port.isdigit() or int(port) > 65535:
            raise ValueError('write an address as "HOST:PORT", for example "127.0.0.1:8443"')
        return {"host": host.strip("[]"), "port": int(port)}
    return value


def _subsystem(value: str) -> str:
    try:
        return str(SubsystemId.parse(value))
    except IdentifierError as error:
        raise ValueError(f"write a subsystem as INSTANCE/CLASS/MEMBER/SUBSYSTEM: {error}") from None


def _member(value: str) -> str:
    try:
        return str(MemberId.parse(value))
    except IdentifierError as error:
        raise ValueError(f"write a member as INSTANCE/CLASS/MEMBER: {error}") from None


def _service(value: str) -> str:
    try:
        return str(ServiceId.parse(value))
    except IdentifierError as error:
        raise ValueError(f"write a service as INSTANCE/CLASS/MEMBER/SUBSYSTEM/SERVICE: {error}") from None


def database_url(value: str) -> str:
    try:
        kind = make_url(value).get_backend_name()
    except (ArgumentError, ValueError):
        kind = ""
    if kind not in ("sqlite", "postgresql"):
        raise ValueError("name a database as sqlite:///FILE or postgresql+psycopg://USER@HOST/DATABASE")
    return value


Member = Annotated[str, AfterValidator(_member)]
Subsystem = Annotated[str, AfterValidator(_subsystem)]
Service = Annotated[str, AfterValidator(_service)]


class Address(Section):
    """Where a listener listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


#: Addresses that only this machine reaches. A name is none of them: what it means is said elsewhere.
LOOPBACK = frozenset({"127.0.0.1", "::1"})

Listen = Annotated[Address, BeforeValidator(_address)]

IDENTITY: str = "whether identifiers that its records name together are believed to be one person; see `[identity]`"
Identity = Literal["authoritative", "claimed"]
