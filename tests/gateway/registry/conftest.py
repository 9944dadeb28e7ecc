"""A small network: an authority, members with keys of both kinds, and what the registry would say of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gateway.keys import certificates
from gateway.keys.certificates import PrivateKey
from gateway.keys.errors import TrustError
from gateway.keys.tls import peer_pin
from gateway.registry.read.entries import (
    Content,
    County,
    Member,
    Municipality,
    Node,
    RoleTerm,
    ServiceDescriptor,
    SigningCertificate,
    Subsystem,
    Witness,
)
from gateway.wire.identifiers import MemberId, ServiceId, SubsystemId
from gateway.wire.signing import Algorithm
from texts import Text

NOW = datetime(2026, 3, 2, 12, 0, 0, tzinfo=UTC)
RECEPTION = SubsystemId.parse("FI-DEMO/GOV/0000000-0/vastaanotto")
KOTKA = SubsystemId.parse("FI-DEMO/MUN/0000001-9/kotoutuminen")
KYMENLAAKSO = SubsystemId.parse("FI-DEMO/WSC/0000002-7/sosiaali")
NEED = ServiceId(RECEPTION, "palvelutarve")
INBOX = ServiceId(KOTKA, "vastaanota")


def named(text: str) -> Text:
    """A name that is the same in three languages."""
    return Text(text, text, text)


@dataclass(frozen=True)
class Authority:
    """An anchor and its key; what it issues counts from a day before `now` until a year after."""

    key: PrivateKey
    certificate: bytes
    now: datetime

    @classmethod
    def make(cls, now: datetime = NOW, algorithm: Algorithm = "ES256") -> Authority:
        key = certificates.new_private_key(algorithm)
        certificate = certificates.issue_authority(
            key, "Testiverkko", not_before=now - timedelta(days=1), not_after=now + timedelta(days=3650), serial=1
        )
        return cls(key, certificate, now)

    @property
    def _term(self) -> dict[str, datetime]:
        return {"not_before": self.now - timedelta(days=1), "not_after": self.now + timedelta(days=365)}

    def signing(self, member: MemberId, key: PrivateKey, **changes: Any) -> bytes:
        """A signing certificate of a member."""
        options: dict[str, Any] = {**self._term, "serial": 2} | changes
        return certificates.issue_signing(
            certificates.Issuer(self.certificate, self.key), key.public_key(), member, certificates.Term(**options)
        )

    def tls(self, member: MemberId, node: str, key: PrivateKey, **changes: Any) -> bytes:
        """A TLS certificate of a node."""
        options: dict[str, Any] = {**self._term, "serial": 3} | changes
        return certificates.issue_tls(
            certificates.Issuer(self.certificate, self.key),
            key.public_key(),
            member,
            node,
            certificates.Term(**options),
        )


def vouched(member: MemberId, certificate: bytes, algorithm: Algorithm = "ES256") -> SigningCertificate:
    """A signing certificate as the registry lists it."""
    return SigningCertificate(member, certificate, algorithm, NOW - timedelta(hours=12), NOW + timedelta(days=200))


@dataclass(frozen=True)
class Network:
    """Content of a registry, and the authority that issued its certificates."""

    authority: Authority
    content: Content

    def with_member(self, index: int, **changes: Any) -> Content:
        """The content with one member changed."""
        members = list(self.content.members)
        members[index] = replace(members[index], **changes)
        return replace(self.content, members=tuple(members))


def build() -> Network:
    """Three members, of which the municipality's node speaks for the county too."""
    authority = Authority.make()
    keys = [certificates.new_private_key(kind) for kind in ("ES256", "EdDSA", "ES256")]
    ids = (RECEPTION, KOTKA, KYMENLAAKSO)
    roles = ("reception-centre", "municipality", "county")
    listed = tuple(
        Member(
            one.member,
            named(one.member.code),
            (RoleTerm(role),),
            (Subsystem(one, named(one.code)),),
            (vouched(one.member, authority.signing(one.member, key), certificates.key_algorithm(key.public_key())),),
        )
        for one, role, key in zip(ids, roles, keys, strict=True)
    )
    nodes = tuple(
        Node(
            id=name,
            owner=owner,
            address=f"https://{name}.example:5500",
            pins=frozenset({peer_pin(authority.tls(owner, name, certificates.new_private_key("ES256")))}),
            serves=serves,
            log_origin=f"{name}.example/log",
            log_key=f"{name}.example/log+00000000+AAAA",
        )
        for name, owner, serves in (
            ("vastaanotto-1", RECEPTION.member, frozenset[MemberId]()),
            ("kotka-1", KOTKA.member, frozenset({KYMENLAAKSO.member})),
        )
    )
    content = Content(
        instance="FI-DEMO",
        name=named("Testiverkko"),
        anchors=(authority.certificate,),
        members=listed,
        nodes=nodes,
        services=(
            ServiceDescriptor(
                NEED,
                "query",
                named("Palvelutarve"),
                frozenset({"service-need-lookup"}),
                frozenset({"identity", "contact/address"}),
                "Patient",
                ("urn:oid:1.2.246.21",),
            ),
            ServiceDescriptor(INBOX, "inbox", named("Saapuvat"), keep_bodies=True),
            ServiceDescriptor(ServiceId(KOTKA, "vanha"), "rest", named("Vanha"), enabled=False),
        ),
        municipalities=(Municipality("285", named("Kotka"), "08", KOTKA), Municipality("091", named("Helsinki"))),
        counties=(County("08", named("Kymenlaakso"), KYMENLAAKSO),),
        witnesses=(Witness("todistaja.example", "todistaja.example+00000000+AAAA"),),
        rulebook=b"rules: []\n",
    )
    return Network(authority, content)


@pytest.fixture(scope="session")
def network() -> Network:
    """The small network, made once: its values never change."""
    return build()


def refused(code: str, call: Callable[[], object]) -> TrustError:
    """That a call is refused with a code; the error."""
    with pytest.raises(TrustError) as refusal:
        call()
    assert refusal.value.code == code
    return refusal.value
