"""What is counted of exchanges is what metrics show."""

from __future__ import annotations

from prometheus_client import generate_latest

from gateway.telemetry import Telemetry


def _shown() -> list[str]:
    return [line for line in generate_latest().decode().splitlines() if line.startswith("yhdyspinta_exchanges_total{")]


def test_exchanges_are_shown_by_side_and_outcome_as_they_stand_when_asked() -> None:
    telemetry = Telemetry("telling", otlp_endpoint=None, sample_ratio=0)
    try:
        for _ in range(3):
            telemetry.exchanges.add(1, {"side": "provider", "outcome": "200"})
        telemetry.exchanges.add(1, {"side": "consumer", "outcome": "not-available"})
        first = _shown()
        telemetry.exchanges.add(1, {"side": "consumer", "outcome": "not-available"})

        assert any('outcome="200"' in line and line.endswith(" 3.0") for line in first)
        assert any('outcome="not-available"' in line and line.endswith(" 1.0") for line in first)
        assert any('outcome="not-available"' in line and line.endswith(" 2.0") for line in _shown())
    finally:
        telemetry.close()
