"""Find what a record says twice and not alike, where a reader would have to choose one of the two."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from schemas.facts import EXTENSION, HETU, MIGRI_CUSTOMER, subject

#: A person has one of each; identifiers of an organisation's own may be several.
_SINGLE = frozenset({HETU, MIGRI_CUSTOMER})


def disagreements(bundle: Mapping[str, Any]) -> Iterator[str]:
    """The pointers of what contradicts something that stands before it, in a bundle that has passed its schema."""
    person = subject(bundle)
    at = "/entry/0/resource"
    first: dict[str, str] = {}
    for index, identifier in enumerate(person.get("identifier", ())):
        system, value = identifier["system"], identifier["value"]
        if system in _SINGLE and first.setdefault(system, value) != value:
            yield f"{at}/identifier/{index}/value"
    for index, extension in enumerate(person.get("extension", ())):
        if extension["url"] != EXTENSION + "safety-prohibition":
            continue
        parts = {part["url"]: (number, part) for number, part in enumerate(extension.get("extension", ()))}
        # Whom a prohibition lets know is named only where there is one: "no" beside a name cannot be believed.
        if "named-recipient" in parts and ("active" not in parts or parts["active"][1].get("valueBoolean") is not True):
            yield f"{at}/extension/{index}/extension/{parts['named-recipient'][0]}"
