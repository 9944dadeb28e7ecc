"""What a package holds for a person with ordinary tools: certificates, signatures as openssl takes them, and a README.

All of them follow from what was signed, and a person reads and compares with them: one that was altered deceives. So
`gateway.evidence.verifying` makes them anew and names each that differs, and the README holds each against what was
signed before it says what stands in it.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from audit.tree.checkpoint import Checkpoint, VerifierKey, parse_checkpoint
from gateway.evidence.package import MESSAGE_LIMIT, Evidence
from gateway.evidence.readme import CHECK, SignedLog, SignedPart, readme
from gateway.keys.certificates import to_pem
from gateway.keys.errors import TrustError
from gateway.registry.read import targets
from gateway.registry.read.entries import Content
from gateway.wire.signing import thumbprint
from gateway.wire.strict import Segments, split


@dataclass(frozen=True, slots=True)
class _Message:
    part: str
    jws: str
    registry: int


def present(evidence: Evidence) -> dict[str, bytes]:
    """The files for people, by name. Raises TrustError `evidence-incomplete`."""
    files: dict[str, bytes] = {}
    anchors: dict[bytes, int] = {}
    signed: list[SignedPart] = []
    for message in _messages(evidence):
        content = _content(evidence.registries[message.registry])
        anchors = dict.fromkeys(content.anchors, message.registry) | anchors
        segments = split(message.jws, MESSAGE_LIMIT)
        signed.append(SignedPart(message.part, segments.header["alg"], segments.claims["iat"], message.registry))
        files |= _message_files(message, segments, content)
    numbered = list(enumerate(sorted(anchors), 1))
    files |= {f"certificates/anchor-{number}.pem": to_pem(anchor) for number, anchor in numbered}
    log = orjson.loads(evidence.log)
    files |= _log_files(log) | _proof_files("log", log)
    if evidence.stamped is not None:
        stamped = orjson.loads(evidence.stamped)
        files["timestamp/checkpoint.txt"] = stamped["checkpoint"].encode()
        files |= _proof_files("timestamp", stamped)
    files["check/check.py"] = CHECK.encode()
    about = _signed_log(log, evidence.request_registry)
    files["README.txt"] = readme(evidence, signed, {n: anchors[anchor] for n, anchor in numbered}, about).encode()
    return files


def _messages(evidence: Evidence) -> Iterator[_Message]:
    yield _Message("request", evidence.request, evidence.request_registry)
    if evidence.response is not None and evidence.response_registry is not None:
        yield _Message("response", evidence.response, evidence.response_registry)


def _message_files(message: _Message, segments: Segments, content: Content) -> dict[str, bytes]:
    _, claims, _ = message.jws.split(".")
    return {
        f"certificates/{message.part}.pem": to_pem(_certificate(content, segments.header["x5t#S256"])),
        # The very bytes that were signed, so that a comparison needs no reading of JSON.
        f"check/{message.part}.claims.json": base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)),
        f"check/{message.part}.signature": _for_openssl(segments.header["alg"], segments.signature),
    }


def _content(files: Mapping[str, bytes]) -> Content:
    return targets.read({name: files[f"targets/{name}"] for name in targets.FILES})


def _certificate(content: Content, name: str) -> bytes:
    for member in content.members:
        for listed in member.signing:
            if thumbprint(listed.certificate) == name:
                return listed.certificate
    raise TrustError("evidence-incomplete", "the registry's version that is kept does not list the certificate")


def _for_openssl(algorithm: str, signature: bytes) -> bytes:
    """JOSE writes r and s side by side; openssl wants them in DER. Ed25519 is the same in both."""
    if algorithm != "ES256":
        return signature
    return encode_dss_signature(int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big"))


def _log_files(export: Mapping[str, Any]) -> dict[str, bytes]:
    checkpoint, key = parse_checkpoint(export["checkpoint"]), VerifierKey.parse(export["log_key"])
    public = Ed25519PublicKey.from_public_bytes(key.public_key)
    return {
        "log/checkpoint.txt": checkpoint.note.encode(),
        "log/key.txt": f"{key}\n".encode(),
        "log/key.pem": public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        "check/checkpoint.signature": _log_signature(checkpoint, key),
        "check/checkpoint.text": checkpoint.text.encode(),
        **{f"log/entry-{number}.json": item["entry"].encode() for number, item in enumerate(export["entries"], 1)},
    }


def _log_signature(checkpoint: Checkpoint, key: VerifierKey) -> bytes:
    for signature in checkpoint.signatures:
        if (signature.name, signature.key_id) == (key.name, key.key_id):
            return signature.signature
    raise TrustError("evidence-incomplete", "the log's checkpoint has no signature of the log's own key")


def _proof_files(folder: str, export: Mapping[str, Any]) -> dict[str, bytes]:
    """For each entry the way to the root: a line for each hash, and the side on which it stands."""
    size = parse_checkpoint(export["checkpoint"]).size
    return {
        f"{folder}/entry-{number}.proof": "".join(
            f"{side} {step}\n" for side, step in zip(_sides(item["index"], size), item["proof"], strict=True)
        ).encode()
        for number, item in enumerate(export["entries"], 1)
    }


def _sides(index: int, size: int) -> Iterator[str]:
    """On which side each hash of an inclusion proof stands: RFC 9162 section 2.1.3.2."""
    position, last = index, size - 1
    while last > 0:
        if position & 1 or position == last:
            yield "left"
            while position and not position & 1:
                position >>= 1
                last >>= 1
        else:
            yield "right"
        position >>= 1
        last >>= 1


def _signed_log(export: Mapping[str, Any], registry: int) -> SignedLog:
    key = VerifierKey.parse(export["log_key"])
    # The key's id, four bytes, makes the first five characters of its signatures; the sixth belongs to both.
    line = f"\u2014 {key.name} {base64.b64encode(key.key_id).decode()[:5]}"
    return SignedLog(key.name, line, len(export["entries"]), registry)
