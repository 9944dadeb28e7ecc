"""Units that wait to be recorded, and how their waiters learn how it ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from sqlalchemy import Connection

from audit.log.entries import Entry
from audit.tree.checkpoint import Checkpoint

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Written(Generic[T]):
    """What a unit did: its result, and the entries that must stand in the log with it."""

    value: T
    entries: Sequence[Entry]


@dataclass(frozen=True, slots=True)
class Committed(Generic[T]):
    """A unit that is durable: its result, the indices of its entries, and a checkpoint that includes them."""

    value: T
    indexes: tuple[int, ...]
    checkpoint: Checkpoint


Unit = Callable[[Connection], Written[T]]
Prepared = list[tuple[Entry, bytes]]


class Waiting:
    """One unit in the queue, and the future (of an event loop, or of a thread) that waits for it."""

    __slots__ = ("error", "future", "indexes", "loop", "prepared", "unit", "value")

    def __init__(
        self,
        unit: Unit[Any] | None,
        prepared: Prepared,
        loop: asyncio.AbstractEventLoop | None,
        future: asyncio.Future[Any] | Future[Any],
    ) -> None:
        self.unit = unit
        self.prepared = prepared
        self.loop = loop
        self.future = future
        self.value: Any = None
        self.indexes: tuple[int, ...] = ()
        self.error: BaseException | None = None


def release(batch: Sequence[Waiting], checkpoint: Checkpoint | None) -> None:
    """Tell each of a batch how it ended; those of one event loop together, so that it is woken once."""
    loops: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Any], Any, BaseException | None]]] = {}
    for waiting in batch:
        result = (
            None
            if waiting.error is not None or checkpoint is None
            else Committed(waiting.value, waiting.indexes, checkpoint)
        )
        if waiting.loop is not None and isinstance(waiting.future, asyncio.Future):
            loops.setdefault(waiting.loop, []).append((waiting.future, result, waiting.error))
        elif isinstance(waiting.future, Future):
            if waiting.error is not None:
                waiting.future.set_exception(waiting.error)
            else:
                waiting.future.set_result(result)
    for loop, settled in loops.items():
        try:
            loop.call_soon_threadsafe(_settle, settled)
        except RuntimeError:
            continue  # that event loop is closed, so nobody waits there


def _settle(settled: list[tuple[asyncio.Future[Any], Any, BaseException | None]]) -> None:
    for future, result, error in settled:
        if future.done():
            continue  # its waiter gave up; what was committed stays
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)
