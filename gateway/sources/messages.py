"""Take the messages of a frame: read them in the reader's process, hand over what each is, and say what became of it.

A message is answered as taken when its handover is on record, and not before; what its report has to say is on disk by
then too. A message that was not answered is sent again, and is known by its number. What cannot be decided now is
refused with the word to send it again as it stands.
"""

from __future__ import annotations

import asyncio
import io
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Protocol, runtime_checkable

from adapters.hl7_heads import Head, Heads, heads_of
from adapters.sdk import Adapter, AdapterError, Limits, Mapped
from audit.log.entries import new_id
from audit.log.log import LogError
from gateway.sources.acknowledging import TAKEN, Answer, acknowledgement, refusal, rejection
from gateway.sources.reports import Report
from gateway.sources.taking import Taking
from gateway.sources.window import Before, Window
from gateway.telemetry import event
from gateway.wire.problems import ProblemError

LOGGER = logging.getLogger("yhdyspinta.sources")
#: Messages in one frame.
MOST: Final = 1_000


@runtime_checkable
class Heading(Protocol):
    """An adapter that works in another process, where the heads of messages are read too."""

    def heads(self, body: bytes, limits: Limits) -> Heads:
        """What the heads of all messages of a frame say for their answers."""
        ...


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame of a sender, and the number of the answer that it gets."""

    sender: str
    body: bytes
    number: str


class Messages:
    """Takes the frames of one source."""

    def __init__(
        self, taking: Taking, window: Window, reports: Path, limits: Limits, clock: Callable[[], datetime]
    ) -> None:
        self._taking = taking
        self._window = window
        self._reports = reports
        self._limits = replace(limits, records=min(MOST, limits.records))
        self._clock = clock
        self._writing = asyncio.Lock()

    async def answer(self, sender: str, body: bytes, adapter: Adapter) -> bytes:
        """Take a frame and give the frame that answers it."""
        frame = Frame(sender, body, new_id(self._clock()))
        heads = Heads(())
        try:
            heads = await asyncio.to_thread(self._heads, adapter, body)
            if len(heads.messages) > self._limits.records:
                # Taken and answered up to a limit, the rest would be nobody's: all of it is refused with one word.
                heads = replace(heads, messages=())
                answers = await self._told(frame, (refusal("batch-too-long"),))
            elif heads.is_several:
                # One answer has the number of one batch: the sender of another would never hear of it.
                heads = replace(heads, batch="")
                answers = await self._told(frame, self._to_all(heads, "batch-several"))
            else:
                answers = await self._answers(frame, heads, adapter)
        except (ProblemError, LogError, AdapterError, OSError) as error:
            # The node cannot decide or keep anything now: nothing is refused for good.
            reason = str(getattr(error, "code", type(error).__name__))
            event(LOGGER, logging.WARNING, "message-waits", source=self._taking.name, sender=sender, reason=reason)
            answers = self._to_all(heads, "not-now")
        for answer in answers:
            event(
                LOGGER,
                logging.INFO,
                "message-answered",
                source=self._taking.name,
                sender=sender,
                answer=frame.number,
                said=answer.said.value,
                reason=answer.reason,
            )
        return acknowledgement(heads, answers, frame.number, self._clock())

    def refused(self, sender: str, code: str) -> bytes:
        """The answer to what is no frame, or too long a one."""
        number = new_id(self._clock())
        event(LOGGER, logging.WARNING, "frame-refused", source=self._taking.name, sender=sender, reason=code)
        return acknowledgement(Heads(()), (refusal(code),), number, self._clock())

    async def _answers(self, frame: Frame, heads: Heads, adapter: Adapter) -> Sequence[Answer]:
        if not heads.messages:
            return await self._told(frame, self._to_all(heads, "no-message"))
        if not heads.is_batch and len(heads.messages) == 1:
            return (await self._single(frame, heads.messages[0], adapter),)
        return await self._batch(frame, heads, adapter)

    async def _single(self, frame: Frame, head: Head, adapter: Adapter) -> Answer:
        known = await self._known(frame, head)
        if known is not None:
            return known
        records = await asyncio.to_thread(self._read, frame, adapter)
        if len(records) != 1:  # one message is one record: what is more is not of it
            (answer,) = await self._told(frame, (refusal("no-message"),))
            return answer
        return await self._take(frame, head, records[0])

    async def _batch(self, frame: Frame, heads: Heads, adapter: Adapter) -> Sequence[Answer]:
        """Each message on its own, in their order, once the batch is known to hold what it says."""
        records = await asyncio.to_thread(self._read, frame, adapter)
        rows = [mapped.position.row for mapped in records]
        if rows != list(range(1, len(heads.messages) + 1)):
            return await self._told(frame, self._to_all(heads, "batch-differs"))
        answers = []
        for index, (head, mapped) in enumerate(zip(heads.messages, records, strict=True), 1):
            own = replace(frame, number=f"{frame.number}-{index}")
            answers.append(await self._known(own, head) or await self._take(own, head, mapped))
        return answers

    def _heads(self, adapter: Adapter, body: bytes) -> Heads:
        if isinstance(adapter, Heading):
            return adapter.heads(body, self._limits)
        return heads_of(io.BytesIO(body), self._limits)

    def _read(self, frame: Frame, adapter: Adapter) -> list[Mapped]:
        return list(adapter.convert(io.BytesIO(frame.body), self._limits))

    async def _known(self, frame: Frame, head: Head) -> Answer | None:
        """The answer to a message that need not be read, or must not be taken: None for all others."""
        if not head.control:
            return (await self._told(frame, (refusal("control-missing"),)))[0]
        match await self._window.look(frame.sender, head.control, head.digest.encode(), self._clock()):
            case Before.SAME:
                return TAKEN
            case Before.OTHER:
                return (await self._told(frame, (refusal("control-reused"),)))[0]
        return None

    async def _take(self, frame: Frame, head: Head, mapped: Mapped) -> Answer:
        mapped = replace(mapped, position=replace(mapped.position, file=frame.sender))
        outcome = await self._taking.take(mapped)
        if outcome.lines:
            await self._report(frame, outcome.lines)
        if outcome.rejected:
            return rejection(outcome.reason, mapped.findings, self._limits)
        await self._window.keep(frame.sender, head.control, head.digest.encode(), self._clock())
        return TAKEN

    async def _told(self, frame: Frame, answers: Sequence[Answer]) -> Sequence[Answer]:
        """Tell the report of messages that are no records."""
        await self._report(frame, [{"rejected_message": True, "code": answer.reason} for answer in answers])
        return answers

    async def _report(self, frame: Frame, lines: Sequence[dict[str, Any]]) -> None:
        now = self._clock()
        report = Report(self._reports, f"messages-{now:%Y%m%d}")
        told = [{**line, "at": now.isoformat(), "sender": frame.sender, "answer": frame.number} for line in lines]
        async with self._writing:
            await asyncio.to_thread(report.add, told)

    @staticmethod
    def _to_all(heads: Heads, code: str) -> Sequence[Answer]:
        return [refusal(code)] * max(1, len(heads.messages))
