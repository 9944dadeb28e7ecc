"""Where private keys are kept, and how they sign.

Two stores behind the one Signer of `gateway.wire.signing`: a file in encrypted PKCS#8, here, and a token reached
through PKCS#11, in `gateway.keys.token`.
Source: RFC 5958 (PKCS#8), RFC 8018 (PBES2).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from gateway.keys import durable
from gateway.keys.certificates import PrivateKey, key_algorithm, load, to_der
from gateway.keys.errors import TrustError
from gateway.wire.signing import Algorithm

_ECDSA = ec.ECDSA(hashes.SHA256())


class FileKeyStore:
    """A private key from an encrypted PKCS#8 file, read once and held in memory."""

    def __init__(self, key: PrivateKey, certificate: bytes) -> None:
        """Use a key with its certificate (DER or PEM). Raises TrustError `key-mismatch`."""
        self.certificate: bytes = to_der(certificate)
        self.algorithm: Algorithm = key_algorithm(key.public_key())
        if load(certificate).public_key() != key.public_key():
            raise TrustError("key-mismatch", "the private key is not that of the certificate")
        self.sign: Callable[[bytes], bytes] = (
            key.sign if isinstance(key, ed25519.Ed25519PrivateKey) else _raw_ecdsa(key)
        )

    @classmethod
    def open(cls, key: Path, certificate: Path, passphrase: bytes) -> FileKeyStore:
        """Read the key and its certificate (PEM or DER). Raises TrustError `key-unreadable`, `key-mismatch`."""
        try:
            chain = certificate.read_bytes()
        except OSError as error:
            raise TrustError("key-unreadable", f"{certificate} cannot be read: {error.strerror}") from None
        return cls(read_private_key(key, passphrase), chain)


def write_private_key(path: Path, key: PrivateKey, passphrase: bytes) -> None:
    """Write a key as encrypted PKCS#8 in PEM, readable by its owner only; an existing file is never overwritten."""
    if not passphrase:
        raise ValueError("a key is not written without a passphrase")
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(passphrase),
    )
    write_secret(path, pem)


def read_private_key(path: Path, passphrase: bytes) -> PrivateKey:
    """Read a P-256 or Ed25519 key from encrypted PKCS#8. Raises TrustError `key-unreadable`."""
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), passphrase)
    except OSError as error:
        raise TrustError("key-unreadable", f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, TypeError):
        raise TrustError(
            "key-unreadable", f"{path} cannot be opened", "check the passphrase; the file is to be encrypted PKCS#8"
        ) from None
    if not isinstance(key, ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey):
        raise TrustError("certificate-key-kind", f"{path} holds neither a P-256 nor an Ed25519 key")
    key_algorithm(key.public_key())
    return key


def write_secret(path: Path, content: bytes) -> None:
    """Create a file that only its owner can read; raises FileExistsError rather than replace one."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    durable.create(path, content)


def _raw_ecdsa(key: ec.EllipticCurvePrivateKey) -> Callable[[bytes], bytes]:
    def sign(data: bytes) -> bytes:
        r, s = decode_dss_signature(key.sign(data, _ECDSA))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")

    return sign
