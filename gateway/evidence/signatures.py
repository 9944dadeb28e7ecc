"""Every signature of the registry's metadata in a package holds, also those beyond the number that is needed.

Whoever follows the registry is content with as many signatures as a role needs. A package of evidence is to be as it
was made: a signature that is spare and was touched shows that somebody has touched it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from securesystemslib.exceptions import UnverifiedSignatureError
from securesystemslib.signer import Key  # type: ignore[attr-defined]
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, Root, Snapshot, Targets, Timestamp  # type: ignore[attr-defined]

from gateway.keys.errors import TrustError
from gateway.registry.read.roles import DELEGATED, ROOT, TARGETS

_HEX: Final = re.compile("[0-9a-f]+")
_Signed = Metadata[Root] | Metadata[Timestamp] | Metadata[Snapshot] | Metadata[Targets]


def spoilt(files: Mapping[str, bytes]) -> list[str]:
    """The metadata files of one version of the registry with a signature that does not hold. Raises TrustError."""
    try:
        return [name for name, metadata, keys in _signed(files) if not _holds(metadata, keys)]
    except (RepositoryError, ValueError, KeyError) as error:
        raise TrustError("evidence-unsound", f"the registry's metadata cannot be read: {error}") from None


def _signed(files: Mapping[str, bytes]) -> Iterator[tuple[str, _Signed, dict[str, Key]]]:
    """Each metadata file, and the keys that may have signed it."""
    roots = {
        name: Metadata[Root].from_bytes(data) for name, data in sorted(files.items()) if name.endswith(f".{ROOT}.json")
    }
    by_version = {metadata.signed.version: metadata for metadata in roots.values()}
    for name, root in roots.items():
        before = by_version.get(root.signed.version - 1, root)
        yield name, root, _keys(before.signed, ROOT) | _keys(root.signed, ROOT)
    newest = by_version[max(by_version)].signed
    targets = Metadata[Targets].from_bytes(files[f"metadata/{TARGETS}.json"])
    for name, data in files.items():
        role = name.removeprefix("metadata/").removesuffix(".json")
        if name in roots or not name.startswith("metadata/"):
            continue
        if role in DELEGATED and targets.signed.delegations is not None:
            yield name, Metadata.from_bytes(data), _delegated(targets.signed, role)
        else:
            yield name, Metadata.from_bytes(data), _keys(newest, role)


def _keys(root: Root, role: str) -> dict[str, Key]:
    return {name: root.keys[name] for name in root.roles[role].keyids}


def _delegated(targets: Targets, role: str) -> dict[str, Key]:
    delegations = targets.delegations
    assert delegations is not None
    assert delegations.roles is not None
    return {name: delegations.keys[name] for name in delegations.roles[role].keyids}


def _holds(metadata: _Signed, keys: Mapping[str, Key]) -> bool:
    """Whether each signature is of a key of the role, written in its one form, and right."""
    for name, signature in metadata.signatures.items():
        key = keys.get(name)
        if key is None or not _HEX.fullmatch(signature.signature):
            return False
        try:
            key.verify_signature(signature, metadata.signed_bytes)
        except UnverifiedSignatureError:
            return False
    return True
