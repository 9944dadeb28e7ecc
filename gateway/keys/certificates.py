"""Certificates of a network: their two profiles, how they are asked for, issued and checked.

A signing certificate signs messages and nothing else (key usage digitalSignature, no extended key usage). A TLS
certificate proves a node at both ends of a connection (digitalSignature, serverAuth and clientAuth, the node's id as
its DNS name). Both are issued directly by one of the registry's anchors, and each has a key of its own: P-256 or
Ed25519. An anchor issues end certificates and does nothing else. The profiles are closed: what they do not name is
refused wherever it could change what a certificate means.
Source: RFC 5280 sections 4.1.2.2, 4.2, 4.2.1.3, 4.2.1.6, 4.2.1.9, 4.2.1.10, 4.2.1.12 and 6.1; RFC 2986 (PKCS#10).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID, NameOID

from gateway.keys.errors import TrustError
from gateway.wire.identifiers import MemberId
from gateway.wire.signing import Algorithm, PublicKey

PrivateKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
# What the X.509 library says of extensions that are missing, broken, given twice or of a kind that it cannot read.
_UNREADABLE = (ValueError, x509.ExtensionNotFound, x509.DuplicateExtension, x509.UnsupportedGeneralNameType)
# The extensions that are processed here. RFC 5280 section 4.2: one that is critical and not processed is refused.
_PROCESSED = frozenset(
    {
        ExtensionOID.BASIC_CONSTRAINTS,
        ExtensionOID.KEY_USAGE,
        ExtensionOID.EXTENDED_KEY_USAGE,
        ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
    }
)
# What narrows the use of a certificate or of those below it: refused, critical or not, since nobody obeys it here.
_NARROWING = frozenset(
    {
        ExtensionOID.NAME_CONSTRAINTS,
        ExtensionOID.POLICY_CONSTRAINTS,
        ExtensionOID.POLICY_MAPPINGS,
        ExtensionOID.INHIBIT_ANY_POLICY,
    }
)
_NODE_ID = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*")


@dataclass(frozen=True, slots=True)
class Checked:
    """What a certificate that passed its check says; the times (UTC) are when it and its anchor are both in force."""

    algorithm: Algorithm
    public_key: PublicKey
    not_before: datetime
    not_after: datetime


def new_private_key(algorithm: Algorithm) -> PrivateKey:
    """A new private key for ES256 (P-256) or EdDSA (Ed25519), from the operating system's randomness."""
    return ec.generate_private_key(ec.SECP256R1()) if algorithm == "ES256" else ed25519.Ed25519PrivateKey.generate()


def check_signing(certificate: bytes, anchors: Sequence[bytes], at: datetime | None = None) -> Checked:
    """Check a signing certificate (DER) against its profile and the anchors, and with `at` that it is in force.

    Raises TrustError with the certificate-… codes.
    """
    parsed, checked = _check(certificate, anchors, at)
    if _extended_usage(parsed):
        raise TrustError("certificate-key-usage", "a signing certificate has no extended key usage, this has")
    return checked


def check_tls(certificate: bytes, anchors: Sequence[bytes], node: str, at: datetime | None = None) -> Checked:
    """Check a TLS certificate (DER) of the node `node`. Raises TrustError with the certificate-… codes."""
    parsed, checked = _check(certificate, anchors, at)
    if _extended_usage(parsed) != {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}:
        raise TrustError("certificate-key-usage", "a TLS certificate is for serverAuth and clientAuth")
    if _dns_names(parsed) != [node]:
        raise TrustError("certificate-key-usage", f"the TLS certificate does not name the node {node}")
    return checked


def key_algorithm(public_key: object) -> Algorithm:
    """The one algorithm for a public key. Raises TrustError `certificate-key-kind`."""
    if isinstance(public_key, ed25519.Ed25519PublicKey):
        return "EdDSA"
    if isinstance(public_key, ec.EllipticCurvePublicKey) and isinstance(public_key.curve, ec.SECP256R1):
        return "ES256"
    raise TrustError("certificate-key-kind", "keys are P-256 or Ed25519")


def load(certificate: bytes) -> x509.Certificate:
    """Parse a certificate in DER or PEM. Raises TrustError `certificate-malformed`."""
    try:
        if certificate.lstrip().startswith(b"-----BEGIN"):
            return x509.load_pem_x509_certificate(certificate)
        return x509.load_der_x509_certificate(certificate)
    except (ValueError, x509.InvalidVersion):
        raise TrustError("certificate-malformed", "this is no X.509 certificate") from None


def to_der(certificate: bytes) -> bytes:
    """The DER of a certificate in PEM or DER. Raises TrustError `certificate-malformed`."""
    return load(certificate).public_bytes(Encoding.DER)


