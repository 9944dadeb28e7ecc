"""Keys in a hardware token, or in software that behaves like one, reached through PKCS#11.

The private key is made in the token, marked sensitive and not extractable, and signs without ever leaving it. A PKCS#11
session is not for sharing, so calls are let through one at a time.
Source: PKCS#11 v3.0, section 6.3 (elliptic curves: CKM_ECDSA, CKM_EDDSA); RFC 8410 (Ed25519 in X.509).
"""

from __future__ import annotations

import hashlib
import hmac
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, encode_dss_signature

from gateway.keys.certificates import key_algorithm, load, to_der
from gateway.keys.errors import TrustError
from gateway.wire.signing import Algorithm, PublicKey

# RFC 8410's object identifier 1.3.101.112, and the name that PKCS#11 v3.0 also allows.
_ED25519_PARAMETERS = bytes.fromhex("06032b6570")
_PROBE = b"yhdyspinta key check"


class Pkcs11KeyStore:
    """A private key in a token, as a Signer. `close` ends the session with the token."""

    def __init__(self, module: Path, token: str, label: str, pin: str, certificate: bytes) -> None:
        """Open a session and find the key by its label; `certificate` is DER or PEM.

        Raises TrustError `key-unreadable` without such a module, token, PIN or key, and `key-mismatch` if the key is
        another one than the certificate's.
        """
        self.certificate: bytes = to_der(certificate)
        public_key = load(certificate).public_key()
        self.algorithm: Algorithm = key_algorithm(public_key)
        self._slot = _Slot(module, token, label, pin, self.algorithm)
        if not _verifies(public_key, self.sign(_PROBE)):
            self.close()
            raise TrustError("key-mismatch", "the key in the token is not that of the certificate")

    def sign(self, data: bytes) -> bytes:
        """Sign in the token. Raises TrustError `key-unreadable` when the token does not answer."""
        return self._slot.sign(data)

    def close(self) -> None:
        """End the session with the token."""
        self._slot.close()


class _InToken:
    """What every key in a token does alike: it never leaves the token, and there is one of it."""

    _slot: _Slot

    def private_bytes(
        self,
        encoding: serialization.Encoding,
        format: serialization.PrivateFormat,  # noqa: A002
        encryption_algorithm: serialization.KeySerializationEncryption,
    ) -> bytes:
        """Refused: the key does not leave the token. Raises ValueError."""
        raise ValueError("the key does not leave the token")

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def close(self) -> None:
        """End the session with the token."""
        self._slot.close()


class TokenEcKey(_InToken, ec.EllipticCurvePrivateKey):
    """A P-256 key in a token, in the shape in which `cryptography` signs a certificate request with it."""

    def __init__(self, slot: _Slot, public_key: ec.EllipticCurvePublicKey) -> None:
        self._slot = slot
        self._public = public_key

    def sign(self, data: Any, signature_algorithm: ec.EllipticCurveSignatureAlgorithm) -> bytes:
        """Sign `data` with ECDSA over SHA-256, in DER as X.509 wants it."""
        digest = signature_algorithm.algorithm
        if isinstance(digest, Prehashed) or not isinstance(digest, hashes.SHA256):
            raise ValueError("the token signs over SHA-256")
        raw = self._slot.sign(bytes(data))
        return encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))

    def public_key(self) -> ec.EllipticCurvePublicKey:
        """The public half."""
        return self._public

    @property
    def curve(self) -> ec.EllipticCurve:
        """P-256."""
        return self._public.curve

    @property
    def key_size(self) -> int:
        """256 bits."""
        return self._public.key_size

    def exchange(self, algorithm: ec.ECDH, peer_public_key: ec.EllipticCurvePublicKey) -> bytes:
        """Refused: the key is for signing. Raises ValueError."""
        raise ValueError("the key is for signing only")

    def private_numbers(self) -> ec.EllipticCurvePrivateNumbers:
        """Refused: the key does not leave the token. Raises ValueError."""
        raise ValueError("the key does not leave the token")


class TokenEdKey(_InToken, ed25519.Ed25519PrivateKey):
    """An Ed25519 key in a token, in the shape in which `cryptography` signs a certificate request with it."""

    def __init__(self, slot: _Slot, public_key: ed25519.Ed25519PublicKey) -> None:
        self._slot = slot
        self._public = public_key

    def sign(self, data: Any) -> bytes:
        return self._slot.sign(bytes(data))

    def public_key(self) -> ed25519.Ed25519PublicKey:
        """The public half."""
        return self._public

    def private_bytes_raw(self) -> bytes:
        """Refused: the key does not leave the token. Raises ValueError."""
        raise ValueError("the key does not leave the token")


