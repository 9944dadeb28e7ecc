"""FHIR R4 bundles, one for each person, with the identifiers and extensions of the Finnish base profiles.

What arrives is taken as far as the canonical schemas know it; each element that they do not is told by its pointer.
Ids are given anew, and references follow them. What the Finnish profiles say in another place (the home municipality
in an extension, a non-disclosure for personal safety in `meta.security`) is moved to where the canonical record has it,
and back.
"""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, BinaryIO

import orjson

from adapters.agreement import doubts, today
from adapters.converting import convert_with
from adapters.fhir_r4.countries import three_letters
from adapters.fhir_r4.doubting import Doing, Word, in_use, of_bundle, of_entry, of_resource, settled
from adapters.fhir_r4.naming import legal_kept, own_numbers
from adapters.fhir_r4.parting import parted
from adapters.fhir_r4.taking import MOVED, Taking
from adapters.json_reader import JsonForm, read_json
from adapters.protecting import names_prohibition
from adapters.sdk import Finding, Limits, Manifest, Mapped, Origin, Position, Record, Rendered, Text
from adapters.texts import finding
from adapters.transforms import TransformError, hetu
from schemas.catalogue import catalogue
from schemas.codes import PREFIX, code_system
from schemas.facts import EXTENSION, check_single_subject
from schemas.identifiers import HETU

PROFILES = "https://hl7.fi/fhir/finnish-base-profiles/"
MUNICIPALITY = PROFILES + "StructureDefinition/municipality-code"
MUNICIPALITY_CODES = "urn:oid:1.2.246.537.6.21.2003"
#: How editions of the profiles name the same code system.
_MUNICIPALITY_CODES = frozenset({MUNICIPALITY_CODES, "urn:oid:1.2.246.537.6.21"})
SECURITY = PROFILES + "CodeSystem/fi-base-security-label-cs"
NON_DISCLOSURE = "TURVAKIELTO"
CITIZENSHIP = "http://hl7.org/fhir/StructureDefinition/patient-citizenship"
PATIENT_PROFILE = PROFILES + "StructureDefinition/fi-base-patient"
_HETU_TYPE = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "NNFIN"}]}


MANIFEST = Manifest(
    "fhir-r4",
    Text("FHIR R4 -paketti (suomalaiset perusprofiilit)", "FHIR R4-bunt (finska basprofiler)", "FHIR R4 bundle"),
    ("application/vnd.yhdyspinta.fhir-r4+json",),
    writes=True,
    extensions=("json",),
)
#: A bundle is one value however many resources it has; how large each of them may be the limits of a record say.
_RESOURCES = 40

#: The code systems whose names are the world's and not ours.
_SYSTEMS = {"country": "urn:iso:std:iso:3166", "language": "urn:ietf:bcp:47"}
#: The codes of foreign systems: by system and code, ours.
Codes = Mapping[tuple[str, str], tuple[str, str]]


