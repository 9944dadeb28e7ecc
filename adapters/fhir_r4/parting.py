"""Part what arrives as FHIR into records, one for each person: a bundle about one, a bare person, a page of a search.

A search gives several persons and what refers to them. Each resource goes to the person that it names, and one that
names none of them, or two, goes to nobody and is told.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from adapters.sdk import Finding, Limits, Position, Record
from adapters.texts import finding, over

#: Where a resource says whom it is about.
_ABOUT: Final = ("subject", "patient", "for", "individual", "beneficiary")
#: What is about no person, and goes to each whose resources refer to it.
_SHARED: Final = frozenset({"Organization", "Practitioner", "PractitionerRole", "Location"})


def parted(item: Record | Finding, limits: Limits) -> Iterator[Record | Finding]:
    """The records of a document."""
    if isinstance(item, Finding):
        yield item
        return
    fields = item.fields
    if isinstance(fields.get("resource"), dict) and "resourceType" not in fields:
        fields = {"resourceType": "Bundle", "type": "collection", "entry": [fields]}  # an entry that a source cut out
    elif fields.get("resourceType") == "Patient":
        key = fields.get("id")
        yield Record(key if isinstance(key, str) else "", _bundle({}, [{"resource": dict(fields)}]), item.position)
        return
    entries = fields.get("entry")
    if fields.get("resourceType") != "Bundle" or not isinstance(entries, list):
        yield Record(item.key, fields, item.position)
        return
    if any(_count(entry) > limits.fields for entry in entries):
        yield over("fields", limits, item.position)
        return
    persons = [entry for entry in entries if _kind(entry) == "Patient"]
    if len(persons) < 2 or fields.get("type") != "searchset":
        yield Record(item.key, fields, item.position)
        return
    yield from _persons(Record(item.key, fields, item.position), entries, persons)


def _persons(record: Record, entries: list[Any], persons: list[Any]) -> Iterator[Record | Finding]:
    names = [_names(entry) for entry in persons]
    if sum(map(len, names)) != len(set().union(*names)):
        yield finding("error", "one-person", record.position)  # two persons of one name: nobody knows whose the rest is
        return
    own: list[list[Any]] = [[entry] for entry in persons]
    shared = [entry for entry in entries if _kind(entry) in _SHARED]
    for index, entry in enumerate(entries):
        if any(entry is person for person in persons) or any(entry is common for common in shared):
            continue
        about = _about(entry)
        meant = [at for at, known in enumerate(names) if known & about]
        if len(meant) == 1:
            own[meant[0]].append(entry)
        elif _kind(entry) != "OperationOutcome":
            place = Position(row=record.position.row, column=f"/entry/{index}/resource")
            yield finding("error", "one-person", place)
    for entry, held in zip(persons, own, strict=True):
        key = entry["resource"].get("id")
        head = {name: value for name, value in record.fields.items() if name not in {"entry", "total"}}
        yield Record(key if isinstance(key, str) else "", _bundle(head, [*held, *shared]), record.position)


def _bundle(head: Mapping[str, Any], entries: list[Any]) -> dict[str, Any]:
    return {"resourceType": "Bundle", "type": "collection", **head, "entry": entries}


def _kind(entry: Any) -> str:
    resource = entry.get("resource") if isinstance(entry, dict) else None
    return str(resource.get("resourceType", "")) if isinstance(resource, dict) else ""


def _names(entry: Any) -> set[str]:
    named = entry["resource"].get("id")
    found = {entry.get("fullUrl"), f"Patient/{named}" if isinstance(named, str) else None}
    return {name for name in found if isinstance(name, str)}


def _about(entry: Any) -> set[str]:
    resource = entry.get("resource") if isinstance(entry, dict) else None
    if not isinstance(resource, dict):
        return set()
    references = [resource.get(member) for member in _ABOUT]
    found = {about.get("reference") for about in references if isinstance(about, dict)}
    texts = {reference for reference in found if isinstance(reference, str)}
    # `https://…/Patient/7` and `Patient/7/_history/2` name the same person as `Patient/7`.
    return texts | {f"Patient/{text.rpartition('Patient/')[2].split('/')[0]}" for text in texts if "Patient/" in text}


def _count(value: Any) -> int:
    if isinstance(value, dict):
        return sum(map(_count, value.values()))
    return sum(map(_count, value)) if isinstance(value, list) else 1
