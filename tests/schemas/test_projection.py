"""Minimisation: what is not permitted is not in what comes out, however it was put in, and all of it is listed."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.catalogue import catalogue, references
from schemas.categories import CATEGORIES, PARTS, STRUCTURE, permits
from schemas.codes import code_system
from schemas.projection import UNKNOWN, Projection, categories_in, own_category, project
from schemas.shape import OWN, Shape
from tests.properties import examples

EVERY = sorted({*CATEGORIES, *PARTS})
# Few, nearly all or all: what refers to something stands only where most of a record may be seen.
some = st.one_of(
    st.frozensets(st.sampled_from(EVERY), max_size=len(EVERY)),
    st.frozensets(st.sampled_from(EVERY), max_size=2).map(lambda left_out: frozenset(EVERY) - left_out),
)
MARK = re.compile(r"‹([^›]+)›")


class Planter:
    """Grows bundles in which every value carries a mark of its own: where it stands and what category it has."""

    def __init__(self, seed: int) -> None:
        self.draw = Random(seed)
        self.marks: dict[str, tuple[str, str]] = {}  # mark -> pointer, category
        self.names: list[str] = []  # of the bundle's resources, as references call them

    def mark(self, pointer: str, category: str) -> str:
        name = f"‹{len(self.marks)}›"
        self.marks[name] = (pointer, category)
        return name

    def bundle(self) -> dict[str, Any]:
        kinds = ["Patient", *self.draw.choices(sorted(catalogue().resources), k=self.draw.randint(1, 5))]
        self.names = [f"{kind}/{_dashed(kind)}-{index + 1}" for index, kind in enumerate(kinds)]
        entries = [{"resource": self.resource(kind, index)} for index, kind in enumerate(kinds)]
        found: dict[str, Any] = {"resourceType": "Bundle", "type": "collection", "entry": entries}
        if self.draw.random() < 0.3:
            found["meta"] = {"tag": self.mark("/meta", UNKNOWN)}
        if self.draw.random() < 0.3:
            entries[0]["fullUrl"] = self.mark("/entry/0/fullUrl", UNKNOWN)
        if self.draw.random() < 0.2:
            at = f"/entry/{len(entries)}/resource"
            entries.append({"resource": {"resourceType": "DocumentReference", "text": self.mark(at, UNKNOWN)}})
        return found

    def resource(self, kind: str, index: int) -> dict[str, Any]:
        schema, at = catalogue().resources[kind], f"/entry/{index}/resource"
        own = UNKNOWN
        skeleton: dict[str, Any] = {}
        if schema.by_code is not None:
            code = self.draw.choice([*code_system(schema.by_code.codes).codes, "no-such-code"])
            skeleton = _at(schema.by_code.steps, code)
            own = own_category(schema, skeleton)
        grown = self.object(schema.shape, at, own)
        if schema.by_code is not None:
            # The code itself is a value of the resource's own category: it stands as its code, not as a mark.
            grown[schema.by_code.steps[0]] = skeleton[schema.by_code.steps[0]]
        grown["resourceType"] = kind
        grown["id"] = f"{_dashed(kind)}-{index + 1}"
        if self.draw.random() < 0.15:
            grown["id"] = self.mark(f"{at}/id", UNKNOWN)
        return grown

    def value(self, shape: Shape, at: str, own: str) -> Any:
        if shape.kind == "object":
            return self.object(shape, at, own)
        if shape.kind == "array":
            assert shape.item is not None
            return [self.value(shape.item, f"{at}/{index}", own) for index in range(self.draw.randint(1, 2))]
        if shape.kind == "choice":
            if self.draw.random() < 0.15:
                return {shape.key: "urn:alien", "valueString": self.mark(at, UNKNOWN)}
            return self.object(shape.options[self.draw.choice(sorted(shape.options))], at, own)
        category = own if shape.category == OWN else shape.category
        if category != STRUCTURE:
            return self.mark(at, category)
        if shape.constant is not None and self.draw.random() < 0.9:
            return shape.constant
        if self.draw.random() < 0.9:
            fitting = [name for name in (*self.names, "Organization/organization-9") if shape.is_form(name)]
            return self.draw.choice(fitting or self.names)
        return self.mark(at, UNKNOWN)  # a name where a reference or an id is to stand

    def object(self, shape: Shape, at: str, own: str) -> dict[str, Any]:
        grown: dict[str, Any] = {}
        for name, member in shape.members.items():
            key = member.constant is not None
            required = name in shape.required and self.draw.random() < 0.9
            if key or required or self.draw.random() < 0.6:
                grown[name] = member.constant if key else self.value(member, f"{at}/{name}", own)
        if self.draw.random() < 0.25:
            name = self.draw.choice(["text", "contained", "modifierExtension", "x/y~z", "_birthDate", "implicitRules"])
            if name not in shape.members:
                place = f"{at}/{name.replace('~', '~0').replace('/', '~1')}"
                grown[name] = self.draw.choice(
                    [
                        {"status": "generated", "div": f"<div>{self.mark(place, UNKNOWN)}</div>"},
                        [{"resourceType": "Patient", "name": [{"family": self.mark(place, UNKNOWN)}]}],
                        self.mark(place, UNKNOWN),
                    ]
                )
        return grown


def _at(steps: tuple[str | int, ...], code: str) -> Any:
    value: Any = code
    for step in reversed(steps):
        value = {step: value} if isinstance(step, str) else [value]
    return value


def _dashed(kind: str) -> str:
    return re.sub("(?<!^)(?=[A-Z])", "-", kind).lower()


def marks_in(value: Any) -> set[str]:
    return {found.group(0) for found in MARK.finditer(json.dumps(value, ensure_ascii=False))}


seeds = st.integers(0, 2**32)


@examples(250)
@given(seeds, some)
def test_output_holds_no_value_of_a_category_that_is_not_permitted(seed: int, permitted: frozenset[str]) -> None:
    planter = Planter(seed)
    bundle = planter.bundle()
    before = copy.deepcopy(bundle)

    projection = project(bundle, permitted)

    assert bundle == before
    for mark in marks_in(projection.bundle):
        pointer, category = planter.marks[mark]
        assert category != UNKNOWN, pointer
        assert permits(permitted, category), (pointer, category)


@examples(150)
@given(seeds, some)
def test_everything_that_was_withheld_is_listed_by_its_place_and_category(seed: int, permitted: frozenset[str]) -> None:
    planter = Planter(seed)
    bundle = planter.bundle()

    projection = project(bundle, permitted)

    listed = {one.pointer: one.category for one in projection.withheld}
    for mark in marks_in(bundle) - marks_in(projection.bundle):
        pointer, category = planter.marks[mark]
        above = [place for place in _upwards(pointer) if place in listed]
        if not above:
            # It is permitted, and stood in a resource that could not stand without what it referred to.
            assert permits(permitted, category), (pointer, category)
            continue
        assert listed[above[0]] in {category, UNKNOWN}, pointer
    for one in projection.withheld:
        assert not MARK.search(one.pointer)
        assert one.category == UNKNOWN or not permits(permitted, one.category)


def _upwards(pointer: str) -> Iterator[str]:
    while pointer:
        yield pointer
        pointer = pointer.rpartition("/")[0]


@examples(100)
@given(seeds, some)
def test_what_came_out_holds_only_what_it_says_and_comes_out_of_itself_unchanged(
    seed: int, permitted: frozenset[str]
) -> None:
    projection = project(Planter(seed).bundle(), permitted)

    again = project(projection.bundle, permitted)

    assert categories_in(projection.bundle) <= projection.kept
    assert UNKNOWN not in categories_in(projection.bundle)
    assert again.bundle == projection.bundle
    assert again.withheld == ()


@examples(100)
@given(seeds, some)
def test_every_reference_leads_to_something_that_is_there(seed: int, permitted: frozenset[str]) -> None:
    bundle = project(Planter(seed).bundle(), permitted).bundle

    names = {f"{entry['resource']['resourceType']}/{entry['resource'].get('id')}" for entry in bundle["entry"]}
    assert {reference for _, reference in references(bundle)} <= names


@examples(60)
@given(seeds, some, some)
def test_permitting_more_never_takes_anything_away(seed: int, fewer: frozenset[str], more: frozenset[str]) -> None:
    bundle = Planter(seed).bundle()

    assert marks_in(project(bundle, fewer).bundle) <= marks_in(project(bundle, fewer | more).bundle)


PERSON: dict[str, Any] = {
    "resourceType": "Patient",
    "id": "patient-1",
    "identifier": [{"system": "urn:yhdyspinta:id:migri-customer", "value": "DEMO-1"}],
    "name": [{"family": "Esimerkki", "given": ["Aino"]}],
}
HEALTH: dict[str, Any] = {
    "resourceType": "ServiceRequest",
    "id": "service-request-1",
    "status": "active",
    "intent": "proposal",
    "code": {"coding": [{"system": "urn:yhdyspinta:code:service-need", "code": "health-care"}]},
    "subject": {"reference": "Patient/patient-1"},
}


def of(*resources: dict[str, Any], **more: Any) -> Projection:
    bundle = {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": one} for one in resources]} | more
    return project(bundle, {"identity"})


SMUGGLED: list[tuple[str, dict[str, Any], str]] = [
    ("extension", {"extension": [{"url": "urn:alien", "valueString": "asthma"}]}, "/extension/0"),
    ("contained resource", {"contained": [{**HEALTH, "note": "asthma"}]}, "/contained"),
    ("unknown member", {"diagnosis": "asthma"}, "/diagnosis"),
    ("narrative", {"text": {"status": "generated", "div": "<div>asthma</div>"}}, "/text"),
    ("modifier extension", {"modifierExtension": [{"url": "x", "valueString": "asthma"}]}, "/modifierExtension"),
    ("primitive's twin", {"_birthDate": {"extension": [{"url": "x", "valueString": "asthma"}]}}, "/_birthDate"),
    ("id", {"id": "asthma-1"}, "/id"),
    ("id of the right form, of another kind", {"id": "asthma"}, "/id"),
]


@pytest.mark.parametrize(("member", "place"), [row[1:] for row in SMUGGLED], ids=[row[0] for row in SMUGGLED])
def test_category_smuggled_in_a_place_where_nobody_looks_stays_behind(member: dict[str, Any], place: str) -> None:
    projection = of({**PERSON, **member})

    assert "asthma" not in json.dumps(projection.bundle)
    assert (f"/entry/0/resource{place}", UNKNOWN) in {(one.pointer, one.category) for one in projection.withheld}


def test_category_smuggled_in_a_reference_stays_behind() -> None:
    relative = {
        "resourceType": "RelatedPerson",
        "id": "related-person-1",
        "patient": {"reference": "Patient/asthma-1", "display": "asthma"},
        "relationship": [{"coding": [{"system": "urn:yhdyspinta:code:relationship", "code": "spouse"}]}],
    }

    projection = project(
        {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": PERSON}, {"resource": relative}]},
        set(EVERY),
    )

    assert "asthma" not in json.dumps(projection.bundle)


def test_resource_of_a_category_that_is_not_permitted_leaves_no_trace_of_itself() -> None:
    projection = of(PERSON, HEALTH)

    assert [entry["resource"]["resourceType"] for entry in projection.bundle["entry"]] == ["Patient"]
    assert "service-request" not in json.dumps(projection.bundle)
    assert projection.kept == {"identity"}


def test_frame_around_the_record_carries_nothing_either() -> None:
    projection = of(PERSON, meta={"tag": [{"display": "asthma"}]}, identifier={"value": "asthma"})

    assert set(projection.bundle) == {"resourceType", "type", "entry"}
    assert {"/meta", "/identifier"} <= {one.pointer for one in projection.withheld}


def test_part_of_a_category_lets_only_that_part_through() -> None:
    person = {
        **PERSON,
        "telecom": [{"system": "phone", "value": "050 000"}],
        "address": [{"line": ["Esimerkkikatu 1"], "city": "Kotka"}],
    }
    bundle = {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": person}]}

    projection = project(bundle, {"identity", "contact/telecom"})

    assert "050 000" in json.dumps(projection.bundle)
    assert "Esimerkkikatu" not in json.dumps(projection.bundle)
    assert "contact/address" in {one.category for one in projection.withheld}


NEED = {**HEALTH, "code": {"coding": [{"system": "urn:yhdyspinta:codes:service-need", "code": "basic-health-care"}]}}
HIDDEN: list[tuple[str, Any]] = [
    ("a resource that there is not", {"resourceType": "DocumentReference", "description": "asthma"}),
    ("a resource of no kind", {"description": "asthma"}),
    ("a kind that is no text", {"resourceType": ["Patient"], "name": "asthma"}),
    ("no resource", "asthma"),
    ("a text where form is to stand", {**NEED, "id": "asthma-1"}),
    ("a text where a reference is to stand", {**NEED, "subject": {"reference": "asthma"}}),
    ("a text where a constant is to stand", {**NEED, "intent": "asthma"}),
    ("an unknown member", {**NEED, "note": "asthma"}),
    ("a list where a text is to stand", {**NEED, "status": ["asthma"]}),
]


@pytest.mark.parametrize("resource", [row[1] for row in HIDDEN], ids=[row[0] for row in HIDDEN])
def test_what_the_schema_does_not_know_is_seen_in_a_record_that_is_only_looked_at(resource: Any) -> None:
    """The recipient counts what it is brought: what it could not name would come in beside what it may have."""
    entries = [{"resource": PERSON}, {"resource": NEED}]
    assert categories_in({"resourceType": "Bundle", "entry": entries}) == {"identity", "health-needs"}

    assert UNKNOWN in categories_in({"resourceType": "Bundle", "entry": [*entries, {"resource": resource}]})


def test_bundles_that_the_properties_are_tried_with_keep_references_of_both_kinds() -> None:
    """Properties of references show nothing with bundles that have none."""
    drawn = [Planter(seed).bundle() for seed in range(120)]
    kept = [bool(list(references(project(bundle, EVERY).bundle))) for bundle in drawn]
    lost = [len(list(references(bundle))) > len(list(references(project(bundle, EVERY).bundle))) for bundle in drawn]

    assert sum(kept) >= len(drawn) / 3
    assert sum(lost) >= len(drawn) / 3
