"""`adapter new` on exports as wild as real ones: it starts right, or says what it needs to be told; never nonsense."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from adapters.scaffold.outlining import SampleError
from adapters.scaffold.sniffing import Hints, sniff
from adapters.scaffold.writing import new
from adapters.sdk.testing import coverage, open_folder
from tests.adapters.test_protective_facts import bundle
from tests.adapters.tools.wild import WILD, Wild

MADE = {made.name: made for made in (make() for make in WILD)}


@pytest.mark.parametrize("name", MADE)
def test_a_wild_export_is_read_as_it_is_laid_out(name: str, tmp_path: Path) -> None:
    wild = MADE[name]
    (tmp_path / "export").write_bytes(wild.data)

    written = new("wild", tmp_path / "export", tmp_path, hints=Hints(**wild.hints))

    sample = written.sample
    assert (sample.source["format"], sample.records) == (wild.format, wild.records)
    layout = sample.source.get("layout", {})
    assert {member: layout.get(member) for member in wild.layout} == wild.layout
    (column,) = [column for column in sample.columns if column.name == wild.column]
    assert column.values == wild.families
    package = open_folder(written.folder)
    covered = coverage(package)
    assert covered.read == wild.records
    assert f"key: {wild.key}" in (written.folder / "wild" / "mapping.yaml").read_text("utf-8").replace('"', "")


def test_nobody_elses_telephone_is_taken_for_the_persons() -> None:
    from adapters.scaffold.recognising import recognise

    found = recognise(sniff(MADE["envelope"].data))

    assert "phone" not in [one.concept.name for one in found.recognised]
    assert "omatyontekija/puhelin" in [left.column.name for left in found.left]
    assert all(one.score < 1 for one in found.recognised)


def test_fhir_is_told_to_have_an_adapter_of_its_own() -> None:
    with pytest.raises(SampleError, match="adapter of its own"):
        sniff(json.dumps(bundle()).encode())


@pytest.mark.parametrize(
    ("data", "hints"),
    [
        (b"Raportti;x\na;b\n1;2\n3;4\n", Hints(header=9)),
        (b"a|b\n1|2\n", Hints(delimiter="#")),
        ("Ä;B\n1;2\n".encode("cp1252"), Hints(encoding="utf-8")),
        (b'{"a": [{"b": 1}]}', Hints(record="c")),
    ],
    ids=["header", "delimiter", "encoding", "record"],
)
def test_a_hint_that_does_not_fit_is_refused_with_a_remedy(data: bytes, hints: Hints) -> None:
    with pytest.raises(SampleError) as caught:
        sniff(data, hints=hints)

    assert caught.value.remedy


def test_what_the_developer_says_comes_before_what_is_guessed() -> None:
    text = b"X;Y\nNRO;NIMI\nA;B\n1;2\n"

    sample = sniff(text, hints=Hints(header=2, delimiter=";"))

    assert sample.source["layout"]["header"] == 2
    assert [column.name for column in sample.columns] == ["NRO", "NIMI"]


__all__ = ["Wild"]
