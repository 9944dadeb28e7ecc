"""Which messages were taken lately: each source its own, under former keys too, and no longer than it says."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from hashlib import sha256

import pytest
from sqlalchemy import Engine, insert, select

from gateway.sources.progress import Progress
from gateway.sources.window import Before, Fingerprints, Window
from gateway.storage.tables import sources
from tests.gateway.sources.conftest import clock

HOUR = timedelta(hours=1)


def keyed(*keys: bytes) -> Fingerprints:
    """Hashes under each of these keys, today's first."""

    def fingerprints(purpose: str, *parts: bytes) -> tuple[str, ...]:
        return tuple(sha256(repr((key, purpose, parts)).encode()).hexdigest() for key in keys)

    return fingerprints


@pytest.fixture
def window(books: Progress, engine: Engine) -> Callable[..., Window]:
    def opened(source: str = "county", keys: tuple[bytes, ...] = (b"old",), hours: float = 1) -> Window:
        return Window(source, engine, books._log, keyed(*keys), hours * HOUR.total_seconds())

    return opened


def items(engine: Engine, source: str = "county") -> int:
    with engine.connect() as connection:
        return len(connection.execute(select(sources).where(sources.c.source == source)).all())


async def test_each_source_knows_its_own_messages_alone(window: Callable[..., Window]) -> None:
    await window().keep("kanta", "M1", b"one", clock())

    assert await window("other").look("kanta", "M1", b"one", clock()) is Before.NEW


async def test_what_was_taken_under_a_former_key_is_known(window: Callable[..., Window]) -> None:
    await window().keep("kanta", "M1", b"one", clock())
    later = window(keys=(b"new", b"old"))

    assert await later.look("kanta", "M1", b"one", clock()) is Before.SAME
    assert await later.look("kanta", "M1", b"two", clock()) is Before.OTHER


async def test_messages_whose_time_is_over_are_let_go_and_nothing_else_is(
    window: Callable[..., Window], engine: Engine
) -> None:
    batch = {"source": "county", "item": "batch.hl7", "position": "", "changed": 1, "records": 1, "report": 0}
    with engine.begin() as connection:
        connection.execute(insert(sources), {**batch, "finished": 1})
    await window().keep("kanta", "M1", b"one", clock())
    await window("patient", hours=24).keep("kanta", "M1", b"one", clock())

    await window().keep("kanta", "M2", b"two", clock() + 2 * HOUR)

    assert items(engine) == 2, "the batch and the second message"
    assert await window("patient", hours=24).look("kanta", "M1", b"one", clock() + 2 * HOUR) is Before.SAME


async def test_a_message_that_two_replicas_took_is_kept_once(window: Callable[..., Window], engine: Engine) -> None:
    for _ in range(2):
        await window().keep("kanta", "M1", b"one", clock())

    assert items(engine) == 1
    assert await window().look("kanta", "M1", b"one", clock()) is Before.SAME
