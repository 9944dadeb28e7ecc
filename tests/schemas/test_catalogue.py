"""The canonical schemas: two validators with one verdict, a category for every value, and no way past either."""

from __future__ import annotations

import copy
import json
from importlib.resources import files
from typing import Any

import pytest
from fhir.resources.R4B import get_fhir_model_class
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from schemas import reference
from schemas.catalogue import catalogue
from schemas.categories import CATEGORIES, PARTS, STRUCTURE, known, permits
from schemas.codes import code_system
from schemas.shape import OWN, SchemaError, compile_shape
from tests.properties import examples
from tests.schemas.generating import every, resources, spoilt

ALL = every()
KINDS = sorted(ALL)
MODEST = examples(30, suppress_health_check=[HealthCheck.too_slow], phases=[Phase.generate])


@pytest.mark.parametrize("kind", KINDS)
def test_whatever_the_schema_allows_passes_both_validators_and_is_fhir_r4(kind: str) -> None:
    model = get_fhir_model_class(kind)

    @MODEST
    @given(resources(kind))
    def holds(resource: dict[str, Any]) -> None:
        assert catalogue().validate(resource) == []
        assert reference.is_valid(resource)
        model.model_validate(resource)

    holds()


@pytest.mark.parametrize("kind", KINDS)
def test_both_validators_give_one_verdict_on_what_is_spoilt(kind: str) -> None:
    @settings(MODEST, max_examples=120)
    @given(spoilt(kind))
    def holds(resource: dict[str, Any]) -> None:
        found = catalogue().validate(resource)

        assert (found == []) == reference.is_valid(resource), found

    holds()


@pytest.mark.parametrize("kind", KINDS)
def test_an_unknown_member_is_refused_wherever_it_stands(kind: str) -> None:
    @settings(MODEST, max_examples=30)
    @given(resources(kind), st.data())
    def holds(resource: dict[str, Any], data: st.DataObject) -> None:
        objects = _objects(resource)
        smuggled = data.draw(st.sampled_from(objects))
        smuggled[data.draw(st.sampled_from(["div", "contained", "note2", "_birthDate", "fhir_comments"]))] = "x"

        assert catalogue().validate(resource) != []

    holds()


def _objects(value: Any) -> list[dict[str, Any]]:
    if isinstance(value, dict):
        return [value, *(one for member in value.values() for one in _objects(member))]
    return [one for item in value for one in _objects(item)] if isinstance(value, list) else []


@pytest.mark.parametrize("kind", KINDS)
def test_every_value_has_a_category_and_structure_can_carry_nothing(kind: str) -> None:
    for path, shape in ALL[kind].shape.values():
        assert shape.category in (OWN, STRUCTURE) or known(shape.category), path
        if shape.category == STRUCTURE:
            assert shape.constant is not None or shape.pattern is not None, path
        if shape.category == OWN:
            assert ALL[kind].by_code is not None, path


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({"type": "string"}, "no data category"),
        ({"type": "string", "x-category": "shoes"}, "there is no data category 'shoes'"),
        ({"type": "object", "properties": {}}, "unknown members must be refused"),
        (
            {"type": "object", "additionalProperties": False, "properties": {"a": {"type": "string"}}},
            r"x\.a: the value has no data category",
        ),
        ({"type": "string", "x-category": "structure"}, "so that it can carry no content"),
        (
            {
                "x-category": "identity",
                "anyOf": [
                    {"type": "object", "additionalProperties": False, "properties": {"a": {"type": "string"}}},
                    {"type": "object", "additionalProperties": False, "properties": {"b": {"type": "string"}}},
                ],
            },
            "not told apart",
        ),
    ],
    ids=["none", "unknown", "open", "below", "structure", "choice"],
)
def test_a_schema_that_would_let_a_value_by_without_a_category_is_an_error(
    schema: dict[str, Any], message: str
) -> None:
    with pytest.raises(SchemaError, match=message):
        compile_shape(schema, place="x")


def test_a_property_stripped_of_its_category_is_a_schema_error_in_every_shipped_schema() -> None:
    folder = files("schemas") / "fhir-like"
    for kind in KINDS:
        document = json.loads((folder / f"{kind}.schema.json").read_text(encoding="utf-8"))
        stripped = copy.deepcopy(document)
        _strip(stripped)

        compile_shape(document, place=kind)
        with pytest.raises(SchemaError):
            compile_shape(stripped, place=kind)


def _strip(schema: Any) -> None:
    if isinstance(schema, dict):
        if schema.get("x-category") != STRUCTURE:
            schema.pop("x-category", None)
        for member in schema.values():
            _strip(member)
    elif isinstance(schema, list):
        for item in schema:
            _strip(item)


def bundle(*others: dict[str, Any], **person: Any) -> dict[str, Any]:
    """A record of one person."""
    patient = {
        "resourceType": "Patient",
        "id": "patient-1",
        "identifier": [{"system": "urn:yhdyspinta:id:local", "value": "A1"}],
        **person,
    }
    entries = [{"resource": one} for one in (patient, *others)]
    return {"resourceType": "Bundle", "type": "collection", "entry": entries}


def need(number: int = 1, **members: Any) -> dict[str, Any]:
    """A service need."""
    return {
        "resourceType": "ServiceRequest",
        "id": f"service-request-{number}",
        "status": "active",
        "intent": "proposal",
        "code": {"coding": [{"system": "urn:yhdyspinta:codes:service-need", "code": "housing"}]},
        "subject": {"reference": "Patient/patient-1"},
        **members,
    }


@pytest.mark.parametrize(
    ("record", "finding"),
    [
        pytest.param(bundle(need(), need()), ("/entry/2/resource/id", "duplicate-id"), id="id-twice"),
        pytest.param(
            bundle(need(subject={"reference": "Patient/patient-2"})),
            ("/entry/1/resource/subject/reference", "reference"),
            id="dangling",
        ),
        pytest.param(bundle(birthDate="2023-02-29"), ("/entry/0/resource/birthDate", "format"), id="no-such-day"),
        pytest.param(bundle(gender="F"), ("/entry/0/resource/gender", "enum"), id="enum"),
        pytest.param({**bundle(), "meta": {}}, ("", "additionalProperties"), id="frame"),
        pytest.param({"resourceType": "Bundle", "type": "collection", "entry": []}, ("/entry", "minItems"), id="empty"),
        pytest.param(
            {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": {"resourceType": "Binary"}}]},
            ("/entry/0/resource/resourceType", "enum"),
            id="alien-resource",
        ),
    ],
)
def test_what_is_wrong_with_a_record_is_told_by_place_and_rule(
    record: dict[str, Any], finding: tuple[str, str]
) -> None:
    found = catalogue().validate_bundle(record)

    assert [(one.pointer, one.code) for one in found] == [finding]
    assert all(one.message for one in found)


def test_a_good_record_has_no_finding() -> None:
    assert catalogue().validate_bundle(bundle(need(1), need(2, priority="urgent"))) == []


def test_a_part_is_permitted_by_itself_or_by_its_whole_and_permits_nothing_more() -> None:
    for part, whole in PARTS.items():
        assert whole in CATEGORIES
        assert permits({part}, part)
        assert permits({whole}, part)
        assert not permits({part}, whole)
        assert not permits(CATEGORIES - {whole}, part)


def test_each_code_that_decides_a_category_has_one() -> None:
    for kind in KINDS:
        own = ALL[kind].by_code
        if own is not None:
            assert all(known(coding.category or "") for coding in code_system(own.codes).codes.values())
