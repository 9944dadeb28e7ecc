"""What the trust registry says: its members, nodes, services and territories, as values.

Periods are dates in Finnish time, both ends included; an open end is None. Certificates are DER; a pin or thumbprint is
the SHA-256 of a certificate's DER in unpadded base64url.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Literal
from zoneinfo import ZoneInfo

from consent.rules.standing import StandingRequest
from gateway.wire.identifiers import MemberId, ServiceId, SubsystemId
from gateway.wire.signing import Algorithm
from texts import Text

ServiceKind = Literal["query", "inbox", "acceptance", "notice", "rest"]
SERVICE_KINDS: tuple[ServiceKind, ...] = ("query", "inbox", "acceptance", "notice", "rest")
ROLES = frozenset({
    "reception-centre", "immigration-service", "municipality", "county", "placement-authority",
    "employment-authority", "benefits-agency", "representative", "development-centre", "population-register",
    "producer", "supervisor", "ministry", "unemployment-fund", "aland-health", "family-group-home",
    "processing-centre", "assistance-system", "court", "pre-trial-authority",
})  # fmt: skip
_FINLAND = ZoneInfo("Europe/Helsinki")


def log_origin(node: str) -> str:
    """The origin of a node's log, and the name of the key that signs its checkpoints."""
    return f"yhdyspinta/{node}"


def witness_name(node: str) -> str:
    """The name under which a node cosigns the logs of others."""
    return f"yhdyspinta/{node}/witness"


def finnish_day(at: datetime) -> date:
    """The calendar day in Finland at an instant: laws and duties begin and end at Finnish midnight."""
    return at.astimezone(_FINLAND).date()


@dataclass(frozen=True, slots=True)
class Period:
    """Days on which something holds, both ends included; None is an open end."""

    begins: date | None = None
    ends: date | None = None

    def covers(self, day: date | None) -> bool:
        """Whether it holds on that day; None asks for nothing and is always covered."""
        if day is None:
            return True
        return (self.begins is None or self.begins <= day) and (self.ends is None or day <= self.ends)


ALWAYS = Period()


@dataclass(frozen=True, slots=True)
class RoleTerm:
    """A role (one of ROLES) and when it is held."""

    role: str
    period: Period = ALWAYS


@dataclass(frozen=True, slots=True)
class Contact:
    """Who answers for something at a member: an office rather than a person where there is one."""

    topic: Text
    name: str
    email: str | None = None
    phone: str | None = None


@dataclass(frozen=True, slots=True)
class Subsystem:
    """One of a member's information systems. Without roles of its own it has those of its member."""

    id: SubsystemId
    name: Text
    roles: tuple[RoleTerm, ...] = ()


@dataclass(frozen=True, slots=True)
class SigningCertificate:
    """A certificate with which a member signs messages, and from when until when (UTC) the registry vouches for it."""

    member: MemberId
    certificate: bytes
    algorithm: Algorithm
    not_before: datetime
    not_after: datetime


@dataclass(frozen=True, slots=True)
class Member:
    """An organisation of the network."""

    id: MemberId
    name: Text
    roles: tuple[RoleTerm, ...] = ()
    subsystems: tuple[Subsystem, ...] = ()
    signing: tuple[SigningCertificate, ...] = ()
    contacts: tuple[Contact, ...] = ()


@dataclass(frozen=True, slots=True)
class Node:
    """A running gateway: its address (`https://HOST:PORT` or `xroad:…`), TLS pins, and the members it may speak for.

    `witness` are the keys with which it cosigns the logs of others, in the text form of signed notes, the newest last;
    `messages` the versions of what travels that it takes.
    """

    id: str
    owner: MemberId
    address: str
    pins: frozenset[str]
    serves: frozenset[MemberId]
    log_origin: str | None = None
    log_key: str | None = None
    witness: tuple[str, ...] = ()
    messages: tuple[int, ...] = (1,)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One operation of a REST service; the path may hold `*` for one segment and end in `**`."""

    method: str
    path: str


@dataclass(frozen=True, slots=True)
class ServiceDescriptor:
    """What a subsystem offers, to whom it can be of use, and what may come out of it.

    `schema` is the resource type of what it carries, `locator` the identifier systems by which a person can be asked
    for; with `keep_bodies` both nodes hold the bodies, sealed, as evidence.
    """

    id: ServiceId
    kind: ServiceKind
    title: Text
    purposes: frozenset[str] = frozenset()
    categories: frozenset[str] = frozenset()
    schema: str | None = None
    locator: tuple[str, ...] = ()
    endpoints: tuple[Endpoint, ...] = ()
    openapi: str | None = None
    keep_bodies: bool = False
    enabled: bool = True


@dataclass(frozen=True, slots=True)
class Municipality:
    """A municipality (three-digit code), the county it belongs to, and the subsystem that receives for it."""

    code: str
    name: Text
    county: str | None = None
    subsystem: SubsystemId | None = None
    period: Period = ALWAYS


@dataclass(frozen=True, slots=True)
class County:
    """A wellbeing services county and the subsystem that receives for it."""

    code: str
    name: Text
    subsystem: SubsystemId | None = None
    period: Period = ALWAYS


@dataclass(frozen=True, slots=True)
class Witness:
    """A log witness and its public key in the text form of signed notes."""

    name: str
    key: str


@dataclass(frozen=True, slots=True)
class Territory:
    """Codes of the municipalities and counties for which a member acts."""

    municipalities: frozenset[str] = frozenset()
    counties: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Recipients:
    """Who receives for a municipality of residence; None where the registry names nobody."""

    municipality: SubsystemId | None
    county: SubsystemId | None


@dataclass(frozen=True, slots=True)
class Asked:
    """What a member asks to have listed: itself, its node, and what that offers."""

    member: Member
    node: Node
    services: tuple[ServiceDescriptor, ...] = ()


@dataclass(frozen=True, slots=True)
class Content:
    """Everything that the registry's authorities write, before it is signed and after it is believed."""

    instance: str
    name: Text
    anchors: tuple[bytes, ...] = ()
    members: tuple[Member, ...] = ()
    nodes: tuple[Node, ...] = ()
    services: Collection[ServiceDescriptor] = ()
    municipalities: tuple[Municipality, ...] = ()
    counties: tuple[County, ...] = ()
    witnesses: tuple[Witness, ...] = ()
    rulebook: bytes = field(default=b"", repr=False)
    standing_requests: tuple[StandingRequest, ...] = ()
