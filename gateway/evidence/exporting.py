"""Write the evidence of one exchange into a file, after the log has an entry of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Engine

from audit.log.entries import Entry, EntryType, Outcome
from audit.log.log import Log
from audit.questions.keys import SubjectKeys
from audit.questions.subjects import Subjects
from audit.tree.checkpoint import LogSigner
from gateway.evidence.collecting import Holdings, collect, entries_of
from gateway.evidence.package import Evidence, write
from gateway.evidence.presenting import present
from gateway.keys import durable, log_keys, ring
from gateway.keys.errors import TrustError
from gateway.registry.read.distribution import RegistryClient
from gateway.registry.read.entries import log_origin
from gateway.settings import Settings
from gateway.story import Story


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which message is to be proved, as which side of it, from which archives, and whether with its bodies."""

    message_id: str
    direction: str | None
    archives: tuple[Path, ...]
    with_bodies: bool


@dataclass(frozen=True, slots=True)
class Opened:
    """The node's secrets, read: what signs its log, and what opens bodies."""

    signer: LogSigner
    subjects: Subjects

    @classmethod
    def of(cls, settings: Settings) -> Opened:
        """Read them. Raises TrustError `key-unreadable`, OSError."""
        keys = SubjectKeys(_secrets(settings.secrets.wrapping_key), _secrets(settings.secrets.index_key))
        subjects = Subjects.under(keys)
        try:
            return cls(log_keys.signer(settings.secrets.log_key, log_origin(settings.node.id)), subjects)
        except ring.RingError as error:
            raise TrustError("key-unreadable", str(error), "restore it from your backup") from None


def holdings_of(settings: Settings, opened: Opened, *, archives: Sequence[Path], with_bodies: bool) -> Holdings:
    """What the node has to prove messages with, beside its database. Raises OSError."""
    client = RegistryClient(settings.registry.source, settings.registry.cache, settings.registry.root.read_bytes())
    return Holdings(
        client.vouched,
        opened.signer.verifier,
        opened.subjects if with_bodies else None,
        b"".join(path.read_bytes() for path in settings.timestamps.authorities),
        archives,
    )


def export(settings: Settings, engine: Engine, opened: Opened, wanted: Wanted, target: Path) -> Evidence:
    """Write the evidence, after the log has an entry of it. Raises what reading secrets, database and log raises."""
    now = datetime.now(UTC)
    signer = opened.signer
    holdings = holdings_of(settings, opened, archives=wanted.archives, with_bodies=wanted.with_bodies)
    with engine.connect() as connection:
        evidence = collect(connection, wanted.message_id, holdings, direction=wanted.direction)
    data = write(evidence, present(evidence), now)
    log = Log(engine, signer, origin=signer.name, clock=lambda: datetime.now(UTC))
    log.start()
    try:
        # What may hold personal data leaves the node only once the log says that it does.
        log.append_blocking((_record(settings, evidence, now),))
    finally:
        log.close()
    durable.create(target, data)
    return evidence


def _record(settings: Settings, evidence: Evidence, now: datetime) -> Entry:
    about = entries_of(evidence)[-1]
    return Story(
        client="yhdyspinta evidence",
        node=settings.node.id,
        source=about.source,
        service=about.service,
        subject=about.subject,
        purpose=about.purpose,
    ).entry(
        EntryType.EXPORT,
        Outcome.SUCCESS,
        now,
        categories=about.categories,
        previous=about.id,
        detail={"kind": "evidence", "message": evidence.message_id, "bodies": len(evidence.bodies)},
    )


def _secrets(path: Path) -> tuple[bytes, ...]:
    """The keys of a secret of the node. Raises TrustError `key-unreadable`."""
    try:
        return ring.read(path)
    except ring.RingError as error:
        raise TrustError("key-unreadable", str(error), "restore it from your backup") from None
