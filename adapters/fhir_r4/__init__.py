"""FHIR R4 bundles, one for each person, with the identifiers and extensions of the Finnish base profiles.

What arrives is taken as far as the canonical schemas know it; each element that they do not is told by its pointer.
Ids are given anew, and references follow them. What the Finnish profiles say in another place (the home municipality
in an extension, a non-disclosure for personal safety in `meta.security`) is moved to where the canonical record has it,
and back.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from copy import deepcopy
from typing import Any, BinaryIO

import orjson

from adapters.agreement import doubts, today
from adapters.converting import convert_with
from adapters.fhir_r4.taking import MOVED, Taking
from adapters.json_reader import JsonForm, read_json
from adapters.sdk import Finding, Limits, Manifest, Mapped, Origin, Position, Record, Rendered, Text
from adapters.texts import finding
from adapters.transforms import TransformError, hetu
from schemas.catalogue import catalogue
from schemas.codes import PREFIX, code_system
from schemas.facts import EXTENSION, HETU, check_single_subject

PROFILES = "https://hl7.fi/fhir/finnish-base-profiles/"
MUNICIPALITY = PROFILES + "StructureDefinition/municipality-code"
MUNICIPALITY_CODES = "urn:oid:1.2.246.537.6.21.2003"
#: How editions of the profiles name the same code system.
_MUNICIPALITY_CODES = frozenset({MUNICIPALITY_CODES, "urn:oid:1.2.246.537.6.21"})
SECURITY = PROFILES + "CodeSystem/fi-base-security-label-cs"
NON_DISCLOSURE = "TURVAKIELTO"
PATIENT_PROFILE = PROFILES + "StructureDefinition/fi-base-patient"
_HETU_TYPE = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "NNFIN"}]}


class FhirAdapter:
    """R4 bundles: one, or a list of them."""

    @property
    def manifest(self) -> Manifest:
        """What the adapter is."""
        return Manifest(
            "fhir-r4",
            Text(
                "FHIR R4 -paketti (suomalaiset perusprofiilit)", "FHIR R4-bunt (finska basprofiler)", "FHIR R4 bundle"
            ),
            ("application/vnd.yhdyspinta.fhir-r4+json",),
            writes=True,
            extensions=("json",),
        )

    def read(self, stream: BinaryIO, limits: Limits) -> Iterator[Record | Finding]:
        """See Adapter. The key of a record is the bundle's `id`."""
        return read_json(stream, JsonForm("id"), limits)

    def to_canonical(self, record: Record) -> Mapped:
        """See Adapter."""
        row = record.position.row
        source = _resources(record.fields)
        if source is None or [one["resourceType"] for _, one, _ in source].count("Patient") != 1:
            wrong = finding("error", "unreadable" if source is None else "one-person", record.position)
            return Mapped(record.key, None, {}, (wrong,), record.position)
        source.sort(key=lambda one: one[1]["resourceType"] != "Patient")
        names = _names(source)
        taking = Taking(row, names)
        persons = [at for at, one, _ in source if one["resourceType"] == "Patient"]
        for at in _misplaced(record.fields, "", persons):
            taking.refuse("misplaced", at)
        entries = []
        taken = 0
        for at, resource, _ in source:
            kind = resource["resourceType"]
            schema = catalogue().resources.get(kind)
            if schema is None:
                taking.leave(at, resource)
                continue
            prepared = _person_in(resource, taking, at) if kind == "Patient" else dict(resource)
            prepared["id"] = names[id(resource)].partition("/")[2]
            entries.append({"resource": taking.take(prepared, schema.shape, at, f"/entry/{taken}/resource")})
            taken += 1
        bundle = {"resourceType": "Bundle", "type": "collection", "entry": entries}
        findings = [*taking.findings, *_wrong(bundle, taking.provenance, record.position)]
        rejected = any(one.severity == "error" for one in findings)
        return Mapped(record.key, None if rejected else bundle, taking.provenance, tuple(findings), record.position)

    def convert(self, stream: BinaryIO, limits: Limits) -> Iterator[Mapped]:
        """See Adapter."""
        return convert_with(self, stream, limits)

    def from_canonical(self, bundle: Mapping[str, Any]) -> Rendered:
        """See Adapter."""
        written = deepcopy(dict(bundle))
        for entry in written["entry"]:
            resource = entry["resource"]
            if resource["resourceType"] == "Patient":
                entry["resource"] = _person_out(resource)
        return Rendered("application/fhir+json; fhirVersion=4.0", orjson.dumps(written, option=orjson.OPT_INDENT_2))


