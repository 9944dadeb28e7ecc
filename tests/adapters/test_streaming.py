"""Reading holds a record at a time: a file ten times as long takes no more memory, in each form that streams."""

from __future__ import annotations

import io
import tracemalloc

import pytest

from adapters.keys import Keys
from adapters.sdk import Limits, Record, load
from tests.adapters.conftest import Samples

#: The adapter, where its sample's repeated part begins and ends, and what stands between two of them.
FORMS = {
    "reception-centre-csv": ("csv", b"\r\n", b"", b""),
    "reception-centre-xml": ("xml", b"", b"<Asiakkaat>", b"</Asiakkaat>"),
    "municipality-json": ("municipality-json", b",", b"[", b"]"),
    "county-hl7": ("county-hl7", b"", b"", b""),
}


def source(samples: Samples, name: str, times: int) -> bytes:
    """The first records of a sample, many times over."""
    key, between, start, end = FORMS[name]
    data = samples.read(samples.manifest[key]["file"])
    match name:
        case "reception-centre-csv":
            header, *rows = data.split(b"\r\n")[:21]
            return between.join([header, *rows * times, b""])
        case "reception-centre-xml":
            records = data.partition(b"<Asiakkaat>")[2].partition(b"</Asiakkaat>")[0]
            return start + records[: records.rindex(b"</Asiakas>", 0, 30_000) + 10] * times + end
        case "municipality-json":
            import json

            some = json.dumps(json.loads(data)[:20]).encode()[1:-1]
            return start + between.join([some] * times) + end
        case _:
            return b"MSH".join(data.split(b"MSH")[:21]) * times


def peak(name: str, data: bytes) -> tuple[int, int]:
    """How many records there are, and the most bytes that reading them held."""
    adapter = load(name)
    limits = Limits(total_bytes=len(data) + 1)
    sum(1 for _ in adapter.read(io.BytesIO(data[:4000]), limits))
    tracemalloc.start()
    try:
        count = sum(isinstance(one, Record) for one in adapter.read(io.BytesIO(data), limits))
        return count, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", FORMS)
def test_a_file_ten_times_as_long_takes_the_same_memory(samples: Samples, name: str) -> None:
    times = {"reception-centre-csv": 60, "county-hl7": 3}.get(name, 8)  # more than the buffers hold

    few, small = peak(name, source(samples, name, times))
    many, large = peak(name, source(samples, name, 10 * times))

    assert many == 10 * few > 500
    assert large <= 1.2 * small + 256 * 1024


def test_a_key_costs_a_few_bytes_and_is_known_again() -> None:
    tracemalloc.start()
    keys = Keys()

    again = any(keys.again(f"DEMO-{number}") for number in range(50_000))
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()

    assert not again
    assert all(keys.again(f"DEMO-{number}") for number in range(0, 50_000, 997))
    assert held < 50_000 * 20
