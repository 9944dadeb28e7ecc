"""The keys that a source has shown so far, held in ten bytes each, so that a million records cost ten megabytes."""

from __future__ import annotations

from array import array
from hashlib import blake2b

_BUCKETS = 1 << 14


class Keys:
    """Tells a key that comes again. Two keys are taken for one with a chance of n² / 2⁶⁵, and then one is refused."""

    def __init__(self) -> None:
        self._buckets: dict[int, array[int]] = {}

    def again(self, key: str) -> bool:
        """Whether the key was there before; it is from now on."""
        mark = int.from_bytes(blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")
        bucket = self._buckets.setdefault(mark % _BUCKETS, array("Q"))
        if mark in bucket:
            return True
        bucket.append(mark)
        return False
