"""A municipality's integration system: what arrives in its form is what was sent, and what has no place is told."""

from __future__ import annotations

import json
from copy import deepcopy

import pytest

from adapters.sdk import AdapterError, Limits, load
from tests.adapters import golden
from tests.adapters.conftest import Samples
from tests.adapters.reading import COSTING, convert, judge, only, reread


def test_all_that_a_reception_centre_knows_reaches_the_municipality_and_comes_back_whole(samples: Samples) -> None:
    adapter = load("municipality-json")

    for item in convert("reception-centre-csv", samples.read("reception-centre.csv")):
        if item.bundle is None:
            continue
        rendered = adapter.from_canonical(item.bundle)
        assert rendered.findings == ()
        assert reread("municipality-json", rendered) == item.bundle


def test_source_to_canonical_to_source_gives_the_same_object(samples: Samples) -> None:
    adapter = load("municipality-json")
    persons = json.loads(samples.read("municipality.json"))

    for person, item in zip(persons, convert("municipality-json", json.dumps(persons).encode()), strict=True):
        if item.bundle is None or item.findings:
            continue
        judge(item.bundle)
        assert json.loads(adapter.from_canonical(item.bundle).body) == person


def test_the_samples_give_what_the_golden_file_holds(samples: Samples) -> None:
    mapped = convert("municipality-json", samples.read("municipality.json"))

    dirty = samples.manifest["municipality-json"]["dirty"]
    assert len(mapped) == 200
    assert sum(item.bundle is None for item in mapped) == sum(one["code"] not in COSTING for one in dirty) > 5
    found = {(one.position.row, one.position.column, one.code) for item in mapped for one in item.findings}
    assert {(one["row"], one["column"], one["code"]) for one in dirty} <= found
    golden.agrees("adapters.municipality", "municipality-json", golden.told(mapped, first=4))


def test_what_the_form_has_no_place_for_is_told_by_its_pointer(samples: Samples) -> None:
    bundle = deepcopy(only(convert("reception-centre-csv", samples.read("reception-centre.csv"))[:1]))
    needs = [one["resource"] for one in bundle["entry"] if one["resource"]["resourceType"] == "ServiceRequest"]
    needs[0]["note"] = [{"text": "pyörätuoli"}]
    needs[1]["priority"] = "stat"

    rendered = load("municipality-json").from_canonical(bundle)

    at = [index for index, one in enumerate(bundle["entry"]) if one["resource"] in needs[:2]]
    assert {(one.code, one.target) for one in rendered.findings} == {
        ("no-place", f"/entry/{at[0]}/resource/note/0/text"),
        ("no-place", f"/entry/{at[1]}/resource/priority"),
    }


def test_an_adapter_that_only_reads_says_so() -> None:
    from adapters.mapped import MappedAdapter
    from adapters.sdk import Manifest, Text

    reader = MappedAdapter(Manifest("x", Text("x", "x", "x"), ("text/x",)), "adapters.municipality", "json.yaml")

    with pytest.raises(AdapterError, match="only reads"):
        reader.from_canonical({"entry": []})


def test_there_is_no_adapter_of_an_unknown_name() -> None:
    with pytest.raises(AdapterError, match="no adapter"):
        load("no-such-adapter")


def test_canonical_passes_through_what_is_valid_and_refuses_the_rest(samples: Samples) -> None:
    bundle = only(convert("municipality-json", samples.read("municipality.json"))[:1])
    spoilt = deepcopy(bundle)
    spoilt["entry"][0]["resource"]["shoeSize"] = 43
    two = deepcopy(bundle)
    two["entry"].append({"resource": {**deepcopy(bundle["entry"][0]["resource"]), "id": "patient-2"}})

    mapped = list(load("canonical").convert(_stream([bundle, spoilt, two, {"resourceType": "Bundle"}]), Limits()))

    assert mapped[0].bundle == bundle
    assert [item.bundle for item in mapped[1:]] == [None, None, None]
    assert mapped[1].findings[0].target == "/entry/0/resource"
    assert json.loads(load("canonical").from_canonical(bundle).body) == bundle


def _stream(value: object):  # type: ignore[no-untyped-def]
    import io

    return io.BytesIO(json.dumps(value).encode())
