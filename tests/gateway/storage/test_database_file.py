"""Nothing is taken as recorded into a database file that nobody finds at its path."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Engine, text
from sqlalchemy.exc import OperationalError

from audit.log.entries import Entry
from audit.log.log import Log, LogUnavailableError
from audit.log.policy import LogPolicy
from audit.tree.checkpoint import LogSigner
from gateway.storage import engine as storage
from gateway.storage import schema

ORIGIN = "yhdyspinta/node.example"


def word() -> Entry:
    return Entry(type="refusal", outcome="success", recorded=datetime.now(UTC))


def watched(engine: Engine) -> Log:
    signer = LogSigner(Ed25519PrivateKey.from_private_bytes(b"\x03" * 32), ORIGIN)
    policy = LogPolicy(fault=partial(storage.fault_of, engine))
    return Log(engine, signer, origin=ORIGIN, clock=lambda: datetime.now(UTC), policy=policy)


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[tuple[Engine, Log]]:
    """A database in a folder of its own, and its log with one entry."""
    (tmp_path / "here").mkdir()
    (tmp_path / "away").mkdir()
    engine = storage.create(f"sqlite:///{tmp_path / 'here' / 'node.db'}")
    schema.bring_up_to_date(engine)
    log = watched(engine)
    log.start()
    log.append_blocking((word(),))
    yield engine, log
    log.close()
    engine.dispose()


def moved(here: Path) -> None:
    for path in here.iterdir():
        path.rename(here.parent / "away" / path.name)


def deleted(here: Path) -> None:
    for path in here.iterdir():
        path.unlink()


def replaced(here: Path) -> None:
    moved(here)
    os.close(os.open(here / "node.db", os.O_CREAT | os.O_WRONLY, 0o600))


def without_its_log(here: Path) -> None:
    (here / "node.db-wal").unlink()


LOST = [moved, deleted, replaced, without_its_log]


@pytest.mark.parametrize("lose", LOST)
def test_file_that_is_lost_takes_nothing_as_recorded(
    opened: tuple[Engine, Log], tmp_path: Path, lose: Callable[[Path], None]
) -> None:
    engine, log = opened
    assert storage.fault_of(engine) is None

    lose(tmp_path / "here")

    fault = storage.fault_of(engine)
    assert fault is not None
    assert "node.db" in fault
    with pytest.raises(LogUnavailableError, match="nothing was recorded"):
        log.append_blocking((word(),))
    assert not log.is_writable


@pytest.mark.parametrize("lose", [moved, deleted, replaced])
def test_file_that_is_lost_takes_nothing_of_those_who_write_beside_the_log(
    opened: tuple[Engine, Log], tmp_path: Path, lose: Callable[[Path], None]
) -> None:
    engine, _ = opened
    with storage.writer(engine).begin() as connection:
        connection.execute(text("DELETE FROM replays"))

    lose(tmp_path / "here")

    with pytest.raises(OperationalError), storage.writer(engine).begin() as connection:
        connection.execute(text("DELETE FROM replays"))


def test_log_is_not_writable_from_the_next_look_though_nobody_writes(
    opened: tuple[Engine, Log], tmp_path: Path
) -> None:
    _, log = opened
    assert log.look() is None
    assert log.is_writable

    moved(tmp_path / "here")

    assert log.look() is not None
    assert not log.is_writable


def test_file_that_was_put_back_goes_on_with_all_that_was_recorded(opened: tuple[Engine, Log], tmp_path: Path) -> None:
    engine, log = opened
    moved(tmp_path / "here")
    with pytest.raises(LogUnavailableError):
        log.append_blocking((word(),))

    for path in (tmp_path / "away").iterdir():
        path.rename(tmp_path / "here" / path.name)
    log.append_blocking((word(),))

    assert log.is_writable
    assert log.latest().size == 2
    assert storage.fault_of(engine) is None


def test_no_empty_database_is_made_in_the_place_of_one_that_is_lost(opened: tuple[Engine, Log], tmp_path: Path) -> None:
    engine, _ = opened
    moved(tmp_path / "here")

    with pytest.raises(OperationalError), engine.connect(), engine.connect(), engine.connect():
        pass

    assert not list((tmp_path / "here").iterdir())


def test_other_file_is_opened_after_all_connections_have_ended(opened: tuple[Engine, Log], tmp_path: Path) -> None:
    engine, log = opened
    log.close()
    engine.dispose()
    moved(tmp_path / "here")

    schema.bring_up_to_date(engine)

    assert storage.fault_of(engine) is None


def test_log_on_any_database_refuses_what_its_fault_names(engine: Engine) -> None:
    schema.bring_up_to_date(engine)
    faults: list[str | None] = [None]
    signer = LogSigner(Ed25519PrivateKey.from_private_bytes(b"\x03" * 32), ORIGIN)
    policy = LogPolicy(fault=lambda: faults[0])
    log = Log(engine, signer, origin=ORIGIN, clock=lambda: datetime.now(UTC), policy=policy)
    log.start()
    log.append_blocking((word(),))

    faults[0] = "the disk is away"
    with pytest.raises(LogUnavailableError, match="the disk is away"):
        log.append_blocking((word(),))
    faults[0] = None
    log.append_blocking((word(),))

    assert log.latest().size == 2, "what was refused was rolled back"
    log.close()