class FhirAdapter:
    """R4 bundles, bare persons and pages of a search: one, or a list of them.

    An adapter of one's own is made with its manifest and with the codes of foreign systems that it knows.
    """

    def __init__(self, manifest: Manifest = MANIFEST, codes: Codes = MappingProxyType({})) -> None:
        self._manifest = manifest
        self._codes = codes

    @property
    def manifest(self) -> Manifest:
        return self._manifest

    def read(self, stream: BinaryIO, limits: Limits) -> Iterator[Record | Finding]:
        """See Adapter. The key of a record is the bundle's `id`, or that of the person where a bundle has several."""
        wide = replace(
            limits,
            row_characters=min(limits.row_characters * _RESOURCES, limits.total_bytes),
            fields=limits.fields * _RESOURCES,
        )
        is_empty = True
        for item in read_json(stream, JsonForm("id"), wide):
            is_empty = False
            yield from parted(item, limits)
        if is_empty:
            yield finding("error", "no-record", Position())

    def to_canonical(self, record: Record) -> Mapped:
        """See Adapter."""
        for item in parted(record, Limits()):  # a source that hands over records gives each as it stands
            if isinstance(item, Finding):
                return Mapped(record.key, None, {}, (item,), record.position)
            record = item
        source = resources_of(record.fields)
        if source is None or [found.kind for found in source].count("Patient") != 1:
            wrong = finding("error", "no-bundle" if source is None else "one-person", record.position)
            return Mapped(record.key, None, {}, (wrong,), record.position)
        source.sort(key=lambda found: found.kind != "Patient")
        doubted = [*of_bundle(record.fields)]
        for found in source:
            doubted += [*of_entry(found.entry, found.at.removesuffix("/resource"))]
            doubted += [*of_resource(found.resource, found.at, today())]
        mapped, places = self._mapped(record, source, doubted, {})
        # What a schema does not take of a resource costs that resource, as a kind that is not known does.
        spoilt = {
            places[index]: told
            for told in mapped.findings
            if told.severity == "error" and (index := _entry_of(told.target)) > 0
        }
        return self._mapped(record, source, doubted, spoilt)[0] if spoilt else mapped

    def _mapped(
        self, record: Record, source: list[Found], doubted: list[Word], spoilt: Mapping[str, Finding]
    ) -> tuple[Mapped, list[str]]:
        """The record without the resources at the places of `spoilt`, and the places of those that it has."""
        names = _names(source)
        taking = Taking(record.position.row, names)
        for word in doubted:
            if word.doing is Doing.STOPS:
                taking.refuse(word.code, word.at)
        for at in _misplaced(record.fields, "", [found.at for found in source if found.kind == "Patient"]):
            taking.refuse("misplaced", at)
        left = [word for word in doubted if word.doing is Doing.LEAVES]
        entries: list[dict[str, Any]] = []
        places: list[str] = []
        seen: list[Mapping[str, Any]] = []
        for found in source:
            schema = catalogue().resources.get(found.kind)
            words = [word for word in left if word.at.startswith(found.entry_at + "/")]
            if words:
                taking.tell("warning", words[0].code, words[0].at)
            elif schema is None:
                taking.tell("warning", "resource-left", found.at)
            elif found.at in spoilt:
                taking.tell("warning", spoilt[found.at].code, spoilt[found.at].position.column or found.at)
            elif found.resource in seen:
                taking.tell("warning", "duplicate-key", found.at)
            else:
                seen.append(found.resource)
                prepared = self._prepared(found, taking)
                prepared["id"] = names[id(found.resource)].partition("/")[2]
                to = f"/entry/{len(entries)}/resource"
                entries.append({"resource": taking.take(prepared, schema.shape, found.at, to)})
                places.append(found.at)
        bundle = {"resourceType": "Bundle", "type": "collection", "entry": entries}
        findings = [*taking.findings, *_wrong(bundle, taking.provenance, record.position)]
        rejected = any(told.severity == "error" for told in findings)
        mapped = Mapped(record.key, None if rejected else bundle, taking.provenance, tuple(findings), record.position)
        return mapped, places

    def _prepared(self, found: Found, taking: Taking) -> dict[str, Any]:
        """A resource as the schema may take it: its foreign codes are ours, and a person's values those of today."""
        resource = settled(translated(found.resource, self._codes) if self._codes else found.resource)
        return _person_in(resource, taking, found.at) if found.kind == "Patient" else resource

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


@dataclass(frozen=True, slots=True)
class Found:
    """A resource in a bundle: its entry and the entry's place, and itself."""

    entry: Mapping[str, Any]
    entry_at: str
    resource: dict[str, Any]

    @property
    def at(self) -> str:
        """Its place."""
        return f"{self.entry_at}/resource"

    @property
    def kind(self) -> str:
        return str(self.resource["resourceType"])


def resources_of(fields: Mapping[str, Any]) -> list[Found] | None:
    """The resources of a bundle. None if it is no bundle."""
    entries = fields.get("entry")
    if fields.get("resourceType") != "Bundle" or not isinstance(entries, list):
        return None
    found = []
    for index, entry in enumerate(entries):
        resource = entry.get("resource") if isinstance(entry, dict) else None
        if not isinstance(resource, dict) or not isinstance(resource.get("resourceType"), str):
            return None
        found.append(Found(entry, f"/entry/{index}", resource))
    return found


