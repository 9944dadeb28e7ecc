"""What waits for a decision about who is who: counted, and overdue after one working day."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client import generate_latest

from gateway.handover.plan import Handovers
from gateway.identity.acts import Actor, Identity
from gateway.person.figures import IdentityWatch, overdue_from
from gateway.person.registrar import IdentityAct
from gateway.telemetry import Telemetry
from schemas.facts import Identifier
from schemas.identifiers import HETU, MIGRI_CUSTOMER
from tests.gateway.exchange.inprocess import InProcess
from tests.gateway.exchange.test_persons import CODE, say, with_code
from tests.gateway.identity.test_identity import held_handover, proposed


@pytest.mark.parametrize(
    ("held", "overdue"),
    [
        ("2026-11-23T10:00:00+02:00", "2026-11-24T10:00:00+02:00"),  # Monday
        ("2026-11-27T15:30:00+02:00", "2026-11-30T15:30:00+02:00"),  # Friday
        ("2026-11-28T09:00:00+02:00", "2026-12-01T00:00:00+02:00"),  # Saturday: the working day is Monday
        ("2026-11-29T23:59:00+02:00", "2026-12-01T00:00:00+02:00"),  # Sunday
        ("2026-11-22T22:30:00+00:00", "2026-11-24T00:30:00+02:00"),  # Sunday in UTC, Monday in Finland
        ("2026-10-23T12:00:00+03:00", "2026-10-26T12:00:00+02:00"),  # over the end of summer time
    ],
)
def test_a_record_is_overdue_after_one_working_day_in_finland(held: str, overdue: str) -> None:
    assert overdue_from(datetime.fromisoformat(held)) == datetime.fromisoformat(overdue)


async def test_what_waits_is_counted_and_alarms_when_it_is_overdue(
    here: InProcess, caplog: pytest.LogCaptureFixture
) -> None:
    passed = timedelta()
    telemetry = Telemetry("figures", otlp_endpoint=None, sample_ratio=0)
    exchange = here.exchange
    watch = IdentityWatch(exchange.engine, exchange.held, lambda: datetime.now(UTC) + passed, telemetry)
    assert watch.condition()["counted"] is None
    await watch.count()
    assert watch.condition() | {"counted": None} == {
        "held": 0, "overdue": 0, "oldest_seconds": 0, "proposals": 0, "unconfirmed": 0, "counted": None,
    }  # fmt: skip

    await held_handover(here)
    await say(here, "active", MIGRI_CUSTOMER, "7000003")
    await say(here, "active", HETU, "030390-902N")
    here.register.changed["7000003"] = with_code("030390-902N")  # type: ignore[assignment]
    await here.ask("7000003")
    desk = Identity(exchange, Handovers(exchange))
    both = Identifier(MIGRI_CUSTOMER, "7000003"), Identifier(HETU, "030390-902N")
    registrars = [Actor("desk", here.party.subsystem, letter * 32) for letter in "ab"]
    proposal = proposed(await desk.propose(registrars[0], IdentityAct.JOIN, *both))
    await watch.count()
    assert watch.condition().items() >= {"held": 1, "overdue": 0, "proposals": 1, "unconfirmed": 1}.items()
    assert "identity-overdue" not in caplog.text

    passed = timedelta(days=5)
    await watch.count()
    assert watch.condition().items() >= {"held": 1, "overdue": 1, "proposals": 1}.items()
    assert int(str(watch.condition()["oldest_seconds"])) >= 5 * 86_400
    assert caplog.text.count("identity-overdue") == 1
    shown = generate_latest().decode()
    assert re.search(r'^yhdyspinta_identity_waiting\{.*what="overdue".*\} 1\.0$', shown, re.M)
    assert re.search(r"^yhdyspinta_identity_oldest_seconds\{.*\} 43\d{4}\.", shown, re.M)
    for text in (shown, caplog.text):
        assert CODE not in text

    await desk.approve(registrars[1], proposal)
    await watch.count()
    assert watch.condition().items() >= {"proposals": 0, "unconfirmed": 0}.items()
    await watch.count()
    assert caplog.text.count("identity-overdue") == 1, "the same ones do not alarm again"
    telemetry.close()


async def test_without_the_database_the_last_figures_stand(here: InProcess) -> None:
    telemetry = Telemetry("figures", otlp_endpoint=None, sample_ratio=0)
    watch = IdentityWatch(here.exchange.engine, here.exchange.held, here.exchange.clock, telemetry)
    await held_handover(here)
    await watch.count()
    before = watch.condition()
    with here.exchange.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE held_records RENAME TO elsewhere")

    await watch.count()

    assert watch.condition() == before
    telemetry.close()
