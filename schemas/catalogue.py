"""The canonical schemas, read and compiled once: validation, and the tree that projection walks.

Validation is by `jsonschema-rs`; a test holds it to the verdict of the reference library. A finding names the place and
the broken rule, never the value that broke it.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import jsonschema_rs

from schemas.codes import code_system
from schemas.shape import ByCode, SchemaError, Shape, by_code, compile_shape

#: What each broken rule of JSON Schema means to the one who has to mend the record.
_RULES = {
    "required": "a required member is missing",
    "additionalProperties": "there is a member that the schema does not have",
    "type": "the value is of another type",
    "enum": "the value is not one of the codes or words that are allowed here",
    "const": "the value is not the one that is fixed here",
    "pattern": "the value has another form than is asked for here",
    "format": "the value is not a date that exists",
    "minLength": "the text is empty",
    "maxLength": "the text is longer than is allowed here",
    "minItems": "the list is empty",
    "maxItems": "the list has more items than are allowed here",
    "minimum": "the number is less than is allowed here",
    "maximum": "the number is more than is allowed here",
    "minProperties": "a value is missing",
    "maxProperties": "two values stand where there is place for one",
    "not": "two values stand where there is place for one",
    "anyOf": "none of the forms that are allowed here fits",
    "reference": "the reference points at a resource that the bundle does not hold",
    "duplicate-id": "two resources have the same id",
    "subject-first": "the first resource is not the person whom the record is about",
    "subject-system-unknown": "no system of that name gives identifiers to persons",
    "subject-form": "the identifier of the person has another form than its system gives",
    "subject-check": "the check character of the personal identity code is wrong",
    "stated-twice": "the record states the same fact twice",
    "one-subject": "the record holds more than one person",
}


@dataclass(frozen=True, slots=True)
class SchemaFinding:
    """Something in a record that the schema refuses: where (JSON Pointer), which rule, and what that means."""

    pointer: str
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class ResourceSchema:
    """One resource type: its published schema, its compiled tree, how its own category is found, its validator."""

    type: str
    schema: Mapping[str, Any]
    shape: Shape
    by_code: ByCode | None
    validator: Any


class Catalogue:
    """All canonical schemas: `resources` are those that a record is made of, `apart` those that speak about records
    and never travel in one.
    """

    def __init__(
        self, resources: Mapping[str, ResourceSchema], apart: Mapping[str, ResourceSchema], bundle: ResourceSchema
    ) -> None:
        self.resources = resources
        self.apart = apart
        self._bundle = bundle

    def validate(self, resource: Mapping[str, Any]) -> list[SchemaFinding]:
        """What is wrong with one resource; empty if nothing is."""
        found = self._of(resource)
        if isinstance(found, SchemaFinding):
            return [found]
        if found.validator.is_valid(resource):
            return []
        return _sorted(
            finding(_pointer(error.instance_path), _keyword(error)) for error in found.validator.iter_errors(resource)
        )

    def validate_bundle(self, bundle: Mapping[str, Any]) -> list[SchemaFinding]:
        """What is wrong with a whole record: its frame, each of its resources, their ids and their references."""
        if not self._bundle.validator.is_valid(bundle):
            return _sorted(
                finding(_pointer(error.instance_path), _keyword(error))
                for error in self._bundle.validator.iter_errors(bundle)
            )
        findings: list[SchemaFinding] = []
        seen: set[str] = set()
        for index, entry in enumerate(bundle["entry"]):
            resource = entry["resource"]
            at = f"/entry/{index}/resource"
            findings += [finding(at + fault.pointer, fault.code) for fault in self.validate(resource)]
            name = f"{resource['resourceType']}/{resource.get('id')}"
            if name in seen:
                findings.append(finding(f"{at}/id", "duplicate-id"))
            seen.add(name)
        if not findings and not _all_lead_somewhere(bundle, seen):
            findings = [
                finding(pointer, "reference") for pointer, reference in references(bundle) if reference not in seen
            ]
        return findings

    def _of(self, resource: Mapping[str, Any]) -> ResourceSchema | SchemaFinding:
        kind = resource.get("resourceType")
        found = self.resources.get(kind, self.apart.get(kind)) if isinstance(kind, str) else None
        return found or finding("/resourceType", "enum")


def finding(pointer: str, code: str) -> SchemaFinding:
    """A finding with its words."""
    return SchemaFinding(pointer, code, _RULES.get(code, "the schema refuses the value"))


def references(value: Any, pointer: str = "") -> Iterator[tuple[str, str]]:
    """Every reference below a value, with its place."""
    if isinstance(value, dict):
        for name, member in value.items():
            if name == "reference" and isinstance(member, str):
                yield f"{pointer}/reference", member
            else:
                yield from references(member, f"{pointer}/{name}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from references(item, f"{pointer}/{index}")


def _all_lead_somewhere(record: Any, names: Collection[str]) -> bool:
    """Whether every reference in a record is one of the names; the quick question before `references` says where."""
    waiting = [record]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            for name, member in value.items():
                if not isinstance(member, str):
                    waiting.append(member)
                elif name == "reference" and member not in names:
                    return False
        elif isinstance(value, list):
            waiting += value
    return True


@cache
def catalogue() -> Catalogue:
    """The shipped schemas, compiled at first use. Raises SchemaError if one of them breaks the rules."""
    folder = files("schemas") / "fhir-like"
    documents = {
        entry.name.removesuffix(".schema.json"): json.loads(entry.read_text(encoding="utf-8"))
        for entry in folder.iterdir()
        if entry.name.endswith(".schema.json")
    }
    bundle = documents.pop("Bundle")
    compiled = {name: _compiled(name, document) for name, document in sorted(documents.items())}
    inside = bundle["properties"]["entry"]["items"]["properties"]["resource"]["properties"]["resourceType"]["enum"]
    return Catalogue(
        {name: compiled[name] for name in sorted(inside)},
        {name: shape for name, shape in compiled.items() if name not in inside},
        ResourceSchema("Bundle", bundle, Shape("object", ""), None, jsonschema_rs.Draft202012Validator(bundle)),
    )


def _compiled(name: str, document: dict[str, Any]) -> ResourceSchema:
    shape = compile_shape(document, place=name)
    own = by_code(document)
    if own is not None:
        bare = [code for code, coding in code_system(own.codes).codes.items() if coding.category is None]
        if bare:
            raise SchemaError(f"{name}: these codes of {own.codes} have no data category: {', '.join(bare)}")
    validator = jsonschema_rs.Draft202012Validator(with_codes(document), validate_formats=True)
    return ResourceSchema(name, document, shape, own, validator)


def with_codes(schema: Any) -> Any:
    """Write the code systems into the schema, as the closed lists they are."""
    if isinstance(schema, dict):
        closed = {name: with_codes(member) for name, member in schema.items()}
        if "x-codes" in schema:
            closed["enum"] = sorted(code_system(schema["x-codes"]).codes)
        return closed
    return [with_codes(item) for item in schema] if isinstance(schema, list) else schema


def _keyword(error: Any) -> str:
    return str(error.kind.name)


def _pointer(path: Any) -> str:
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in path)


def _sorted(findings: Iterator[SchemaFinding]) -> list[SchemaFinding]:
    return sorted(set(findings), key=lambda fault: (fault.pointer, fault.code))
