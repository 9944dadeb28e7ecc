"""Notice that the database is an older one than this node had, and release nothing until somebody has answered for it.

A database that was restored has forgotten what came after the backup: prohibitions that were given since, withdrawals,
what was delivered, message ids that were taken. Under its right secrets it would start as if nothing were missing. So
a node keeps the newest checkpoint of its log beside its secrets, in a file of its own, and asks other nodes for the
newest that they hold of it. If one of them is ahead of the database, or contradicts it, the node is *held*: it serves
its console and takes words of people in, and releases nothing. `yhdyspinta node end-hold` ends that, on record.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import orjson
from sqlalchemy import Engine, select
from sqlalchemy.exc import SQLAlchemyError

from audit.log.entries import EntryType, Outcome, moment
from audit.log.failure import said
from audit.log.log import Log
from audit.log.tables import head
from audit.tree.checkpoint import Checkpoint, NoteError, verify_checkpoint
from audit.tree.merkle import ProofError, root_at
from audit.tree.proofs import current
from audit.tree.tiles import StoredTiles
from gateway.keys import durable
from gateway.node.wiring import log_of
from gateway.registry.read.standing import Standing
from gateway.settings import Settings
from gateway.story import Story
from gateway.telemetry import event
from gateway.wire.problems import ProblemError

LOGGER = logging.getLogger("yhdyspinta.hold")
#: Until when the first round of questions to other nodes may take: a node whose peers are all silent starts after it.
ASKING_SECONDS: Final = 5.0
AGAIN_SECONDS: Final = 5.0
FILE: Final = "the file beside the secrets"


class HoldError(Exception):
    """The hold is not ended: why."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What the file beside the secrets says: the newest checkpoint, and up to which size a loss was answered for."""

    note: str
    settled: int = 0


class HoldKind(StrEnum):
    """Why a node may be held, and so what ends it."""

    OLDER = "older"  # the database lacks entries that the log had
    ANOTHER = "another"  # an older database went on: the log's beginning is not what it was
    UNREADABLE = "unreadable"  # what should tell cannot be read
    SECRETS = "secrets"
    ASKING = "asking"  # others that must be heard have not answered


#: What an operator does, by why the node is held.
REMEDIES: Final[Mapping[HoldKind, str]] = {
    HoldKind.OLDER: "put the newest database in place; if there is none, enter again what people have said since, then "
    "run `yhdyspinta node end-hold`",
    HoldKind.ANOTHER: "find out which database is the right one; then run `yhdyspinta node end-hold` on it",
    HoldKind.UNREADABLE: "run `yhdyspinta audit check`; if the database is the right one, `yhdyspinta node end-hold`",
    HoldKind.SECRETS: "copy the newest secret files to this machine; the node goes on by itself",
    HoldKind.ASKING: "wait for other nodes to answer, or lower audit.answers_at_start",
}


@dataclass(frozen=True, slots=True)
class Reason:
    """Why nothing is released: who knows better, and how far they say that the log had come."""

    kind: HoldKind
    known_to: str
    size: int
    explanation: str
    #: The time of the newest entry that the database has: what was said since is to be entered again.
    since: datetime | None = None
    #: How many entries the database lacks. What the held node writes itself brings none of them back.
    lacking: int = 0


def path_of(settings: Settings) -> Path:
    """Where the newest checkpoint is kept: with the secrets, since a backup of the database is not to contain it."""
    return settings.secrets.log_key.with_name("log.checkpoint")


def read(path: Path) -> Kept | None:
    """What was kept; None if nothing was. Raises ValueError for a file that says nothing of the kind."""
    try:
        document = orjson.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    if not isinstance(document, dict) or not isinstance(document.get("checkpoint"), str):
        raise ValueError("no checkpoint")
    settled = document.get("settled", 0)
    return Kept(document["checkpoint"], settled if type(settled) is int else 0)


def write(path: Path, kept: Kept) -> None:
    """Keep it in place of what was kept, in one step and for good. Raises OSError."""
    durable.replace(path, orjson.dumps({"checkpoint": kept.note, "settled": kept.settled}))


