"""The mapping language: each mistake is found when the mapping is loaded, where it stands, and with a remedy."""

from __future__ import annotations

import pytest

from adapters.faults import MappingError
from adapters.mapping import compile_mapping
from schemas.catalogue import catalogue

GOOD = """\
mapping: example
version: 1
source: {format: csv, encoding: [utf-8-sig], delimiter: ";", key: NRO}
tables:
  kieli: {ukraina: uk}
resources:
  Patient:
    identifier:
      migri-customer: {from: NRO, required: true}
    birthDate: {from: SYNT, as: fi-date}
    communication:
      - {language: {from: KIELI, as: code kieli}, preferred: true}
  ServiceRequest:
    each: {split: TARPEET, by: "|"}
    code: {from: ., as: code service-need}
  Observation:
    - {code: schooling, valueCodeableConcept: {from: KOULU, as: code schooling}}
"""


def test_a_good_mapping_says_which_fields_it_reads() -> None:
    mapping = compile_mapping(GOOD, catalogue(), source="good.yaml")

    assert mapping.name == "example"
    assert mapping.fields == {"NRO", "SYNT", "KIELI", "TARPEET", "KOULU"}
    assert [one.kind for one in mapping.resources] == ["Patient", "ServiceRequest", "Observation"]


@pytest.mark.parametrize(
    ("old", "new", "place", "message", "remedy"),
    [
        pytest.param("as: fi-date", "as: fi-dat", (10, 29), "no transform 'fi-dat'", "'fi-date'", id="transform"),
        pytest.param("birthDate:", "birthdate:", (10, 5), "no member 'birthdate'", "'birthDate'", id="target"),
        pytest.param("  Observation:", "  Observatoin:", (16, 3), "no resource", "'Observation'", id="resource"),
        pytest.param("as: code kieli", "as: code kiel", (12, 34), "no code table 'kiel'", "'kieli'", id="table"),
        pytest.param("{code: schooling,", "{code: scholing,", (17, 8), "no code 'scholing'", "'schooling'", id="code"),
        pytest.param("migri-customer:", "migri-custmer:", (9, 7), "no system", "'migri-customer'", id="identifier"),
        pytest.param("each: {split:", "each: {splt:", (14, 5), "which field is split", "split: FIELD", id="each"),
        pytest.param("{from: NRO, required", "{from: NRO, requird", (9, 35), "unknown member", "required", id="option"),
        pytest.param("{from: SYNT, as: fi-date}", "[a]", (10, 5), "one value", "", id="list-for-value"),
        pytest.param("mapping: example\n", "", (1, 1), "`mapping` is missing", "", id="no-name"),
        pytest.param("  Patient:\n", "  Observation2:\n", (7, 3), "no resource", "'Observation'", id="no-person"),
        pytest.param(
            "birthDate: {from: SYNT, as: fi-date}",
            "extension: {safety-prohibition: {active: false}}",
            (10, 38),
            "said of everybody",
            "cannot-say: [safety-prohibition]",
            id="nobody-is-protected",
        ),
        pytest.param(
            "tables:",
            "cannot-say: [birth-date]\ntables:",
            (4, 1),
            "yet said to be",
            "take birth-date",
            id="said-and-not",
        ),
        pytest.param("tables:", "tables: [", (6, 0), "not YAML", "", id="yaml"),
        pytest.param("NRO, required: true}", "NRO, required: maybe}", (9, 35), "yes or no", "true", id="required"),
        pytest.param("source: {format: csv", "source: {format: cvs", (3, 10), "no format 'cvs'", "'csv'", id="format"),
        pytest.param(', delimiter: ";"', "", (3, 1), "`delimiter`", "delimiter", id="source-incomplete"),
        pytest.param(
            "kieli: {ukraina: uk}", "kieli: ukraina", (5, 3), "a table is an object", "{", id="table-not-object"
        ),
        pytest.param(
            "as: code service-need", "as: code schooling", (15, 21), "other codes", "service-need", id="table-of-other"
        ),
        pytest.param("version: 1", "verison: 1", (2, 1), "unknown member", "'version'", id="top-level"),
    ],
)
def test_a_mistake_is_named_with_its_line_its_column_and_a_remedy(
    old: str, new: str, place: tuple[int, int], message: str, remedy: str
) -> None:
    assert old in GOOD

    with pytest.raises(MappingError) as caught:
        compile_mapping(GOOD.replace(old, new, 1), catalogue(), source="bad.yaml")

    error = caught.value
    assert message in error.message
    assert remedy in error.remedy
    assert error.line == place[0]
    assert place[1] in (0, error.column)
    assert str(error).startswith(f"bad.yaml:{error.line}:{error.column}: ")


def test_a_required_element_that_the_mapping_does_not_cover_is_found_on_load() -> None:
    text = GOOD.replace("    code: {from: ., as: code service-need}\n", "    priority: {from: KIIRE}\n")

    with pytest.raises(MappingError) as caught:
        compile_mapping(text, catalogue(), source="bad.yaml")

    assert "`code`" in caught.value.message
    assert caught.value.line == 14


def test_a_mapping_without_a_person_first_is_refused() -> None:
    text = GOOD[: GOOD.index("  Patient:")] + GOOD[GOOD.index("  ServiceRequest:") :]

    with pytest.raises(MappingError, match="the first resource is the person"):
        compile_mapping(text, catalogue(), source="bad.yaml")


def test_a_file_that_is_no_mapping_is_refused() -> None:
    with pytest.raises(MappingError, match="a mapping is a YAML object"):
        compile_mapping("- 1\n- 2\n", catalogue(), source="bad.yaml")
