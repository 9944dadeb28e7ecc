"""In whatever order: what was refused is not released, and nobody is stopped for another's mistake."""

from __future__ import annotations

import os
from collections import Counter

from sqlalchemy import Engine

from tests.databases import migrate
from tests.gateway.person.network import World

STEPS = 32
#: The long form is `make survive`: 2 000 sequences on SQLite and 300 on PostgreSQL.
SEQUENCES = int(os.environ.get("PERSON_SEQUENCES", "25"))


def test_sequences_of_words_records_claims_and_undoings(engine: Engine) -> None:
    migrate(engine)
    statistics: Counter[str] = Counter()
    for number in range(SEQUENCES):
        world = World(engine, f"q{number}")
        try:
            for _ in range(STEPS):
                world.step()
        finally:
            world.close()
        statistics += world.statistics
    print(dict(sorted(statistics.items())))
    decided = statistics["released"] + statistics["withheld"] + statistics["held"]
    for outcome in ("released", "withheld", "held"):
        assert statistics[outcome] >= decided * 0.05, f"hardly ever {outcome}: the sequences show nothing"
