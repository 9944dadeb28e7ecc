"""How a member asks to be let into a network, and what it is given: two documents that carry no secrets.

A request holds what the registry is to say of the member and its node, and a certificate request for each key, signed
by that key. The whole is signed once more: by the new signing key, so that nobody can put another's key under it, and
when a member that is listed already changes a key, by the key that the registry lists. A key with which the node is to
cosign the logs of others has no certificate: it signs the whole as it signs everything, by a cosignature, of a
checkpoint whose origin is the form of the request (so that it can be of no log) and whose root is the request's hash.
So do a key with which the node's log is to go on, and the one that it follows: by that the log hands itself on.
A first request proves that its sender holds the keys, not who that is: the authority compares the request's fingerprint
with the member over another channel.

A welcome holds the certificates, where the registry is published, and the root metadata to begin with.
Source: RFC 2986 (PKCS#10), RFC 8785 (canonical JSON).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Protocol

import orjson
import rfc8785
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from audit.tree.checkpoint import (
    Checkpoint,
    KeyType,
    LogSigner,
    NoteError,
    VerifierKey,
    WitnessSigner,
    verify_cosignature,
    verify_vouched,
)
from gateway.keys import certificates
from gateway.keys.errors import TrustError
from gateway.registry.read import targets, writing
from gateway.registry.read.entries import Asked, Content, Member, Node, ServiceDescriptor, log_origin, witness_name
from gateway.registry.read.registry import Registry
from gateway.wire.identifiers import IdentifierError, MemberId
from gateway.wire.message import MESSAGE_VERSIONS
from gateway.wire.signing import PublicKey, thumbprint

REQUEST = "yhdyspinta-enrolment/1"
WELCOME = "yhdyspinta-welcome/1"
#: A request or a welcome that is larger than this is none: bytes.
LIMIT = 4_000_000
SIGNING, TLS, WITNESS, LOG = "signing", "tls", "witness", "log"
#: The signature of the log's key that is followed.
FOLLOWED = "log-followed"


@dataclass(frozen=True, slots=True)
class TreeKeys:
    """Keys that sign trees and not messages: the node's as a witness, and its log's with the one that is to follow."""

    witness: WitnessSigner | None = None
    log: LogSigner | None = None


class Signs(Protocol):
    """What signs a request: a Signer, or whatever else gives 64 raw bytes for ES256 or EdDSA."""

    def sign(self, data: bytes) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Request:
    """What a member asks for. `signing` and `tls` are PKCS#10 in PEM, or None where no such key is asked for; a new key
    of the node as a witness is in `node.witness`.

    `signed_by` names the listed signing certificate (thumbprint) whose signature the request carries besides;
    `verify_signed_by` says whether it holds.
    """

    member: Member
    node: Node
    services: tuple[ServiceDescriptor, ...]
    signing: bytes | None
    tls: bytes | None
    signed_by: str | None
    document: dict[str, Any]

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the request, in groups of four for reading aloud."""
        return spoken(hashlib.sha256(rfc8785.dumps(self.document)).hexdigest())


@dataclass(frozen=True, slots=True)
class Welcome:
    """What a member is given: certificates in PEM, the registry's address and the root metadata to begin with.

    `witness` is the node's key as a witness that was asked for and is listed from now on.
    """

    instance: str
    member: MemberId
    node: str
    source: str
    root: bytes
    signing: bytes | None
    tls: bytes | None
    witness: str | None = None


def spoken(digest: str) -> str:
    """Hexadecimal digits in groups of four."""
    return " ".join(digest[index : index + 4] for index in range(0, len(digest), 4))


def write_request(
    asked: Asked,
    requests: dict[str, bytes],
    *,
    new: Signs | None,
    present: tuple[str, Signs] | None,
    trees: TreeKeys = TreeKeys(),
) -> bytes:
    """The request's JSON. `requests` are PKCS#10 by SIGNING and TLS; `new` is the key of the first of them.

    `present` is the thumbprint of the member's listed signing certificate and its key, when it has one. One of the two
    must sign. `trees` are the keys of trees that are to be listed for the node.
    """
    witness, log = trees.witness, trees.log
    keys = (str(witness.verifier),) if witness is not None else ()
    document: dict[str, Any] = {
        "member": writing.write_member(replace(asked.member, signing=())),
        "node": writing.write_node(replace(asked.node, pins=frozenset(), witness=keys, messages=MESSAGE_VERSIONS)),
        "services": writing.write_services(asked.services),
        "requests": {kind: pem.decode("ascii") for kind, pem in sorted(requests.items())},
    }
    if present is not None:
        document["signed_by"] = present[0]
    signed = rfc8785.dumps(document)
    signatures = {
        name: base64.b64encode(key.sign(signed)).decode("ascii")
        for name, key in (("new", new), ("present", present[1] if present is not None else None))
        if key is not None
    }
    if witness is not None:
        # At no time: it says who holds the key, and nothing about a log that was seen.
        signatures[WITNESS] = base64.b64encode(witness.cosign(_statement(signed), 0).signature).decode("ascii")
    if log is not None and log.coming is not None:
        # Both sign: the new one shows that its holder asks, the one in use that the log is handed on to it.
        for name, signature in zip((FOLLOWED, LOG), log.vouch(_statement(signed)), strict=True):
            signatures[name] = base64.b64encode(signature).decode("ascii")
    return orjson.dumps(
        {"format": REQUEST, "request": document, "signatures": signatures},
        option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE,
    )


