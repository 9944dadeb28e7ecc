"""A record that has come to be rejected fails the adapter's test until that is agreed on by name, with a reason."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from adapters.scaffold.writing import new
from adapters.sdk import rejections
from adapters.sdk.folders import open_folder
from gateway.cli.main import app

SAMPLE = """Asnro;Sukunimi;Etunimet;Synt.aika;Turvakielto
H1;Azimi;Salim;5.2.1990;E
H2;Uldra;Mira;15.12.1985;E
H3;Ovar;Noria;31.2.2001;E
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "harju.csv").write_text(SAMPLE, "utf-8")
    return new("harju", tmp_path / "harju.csv", tmp_path).folder


def tried(folder: Path, *options: str) -> tuple[int, Any]:
    done = CliRunner().invoke(app, ["adapter", "test", str(folder), "--json", *options])
    return done.exit_code, json.loads(done.stdout)


def failing(told: Any) -> set[str]:
    return {check["name"] for check in told["checks"] if not check["passed"]}


def test_new_rejection_needs_consent_of_its_own_and_is_listed_with_its_reason(folder: Path) -> None:
    mapping = folder / "harju" / "mapping.yaml"
    code, told = tried(folder)
    before = [(one["row"], one["why"]) for one in told["rejections"]]
    assert "rejections" not in failing(told)
    rows = {row for row, _ in before}
    text = mapping.read_text("utf-8")
    mapping.write_text(text.replace("as: fi-date", "as: hl7-date, required: true"), "utf-8")
    code, told = tried(folder)
    fresh = [one["row"] for one in told["rejections"] if one["row"] not in rows]
    assert code == 1
    assert {"rejections", "golden"} <= failing(told)
    assert fresh
    golden = (folder / "golden" / "sample.csv.json").read_bytes()

    code, told = tried(folder, "--accept")
    assert code == 2
    assert f"sample.csv:{fresh[0]}" in str(told)
    assert (folder / "golden" / "sample.csv.json").read_bytes() == golden, "nothing was accepted"
    given = [option for row in fresh for option in ("--reject", f"sample.csv:{row}=the day is mended at the source")]
    code, told = tried(folder, "--accept", *given)

    assert not {"rejections", "golden"} & failing(told)
    listed = {one["row"]: one["why"] for one in told["rejections"]}
    assert {listed[row] for row in fresh} == {"the day is mended at the source"}
    assert json.loads((folder / "golden" / "rejections.json").read_text()) == {
        "sample.csv": {str(row): "the day is mended at the source" for row in fresh}
    }
    mapping.write_text(text, "utf-8")
    tried(folder, "--accept")
    assert json.loads((folder / "golden" / "rejections.json").read_text()) == {}, "no longer rejected, no longer agreed"


@pytest.mark.parametrize("given", ["5", "=why", "5=", "5=  ", "x:y=why", "other.csv:5=why", "99=why"])
def test_consent_to_what_is_not_rejected_or_without_a_reason_is_none(folder: Path, given: str) -> None:
    assert tried(folder, "--accept", "--reject", given)[0] == 2
    assert not (folder / "golden" / "rejections.json").exists()


def test_consent_goes_with_accepting_and_a_broken_list_is_told(folder: Path) -> None:
    assert tried(folder, "--reject", "4=why")[0] == 2
    for text in ("[]", '{"sample.csv": []}', "{"):
        (folder / "golden" / "rejections.json").write_text(text)
        assert tried(folder)[0] == 2
    (folder / "golden" / "rejections.json").unlink()
    (folder / "golden" / "sample.csv.json").unlink()
    package = open_folder(folder)
    assert all(record.why == rejections.UNTOLD for record in rejections.rejected(package))
