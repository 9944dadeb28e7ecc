"""Publish the trust registry as signed static files (The Update Framework).

Who may say what is split between keys: root says who the others are and stays offline; `targets` vouches for the
network and its territories and delegates members and services to one authority, the rulebook to another; `snapshot`
and `timestamp` say which versions belong together and that they are fresh. Any web server or shared folder can serve
the result. The timestamp is written last, so that a reader sees the old registry or the new one and nothing between.
Source: TUF specification 1.0.33, sections 4 (formats) and 6 (repository operations); python-tuf `tuf.api.metadata`.
"""

from __future__ import annotations

import fcntl
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from securesystemslib.exceptions import StorageError
from securesystemslib.signer import Signer  # type: ignore[attr-defined]
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import (  # type: ignore[attr-defined]
    DelegatedRole,
    Delegations,
    Metadata,
    MetaFile,
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)

from gateway.keys import durable
from gateway.keys.errors import TrustError
from gateway.registry.read import targets
from gateway.registry.read.registry import Registry
from gateway.registry.read.roles import (
    DELEGATED,
    MEMBERS,
    OWNERS,
    ROLES,
    ROOT,
    RULEBOOK,
    SNAPSHOT,
    TARGETS,
    TIMESTAMP,
    KeyRing,
    Lifetimes,
    Part,
    Published,
)

_T = TypeVar("_T", Root, Targets, Snapshot, Timestamp)


@dataclass(slots=True)
class _Draft:
    """Metadata that is about to be written, by role."""

    root: Metadata[Root]
    targets: Metadata[Targets]
    delegated: dict[str, Metadata[Targets]]
    snapshot: Metadata[Snapshot]
    timestamp: Metadata[Timestamp]
    changed: set[str] = field(default_factory=set)
    given: dict[str, Metadata[Targets]] = field(default_factory=dict)


@dataclass(slots=True)
class _Round:
    """One publication: what it signs, with which keys, and what it is about to write, the timestamp last."""

    draft: _Draft
    files: Mapping[str, bytes]
    keys: KeyRing
    now: datetime
    writes: list[tuple[Path, bytes]] = field(default_factory=list)
    signed: list[str] = field(default_factory=list)