def read_request(data: bytes) -> Request:
    """Read a request and check that the keys that it brings have signed it.

    Raises TrustError `request-malformed`, `request-refused`, `certificate-key-kind`.
    """
    outer = _load(data, REQUEST)
    try:
        document = outer["request"]
        member = targets.read_member(document["member"])
        node = targets.read_node({**document["node"], "pins": []})
        services = tuple(targets.read_offers({"subsystems": document.get("services", [])}))
        requests = {kind: _text(document["requests"], kind) for kind in (SIGNING, TLS) if kind in document["requests"]}
        signed_by = document.get("signed_by")
        signatures = {name: base64.b64decode(text, validate=True) for name, text in outer["signatures"].items()}
        signed = rfc8785.dumps(document)
    except TrustError as error:
        raise TrustError("request-malformed", error.detail) from None
    except KeyError as error:
        raise TrustError("request-malformed", f"{error.args[0]} is missing") from None
    except (
        IdentifierError,
        ValueError,
        TypeError,
        AttributeError,
        binascii.Error,
        rfc8785.CanonicalizationError,
    ) as error:
        raise TrustError("request-malformed", f"the request cannot be read: {error}") from None
    if member.signing:
        raise TrustError("request-malformed", "a request asks for certificates and brings none")
    if node.owner != member.id or not node.serves <= {member.id}:
        raise TrustError("request-refused", f"the node is not one of {member.id} alone")
    if any(service.id.member != member.id for service in services):
        raise TrustError("request-refused", f"a service is not one of {member.id}")
    if node.log_origin not in (None, log_origin(node.id)):
        raise TrustError("request-refused", f"a log of {node.id} goes by the name {log_origin(node.id)}")
    if not requests and not node.witness and LOG not in signatures:
        raise TrustError("request-malformed", "the request brings no key")
    public = {kind: certificates.requested_key(pem) for kind, pem in requests.items()}
    if len(public) == 2 and public[SIGNING] == public[TLS]:
        raise TrustError("request-refused", "signing and TLS are to have separate keys", "make two keys")
    _check_signatures(public, signatures, signed, signed_by)
    _check_witness(node, signatures, signed)
    if LOG in signatures and not _log_signed(node.log_key, node, signatures[LOG], signed):
        raise TrustError("request-refused", "the log's new key has not signed the request")
    return Request(
        member,
        node,
        services,
        requests.get(SIGNING),
        requests.get(TLS),
        signed_by,
        document | {"signatures": outer["signatures"]},
    )


def signed_by_member(request: Request, registry: Registry, at: datetime) -> bool:
    """Whether a signing key that the registry lists for this very member, and that is in force, has signed it."""
    if request.signed_by is None:
        return False
    key = registry.signing_key(request.signed_by)
    if key is None or key.member != request.member.id or not key.not_before <= at <= key.not_after:
        return False
    document = {name: value for name, value in request.document.items() if name != "signatures"}
    signature = base64.b64decode(request.document["signatures"].get("present", ""))
    return _verifies(key.public_key, signature, rfc8785.dumps(document))


def hands_log_on(request: Request, registry: Registry) -> bool:
    """Whether the log stays under the key that the registry lists, or that key itself hands it on to another."""
    listed = registry.node(request.node.id)
    if listed is None or listed.log_key is None or listed.log_key == request.node.log_key:
        return True
    if listed.owner != request.member.id:
        return True  # whose node it is not, its request is refused whatever it says
    document = {name: value for name, value in request.document.items() if name != "signatures"}
    signature = base64.b64decode(request.document["signatures"].get(FOLLOWED, ""))
    return _log_signed(listed.log_key, request.node, signature, rfc8785.dumps(document))


def believed(asked: Request, content: Content, now: datetime, *, is_checked: bool) -> bool:
    """Whether a key that the registry lists vouches for a request. Raises TrustError for one that nothing vouches for.

    `is_checked` says that somebody has compared its fingerprint with the member.
    """
    registry = Registry(content, version=0, expires=now)
    known = signed_by_member(asked, registry, now)
    renewal = any(member.id == asked.member.id for member in content.members)
    if renewal and not known and not is_checked:
        raise TrustError(
            "request-refused",
            f"{asked.member.id} is listed already, and none of its keys has signed the request",
            f"compare the fingerprint with the member ({asked.fingerprint}) and add --identity-checked",
        )
    if not hands_log_on(asked, registry) and not is_checked:
        raise TrustError(
            "request-refused",
            f"the request gives the log of {asked.node.id} another key, and the one in use has not signed it",
            "have it made by `registry enrol --renew log`; a log whose key is lost has ended: its node begins with "
            f"an empty database, and you compare the fingerprint ({asked.fingerprint}) and add --identity-checked",
        )
    return known


