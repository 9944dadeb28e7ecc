"""Nothing is lost: of whatever a source holds, dirty as it may be, each record is mapped or rejected, and each field of
a mapped one is in the record, ignored by name, or reported.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from functools import cache
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from adapters.mapped import MappedAdapter
from adapters.samples import write_samples
from adapters.sdk import Finding, Limits, Mapped, Record, load
from schemas.catalogue import catalogue
from tests.adapters.judging import prohibition
from tests.adapters.reading import judge
from tests.adapters.test_layouts import Made
from tests.properties import examples

FILES = {
    "reception-centre-csv": "csv",
    "reception-centre-xml": "xml",
    "municipality-json": "municipality-json",
    "municipality-xlsx": "municipality-xlsx",
    "county-json": "county-json",
    "county-hl7": "county-hl7",
    "fhir-r4": "fhir-r4",
}
MAPPED = [name for name in FILES if name != "fhir-r4"]
DIRT: tuple[Any, ...] = (
    "",
    " ",
    "x",
    "ÄÖ",
    "31.2.1990",
    "2023-02-29",
    "010190-900B",
    "K",
    "E|K",
    ";",
    "=1+1",
    "a\x00b",
    "\u202e",
    "😀",
    "9" * 30,
    0,
    -1,
    1.5,
    True,
    None,
    [],
    ["x", "y"],
    {},
    {"x": "y"},
    [{"x": "y"}],
    [[]],
)
#: Inputs that each reader is fed with: in CI about a minute's worth for all of them together.
FUZZED = 7500 if os.environ.get("CI") == "true" else 150
MODEST = examples(60, phases=[Phase.generate], suppress_health_check=[HealthCheck.too_slow])


@cache
def sample(name: str) -> bytes:
    """The sample of an adapter, of forty persons."""
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        manifest = write_samples(Path(folder), count=40)
        return (Path(folder) / manifest[FILES[name]]["file"]).read_bytes()


@cache
def records(name: str) -> list[Record]:
    """The records of the sample."""
    return [one for one in load(name).read(io.BytesIO(sample(name)), Limits()) if isinstance(one, Record)]


def soiled(record: Record, draw: Random) -> Record:
    """A record with some fields replaced, emptied, or of names that nobody knows."""
    fields = dict(record.fields)
    for _ in range(draw.randint(1, 4)):
        name = draw.choice([*fields, "UUSI", "uusi/kenttä"])
        value = fields.get(name)
        if isinstance(value, list) and value and isinstance(value[0], dict) and draw.random() < 0.7:
            parts = [dict(one) for one in value]
            part = draw.choice(parts)
            part[draw.choice([*part, "uusi"])] = draw.choice(DIRT)
            fields[name] = parts
        else:
            fields[name] = draw.choice(DIRT)
    return Record(record.key, fields, record.position)


def held(value: Any, name: str) -> Iterator[str]:
    """The places of all values of a record that hold something."""
    if isinstance(value, dict):
        for inner, member in value.items():
            yield from held(member, f"{name}/{inner}")
    elif isinstance(value, list):
        for index, item in enumerate(value, 1):
            yield from held(item, f"{name}[{index}]" if isinstance(item, dict) else name)
    elif value is not None and str(value).strip():
        yield name


@pytest.mark.parametrize("name", MAPPED)
def test_each_field_of_a_mapped_record_is_in_it_ignored_by_name_or_reported(name: str) -> None:
    adapter = load(name)
    assert isinstance(adapter, MappedAdapter)
    ignored = adapter.mapping.ignored
    passed_over = tuple(one[:-1] for one in ignored if one.endswith("*"))
    conditions = {
        f"{each.field}/{member}"
        for resource in adapter.mapping.resources
        for each in _eaches(resource)
        for member, _ in each.where
    }

    @MODEST
    @given(st.integers(0, 2**32))
    def holds(seed: int) -> None:
        draw = Random(seed)
        record = soiled(draw.choice(records(name)), draw)

        mapped = adapter.to_canonical(record)

        assert (mapped.bundle is None) == any(one.severity == "error" for one in mapped.findings)
        if mapped.bundle is None:
            return
        judge(mapped.bundle)
        told = {one.position.column for one in mapped.findings}
        taken = {one.position.column for one in mapped.provenance.values()}
        for field, value in record.fields.items():
            listed = field in adapter.mapping.parts and isinstance(value, dict)
            for place in held([value] if listed else value, field):
                bare = _bare(place)
                assert (
                    place in taken
                    or place in told
                    or field in told
                    or any(place.startswith((f"{one}/", f"{one}[")) for one in told)
                    or any(bare == one or bare.startswith((f"{one}/", f"{one}[")) for one in ignored)
                    or field in ignored
                    or any(bare == one or bare.startswith((f"{one}/", f"{one}[")) for one in conditions)
                    or field.startswith(passed_over)
                ), place

    holds()


def _bare(place: str) -> str:
    head, bracket, rest = place.partition("[")
    return head + rest.partition("]")[2] if bracket else place


def _eaches(node: Any) -> Iterator[Any]:
    """Every `each` of a compiled mapping."""
    if getattr(node, "each", None) is not None:
        yield node.each
    for _, member in getattr(node, "members", ()):
        yield from _eaches(member)
    for template, each in getattr(node, "templates", ()):
        if each is not None:
            yield each
        yield from _eaches(template)
    if hasattr(node, "template"):
        yield from _eaches(node.template)


def mutated(data: bytes, draw: Random) -> bytes:
    """A file with a few bytes changed, pieces cut, doubled or put in."""
    made = bytearray(data[: draw.choice([len(data), len(data), 4000])])
    for _ in range(draw.randint(1, 5)):
        at = draw.randrange(len(made) + 1)
        match draw.randrange(4):
            case 0 if at < len(made):
                made[at] = draw.randrange(256)
            case 1:
                del made[at : at + draw.randint(1, 60)]
            case 2:
                made[at:at] = made[at : at + draw.randint(1, 400)]
            case _:
                made[at:at] = draw.choice(
                    [
                        b'"',
                        b"\r\n",
                        b";",
                        b"<",
                        b"&x;",
                        b"\0",
                        b"\xff\xfe",
                        b"{",
                        b"[" * 40,
                        b"|",
                        b"MSH",
                        b"\x81",
                        b",",
                        b"\\",
                    ]
                )
    return bytes(made)


@pytest.mark.parametrize("name", FILES)
def test_a_reader_fed_with_broken_files_crashes_never_and_gives_an_answer_for_each_record(name: str) -> None:
    adapter = load(name)

    @settings(MODEST, max_examples=20 if name == "county-hl7" else 40)
    @given(st.integers(0, 2**32))
    def holds(seed: int) -> None:
        data = mutated(sample(name), Random(seed))

        read = list(adapter.read(io.BytesIO(data), Limits()))
        mapped = list(adapter.convert(io.BytesIO(data), Limits()))

        assert len(read) == len(mapped)
        assert sum(isinstance(one, Record) for one in read) + sum(isinstance(one, Finding) for one in read) == len(read)
        for item in mapped:
            _sound(item)

    holds()


@pytest.mark.parametrize("name", [*FILES, "canonical"])
def test_a_reader_fed_with_anything_at_all_crashes_never(name: str) -> None:
    adapter = load(name)
    starts = [b"", b"PK\x03\x04", b"<?xml version='1.0'?>", b"[{", b"MSH|^~\\&|", b"\xef\xbb\xbf", b"\xff\xfe"]

    @settings(MODEST, max_examples=FUZZED)
    @given(st.sampled_from(starts), st.binary(max_size=300))
    def holds(start: bytes, rest: bytes) -> None:
        for item in adapter.convert(io.BytesIO(start + rest), Limits()):
            _sound(item)

    holds()


def _sound(item: Mapped) -> None:
    rejected = any(one.severity == "error" for one in item.findings)
    assert (item.bundle is None) == rejected
    if item.bundle is not None:
        assert catalogue().validate_bundle(item.bundle) == []
    for one in item.findings:
        assert one.message.en
        assert one.hint.fi


def test_what_only_a_condition_looks_at_is_read() -> None:
    """Columns of ticks: the need is made by the condition, and nothing of the column is lost."""
    made = Made(
        'mapping: m\nversion: 1\nsource: {format: csv, encoding: [utf-8-sig], delimiter: ";", key: NRO}\n'
        "resources:\n  Patient:\n    identifier: {migri-customer: {from: NRO}}\n"
        "  ServiceRequest:\n    - {when: {Asunto: [x]}, code: housing}\n"
    )

    mapped = list(made.convert(io.BytesIO(b"NRO;Asunto\nA1;x\nA2;\n"), Limits()))

    assert [len(item.bundle["entry"]) for item in mapped if item.bundle] == [2, 1]
    assert [finding.code for item in mapped for finding in item.findings] == []


@pytest.mark.parametrize(("ends", "protected"), [("null", True), ('""', True), ('"2020-01-01"', False)])
def test_an_entry_without_an_end_is_found_by_a_member_that_is_empty(ends: str, protected: bool) -> None:
    made = Made(
        "mapping: m\nversion: 1\nsource: {format: json, key: NRO}\n"
        "resources:\n  Patient:\n    identifier: {migri-customer: {from: NRO}}\n    extension:\n"
        "      safety-prohibition: {each: {of: kiellot, where: {paattyy: null}}, active: true}\n"
    )
    data = f'[{{"NRO": "A1", "kiellot": [{{"alkaa": "2019-01-01", "paattyy": {ends}}}]}}]'

    (mapped,) = made.convert(io.BytesIO(data.encode()), Limits())

    assert mapped.bundle is not None
    assert (prohibition(mapped.bundle) is True) is protected
