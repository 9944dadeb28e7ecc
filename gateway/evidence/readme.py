"""The README of a package: commands for openssl and the usual Unix tools, and what each of them should say.

Each command ends well only if what it looks at follows from what was signed. What a person reads is decoded from the
signed text by the commands themselves. Whoever changes a sentence here changes `gateway.evidence.package.FORMAT`, since
a package is compared with the README of its form.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from gateway.evidence.package import Evidence


@dataclass(frozen=True, slots=True)
class SignedPart:
    """A signed message: `request` or `response`, its algorithm, when (Unix time), and which registry vouched."""

    name: str
    algorithm: str
    moment: int
    registry: int


@dataclass(frozen=True, slots=True)
class SignedLog:
    """The log's name, how its line of signature begins, how many entries are shown, which registry lists its key."""

    name: str
    line: str
    entries: int
    registry: int


def readme(evidence: Evidence, parts: Sequence[SignedPart], anchors: Mapping[int, int], log: SignedLog) -> str:
    """The text. `anchors` names, for each number of an anchor's file, the registry's version that lists it."""
    chapters = [_INTRODUCTION.format(id=evidence.message_id)]
    chapters += [_signature(part) for part in parts]
    if evidence.response is not None:
        chapters.append(_ANSWER)
    chapters += [_body(part) for part in sorted(evidence.bodies)]
    if not evidence.bodies:
        chapters.append(_NO_BODIES)
    chapters += [_registry(evidence, parts, anchors), _log(log), _entries(evidence, log)]
    if evidence.timestamp is not None:
        chapters += [_TIMESTAMP, "\n".join(_included("timestamp", number) for number in range(1, log.entries + 1))]
    code = "".join(f"    {line}".rstrip() + "\n" for line in CHECK.splitlines())
    chapters += [_JOSE.format(code=code), _ALL]
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
openssl 3 and the usual Unix tools, all of them and in this order. "cmp" says nothing if two files are the same; "grep"
prints what it was to find. A line that says that files differ, that fails, or that prints nothing where something
should be seen, shows that the package was altered: `set -e` lets the shell stop there.

These lines are a part of the package, and whoever alters a package can alter them too. `yhdyspinta evidence verify`
compares them with those that it would write itself.
"""


def _decoded(part: str, position: int, target: str) -> str:
    return (
        f"cut -d. -f{position} {part}.jws | tr -- '-_' '+/' | "
        f"awk '{{ while (length($0) % 4) $0 = $0 \"=\"; print }}' | base64 -d > {target}"
    )


def _signature(part: SignedPart) -> str:
    name, is_ecdsa = part.name, part.algorithm == "ES256"
    verify = (
        f"openssl dgst -sha256 -verify {name}.public.pem -signature check/{name}.signature {name}.signed"
        if is_ecdsa
        else f"openssl pkeyutl -verify -pubin -inkey {name}.public.pem -rawin -in {name}.signed "
        f"-sigfile check/{name}.signature"
    )
    seen = "Verified OK" if is_ecdsa else "Signature Verified Successfully"
    form = (
        "the third part of the message, base64url decoded, its two numbers written in DER as openssl wants them"
        if is_ecdsa
        else "the third part of the message, base64url decoded"
    )
    when = datetime.fromtimestamp(part.moment, UTC).strftime("%Y-%m-%d %H:%M:%S")
    return f"""\
The {name} is signed
{"-" * (len(name) + 14)}
{name}.jws is a compact JWS (RFC 7515), signed with {part.algorithm} at {when} UTC. What is signed is its first
two parts; check/{name}.signature is {form}.

    $ openssl x509 -in certificates/{name}.pem -pubkey -noout > {name}.public.pem
    $ cut -d. -f1,2 {name}.jws | tr -d '\\n' > {name}.signed
    $ {_decoded(name, 3, f"{name}.third")}
    $ cut -d. -f3 {name}.jws | tr -d '\\n' > {name}.third.text
    $ base64 < {name}.third | tr '+/' '-_' | tr -d '=\\n' | cmp - {name}.third.text
    $ {_same_signature(part)}
    $ {verify}