def _names(source: list[Found]) -> dict[Any, str]:
    """The new name of each resource, by itself (its identity in memory) and by every name that it has in the source."""
    names: dict[Any, str] = {}
    count: dict[str, int] = {}
    for found in source:
        kind = found.kind
        count[kind] = count.get(kind, 0) + 1
        new = f"{kind}/{_dashed(kind)}-{count[kind]}"
        names[id(found.resource)] = new
        own, url = found.resource.get("id"), found.entry.get("fullUrl")
        for old in (url, f"{kind}/{own}" if isinstance(own, str) else ""):
            if isinstance(old, str) and old:
                names.setdefault(old, new)
    return names


def translated(value: Any, codes: Codes) -> Any:
    """A resource with the codings of foreign systems as ours."""
    if isinstance(value, list):
        return [translated(item, codes) for item in value]
    if not isinstance(value, dict):
        return value
    system, code = value.get("system"), value.get("code")
    if isinstance(system, str) and isinstance(code, str) and (ours := codes.get((system.partition("|")[0], code))):
        return {"system": ours[0], "code": ours[1]}
    return {name: translated(member, codes) for name, member in value.items()}


def codes_of(table: str) -> Codes:
    """The codes of foreign systems from a CSV file with the columns `system`, `code`, `table` and `to`: of the table
    `service-need`, for one, the code `to`. Raises ValueError for a line that names no code of ours.
    """
    found: dict[tuple[str, str], tuple[str, str]] = {}
    for number, row in enumerate(csv.DictReader(table.splitlines()), 2):
        try:
            known = code_system(row["table"]).codes
            found[row["system"], row["code"]] = (_SYSTEMS.get(row["table"], PREFIX + row["table"]), row["to"])
        except KeyError as error:
            raise ValueError(f"line {number}: there is no column or code table {error}") from None
        if row["to"] not in known:
            raise ValueError(f"line {number}: {row['table']} has no code {row['to']!r}")
    return MappingProxyType(found)


def _entry_of(pointer: str | None) -> int:
    """The number of the entry that a pointer leads into; -1 for any other."""
    parts = (pointer or "").split("/")
    return int(parts[2]) if len(parts) > 2 and parts[1] == "entry" and parts[2].isdecimal() else -1


def _dashed(kind: str) -> str:
    return "".join(f"-{letter.lower()}" if letter.isupper() else letter for letter in kind).lstrip("-")


def _person_in(resource: dict[str, Any], taking: Taking, at: str) -> dict[str, Any]:
    """A patient of the Finnish profile with its municipality and its non-disclosure where the canonical record has
    them; what they say twice must be the same.
    """
    person = dict(resource)
    _former_left(person, taking, at)
    legal_kept(person, taking, at)
    own_numbers(person)
    _languages(person)
    extensions = list(person["extension"]) if isinstance(person.get("extension"), list) else []
    _places(person, extensions, taking, at)
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


def _places(person: Mapping[str, Any], extensions: list[Any], taking: Taking, at: str) -> None:
    """The countries of a patient's extensions in three letters, and the profile's municipality where it belongs."""
    homes: set[str] = set()
    for index, extension in enumerate(extensions):
        if isinstance(extension, dict) and extension.get("url") == CITIZENSHIP:
            extensions[index] = three_letters(extension)
        if not isinstance(extension, dict) or extension.get("url") != MUNICIPALITY:
            continue
        extensions[index] = MOVED
        coding = extension.get("valueCoding")
        code = coding.get("code") if isinstance(coding, dict) else None
        system = str(coding.get("system")).partition("|")[0] if isinstance(coding, dict) else ""
        known = system in _MUNICIPALITY_CODES and isinstance(code, str) and code in code_system("municipality").codes
        if not known:
            taking.refuse("code-unknown", f"{at}/extension")
            continue
        homes.add(str(code))
        if not _moves(person) and len(homes) == 1:
            # It is where they live. That they move there, and that their data may follow, nobody has said.
            taking.leave(f"{at}/extension/{index}", extension)
            continue
        if len(homes) > 1:
            taking.refuse("contradictory", f"{at}/extension/{index}")
            continue
        part = {"url": "municipality", "valueCoding": {"system": f"{PREFIX}municipality", "code": code}}
        if not _state(extensions, "move", part):
            taking.refuse("contradictory", f"{at}/extension/{index}")


