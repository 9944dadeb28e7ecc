"""An adapter from a sample that was never seen: recognised, written, and passing its own tests."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from typer.testing import CliRunner

from adapters.scaffold.outlining import SampleError
from adapters.scaffold.proposing import mapping_of
from adapters.scaffold.recognising import recognise
from adapters.scaffold.sniffing import sniff
from adapters.scaffold.writing import NewError, new
from adapters.sdk.golden import write_golden
from adapters.sdk.testing import CHECKS, coverage, dirtied, open_folder
from gateway.cli.main import app
from tests.adapters.tools.samples import ALL, Unseen, abbreviated_finnish, english_workbook, hetu, people
from tests.properties import examples

ROOT = Path(__file__).parents[3]
SMALL = [make().data[:1500] for make in ALL if make is not english_workbook]


@pytest.mark.parametrize("make", ALL, ids=lambda make: make.__name__)
def test_most_columns_of_an_unseen_sample_are_recognised_and_none_wrongly(make: Callable[[], Unseen]) -> None:
    unseen = make()

    found = {one.column.name: one.concept.name for one in recognise(sniff(unseen.data)).recognised}

    right = [name for name, concept in unseen.truth.items() if found.get(name) == concept]
    wrong = {
        name: concept for name, concept in found.items() if unseen.truth.get(name) != concept and concept != "local-key"
    }
    assert len(right) >= 0.7 * len(unseen.truth), sorted(set(unseen.truth) - set(right))
    assert not wrong
    assert not set(unseen.noise) & set(found)


@pytest.mark.parametrize("make", ALL, ids=lambda make: make.__name__)
def test_the_folder_that_is_written_passes_what_every_adapter_must_hold(
    make: Callable[[], Unseen], tmp_path: Path
) -> None:
    unseen = make()
    sample = tmp_path / unseen.file
    sample.write_bytes(unseen.data)

    answer = CliRunner().invoke(
        app, ["adapter", "new", unseen.name, "--from", str(sample), "--into", str(tmp_path), "--json"]
    )

    assert answer.exit_code == 0, answer.output
    told = json.loads(answer.stdout)
    package = open_folder(tmp_path / unseen.name)
    # That a source cannot know a protecting fact no tool declares for it: there the developer is asked.
    unsaid = package.adapter.mapping.unsaid  # type: ignore[attr-defined]
    assert ("safety-prohibition" in unsaid) is ("safety-prohibition" not in unseen.truth.values())
    assert package.adapter.mapping.cannot_say == frozenset()  # type: ignore[attr-defined]
    faults = {check.name: check.faults(package) for check in CHECKS if check.applies(package)}
    assert len(faults.pop("protects")) == len(unsaid)
    assert not any(faults.values()), faults
    covered = coverage(package)
    assert covered.read == covered.mapped + covered.rejected == told["records"]
    assert covered.mapped >= 0.9 * covered.read, covered.findings
    mapped = {one.name for one in covered.fields if one.targets}
    assert len(mapped) >= 0.7 * len(unseen.truth) - 1  # the column of bookkeeping is ignored by name
    left = {one["column"] for one in told["left"]}
    reported = {one.name for one in covered.fields if one.reported}
    assert left - {one.name for one in covered.fields if not one.filled} <= reported


def test_the_packages_own_tests_pass_and_fail_when_the_mapping_changes(tmp_path: Path) -> None:
    unseen = abbreviated_finnish()
    (tmp_path / unseen.file).write_bytes(unseen.data)
    folder = new(unseen.name, tmp_path / unseen.file, tmp_path).folder

    def run() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )

    mapping = folder / "itaraja" / "mapping.yaml"
    said = "cannot-say: [safety-prohibition]\n"
    mapping.write_text(mapping.read_text("utf-8").replace("\nresources:", f"\n{said}\nresources:"), encoding="utf-8")
    write_golden(open_folder(folder))
    first = run()
    mapping.write_text(mapping.read_text("utf-8").replace("as: words", "as: text"), encoding="utf-8")
    mapping.write_text(mapping.read_text("utf-8").replace("family: {from: Snimi}, ", ""), encoding="utf-8")
    second = run()

    assert first.returncode == 0, first.stdout
    assert "9 passed" in first.stdout
    assert second.returncode == 1
    assert "golden" in second.stdout


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "windows-1252"])
def test_a_sample_with_identity_codes_of_real_persons_is_not_copied(encoding: str, tmp_path: Path) -> None:
    _, _, born = people(1, 1)[0]
    sample = tmp_path / "real.csv"
    sample.write_text(f"hetu;sukunimi\n{hetu(born, 123)};Åzimi\n", encoding=encoding)

    with pytest.raises(NewError, match="real persons"):
        new("real-one", sample, tmp_path)
    written = new("real-one", sample, tmp_path, allow_real=True)

    assert (written.folder / "samples" / "sample.csv").exists()


def test_a_workbook_with_real_persons_is_seen_through(tmp_path: Path) -> None:
    import openpyxl

    _, _, born = people(1, 1)[0]
    book = openpyxl.Workbook()
    book.active.append(["hetu", "sukunimi"])
    book.active.append([hetu(born, 123), "Azimi"])
    book.save(tmp_path / "real.xlsx")

    with pytest.raises(NewError, match="real persons"):
        new("real-one", tmp_path / "real.xlsx", tmp_path)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "empty"),
        (b"just a text\nof two lines\n", "neither a delimiter"),
        (b"<a><b></a>", "not well-formed"),
        (b"[1, 2]", "no list of objects"),
        (b'{"resourceType": "Patient"}', "has an adapter of its own"),
        (b"{", "not JSON"),
        (b"PK\x03\x04 and no more", "no workbook"),
    ],
    ids=["empty", "text", "xml", "numbers", "fhir", "json", "archive"],
)
def test_a_sample_that_is_none_is_refused_with_a_reason_and_a_remedy(data: bytes, says: str) -> None:
    with pytest.raises(SampleError, match=says) as caught:
        sniff(data)

    assert caught.value.remedy


def broken(seed: int, times: int) -> bytes:
    draw = random.Random(seed)
    data = draw.choice(SMALL)
    for _ in range(times):
        data = dirtied(data, draw)
    return data


@examples(60, suppress_health_check=list(HealthCheck))
@given(
    st.one_of(
        st.binary(max_size=300),
        st.builds(broken, st.integers(0, 2**32), st.integers(1, 3)),
    )
)
def test_whatever_it_is_given_it_is_a_sample_or_is_refused(data: bytes) -> None:
    refused = None
    try:
        found = sniff(data)
        recognition = recognise(found)
    except SampleError as error:
        refused = error
    if refused is not None:
        assert refused.remedy
        return

    names = [one.column.name for one in recognition.recognised] + [one.column.name for one in recognition.left]
    assert sorted(names) == sorted(column.name for column in found.columns)
    assert recognition.key in names


@pytest.mark.parametrize(
    ("name", "values", "transform"),
    [
        ("Syntymäaika", ["5.2.1990", "1985", "1.1979", "00.00.1960"], "fi-date"),
        ("Syntymävuosi", ["1990", "1985", "1979", "1960"], "fi-date"),
        ("Födelseår", ["1990", "1985", "1979", "1960"], "fi-date"),
        ("Date of birth", ["05/02/1990", "00/00/1985", "1979", "00/11/1960"], "day-first"),
        ("DOB", ["19900205", "1985", "197911", "1960"], "hl7-date"),
    ],
)
def test_births_of_which_only_a_year_is_known_are_recognised_with_the_others(
    name: str, values: list[str], transform: str
) -> None:
    rows = "".join(f"A{number};Merisalo{number};{value}\n" for number, value in enumerate(values))
    sample = sniff(f"Asiakasnumero;Sukunimi;{name}\n{rows}".encode())

    found = mapping_of("births", sample, recognise(sample))

    named = f'"{name}"' if " " in name else name
    assert f"birthDate: {{from: {named}, as: {transform}" in found, found


def test_values_that_contradict_the_name_are_told_and_not_mapped() -> None:
    rows = "\n".join(f"A{n};soon;{n}" for n in range(5))

    found = recognise(sniff(f"Asiakasnumero;Syntymäaika;Ikä\n{rows}\n".encode()))

    assert [one.concept.name for one in found.recognised] == ["customer-number"]
    assert found.left[0].reason == "named like “Date of birth”, but its values do not look like that"


@pytest.mark.parametrize("name", ["My-System", "1st", "a_b", "adapters", "class", ""])
def test_a_name_that_is_none_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(NewError, match="no name for an adapter"):
        new(name, tmp_path / "none.csv", tmp_path)
