"""An id that was taken stays taken for longer than its message can be believed, whatever the clock does meanwhile."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine

from gateway.storage.engine import writer
from gateway.storage.replay import REMEMBERED, Replays
from gateway.wire.problems import ProblemError
from tests.databases import migrate

EXPIRES = datetime(2026, 3, 2, 9, tzinfo=UTC)


@pytest.mark.parametrize(
    ("swept_after", "is_taken_anew"),
    [(timedelta(), False), (timedelta(hours=1), False), (timedelta(hours=1, minutes=59), False),
     (timedelta(hours=2, minutes=1), True)],
    ids=["at its expiry", "an hour", "nearly two hours", "over two hours"],
)  # fmt: skip
def test_clock_that_is_set_back_by_an_hour_opens_no_door(
    engine: Engine, swept_after: timedelta, is_taken_anew: bool
) -> None:
    """Ids are swept by the clock as it is; then the clock is set back, and the message could be believed again."""
    migrate(engine)
    with writer(engine).begin() as connection:
        Replays().take(connection, "m-1", EXPIRES)
        Replays().sweep(connection, EXPIRES + swept_after)

    with writer(engine).begin() as connection:
        if is_taken_anew:
            Replays().take(connection, "m-1", EXPIRES)
        else:
            with pytest.raises(ProblemError) as refused:
                Replays().take(connection, "m-1", EXPIRES)
            assert refused.value.code == "message-replayed"


def test_memory_of_ids_holds_those_that_could_still_be_believed_and_no_more() -> None:
    passed = 0.0
    taken = Replays(lambda: passed)
    for number in range(1000):
        passed += 1.0
        taken.refuse_seen(f"m-{number}")

    assert len(taken) == REMEMBERED.total_seconds() + 1
    with pytest.raises(ProblemError) as refused:
        taken.refuse_seen(f"m-{1000 - REMEMBERED.total_seconds():.0f}")
    assert refused.value.code == "message-replayed"
