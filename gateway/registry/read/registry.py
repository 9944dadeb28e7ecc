"""Who is who, and whose key: one frozen snapshot of the trust registry.

A Registry is built from verified content and answers each question by one look-up, however many members there are. It
never changes; a refresh makes another. Public keys are read, and their certificates checked against the registry's
anchors, when they are first asked for: a registry of ten thousand members is ready before most of them ever speak.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from typing import TypeVar

from audit.tree.checkpoint import NoteError, VerifierKey
from consent.rules.standing import StandingRequest
from gateway.keys import certificates
from gateway.keys.errors import TrustError
from gateway.registry.read.asked import is_vouched
from gateway.registry.read.entries import (
    Content,
    County,
    Member,
    Municipality,
    Node,
    Recipients,
    ServiceDescriptor,
    SigningCertificate,
    Subsystem,
    Territory,
    Witness,
    finnish_day,
    witness_name,
)
from gateway.registry.read.offers import Offers
from gateway.wire.identifiers import MemberId, ServiceId, SubsystemId
from gateway.wire.signing import SigningKey, thumbprint

_Area = TypeVar("_Area", Municipality, County)
_NOWHERE = Territory()


class Registry:
    """A snapshot of the trust registry, good until `expires` (UTC). `version` grows with each publication."""

    def __init__(self, content: Content, *, version: int, expires: datetime) -> None:
        """Index the content. Raises TrustError where it contradicts itself."""
        self.content = content
        self.version = version
        self.expires = expires
        self._members = {member.id: member for member in content.members}
        self._nodes = {node.id: node for node in content.nodes}
        _unique("member", len(self._members), len(content.members))
        _unique("node", len(self._nodes), len(content.nodes))
        self._subsystems = {subsystem.id: subsystem for member in content.members for subsystem in member.subsystems}
        offers = content.services
        self._offers = offers if isinstance(offers, Offers) else Offers.given(offers)
        for subsystem in self._offers.subsystems():
            if subsystem not in self._subsystems:
                raise TrustError("registry-malformed", f"services are listed for {subsystem}, which is not registered")
        self._by_member: dict[MemberId, list[Node]] = {}
        self._pins: dict[str, Node] = {}
        for node in content.nodes:
            self._place(node)
        self._certificates: dict[str, SigningCertificate] = {}
        for member in content.members:
            for certificate in member.signing:
                self._vouch(certificate)
        self._keys: dict[str, SigningKey | None] = {}
        self._tls: dict[str, certificates.Checked | None] = {}
        self._municipalities = _by_code(content.municipalities)
        self._counties = _by_code(content.counties)
        self._territories = self._settle()
        self._asked: dict[str, list[StandingRequest]] = {}
        self._vouched: dict[tuple[StandingRequest, date], bool] = {}
        for asked in content.standing_requests:
            self._asked.setdefault(asked.member, []).append(asked)

    @property
    def instance(self) -> str:
        """The name of the network, the first part of every identifier in it."""
        return self.content.instance

    @property
    def rulebook(self) -> bytes:
        """The rulebook in force in this network, as published."""
        return self.content.rulebook

    @property
    def anchors(self) -> tuple[bytes, ...]:
        """Certificates (DER) of the authorities that issue the members' certificates."""
        return self.content.anchors

    @property
    def witnesses(self) -> tuple[Witness, ...]:
        """Log witnesses that the network trusts: those that are no nodes, then the nodes, each under its own name."""
        of_nodes = (
            Witness(witness_name(node.id), key)
            for node in self.content.nodes
            for key in node.witness
            if key.startswith(f"{witness_name(node.id)}+")
        )
        return tuple(dict.fromkeys((*self.content.witnesses, *of_nodes)))

    @property
    def witness_keys(self) -> tuple[VerifierKey, ...]:
        """The keys of those witnesses. A key that nobody can read vouches for nothing, and is left out."""
        found = []
        for witness in self.witnesses:
            try:
                found.append(VerifierKey.parse(witness.key))
            except NoteError:
                continue
        return tuple(found)

    def lists_witness(self, key: str) -> bool:
        """Whether this key (text form) is one of a log witness."""
        return any(witness.key == key for witness in self.witnesses)

    def renewed(self, *, version: int, expires: datetime) -> Registry:
        """The same registry, signed anew: another version and expiry, without indexing it again."""
        fresh = copy.copy(self)
        fresh.version = version
        fresh.expires = expires
        return fresh

    def expired(self, now: datetime) -> bool:
        """Whether its time is over: then no data moves."""
        return now >= self.expires

    def members(self) -> Iterator[Member]:
        """All members, in the order of the registry."""
        return iter(self.content.members)

    def member(self, member: MemberId) -> Member | None:
        return self._members.get(member)

    def subsystem(self, subsystem: SubsystemId) -> Subsystem | None:
        return self._subsystems.get(subsystem)

    def service(self, service: ServiceId) -> ServiceDescriptor | None:
        """The descriptor of a service, enabled or not."""
        return self._offered(service.subsystem).get(service.code)

    def services_of(self, subsystem: SubsystemId, kind: str | None = None) -> tuple[ServiceDescriptor, ...]:
        """A subsystem's services, of one kind or of all."""
        return tuple(service for service in self._offered(subsystem).values() if kind is None or service.kind == kind)

    def node(self, node: str) -> Node | None:
        """The node with this id."""
        return self._nodes.get(node)

    def nodes_of(self, member: MemberId) -> tuple[Node, ...]:
        """The nodes that may speak for a member."""
        return tuple(self._by_member.get(member, ()))

    def node_by_pin(self, pin: str) -> Node | None:
        """The node whose TLS certificate has this SHA-256 (see `gateway.keys.tls.peer_pin`)."""
        return self._pins.get(pin)

    def tls_certificate(self, node: Node, certificate: bytes) -> certificates.Checked | None:
        """The TLS certificate (DER) of a node, if it is of its profile and names that node; whoever asks knows its pin.

        A pin says that the registry's authority has seen the certificate, not what for.
        """
        pin = thumbprint(certificate)
        if pin not in node.pins:
            return None
        try:
            return self._tls[pin]
        except KeyError:
            try:
                checked = certificates.check_tls(certificate, self.content.anchors, node.id)
            except TrustError:
                checked = None
            self._tls[pin] = checked
            return checked

    def signing_key(self, certificate: str) -> SigningKey | None:
        """The key of the signing certificate with this thumbprint; None if unlisted or not fit for signing.

        Valid when both the registry and the certificate say so. Revoked is what the registry no longer lists.
        """
        try:
            return self._keys[certificate]
        except KeyError:
            listed = self._certificates.get(certificate)
            if listed is None:
                # Not remembered: else a stranger's made-up thumbprints would fill the memory.
                return None
            key = self._keys[certificate] = self._key(listed)
            return key

    def roles_of(self, party: MemberId | SubsystemId, at: datetime) -> frozenset[str]:
        """The roles held at an instant; a subsystem without roles of its own has its member's."""
        if isinstance(party, SubsystemId):
            subsystem = self._subsystems.get(party)
            if subsystem is None:
                return frozenset()
            if not subsystem.roles:
                return self.roles_of(party.member, at)
            terms = subsystem.roles
        else:
            member = self._members.get(party)
            terms = member.roles if member is not None else ()
        day = finnish_day(at)
        return frozenset(term.role for term in terms if term.period.covers(day))

    def recipients(self, municipality: str, at: datetime) -> Recipients:
        """Who receives for people who live in a municipality (three-digit code)."""
        found = _in_force(self._municipalities.get(municipality, ()), at)
        if found is None:
            return Recipients(None, None)
        county = _in_force(self._counties.get(found.county, ()), at) if found.county is not None else None
        return Recipients(found.subsystem, county.subsystem if county is not None else None)

    def county_of(self, municipality: str, at: datetime | None = None) -> str | None:
        """Code of the county of a municipality; None if it has none. Without `at` the last that is known."""
        found = _in_force(self._municipalities.get(municipality, ()), at)
        return found.county if found is not None else None

    def territory_of(self, party: MemberId | SubsystemId, at: datetime | None = None) -> Territory:
        """The municipalities and counties for which a subsystem, or any subsystem of a member, receives."""
        settled = self._territories.get(party)
        if settled is None:
            return _NOWHERE
        day = finnish_day(at) if at is not None else None
        return Territory(
            frozenset(municipality.code for municipality in settled[0] if municipality.period.covers(day)),
            frozenset(county.code for county in settled[1] if county.period.covers(day)),
        )

    def standing_requests(self, member: MemberId, at: datetime) -> tuple[StandingRequest, ...]:
        """What a member asks once for all, as far as it stands on the day and is the member's own word."""
        day = finnish_day(at)
        return tuple(
            asked
            for asked in self._asked.get(str(member), ())
            if asked.stands(day) and self._is_vouched(asked, day, at)
        )

    def vouches_for(self, asked: StandingRequest, at: datetime) -> bool:
        """Whether a standing request is its own member's word, by a key that counts at this moment."""
        return self._is_vouched(asked, finnish_day(at), at)

    def _is_vouched(self, asked: StandingRequest, day: date, at: datetime) -> bool:
        """Whether a standing request is signed by its member. Once a day: keys end, and signatures cost."""
        key = (asked, day)
        vouched = self._vouched.get(key)
        if vouched is None:
            vouched = self._vouched[key] = is_vouched(asked, self.signing_key, at)
        return vouched

    def municipality(self, code: str, at: datetime | None = None) -> Municipality | None:
        return _in_force(self._municipalities.get(code, ()), at)

    def county(self, code: str, at: datetime | None = None) -> County | None:
        return _in_force(self._counties.get(code, ()), at)

    def _offered(self, subsystem: SubsystemId) -> Mapping[str, ServiceDescriptor]:
        try:
            return self._offers.of(subsystem)
        except TrustError:
            # One subsystem's unreadable list is its own outage and not the network's. (Publishing refuses such a list.)
            return {}

    def _place(self, node: Node) -> None:
        if node.owner not in self._members:
            raise TrustError("registry-malformed", f"node {node.id} is owned by no registered member")
        for member in node.serves | {node.owner}:
            self._by_member.setdefault(member, []).append(node)
        for pin in node.pins:
            if self._pins.setdefault(pin, node) is not node:
                raise TrustError(
                    "certificate-claimed-twice", f"nodes {self._pins[pin].id} and {node.id} claim one TLS certificate"
                )

    def _vouch(self, certificate: SigningCertificate) -> None:
        name = thumbprint(certificate.certificate)
        other = self._certificates.setdefault(name, certificate)
        if other.member != certificate.member:
            raise TrustError(
                "certificate-claimed-twice",
                f"members {other.member} and {certificate.member} claim one signing certificate",
            )
        if name in self._pins:
            raise TrustError(
                "certificate-claimed-twice",
                f"a certificate of {certificate.member} is listed for signing and for TLS",
                "use separate keys for TLS and for signing",
            )

    def _key(self, listed: SigningCertificate) -> SigningKey | None:
        try:
            checked = certificates.check_signing(listed.certificate, self.content.anchors)
        except TrustError:
            return None
        if checked.algorithm != listed.algorithm:
            return None
        return SigningKey(
            member=listed.member,
            algorithm=listed.algorithm,
            public_key=checked.public_key,
            not_before=max(listed.not_before, checked.not_before),
            not_after=min(listed.not_after, checked.not_after),
        )

    def _settle(self) -> dict[MemberId | SubsystemId, tuple[list[Municipality], list[County]]]:
        settled: dict[MemberId | SubsystemId, tuple[list[Municipality], list[County]]] = {}
        for municipality in self.content.municipalities:
            if municipality.subsystem is not None:
                for party in (municipality.subsystem, municipality.subsystem.member):
                    settled.setdefault(party, ([], []))[0].append(municipality)
        for county in self.content.counties:
            if county.subsystem is not None:
                for party in (county.subsystem, county.subsystem.member):
                    settled.setdefault(party, ([], []))[1].append(county)
        return settled


def _unique(kind: str, distinct: int, listed: int) -> None:
    if distinct != listed:
        raise TrustError("registry-malformed", f"a {kind} is listed twice")


def _by_code(listed: Iterable[_Area]) -> dict[str, list[_Area]]:
    found: dict[str, list[_Area]] = {}
    for area in listed:
        found.setdefault(area.code, []).append(area)
    return found


def _in_force(listed: Sequence[_Area], at: datetime | None) -> _Area | None:
    """The one in force at that instant; without an instant, the last of them."""
    if at is None:
        return listed[-1] if listed else None
    day = finnish_day(at)
    return next((area for area in listed if area.period.covers(day)), None)