def _moves(person: Mapping[str, Any]) -> bool:
    """Whether a patient says of a move: the profile's municipality is the one that it goes to only then."""
    listed = person.get("extension")
    return isinstance(listed, list) and any(
        isinstance(extension, dict) and extension.get("url") == EXTENSION + "move" for extension in listed
    )


def _former_left(person: dict[str, Any], taking: Taking, at: str) -> None:
    """Leave out what is of a former time: an old identity code would be another person's to whoever looks it up."""
    for member in ("identifier", "name", "telecom", "address"):
        values = person.get(member)
        if not isinstance(values, list):
            continue
        for index, value in enumerate(values):
            if not in_use(value, today()):
                taking.tell("warning", "not-current", f"{at}/{member}/{index}")
        person[member] = [value if in_use(value, today()) else MOVED for value in values]


def _languages(person: dict[str, Any]) -> None:
    """A language as it is spoken somewhere (`ar-SY`) is that language, where the list knows no better."""
    known = code_system("language").codes
    spoken = deepcopy(person.get("communication"))
    for communication in spoken if isinstance(spoken, list) else ():
        language = communication.get("language") if isinstance(communication, dict) else None
        for coding in language.get("coding") or () if isinstance(language, dict) else ():
            code = coding.get("code") if isinstance(coding, dict) else None
            if isinstance(code, str) and code not in known and code.partition("-")[0].lower() in known:
                coding["code"] = code.partition("-")[0].lower()
    if spoken is not None:
        person["communication"] = spoken


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
    url = value.get("url")
    is_ours = url == EXTENSION + "safety-prohibition" and at.rpartition("/extension/")[0] in persons
    if isinstance(url, str) and names_prohibition(url) and not is_ours:
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
    for extension in resource.get("extension", ()):
        parts = {inner["url"]: inner for inner in extension.get("extension", ())}
        if extension["url"] == EXTENSION + "safety-prohibition" and parts.get("active", {}).get("valueBoolean") is True:
            meta["security"] = [{"system": SECURITY, "code": NON_DISCLOSURE}]
        if extension["url"] == EXTENSION + "move" and "municipality" in parts:
            code = parts["municipality"]["valueCoding"]["code"]
            extensions.append({"url": MUNICIPALITY, "valueCoding": {"system": MUNICIPALITY_CODES, "code": code}})
    written = {"resourceType": "Patient", "id": resource["id"], "meta": meta, **resource}
    if extensions:
        written["extension"] = extensions
    written["identifier"] = [
        {"use": "official", "type": _HETU_TYPE, **identifier} if identifier["system"] == HETU else identifier
        for identifier in resource["identifier"]
    ]
    return written


def _wrong(bundle: dict[str, Any], provenance: Mapping[str, Origin], position: Position) -> Iterator[Finding]:
    is_sound = True
    for fault in catalogue().validate_bundle(bundle) or check_single_subject(bundle):
        is_sound = False
        if fault.code in {"subject-form", "subject-check"}:
            continue  # told when the identifier was read
        origin = provenance.get(fault.pointer)
        code = {"required": "field-missing", "format": "date-form", "enum": "code-unknown"}.get(fault.code, "schema")
        yield finding("error", code, origin.position if origin is not None else position, fault.pointer)
    for doubt in doubts(bundle, today()) if is_sound else ():
        origin = provenance.get(doubt.pointer)
        place = origin.position if origin is not None else position
        yield finding(doubt.severity, doubt.code, place, doubt.pointer)
