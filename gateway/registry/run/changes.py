"""What changes in a registry: taking members, nodes and certificates in and out, and saying what differs.

All of it is pure: content in, content out. Nothing is published here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, TypeVar

from consent.rules.standing import StandingRequest
from gateway.keys.errors import TrustError
from gateway.registry.read import writing
from gateway.registry.read.entries import (
    Asked,
    Content,
    County,
    Member,
    Municipality,
    Node,
    RoleTerm,
    ServiceDescriptor,
    SigningCertificate,
)
from gateway.wire.identifiers import MemberId
from gateway.wire.signing import thumbprint

_T = TypeVar("_T")
_Area = TypeVar("_Area", Municipality, County)


class What(StrEnum):
    """What became of a thing between two contents."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"


_SIGNS = {What.ADDED: "+", What.REMOVED: "-", What.CHANGED: "~"}


@dataclass(frozen=True, slots=True)
class Change:
    """One difference: what kind of thing, which one, what became of it, and which fields changed."""

    kind: str
    name: str
    what: What
    fields: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{_SIGNS[self.what]} {self.kind} {self.name}" + (f": {', '.join(self.fields)}" if self.fields else "")


def with_member(
    content: Content,
    asked: Asked,
    *,
    signing: SigningCertificate | None,
    pin: str | None,
    roles: tuple[str, ...] | None = None,
) -> Content:
    """Take a member and its node in, or add to what is listed of them. Keys that are listed stay listed beside the new.

    `roles` are those that the authority grants instead of those that were asked for. A member that is listed already
    keeps its names and roles unless `roles` says otherwise. Raises TrustError `request-refused`.
    """
    member, node = asked.member, asked.node
    if member.id.instance != content.instance:
        raise TrustError("request-refused", f"{member.id} is not of the instance {content.instance}")
    members = {listed.id: listed for listed in content.members}
    nodes = {listed.id: listed for listed in content.nodes}
    held, running = members.get(member.id), nodes.get(node.id)
    if running is not None and running.owner != member.id:
        raise TrustError("request-refused", f"the node {node.id} belongs to {running.owner}", "choose another id")
    if signing is None and (held is None or not held.signing):
        raise TrustError("request-refused", f"{member.id} has no signing certificate yet, and asks for none")
    if pin is None and running is None:
        raise TrustError("request-refused", f"the node {node.id} has no TLS certificate yet, and asks for none")
    if held is not None:
        subsystems = {subsystem.id: subsystem for subsystem in held.subsystems} | {
            subsystem.id: subsystem for subsystem in member.subsystems
        }
        member = replace(
            held, subsystems=tuple(subsystems.values()), contacts=member.contacts or held.contacts, signing=held.signing
        )
    if roles is not None:
        member = replace(member, roles=tuple(RoleTerm(role) for role in roles))
    if signing is not None:
        member = replace(member, signing=(*member.signing, signing))
    pins = (running.pins if running is not None else frozenset()) | ({pin} if pin is not None else frozenset())
    node = replace(
        node,
        pins=pins,
        serves=(running.serves if running is not None else frozenset()) | node.serves | {member.id},
        witness=tuple(dict.fromkeys((*(running.witness if running is not None else ()), *node.witness))),
    )
    anew = {service.id.subsystem for service in asked.services}
    return replace(
        content,
        members=tuple((members | {member.id: member}).values()),
        nodes=tuple((nodes | {node.id: node}).values()),
        services=(*(service for service in content.services if service.id.subsystem not in anew), *asked.services),
    )


def without_member(content: Content, member: MemberId) -> Content:
    """Take a member out, with its nodes, its services and what it receives for. Raises TrustError if it is not in."""
    if all(listed.id != member for listed in content.members):
        raise TrustError("request-refused", f"the registry lists no member {member}")

    def emptied(areas: tuple[_Area, ...]) -> tuple[_Area, ...]:
        return tuple(
            replace(area, subsystem=None) if area.subsystem is not None and area.subsystem.member == member else area
            for area in areas
        )

    return replace(
        content,
        members=tuple(listed for listed in content.members if listed.id != member),
        nodes=tuple(replace(node, serves=node.serves - {member}) for node in content.nodes if node.owner != member),
        services=tuple(service for service in content.services if service.id.member != member),
        municipalities=emptied(content.municipalities),
        counties=emptied(content.counties),
        standing_requests=tuple(asked for asked in content.standing_requests if asked.member != str(member)),
    )


def with_standing_request(content: Content, asked: StandingRequest) -> Content:
    """Take a standing request in, in the place of the same member's of the same id. Raises TrustError."""
    held = next((listed for listed in content.standing_requests if listed.id == asked.id), None)
    if held is not None and held.member != asked.member:
        raise TrustError("request-refused", f"{asked.id} is a standing request of {held.member}", "choose another id")
    others = tuple(listed for listed in content.standing_requests if listed.id != asked.id)
    return replace(content, standing_requests=(*others, asked))


def without_standing_request(content: Content, identifier: str) -> Content:
    """End a standing request. Raises TrustError if there is none of that id."""
    left = tuple(asked for asked in content.standing_requests if asked.id != identifier)
    if left == content.standing_requests:
        raise TrustError("request-refused", f"the registry lists no standing request {identifier}")
    return replace(content, standing_requests=left)


