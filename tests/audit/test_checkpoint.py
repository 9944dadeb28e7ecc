"""Checkpoints are those of the public formats: published notes verify, and ours verify without our code."""

from __future__ import annotations

import base64
import struct
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey, MLDSA44PublicKey
from hypothesis import given
from hypothesis import strategies as st

from audit.log.entries import Entry
from audit.tree.checkpoint import (
    MAX_SIGNATURES,
    Checkpoint,
    KeyType,
    LogSigner,
    NoteError,
    VerifierKey,
    WitnessSigner,
    cosigned_message,
    parse_checkpoint,
    split_note,
    verify_checkpoint,
    with_signatures,
)
from audit.tree.proofs import prove
from tests.audit.conftest import Bench

VECTORS = Path(__file__).parents[1] / "vectors" / "audit"
ARCHE = (VECTORS / "arche.note").read_text("utf-8")
COACH = (VECTORS / "coachandhorses.note").read_text("utf-8")
ARCHE_KEY = "arche2025h1.staging.ct.transparency.dev+ba2f06c0+AU0vHmlGCS/PdN8b2OaGmKprLI8HKM+dJ472xgFYh15f"
REMORA_KEY = "remora.n621.de+da77ade7+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2"
# The example of the Go checksum database's note package.
NEUMANN_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
NEUMANN_TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
NEUMANN_LINE = (
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM="
)
# The example of the specification of signed notes.
EXAMPLE_KEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
EXAMPLE_TEXT = "This is an example message.\n"
EXAMPLE_LINE = (
    "— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM="
)

SIGNER = LogSigner(Ed25519PrivateKey.from_private_bytes(b"\x01" * 32), "log.example.fi/node-a")
OTHER = LogSigner(Ed25519PrivateKey.from_private_bytes(b"\x02" * 32), "log.example.fi/node-a")
ML_DSA = WitnessSigner(MLDSA44PrivateKey.from_seed_bytes(b"\x03" * 32), "witness.example.fi/m")
ED25519 = WitnessSigner(Ed25519PrivateKey.from_private_bytes(b"\x04" * 32), "witness.example.fi/e")
ROOT = sha256(b"root").digest()


@pytest.mark.parametrize(
    ("key", "text", "line"),
    [(NEUMANN_KEY, NEUMANN_TEXT, NEUMANN_LINE), (EXAMPLE_KEY, EXAMPLE_TEXT, EXAMPLE_LINE)],
    ids=["go", "specification"],
)
def test_published_note_is_read_and_its_key_has_the_published_id(key: str, text: str, line: str) -> None:
    parsed = VerifierKey.parse(key)
    assert str(parsed) == key
    read, (signature,) = split_note(f"{text}\n{line}\n")
    assert (read, signature.name, signature.key_id) == (text, parsed.name, parsed.key_id)
    assert signature.line == line
    Ed25519PublicKey.from_public_bytes(parsed.public_key).verify(signature.signature, text.encode())


def test_go_signing_key_gives_the_published_signature() -> None:
    seed = base64.b64decode("AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz")[1:]
    signer = LogSigner(Ed25519PrivateKey.from_private_bytes(seed), "PeterNeumann")
    assert str(signer.verifier) == NEUMANN_KEY


def test_published_checkpoint_of_a_real_log_verifies_with_its_ed25519_cosignature() -> None:
    checkpoint, marks = verify_checkpoint(ARCHE, VerifierKey.parse(ARCHE_KEY), [VerifierKey.parse(REMORA_KEY)])
    assert (checkpoint.origin, checkpoint.size) == ("arche2025h1.staging.ct.transparency.dev", 1432088532)
    assert [(mark.witness, mark.timestamp) for mark in marks] == [("remora.n621.de", 0x6A122120)]
    assert len(checkpoint.signatures) == 6


@pytest.mark.parametrize("key", [ARCHE_KEY, REMORA_KEY], ids=["log", "witness"])
def test_published_checkpoint_fails_once_its_size_is_another(key: str) -> None:
    forged = ARCHE.replace("1432088532", "1432088533")
    with pytest.raises(NoteError, match="does not hold"):
        verify_checkpoint(forged, VerifierKey.parse(ARCHE_KEY), [VerifierKey.parse(key)])