def _resources(fields: Mapping[str, Any]) -> list[tuple[str, dict[str, Any], str]] | None:
    """The resources of a bundle: where each stands, itself, and its full URL. None if it is no bundle."""
    entries = fields.get("entry")
    if fields.get("resourceType") != "Bundle" or not isinstance(entries, list):
        return None
    found = []
    for index, entry in enumerate(entries):
        resource = entry.get("resource") if isinstance(entry, dict) else None
        if not isinstance(resource, dict) or not isinstance(resource.get("resourceType"), str):
            return None
        url = entry.get("fullUrl")
        found.append((f"/entry/{index}/resource", resource, url if isinstance(url, str) else ""))
    return found


def _names(source: list[tuple[str, dict[str, Any], str]]) -> dict[Any, str]:
    """The new name of each resource, by itself (its identity in memory) and by every name that it has in the source."""
    names: dict[Any, str] = {}
    count: dict[str, int] = {}
    for _, resource, url in source:
        kind = resource["resourceType"]
        count[kind] = count.get(kind, 0) + 1
        new = f"{kind}/{_dashed(kind)}-{count[kind]}"
        names[id(resource)] = new
        for old in (url, f"{kind}/{resource.get('id')}" if isinstance(resource.get("id"), str) else ""):
            if old:
                names.setdefault(old, new)
    return names


def _dashed(kind: str) -> str:
    return "".join(f"-{letter.lower()}" if letter.isupper() else letter for letter in kind).lstrip("-")


def _person_in(resource: dict[str, Any], taking: Taking, at: str) -> dict[str, Any]:
    """A patient of the Finnish profile with its municipality and its non-disclosure where the canonical record has
    them; what they say twice must be the same.
    """
    person = dict(resource)
    extensions = list(person["extension"]) if isinstance(person.get("extension"), list) else []
    for index, one in enumerate(extensions):
        if not isinstance(one, dict) or one.get("url") != MUNICIPALITY:
            continue
        extensions[index] = MOVED
        coding = one.get("valueCoding")
        code = coding.get("code") if isinstance(coding, dict) else None
        system = str(coding.get("system")).partition("|")[0] if isinstance(coding, dict) else ""
        known = system in _MUNICIPALITY_CODES and isinstance(code, str) and code in code_system("municipality").codes
        if not known:
            taking.refuse("code-unknown", f"{at}/extension")
            continue
        part = {"url": "municipality", "valueCoding": {"system": f"{PREFIX}municipality", "code": code}}
        if not _state(extensions, "move", part):
            taking.refuse("contradictory", f"{at}/extension/{index}")
    meta = person.get("meta")
    if isinstance(meta, dict):
        labels = list(meta["security"]) if isinstance(meta.get("security"), list) else []
        for index, one in enumerate(labels):
            if not _is_prohibition(one):
                continue
            labels[index] = MOVED
            if not isinstance(one, dict) or (one.get("system"), one.get("code")) != (SECURITY, NON_DISCLOSURE):
                # Meant as a prohibition and written otherwise: neither taken for one nor passed over.
                taking.refuse("code-unknown", f"{at}/meta/security/{index}")
            elif not _state(extensions, "safety-prohibition", {"url": "active", "valueBoolean": True}):
                taking.refuse("contradictory", f"{at}/meta/security/{index}")
        if not isinstance(meta.get("security", []), list):
            taking.refuse("unreadable", f"{at}/meta/security")
        person["meta"] = {**meta, "security": labels}
    elif meta is not None:
        taking.refuse("unreadable", f"{at}/meta")
    if extensions:
        person["extension"] = extensions
    for index, one in enumerate(person.get("identifier") or ()):
        if isinstance(one, dict) and one.get("system") == HETU:
            try:
                hetu(one.get("value"))
            except TransformError as error:
                taking.refuse(error.code, f"{at}/identifier/{index}/value")
    return person


