"""What the tests of adapters do over and over: bytes in, mapped records out, and the judgement of FHIR R4."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from typing import Any

from fhir.resources.R4B import get_fhir_model_class

from adapters.sdk import Finding, Limits, Mapped, Rendered, load
from schemas.catalogue import catalogue
from schemas.facts import check_single_subject

#: The planted faults that cost their value and not the person.
COSTING = frozenset({"phone-form", "email-form", "postal-code-form", "not-a-number", "not-yes-no"})


def convert(name: str, data: bytes, limits: Limits | None = None) -> list[Mapped]:
    """All records of a source."""
    return list(load(name).convert(io.BytesIO(data), limits or Limits()))


def codes(mapped: Iterable[Mapped]) -> list[str]:
    """The codes of all findings, in their order."""
    return [one.code for item in mapped for one in item.findings]


def only(mapped: list[Mapped]) -> dict[str, Any]:
    """The one bundle of a source that holds one good record."""
    assert len(mapped) == 1, codes(mapped)
    assert mapped[0].bundle is not None, [(one.code, one.position, one.target) for one in mapped[0].findings]
    return mapped[0].bundle


def refusals(mapped: Iterable[Mapped]) -> list[Finding]:
    """The findings of severity error."""
    return [one for item in mapped for one in item.findings if one.severity == "error"]


def judge(bundle: Mapping[str, Any]) -> None:
    """A bundle passes our schemas and parses as FHIR R4; fails with the places if it does not."""
    found = catalogue().validate_bundle(bundle) or check_single_subject(bundle)
    assert found == []
    get_fhir_model_class("Bundle").model_validate(bundle)


def reread(name: str, rendered: Rendered) -> dict[str, Any]:
    """What the recipient's format says when it is read again."""
    return only(convert(name, rendered.body))
