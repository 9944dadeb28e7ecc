"""An adapter from several samples of one source: files that are written alike, or the parts of a drop."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from typer.testing import CliRunner

from adapters.samples import hetu
from adapters.scaffold import several
from adapters.scaffold.outlining import SampleError
from adapters.scaffold.writing import NewError, Written, new
from adapters.sdk import Limits
from adapters.sdk.testing import CHECKS, open_folder
from gateway.cli.main import app
from tests.adapters.tools import wild
from tests.gateway.sources.hl7 import message

HEADER = "Asiakasnumero;Sukunimi;Etunimet;Syntymäaika\n"
PERSONS = f"{HEADER}A1;Äijälä;Öljan;5.2.1990\nA2;Oja;Rina;6.2.1990\nA3;Niemi;Mira;7.2.1990\n"
NEEDS = "Asiakas;Palvelutarve;Kiireellisyys\nA2;asunto;kiireellinen\nA2;kielikurssi;\nA3;asunto;\n"
LATER = PERSONS.replace("A1;Äijälä", "A7;Åkers").replace("A3;", "A8;")


def packed(place: Path, files: Mapping[str, str | bytes], kind: str = "zip") -> Path:
    """The samples as an archive, or as the folder that it would unpack to."""
    if kind == "zip":
        with zipfile.ZipFile(place.with_suffix(".zip"), "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in files.items():
                archive.writestr(name, data)
        return place.with_suffix(".zip")
    for name, content in files.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return place


def made(tmp_path: Path, files: Mapping[str, str | bytes], kind: str = "zip") -> Written:
    return new("several", packed(tmp_path / "samples", files, kind), tmp_path)


def faults(folder: Path) -> dict[str, list[str]]:
    package = open_folder(folder)
    found = {check.name: check.faults(package) for check in CHECKS if check.applies(package)}
    assert len(found.pop("protects")) <= 1  # whether its source can know a protecting fact no tool declares
    return {name: told for name, told in found.items() if told}


@pytest.mark.parametrize("kind", ["zip", "folder"])
def test_samples_that_are_written_alike_make_one_adapter_and_each_stays_a_sample(tmp_path: Path, kind: str) -> None:
    files = {
        "2026/monday 010190-900P.csv": PERSONS,
        "2026/tuesday.csv": LATER.encode("iso-8859-15"),
        ".hidden.csv": "x",
        "__MACOSX/2026/monday.csv": "x",
    }

    written = made(tmp_path, files, kind)

    assert written.sample.records == 6
    assert written.recognition.key == "Asiakasnumero", "which is in both files, and unique in each"
    assert sorted(path.name for path in (written.folder / "samples").iterdir()) == ["sample-1.csv", "sample-2.csv"]
    assert len(list((written.folder / "golden").iterdir())) == 2
    assert faults(written.folder) == {}
    assert written.covered.mapped == 6
    assert "utf-8-sig" in written.sample.source["encoding"]


@pytest.mark.parametrize("kind", ["zip", "folder"])
@pytest.mark.parametrize("days", [("20261127",), ("20261127", "20261128")], ids=["one", "two"])
def test_parts_of_drops_are_joined_by_the_column_that_has_the_key(
    tmp_path: Path, kind: str, days: tuple[str, ...]
) -> None:
    persons = {f"henkilot-{day}.csv": PERSONS for day in days}

    written = made(tmp_path, {**persons, **{f"tarpeet-{day}.csv": NEEDS for day in days}}, kind)

    assert written.sample.source["layout"] == {
        "file": "henkilot-*.csv",
        "join": [{"file": "tarpeet-*.csv", "on": "Asiakas", "into": "TARPEET"}],
    }
    assert written.covered.mapped == written.covered.read == 3 * len(days)
    assert faults(written.folder) == {}
    golden = json.loads(next((written.folder / "golden").iterdir()).read_text("utf-8"))
    kinds = [[entry["resource"]["resourceType"] for entry in record["bundle"]["entry"]] for record in golden]
    assert [found.count("ServiceRequest") for found in kinds] == [0, 2, 1]
    assert {path.suffix for path in (written.folder / "samples").iterdir()} == {".zip"}


def test_messages_of_several_kinds_and_documents_of_several_days_are_one_source(tmp_path: Path) -> None:
    messages = {"a.hl7": message("M1"), "b.hl7": message("M2", "C-2", event="A28")}
    records = [
        [{"numero": "A1", "sukunimi": "Oja"}],
        [{"numero": "A2", "sukunimi": "Niemi", "koti": {"kunta": "Kotka"}}],
    ]

    first = new("messages", packed(tmp_path / "m", messages), tmp_path)
    second = new(
        "documents", packed(tmp_path / "d", {f"{i}.json": json.dumps(r) for i, r in enumerate(records)}), tmp_path
    )

    assert len(first.sample.source["messages"]) == 2
    assert first.covered.read == 2
    assert second.sample.source["nested"] is True
    assert second.covered.read == 2


def test_a_workbook_is_one_sample_and_several_may_come_together(tmp_path: Path) -> None:
    book = wild.workbook().data
    (tmp_path / "one.xlsx").write_bytes(book)

    alone = new("alone", tmp_path / "one.xlsx", tmp_path)
    both = new("both", packed(tmp_path / "books", {"a.xlsx": book, "b.xlsx": book}), tmp_path)

    assert both.sample.records == 2 * alone.sample.records


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({}, "no samples"),
        ({"__MACOSX/x.csv": "x"}, "no samples"),
        ({f"{number}.csv": PERSONS for number in range(101)}, "101 samples"),
        ({"a.csv": PERSONS, "b.json": "["}, "b.json: "),
        ({"a.csv": PERSONS, "010190-900P.csv": ""}, "….csv: the sample is empty"),
        ({"a.csv": PERSONS, "b.json": '[{"a": 1}, {"a": 2}]'}, "neither written alike nor tables"),
        ({"a.csv": PERSONS, "b.csv": NEEDS.replace(";", ",")}, "neither written alike nor tables"),
        ({"a-1.csv": PERSONS, "b-2.csv": NEEDS, "c-1.csv": "Asiakas;Muu\nA1;1\n"}, "none"),
        ({"a-1.csv": PERSONS, "a-2.csv": PERSONS, "b-2.csv": NEEDS}, "no drops"),
        ({"a.csv": PERSONS, "b.csv": NEEDS.replace("A", "X")}, "all others have the key"),
        ({"a.csv": PERSONS, "b.csv": f"Raportti;;;\n;;;\n{PERSONS}"}, "not written alike"),
        ({"a.csv": PERSONS.encode("iso-8859-15"), "b.csv": PERSONS.encode("cp850")}, "several encodings"),
        ({"a.csv": PERSONS.encode("cp850"), "b.csv": PERSONS.encode("cp1252"), "c.csv": PERSONS}, "several encodings"),
    ],
    ids=range(13),
)
def test_samples_that_are_not_of_one_source_are_refused_with_what_would_help(
    tmp_path: Path, files: Mapping[str, str | bytes], says: str
) -> None:
    if says == "none":
        made(tmp_path, files)
        return
    with pytest.raises(SampleError, match=says) as caught:
        made(tmp_path, files)

    assert caught.value.remedy
    assert not (tmp_path / "several").exists()


def test_an_archive_that_unpacks_without_end_or_holds_a_name_twice_or_is_shut_is_refused(tmp_path: Path) -> None:
    bomb = packed(tmp_path / "bomb", {"a.csv": b"x" * 50_000_000, "b.csv": PERSONS})
    twice = io.BytesIO()
    with zipfile.ZipFile(twice, "w") as archive:
        archive.writestr("a.csv", PERSONS)
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("a.csv", LATER)
    shut = bytearray(packed(tmp_path / "shut", {"a.csv": PERSONS}).read_bytes())
    shut[6] |= 1
    shut[shut.index(b"PK\x01\x02") + 8] |= 1
    cut = packed(tmp_path / "cut", {"a.csv": PERSONS}).read_bytes()[:-30]

    with pytest.raises(SampleError, match="ratio"):
        new("several", bomb, tmp_path)
    for data in (twice.getvalue(), bytes(shut), cut):
        (tmp_path / "bad.zip").write_bytes(data)
        with pytest.raises(SampleError, match="neither a workbook nor a ZIP archive"):
            new("several", tmp_path / "bad.zip", tmp_path)


def test_a_folder_of_more_than_is_read_is_refused_before_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = packed(tmp_path / "samples", {"a.csv": PERSONS, "b.csv": LATER}, "folder")
    monkeypatch.setattr(several, "Limits", lambda: Limits(total_bytes=len(PERSONS.encode()) + 10))

    with pytest.raises(SampleError, match="more than is read"):
        new("several", place, tmp_path)


def test_names_in_an_archive_lead_nowhere(tmp_path: Path) -> None:
    inside = tmp_path / "a" / "b"
    inside.mkdir(parents=True)
    place = packed(inside / "samples", {"../../henkilot-1.csv": PERSONS, "/tmp/tarpeet-1.csv": NEEDS})

    written = new("several", place, inside)

    assert not (tmp_path / "henkilot-1.csv").exists()
    with zipfile.ZipFile(written.folder / "samples" / "sample.zip") as archive:
        assert archive.namelist() == ["henkilot-1.csv", "tarpeet-1.csv"]


@pytest.mark.parametrize("where", ["value", "name"])
def test_real_persons_in_one_of_several_samples_or_in_a_name_are_not_copied(tmp_path: Path, where: str) -> None:
    from datetime import date

    code = hetu(date(1990, 1, 1), 123)
    needs = NEEDS + f"A1;{code};\n" if where == "value" else NEEDS
    star = code if where == "name" else "1"

    with pytest.raises(NewError, match="real persons"):
        made(tmp_path, {f"henkilot-{star}.csv": PERSONS, f"tarpeet-{star}.csv": needs})


def test_command_tells_what_was_found_in_several_samples(tmp_path: Path) -> None:
    place = packed(tmp_path / "samples", {"henkilot-1.csv": PERSONS, "tarpeet-1.csv": NEEDS})

    answer = CliRunner().invoke(app, ["adapter", "new", "county", "--from", str(place), "--into", str(tmp_path)])

    assert answer.exit_code == 0, answer.output
    assert "tarpeet-*.csv: rows that belong to a record of henkilot-*.csv by Asiakas" in " ".join(answer.output.split())
