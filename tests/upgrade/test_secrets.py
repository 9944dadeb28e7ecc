"""An upgraded database takes the secrets that it was made with, and no others."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Engine, select, text

from gateway.node.secret_files import prepare, verify
from gateway.node.wiring import NodeError
from gateway.settings import Settings, load
from gateway.storage import engine as storage
from gateway.storage import schema
from gateway.storage.tables import secret_fingerprints
from tests.gateway.exchange.inprocess import Place
from tests.upgrade.former import Year

PARTIES = ["centre", "kotka"]
FILES = {"wrapping_key": 1, "index_key": 2, "log_key": 7, "witness_key": 8, "token_key": 9}


@pytest.fixture
def settings(place: Place, tmp_path: Path) -> Settings:
    """Settings of a node whose secret files are those of the year."""
    found = load(place.network.parties["centre"].config, {})
    for name, byte in FILES.items():
        (tmp_path / name).write_bytes(base64.b64encode(bytes([byte]) * 32))
    files = found.secrets.model_copy(update={name: tmp_path / name for name in FILES})
    return found.model_copy(update={"secrets": files})


@pytest.fixture(params=PARTIES)
def engine(request: pytest.FixtureRequest, year: Year) -> Iterator[Engine]:
    engine = storage.create(year.urls[request.param])
    yield engine
    engine.dispose()


def known(engine: Engine) -> set[str]:
    with engine.connect() as connection:
        return set(connection.scalars(select(secret_fingerprints.c.name)))


def test_upgraded_database_takes_the_secrets_that_it_was_made_with(settings: Settings, engine: Engine) -> None:
    verify(settings, engine, *FILES)
    schema.bring_up_to_date(engine)
    for _ in range(2):
        prepare(settings, engine, datetime.now(UTC))

    assert known(engine) == {"index_key", "wrapping_key", "token_key"}


@pytest.mark.parametrize("name", ["wrapping_key", "index_key"])
@pytest.mark.parametrize("is_upgraded", [True, False], ids=["upgraded", "not yet upgraded"])
def test_upgraded_database_takes_no_other_secret_and_learns_nothing_of_it(
    settings: Settings, engine: Engine, name: str, is_upgraded: bool
) -> None:
    path: Path = getattr(settings.secrets, name)
    path.write_bytes(base64.b64encode(b"\x05" * 32))
    if is_upgraded:
        schema.bring_up_to_date(engine)

    with pytest.raises(NodeError, match="not the secret with which"):
        verify(settings, engine, name)
    if is_upgraded:
        with pytest.raises(NodeError, match="not the secret with which"):
            prepare(settings, engine, datetime.now(UTC))
        assert known(engine) == set()


def test_index_key_of_a_database_that_keeps_no_identifier_cannot_be_tried(settings: Settings, engine: Engine) -> None:
    """Then it is taken at its word, as the operator is told."""
    schema.bring_up_to_date(engine)
    with storage.writer(engine).begin() as connection:
        for statement in (
            "DELETE FROM disclosures",
            "UPDATE inbox SET sealed = NULL",
            "UPDATE handovers SET sealed = NULL",
        ):
            connection.execute(text(statement))
    settings.secrets.index_key.write_bytes(base64.b64encode(b"\x05" * 32))

    prepare(settings, engine, datetime.now(UTC))

    assert known(engine) == {"index_key", "wrapping_key", "token_key"}