class Publisher:
    """The publication in a folder: `metadata/` and `targets/`."""

    def __init__(self, folder: Path, lifetimes: Lifetimes | None = None) -> None:
        self.folder = folder
        self.lifetimes = lifetimes if lifetimes is not None else Lifetimes()

    def create(
        self, files: Mapping[str, bytes], keys: KeyRing, thresholds: Mapping[str, int], now: datetime
    ) -> Published:
        """Begin a registry with its first content. Raises TrustError if one is there or the content does not hold."""
        if (self.folder / "metadata" / "timestamp.json").exists():
            raise TrustError("request-refused", f"{self.folder} already holds a registry")
        root = Root(version=1, expires=_whole(now + self.lifetimes.root), consistent_snapshot=True)
        for role in (ROOT, TARGETS, SNAPSHOT, TIMESTAMP):
            for signer in keys[role]:
                root.add_key(signer.public_key, role)
            root.roles[role].threshold = thresholds.get(role, 1)
        top = Targets(version=1, expires=_whole(now))
        top.delegations = Delegations(
            keys={},
            roles={
                role: DelegatedRole(role, [], thresholds.get(role, 1), terminating=True, paths=list(names))
                for role, names in DELEGATED.items()
            },
        )
        for role in DELEGATED:
            for signer in keys[role]:
                top.add_key(signer.public_key, role)
        draft = _Draft(
            root=Metadata(root),
            targets=Metadata(top),
            delegated={role: Metadata(Targets(version=1, expires=_whole(now))) for role in DELEGATED},
            snapshot=Metadata(Snapshot(version=1, expires=_whole(now))),
            timestamp=Metadata(Timestamp(version=1, expires=_whole(now))),
            changed=set(ROLES),
        )
        # Publishing raises each version by one; the library does not let one begin at nought.
        draft.snapshot.signed.version = draft.timestamp.signed.version = 0
        for metadata in (draft.targets, *draft.delegated.values()):
            metadata.signed.version = 0
        with self._alone():
            return self._publish(draft, files, keys, now)

    def publish(
        self,
        files: Mapping[str, bytes],
        keys: KeyRing,
        now: datetime,
        *,
        renew: bool = False,
        parts: Sequence[Part] = (),
    ) -> Published:
        """Sign what changed, and what has lived through half of its lifetime; always a new timestamp.

        Only the keys of roles with something to sign are needed; `parts` are signed already, and their files are among
        `files`. With `renew` every role but root signs anew. Raises TrustError: `key-unreadable` without such a key,
        `registry-malformed` for content that does not hold, `registry-unsigned` for a part with too few signatures.
        """
        with self._alone():
            draft = self._draft()
            if renew:
                draft.changed |= {TARGETS, MEMBERS, RULEBOOK, SNAPSHOT} & {role for role, own in keys.items() if own}
            for part in parts:
                draft.given[part.role] = _read_part(part)
            return self._publish(draft, files, keys, now)

    def sign_part(
        self, role: str, files: Mapping[str, bytes], signers: Sequence[Signer], now: datetime, part: Part | None = None
    ) -> Part:
        """Sign a delegated role's next metadata, for somebody else to publish; or add signatures to `part`.

        `files` are the role's own: what is not given stays as it is published.
        """
        if role not in DELEGATED:
            raise TrustError("request-refused", f"{role} is not a delegated role", f"sign {' or '.join(DELEGATED)}")
        if not signers:
            raise TrustError("key-unreadable", f"no key of {role} that counts in this registry is here")
        if part is not None:
            metadata = _read_part(part)
            vouched = dict(part.files)
        else:
            draft = self._draft()
            metadata = draft.delegated[role]
            published = self.files()
            vouched = {name: files.get(name, published[name]) for name in DELEGATED[role]}
            targets.read(published | vouched)
            metadata.signed.targets = _listed(vouched, role)
            metadata.signed.version += 1
            metadata.signed.expires = _whole(now + self.lifetimes.of(role))
            metadata.signatures.clear()
        for signer in signers:
            metadata.sign(signer, append=True)
        return Part(role, metadata.to_bytes(), vouched)

    def keyids(self) -> dict[str, tuple[frozenset[str], int]]:
        """The ids of the keys that count for each role, and how many of them must sign."""
        draft = self._draft()
        delegations = draft.targets.signed.delegations
        assert delegations is not None
        assert delegations.roles is not None
        return {
            role: (frozenset(listed.keyids), listed.threshold)
            for role, listed in (
                *((role, draft.root.signed.roles[role]) for role in (ROOT, TARGETS, SNAPSHOT, TIMESTAMP)),
                *((role, delegations.roles[role]) for role in DELEGATED),
            )
        }

    def rotate(
        self,
        role: str,
        successors: Sequence[Signer],
        keys: KeyRing,
        now: datetime,
        *,
        threshold: int | None = None,
    ) -> Published:
        """Replace all keys of a role by `successors`. `keys` holds the present ones of root, and of what is re-signed.

        A new root is signed by the keys of the old root and by its own, so that nodes can follow from one to the next.
        """
        with self._alone():
            draft = self._draft()
            ring = {name: list(signers) for name, signers in keys.items()}
            if role in DELEGATED:
                delegations = draft.targets.signed.delegations
                assert delegations is not None
                assert delegations.roles is not None
                delegated = delegations.roles[role]
                for keyid in list(delegated.keyids):
                    draft.targets.signed.revoke_key(keyid, role)
                for signer in successors:
                    draft.targets.signed.add_key(signer.public_key, role)
                delegated.threshold = threshold if threshold is not None else min(delegated.threshold, len(successors))
                draft.changed.add(TARGETS)
            else:
                root = draft.root.signed
                for keyid in list(root.roles[role].keyids):
                    root.revoke_key(keyid, role)
                for signer in successors:
                    root.add_key(signer.public_key, role)
                present = root.roles[role].threshold
                root.roles[role].threshold = threshold if threshold is not None else min(present, len(successors))
                draft.changed.add(ROOT)
                if role == ROOT:
                    ring[ROOT] = [*ring.get(ROOT, []), *successors]
            if role != ROOT:
                ring[role] = list(successors)
                draft.changed.add(role)
            return self._publish(draft, self.files(), ring, now)

    def files(self) -> dict[str, bytes]:
        """The content as published. Raises TrustError `registry-malformed` if nothing is there."""
        draft = self._draft()
        found: dict[str, bytes] = {}
        for metadata in (draft.targets, *draft.delegated.values()):
            for name, target in metadata.signed.targets.items():
                digest = target.hashes["sha256"]
                try:
                    found[name] = (self.folder / "targets" / f"{digest}.{name}").read_bytes()
                except OSError as error:
                    raise TrustError(
                        "registry-malformed", f"{name} cannot be read from {self.folder}: {error.strerror}"
                    ) from None
        return found

    def root(self) -> bytes:
        """The newest root metadata: what a joining member is given to begin with."""
        version = self._draft().root.signed.version
        return (self.folder / "metadata" / f"{version}.root.json").read_bytes()

    def expiries(self) -> dict[str, tuple[int, datetime]]:
        """Version and expiry (UTC) of each role's metadata."""
        draft = self._draft()
        listed: dict[str, tuple[int, datetime]] = {ROOT: _term(draft.root), TARGETS: _term(draft.targets)}
        listed |= {role: _term(metadata) for role, metadata in draft.delegated.items()}
        return {**listed, SNAPSHOT: _term(draft.snapshot), TIMESTAMP: _term(draft.timestamp)}

    def _publish(self, draft: _Draft, files: Mapping[str, bytes], keys: KeyRing, now: datetime) -> Published:
        _check_readable(files, now)
        work = _Round(draft, files, keys, now)
        if ROOT in draft.changed:
            self._renew_root(work)
        for role, metadata in ((TARGETS, draft.targets), *draft.delegated.items()):
            self._renew_targets(work, role, metadata)
        if SNAPSHOT in draft.changed or self._ages(SNAPSHOT, draft.snapshot, now):
            draft.snapshot.signed.version += 1
            version, data = draft.snapshot.signed.version, self._sign(SNAPSHOT, draft.snapshot, work)
            self._put(work, SNAPSHOT, f"{version}.snapshot", data)
            draft.timestamp.signed.snapshot_meta = MetaFile.from_data(version, data, ["sha256"])
        draft.timestamp.signed.version += 1
        self._put(work, TIMESTAMP, "timestamp", self._sign(TIMESTAMP, draft.timestamp, work))
        self._check(draft)
        for name, data in files.items():
            _write(self.folder / "targets" / f"{hashlib.sha256(data).hexdigest()}.{name}", data)
        for path, data in work.writes:
            _write(path, data)
        expires = min(end for _version, end in self.expiries().values())
        return Published(draft.snapshot.signed.version, tuple(work.signed), expires)

    def _renew_root(self, work: _Round) -> None:
        root = work.draft.root
        if (self.folder / "metadata" / "1.root.json").exists():
            root.signed.version += 1
        self._put(work, ROOT, f"{root.signed.version}.root", self._sign(ROOT, root, work))

    def _renew_targets(self, work: _Round, role: str, metadata: Metadata[Targets]) -> None:
        """Take in what was signed elsewhere as this role, or sign it here if it changed or has aged."""
        draft, listed = work.draft, _listed(work.files, role)
        given = draft.given.get(role)
        if given is not None:
            if given.signed.version != metadata.signed.version + 1 or given.signed.targets != listed:
                raise TrustError(
                    "request-refused",
                    f"what was signed as {role} does not follow on what is published",
                    "have it signed anew, from the registry as it is published now",
                )
            draft.delegated[role] = metadata = given
            data = given.to_bytes()
        elif (
            listed != metadata.signed.targets
            or role in draft.changed
            # What only ages waits for its authority while it is good, rather than hold up everybody's timestamp.
            or (self._ages(role, metadata, work.now) and (work.keys.get(role) or metadata.signed.expires <= work.now))
        ):
            metadata.signed.targets = listed
            metadata.signed.version += 1
            data = self._sign(role, metadata, work)
        else:
            return
        version = metadata.signed.version
        self._put(work, role, f"{version}.{role}", data)
        draft.snapshot.signed.meta[f"{role}.json"] = MetaFile.from_data(version, data, ["sha256"])
        draft.changed.add(SNAPSHOT)

    def _put(self, work: _Round, role: str, name: str, data: bytes) -> None:
        work.writes.append((self.folder / "metadata" / f"{name}.json", data))
        work.signed.append(role)

    def _ages(self, role: str, metadata: Metadata[_T], now: datetime) -> bool:
        return metadata.signed.expires - now < self.lifetimes.of(role) / 2

    def _sign(self, role: str, metadata: Metadata[_T], work: _Round) -> bytes:
        signers = work.keys.get(role, ())
        if not signers:
            raise TrustError(
                "key-unreadable", f"the registry has something to sign as {role}, and no key of that role is here"
            )
        metadata.signed.expires = _whole(work.now + self.lifetimes.of(role))
        metadata.signatures.clear()
        for signer in signers:
            metadata.sign(signer, append=True)
        return metadata.to_bytes()

    def _check(self, draft: _Draft) -> None:
        """Refuse to publish what no node would believe."""
        try:
            for role, metadata in (
                (ROOT, draft.root),
                (TARGETS, draft.targets),
                (SNAPSHOT, draft.snapshot),
                (TIMESTAMP, draft.timestamp),
            ):
                draft.root.signed.verify_delegate(role, metadata.signed_bytes, metadata.signatures)
            for role, delegated in draft.delegated.items():
                draft.targets.signed.verify_delegate(role, delegated.signed_bytes, delegated.signatures)
            former = self.folder / "metadata" / f"{draft.root.signed.version - 1}.root.json"
            if ROOT in draft.changed and former.exists():
                Metadata[Root].from_file(str(former)).signed.verify_delegate(
                    ROOT, draft.root.signed_bytes, draft.root.signatures
                )
        except RepositoryError as error:
            raise TrustError("registry-unsigned", str(error), "sign with the keys that the role names") from None

    def _draft(self) -> _Draft:
        folder = self.folder / "metadata"
        roots = list(folder.glob("*.root.json"))
        if not roots:
            raise TrustError(
                "registry-malformed",
                f"{self.folder} holds no registry: there is no metadata/*.root.json in it",
                "name the folder of an authority, which `registry init` makes, or its registry/",
            )
        try:
            version = max(int(path.name.split(".", 1)[0]) for path in roots)
            root = Metadata[Root].from_file(str(folder / f"{version}.root.json"))
            timestamp = Metadata[Timestamp].from_file(str(folder / "timestamp.json"))
            snapshot = Metadata[Snapshot].from_file(
                str(folder / f"{timestamp.signed.snapshot_meta.version}.snapshot.json")
            )
            found = {
                role: Metadata[Targets].from_file(
                    str(folder / f"{snapshot.signed.meta[f'{role}.json'].version}.{role}.json")
                )
                for role in (TARGETS, *DELEGATED)
            }
        except (OSError, ValueError, KeyError, RepositoryError, StorageError) as error:
            raise TrustError(
                "registry-malformed", f"{self.folder} holds no registry that can be read: {error}"
            ) from None
        top = found.pop(TARGETS)
        return _Draft(root, top, found, snapshot, timestamp)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Two who publish at once would each leave out what the other wrote."""
        (self.folder / "metadata").mkdir(parents=True, exist_ok=True)
        (self.folder / "targets").mkdir(exist_ok=True)
        with (self.folder / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _check_readable(files: Mapping[str, bytes], now: datetime) -> None:
    """Read in full what nodes read on demand, so that nothing unreadable is ever signed. Raises TrustError."""
    content = targets.read(files)
    for service in content.services:
        if service.id.member.instance != content.instance:
            raise TrustError("registry-foreign", f"{service.id} is not of the instance {content.instance}")
    Registry(content, version=0, expires=now)


def _read_part(part: Part) -> Metadata[Targets]:
    if part.role not in DELEGATED or set(part.files) != set(DELEGATED[part.role]):
        raise TrustError("request-malformed", f"this is not what {part.role} vouches for")
    try:
        return Metadata[Targets].from_bytes(part.metadata)
    except (RepositoryError, ValueError) as error:
        raise TrustError("request-malformed", f"what {part.role} has signed cannot be read: {error}") from None


def _listed(files: Mapping[str, bytes], role: str) -> dict[str, TargetFile]:
    return {
        name: TargetFile.from_data(name, data, ["sha256"])
        for name, data in files.items()
        if OWNERS.get(name, TARGETS) == role
    }


def _term(metadata: Metadata[_T]) -> tuple[int, datetime]:
    return metadata.signed.version, metadata.signed.expires


def _whole(moment: datetime) -> datetime:
    return moment.replace(microsecond=0)


def _write(path: Path, data: bytes) -> None:
    """Write, for everybody to read, so that a reader finds the whole file or none of it."""
    durable.replace(path, data, 0o644)