def _is_prohibition(label: Any) -> bool:
    """Whether a label is meant as a non-disclosure for safety, whatever its system and however it is written."""
    written = (label.get("code"), label.get("display")) if isinstance(label, dict) else (label,)
    return any(isinstance(text, str) and NON_DISCLOSURE.casefold() in text.casefold() for text in written)


def _misplaced(value: Any, at: str, persons: Collection[str]) -> Iterator[str]:
    """Where a prohibition stands anywhere but on a person: its label in a `meta`, or our extension of that name."""
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from _misplaced(item, f"{at}/{index}", persons)
    if not isinstance(value, dict):
        return
    if value.get("url") == EXTENSION + "safety-prohibition" and at.rpartition("/extension/")[0] not in persons:
        yield at
    meta = value.get("meta")
    labels = meta.get("security") if isinstance(meta, dict) and at not in persons else None
    for index, label in enumerate(labels if isinstance(labels, list) else [labels]):
        if _is_prohibition(label):
            yield f"{at}/meta/security/{index}"
    for name, member in value.items():
        yield from _misplaced(member, f"{at}/{name}", persons)


def _state(extensions: list[Any], name: str, part: dict[str, Any]) -> bool:
    """Say something in one of our extensions, unless it is said there; False if another thing is said."""
    url = EXTENSION + name
    for index, one in enumerate(extensions):
        if isinstance(one, dict) and one.get("url") == url and isinstance(one.get("extension"), list):
            told = [inner for inner in one["extension"] if isinstance(inner, dict) and inner.get("url") == part["url"]]
            if not told:
                extensions[index] = {**one, "extension": [*one["extension"], part]}
            return all(_same(inner, part) for inner in told)
    extensions.append({"url": url, "extension": [part]})
    return True


def _same(told: Mapping[str, Any], part: Mapping[str, Any]) -> bool:
    """Whether two parts of an extension say the same; of a code what it is shown as does not count."""
    if isinstance(coding := told.get("valueCoding"), dict):
        told = {**told, "valueCoding": {name: coding.get(name) for name in ("system", "code")}}
    return told == part


def _person_out(resource: dict[str, Any]) -> dict[str, Any]:
    meta: dict[str, Any] = {"profile": [PATIENT_PROFILE]}
    extensions = list(resource.get("extension", ()))
    for one in resource.get("extension", ()):
        parts = {inner["url"]: inner for inner in one.get("extension", ())}
        if one["url"] == EXTENSION + "safety-prohibition" and parts.get("active", {}).get("valueBoolean") is True:
            meta["security"] = [{"system": SECURITY, "code": NON_DISCLOSURE}]
        if one["url"] == EXTENSION + "move" and "municipality" in parts:
            code = parts["municipality"]["valueCoding"]["code"]
            extensions.append({"url": MUNICIPALITY, "valueCoding": {"system": MUNICIPALITY_CODES, "code": code}})
    written = {"resourceType": "Patient", "id": resource["id"], "meta": meta, **resource}
    if extensions:
        written["extension"] = extensions
    written["identifier"] = [
        {"use": "official", "type": _HETU_TYPE, **one} if one["system"] == HETU else one
        for one in resource["identifier"]
    ]
    return written


def _wrong(bundle: dict[str, Any], provenance: Mapping[str, Origin], position: Position) -> Iterator[Finding]:
    is_sound = True
    for one in catalogue().validate_bundle(bundle) or check_single_subject(bundle):
        is_sound = False
        if one.code in {"subject-form", "subject-check"}:
            continue  # told when the identifier was read
        origin = provenance.get(one.pointer)
        code = {"required": "field-missing", "format": "date-form", "enum": "code-unknown"}.get(one.code, "schema")
        yield finding("error", code, origin.position if origin is not None else position, one.pointer)
    for doubt in doubts(bundle, today()) if is_sound else ():
        origin = provenance.get(doubt.pointer)
        place = origin.position if origin is not None else position
        yield finding(doubt.severity, doubt.code, place, doubt.pointer)
