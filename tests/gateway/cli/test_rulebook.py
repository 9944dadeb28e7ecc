"""`yhdyspinta rulebook` as a lawyer and an operator meet it: exit codes, tables, JSON, an HTML page."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from pathlib import Path

from typer.testing import CliRunner

from consent.deciding.verdicts import legal_day
from gateway.cli.main import app
from gateway.cli.rulebook import day_of
from tests.former import former_rulebook

TEXT = former_rulebook().decode("utf-8")


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["rulebook", *arguments])
    return result.exit_code, result.output


def test_reference_is_sound_and_the_report_stands_alone(tmp_path: Path) -> None:
    page = tmp_path / "report.html"

    code, output = run("check", "--html", str(page))

    assert code == 0
    assert "Nothing to mend" in output
    assert "proved at" in output
    html = page.read_text("utf-8")
    assert html.startswith("<!doctype html>")
    assert 'lang="en"' in html
    assert "<script" not in html
    assert "http" not in html
    assert "assessment-municipality" in html


def test_rulebook_with_a_gap_is_refused_as_json_too(tmp_path: Path) -> None:
    file = tmp_path / "gap.yaml"
    file.write_text(TEXT.replace("permits: [pending, refused]", "permits: [pending]"))

    code, output = run("check", str(file), "--json")

    found = json.loads(output)
    assert code == 1
    assert found["sound"] is False
    assert {one["kind"] for one in found["findings"] if one["fault"]} == {"gap"}
    assert found["points"] > 700_000


def test_fault_of_the_file_is_told_by_line(tmp_path: Path) -> None:
    file = tmp_path / "broken.yaml"
    file.write_text(TEXT.replace("permits: [pending, refused]", "permits: [pending, refusd]"))
    line = file.read_text()[: file.read_text().index("refusd")].count("\n") + 1

    code, output = run("check", str(file), "--json")
    said, words = run("check", str(file))

    assert (code, said) == (2, 2)
    assert json.loads(output)["faults"][0]["line"] == line
    assert "did you mean 'refused'?" in " ".join(words.split())
    assert run("check", str(tmp_path / "none.yaml"))[0] == 2


def test_difference_of_two_rulebooks(tmp_path: Path) -> None:
    old, new = tmp_path / "old.yaml", tmp_path / "new.yaml"
    old.write_text(TEXT)
    new.write_text(TEXT.replace("categories: [identity, move, housing]", "categories: [identity, housing]"))

    code, output = run("diff", str(old), str(new), "--json")
    same, nothing = run("diff", str(old), str(old))

    changes = json.loads(output)["changes"]
    assert (code, same) == (0, 0)
    assert {(one["change"], one["category"], one["requester"]) for one in changes} == {
        ("becomes-withheld", "move", "placement-authority")
    }
    assert "Nothing changes" in nothing


def test_case_is_explained_in_three_languages() -> None:
    code, output = run("explain", "p06-torture-survivor", "--to", "kotka", "--on", "2026-03-01", "--json")

    found = json.loads(output)
    assert code == 0
    assert set(found["explanation"]) == {"fi", "sv", "en"}
    assert "health-needs" not in {one["category"] for one in found["decision"]["permitted"]}


def test_today_is_the_finnish_calendars() -> None:
    late = datetime(2026, 11, 27, 23, 6, tzinfo=UTC)
    assert day_of(None, late) == date(2026, 11, 28)
    assert day_of(datetime(2026, 3, 1), late) == date(2026, 3, 1)  # noqa: DTZ001

    before = legal_day(datetime.now(UTC))
    _, output = run("explain", "p06-torture-survivor", "--json")
    decided = legal_day(datetime.fromisoformat(json.loads(output)["decision"]["at"]))
    assert before <= decided <= legal_day(datetime.now(UTC))


def test_unknown_case_party_or_language_is_told_what_there_is() -> None:
    for arguments, said in (
        (("explain", "p99"), "p01-asylum-adult"),
        (("explain", "p01-asylum-adult", "--to", "turku"), "kotka"),
        (("explain", "p01-asylum-adult", "--purpose", "x"), "plan-revision"),
        (("explain", "p01-asylum-adult", "--language", "de"), "fi, sv, en or all"),
    ):
        code, output = run(*arguments, "--json")
        assert code == 2
        assert said in json.loads(output)["remedy"]


def test_reference_is_sound_and_keeps_its_invariants() -> None:
    code, output = run("check", "--json")

    found = json.loads(output)
    assert code == 0
    assert found["sound"] is True
    assert len(found["invariants"]) >= 12
    assert all(one["holds"] for one in found["invariants"])


def test_broken_invariant_becomes_a_case_that_explain_takes(tmp_path: Path) -> None:
    stated = {
        "id": "no-housing",
        "says": {"fi": "x", "sv": "x", "en": "x"},
        "never": {"to": ["municipality"], "categories": ["housing"], "since": "2025-01-01"},
    }
    file, folder = tmp_path / "invariants.json", tmp_path / "cases"
    file.write_text(json.dumps({"invariants": [stated]}))

    code, output = run("check", "--invariants", str(file), "--cases", str(folder), "--json")
    told, explained = run("explain", str(folder / "no-housing.json"), "--json")

    assert code == 1
    assert json.loads(output)["invariants"][0]["counterexample"]["categories"] == ["housing"]
    assert told == 0
    assert {one["category"] for one in json.loads(explained)["decision"]["permitted"]} == {"housing"}
    assert run("explain", str(tmp_path / "none.json"))[0] == 2
    assert run("check", "--invariants", str(tmp_path / "none"))[0] == 2


def test_coverage_leaves_no_moment_of_the_act_unaccounted_for() -> None:
    code, output = run("coverage", "681/2023", "--json")

    found = json.loads(output)
    assert code == 0
    assert found["missing"] == []
    assert found["amended_unread"] > 0
    by = {one["provision"]: one for one in found["moments"]}
    assert by["681/2023 86:1"]["bases"] == ["assessment-municipality", "assessment-municipality-others"]
    assert by["681/2023 73:1"]["without"]
    assert run("coverage", "1/1900")[0] == 2


def test_purpose_follows_from_the_recipient() -> None:
    arguments = ("explain", "p09-permission-to-county", "--to", "kymenlaakso", "--on", "2026-03-01")

    code, output = run(*arguments, "--handover", "--json")

    decision = json.loads(output)["decision"]
    assert code == 0
    assert decision["purpose"] == "reception-to-county"
    assert {one["category"] for one in decision["permitted"]} == {"health-needs"}
