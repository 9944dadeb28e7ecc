"""What a package holds for a person with ordinary tools: certificates, signatures as openssl takes them, and a README.

None of these files is believed by `gateway.evidence.verifying`: all of them follow from the others.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime

import orjson
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from audit.tree.checkpoint import VerifierKey, parse_checkpoint
from gateway.evidence.package import Evidence
from gateway.evidence.verifying import SIZE_LIMIT
from gateway.keys.certificates import to_pem
from gateway.keys.errors import TrustError
from gateway.registry.read import targets
from gateway.registry.read.entries import Content
from gateway.wire.signing import thumbprint
from gateway.wire.strict import split


def present(evidence: Evidence) -> dict[str, bytes]:
    """The files for people, by name. Raises TrustError `evidence-incomplete`."""
    signed = {"request": (evidence.request, evidence.request_registry)}
    if evidence.response is not None and evidence.response_registry is not None:
        signed["response"] = (evidence.response, evidence.response_registry)
    files: dict[str, bytes] = {}
    anchors: set[bytes] = set()
    algorithms: dict[str, str] = {}
    moments: dict[str, int] = {}
    for part, (jws, version) in signed.items():
        content = _content(evidence.registries[version])
        anchors |= set(content.anchors)
        segments = split(jws, SIZE_LIMIT)
        algorithms[part], moments[part] = segments.header["alg"], segments.claims["iat"]
        files[f"certificates/{part}.pem"] = to_pem(_certificate(content, segments.header["x5t#S256"]))
        files[f"check/{part}.claims.json"] = json.dumps(segments.claims, indent=2, ensure_ascii=False).encode() + b"\n"
        files[f"check/{part}.signature"] = _for_openssl(algorithms[part], segments.signature)
    files["certificates/anchors.pem"] = b"".join(to_pem(anchor) for anchor in sorted(anchors))
    files |= _log(evidence)
    files["check/check.py"] = _CHECK.encode()
    files["README.txt"] = _readme(evidence, algorithms, moments).encode()
    return files


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


def _log(evidence: Evidence) -> dict[str, bytes]:
    export = orjson.loads(evidence.log)
    checkpoint = parse_checkpoint(export["checkpoint"])
    key = VerifierKey.parse(export["log_key"])
    line = next(
        signature for signature in checkpoint.signatures if (signature.name, signature.key_id) == (key.name, key.key_id)
    )
    public = Ed25519PublicKey.from_public_bytes(key.public_key)
    files = {
        "log/checkpoint.txt": checkpoint.note.encode(),
        "log/key.txt": f"{key}\n".encode(),
        "log/key.pem": public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        "check/checkpoint.signature": line.signature,
        "check/checkpoint.text": checkpoint.text.encode(),
    }
    for number, item in enumerate(export["entries"], 1):
        files[f"log/entry-{number}.json"] = item["entry"].encode()
    if evidence.stamped is not None:
        files["timestamp/checkpoint.txt"] = orjson.loads(evidence.stamped)["checkpoint"].encode()
    return files


def _readme(evidence: Evidence, algorithms: Mapping[str, str], moments: Mapping[str, int]) -> str:
    chapters = [_INTRODUCTION.format(id=evidence.message_id)]
    chapters += [_signature(part, algorithms[part], moments[part]) for part in algorithms]
    if "response" in algorithms:
        chapters.append(_ANSWER)
    chapters += [_body(part) for part in sorted(evidence.bodies)]
    if not evidence.bodies:
        chapters.append(_NO_BODIES)
    code = "".join(f"    {line}".rstrip() + "\n" for line in _CHECK.splitlines())
    chapters += [_JOSE.format(code=code), _registry(evidence), _LOG]
    if evidence.timestamp is not None:
        chapters.append(_TIMESTAMP)
    chapters.append(_ALL)
    return "\n".join(chapters)


_INTRODUCTION = """\
EVIDENCE OF ONE EXCHANGE
========================

This package shows what was asked and answered in the exchange {id}, who signed it, who vouched for
their keys at that time, and what the log of one of the two nodes recorded about it.

Suomeksi: Paketti osoittaa, mitä sanomanvaihdossa pyydettiin ja vastattiin, kuka sen allekirjoitti, kuka vahvisti
allekirjoittajan avaimen ja mitä lokiin kirjattiin. Alla olevat komennot tarkistavat sen tavallisilla välineillä.
På svenska: Paketet visar vad som begärdes och besvarades i meddelandeutbytet, vem som undertecknade det, vem som
intygade nycklarna och vad som loggades. Kommandona nedan kontrollerar det med vanliga verktyg.

Unpack the package, go to its folder, and run the lines that begin with a dollar sign (without it) in a shell with
openssl 3 and the usual Unix tools. What is said after each block is what you should see.
"""


def _signature(part: str, algorithm: str, moment: int) -> str:
    verify = (
        f"openssl dgst -sha256 -verify {part}.public.pem -signature check/{part}.signature {part}.signed"
        if algorithm == "ES256"
        else f"openssl pkeyutl -verify -pubin -inkey {part}.public.pem -rawin -in {part}.signed "
        f"-sigfile check/{part}.signature"
    )
    seen = "Verified OK" if algorithm == "ES256" else "Signature Verified Successfully"
    form = (
        "the third part of the message, base64url decoded, its two numbers written in DER as openssl wants them"
        if algorithm == "ES256"
        else "the third part of the message, base64url decoded"
    )
    when = datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M:%S")
    return f"""\