class Hold:
    """Whether this node is held, and the gate that everything passes which releases."""

    def __init__(self, path: Path, engine: Engine, log: Log) -> None:
        self._path = path
        self._engine = engine
        self._log = log
        self._by_file: Reason | None = None
        self._by_others: Reason | None = None
        self._by_secrets: Reason | None = None
        self._older: tuple[int, datetime] | None = None  # how far the database had come when it was found to be older
        self._settled = 0
        self._written: Checkpoint | None = None
        self._seen = -1
        self._wants = 0
        self._answered: set[str] = set()
        self._is_writable = True

    def look(self) -> None:
        """Hold the file beside the secrets against the database. Blocks; call it before anything is released."""
        stamp = self._path.stat().st_mtime_ns if self._path.exists() else 0
        if stamp == self._seen:
            return
        self._seen = stamp
        try:
            kept = read(self._path)
            checkpoint = verify_checkpoint(kept.note, self._log.verifier)[0] if kept is not None else None
        except (ValueError, NoteError):
            # Not of this log's key, or no checkpoint at all: whoever put it there has to say what it is.
            self._by_file = Reason(HoldKind.UNREADABLE, FILE, 0, f"{self._path.name} is no checkpoint of this log")
        else:
            self._settled = kept.settled if kept is not None else 0
            self._by_file = self._contradicted(FILE, checkpoint) if checkpoint is not None else None
            if self._by_others is not None and self._by_others.size <= self._settled:
                self._by_others = None
        self._tell(self._by_file)

    def lack(self, lacking: str | None) -> None:
        """Hold the node for as long as its secrets lack something that its database asks for."""
        self._by_secrets = Reason(HoldKind.SECRETS, "the database", 0, lacking) if lacking is not None else None

    def hear(self, node: str, checkpoint: Checkpoint | None) -> None:
        """Hold what another node holds of this log, in our own signed words, against the database. Blocks."""
        self._answered.add(node)
        # What was answered for once is not asked about again: others go on holding it for good.
        if checkpoint is not None and checkpoint.size > self._settled:
            reason = self._contradicted(node, checkpoint)
            if reason is not None and (self._by_others is None or reason.size > self._by_others.size):
                self._by_others = reason
                self._tell(reason)

    def _contradicted(self, known_to: str, checkpoint: Checkpoint) -> Reason | None:
        """What speaks against the database, counted from where it was before the held node went on writing."""
        reason = contradicted(self._engine, known_to, checkpoint)
        if reason is None or reason.kind is not HoldKind.OLDER or reason.since is None:
            return reason
        self._older = self._older or (reason.size - reason.lacking, reason.since)
        return replace(reason, lacking=reason.size - self._older[0], since=self._older[1])

    def _tell(self, reason: Reason | None) -> None:
        if reason is not None:
            event(LOGGER, logging.ERROR, "node-held", known_to=reason.known_to, size=reason.size)

    async def ask(self, others: Callable[[set[str]], Awaitable[Mapping[str, Checkpoint | None]]], wants: int) -> None:
        """Ask `others` but those that have answered, until `wants` have: so long the node is held."""
        self._wants = wants
        while True:
            for node, checkpoint in (await others(self._answered)).items():
                await asyncio.to_thread(self.hear, node, checkpoint)
            if len(self._answered) >= self._wants:
                return
            await asyncio.sleep(AGAIN_SECONDS)

    def keep(self) -> None:
        """Keep the newest checkpoint beside the secrets, unless the node is held. Blocks."""
        latest = self._log.latest()
        if self.is_held or latest is self._written or latest.size == 0:
            return
        try:
            write(self._path, Kept(latest.note, self._settled))
        except OSError as error:
            if self._is_writable:
                event(LOGGER, logging.WARNING, "checkpoint-not-kept", reason=said(error))
            self._is_writable = False
            return
        self._written, self._is_writable = latest, True
        self._seen = self._path.stat().st_mtime_ns

    @property
    def is_held(self) -> bool:
        """Whether nothing may be released."""
        return self._reason is not None or len(self._answered) < self._wants

    @property
    def _reason(self) -> Reason | None:
        """Of those who know better, whoever knows of most: to end the hold is to answer for all of them."""
        found = [reason for reason in (self._by_file, self._by_others) if reason is not None]
        return self._by_secrets or max(found, key=lambda reason: reason.size, default=None)

    def gate(self, standing: Callable[[datetime], Standing]) -> Callable[[datetime], Standing]:
        """What everything goes by that releases: `standing`, or the refusal `node-held`."""

        def gated(now: datetime) -> Standing:
            if self.is_held:
                raise ProblemError(
                    "node-held",
                    detail="the node's database or secrets are older ones, or it cannot yet be told whether they are",
                    remedy="the node's operator restores the newest, or ends the hold",
                    retry_after=60,
                )
            return standing(now)

        return gated

    @property
    def kind(self) -> HoldKind | None:
        """Why the node is held; None if it is not."""
        if self._reason is not None:
            return self._reason.kind
        return HoldKind.ASKING if self.is_held else None

    @property
    def since(self) -> datetime | None:
        """From when on the database lacks what was said; None if that is not known."""
        return self._reason.since if self._reason is not None else None

    @property
    def lacking(self) -> int:
        """How many entries of the log the database lacks, as far as anybody knows."""
        return self._reason.lacking if self._reason is not None else 0

    def condition(self) -> dict[str, Any]:
        """Whether and why the node is held, and what ends that, for its health."""
        reason, kind = self._reason, self.kind
        return {
            "held": self.is_held,
            "kind": kind.value if kind is not None else None,
            "remedy": REMEDIES[kind] if kind is not None else None,
            "lacking": self.lacking,
            "since": reason.since.isoformat() if reason is not None and reason.since is not None else None,
            "reason": reason.explanation if reason is not None else None,
            "known_to": reason.known_to if reason is not None else None,
            "size": reason.size if reason is not None else None,
            "answers_wanted": max(0, self._wants - len(self._answered)),
            "checkpoint_kept": self._is_writable,
        }