def write_welcome(welcome: Welcome) -> bytes:
    """The welcome's JSON."""
    document = {
        "format": WELCOME,
        "instance": welcome.instance,
        "member": str(welcome.member),
        "node": welcome.node,
        "source": welcome.source,
        "root": welcome.root.decode("utf-8"),
        "certificates": {
            kind: pem.decode("ascii")
            for kind, pem in ((SIGNING, welcome.signing), (TLS, welcome.tls))
            if pem is not None
        },
    }
    if welcome.witness is not None:
        document["witness"] = welcome.witness
    return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def read_welcome(data: bytes) -> Welcome:
    """Read a welcome. Raises TrustError `request-malformed`."""
    document = _load(data, WELCOME)
    try:
        given = document["certificates"]
        return Welcome(
            instance=str(document["instance"]),
            member=MemberId.parse(document["member"]),
            node=str(document["node"]),
            source=str(document["source"]),
            root=_text(document, "root"),
            signing=_text(given, SIGNING) if SIGNING in given else None,
            tls=_text(given, TLS) if TLS in given else None,
            witness=_text(document, WITNESS).decode() if WITNESS in document else None,
        )
    except KeyError as error:
        raise TrustError("request-malformed", f"{error.args[0]} is missing") from None
    except (IdentifierError, ValueError, TypeError, AttributeError) as error:
        raise TrustError("request-malformed", f"the welcome cannot be read: {error}") from None


def _load(data: bytes, form: str) -> dict[str, Any]:
    if len(data) > LIMIT:
        raise TrustError("request-malformed", f"the file has more than {LIMIT} bytes")
    try:
        document = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise TrustError("request-malformed", f"the file is not JSON: {error}") from None
    if not isinstance(document, dict) or document.get("format") != form:
        raise TrustError("request-malformed", f"the file is not of the form {form}")
    return document


def _text(document: dict[str, Any], name: str) -> bytes:
    value = document[name]
    if not isinstance(value, str):
        raise TypeError(f"{name} is to be a text")
    return value.encode("utf-8")


def _check_signatures(
    public: dict[str, PublicKey], signatures: dict[str, bytes], signed: bytes, signed_by: object
) -> None:
    first = public.get(SIGNING) or public.get(TLS)
    if "new" in signatures and (first is None or not _verifies(first, signatures["new"], signed)):
        raise TrustError("request-refused", "the request was changed after it was signed")
    if "new" not in signatures and "present" not in signatures:
        raise TrustError("request-refused", "the request is not signed")
    if signed_by is not None and (not isinstance(signed_by, str) or "present" not in signatures):
        raise TrustError("request-malformed", "the request names a certificate that has not signed it")


def _statement(signed: bytes) -> Checkpoint:
    """What a key signs of a request that signs checkpoints otherwise."""
    return Checkpoint(REQUEST, 1, hashlib.sha256(signed).digest())


def _log_signed(listed: str | None, node: Node, signature: bytes, signed: bytes) -> bool:
    """Whether a key of the node's log has signed a request."""
    try:
        key = VerifierKey.parse(listed or "")
        verify_vouched(key, _statement(signed), signature)
    except NoteError:
        return False
    return key.name == log_origin(node.id)


def _check_witness(node: Node, signatures: dict[str, bytes], signed: bytes) -> None:
    if len(node.witness) > 1:
        raise TrustError("request-malformed", "a request brings one key of a witness, not several")
    for text in node.witness:
        try:
            key = VerifierKey.parse(text)
            if str(key) != text or key.type == KeyType.ED25519:
                raise TrustError("request-malformed", "the witness's key is none that cosigns")
            if key.name != witness_name(node.id):
                raise TrustError("request-refused", f"{node.id} cosigns under the name {witness_name(node.id)}")
            verify_cosignature(key, _statement(signed), signatures.get(WITNESS, b""))
        except NoteError as error:
            raise TrustError("request-refused", f"the witness's key has not signed the request: {error}") from None


def _verifies(key: PublicKey, signature: bytes, data: bytes) -> bool:
    if len(signature) != 64:
        return False
    try:
        if isinstance(key, ed25519.Ed25519PublicKey):
            key.verify(signature, data)
        else:
            r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
            key.verify(encode_dss_signature(r, s), data, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True


def certificate_name(certificate: bytes) -> str:
    """Thumbprint of a certificate in PEM or DER. Raises TrustError `certificate-malformed`."""
    return thumbprint(certificates.to_der(certificate))
