"""Verify an export without the log it came from: its entries, proofs, checkpoints and cosignatures.

Needs nothing but the file and, to know *whose* log it is, the log's verifier key from a source one trusts. Without that
key the file is only shown to be consistent with the key it carries itself, and the report says so.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from audit.log.entries import Entry, EntryError
from audit.tree.checkpoint import Checkpoint, Cosignature, Former, NoteError, VerifierKey, succeeding, verify_checkpoint
from audit.tree.merkle import ProofError, leaf_hash, verify_consistency, verify_inclusion

FORMAT: Final = "yhdyspinta-audit-export/1"


class ExportError(ValueError):
    """Not an export of an audit log."""


@dataclass(frozen=True, slots=True)
class Problem:
    """What does not hold, and for which entry (None: for the export as a whole)."""

    index: int | None
    explanation: str


@dataclass(frozen=True, slots=True)
class ExportReport:
    """The outcome of a verification. `trusted`: the log's key was given by the caller, not taken from the file."""

    checkpoint: Checkpoint | None
    trusted: bool
    entries: tuple[tuple[int, Entry], ...]
    cosignatures: tuple[Cosignature, ...]
    earlier: tuple[Checkpoint, ...]
    problems: tuple[Problem, ...]

    @property
    def sound(self) -> bool:
        """Whether everything in the export holds."""
        return not self.problems


def _hashes(items: Sequence[str]) -> list[bytes]:
    hashes = [base64.b64decode(item, validate=True) for item in items]
    if any(len(item) != 32 for item in hashes):
        raise ProofError("a hash of the proof has not 32 bytes")
    return hashes


def _index(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ProofError("the index of an entry is a whole number")
    return value


def verify_export(
    data: bytes, *, log_key: VerifierKey | None = None, witnesses: Sequence[VerifierKey] | None = None
) -> ExportReport:
    """Check every entry, proof and signature of an export. Raises ExportError if it is not one.

    `log_key` and `witnesses` are the keys to trust; those in the file are used where none are given.
    """
    try:
        document: dict[str, Any] = orjson.loads(data)
        if document["format"] != FORMAT:
            raise ExportError(f"the file says it is {document['format']!r}, not {FORMAT!r}")
        key = log_key or VerifierKey.parse(document["log_key"])
        if not key.former:
            earlier_keys = document.get("log_former", ())
            key = succeeding(key, [Former(VerifierKey.parse(item["key"]), item["checkpoint"]) for item in earlier_keys])
        known = (
            tuple(witnesses)
            if witnesses is not None
            else tuple(VerifierKey.parse(text) for text in document.get("witness_keys", ()))
        )
        note, items, older = document["checkpoint"], document["entries"], document.get("earlier", [])
    except ExportError:
        raise
    except (NoteError, TypeError, KeyError, ValueError) as error:
        raise ExportError(f"not an export of an audit log: {error}") from error
    trusted = log_key is not None
    try:
        checkpoint, cosignatures = verify_checkpoint(note, key, known)
    except (NoteError, TypeError, AttributeError) as error:
        return ExportReport(None, trusted, (), (), (), (Problem(None, f"the checkpoint does not hold: {error}"),))
    problems: list[Problem] = []
    entries: list[tuple[int, Entry]] = []
    for item in items:
        index: int | None = None
        try:
            index = _index(item["index"])
            body = item["entry"].encode()
            verify_inclusion(leaf_hash(body), index, checkpoint.size, _hashes(item["proof"]), checkpoint.root)
            entry = Entry.parse(body)
            if entry.canonical() != body:
                raise EntryError("the entry is not in its canonical form")
            entries.append((index, entry))
        except (ProofError, EntryError, ValueError, TypeError, KeyError, AttributeError) as error:
            problems.append(Problem(index, f"record {'?' if index is None else index + 1}: {error}"))
    earlier: list[Checkpoint] = []
    for item in older:
        try:
            old, _ = verify_checkpoint(item["note"], key, known)
            verify_consistency(old.size, old.root, checkpoint.size, checkpoint.root, _hashes(item["proof"]))
            earlier.append(old)
        except (NoteError, ProofError, ValueError, TypeError, KeyError) as error:
            problems.append(Problem(None, f"an earlier checkpoint does not hold: {error}"))
    return ExportReport(checkpoint, trusted, tuple(entries), cosignatures, tuple(earlier), tuple(problems))