def contradicted(engine: Engine, known_to: str, checkpoint: Checkpoint) -> Reason | None:
    """What speaks against the database, read after the checkpoint: replicas may have gone on meanwhile."""
    try:
        with engine.connect() as connection:
            size = current(connection).size
            since = moment(connection.execute(select(head.c.recorded)).scalar_one())
            root = root_at(checkpoint.size, StoredTiles(connection).node) if checkpoint.size <= size else b""
    except (ProofError, SQLAlchemyError) as error:
        text = f"the log's first {checkpoint.size} entries cannot be compared ({type(error).__name__})"
        return Reason(HoldKind.UNREADABLE, known_to, checkpoint.size, text)
    if checkpoint.size > size:
        text = f"the log had {checkpoint.size} entries, and the database has {size}: it is an older one"
        return Reason(HoldKind.OLDER, known_to, checkpoint.size, text, since, checkpoint.size - size)
    if root != checkpoint.root:
        text = f"the log's first {checkpoint.size} entries are others than they were: an older database went on"
        return Reason(HoldKind.ANOTHER, known_to, checkpoint.size, text)
    return None


def end(settings: Settings, engine: Engine, known_size: int, *, user: str, now: datetime) -> Checkpoint:
    """End the hold, on record: the database is the one to go on with, though the log is known to have had `known_size`.

    Raises HoldError if the file beside the secrets knows of more that is not in the database, NodeError and LogError.
    """
    log = log_of(settings, engine)
    try:
        kept = read(path_of(settings))
        former = verify_checkpoint(kept.note, log.verifier)[0] if kept is not None else None
    except (ValueError, NoteError):
        kept = former = None
    # Whoever answers for the loss is to know how much is lost. Of what the database has, nothing is.
    if former is not None and former.size > known_size and contradicted(engine, FILE, former) is not None:
        raise HoldError(f"the log had {former.size} entries by the file beside the secrets, and not only {known_size}")
    story = Story(client="yhdyspinta node end-hold", user=user, node=settings.node.id)
    log.start()
    try:
        detail = {"database_size": log.latest().size, "known_size": known_size}
        log.append_blocking((story.entry(EntryType.RESTORE, Outcome.SUCCESS, now, detail=detail),))
        latest = log.latest()
    finally:
        log.close()
    # What was answered for before stays answered for.
    write(path_of(settings), Kept(latest.note, max(known_size, kept.settled if kept is not None else 0)))
    return latest