def test_published_ml_dsa_44_cosignature_of_a_real_witness_verifies() -> None:
    key = VerifierKey.parse((VECTORS / "navigli.vkey").read_text("utf-8"))
    assert key.type == KeyType.COSIGNATURE_ML_DSA_44
    checkpoint = parse_checkpoint(COACH)
    (line,) = [one for one in checkpoint.signatures if one.key_id == key.key_id]
    (timestamp,) = struct.unpack(">Q", line.signature[:8])
    public = MLDSA44PublicKey.from_public_bytes(key.public_key)
    public.verify(line.signature[8:], cosigned_message(key, checkpoint, timestamp))
    for changed in (replace(checkpoint, size=checkpoint.size + 1), replace(checkpoint, origin="another")):
        with pytest.raises(InvalidSignature):
            public.verify(line.signature[8:], cosigned_message(key, changed, timestamp))


# -- ours, verified without our code -----------------------------------------------------------------------------------


def independent_root(leaf: bytes, index: int, size: int, proof: list[bytes]) -> bytes:
    """The root that an inclusion proof leads to, after the recursive definition of RFC 6962, 2.1.1."""
    if size == 1:
        assert not proof
        return leaf
    split = 1
    while split * 2 < size:
        split *= 2
    *rest, sibling = proof
    if index < split:
        left, right = independent_root(leaf, index, split, rest), sibling
    else:
        left, right = sibling, independent_root(leaf, index - split, size - split, rest)
    return sha256(b"\x01" + left + right).digest()


@pytest.mark.parametrize("index", [0, 5, 255, 256, 298])
def test_entry_and_checkpoint_of_ours_verify_with_a_library_that_is_not_ours(
    bench: Bench, make_entry: Callable[..., Entry], index: int
) -> None:
    with bench.log() as log:
        log.append_blocking([make_entry() for _ in range(299)])
    with bench.engine.connect() as connection:
        made = prove(connection, index)

    text, _, block = made.checkpoint.note.rpartition("\n\n")
    origin, size, root = text.split("\n")
    name, encoded = block.removeprefix("— ").strip().split(" ")
    blob = base64.b64decode(encoded)
    vkey_name, vkey_id, vkey_key = str(bench.signer.verifier).split("+", 2)
    raw = base64.b64decode(vkey_key)
    assert name == vkey_name == origin
    assert raw[0] == 1
    assert sha256(name.encode() + b"\n" + raw).digest()[:4] == blob[:4] == bytes.fromhex(vkey_id)
    Ed25519PublicKey.from_public_bytes(raw[1:]).verify(blob[4:], f"{text}\n".encode())
    leaf = sha256(b"\x00" + made.entry.canonical()).digest()
    assert independent_root(leaf, index, int(size), list(made.proof)) == base64.b64decode(root)


@pytest.mark.parametrize("witness", [ML_DSA, ED25519], ids=["ml-dsa-44", "ed25519"])
def test_cosignature_of_ours_signs_the_published_message(witness: WitnessSigner) -> None:
    checkpoint = SIGNER.sign(60_002, ROOT)
    line = witness.cosign(checkpoint, 1_790_000_000)
    assert line.signature[:8] == (1_790_000_000).to_bytes(8, "big")
    origin, name = b"log.example.fi/node-a", witness.name.encode()
    if witness is ED25519:
        message = b"cosignature/v1\ntime 1790000000\n" + origin + b"\n60002\n" + base64.b64encode(ROOT) + b"\n"
        Ed25519PublicKey.from_public_bytes(witness.verifier.public_key).verify(line.signature[8:], message)
    else:
        message = b"subtree/v1\n\x00" + bytes([len(name)]) + name + (1_790_000_000).to_bytes(8, "big")
        message += bytes([len(origin)]) + origin + bytes(8) + (60_002).to_bytes(8, "big") + ROOT
        MLDSA44PublicKey.from_public_bytes(witness.verifier.public_key).verify(line.signature[8:], message)
    note = with_signatures(checkpoint.note, [line])
    _, (mark,) = verify_checkpoint(note, SIGNER.verifier, [witness.verifier])
    assert (mark.witness, mark.timestamp) == (witness.name, 1_790_000_000)


@given(st.integers(0, 2**63 - 1), st.binary(min_size=32, max_size=32))
def test_checkpoint_reads_back_as_it_was_signed(size: int, root: bytes) -> None:
    checkpoint = SIGNER.sign(size, root)
    assert verify_checkpoint(checkpoint.note, SIGNER.verifier) == (checkpoint, ())
    assert parse_checkpoint(checkpoint.note) == checkpoint
    with pytest.raises(NoteError):
        verify_checkpoint(checkpoint.note, OTHER.verifier)


