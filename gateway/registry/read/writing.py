"""The registry's files as an authority writes them: the inverse of `gateway.registry.read.targets`."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import orjson

from gateway.registry.read.entries import (
    Content,
    County,
    Member,
    Municipality,
    Node,
    Period,
    RoleTerm,
    ServiceDescriptor,
)
from gateway.registry.read.targets import FORMAT, MEMBERS, NETWORK, RULEBOOK, SERVICES, TERRITORIES, WITNESSES
from gateway.wire.identifiers import SubsystemId
from texts import Text

# Up to this many bytes people may still read the file; beyond it, blanks only cost time.
_READABLE_LIMIT = 1_000_000


def write(content: Content) -> dict[str, bytes]:
    """The registry's files: the same content always gives the same bytes."""
    return {
        NETWORK: _dump(
            {
                "instance": content.instance,
                "name": _say(content.name),
                "anchors": [_b64(anchor) for anchor in content.anchors],
            }
        ),
        MEMBERS: _dump(
            {
                "members": [write_member(member) for member in content.members],
                "nodes": [write_node(node) for node in content.nodes],
                # A registry without any is written as before there were any.
                **(
                    {"standing_requests": [asked.to_dict() for asked in content.standing_requests]}
                    if content.standing_requests
                    else {}
                ),
            }
        ),
        SERVICES: _dump({"subsystems": write_services(content.services)}),
        TERRITORIES: _dump(
            {
                "counties": [_write_area(county) for county in content.counties],
                "municipalities": [
                    _kept({**_write_area(municipality), "county": municipality.county})
                    for municipality in content.municipalities
                ],
            }
        ),
        WITNESSES: _dump({"witnesses": [{"name": witness.name, "key": witness.key} for witness in content.witnesses]}),
        RULEBOOK: content.rulebook,
    }


def write_member(member: Member) -> dict[str, Any]:
    """The JSON of one member."""
    return {
        "id": str(member.id),
        "name": _say(member.name),
        "roles": _write_roles(member.roles),
        "subsystems": [
            {"code": subsystem.id.code, "name": _say(subsystem.name), "roles": _write_roles(subsystem.roles)}
            for subsystem in member.subsystems
        ],
        "signing": [
            {
                "certificate": _b64(certificate.certificate),
                "algorithm": certificate.algorithm,
                "from": _write_time(certificate.not_before),
                "until": _write_time(certificate.not_after),
            }
            for certificate in member.signing
        ],
        "contacts": [
            _kept({"topic": _say(contact.topic), "name": contact.name, "email": contact.email, "phone": contact.phone})
            for contact in member.contacts
        ],
    }


def write_node(node: Node) -> dict[str, Any]:
    """The JSON of one node."""
    log = {"origin": node.log_origin, "key": node.log_key} if node.log_origin is not None else None
    return _kept(
        {
            "id": node.id,
            "owner": str(node.owner),
            "address": node.address,
            "pins": sorted(node.pins),
            "serves": sorted(str(serve) for serve in node.serves),
            "log": log,
            "witness": list(node.witness) or None,
            # A node of the first version is written as before there were others.
            "messages": list(node.messages) if node.messages != (1,) else None,
        }
    )


def write_services(services: Iterable[ServiceDescriptor]) -> list[dict[str, Any]]:
    """The JSON of services, grouped by their subsystem."""
    groups: dict[SubsystemId, list[dict[str, Any]]] = {}
    for service in services:
        groups.setdefault(service.id.subsystem, []).append(
            _kept(
                {
                    "code": service.id.code,
                    "kind": service.kind,
                    "title": _say(service.title),
                    "purposes": sorted(service.purposes),
                    "categories": sorted(service.categories),
                    "schema": service.schema,
                    "locator": list(service.locator),
                    "endpoints": [{"method": endpoint.method, "path": endpoint.path} for endpoint in service.endpoints],
                    "openapi": service.openapi,
                    "keep_bodies": service.keep_bodies,
                    "enabled": service.enabled,
                }
            )
        )
    return [{"subsystem": str(subsystem), "services": listed} for subsystem, listed in groups.items()]


def _write_area(area: Municipality | County) -> dict[str, Any]:
    return _kept(
        {
            "code": area.code,
            "name": _say(area.name),
            "subsystem": str(area.subsystem) if area.subsystem is not None else None,
            **_write_period(area.period),
        }
    )


def _write_roles(terms: Iterable[RoleTerm]) -> list[dict[str, Any]]:
    return [_kept({"role": term.role, **_write_period(term.period)}) for term in terms]


def _write_period(period: Period) -> dict[str, str | None]:
    return {
        "from": period.begins.isoformat() if period.begins is not None else None,
        "until": period.ends.isoformat() if period.ends is not None else None,
    }


def _say(text: Text) -> dict[str, str]:
    return {"fi": text.fi, "sv": text.sv, "en": text.en}


def _b64(value: bytes) -> str:
    return base64.b64encode(value).decode("ascii")


def _write_time(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _kept(document: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if value is not None}


def _dump(document: dict[str, Any]) -> bytes:
    packed = orjson.dumps({"format": FORMAT, **document}, option=orjson.OPT_APPEND_NEWLINE)
    if len(packed) > _READABLE_LIMIT:
        return packed
    return orjson.dumps({"format": FORMAT, **document}, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