def generate(module: Path, token: str, label: str, pin: str, algorithm: Algorithm) -> TokenEcKey | TokenEdKey:
    """Make a key pair inside the token, labelled `label`. Raises TrustError `key-unreadable`."""
    import pkcs11
    from pkcs11.util.ec import encode_named_curve_parameters

    session = _enter(module, token, pin, writable=True)
    try:
        if any(True for _ in session.get_objects({pkcs11.Attribute.LABEL: label})):
            raise TrustError("key-unreadable", f"the token already has a key labelled {label}", "choose another label")
        kind = pkcs11.KeyType.EC if algorithm == "ES256" else pkcs11.KeyType.EC_EDWARDS
        curve = encode_named_curve_parameters("secp256r1") if algorithm == "ES256" else _ED25519_PARAMETERS
        parameters = session.create_domain_parameters(kind, {pkcs11.Attribute.EC_PARAMS: curve}, local=True)
        public, _private = parameters.generate_keypair(
            label=label,
            store=True,
            capabilities=pkcs11.MechanismFlag.SIGN | pkcs11.MechanismFlag.VERIFY,
            private_template={pkcs11.Attribute.SENSITIVE: True, pkcs11.Attribute.EXTRACTABLE: False},
        )
        # The point is an OCTET STRING: two bytes of tag and length, then the point itself.
        point = bytes(public[pkcs11.Attribute.EC_POINT])[2:]
    except pkcs11.PKCS11Error as error:
        raise TrustError("key-unreadable", f"the token made no {algorithm} key ({type(error).__name__})") from None
    finally:
        _leave(module, token, session)
    slot = _Slot(module, token, label, pin, algorithm)
    if algorithm == "ES256":
        return TokenEcKey(slot, ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point))
    return TokenEdKey(slot, ed25519.Ed25519PublicKey.from_public_bytes(point))


class _Slot:
    """One session with a token, and one private key in it."""

    def __init__(self, module: Path, token: str, label: str, pin: str, algorithm: Algorithm) -> None:
        import pkcs11

        self._algorithm = algorithm
        self._lock = threading.Lock()
        self._place = (module, token)
        self._session = _enter(module, token, pin, writable=False)
        try:
            self._key = self._session.get_key(object_class=pkcs11.ObjectClass.PRIVATE_KEY, label=label)
        except pkcs11.PKCS11Error:
            _leave(module, token, self._session)
            raise TrustError("key-unreadable", f"the token has no private key labelled {label}") from None
        self._mechanism = pkcs11.Mechanism.ECDSA if algorithm == "ES256" else pkcs11.Mechanism.EDDSA

    def sign(self, data: bytes) -> bytes:
        import pkcs11

        # ECDSA over a digest made here: every token has that mechanism, and the message need not go through it.
        message = hashlib.sha256(data).digest() if self._algorithm == "ES256" else data
        with self._lock:
            if self._session is None:
                raise TrustError("key-unreadable", "the session with the token was closed")
            try:
                return bytes(self._key.sign(message, mechanism=self._mechanism))
            except pkcs11.PKCS11Error as error:
                raise TrustError("key-unreadable", f"the token did not sign ({type(error).__name__})") from None

    def close(self) -> None:
        with self._lock:
            if self._session is not None:
                _leave(*self._place, self._session)
                self._session = None


@dataclass(slots=True)
class _Login:
    """This process's login at a token, which PKCS#11 shares between all its sessions, and how many use it."""

    session: Any
    proof: bytes
    users: int = 0


_logins: dict[tuple[str, str], _Login] = {}
_logins_lock = threading.Lock()


def _enter(module: Path, token: str, pin: str, *, writable: bool) -> Any:
    """A new session with a token, logged in. Closing one session would log out all, so the login has one of its own."""
    import pkcs11

    place = (str(module), token)
    proof = hashlib.sha256(pin.encode("utf-8")).digest()
    with _logins_lock:
        try:
            found = pkcs11.lib(str(module)).get_token(token_label=token)
            login = _logins.get(place)
            if login is None:
                login = _Login(found.open(user_pin=pin), proof)
                _logins[place] = login
            elif not hmac.compare_digest(login.proof, proof):
                raise _unopened(module, token, "PinIncorrect")
            session = found.open(rw=writable)
        except (pkcs11.PKCS11Error, RuntimeError, OSError) as error:
            raise _unopened(module, token, type(error).__name__) from None
        login.users += 1
        return session


def _leave(module: Path, token: str, session: Any) -> None:
    place = (str(module), token)
    with _logins_lock:
        session.close()
        login = _logins[place]
        login.users -= 1
        if login.users == 0:
            del _logins[place]
            login.session.close()


def _unopened(module: Path, token: str, reason: str) -> TrustError:
    # Neither the PIN nor the token's own words are repeated.
    return TrustError(
        "key-unreadable",
        f"the token {token} cannot be opened through {module} ({reason})",
        "check the module's path, the token's label and the PIN",
    )


def _verifies(public_key: object, signature: bytes) -> bool:
    try:
        if isinstance(public_key, ed25519.Ed25519PublicKey):
            public_key.verify(signature, _PROBE)
        elif isinstance(public_key, ec.EllipticCurvePublicKey):
            r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
            public_key.verify(encode_dss_signature(r, s), _PROBE, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return isinstance(public_key, PublicKey)