def test_lines_of_unknown_keys_are_passed_over_and_a_bad_line_of_a_known_key_fails_the_note() -> None:
    checkpoint = SIGNER.sign(5, ROOT)
    mark = ML_DSA.cosign(checkpoint, 5)
    bad = replace(mark, signature=mark.signature[:-1] + bytes([mark.signature[-1] ^ 1]))
    with_bad = with_signatures(checkpoint.note, [bad])
    assert verify_checkpoint(with_bad, SIGNER.verifier)[1] == ()
    with pytest.raises(NoteError, match="does not hold"):
        verify_checkpoint(with_bad, SIGNER.verifier, [ML_DSA.verifier])
    short = replace(mark, signature=mark.signature[:-1])
    with pytest.raises(NoteError, match="length"):
        verify_checkpoint(with_signatures(checkpoint.note, [short]), SIGNER.verifier, [ML_DSA.verifier])


def test_note_without_the_logs_own_signature_is_refused() -> None:
    checkpoint = SIGNER.sign(5, ROOT)
    only = f"{checkpoint.text}\n{ML_DSA.cosign(checkpoint, 5).line}\n"
    with pytest.raises(NoteError, match="not signed by"):
        verify_checkpoint(only, SIGNER.verifier, [ML_DSA.verifier])
    with pytest.raises(NoteError, match="is of"):
        verify_checkpoint(LogSigner(Ed25519PrivateKey.generate(), "other").sign(5, ROOT).note, SIGNER.verifier)


def test_a_note_may_have_many_signatures_up_to_the_limit() -> None:
    checkpoint = SIGNER.sign(5, ROOT)
    lines = [ED25519.cosign(checkpoint, at) for at in range(MAX_SIGNATURES)]
    full = with_signatures(checkpoint.note, lines[:-1])
    assert len(verify_checkpoint(full, SIGNER.verifier, [ED25519.verifier])[1]) == MAX_SIGNATURES - 1 >= 16
    assert with_signatures(full, lines[:-1]) == full, "no line is added twice"
    with pytest.raises(NoteError, match="at most"):
        parse_checkpoint(with_signatures(checkpoint.note, lines))


@pytest.mark.parametrize(
    "change",
    [
        lambda note: note.replace("\n\n", "\n"),
        lambda note: note.replace("\n5\n", "\n05\n"),
        lambda note: note.replace("\n5\n", "\n-5\n"),
        lambda note: note.replace("\n5\n", f"\n{2**63}\n"),
        lambda note: note.replace("\n5\n", "\n5\nextension\n"),
        lambda note: note.replace("=\n\n", "\n\n"),
        lambda note: note.replace("—", "-"),
        lambda note: note[:-1],
        lambda note: note + "\n",
        lambda note: note.replace("\n5\n", "\n5\r\n"),
        lambda note: note.replace("\n5\n", "\n5\x00\n"),
        lambda note: "\n" + note,
        lambda note: note.replace("— ", "—  "),
        lambda note: "",
    ],
)
def test_malformed_note_is_refused(change: Callable[[str], str]) -> None:
    with pytest.raises(NoteError):
        verify_checkpoint(change(SIGNER.sign(5, ROOT).note), SIGNER.verifier)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "name",
        "name+00000000",
        f"{NEUMANN_KEY}A",
        NEUMANN_KEY.replace("c74f", "c74e"),
        "a b+00000000+AQ==",
        "+0+AA==",
    ],
)
def test_malformed_verifier_key_is_refused(text: str) -> None:
    with pytest.raises(NoteError):
        VerifierKey.parse(text)


def test_key_of_a_log_cosigns_nothing_and_names_have_limits() -> None:
    checkpoint = SIGNER.sign(5, ROOT)
    with pytest.raises(NoteError, match="does not cosign"):
        cosigned_message(SIGNER.verifier, checkpoint, 1)
    with pytest.raises(NoteError, match="63 bits"):
        cosigned_message(ML_DSA.verifier, checkpoint, 2**63)
    with pytest.raises(NoteError, match="255"):
        cosigned_message(ML_DSA.verifier, Checkpoint("x" * 256, 5, ROOT), 1)
    with pytest.raises(NoteError, match="32 bytes"):
        SIGNER.sign(5, b"short")
