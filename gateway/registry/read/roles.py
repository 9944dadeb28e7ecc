"""The roles that share the signing of a registry: what each vouches for, for how long, with which keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from securesystemslib.signer import Signer  # type: ignore[attr-defined]

from gateway.registry.read import targets

ROOT, TARGETS, SNAPSHOT, TIMESTAMP = "root", "targets", "snapshot", "timestamp"
MEMBERS, RULEBOOK = "members", "rulebook"
ROLES = (ROOT, TARGETS, MEMBERS, RULEBOOK, SNAPSHOT, TIMESTAMP)
DELEGATED: Mapping[str, tuple[str, ...]] = {
    MEMBERS: (targets.MEMBERS, targets.SERVICES),
    RULEBOOK: (targets.RULEBOOK,),
}
OWNERS = {name: role for role, names in DELEGATED.items() for name in names}

KeyRing = Mapping[str, Sequence[Signer]]
"""The signers at hand for each role."""


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """How long what each role signs is good for. Nodes stop at the first that ends."""

    root: timedelta = timedelta(days=365)
    targets: timedelta = timedelta(days=180)
    members: timedelta = timedelta(days=90)
    rulebook: timedelta = timedelta(days=365)
    snapshot: timedelta = timedelta(days=14)
    timestamp: timedelta = timedelta(days=2)

    def of(self, role: str) -> timedelta:
        """The lifetime of a role's signature."""
        found: timedelta = getattr(self, role)
        return found


@dataclass(frozen=True, slots=True)
class Published:
    """What a publication wrote: the registry's version, and the roles whose metadata is new."""

    version: int
    signed: tuple[str, ...]
    expires: datetime


@dataclass(frozen=True, slots=True)
class Part:
    """What the authority of a delegated role has signed on its own: its metadata, and the files that it vouches for."""

    role: str
    metadata: bytes
    files: Mapping[str, bytes]
