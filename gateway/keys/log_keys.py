"""The keys of the node's log: the one that signs, one that is to follow, and the public halves of those before it.

`log.key` holds the secret halves. With a second one in it every checkpoint is signed by both, so that whoever knows
either can go on: that is how one key follows another without a moment at which somebody is left behind. `log.former`
beside it says which keys the log had before, each with the last checkpoint that it signed together with its follower:
the former's word for the new one, and the size after which nothing counts that only the former signs.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import orjson
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from audit.tree.checkpoint import Former, LogSigner, NoteError, VerifierKey, succeeding
from gateway.keys import durable, ring

FORMER: Final = "log.former"
_MOST: Final = 2


def former_file(path: Path) -> Path:
    """Where the former keys of the log stand whose key lies at `path`."""
    return path.with_name(FORMER)


def signer(path: Path, origin: str) -> LogSigner:
    """What signs the log's checkpoints. Raises RingError, OSError."""
    keys = [Ed25519PrivateKey.from_private_bytes(key) for key in ring.read(path)]
    if len(keys) > _MOST:
        raise ring.RingError(f"{path} holds {len(keys)} keys: the log's is one, or two while it changes")
    current = LogSigner(keys[0], origin).verifier
    coming = keys[1] if len(keys) > 1 else None
    return LogSigner(keys[0], origin, coming=coming, former=_read(former_file(path), current))


def _read(path: Path, current: VerifierKey) -> tuple[Former, ...]:
    """The keys before this one, the oldest first."""
    try:
        items = orjson.loads(path.read_bytes())
        found = (Former(VerifierKey.parse(item["key"]), item["checkpoint"]) for item in items)
        # A change that was ended just before its end has written the key that still signs among them.
        return succeeding(current, tuple(former for former in found if former.key != current)).former
    except FileNotFoundError:
        return ()
    except (NoteError, ValueError, TypeError, KeyError) as error:
        raise ring.RingError(f"{path} does not tell which keys the log had before: {error}") from error


def keep_former(path: Path, former: Sequence[Former]) -> None:
    """Write which keys the log had before, in one step and for good. Raises OSError."""
    document = [{"key": str(item.key), "checkpoint": item.note} for item in former]
    durable.replace(path, orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