The {part} is signed
{"-" * (len(part) + 14)}
{part}.jws is a compact JWS (RFC 7515), signed with {algorithm} at {when} UTC. What is signed is its first
two parts; check/{part}.signature is {form}.

    $ openssl x509 -in certificates/{part}.pem -pubkey -noout > {part}.public.pem
    $ cut -d. -f1,2 {part}.jws | tr -d '\\n' > {part}.signed
    $ {verify}

"{seen}". The header of the message names the certificate by its SHA-256, and an authority of the network issued it:

    $ cut -d. -f1 {part}.jws | tr '_-' '/+' | sed 's/$/===/' | head -c -1 | openssl base64 -d -A | grep x5t
    $ openssl x509 -in certificates/{part}.pem -outform der | openssl dgst -sha256 -binary | basenc --base64url
    $ openssl verify -partial_chain -attime {moment} -CAfile certificates/anchors.pem certificates/{part}.pem

Both thumbprints are the same (but for "=" at the end), and openssl says "OK". What the message says stands, for
reading, in check/{part}.claims.json; the names of the claims are explained in the protocol's page.
"""


_ANSWER = """\
The response answers this request
---------------------------------
The claim "req" of the response is the SHA-256 of the request's text:

    $ tr -d '\\n' < request.jws | openssl dgst -sha256 -binary | base64
    $ grep '"req"' check/response.claims.json
"""


def _body(part: str) -> str:
    return f"""\
The body of the {part}
{"-" * (len(part) + 16)}
The claim "dig" of the {part} is the SHA-256 of its body. The body holds personal data: handle it accordingly.

    $ openssl dgst -sha256 -binary bodies/{part} | base64
    $ grep '"dig"' check/{part}.claims.json
"""


_NO_BODIES = """\
The bodies
----------
The bodies are not part of this package: they were not to be kept, were left out, or the key of the person whom they
are about was destroyed. Their digests (the claims "dig") stay provable.
"""

_JOSE = """\
The same with a JOSE library
----------------------------
Any JOSE library that knows ES256 and EdDSA will do. With Python and PyJWT, check/check.py is:

{code}
    > python3 check/check.py
"""

_CHECK = """\
import pathlib

import jwt
from cryptography import x509

for jws in sorted(pathlib.Path(".").glob("*.jws")):
    pem = pathlib.Path("certificates", jws.stem + ".pem").read_bytes()
    key = x509.load_pem_x509_certificate(pem).public_key()
    options = {"verify_exp": False, "verify_aud": False}
    claims = jwt.decode(jws.read_text(), key, algorithms=["ES256", "EdDSA"], options=options)
    print(jws.name, "is signed for", claims["iss"])
"""


def _registry(evidence: Evidence) -> str:
    versions = ", ".join(f"registry/{version}/" for version in sorted(evidence.registries))
    certificates = ["request"] + (["response"] if evidence.response_registry is not None else [])
    versions_of = {"request": evidence.request_registry, "response": evidence.response_registry}
    lines = "\n".join(
        f"    $ grep -o -F \"$(grep -v -e '-----' certificates/{part}.pem | tr -d '\\n')\" "
        f"registry/{versions_of[part]}/targets/members.json"
        for part in certificates
    )
    return f"""\
The registry vouched for the certificates
-----------------------------------------
{versions} is the network's registry as it was then: The Update Framework's signed metadata, and the files that it
covers. The certificate stands in members.json:

{lines}

That members.json is the one that was signed is shown by any client of The Update Framework that starts from the
network's root metadata, which you should have from someone you trust and not from here.
"""


_LOG = """\
The log of the node
-------------------
log/entry-*.json are the log's entries about this exchange. log/checkpoint.txt is what the log signed about itself:
its name, its size, and the hash of a Merkle tree (RFC 6962, RFC 9162) over all of its entries.

    $ head -n 3 log/checkpoint.txt | cmp - check/checkpoint.text
    $ cp check/checkpoint.signature log.signature
    $ openssl pkeyutl -verify -pubin -inkey log/key.pem -rawin -in check/checkpoint.text -sigfile log.signature

"Signature Verified Successfully". The log's key is listed with its node in the registry. That the entries are in the
tree is shown by the hashes in log/export.json: begin with SHA-256 of a zero byte and the entry, and join it with each
hash in turn, a byte 01 before each pair, as RFC 9162 section 2.1.3.2 has it; `yhdyspinta evidence verify` does that.
"""

_TIMESTAMP = """\
The time stamp
--------------
timestamp/checkpoint.tsr is an RFC 3161 time stamp over timestamp/checkpoint.txt, a checkpoint that includes the
entries. timestamp/authority.pem is the certificate of its authority; better, use one from someone you trust:

    $ openssl ts -verify -in timestamp/checkpoint.tsr -data timestamp/checkpoint.txt -CAfile timestamp/authority.pem

"Verification: OK".
"""

_ALL = """\
All of it at once
-----------------
    > yhdyspinta evidence verify --root ROOT.json PACKAGE.zip

works without a network and without a node. ROOT.json is the root metadata of the registry, from someone you trust.
"""
