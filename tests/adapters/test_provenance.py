"""Provenance in FHIR's form: each value's cell and transform, valid by our schema and by R4, and never a value."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from fhir.resources.R4B import get_fhir_model_class

from adapters.provenance import provenance_of
from schemas.catalogue import catalogue
from tests.adapters.conftest import Samples
from tests.adapters.reading import convert

AT = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)


def test_each_resource_of_a_record_has_the_origin_of_each_of_its_values(samples: Samples) -> None:
    mapped = convert("reception-centre-csv", samples.read("reception-centre.csv"))[0]
    assert mapped.bundle is not None

    made = provenance_of(mapped, adapter="reception-centre-csv", recorded=AT)

    assert [one["target"][0]["reference"] for one in made] == [
        f"{one['resource']['resourceType']}/{one['resource']['id']}" for one in mapped.bundle["entry"]
    ]
    assert sum(len(one["extension"]) for one in made) == len(mapped.provenance)
    for one in made:
        assert catalogue().validate(one) == []
        get_fhir_model_class("Provenance").model_validate(one)
    born = next(one["extension"] for one in made[0]["extension"] if one["extension"][0]["valueString"] == "/birthDate")
    assert [next(value for key, value in part.items() if key != "url") for part in born] == [
        "/birthDate",
        2,
        "SYNTYMAAIKA",
        "fi-date",
    ]


def test_it_never_holds_a_value_and_a_rejected_record_has_none(samples: Samples) -> None:
    mapped = convert("reception-centre-csv", samples.read("reception-centre.csv"))

    text = json.dumps(provenance_of(mapped[0], adapter="x", recorded=AT), ensure_ascii=False)

    assert "060995-901P" not in text
    assert "Kashir" not in text
    rejected = next(item for item in mapped if item.bundle is None)
    assert provenance_of(rejected, adapter="x", recorded=AT) == []
