"""Keys at rest: an encrypted file that only its owner reads, and a token that never gives its keys away."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from gateway.keys import certificates
from gateway.keys.keystore import FileKeyStore, read_private_key, write_private_key, write_secret
from gateway.keys.token import Pkcs11KeyStore
from gateway.wire.signing import Algorithm, PublicKey
from tests.gateway.registry.conftest import KOTKA, Authority, refused
from tests.gateway.tokens import PIN, Tokens

MEMBER = KOTKA.member
ALGORITHMS: tuple[Algorithm, ...] = ("ES256", "EdDSA")
AUTHORITY = Authority.make()
PASSPHRASE = b"kolme sanaa riitt\xc3\xa4\xc3\xa4"


def verify(public_key: PublicKey, signature: bytes, data: bytes) -> None:
    """Raises InvalidSignature unless `signature` is a raw JOSE signature of `data`."""
    assert len(signature) == 64
    if isinstance(public_key, ed25519.Ed25519PublicKey):
        public_key.verify(signature, data)
    else:
        der = encode_dss_signature(int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big"))
        public_key.verify(der, data, ec.ECDSA(hashes.SHA256()))


# --- A file -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_key_from_a_file_signs_for_its_certificate(tmp_path: Path, algorithm: Algorithm) -> None:
    key = certificates.new_private_key(algorithm)
    certificate = AUTHORITY.signing(MEMBER, key)
    write_private_key(tmp_path / "signing.key", key, PASSPHRASE)
    for name, data in (("signing.pem", certificates.to_pem(certificate)), ("signing.der", certificate)):
        (tmp_path / name).write_bytes(data)
        store = FileKeyStore.open(tmp_path / "signing.key", tmp_path / name, PASSPHRASE)
        assert store.algorithm == algorithm
        assert store.certificate == certificate
        for data in (b"", b"data", bytes(100_000)):
            verify(key.public_key(), store.sign(data), data)


def test_many_signatures_all_have_64_bytes_however_small_their_numbers() -> None:
    key = certificates.new_private_key("ES256")
    store = FileKeyStore(key, AUTHORITY.signing(MEMBER, key))
    for number in range(600):  # About two in a hundred begin with a zero byte.
        verify(key.public_key(), store.sign(bytes([number % 256])), bytes([number % 256]))


def test_the_file_is_encrypted_and_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "signing.key"
    write_private_key(path, certificates.new_private_key("ES256"), PASSPHRASE)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert path.read_bytes().startswith(b"-----BEGIN ENCRYPTED PRIVATE KEY-----")
    with pytest.raises(TypeError):
        serialization.load_pem_private_key(path.read_bytes(), None)


def test_an_existing_key_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "signing.key"
    write_private_key(path, certificates.new_private_key("ES256"), PASSPHRASE)
    before = path.read_bytes()
    with pytest.raises(FileExistsError):
        write_private_key(path, certificates.new_private_key("ES256"), PASSPHRASE)
    with pytest.raises(FileExistsError):
        write_secret(path, b"other")
    assert path.read_bytes() == before


def test_a_key_is_not_written_without_a_passphrase(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="passphrase"):
        write_private_key(tmp_path / "signing.key", certificates.new_private_key("ES256"), b"")
    assert not (tmp_path / "signing.key").exists()


def test_a_wrong_passphrase_is_told_without_repeating_it(tmp_path: Path) -> None:
    path = tmp_path / "signing.key"
    write_private_key(path, certificates.new_private_key("EdDSA"), PASSPHRASE)
    for wrong in (b"salasana123", b""):
        problem = refused("key-unreadable", lambda wrong=wrong: read_private_key(path, wrong))  # type: ignore[misc]
        assert "salasana123" not in str(problem)


def test_a_key_that_lies_open_in_a_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "signing.key"
    path.write_bytes(
        certificates.new_private_key("ES256").private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    refused("key-unreadable", lambda: read_private_key(path, PASSPHRASE))


@pytest.mark.parametrize("content", [b"", b"no key", b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n"])
def test_what_is_no_key_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "signing.key").write_bytes(content)
    refused("key-unreadable", lambda: read_private_key(tmp_path / "signing.key", PASSPHRASE))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    key = tmp_path / "signing.key"
    assert str(key) in refused("key-unreadable", lambda: read_private_key(key, PASSPHRASE)).detail
    refused("key-unreadable", lambda: FileKeyStore.open(key, tmp_path / "none.pem", PASSPHRASE))
    refused("key-unreadable", lambda: read_private_key(tmp_path, PASSPHRASE))


@pytest.mark.parametrize(
    "key", [rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP384R1())], ids=["RSA", "P-384"]
)
def test_keys_of_other_kinds_are_refused(tmp_path: Path, key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> None:
    path = tmp_path / "signing.key"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(PASSPHRASE),
        )
    )
    refused("certificate-key-kind", lambda: read_private_key(path, PASSPHRASE))


def test_the_certificate_of_another_key_is_refused() -> None:
    for other in ALGORITHMS:
        certificate = AUTHORITY.signing(MEMBER, certificates.new_private_key(other))
        key = certificates.new_private_key("ES256")
        refused("key-mismatch", lambda key=key, certificate=certificate: FileKeyStore(key, certificate))  # type: ignore[misc]


# --- A token ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_key_made_in_a_token_is_asked_for_certified_and_signs(tokens: Tokens, algorithm: Algorithm) -> None:
    label = f"signs-{algorithm}"
    key = tokens.generate(label, algorithm)
    public_key = certificates.requested_key(certificates.request_signing(key, MEMBER))
    assert public_key == key.public_key()
    assert certificates.requested_key(certificates.request_tls(key, MEMBER, "kotka-1")) == public_key
    certificate = AUTHORITY.signing(MEMBER, key)
    key.close()
    store = tokens.store(label, certificates.to_pem(certificate))
    try:
        assert store.algorithm == algorithm
        assert store.certificate == certificate
        for data in (b"", b"data", bytes(5000)):
            verify(public_key, store.sign(data), data)
    finally:
        store.close()
    refused("key-unreadable", lambda: store.sign(b"data"))
    store.close()


def test_a_key_in_a_token_never_leaves_it(tokens: Tokens) -> None:
    for algorithm in ALGORITHMS:
        key = tokens.generate(f"stays-{algorithm}", algorithm)
        with pytest.raises(ValueError, match="does not leave"):
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        key.close()
    import pkcs11

    with pkcs11.lib(str(tokens.module)).get_token(token_label="virasto").open(user_pin=PIN) as session:
        private = [*session.get_objects({pkcs11.Attribute.CLASS: pkcs11.ObjectClass.PRIVATE_KEY})]
        assert private
        for one in private:
            assert one[pkcs11.Attribute.SENSITIVE] is True
            assert one[pkcs11.Attribute.EXTRACTABLE] is False
            assert one[pkcs11.Attribute.NEVER_EXTRACTABLE] is True
            with pytest.raises(pkcs11.PKCS11Error):
                one[pkcs11.Attribute.VALUE]


def test_a_label_is_not_given_twice(tokens: Tokens) -> None:
    tokens.generate("once", "ES256").close()
    refused("key-unreadable", lambda: tokens.generate("once", "EdDSA"))
    tokens.generate("once", "EdDSA", "varalla").close()


def test_the_certificate_of_another_key_in_the_token_is_refused(tokens: Tokens) -> None:
    tokens.generate("mine", "ES256").close()
    other = AUTHORITY.signing(MEMBER, certificates.new_private_key("ES256"))
    refused("key-mismatch", lambda: tokens.store("mine", other))


def test_a_token_key_or_pin_that_is_not_there_is_told_without_the_pin(tokens: Tokens) -> None:
    key = tokens.generate("there", "ES256")
    certificate = AUTHORITY.signing(MEMBER, key)
    key.close()
    missing = tokens.folder / "no.so"
    for problem in (
        refused("key-unreadable", lambda: tokens.store("elsewhere", certificate)),
        refused("key-unreadable", lambda: tokens.store("there", certificate, name="kadonnut")),
        refused("key-unreadable", lambda: tokens.store("there", certificate, pin="99887766")),
        refused("key-unreadable", lambda: Pkcs11KeyStore(missing, "virasto", "there", PIN, certificate)),
    ):
        assert PIN not in str(problem)
        assert "99887766" not in str(problem)
    store = tokens.store("there", certificate)
    # A wrong PIN is refused too while somebody else in the process is logged in.
    refused("key-unreadable", lambda: tokens.store("there", certificate, pin="99887766"))
    verify(key.public_key(), store.sign(b"still"), b"still")
    store.close()


def test_closing_one_store_does_not_log_out_another(tokens: Tokens) -> None:
    key = tokens.generate("shared", "ES256")
    certificate = AUTHORITY.signing(MEMBER, key)
    key.close()
    one, two = (tokens.store("shared", certificate) for _ in range(2))
    one.close()
    verify(key.public_key(), two.sign(b"data"), b"data")
    two.close()


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_many_threads_may_sign_at_once(tokens: Tokens, algorithm: Algorithm) -> None:
    label = f"threads-{algorithm}"
    key = tokens.generate(label, algorithm)
    store = tokens.store(label, AUTHORITY.signing(MEMBER, key))
    messages = [str(number).encode() for number in range(64)]
    with ThreadPoolExecutor(8) as pool:
        signatures = list(pool.map(store.sign, messages))
    for message, signature in zip(messages, signatures, strict=True):
        verify(key.public_key(), signature, message)
    store.close()
    key.close()
