"""A third-party package, built and installed offline, is found by its entry point; the commands say what they did."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from adapters.sdk import available
from gateway.cli.main import app
from tests.adapters.tools.documents import DOCS, ROOT


@pytest.fixture
def example(tmp_path: Path) -> Path:
    return Path(shutil.copytree(DOCS / "example", tmp_path / "example"))


def test_the_example_package_is_built_installed_and_found_by_its_entry_point(example: Path, tmp_path: Path) -> None:
    packed = CliRunner().invoke(app, ["adapter", "package", str(example), "--out", str(tmp_path / "wheels"), "--json"])
    assert packed.exit_code == 0, packed.output
    wheel = Path(json.loads(packed.stdout)["wheel"])
    assert any(name.endswith("mapping.yaml") for name in zipfile.ZipFile(wheel).namelist())
    assert not any("sample" in name or "golden" in name for name in zipfile.ZipFile(wheel).namelist())

    site = tmp_path / "site"
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-index",
            "--no-deps",
            "--target",
            str(site),
            str(wheel),
        ],
        check=True,
        capture_output=True,
    )
    code = (
        "import json, sys; from adapters.sdk import load, available, Limits; a = load('archipelago');"
        "r = list(a.convert(open(sys.argv[1], 'rb'), Limits()));"
        "print(json.dumps([type(a).__module__, [m.name for m in available()], [m.bundle is not None for m in r]]))"
    )
    found = subprocess.run(
        [sys.executable, "-c", code, str(example / "samples" / "sample.csv")],
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{site}"},
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
    )

    module, names, mapped = json.loads(found.stdout)
    assert module == "archipelago"
    assert "archipelago" in names
    assert "canonical" in names
    assert mapped == [True, True, False, True]
    assert "archipelago" not in [one.name for one in available()], "it is installed there, not here"


def test_an_adapter_that_does_not_pass_is_not_packed(example: Path, tmp_path: Path) -> None:
    shutil.rmtree(example / "golden")

    packed = CliRunner().invoke(app, ["adapter", "package", str(example), "--out", str(tmp_path / "wheels"), "--json"])

    assert packed.exit_code == 1
    assert "golden" in json.loads(packed.stdout)["error"]
    assert not (tmp_path / "wheels").exists()


def test_a_preview_shows_each_value_with_its_cell(example: Path) -> None:
    shown = CliRunner().invoke(app, ["adapter", "preview", str(example), "-n", "3", "--json"])
    drawn = CliRunner().invoke(app, ["adapter", "preview", str(example), "-n", "3"], env={"COLUMNS": "200"})

    first, _, third = json.loads(shown.stdout)
    assert first["provenance"]["/entry/0/resource/birthDate"] == {"column": "Födelsedatum", "transform": "slashed-date"}
    assert first["source"]["Gata"] == "Åvägen"
    assert third["bundle"] is None
    assert [one["code"] for one in third["findings"]] == ["date-form"]
    assert "← Födelsedatum" in drawn.output
    assert "rejected" in drawn.output


def test_the_coverage_says_where_each_field_went(example: Path) -> None:
    tested = CliRunner().invoke(app, ["adapter", "test", str(example), "--json"])

    told = json.loads(tested.stdout)
    fields = {one["field"]: one for one in told["fields"]}
    assert tested.exit_code == 0
    assert told["passed"] is True
    assert (told["read"], told["mapped"], told["rejected"]) == (4, 3, 1)
    assert fields["Födelsedatum"]["targets"] == ["Patient.birthDate"]
    assert fields["Handläggare"]["ignored"] is True
    assert set(fields["Tillståndsgrund"]["targets"]) == {
        "Patient.residence-permit.ground",
        "Patient.residence-permit.granted",
    }


def test_a_broken_mapping_is_told_with_its_place_and_a_suggestion(example: Path) -> None:
    mapping = example / "archipelago" / "mapping.yaml"
    mapping.write_text(mapping.read_text("utf-8").replace("slashed-date", "slashed-dat"), encoding="utf-8")

    tested = CliRunner().invoke(app, ["adapter", "test", str(example), "--json"])

    told = json.loads(tested.stdout)
    assert tested.exit_code == 2
    assert "mapping.yaml:" in told["error"]
    assert "did you mean 'slashed-date'?" in told["error"]


def test_a_folder_that_is_none_and_an_adapter_that_is_none_are_told(tmp_path: Path) -> None:
    nowhere = CliRunner().invoke(app, ["adapter", "test", str(tmp_path), "--json"])
    unknown = CliRunner().invoke(app, ["adapter", "preview", "nobody", "--json"])

    assert nowhere.exit_code == 2
    assert "no pyproject.toml" in json.loads(nowhere.stdout)["error"]
    assert unknown.exit_code == 2
    assert "nobody" in json.loads(unknown.stdout)["error"]


def test_the_list_names_what_is_installed() -> None:
    listed = CliRunner().invoke(app, ["adapter", "list", "--json"])

    names = [one["name"] for one in json.loads(listed.stdout)]
    assert names == sorted(names)
    assert {"canonical", "reception-centre-csv"} <= set(names)


def test_an_adapter_that_maps_nothing_neither_passes_nor_is_packed(example: Path, tmp_path: Path) -> None:
    header = (example / "samples" / "sample.csv").read_bytes().splitlines(keepends=True)[0]
    (example / "samples" / "sample.csv").write_bytes(header + b"rikki\n")

    agreed = ["--accept", "--reject", "2=to see what becomes of it"]
    tested = CliRunner().invoke(app, ["adapter", "test", str(example), *agreed, "--json"])
    packed = CliRunner().invoke(app, ["adapter", "package", str(example), "--out", str(tmp_path / "wheels"), "--json"])

    told = json.loads(tested.stdout)
    assert (tested.exit_code, told["passed"], told["mapped"]) == (1, False, 0)
    assert [check["name"] for check in told["checks"] if not check["passed"]] == ["maps"]
    assert "sample.csv: none of its 1 records is mapped (column-count)" in told["checks"][0]["faults"][0]
    assert packed.exit_code == 1
    assert "maps" in json.loads(packed.stdout)["error"]
    assert not (tmp_path / "wheels").exists()


def test_a_sample_that_is_there_to_be_refused_is_declared_and_held_to_it(example: Path) -> None:
    header = (example / "samples" / "sample.csv").read_bytes().splitlines(keepends=True)[0]
    (example / "samples" / "broken.csv").write_bytes(header + b"rikki\n")
    project = example / "pyproject.toml"
    written = project.read_text()

    def faults(rejected: str) -> list[str]:
        project.write_text(f"{written}\n[tool.yhdyspinta]\nrejected = {rejected}\n")
        tested = CliRunner().invoke(app, ["adapter", "test", str(example), "--accept", "--json"])
        found: list[str] = json.loads(tested.stdout)["checks"][0]["faults"]
        return found

    assert faults('["broken.csv"]') == []
    assert [one.split(":")[0] for one in faults("[]")] == ["broken.csv"]
    assert faults('["broken.csv", "sample.csv"]') == [
        "sample.csv is declared as rejected, and 3 of its records are mapped"
    ]
    assert faults('["broken.csv", "gone.csv"]') == ["gone.csv is declared as rejected and is no sample"]


def test_the_share_that_is_mapped_is_told_first(example: Path) -> None:
    tested = CliRunner().invoke(app, ["adapter", "test", str(example)])

    assert tested.stdout.splitlines()[0] == "archipelago maps 3 of 4 records (75 %)"
    assert tested.stdout.splitlines()[-1].startswith("archipelago passes: maps 3 of 4 records")