def to_pem(certificate: bytes) -> bytes:
    """The PEM of a certificate in PEM or DER. Raises TrustError `certificate-malformed`."""
    return load(certificate).public_bytes(Encoding.PEM)


def issue_authority(key: PrivateKey, name: str, *, not_before: datetime, not_after: datetime, serial: int) -> bytes:
    """A self-signed anchor (DER) named `name`, which issues end certificates directly."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(serial)
        .not_valid_before(not_before)
        .not_valid_after(not_after)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(issuer=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    return builder.sign(key, _digest(key)).public_bytes(Encoding.DER)


def request_signing(key: PrivateKey, member: MemberId) -> bytes:
    """A PKCS#10 request (PEM) for a member's signing certificate, signed by the key itself."""
    request = x509.CertificateSigningRequestBuilder().subject_name(_subject(member, "signing"))
    return request.sign(key, _digest(key)).public_bytes(Encoding.PEM)


def request_tls(key: PrivateKey, member: MemberId, node: str) -> bytes:
    """A PKCS#10 request (PEM) for a node's TLS certificate, signed by the key itself."""
    if not _NODE_ID.fullmatch(node) or len(node) > 253:
        raise TrustError("request-malformed", "a node's id is a DNS name in small letters, for example kotka-1")
    request = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(_subject(member, node))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(node)]), critical=False)
    )
    return request.sign(key, _digest(key)).public_bytes(Encoding.PEM)


def requested_key(request: bytes) -> PublicKey:
    """The public key of a PKCS#10 request (PEM) whose own signature holds. Raises TrustError."""
    try:
        parsed = x509.load_pem_x509_csr(request)
        sound = parsed.is_signature_valid
        public_key = parsed.public_key()
    except (ValueError, x509.InvalidVersion):
        raise TrustError("request-malformed", "this is no certificate request") from None
    except UnsupportedAlgorithm:
        raise TrustError("certificate-key-kind", "keys are P-256 or Ed25519") from None
    if not sound:
        raise TrustError("request-refused", "the request was not signed by the key that it asks a certificate for")
    key_algorithm(public_key)
    assert isinstance(public_key, ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey)
    return public_key


@dataclass(frozen=True, slots=True)
class Issuer:
    """Who issues: a certificate authority's own certificate (DER) and its key."""

    certificate: bytes
    key: PrivateKey


@dataclass(frozen=True, slots=True)
class Term:
    """When a certificate begins and ends, and its serial number: random, up to 159 bits."""

    not_before: datetime
    not_after: datetime
    serial: int


def issue_signing(
    issuer: Issuer,
    public_key: PublicKey,
    member: MemberId,
    term: Term,
) -> bytes:
    """A signing certificate (DER) for a member's key."""
    builder = _end_certificate(
        issuer,
        public_key,
        _subject(member, "signing"),
        term,
    )
    return builder.sign(issuer.key, _digest(issuer.key)).public_bytes(Encoding.DER)


def issue_tls(
    issuer: Issuer,
    public_key: PublicKey,
    member: MemberId,
    node: str,
    term: Term,
) -> bytes:
    """A TLS certificate (DER) for a node's key, good at both ends of a connection."""
    builder = _end_certificate(
        issuer,
        public_key,
        _subject(member, node),
        term,
    )
    usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(node)]), critical=False)
    return builder.sign(issuer.key, _digest(issuer.key)).public_bytes(Encoding.DER)


def issue_client(
    issuer: Issuer,
    public_key: PublicKey,
    name: str,
    term: Term,
) -> bytes:
    """A certificate (DER) with which an information system called `name` connects to its own organisation's node."""
    builder = _end_certificate(
        issuer,
        public_key,
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])]),
        term,
    )
    builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
    return builder.sign(issuer.key, _digest(issuer.key)).public_bytes(Encoding.DER)


def check_anchor(anchor: bytes) -> x509.Certificate:
    """Check an anchor (DER or PEM) against its profile. Raises TrustError with the certificate-… codes."""
    parsed = load(anchor)
    _public_key(parsed)
    usage, constraints = _declared(parsed)
    if not constraints.ca or not usage.key_cert_sign or usage.digital_signature or usage.key_agreement:
        raise TrustError(
            "certificate-key-usage", "an anchor is for issuing certificates, and this is for something else"
        )
    if _extended_usage(parsed):
        raise TrustError("certificate-key-usage", "an anchor has no extended key usage, this has")
    return parsed