"{seen}". The header of the message names the certificate by its SHA-256, and an authority of the network issued it:

    $ {_decoded(name, 1, f"{name}.header")}
    $ grep -o -F "\\"$({_thumbprint(name)})\\"" {name}.header
    $ cat certificates/anchor-*.pem > anchors.pem
    $ openssl verify -partial_chain -attime {part.moment} -CAfile anchors.pem certificates/{name}.pem

The thumbprint is found in the header, and openssl says "OK". What the message says is decoded from what was signed.
Read it here, one claim a line; the names of the claims are explained in the protocol's page:

    $ {_decoded(name, 2, f"{name}.claims")}
    $ cmp {name}.claims check/{name}.claims.json
    $ tr , '\\n' < {name}.claims
"""


def _same_signature(part: SignedPart) -> str:
    """The line that holds check/*.signature against the third part of the message."""
    if part.algorithm != "ES256":
        return f"cmp {part.name}.third check/{part.name}.signature"
    # openssl prints the two numbers in capitals and without leading zeros.
    return (
        f"openssl asn1parse -inform der -in check/{part.name}.signature | "
        "awk -F: '/INTEGER/ { printf \"%64s\", $NF }' | tr ' A-F' '0a-f' > numbers; "
        f"od -An -v -tx1 {part.name}.third | tr -d ' \\n' | cmp - numbers"
    )


def _thumbprint(name: str) -> str:
    return (
        f"openssl x509 -in certificates/{name}.pem -outform der | openssl dgst -sha256 -binary | "
        "base64 | tr '+/' '-_' | tr -d ="
    )


_ANSWER = """\
The response answers this request
---------------------------------
The claim "req" of the response is the SHA-256 of the request's text, which this line finds there:

    $ grep -o '"req" *: *"[^"]*"' response.claims | grep -F "sha-256=:$(tr -d '\\n' < request.jws | openssl dgst -sha256 -binary | base64):"
"""  # noqa: E501


def _body(part: str) -> str:
    return f"""\
The body of the {part}
{"-" * (len(part) + 16)}
The claim "dig" of the {part} is the SHA-256 of its body, which this line finds in what was signed. The body holds
personal data: handle it accordingly.

    $ grep -o '"dig" *: *"[^"]*"' {part}.claims | grep -F "sha-256=:$(openssl dgst -sha256 -binary bodies/{part} | base64):"
"""  # noqa: E501


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
    $ sed -n '/^    import pathlib$/,/^ *print(jws/p' README.txt | sed 's/^    //' | cmp - check/check.py
    > python3 check/check.py
"""

CHECK = """\
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


def _registry(evidence: Evidence, parts: Sequence[SignedPart], anchors: Mapping[int, int]) -> str:
    versions = ", ".join(f"registry/{version}/" for version in sorted(evidence.registries))
    listed = [(part.name, part.registry) for part in parts]
    listed += [(f"anchor-{number}", version) for number, version in anchors.items()]
    lines = "\n".join(
        f"    $ openssl x509 -in certificates/{name}.pem | cmp - certificates/{name}.pem\n"
        f"    $ grep -h -o -F \"\\\"$(grep -v -e '-----' certificates/{name}.pem | tr -d '\\n')\\\"\" "
        f"registry/{version}/targets/{'network' if name.startswith('anchor-') else 'members'}.json"
        for name, version in listed
    )
    return f"""\
The registry vouched for the certificates
-----------------------------------------
{versions} is the network's registry as it was then: The Update Framework's signed metadata, and the files that it
covers. The members' certificates stand in members.json, those of the authorities that issued them in network.json:

{lines}

That these files are the ones that were signed is shown by any client of The Update Framework that starts from the
network's root metadata, which you should have from someone you trust and not from here.
"""


def _log(log: SignedLog) -> str:
    return f"""\
The log of the node
-------------------
log/checkpoint.txt is what the log {log.name} signed about itself: its name, its size, and the hash of a
Merkle tree (RFC 6962, RFC 9162) over all of its entries. Its key is the one that the registry lists with its node:

    $ grep '^{log.name}+' log/key.txt
    $ grep -o -F "\\"$(cat log/key.txt)\\"" registry/{log.registry}/targets/members.json
    $ cut -d+ -f3- log/key.txt | base64 -d | tail -c 32 > log.key
    $ openssl pkey -pubin -in log/key.pem -outform der | tail -c 32 | cmp - log.key
    $ openssl pkey -pubin -in log/key.pem | cmp - log/key.pem

The checkpoint is the one of log/export.json, and that key signed its first three lines:

    $ printf '%b' "$(sed -n 's/^  "checkpoint": "\\(.*\\)",*$/\\1/p' log/export.json)" | cmp - log/checkpoint.txt
    $ head -n 3 log/checkpoint.txt | cmp - check/checkpoint.text
    $ grep -m 1 -F '{log.line}' log/checkpoint.txt | cut -d' ' -f3 | base64 -d | tail -c 64 > log.signature
    $ cmp log.signature check/checkpoint.signature
    $ openssl pkeyutl -verify -pubin -inkey log/key.pem -rawin -in check/checkpoint.text -sigfile log.signature

"Signature Verified Successfully". Other lines of the checkpoint are cosignatures of witnesses.
"""


def _entries(evidence: Evidence, log: SignedLog) -> str:
    # The text around it is looked for too: what is left of a command that failed is empty, and is found anywhere.
    digest = "sha-256=:$(tr -d '\\n' < request.jws | openssl dgst -sha256 -binary | base64):"
    entries = "\n".join(
        f"    $ grep -o -F '\"{evidence.message_id}\"' log/entry-{number}.json\n"
        f'    $ grep -o -F "{digest}" log/entry-{number}.json\n'
        f"{_included('log', number)}"
        for number in range(1, log.entries + 1)
    )
    answered = (
        "\nOne of them names the body of the response:\n\n"
        '    $ grep -o \'"dig" *: *"[^"]*"\' response.claims | cut -d\'"\' -f4 > response.digest\n'
        "    $ cat log/entry-*.json | grep -o -F -f response.digest\n"
        if evidence.response is not None
        else ""
    )
    return f"""\
What the log recorded
---------------------
The log's entries about this exchange: {", ".join(f"log/entry-{number}.json" for number in range(1, log.entries + 1))}.
Each names the message and the SHA-256 of the request's text. That it stands in the tree is shown by the hashes in its
.proof: begin with SHA-256 of a zero byte and the entry, and join it with each hash in turn, a byte 01 before each pair,
the hash on the side that is named. What comes out is the hash that the log signed.

{entries}
{answered}"""


def _included(folder: str, number: int) -> str:
    """The lines that lead from one entry to the root which the checkpoint in the folder names."""
    return f"""\
    $ {{ printf '\\000'; cat log/entry-{number}.json; }} | openssl dgst -sha256 -binary > node
    $ while read -r side hash; do printf %s "$hash" | base64 -d > beside; case "$side" in left) set beside node;; right) set node beside;; *) set "no side" "$side";; esac; {{ printf '\\001'; cat "$1" "$2"; }} | openssl dgst -sha256 -binary > above; mv above node; done < {folder}/entry-{number}.proof
    $ sed -n 3p {folder}/checkpoint.txt | base64 -d | cmp - node
"""  # noqa: E501


_TIMESTAMP = """\
The time stamp
--------------
timestamp/checkpoint.tsr is an RFC 3161 time stamp over timestamp/checkpoint.txt, a checkpoint that includes the
entries. timestamp/authority.pem is the certificate of its authority; better, use one from someone you trust:

    $ openssl ts -verify -in timestamp/checkpoint.tsr -data timestamp/checkpoint.txt -CAfile timestamp/authority.pem

"Verification: OK". The entries lead to the hash in this checkpoint too:
"""

_ALL = """\
All of it at once
-----------------
    > yhdyspinta evidence verify --root ROOT.json PACKAGE.zip

works without a network and without a node. ROOT.json is the root metadata of the registry, from someone you trust.
"""
