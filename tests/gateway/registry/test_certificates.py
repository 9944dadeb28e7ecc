"""Certificates: two profiles, and everything that is not exactly one of them is refused."""

from __future__ import annotations

import base64
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import given
from hypothesis import strategies as st

from gateway.keys import certificates
from gateway.keys.errors import TrustError
from gateway.wire.identifiers import MemberId
from gateway.wire.signing import Algorithm
from tests import parts
from tests.gateway.registry.conftest import KOTKA, NOW, Authority, refused

MEMBER = KOTKA.member
ALGORITHMS: tuple[Algorithm, ...] = ("ES256", "EdDSA")
AUTHORITY = Authority.make()
ED_AUTHORITY = Authority.make(algorithm="EdDSA")
KEY = certificates.new_private_key("ES256")
SECOND = timedelta(seconds=1)


def resigned(certificate: bytes, old: bytes, new: bytes) -> bytes:
    """A certificate of the Ed25519 authority with some bytes replaced, signed again."""
    assert len(old) == len(new)
    signed = x509.load_der_x509_certificate(certificate).tbs_certificate_bytes
    assert signed.count(old) == 1
    altered = signed.replace(old, new)
    assert isinstance(ED_AUTHORITY.key, ed25519.Ed25519PrivateKey)
    return certificate.replace(signed, altered)[:-64] + ED_AUTHORITY.key.sign(altered)


