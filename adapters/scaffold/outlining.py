"""Find where the records of a document are: the element of XML that is one, the list in JSON that holds them."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from lxml import etree


class SampleError(ValueError):
    """A sample that cannot be made sense of: what is wrong, what would help."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message)
        self.remedy = remedy


def prefixed(tag: str, names: Mapping[str, str]) -> str:
    """A name as a mapping writes it."""
    uri, _, local = tag[1:].rpartition("}") if tag.startswith("{") else ("", "", tag)
    prefix = names.get(uri, "")
    return f"{prefix}:{local}" if prefix else local


@dataclass(frozen=True, slots=True)
class Outline:
    """The elements of an XML sample: the paths of those with elements in them, and how often each is there."""

    record: str
    count: int
    paths: Mapping[tuple[str, ...], int]
    repeated: frozenset[tuple[str, ...]]
    namespaces: Mapping[str, str]

    def lists(self, record: str, names: Mapping[str, str]) -> frozenset[str]:
        """The paths below a record of elements that repeat in it and have elements or attributes of their own."""
        found = set()
        for path in self.repeated:
            plain = [prefixed(tag, names) for tag in path]
            if record in plain[:-1]:
                found.add("/".join(plain[plain.index(record) + 1 :]))
        return frozenset(path for path in found if path and not any(path.startswith(f"{other}/") for other in found))


def outlined(data: bytes) -> Outline:
    """Look at the elements of a document. Raises SampleError."""
    counts: Counter[tuple[str, ...]] = Counter()
    repeated: set[tuple[str, ...]] = set()
    uris: dict[str, str] = {}
    steps: list[str] = []
    below: list[Counter[str]] = [Counter()]
    events = etree.iterparse(
        io.BytesIO(data), events=("start", "end"), resolve_entities=False, no_network=True, load_dtd=False
    )
    try:
        for event, element in events:
            if not isinstance(element.tag, str):
                continue
            if event == "start":
                steps.append(element.tag)
                below.append(Counter())
                for prefix, uri in element.nsmap.items():
                    uris.setdefault(str(uri), prefix or "")
                continue
            below.pop()
            path = tuple(steps)
            below[-1][element.tag] += 1
            if len(element) and len(path) > 1:
                counts[path] += 1
            if below[-1][element.tag] > 1 and len(element):
                repeated.add(path)
            steps.pop()
    except etree.XMLSyntaxError as error:
        raise SampleError(f"the sample is not well-formed XML (line {error.lineno})", "export it again") from None
    if not counts:
        raise SampleError("the sample has no element that could be a record", "a record is an element with elements")
    several = [path for path, count in counts.items() if count > 1] or list(counts)
    record = min(several, key=len)
    own = record[-1][1:].rpartition("}")[0] if record[-1].startswith("{") else ""
    used = {tag[1:].rpartition("}")[0] for path in counts for tag in path if tag.startswith("{")} - {own}
    namespaces = ({"": own} if own else {}) | {
        uris.get(uri) or f"n{number}": uri for number, uri in enumerate(sorted(used), 1)
    }
    return Outline(record[-1], counts[record], counts, frozenset(repeated), namespaces)


def enveloped(document: Any, told: str) -> tuple[tuple[str, ...], list[dict[str, Any]], str]:
    """The path of the records in a document, themselves, and the member beside them that counts them."""
    if isinstance(document, list):
        if not document or not all(isinstance(record, dict) for record in document):
            raise SampleError("the sample is no list of objects", "give a list of records: [{…}, {…}]")
        return (), document, ""
    if not isinstance(document, dict):
        raise SampleError("the sample is no list of objects", "give a list of records: [{…}, {…}]")
    lists = list(_lists(document, (), {}))
    if told:
        lists = [found for found in lists if "/".join(found[0]) == told.strip("/")]
        if not lists:
            raise SampleError(f"there is no list of objects at {told}", "leave --record out to have it guessed")
    is_envelope = not any(isinstance(value, str) and value for value in document.values()) or told
    if not lists or not (is_envelope or max(len(found[1]) for found in lists) > 2):
        return (), [document], ""
    path, records, beside = max(lists, key=lambda found: (len(found[1]), -len(found[0])))
    total = next((name for name, value in beside.items() if value == len(records) and value is not True), "")
    return path, records, total


def _lists(value: Any, path: tuple[str, ...], beside: Any) -> Iterator[tuple[tuple[str, ...], list[Any], Any]]:
    if isinstance(value, dict):
        for name, member in value.items():
            yield from _lists(member, (*path, name), value)
    elif _objects(value):
        yield path, value, beside


def _objects(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, dict) for item in value)
