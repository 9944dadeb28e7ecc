"""What operators see of a running node: events, metrics and traces. Nothing personal is in any of them.

Spans and metrics carry codes, member identifiers, counts and durations only. An event is a line of JSON (see
`gateway.loglines`) with the trace id and the message id.
"""

from __future__ import annotations

import contextlib
import logging
import secrets
from collections.abc import Callable, Generator, Iterable, Mapping

from opentelemetry import metrics, trace
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.resources import Resource
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

_PROPAGATOR = TraceContextTextMapPropagator()


def event(logger: logging.Logger, level: int, name: str, **fields: str | int | float | None) -> None:
    """Log `name` with `fields`. Callers pass codes and identifiers of organisations and messages, never of persons."""
    if logger.isEnabledFor(level):
        logger.log(level, name, extra={"fields": fields})


class Telemetry:
    """The meters and the tracer of one node."""

    def __init__(self, node: str, *, otlp_endpoint: str | None, sample_ratio: float) -> None:
        resource = Resource.create({"service.name": "yhdyspinta", "service.instance.id": node})
        self._meters = MeterProvider(resource=resource, metric_readers=[PrometheusMetricReader()])
        self._traces = _Traces(resource, otlp_endpoint, sample_ratio) if otlp_endpoint and sample_ratio > 0 else None
        meter: metrics.Meter = self._meters.get_meter("yhdyspinta")
        self.exchanges = Tally(meter, "yhdyspinta_exchanges", "exchanges by side, kind and outcome")
        self.seconds = meter.create_histogram(
            "yhdyspinta_exchange_duration",
            unit="s",
            description="time from request to answer",
            explicit_bucket_boundaries_advisory=[
                0.001,
                0.0025,
                0.005,
                0.01,
                0.025,
                0.05,
                0.1,
                0.25,
                0.5,
                1,
                2.5,
                5,
                15,
            ],
        )
        self.deliveries = meter.create_counter("yhdyspinta_deliveries", description="delivery attempts by outcome")
        self.handshakes = meter.create_counter(
            "yhdyspinta_refused_connections", description="connections that were refused, by face and reason"
        )
        self._meter = meter

    def watch(
        self,
        name: str,
        description: str,
        read: Callable[[], Mapping[str, float]],
        *,
        label: str = "",
        unit: str = "s",
    ) -> None:
        """A gauge, in seconds unless said otherwise, that is read anew whenever metrics are asked for.

        `read` gives a value for each value of `label`; without a label its one key is ignored.
        """

        def observe(_options: metrics.CallbackOptions) -> Iterable[metrics.Observation]:
            return [metrics.Observation(value, {label: key} if label else {}) for key, value in read().items()]

        self._meter.create_observable_gauge(name, [observe], unit=unit, description=description)

    def trace(self, headers: dict[str, str] | None = None) -> tuple[str, dict[str, str]]:
        """Trace id (32 hex digits) of the exchange under way, and the headers that carry it to the next node."""
        parent = (headers or {}).get("traceparent", "")
        if not _is_traceparent(parent):
            trace_id = secrets.token_hex(16)
            return trace_id, {"traceparent": f"00-{trace_id}-{secrets.token_hex(8)}-00"}
        return parent[3:35], {"traceparent": parent}

    @contextlib.contextmanager
    def stage(self, name: str, headers: dict[str, str] | None = None) -> Generator[None, None, None]:
        """A span around one stage of an exchange; costs nothing while traces are off."""
        if self._traces is None:
            yield
            return
        context = _PROPAGATOR.extract(headers) if headers else None
        with self._traces.tracer.start_as_current_span(name, context=context, record_exception=False):
            yield

    def close(self) -> None:
        """Send what is waiting to be sent."""
        if self._traces is not None:
            self._traces.close()
        self._meters.shutdown()


class Tally:
    """A counter of what every exchange counts: adding costs one look-up, and it is read when metrics are asked for.

    Belongs to one thread.
    """

    def __init__(self, meter: metrics.Meter, name: str, description: str) -> None:
        self._counts: dict[tuple[tuple[str, str], ...], int] = {}
        meter.create_observable_counter(name, [self._observe], description=description)

    def add(self, amount: int, attributes: Mapping[str, str]) -> None:
        """Count so many more."""
        key = tuple(attributes.items())
        self._counts[key] = self._counts.get(key, 0) + amount

    def _observe(self, _options: metrics.CallbackOptions) -> Iterable[metrics.Observation]:
        return [metrics.Observation(count, dict(attributes)) for attributes, count in tuple(self._counts.items())]


class _Traces:
    """Spans and where they are sent: made, and its libraries loaded, only on a node whose settings ask for traces."""

    def __init__(self, resource: Resource, endpoint: str, sample_ratio: float) -> None:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

        provider = TracerProvider(resource=resource, sampler=ParentBased(TraceIdRatioBased(sample_ratio)))
        exporter = OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces")
        provider.add_span_processor(BatchSpanProcessor(exporter))
        self.tracer: trace.Tracer = provider.get_tracer("yhdyspinta")
        self.close = provider.shutdown


def _is_traceparent(text: str) -> bool:
    parts = text.split("-")
    return (
        len(parts) == 4
        and [len(part) for part in parts] == [2, 32, 16, 2]
        and all(character in "0123456789abcdef" for part in parts for character in part)
        and parts[1] != "0" * 32
    )
