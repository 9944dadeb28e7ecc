"""Hand over what a source holds, each record once, and lose nothing.

A batch is worked in small groups: its records are mapped and handed over, what was rejected is written into the
report, and only then the books say that the group is done. Killed in between, the feed works that group again: a
handover is known by the digest of its record, so the second time changes nothing, and the report is taken back to what
the books say. A source moves on only when its batch is done to the last record.

A refusal of one record is a finding in the report. A node that cannot decide now (no registry, no log) is no refusal:
the feed waits and tries the same batch again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from adapters.sdk import Adapter, AdapterError, Limits, Mapped
from adapters.sdk.versions import InUse
from audit.log.log import LogError
from gateway.sources.batches import Batch, Source, SourceError, told_name
from gateway.sources.progress import Done, Progress
from gateway.sources.reports import Report
from gateway.sources.taking import Door, Taking
from gateway.telemetry import event
from gateway.wire.problems import ProblemError

LOGGER = logging.getLogger("yhdyspinta.sources")

#: Records between two entries in the books.
GROUP = 32


@dataclass(frozen=True, slots=True)
class FeedPolicy:
    """How often a source is asked, and how long after a failure: seconds."""

    poll_seconds: float = 10.0
    retry_limit_seconds: float = 300.0


@dataclass(frozen=True, slots=True)
class Intake:
    """What is read: a source, the adapter that maps its records, and what the adapter may use for a batch."""

    source: Source
    adapter: Adapter
    limits: Limits
    #: The adapter for one batch, which stays the version of a digest, or the present one.
    using: Callable[[str], AbstractContextManager[InUse]] | None = None


@dataclass(frozen=True, slots=True)
class Books:
    """Where a feed writes down how far it is, and the folder of its reports."""

    progress: Progress
    reports: Path


class Feed:
    """One source, its adapter, and the handovers that its records become."""

    def __init__(
        self,
        name: str,
        intake: Intake,
        door: Door,
        books: Books,
        policy: FeedPolicy,
    ) -> None:
        self.name = name
        self._source = intake.source
        adapter = intake.adapter
        self._using = intake.using or (lambda _digest: nullcontext(InUse(adapter, "")))
        self._limits = intake.limits
        self._taking = Taking(name, door)
        self._progress = books.progress
        self._reports = books.reports
        self._policy = policy
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to read the source, again and again."""
        self._task = asyncio.create_task(self._run(), name=f"source {self.name}")

    async def stop(self) -> None:
        """End what is under way and let go of the source."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._source.close()

    async def step(self) -> bool:
        """Work the next batch to its end; False if the source has nothing new. Raises SourceError, ProblemError."""
        position = await self._progress.position(self.name)
        batch = await self._source.poll(position)
        if batch is None:
            return False
        done = await self._progress.done(self.name, batch.id)
        if not done.finished:
            await self._work(batch, done)
        await self._source.finished(batch)
        moved = batch.position is not None and batch.position != position
        if moved:
            assert batch.position is not None
            await self._progress.advance(self.name, batch.position)
        return moved or not done.finished

    async def _run(self) -> None:
        wait = self._policy.poll_seconds
        while True:
            try:
                if await self.step():
                    wait = self._policy.poll_seconds
                    continue
                wait = self._policy.poll_seconds
            except (SourceError, ProblemError, LogError, AdapterError) as error:
                wait = min(wait * 2, max(self._policy.retry_limit_seconds, self._policy.poll_seconds))
                code = getattr(error, "code", type(error).__name__)
                event(LOGGER, logging.WARNING, "source-waits", source=self.name, reason=str(code), seconds=wait)
            except Exception as error:
                # Whatever it is, the other sources and the next try must not suffer from it.
                wait = min(wait * 2, max(self._policy.retry_limit_seconds, self._policy.poll_seconds))
                event(LOGGER, logging.ERROR, "source-failed", source=self.name, reason=type(error).__name__)
            await asyncio.sleep(wait)

    async def _work(self, batch: Batch, done: Done) -> None:
        """Work a batch from where it stands, with the version of the adapter that began it, if it can still be had."""
        with self._using(done.adapter) as in_use:
            if done.adapter and in_use.digest != done.adapter:
                # Another version may count the records otherwise. What was handed over is known by its digest.
                done = Done()
            await self._work_with(in_use, batch, done)

    async def _work_with(self, in_use: InUse, batch: Batch, done: Done) -> None:
        report = Report(self._reports, told_name(batch.id))
        if not await asyncio.to_thread(report.rewind, done.report):
            # Somebody took the report away: what was handed over is known by its digest.
            done = Done()
            await asyncio.to_thread(report.rewind, 0)
        done = replace(done, adapter=in_use.digest)
        handed = unchanged = rejected = changed = 0
        records = batch.mapped(in_use.adapter, self._limits)
        await asyncio.to_thread(_skip, records, done.records)
        while group := await asyncio.to_thread(_take, records):
            outcomes = await asyncio.gather(*(self._taking.take(mapped) for mapped in group), return_exceptions=True)
            lines: list[dict[str, Any]] = []
            for outcome in outcomes:
                if isinstance(outcome, BaseException):
                    raise outcome
                lines += outcome.lines
                handed += outcome.handed_over
                unchanged += outcome.unchanged
                rejected += outcome.rejected
                changed += outcome.changed
            length = await asyncio.to_thread(report.append, lines)
            done = replace(done, records=done.records + len(group), report=length)
            await self._progress.store(self.name, batch.id, done)
        length = await asyncio.to_thread(self._close, report, done)
        await self._progress.store(self.name, batch.id, replace(done, report=length, finished=True))
        event(
            LOGGER,
            logging.INFO,
            "source-read",
            source=self.name,
            batch=told_name(batch.id),
            adapter=in_use.digest[:12],
            read=done.records,
            handed_over=handed,
            unchanged=unchanged,
            rejected=rejected,
            changed=changed,
        )

    @staticmethod
    def _close(report: Report, done: Done) -> int:
        rejected, read = report.rejected(), done.records
        counts = {"read": read, "taken": read - rejected, "rejected": rejected}
        made_by = {"adapter": done.adapter} if done.adapter else {}
        return report.append([{"summary": True, **counts, **made_by}])


def _take(records: Iterator[Mapped]) -> list[Mapped]:
    return list(islice(records, GROUP))


def _skip(records: Iterator[Mapped], count: int) -> None:
    for _ in islice(records, count):
        pass