def _check(certificate: bytes, anchors: Sequence[bytes], at: datetime | None) -> tuple[x509.Certificate, Checked]:
    parsed = load(certificate)
    anchor = _issuer(parsed, anchors)
    usage, constraints = _declared(parsed)
    if constraints.ca or not usage.digital_signature or usage.key_cert_sign or usage.crl_sign:
        raise TrustError("certificate-key-usage", "the key is for something else than digital signatures")
    public_key = _public_key(parsed)
    # RFC 5280 section 6.1 has the anchor's own time checked by whoever relies on it.
    checked = Checked(
        key_algorithm(public_key),
        public_key,
        max(parsed.not_valid_before_utc, anchor.not_valid_before_utc),
        min(parsed.not_valid_after_utc, anchor.not_valid_after_utc),
    )
    if at is not None and at < checked.not_before:
        raise TrustError("certificate-not-yet-valid", f"the certificate begins at {checked.not_before.isoformat()}")
    if at is not None and at > checked.not_after:
        raise TrustError("certificate-expired", f"the certificate ended at {checked.not_after.isoformat()}")
    return parsed, checked


def _issuer(certificate: x509.Certificate, anchors: Sequence[bytes]) -> x509.Certificate:
    """The anchor that issued it; of several with one key, the one that is in force longest."""
    found: list[x509.Certificate] = []
    refused: TrustError | None = None
    for anchor in anchors:
        if _issued_by(certificate, anchor):
            try:
                found.append(check_anchor(anchor))
            except TrustError as error:
                refused = error
    if found:
        return max(found, key=lambda anchor: anchor.not_valid_after_utc)
    if refused is not None:
        raise TrustError("certificate-chain", f"the anchor that issued the certificate is none: {refused.detail}")
    raise TrustError("certificate-chain", "none of the registry's anchors has issued the certificate")


def _declared(parsed: x509.Certificate) -> tuple[x509.KeyUsage, x509.BasicConstraints]:
    """What the certificate says that its key is for, after all else that it says was found to be of the profile."""
    try:
        extensions = list(parsed.extensions)
        usage = parsed.extensions.get_extension_for_class(x509.KeyUsage).value
        constraints = parsed.extensions.get_extension_for_class(x509.BasicConstraints).value
    except _UNREADABLE:
        raise TrustError("certificate-key-usage", "the certificate does not say what its key is for") from None
    for extension in extensions:
        if extension.oid in _NARROWING or (extension.critical and extension.oid not in _PROCESSED):
            raise TrustError(
                "certificate-key-usage",
                f"the certificate has the extension {extension.oid.dotted_string}, which its profile does not have",
            )
    # RFC 5280 section 4.1.2.2: positive, and at most 20 octets.
    if not 0 < parsed.serial_number < 1 << 159:
        raise TrustError("certificate-malformed", "a certificate's serial number is positive and has at most 20 octets")
    return usage, constraints


def _public_key(parsed: x509.Certificate) -> PublicKey:
    """The certificate's key. Raises TrustError `certificate-key-kind`."""
    try:
        public_key = parsed.public_key()
    except (ValueError, UnsupportedAlgorithm):
        raise TrustError("certificate-key-kind", "keys are P-256 or Ed25519") from None
    key_algorithm(public_key)
    assert isinstance(public_key, ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey)
    # RFC 5480 section 2.1.1: a curve is named. One that is spelled out may differ from P-256 in what nobody looks at.
    if public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) not in parsed.tbs_certificate_bytes:
        raise TrustError("certificate-key-kind", "the certificate does not name its curve, P-256, by its name")
    return public_key


def _issued_by(certificate: x509.Certificate, anchor: bytes) -> bool:
    try:
        certificate.verify_directly_issued_by(load(anchor))
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm, TrustError):
        return False
    return True


def _extended_usage(certificate: x509.Certificate) -> set[x509.ObjectIdentifier]:
    try:
        return set(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    except x509.ExtensionNotFound:
        return set()


def _dns_names(certificate: x509.Certificate) -> list[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return names.get_values_for_type(x509.DNSName)


def _end_certificate(
    issuer: Issuer,
    public_key: PublicKey,
    subject: x509.Name,
    term: Term,
) -> x509.CertificateBuilder:
    authority = load(issuer.certificate)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(authority.subject)
        .public_key(public_key)
        .serial_number(term.serial)
        .not_valid_before(term.not_before.astimezone(UTC))
        # No certificate outlives its issuer.
        .not_valid_after(min(term.not_after.astimezone(UTC), authority.not_valid_after_utc))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(issuer=False), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        .add_extension(_authority_identifier(authority), critical=False)
    )


def _authority_identifier(issuer: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    own = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own)


def _usage(*, issuer: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not issuer,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=issuer,
        crl_sign=issuer,
        encipher_only=False,
        decipher_only=False,
    )


def _subject(member: MemberId, name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, f"{member.instance}/{member.member_class}"[:64]),
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, member.code[:64]),
            x509.NameAttribute(NameOID.COMMON_NAME, name[:64]),
        ]
    )


def _digest(key: PrivateKey) -> hashes.SHA256 | None:
    return None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
