"""Who may speak to a node: TLS between nodes, and for whom a node may speak."""

from __future__ import annotations

import ssl

from cryptography import x509

from gateway.conformance.bench import Bench, expect_refusal
from gateway.conformance.case import case
from gateway.conformance.message import Signer, compose, thumbprint
from gateway.conformance.peers import JSON, MESSAGES, Peer, expect_unbelieved
from gateway.conformance.verdicts import Failed
from gateway.conformance.wire import Answer, Request


def _question(peer: Peer) -> Request:
    draft = peer.known()
    return Request("POST", MESSAGES, (("Content-Type", JSON), ("Message", peer.message(draft))), draft.body)


def _refused(answer: Answer) -> None:
    """A handshake that fails, or 401 where the listener tells of it over HTTP."""
    if answer.status:
        expect_refusal(answer, 401)


@case("NODE-1")
def no_certificate(bench: Bench) -> None:
    """Sends a message that is good, without a TLS certificate."""
    peer = Peer.at(bench, bench.node)
    _refused(peer.send(_question(peer), None))


@case("NODE-2")
def a_strange_certificate(bench: Bench) -> None:
    """Sends a message that is good, under a certificate that the kit has issued to itself."""
    peer = Peer.at(bench, bench.node)
    _refused(peer.send(_question(peer), bench.stranger.identity))


@case("NODE-3")
def an_old_version(bench: Bench) -> None:
    """Connects with TLS 1.2 and nothing newer."""
    peer = Peer.at(bench, bench.node)
    answer = peer.send(_question(peer), peer.member.tls, ssl.TLSVersion.TLSv1_2)
    if answer.status:
        raise Failed("a handshake that fails", answer.told())


@case("NODE-4")
def the_pinned_certificate(bench: Bench) -> None:
    """Reads the certificate that the node shows, and holds it against the profile's pins."""
    peer = Peer.at(bench, bench.node)
    answer = peer.send(_question(peer), peer.member.tls)
    if not answer.certificate:
        raise Failed("a TLS certificate", answer.told())
    certificate = x509.load_der_x509_certificate(answer.certificate)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    dns = names.get_values_for_type(x509.DNSName)
    if dns != [peer.face.id]:
        raise Failed(f"{peer.face.id} as the only DNS name", ", ".join(dns))
    pin = thumbprint(answer.certificate)
    if pin not in peer.face.pins:
        raise Failed("one of the pins of the profile", pin)


@case("NODE-5")
def for_another_member(bench: Bench) -> None:
    """Sends a message that another member has signed, over the TLS identity of the node that the kit plays."""
    peer = Peer.at(bench, bench.node)
    draft = peer.known()
    signer = Signer.open(bench.other.signing)
    message = compose(signer, signer.header(), peer.claims(draft) | {"iss": bench.other.subsystem})
    expect_unbelieved(peer.post(draft.body, message), 403, "issuer-not-peer")
