"""Seal what is personal under the key of its data subject.

AES-256-GCM; the key is derived from the subject's own key (HKDF-SHA-256) so that pseudonyms and payloads never share
one, and the row's id is authenticated with it, so that a sealed value cannot be moved to another row. Destroying the
subject's key makes every sealed value about them unreadable for good.
Source: NIST SP 800-38D (GCM), RFC 5869 (HKDF).
"""

from __future__ import annotations

import hmac
import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

NONCE_BYTES = 12
_NO_SALT = bytes(32)
_INFO = b"yhdyspinta sealed payload"


class SealError(Exception):
    """The value was not sealed with this key for this place, or was changed since."""


def seal(key: bytes, place: str, value: bytes) -> bytes:
    """Encrypt `value` under the subject's key; `place` names the table and row that it stands in."""
    nonce = secrets.token_bytes(NONCE_BYTES)
    return nonce + AESGCM(_derived(key)).encrypt(nonce, value, place.encode())


def unseal(key: bytes, place: str, sealed: bytes) -> bytes:
    """Decrypt what `seal` made for the same key and place. Raises SealError."""
    try:
        return AESGCM(_derived(key)).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], place.encode())
    except (InvalidTag, ValueError):
        raise SealError(f"{place} cannot be opened with this subject's key") from None


def _derived(key: bytes) -> bytes:
    # RFC 5869 for one block of output: extract with the salt of zeros that stands for none, then expand once.
    extracted = hmac.digest(_NO_SALT, key, "sha256")
    return hmac.digest(extracted, _INFO + b"\x01", "sha256")
