"""What goes out to people: exports, the extract, the record of processing, the person's own view."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fhir.resources.R4B.bundle import Bundle
from hypothesis import given
from hypothesis import strategies as st

from audit.log.entries import Agents, Categories, Entry
from audit.questions import export, query, report
from audit.questions.data_tracker import MAX_USAGES, UsageError, Wanted, find_usage, heartbeat, usage_period
from audit.questions.query import Filters, Found, walk
from audit.questions.report import Activity, Controller, Telling
from tests.audit.conftest import START, Bench, entry_at
from texts import LANGUAGES

ANNA = "a" * 64
NAMES = {
    ("subsystem", "FI/GOV/0245437-2/care"): "Kotkan <b>kaupunki</b>",
    ("purpose", "care"): "hoito",
    ("basis", "law-1"): "laki 1",
    ("category", "identity"): "henkilötiedot",
    ("category", "housing"): "asuminen",
    ("category", "vulnerability"): "haavoittuva asema",
}


def names(kind: str, code: str, _language: str) -> str | None:
    return NAMES.get((kind, code))


def nameless(_kind: str, _code: str, _language: str) -> str | None:
    """Nothing has a name: no registry was ever fetched."""
    return None


@pytest.fixture
def told(bench: Bench, make_entry: Callable[..., Entry]) -> list[Entry]:
    """What happened about Anna, something that she must not be told of, and something about another."""
    entries = []
    for fields in (
        {"categories": Categories(("identity", "housing"), ())},
        {"outcome": "refused", "reason": "not-permitted"},
        {"bases": ("secret-law",), "categories": Categories(("vulnerability",), ())},
        {"type": "consent", "consents": (("c-1", 1),), "detail": {"status": "active", "version": 1}},
        {"type": "consent", "consents": (("c-1", 2),), "detail": {"status": "withdrawn", "version": 2}},
        {"subject": "b" * 64, "agents": Agents(recipient="FI/MUN/3-3/other", user="u-9")},
        {"type": "delivery", "categories": Categories(("identity",), ())},
        # What somebody else reported, and that a system has read words, are no words of the person's.
        {"type": "refusal", "consents": (("c-2", 1),), "detail": {"status": "refused", "kind": "report"}},
        {"type": "consent", "consents": (("c-1", 1),), "detail": {"act": "read"}},
    ):
        bench.clock.move(hours=1)
        entries.append(make_entry(**({"subject": ANNA} | fields)))
    with bench.log() as log:
        log.append_blocking(entries)
    return entries


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("for_officer", [False, True], ids=["person", "officer"])
def test_extract_tells_the_person_all_that_may_be_told_and_of_nobody_else(
    bench: Bench, told: list[Entry], language: str, for_officer: bool
) -> None:
    with bench.engine.connect() as connection:
        made = report.extract(
            connection,
            [ANNA],
            Telling(
                language,
                names,
                bench.clock.move(seconds=1),
                Controller("Kotkan kaupunki"),
                hidden_bases={"secret-law"},
                for_officer=for_officer,
            ),
        )
    assert [line.at for line in made.disclosures] == [told[6].recorded, told[0].recorded]
    assert [line.at for line in made.fruitless] == [told[1].recorded]
    assert [(line.withdrawn, line.at) for line in made.consents] == [
        (True, told[4].recorded),
        (False, told[3].recorded),
    ]
    assert made.hidden == (1 if for_officer else 0)
    page = made.page()
    assert f'<html lang="{language}"' in page
    assert "Kotkan &lt;b&gt;kaupunki&lt;/b&gt;" in page, "a name is shown as text"
    for absent in ("FI/MUN/3-3/other", "u-9", "u-1", "secret-law", ANNA):
        assert absent not in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "<script" not in page


def test_extract_keeps_to_its_period(bench: Bench, told: list[Entry]) -> None:
    window = {"start": START + timedelta(minutes=90), "end": START + timedelta(hours=6)}
    with bench.engine.connect() as connection:
        made = report.extract(connection, [ANNA], Telling("en", names, bench.clock()), **window)
        nobody = report.extract(connection, [], Telling("en", names, bench.clock()))
    assert [line.at for line in made.disclosures] == [told[2].recorded]
    assert (nobody.disclosures, nobody.fruitless, nobody.consents) == ((), (), ())


@pytest.mark.parametrize("language", LANGUAGES)
def test_record_of_processing_has_what_is_described_with_what_was_counted(
    bench: Bench, told: list[Entry], language: str
) -> None:
    activities = [Activity("care", "hoito", ("laki 1",), ("identity", "housing"), "asukkaat", "12 v")]
    controller = Controller("Kotka", "kirjaamo@kotka.example", "tsv@kotka.example", ("signing",))
    with bench.engine.connect() as connection:
        record = report.record_of_processing(
            connection, 2026, activities, Telling(language, names, bench.clock(), controller)
        )
        before = report.record_of_processing(
            connection, 2025, activities, Telling(language, names, bench.clock(), controller)
        )
    (line,) = record.lines
    assert (line.activity.purpose, line.released, line.refused, line.fruitless) == ("care", 4, 1, 0)
    assert [(item.name, item.released, item.refused) for item in line.recipients] == [
        ("Kotkan <b>kaupunki</b>", 3, 1),
        ("FI/MUN/3-3/other", 1, 0),
    ]
    assert (before.lines[0].released, before.lines[0].refused) == (0, 0)
    page = record.page()
    assert f'<html lang="{language}"' in page
    assert "tsv@kotka.example" in page


# -- exports -----------------------------------------------------------------------------------------------------------


def found(entry: Entry, index: int = 7) -> Found:
    return Found(index, entry)


DANGEROUS = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", " =1", "＝1", "=cmd|' /C calc'!A0"]


@pytest.mark.parametrize("text", DANGEROUS)
def test_no_cell_of_a_csv_is_a_formula(text: str) -> None:
    lines = "".join(export.to_csv([found(entry_at(START, purpose=text, reason=text, service=text))]))
    (row,) = list(csv.DictReader(io.StringIO(lines, newline=""), delimiter=";"))
    for column in ("purpose", "reason", "service"):
        assert row[column] == f"'{text}"


@given(st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\x00"), max_size=40))
def test_csv_reads_back_and_never_starts_a_formula(text: str) -> None:
    lines = "".join(export.to_csv([found(entry_at(START, purpose=text))]))
    (row,) = list(csv.DictReader(io.StringIO(lines, newline=""), delimiter=";"))
    assert row["purpose"] in (text, f"'{text}")
    assert not row["purpose"].lstrip(" ").startswith(("=", "+", "-", "@"))


def test_json_lines_hold_the_bytes_that_the_leaf_is_made_of() -> None:
    entry = entry_at(START)
    (line,) = export.to_json_lines([found(entry)])
    assert json.loads(line)["index"] == 7
    assert entry.canonical() in line


def test_fhir_bundle_is_one_that_a_library_which_is_not_ours_accepts(bench: Bench, told: list[Entry]) -> None:
    with bench.engine.connect() as connection:
        whole = b"".join(export.to_fhir(walk(connection, Filters()), origin="log"))
    bundle = Bundle.model_validate(json.loads(whole))
    assert len(bundle.entry) == len(told)
    first = json.loads(whole)["entry"][0]["resource"]
    assert (first["resourceType"], first["outcome"], first["action"]) == ("AuditEvent", "0", "R")
    assert json.loads(whole)["entry"][1]["resource"]["outcomeDesc"] == "refused: not-permitted"
    assert json.loads(b"".join(export.to_fhir([], origin="log")))["entry"] == []


def test_exports_are_made_piece_by_piece() -> None:
    seen: list[int] = []

    def endless() -> Iterator[Found]:
        for index in range(10**9):
            seen.append(index)
            yield found(entry_at(START), index)

    for pieces in (export.to_csv(endless()), export.to_json_lines(endless()), export.to_fhir(endless(), origin="log")):
        seen.clear()
        next(pieces)  # type: ignore[call-overload]
        next(pieces)  # type: ignore[call-overload]
        assert len(seen) <= 2


# -- the person's own view ---------------------------------------------------------------------------------------------


def test_person_sees_uses_newest_first_without_what_must_be_hidden(bench: Bench, told: list[Entry]) -> None:
    with bench.engine.connect() as connection:
        usages = find_usage(connection, [ANNA], Telling("fi", names, START, hidden_bases={"secret-law"}), Wanted())
        everything = find_usage(connection, [ANNA], Telling("en", nameless, START), Wanted())
        paged = find_usage(connection, [ANNA], Telling("en", nameless, START), Wanted(offset=1, limit=1))
        nobody = find_usage(connection, [], Telling("en", names, START), Wanted())
    document: dict[str, Any] = usages.to_json()
    assert (document["totalUsages"], len(document["usages"])) == (2, 2)
    assert document["usages"][0] == {
        "logtime": "2026-10-01T15:00:00.000+00:00",
        "action": "Kotkan <b>kaupunki</b> sai tietojasi: henkilötiedot. Käyttötarkoitus: hoito.",
        "receiverCode": "0245437-2",
        "receiverName": "Kotkan <b>kaupunki</b>",
        "receiverSystem": "FI/GOV/0245437-2/care",
    }
    assert (everything.total, paged.total, len(paged.usages)) == (3, 3, 1)
    assert paged.usages[0] == everything.usages[1]
    assert "receiverName" not in everything.usages[0].to_json()
    assert nobody.to_json() == {"totalUsages": 0, "usages": []}


@pytest.mark.parametrize(("offset", "limit"), [(-1, 1), (0, 0), (0, MAX_USAGES + 1)])
def test_usage_beyond_the_protocols_limits_is_refused(offset: int, limit: int) -> None:
    with pytest.raises(UsageError):
        Wanted(offset=offset, limit=limit)


def test_usage_period_begins_with_the_log(bench: Bench, told: list[Entry]) -> None:
    with bench.engine.connect() as connection:
        assert usage_period(connection, bench.clock()).to_json() == {"periodStart": "2026-10-01T09:00:00.000+00:00"}
        assert heartbeat(connection).to_json() == {"status": "OK"}


def test_usage_period_of_an_empty_log_begins_now(bench: Bench) -> None:
    now = datetime(2026, 1, 2, tzinfo=UTC)
    with bench.engine.connect() as connection:
        assert usage_period(connection, now).start == now
        assert query.by_index(connection, 0) is None
