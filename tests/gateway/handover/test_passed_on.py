"""Of what the log tells, what counts as passed on: who got it from us, after it came to us from the one who tells."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import Engine

from audit.log.entries import Agents, Categories, Entry
from audit.log.tables import metadata
from audit.log.waiting import Written
from consent.rulebook import load, reference_rulebook
from gateway.exchange.holding import UNSENT
from gateway.handover.onward import Told, _passed_on
from gateway.wire.identifiers import ServiceId, SubsystemId
from tests.audit.conftest import Bench, entry_at

NOW = datetime(2026, 11, 28, 8, 0, tzinfo=UTC)
OURS, TELLER, NEXT = "FI-DEMO/MUN/9000002-2/koto", "FI-DEMO/GOV/9000001-1/vastaanotto", "FI-DEMO/MUN/9000008-9/koto"
#: A subsystem of another member that this node speaks for, another one of ours, and another one of the teller's.
BESIDE, OURS_TOO, TELLERS = "FI-DEMO/WSC/9000003-3/hyvis", "FI-DEMO/MUN/9000002-2/muu", "FI-DEMO/GOV/9000001-1/muu"
PERSON = "a" * 64
RULEBOOK = load(reference_rulebook())


def came(giver: str = TELLER, taker: str = OURS, **fields: Any) -> Entry:
    """An entry about something that arrived."""
    told: dict[str, Any] = {"message_id": "in-1", "categories": Categories(("identity",)), **fields}
    return entry_at(
        NOW, type="receipt", source=taker, service=f"{taker}/saapuvat", agents=Agents(recipient=giver), **told
    )


def went(taker: str = NEXT, giver: str = OURS, **fields: Any) -> Entry:
    """An entry about something that left."""
    told: dict[str, Any] = {"type": "delivery", "message_id": "out-1", "categories": Categories(("housing",)), **fields}
    return entry_at(NOW, source=giver, service=f"{taker}/saapuvat", agents=Agents(recipient=taker), **told)


@pytest.mark.parametrize(
    ("held", "told"),
    [
        ([came(), went()], {NEXT: ("out-1",)}),
        ([came(), went(type="query"), went(type="break-glass", message_id="out-2")], {NEXT: ("out-1", "out-2")}),
        ([came(), went(giver=OURS_TOO)], {NEXT: ("out-1",)}),
        ([came(taker=OURS_TOO), went()], {NEXT: ("out-1",)}),
        ([came(), went(), went(taker=BESIDE, message_id="out-2")], {NEXT: ("out-1",), BESIDE: ("out-2",)}),
        ([came(), went(outcome="failed")], {NEXT: ("out-1",)}),
        ([came(), went(outcome="requested")], {NEXT: ("out-1",)}),
        # What did not come from the one who tells, or not to us, or was no data.
        ([went()], {}),
        ([went(), came()], {}),
        ([came(giver=NEXT), went()], {}),
        ([came(giver=TELLERS), went()], {}),
        ([came(taker=BESIDE), went()], {}),
        ([came(outcome="refused"), went()], {}),
        ([came(categories=Categories()), went()], {}),
        ([came(message_id=None), went()], {}),
        # What is not ours to tell of, or went nowhere, or to whoever knows.
        ([came(), went(giver=BESIDE)], {}),
        ([came(), went(giver="no subsystem")], {}),
        ([came(), went(taker="no subsystem")], {"no subsystem": ("out-1",)}),
        ([came(), went(taker=TELLER)], {}),
        ([came(), went(taker=TELLERS)], {}),
        ([came(), went(taker=OURS_TOO)], {}),
        ([came(), went(categories=Categories(("language",)))], {}),
        ([came(), went(type="query", outcome="requested")], {}),
        ([came(), went(outcome="refused")], {}),
        ([came(), came(giver=OURS, taker=BESIDE, categories=Categories(("housing",)))], {}),
        ([came(), went(outcome="requested"), went(outcome="stopped")], {}),
        ([came(), went(outcome="requested"), went(outcome="failed", detail={UNSENT: True})], {}),
        ([came(), went(message_id=None)], {}),
        ([came(), went(subject="b" * 64)], {}),
    ],
    ids=range(29),
)
def test_of_what_the_log_tells_what_was_passed_on_is_found(
    engine: Engine, held: list[Entry], told: dict[str, tuple[str, ...]]
) -> None:
    metadata.create_all(engine)
    claims = SimpleNamespace(issuer=SubsystemId.parse(TELLER))
    service = SimpleNamespace(id=ServiceId(SubsystemId.parse(OURS), "ilmoitukset"))
    incoming: Any = SimpleNamespace(claims=claims, service=service, rulebook=RULEBOOK)
    with Bench(engine).log() as log:
        log.commit_blocking(lambda _connection: Written(None, tuple(held)))

    with engine.connect() as connection:
        found = _passed_on(connection, incoming, Told("c-1", "refused", frozenset({"housing"}), ()), [PERSON])

    assert {recipient: passed.messages for recipient, passed in found.items()} == told
