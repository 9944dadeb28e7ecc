"""The registry's files and their form: what the authorities sign and the nodes read.

`network.json` (instance, anchors), `members.json` (members and nodes), `services.json`, `territories.json`,
`witnesses.json` and `rulebook.yaml`. Reading is strict about what it knows and ignores members that a later version may
add; what cannot be read is a TrustError `registry-malformed` with the file and the place in it.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, date, datetime
from typing import Any, TypeVar, cast

import orjson

from consent.rules.standing import StandingRequest
from gateway.keys.errors import TrustError
from gateway.registry.read.entries import (
    ALWAYS,
    ROLES,
    SERVICE_KINDS,
    Contact,
    Content,
    County,
    Endpoint,
    Member,
    Municipality,
    Node,
    Period,
    RoleTerm,
    ServiceDescriptor,
    ServiceKind,
    SigningCertificate,
    Subsystem,
    Witness,
)
from gateway.registry.read.offers import Offers
from gateway.wire.identifiers import IdentifierError, MemberId, ServiceId, SubsystemId
from gateway.wire.signing import Algorithm
from texts import Text

NETWORK = "network.json"
MEMBERS = "members.json"
SERVICES = "services.json"
TERRITORIES = "territories.json"
WITNESSES = "witnesses.json"
RULEBOOK = "rulebook.yaml"
FILES = (NETWORK, MEMBERS, SERVICES, TERRITORIES, WITNESSES, RULEBOOK)

FORMAT = 1
_PIN = re.compile(r"[A-Za-z0-9_-]{43}")
_NODE_ID = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
_MUNICIPALITY = re.compile(r"[0-9]{3}")
_T = TypeVar("_T")


def read(files: Mapping[str, bytes], *, services: Collection[ServiceDescriptor] | None = None) -> Content:
    """Read all files of the registry. Raises TrustError `registry-malformed` or `registry-foreign`.

    `services` is what `services.json` gave when these very bytes were read before, to spare reading them again.
    """
    missing = [name for name in FILES if name not in files]
    if missing:
        raise TrustError("registry-malformed", f"the registry has no {', '.join(missing)}")
    network = _load(files, NETWORK)
    members = _load(files, MEMBERS)
    offers = services if services is not None else read_offers(_load(files, SERVICES))
    territories = _load(files, TERRITORIES)
    witnesses = _load(files, WITNESSES)
    with _Place(NETWORK):
        instance = _string(network["instance"])
        name = _text(network["name"])
        anchors = tuple(_bytes(anchor) for anchor in _list(network["anchors"]))
    content = Content(
        instance=instance,
        name=name,
        anchors=anchors,
        members=_each(MEMBERS, "members", members, read_member),
        nodes=_each(MEMBERS, "nodes", members, read_node),
        services=offers,
        municipalities=_each(TERRITORIES, "municipalities", territories, _read_municipality),
        counties=_each(TERRITORIES, "counties", territories, _read_county),
        witnesses=_each(
            WITNESSES,
            "witnesses",
            witnesses,
            lambda witness: Witness(_string(witness["name"]), _string(witness["key"])),
        ),
        standing_requests=_each(MEMBERS, "standing_requests", members, StandingRequest.from_dict),
        rulebook=files[RULEBOOK],
    )
    for member in content.members:
        if member.id.instance != instance:
            raise TrustError("registry-foreign", f"{member.id} is not of the instance {instance}")
    return content


class _Place:
    """Says where in a file it was that something could not be read."""

    def __init__(self, place: str) -> None:
        self._place = place

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, KeyError):
            raise TrustError("registry-malformed", f"{self._place}: {error.args[0]} is missing") from None
        if isinstance(error, IdentifierError | ValueError | TypeError | AttributeError):
            raise TrustError("registry-malformed", f"{self._place}: {error}") from None


class _Shared:
    """Keeps one of each set of codes: services by the thousand offer the same few."""

    def __init__(self) -> None:
        self._sets: dict[tuple[str, ...], frozenset[str]] = {}

    def codes(self, value: object) -> frozenset[str]:
        key = tuple(_list(value))
        found = self._sets.get(key)
        if found is None:
            found = self._sets[key] = frozenset(_string(part) for part in key)
        return found


def _load(files: Mapping[str, bytes], name: str) -> dict[str, Any]:
    try:
        document = orjson.loads(files[name])
    except orjson.JSONDecodeError as error:
        raise TrustError("registry-malformed", f"{name}: {error}") from None
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise TrustError("registry-malformed", f"{name}: this is not format {FORMAT}, the one that this node reads")
    return document


def _each(file: str, name: str, document: Mapping[str, Any], read_one: Callable[[Any], _T]) -> tuple[_T, ...]:
    items = document.get(name, [])
    done: list[_T] = []
    try:
        for item in _list(items):
            done.append(read_one(item))  # noqa: PERF401
    except KeyError as error:
        raise TrustError("registry-malformed", f"{file}: /{name}/{len(done)}: {error.args[0]} is missing") from None
    except (ValueError, TypeError, AttributeError) as error:
        raise TrustError("registry-malformed", f"{file}: /{name}/{len(done)}: {error}") from None
    return tuple(done)


def read_member(value: Mapping[str, Any]) -> Member:
    """One member from its JSON. Raises ValueError, TypeError, KeyError or AttributeError."""
    member = MemberId.parse(value["id"])
    return Member(
        id=member,
        name=_text(value["name"]),
        roles=_roles(value.get("roles", [])),
        subsystems=tuple(
            Subsystem(
                SubsystemId(member, subsystem["code"]), _text(subsystem["name"]), _roles(subsystem.get("roles", []))
            )
            for subsystem in value.get("subsystems", [])
        ),
        signing=tuple(
            SigningCertificate(
                member,
                _bytes(certificate["certificate"]),
                _algorithm(certificate["algorithm"]),
                _time(certificate["from"]),
                _time(certificate["until"]),
            )
            for certificate in value.get("signing", [])
        ),
        contacts=tuple(
            Contact(
                _text(contact["topic"]),
                _string(contact["name"]),
                _maybe(contact.get("email")),
                _maybe(contact.get("phone")),
            )
            for contact in value.get("contacts", [])
        ),
    )


def read_node(value: Mapping[str, Any]) -> Node:
    """One node from its JSON. Raises ValueError, TypeError, KeyError or AttributeError."""
    node, address = value["id"], value["address"]
    if not isinstance(node, str) or not _NODE_ID.fullmatch(node):
        raise ValueError("a node's id is a DNS name in small letters")
    if not isinstance(address, str) or not address.startswith(("https://", "xroad:")):
        raise ValueError("a node's address begins with https:// or xroad:")
    pins = frozenset(_string(pin) for pin in _list(value["pins"]))
    if not all(_PIN.fullmatch(pin) for pin in pins):
        raise ValueError("a pin is a SHA-256 in base64url, 43 characters")
    # Half of a log's name and key would verify nothing, so both are there or neither is.
    log = value.get("log")
    return Node(
        id=node,
        owner=MemberId.parse(value["owner"]),
        address=address.rstrip("/"),
        pins=pins,
        serves=frozenset(MemberId.parse(served) for served in value.get("serves", [])),
        log_origin=_string(log["origin"]) if log is not None else None,
        log_key=_string(log["key"]) if log is not None else None,
        witness=tuple(_string(key) for key in _list(value.get("witness", []))),
        messages=_versions(value.get("messages", [1])),
    )


def read_offers(document: Mapping[str, Any]) -> Offers:
    """The services of a document in the form of `services.json`. Raises TrustError."""
    shared = _Shared()
    groups: dict[SubsystemId, Mapping[str, Any]] = {}
    size = 0
    for subsystem, group, count in _each(SERVICES, "subsystems", document, _group):
        if subsystem in groups:
            raise TrustError("registry-malformed", f"{SERVICES}: {subsystem} is listed twice")
        groups[subsystem] = group
        size += count

    def read_group(group: Mapping[str, Any]) -> list[ServiceDescriptor]:
        with _Place(f"{SERVICES}: {group.get('subsystem')}"):
            return _read_services(group, shared)

    return Offers(groups, read_group, size)


def _group(value: Mapping[str, Any]) -> tuple[SubsystemId, Mapping[str, Any], int]:
    return SubsystemId.parse(value["subsystem"]), value, len(_list(value["services"]))


def _read_services(value: Mapping[str, Any], shared: _Shared) -> list[ServiceDescriptor]:
    subsystem = SubsystemId.parse(value["subsystem"])
    return [
        ServiceDescriptor(
            id=ServiceId(subsystem, described["code"]),
            kind=_kind(described["kind"]),
            title=_text(described["title"]),
            purposes=shared.codes(described.get("purposes", ())),
            categories=shared.codes(described.get("categories", ())),
            schema=_maybe(described.get("schema")),
            locator=tuple(_string(system) for system in _list(described.get("locator", ()))),
            endpoints=tuple(
                Endpoint(_string(endpoint["method"]), _string(endpoint["path"]))
                for endpoint in described.get("endpoints", ())
            ),
            openapi=_maybe(described.get("openapi")),
            keep_bodies=_flag(described.get("keep_bodies", False)),
            enabled=_flag(described.get("enabled", True)),
        )
        for described in value["services"]
    ]


def _read_municipality(value: Mapping[str, Any]) -> Municipality:
    code = value["code"]
    if not isinstance(code, str) or not _MUNICIPALITY.fullmatch(code):
        raise ValueError("a municipality's code has three digits")
    return Municipality(
        code, _text(value["name"]), _maybe(value.get("county")), _subsystem(value.get("subsystem")), _period(value)
    )


def _read_county(value: Mapping[str, Any]) -> County:
    return County(_string(value["code"]), _text(value["name"]), _subsystem(value.get("subsystem")), _period(value))


def _roles(value: object) -> tuple[RoleTerm, ...]:
    terms = tuple(RoleTerm(_string(item["role"]), _period(item)) for item in _list(value))
    for term in terms:
        if term.role not in ROLES:
            raise ValueError(f"{term.role!r} is not a role")
    return terms


def _period(value: Mapping[str, Any]) -> Period:
    begins, ends = value.get("from"), value.get("until")
    if begins is None and ends is None:
        return ALWAYS
    return Period(
        date.fromisoformat(begins) if begins is not None else None,
        date.fromisoformat(ends) if ends is not None else None,
    )


def _text(value: Mapping[str, Any]) -> Text:
    return Text(_string(value["fi"]), _string(value["sv"]), _string(value["en"]))


def _string(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("a text is missing or empty")
    return value


def _maybe(value: object) -> str | None:
    return _string(value) if value is not None else None


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError("true or false was expected")
    return value


def _versions(value: object) -> tuple[int, ...]:
    versions = _list(value)
    if not versions or not all(type(version) is int and version > 0 for version in versions):
        raise ValueError("the versions of messages are whole numbers from 1")
    return tuple(sorted(set(versions)))


def _list(value: object) -> list[Any]:
    if not isinstance(value, list | tuple):
        raise TypeError("a list was expected")
    return cast("list[Any]", value)


def _bytes(value: object) -> bytes:
    try:
        return binascii.a2b_base64(_string(value), strict_mode=True)
    except binascii.Error:
        raise ValueError("bytes are written in base64") from None


def _time(value: object) -> datetime:
    moment = datetime.fromisoformat(_string(value))
    if moment.tzinfo is None:
        raise ValueError("a time says its zone, for example 2026-01-01T00:00:00Z")
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("a time lies outside the calendar") from None


def _algorithm(value: object) -> Algorithm:
    if value not in ("ES256", "EdDSA"):
        raise ValueError("the algorithm is ES256 or EdDSA")
    return value


def _kind(value: object) -> ServiceKind:
    if value not in SERVICE_KINDS:
        raise ValueError(f"a service is one of {', '.join(SERVICE_KINDS)}")
    return value


def _subsystem(value: object) -> SubsystemId | None:
    return SubsystemId.parse(_string(value)) if value is not None else None
