"""What is sealed under a person's key opens with that key, in that place, unchanged, and not otherwise."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given
from hypothesis import strategies as st

from gateway.storage.sealing import SealError, seal, unseal

KEY, OTHER = b"k" * 32, b"o" * 32


@given(st.binary(max_size=300), st.text(max_size=40))
def test_what_was_sealed_opens_in_its_place(value: bytes, place: str) -> None:
    sealed = seal(KEY, place, value)

    assert unseal(KEY, place, sealed) == value
    assert seal(KEY, place, value) != sealed, "each sealing has a nonce of its own"


@given(st.binary(max_size=100), st.integers(min_value=0), st.integers(1, 255))
def test_changed_moved_or_foreign_does_not_open(value: bytes, at: int, by: int) -> None:
    sealed = bytearray(seal(KEY, "inbox/1", value))
    for key, place in ((OTHER, "inbox/1"), (KEY, "inbox/2")):
        with pytest.raises(SealError):
            unseal(key, place, bytes(sealed))

    sealed[at % len(sealed)] ^= by

    with pytest.raises(SealError, match="inbox/1 cannot be opened"):
        unseal(KEY, "inbox/1", bytes(sealed))


@pytest.mark.parametrize("sealed", [b"", b"short", b"x" * 12])
def test_what_is_no_sealed_value_does_not_open(sealed: bytes) -> None:
    with pytest.raises(SealError):
        unseal(KEY, "inbox/1", sealed)


@given(st.binary(min_size=32, max_size=32), st.binary(max_size=100))
def test_the_key_that_seals_is_that_of_rfc_5869(key: bytes, value: bytes) -> None:
    derived = HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=b"yhdyspinta sealed payload").derive(key)
    nonce = b"n" * 12

    assert unseal(key, "inbox/1", nonce + AESGCM(derived).encrypt(nonce, value, b"inbox/1")) == value
