"""The shelf in the database: which version of each adapter is in use, whatever its neighbours are called and hold."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import TypeVar

import pytest
from sqlalchemy import Engine, insert

from adapters.sdk import AdapterError
from adapters.sdk.versions import Version
from audit.log.waiting import Written
from gateway.reading import shelf
from gateway.storage.engine import writer
from gateway.storage.tables import adapter_uses
from gateway.story import Story
from tests.databases import migrate

T = TypeVar("T")
NOW = datetime(2026, 11, 28, 8, 0, tzinfo=UTC)
STORY = Story(client="yhdyspinta adapter take", node="centre")
FIRST, SECOND = Version("harju", "1", "1" * 64), Version("harju", "2", "2" * 64)
#: Another adapter whose first version has the bytes of the other's: the digest is the same.
NAMESAKE = Version("koski", "9", "1" * 64)


@pytest.fixture
def engine_with_tables(engine: Engine) -> Engine:
    migrate(engine)
    return engine


def done(engine: Engine, unit: Callable[..., Written[T]]) -> Written[T]:
    with writer(engine).begin() as connection:
        return unit(connection)


def take(engine: Engine, version: Version, data: bytes = b"") -> Written[bool]:
    held = data or f"{version.name} {version.declared}".encode()
    return done(engine, partial(shelf.take, version=version, data=held, story=STORY, now=NOW))


def back(engine: Engine, name: str) -> Written[Version]:
    return done(engine, partial(shelf.take_back, name=name, story=STORY, now=NOW))


def test_two_adapters_of_one_digest_are_two(engine_with_tables: Engine) -> None:
    engine = engine_with_tables
    assert take(engine, FIRST).value
    assert take(engine, NAMESAKE).value

    assert shelf.in_use(engine) == {"harju": "1" * 64, "koski": "1" * 64}
    assert (shelf.wheel(engine, "harju", "1" * 64), shelf.wheel(engine, "koski", "1" * 64)) == (b"harju 1", b"koski 9")
    assert shelf.wheel(engine, "harju", "2" * 64) is None
    with engine.connect() as connection:
        assert [(use.name, use.declared) for use in shelf.history(connection)] == [("harju", "1"), ("koski", "9")]


def test_the_newest_turn_counts_and_each_tells_what_was_declared(engine_with_tables: Engine) -> None:
    engine = engine_with_tables
    take(engine, FIRST)
    take(engine, SECOND)
    take(engine, NAMESAKE)
    with engine.connect() as connection:
        assert shelf.in_use(engine) == {"harju": "2" * 64, "koski": "1" * 64}
        assert [(use.number, use.declared) for use in shelf.history(connection, "harju")] == [(2, "2"), (1, "1")]


def test_the_newest_turn_counts_in_whatever_order_the_database_holds_them(engine_with_tables: Engine) -> None:
    rows = [
        {"name": "harju", "number": turn, "digest": f"{turn}" * 64, "at": 0, "entry": f"e-{turn}"} for turn in (2, 1)
    ]
    with writer(engine_with_tables).begin() as connection:
        connection.execute(insert(adapter_uses), rows)

    assert shelf.in_use(engine_with_tables) == {"harju": "2" * 64}


def test_version_that_is_in_use_is_not_taken_again_and_its_wheel_stays(engine_with_tables: Engine) -> None:
    engine = engine_with_tables
    first = take(engine, FIRST)

    again = take(engine, FIRST, b"other bytes")

    assert (first.value, len(first.entries)) == (True, 1)
    assert (again.value, again.entries) == (False, ())
    assert shelf.wheel(engine, "harju", FIRST.digest) == b"harju 1"


def test_taking_back_goes_one_turn_back_each_time_and_tells_the_former(engine_with_tables: Engine) -> None:
    engine = engine_with_tables
    with pytest.raises(AdapterError, match="none to take back"):
        back(engine, "harju")
    third = Version("harju", "3", "3" * 64)
    for version in (FIRST, SECOND, third):
        take(engine, version)

    undone = back(engine, "harju")

    assert undone.value == SECOND
    (entry,) = undone.entries
    assert (entry.detail["version"], entry.detail["former"]) == (SECOND.digest, third.digest)
    assert shelf.in_use(engine) == {"harju": SECOND.digest}
    assert back(engine, "harju").value == third, "to take back a taking back brings the newer again"


def test_before_the_first_version_there_is_what_is_installed(engine_with_tables: Engine) -> None:
    engine = engine_with_tables
    (entry,) = take(engine, FIRST).entries

    undone = back(engine, "harju")

    assert entry.detail["former"] == "installed"
    assert undone.value == Version("harju", "", shelf.INSTALLED)
    assert shelf.in_use(engine) == {"harju": shelf.INSTALLED}