def custom(
    *,
    usage: str = "digital_signature",
    ca: bool = False,
    extended: list[x509.ObjectIdentifier] | None = None,
    constraints: bool = True,
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | None = None,
    extra: list[x509.ExtensionType] | None = None,
    by: Authority = AUTHORITY,
) -> bytes:
    """What another authority's software might issue."""
    issuer = certificates.load(by.certificate).subject
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "x")])
    names = (
        "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
        "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
    )  # fmt: skip
    builder = x509.CertificateBuilder(
        issuer, subject, (key or KEY).public_key(), 9, NOW - SECOND, NOW + SECOND
    ).add_extension(x509.KeyUsage(**{name: name == usage for name in names}), critical=True)
    if constraints:
        builder = builder.add_extension(x509.BasicConstraints(ca, None), critical=True)
    if extended:
        builder = builder.add_extension(x509.ExtendedKeyUsage(extended), critical=False)
    for extension in extra or []:
        builder = builder.add_extension(extension, critical=False)
    digest = None if isinstance(by.key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(by.key, digest).public_bytes(Encoding.DER)


@pytest.mark.parametrize("authority", [AUTHORITY, ED_AUTHORITY], ids=ALGORITHMS)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_an_issued_signing_certificate_passes_its_check(authority: Authority, algorithm: Algorithm) -> None:
    key = certificates.new_private_key(algorithm)
    certificate = authority.signing(MEMBER, key)
    checked = certificates.check_signing(certificate, [AUTHORITY.certificate, ED_AUTHORITY.certificate], NOW)
    assert checked.algorithm == algorithm
    assert checked.public_key == key.public_key()
    assert (checked.not_before, checked.not_after) == (NOW - timedelta(days=1), NOW + timedelta(days=365))
    refused(
        "certificate-key-usage", lambda: certificates.check_tls(certificate, [authority.certificate], "kotka-1", NOW)
    )


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_an_issued_tls_certificate_is_good_for_its_node_and_nothing_else(algorithm: Algorithm) -> None:
    key = certificates.new_private_key(algorithm)
    certificate = AUTHORITY.tls(MEMBER, "kotka-1", key)
    anchors = [AUTHORITY.certificate]
    assert certificates.check_tls(certificate, anchors, "kotka-1", NOW).public_key == key.public_key()
    for node in ("kotka-2", "KOTKA-1", "kotka-1.example", ""):
        refused("certificate-key-usage", lambda node=node: certificates.check_tls(certificate, anchors, node))  # type: ignore[misc]
    refused("certificate-key-usage", lambda: certificates.check_signing(certificate, anchors, NOW))


def test_a_certificate_of_an_authority_outside_the_registry_is_refused() -> None:
    twin = Authority.make()
    certificate = twin.signing(MEMBER, KEY)
    refused("certificate-chain", lambda: certificates.check_signing(certificate, [AUTHORITY.certificate]))
    refused("certificate-chain", lambda: certificates.check_signing(certificate, []))
    assert certificates.check_signing(certificate, [AUTHORITY.certificate, twin.certificate])


def test_a_member_cannot_issue_certificates_with_its_own() -> None:
    certificate = AUTHORITY.signing(MEMBER, KEY)
    follower = Authority(KEY, certificate, NOW).signing(MEMBER, certificates.new_private_key("ES256"))
    refused("certificate-chain", lambda: certificates.check_signing(follower, [AUTHORITY.certificate]))


def test_an_altered_certificate_is_refused() -> None:
    certificate = bytearray(AUTHORITY.signing(MEMBER, KEY))
    certificate[-1] ^= 1
    refused("certificate-chain", lambda: certificates.check_signing(bytes(certificate), [AUTHORITY.certificate]))


def test_a_certificate_counts_from_its_first_to_its_last_second() -> None:
    certificate, anchors = AUTHORITY.signing(MEMBER, KEY, not_before=NOW, not_after=NOW), [AUTHORITY.certificate]
    assert certificates.check_signing(certificate, anchors, NOW)
    assert certificates.check_signing(certificate, anchors)
    refused("certificate-not-yet-valid", lambda: certificates.check_signing(certificate, anchors, NOW - SECOND))
    refused("certificate-expired", lambda: certificates.check_signing(certificate, anchors, NOW + SECOND))


def test_no_certificate_outlives_its_issuer() -> None:
    late = datetime(9000, 1, 1, tzinfo=UTC)
    for certificate in (
        AUTHORITY.signing(MEMBER, KEY, not_after=late),
        AUTHORITY.tls(MEMBER, "kotka-1", KEY, not_after=late),
    ):
        issuer = certificates.load(AUTHORITY.certificate)
        assert certificates.load(certificate).not_valid_after_utc == issuer.not_valid_after_utc


def test_the_profile_of_a_signing_certificate_is_as_documented() -> None:
    extensions = certificates.load(AUTHORITY.signing(MEMBER, KEY)).extensions
    usage = extensions.get_extension_for_class(x509.KeyUsage)
    assert usage.critical
    assert usage.value.digital_signature
    assert not any([usage.value.key_agreement, usage.value.key_cert_sign, usage.value.content_commitment])
    assert not extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    with pytest.raises(x509.ExtensionNotFound):
        extensions.get_extension_for_class(x509.ExtendedKeyUsage)


@pytest.mark.parametrize(
    "certificate",
    [
        custom(usage="key_cert_sign"),
        custom(usage="crl_sign"),
        custom(usage="content_commitment"),
        custom(ca=True),
        custom(constraints=False),
        custom(extended=[ExtendedKeyUsageOID.CODE_SIGNING]),
        custom(extended=[ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]),
    ],
)
def test_a_key_for_anything_else_than_signatures_signs_no_message(certificate: bytes) -> None:
    refused("certificate-key-usage", lambda: certificates.check_signing(certificate, [AUTHORITY.certificate], NOW))


@pytest.mark.parametrize(
    ("extended", "names"),
    [
        ([ExtendedKeyUsageOID.SERVER_AUTH], ["kotka-1"]),
        ([ExtendedKeyUsageOID.CLIENT_AUTH], ["kotka-1"]),
        ([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH], []),
        ([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH], ["*"]),
        ([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH], ["kotka-1", "kotka-2"]),
    ],
)
def test_a_tls_certificate_for_half_the_use_or_another_name_is_refused(
    extended: list[x509.ObjectIdentifier], names: list[str]
) -> None:
    extra: list[x509.ExtensionType] = [x509.SubjectAlternativeName([x509.DNSName(name) for name in names])]
    certificate = custom(extended=extended, extra=extra if names else [])
    refused(
        "certificate-key-usage", lambda: certificates.check_tls(certificate, [AUTHORITY.certificate], "kotka-1", NOW)
    )


@pytest.mark.parametrize(
    "key",
    [
        ec.generate_private_key(ec.SECP384R1()),
        ec.generate_private_key(ec.SECP256K1()),
        rsa.generate_private_key(65537, 2048),
    ],
    ids=["P-384", "secp256k1", "RSA"],
)
def test_keys_of_other_kinds_are_refused(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> None:
    certificate = custom(key=key)
    refused("certificate-key-kind", lambda: certificates.check_signing(certificate, [AUTHORITY.certificate], NOW))
    request = x509.CertificateSigningRequestBuilder(x509.Name([])).sign(key, hashes.SHA256())
    refused("certificate-key-kind", lambda: certificates.requested_key(request.public_bytes(Encoding.PEM)))


ED_KEY = bytes.fromhex("302a300506032b6570032100")
NO_KEY = bytes.fromhex("302a300506032b6563032100")


def test_a_key_of_a_kind_that_nobody_knows_is_refused() -> None:
    certificate = ED_AUTHORITY.signing(MEMBER, certificates.new_private_key("EdDSA"))
    strange = resigned(certificate, ED_KEY, NO_KEY)
    refused("certificate-key-kind", lambda: certificates.check_signing(strange, [ED_AUTHORITY.certificate], NOW))


def test_a_request_for_a_key_of_a_kind_that_nobody_knows_is_refused() -> None:
    request = certificates.request_signing(certificates.new_private_key("EdDSA"), MEMBER)
    der = x509.load_pem_x509_csr(request).public_bytes(Encoding.DER)
    strange = _pem("CERTIFICATE REQUEST", der.replace(ED_KEY, NO_KEY))
    with pytest.raises(TrustError) as refusal:
        certificates.requested_key(strange)
    assert refusal.value.code in {"request-malformed", "request-refused", "certificate-key-kind"}


def test_a_certificate_that_says_something_twice_is_refused() -> None:
    one, two = x509.ObjectIdentifier("1.2.3.4"), x509.ObjectIdentifier("1.2.3.5")
    extra: list[x509.ExtensionType] = [x509.UnrecognizedExtension(one, b"a"), x509.UnrecognizedExtension(two, b"b")]
    doubled = resigned(custom(by=ED_AUTHORITY, extra=extra), bytes.fromhex("06032a0305"), bytes.fromhex("06032a0304"))
    refused("certificate-key-usage", lambda: certificates.check_signing(doubled, [ED_AUTHORITY.certificate], NOW))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_request_proves_that_its_sender_holds_the_key(algorithm: Algorithm) -> None:
    key = certificates.new_private_key(algorithm)
    for request in (certificates.request_signing(key, MEMBER), certificates.request_tls(key, MEMBER, "kotka-1")):
        assert certificates.requested_key(request) == key.public_key()
        der = bytearray(x509.load_pem_x509_csr(request).public_bytes(Encoding.DER))
        der[-1] ^= 1
        refused("request-refused", lambda der=der: certificates.requested_key(_pem("CERTIFICATE REQUEST", bytes(der))))  # type: ignore[misc]


@pytest.mark.parametrize("request_pem", [b"", b"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n", b"\xff" * 40])
def test_what_is_no_request_is_refused(request_pem: bytes) -> None:
    refused("request-malformed", lambda: certificates.requested_key(request_pem))


@pytest.mark.parametrize(
    "node", ["", "Kotka", "kotka_1", "-kotka", "kotka-", "a..b", "kotka.", "a" * 64, "a." * 127 + "aa", "ä"]
)
def test_a_node_id_that_is_no_dns_name_is_not_asked_for(node: str) -> None:
    refused("request-malformed", lambda: certificates.request_tls(KEY, MEMBER, node))


def test_pem_and_der_hold_the_same_certificate() -> None:
    pem = certificates.to_pem(AUTHORITY.certificate)
    assert pem.startswith(b"-----BEGIN CERTIFICATE-----\n")
    assert certificates.to_der(pem) == certificates.to_der(AUTHORITY.certificate) == AUTHORITY.certificate
    assert certificates.to_pem(b"\n" + pem) == pem


@given(st.binary(max_size=60) | st.binary(max_size=60).map(lambda data: b"-----BEGIN CERTIFICATE-----\n" + data))
def test_what_is_no_certificate_is_refused(data: bytes) -> None:
    refused("certificate-malformed", lambda: certificates.load(data))


def test_a_certificate_of_a_version_that_nobody_knows_is_refused() -> None:
    strange = AUTHORITY.signing(MEMBER, KEY).replace(bytes.fromhex("a003020102"), bytes.fromhex("a003020107"), 1)
    refused("certificate-malformed", lambda: certificates.load(strange))


@pytest.mark.parametrize("code", ["ä" * 255, "a" * 255, " ", "\U0001f1eb" * 255])
def test_every_member_code_fits_in_a_certificate(code: str) -> None:
    member = MemberId("FI-DEMO", "GOV", code)
    assert certificates.requested_key(certificates.request_signing(KEY, member)) == KEY.public_key()
    assert certificates.check_signing(AUTHORITY.signing(member, KEY), [AUTHORITY.certificate], NOW)


def _pem(label: str, der: bytes) -> bytes:
    body = base64.encodebytes(der).decode("ascii").replace("\n", "")
    lines = "\n".join(body[start : start + 64] for start in range(0, len(body), 64))
    return f"-----BEGIN {label}-----\n{lines}\n-----END {label}-----\n".encode("ascii")


def anchor_with(
    *extensions: tuple[x509.ExtensionType, bool],
    key: certificates.PrivateKey = KEY,
    serial: int = 7,
    usage: str = "key_cert_sign",
    is_ca: bool = True,
) -> Authority:
    """An anchor such as another authority's software might make."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Anchor")])
    names = (
        "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
        "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
    )  # fmt: skip
    builder = x509.CertificateBuilder(name, name, key.public_key(), serial, NOW - SECOND, NOW + SECOND)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    builder = builder.add_extension(x509.KeyUsage(**{item: item == usage for item in names}), critical=True)
    builder = builder.add_extension(x509.BasicConstraints(is_ca, None), critical=True)
    for extension, is_critical in extensions:
        builder = builder.add_extension(extension, critical=is_critical)
    return Authority(key, builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER), NOW)


UNKNOWN = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")
NAMES = x509.NameConstraints(None, [x509.DNSName("kotka-1")])
ACCESS = x509.AuthorityInformationAccess(
    [x509.AccessDescription(x509.oid.AuthorityInformationAccessOID.OCSP, x509.UniformResourceIdentifier("http://a.fi"))]
)


def end_certificate_with(extension: x509.ExtensionType, is_critical: bool) -> bytes:
    usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    builder = x509.CertificateBuilder(
        certificates.load(AUTHORITY.certificate).subject,
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "x")]),
        KEY.public_key(), 9, NOW - SECOND, NOW + SECOND,
    )  # fmt: skip
    usage = certificates.load(AUTHORITY.signing(MEMBER, KEY)).extensions.get_extension_for_class(x509.KeyUsage).value
    for item in (usage, x509.BasicConstraints(False, None)):
        builder = builder.add_extension(item, critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName("kotka-1")]), critical=False)
    builder = builder.add_extension(extension, critical=is_critical)
    return builder.sign(AUTHORITY.key, hashes.SHA256()).public_bytes(Encoding.DER)


@pytest.mark.parametrize(
    ("extension", "is_critical"),
    [(UNKNOWN, True), (ACCESS, True), (NAMES, True), (NAMES, False)],
    ids=["unknown and critical", "critical where it must not be", "name constraints", "name constraints, not critical"],
)
def test_certificate_that_says_what_its_profile_does_not_have_is_refused(
    extension: x509.ExtensionType, is_critical: bool
) -> None:
    certificate = end_certificate_with(extension, is_critical)
    refused("certificate-key-usage", lambda: certificates.check_tls(certificate, [AUTHORITY.certificate], "kotka-1"))


def test_extensions_that_only_inform_are_let_be() -> None:
    for extension in (UNKNOWN, ACCESS):
        certificate = end_certificate_with(extension, False)
        assert certificates.check_tls(certificate, [AUTHORITY.certificate], "kotka-1", NOW)


@pytest.mark.parametrize(
    "authority",
    [
        anchor_with((UNKNOWN, True)),
        anchor_with((NAMES, True)),
        anchor_with((x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False)),
        anchor_with(usage="digital_signature"),
        anchor_with(usage="crl_sign"),
        anchor_with(is_ca=False),
        anchor_with(key=ec.generate_private_key(ec.SECP192R1())),
        anchor_with(key=ec.generate_private_key(ec.SECP384R1())),
    ],
    ids=["unknown and critical", "name constraints", "extended usage", "for signatures", "for lists alone",
         "no authority", "P-192", "P-384"],
)  # fmt: skip
def test_anchor_that_is_none_vouches_for_nothing(authority: Authority) -> None:
    certificate = authority.signing(MEMBER, certificates.new_private_key("ES256"))
    refused("certificate-chain", lambda: certificates.check_signing(certificate, [authority.certificate], NOW))
    assert anchor_with().signing(MEMBER, KEY), "the like of it that is an anchor issues"


def test_certificate_counts_only_while_its_anchor_is_in_force() -> None:
    authority = anchor_with()
    certificate = authority.signing(MEMBER, KEY, not_before=NOW - timedelta(days=1))
    checked = certificates.check_signing(certificate, [authority.certificate], NOW)
    assert (checked.not_before, checked.not_after) == (NOW - SECOND, NOW + SECOND)
    early, late = NOW - 2 * SECOND, NOW + 2 * SECOND
    anchors = [authority.certificate]
    refused("certificate-not-yet-valid", lambda: certificates.check_signing(certificate, anchors, early))
    refused("certificate-expired", lambda: certificates.check_signing(certificate, anchors, late))


def test_serial_number_is_positive() -> None:
    certificate = custom(by=ED_AUTHORITY)
    nothing = resigned(certificate, bytes.fromhex("020109"), bytes.fromhex("020100"))
    assert certificates.load(nothing).serial_number == 0
    refused("certificate-malformed", lambda: certificates.check_signing(nothing, [ED_AUTHORITY.certificate], NOW))


def test_curve_that_is_spelled_out_is_refused() -> None:
    """Another library makes such a certificate: this one's cannot."""
    parts.tool("openssl", "Install openssl 3.")
    with TemporaryDirectory() as folder:
        (Path(folder) / "ca.pem").write_bytes(certificates.to_pem(AUTHORITY.certificate))
        (Path(folder) / "ca.key").write_bytes(
            AUTHORITY.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        )
        (Path(folder) / "ext").write_text("basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\n")
        for line in (
            "ecparam -name prime256v1 -param_enc explicit -genkey -noout -out key.pem",
            "req -new -key key.pem -subj /CN=x -out x.csr",
            "x509 -req -in x.csr -CA ca.pem -CAkey ca.key -set_serial 9 -days 1 -extfile ext -outform der -out x.der",
        ):
            subprocess.run(["openssl", *line.split()], cwd=folder, check=True, capture_output=True)
        spelled_out = (Path(folder) / "x.der").read_bytes()
    refused("certificate-key-kind", lambda: certificates.check_signing(spelled_out, [AUTHORITY.certificate]))
