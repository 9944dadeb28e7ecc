"""Fixtures that the gateway's tests share."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest

from tests.databases import database_url, engine, postgresql_server, postgresql_url
from tests.gateway.tokens import tokens

if TYPE_CHECKING:  # rooms that ask for no node do without what a node loads
    from tests.gateway.exchange.inprocess import InProcess, Place

__all__ = ["database_url", "engine", "postgresql_server", "postgresql_url", "tokens"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """What a network in this process is made of."""
    from tests.gateway.exchange.inprocess import Place

    return Place.build(tmp_path_factory.mktemp("place"))


@pytest.fixture
async def here(place: Place, database_url: str) -> AsyncIterator[InProcess]:
    """That network, running."""
    from tests.gateway.exchange.inprocess import node

    async with node(place, database_url) as running:
        yield running
