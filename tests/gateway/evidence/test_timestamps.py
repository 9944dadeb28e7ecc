"""What an authority of time stamps answers, before anything of it is believed."""

from __future__ import annotations

from datetime import UTC, datetime

import aiohttp
import pytest
from sqlalchemy import Engine, func, select

from audit.log.waiting import Written
from gateway.evidence.package import TrustError
from gateway.evidence.timestamps import Stamping
from gateway.storage.tables import timestamps
from tests.audit.conftest import Bench, entry_at
from tests.databases import migrate
from tests.gateway.endless import endless


async def test_answer_that_never_ends_is_left_at_the_limit_and_nothing_is_kept(engine: Engine) -> None:
    migrate(engine)
    now = datetime(2026, 11, 28, 8, 0, tzinfo=UTC)
    async with endless() as authority, aiohttp.ClientSession() as session:
        with Bench(engine).log() as log:
            log.commit_blocking(lambda _connection: Written(None, (entry_at(now),)))
            stamping = Stamping(authority.address, [], 1.0, log=log, clock=lambda: now)

            with pytest.raises(TrustError, match="over any time stamp's size"):
                await stamping.stamp(session)

    with engine.connect() as connection:
        assert connection.execute(select(func.count()).select_from(timestamps)).scalar() == 0
