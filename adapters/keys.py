"""The keys that a source has shown so far, held in six bytes each, so that a million records cost some megabytes."""

from __future__ import annotations

from hashlib import blake2b

_BUCKETS = 1 << 12
_BYTES = 6


class Keys:
    """Tells a key that comes again. Two keys are taken for one with a chance of n² / 2⁶¹, and then one is refused."""

    def __init__(self) -> None:
        self._buckets: dict[int, bytearray] = {}

    def again(self, key: str) -> bool:
        """Whether the key was there before; it is from now on."""
        digest = blake2b(key.encode("utf-8", "surrogatepass"), digest_size=_BYTES + 2).digest()
        mark = digest[:_BYTES]
        bucket = self._buckets.setdefault(int.from_bytes(digest[_BYTES:], "big") % _BUCKETS, bytearray())
        at = bucket.find(mark)
        while at >= 0 and at % _BYTES:  # found across the border of two marks
            at = bucket.find(mark, at + 1)
        if at >= 0:
            return True
        bucket += mark
        return False
