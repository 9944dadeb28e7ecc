"""A log that denies what became of an accepted delivery is noticed, and one that tells of earlier attempts is not."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from adapters.samples import write_samples
from audit.log.entries import Entry, EntryType, Outcome
from gateway.demo.network import build
from gateway.demo.truth import denials
from gateway.settings import load


def says(outcome: Outcome, *, delivery: str = "d", kind: EntryType = EntryType.DELIVERY) -> Entry:
    return Entry(type=kind, outcome=outcome, recorded=datetime.now(UTC), detail={"delivery": delivery})


@pytest.mark.parametrize("outcome", [Outcome.STOPPED, Outcome.FAILED, Outcome.REFUSED])
@pytest.mark.parametrize("kind", [EntryType.DELIVERY, EntryType.ACCEPTANCE])
def test_entry_that_denies_an_accepted_delivery_is_found(outcome: Outcome, kind: EntryType) -> None:
    denial = says(outcome, kind=kind)
    log = [says(Outcome.REQUESTED), says(Outcome.SUCCESS), denial]

    assert denials(log, {"d"}) == [denial]
    assert denials(log, {"another"}) == []


def test_stop_counts_before_the_success_too() -> None:
    denial = says(Outcome.STOPPED)

    assert denials([denial, says(Outcome.SUCCESS)], {"d"}) == [denial]


def test_attempt_that_failed_before_another_succeeded_is_no_denial() -> None:
    attempts = [says(Outcome.REQUESTED), says(Outcome.FAILED), says(Outcome.REQUESTED)]

    assert denials([*attempts, says(Outcome.SUCCESS)], {"d"}) == []
    assert denials(attempts, {"d"}) == [attempts[1]]


def test_witnesses_of_a_demo_cosign_while_somebody_looks_at_it(tmp_path: Path) -> None:
    write_samples(tmp_path / "register", count=40)
    network = build(tmp_path / "network", datetime.now(UTC), tmp_path / "register" / "reception-centre.csv")

    for party in network.parties.values():
        assert load(party.config, {}).audit.cosign_seconds <= 60