def without_node(content: Content, node: str) -> Content:
    """Take a node out. Raises TrustError if it is not in."""
    if all(listed.id != node for listed in content.nodes):
        raise TrustError("request-refused", f"the registry lists no node {node}")
    return replace(content, nodes=tuple(listed for listed in content.nodes if listed.id != node))


def without_certificate(content: Content, certificate: str) -> Content:
    """Revoke a signing or TLS certificate, or an anchor, by its thumbprint. Raises TrustError if none is listed."""
    changed = replace(
        content,
        anchors=tuple(anchor for anchor in content.anchors if thumbprint(anchor) != certificate),
        members=tuple(
            replace(
                member,
                signing=tuple(listed for listed in member.signing if thumbprint(listed.certificate) != certificate),
            )
            for member in content.members
        ),
        nodes=tuple(replace(node, pins=node.pins - {certificate}) for node in content.nodes),
    )
    if changed == content:
        raise TrustError("request-refused", f"the registry lists no certificate with the thumbprint {certificate}")
    if not changed.anchors:
        raise TrustError("request-refused", "this is the last anchor: without it nobody is trusted", "rotate it first")
    return changed


def without_witness(content: Content, key: str) -> Content:
    """Revoke a witness's key, given whole or as `NAME+ID`. Raises TrustError if none is listed."""

    def meant(listed: str) -> bool:
        return listed == key or listed.startswith(f"{key}+")

    changed = replace(
        content,
        nodes=tuple(
            replace(node, witness=tuple(key for key in node.witness if not meant(key))) for node in content.nodes
        ),
        witnesses=tuple(witness for witness in content.witnesses if not meant(witness.key)),
    )
    if changed == content:
        raise TrustError("request-refused", "the registry lists no such witness key", "see `registry show --json`")
    return changed


def short(key: str) -> str:
    """A witness's key as people name it: `NAME+ID`, without the key itself."""
    return "+".join(key.split("+")[:2])


def differences(old: Content, new: Content) -> tuple[Change, ...]:
    """What differs between two contents, thing by thing."""
    found: list[Change] = []
    if old.name != new.name or old.instance != new.instance:
        found.append(Change("network", new.instance, What.CHANGED, ("name",)))
    found += _compare("anchor", old.anchors, new.anchors, thumbprint, lambda _anchor: {})
    found += _compare("member", old.members, new.members, lambda member: str(member.id), _member)
    found += _compare(
        "signing certificate", _signing(old), _signing(new), lambda signing: signing[0], lambda _signing: {}
    )
    found += _compare("node", old.nodes, new.nodes, lambda node: node.id, _node)
    found += _compare("witness key", _witness_keys(old), _witness_keys(new), short, lambda _key: {})
    found += _compare("service", old.services, new.services, lambda service: str(service.id), _service)
    found += _compare("municipality", old.municipalities, new.municipalities, _area, _fields)
    found += _compare("county", old.counties, new.counties, _area, _fields)
    found += _compare(
        "standing request",
        old.standing_requests,
        new.standing_requests,
        lambda asked: asked.id,
        lambda asked: asked.to_dict(),
    )
    found += _compare("witness", old.witnesses, new.witnesses, lambda witness: witness.name, _fields)
    if old.rulebook != new.rulebook:
        found.append(Change("rulebook", "rulebook.yaml", What.CHANGED))
    return tuple(found)


def _compare(
    kind: str,
    old: Iterable[_T],
    new: Iterable[_T],
    name: Callable[[_T], str],
    fields: Callable[[_T], Mapping[str, Any]],
) -> list[Change]:
    before, after = {name(thing): thing for thing in old}, {name(thing): thing for thing in new}
    found = [Change(kind, key, What.REMOVED) for key in before.keys() - after.keys()]
    found += [Change(kind, key, What.ADDED) for key in after.keys() - before.keys()]
    for key in before.keys() & after.keys():
        was, now = before[key], after[key]
        if was is not now and was != now:
            first, second = fields(was), fields(now)
            changed = tuple(sorted(key for key in first.keys() | second.keys() if first.get(key) != second.get(key)))
            if changed:
                found.append(Change(kind, key, What.CHANGED, changed))
    return sorted(found, key=lambda change: (change.name, change.what))


def _member(member: Member) -> Mapping[str, Any]:
    return {key: value for key, value in writing.write_member(member).items() if key != "signing"}


def _signing(content: Content) -> list[tuple[str, str]]:
    return [
        (f"{member.id} {thumbprint(certificate.certificate)}", certificate.algorithm)
        for member in content.members
        for certificate in member.signing
    ]


def _node(node: Node) -> Mapping[str, Any]:
    return {key: value for key, value in writing.write_node(node).items() if key != "witness"}


def _witness_keys(content: Content) -> list[str]:
    return [key for node in content.nodes for key in node.witness]


def _service(service: ServiceDescriptor) -> Mapping[str, Any]:
    [group] = writing.write_services([service])
    [written] = group["services"]
    found: Mapping[str, Any] = written
    return found


def _area(area: Municipality | County) -> str:
    return f"{area.code} {area.period.begins or ''}".strip()


def _fields(thing: Any) -> Mapping[str, Any]:
    return {name: getattr(thing, name) for name in thing.__dataclass_fields__}
