"""The keys of a node's persons: what hides their identifiers, and what wraps the key of each.

Both can be changed while the node runs. A blind index, once written, stays under the key that it was made with, since
the identifier itself is kept nowhere; so whoever looks asks under every key that is still in use, and writes under the
first. A person's key is opened by whichever wrapping key it was wrapped with, and wrapped by the first.
Source: RFC 3394 (AES key wrap, whose integrity check tells which key it was); RFC 2104 (HMAC).
"""

from __future__ import annotations

import hashlib
import hmac
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from threading import Lock
from typing import Final

from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap, aes_key_wrap

KEY_BYTES: Final = 32
CACHED_KEYS: Final = 8_192
_BLOCK: Final = 64  # bytes that SHA-256 takes at once


class SubjectError(ValueError):
    """No such subject, one whose key was destroyed, no identifier to go by, or keys that are none."""


class KeyedHash:
    """HMAC-SHA-256 under one key. An exchange takes some thirty of them, so what depends on the key alone is done once.

    Source: RFC 2104 section 4, which recommends it.
    """

    def __init__(self, key: bytes) -> None:
        block = (hashlib.sha256(key).digest() if len(key) > _BLOCK else key).ljust(_BLOCK, b"\0")
        self._inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in block))
        self._outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in block))

    def of(self, message: bytes) -> bytes:
        """The keyed hash of a message, 32 bytes."""
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(message)
        outer.update(inner.digest())
        return outer.digest()


class SubjectKeys:
    """The wrapping keys and index keys in use, of each kind the one that writes first. Safe to use from any thread.

    Of `cached` persons the key is kept unwrapped.
    """

    def __init__(self, wrapping: Sequence[bytes], index: Sequence[bytes], cached: int = CACHED_KEYS) -> None:
        self._cached = cached
        self._unwrapped: OrderedDict[bytes, bytes] = OrderedDict()
        self._lock = Lock()
        self.use(wrapping, index)

    def use(self, wrapping: Sequence[bytes], index: Sequence[bytes]) -> None:
        """Go by these keys from now on. Raises SubjectError, and goes on with the former ones then."""
        if not wrapping or not index:
            raise SubjectError("a node needs a wrapping key and an index key")
        if any(len(key) not in (16, 24, 32) for key in wrapping) or any(len(key) < KEY_BYTES for key in index):
            raise SubjectError("the wrapping key has 16, 24 or 32 bytes and the index key at least 32")
        # One assignment, so that nobody meets the new keys of one kind with the old ones of the other.
        self._keys = tuple(wrapping), tuple(index), tuple(map(KeyedHash, index))

    @property
    def index_key_id(self) -> str:
        """What rows say of the index key that they were written under; it tells nothing of the key."""
        return key_id(self._keys[1][0])

    def digest(self, message: bytes) -> bytes:
        """The keyed hash under which something is written."""
        return self._keys[2][0].of(message)

    def digests(self, *messages: bytes) -> tuple[bytes, ...]:
        """The keyed hashes under which something may have been written, those of the key that writes first."""
        return tuple(keyed.of(message) for keyed in self._keys[2] for message in messages)

    def wrap(self, key: bytes) -> bytes:
        """A person's key as it is stored."""
        return aes_key_wrap(self._keys[0][0], key)

    def unwrap(self, wrapped: bytes) -> bytes:
        """A person's key. Raises InvalidUnwrap if no wrapping key in use has wrapped it."""
        with self._lock:
            key = self._unwrapped.get(wrapped)
            if key is not None:
                self._unwrapped.move_to_end(wrapped)
                return key
        key = unwrapped(self._keys[0], wrapped)
        with self._lock:
            self._unwrapped[wrapped] = key
            if len(self._unwrapped) > self._cached:
                self._unwrapped.popitem(last=False)
        return key

    def forget(self, wrapped: bytes) -> None:
        """Keep nothing of a person's key that was destroyed."""
        with self._lock:
            self._unwrapped.pop(wrapped, None)


def key_id(index_key: bytes) -> str:
    """What rows say of an index key."""
    return hmac.digest(index_key, b"key id", "sha256").hex()[:8]


def unwrapped(wrapping: Sequence[bytes], wrapped: bytes) -> bytes:
    """What one of these keys has wrapped. Raises InvalidUnwrap."""
    for key in wrapping:
        with suppress(InvalidUnwrap):
            return aes_key_unwrap(key, wrapped)
    raise InvalidUnwrap
