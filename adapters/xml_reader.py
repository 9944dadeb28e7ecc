"""Read records out of XML, in a stream: each element of a name is one, its fields are named by their paths.

XML is read without entities, document types or network. Names with a namespace are written with the prefix that the
layout gives it. A list that the mapping asks for by its path keeps its elements apart, each with fields of its own.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, BinaryIO

from lxml import etree

from adapters.layouts import PLAIN, Layout
from adapters.limiting import LimitedStream, LimitError
from adapters.sdk import Finding, Limits, Position, Record
from adapters.texts import finding, over

_INSTANCE = "{http://www.w3.org/2001/XMLSchema-instance}"


@dataclass(frozen=True, slots=True)
class XmlForm:
    """How an XML file is written: the element that is a record, the path of its key below it, the root's name, the
    paths of lists whose elements are kept apart.
    """

    record: str
    key: str
    root: str = "Records"
    lists: frozenset[str] = frozenset()
    layout: Layout = PLAIN


class _Parsing:
    """What one XML source holds while it is read: how deep it stands, and how much of a record it has seen."""

    def __init__(self, form: XmlForm, limits: Limits) -> None:
        self._form = form
        self._limits = limits
        self._names: dict[str, str] = {}
        self._elements = 0
        self.depth = 0  # below the record; 0 outside of one
        #: Of the elements that are open around records whether each holds anything; those that did, with the element
        #: around them; and those that hold records.
        self._open: list[bool] = []
        self._held: set[tuple[str, str]] = set()
        self._holders: set[str] = set()

    def started(self, element: Any) -> None:
        """An element begins. Raises LimitError."""
        if self.depth or self.name(element.tag) == self._form.record:
            self.depth += 1
            self._elements += 1 + len(element.attrib)
            if self.depth > self._limits.depth:
                raise LimitError("depth")
            if self._elements > self._limits.fields:
                raise LimitError("fields")
        else:
            self._open.append(False)

    def name(self, tag: Any) -> str:
        """The name of an element or attribute, with the prefix that the layout gives its namespace."""
        found = self._names.get(tag)
        if found is None:
            uri, _, local = tag[1:].rpartition("}") if tag.startswith("{") else ("", "", tag)
            prefix = self._form.layout.namespaces.get(uri)
            found = tag if prefix is None else f"{prefix}:{local}" if prefix else local
            if len(self._names) < self._limits.fields:
                self._names[tag] = found
        return found

    def flatten(self, element: Any, path: str, fields: dict[str, Any]) -> str:
        """Take an element's values into the fields; gives the limit that is exceeded, `unreadable`, or nothing."""
        is_nil = False
        for name, value in element.attrib.items():
            if name.startswith(_INSTANCE):  # what is `nil` says that it has no value; the rest is about the schema
                is_nil = is_nil or (name.endswith("}nil") and value.strip() in {"true", "1"})
                continue
            if len(value) > self._limits.field_characters:
                return "field_characters"
            _add(fields, f"{path}/@{self.name(name)}" if path else f"@{self.name(name)}", value)
        text = (element.text or "").strip()
        if len(text) > self._limits.field_characters:
            return "field_characters"
        leaf = len(element) == 0
        if is_nil and (text or not leaf):
            return "unreadable"  # it says that it has no value, and has one
        if path and leaf and (text or not element.attrib):
            _add(fields, path, text)
        elif text:
            return "unreadable"  # text beside elements belongs to no field, and would be lost
        for child in element:
            if not isinstance(child.tag, str) or (child.tail or "").strip():
                return "unreadable"
            broken = self._below(child, f"{path}/{self.name(child.tag)}" if path else self.name(child.tag), fields)
            if broken:
                return broken
        return ""

    def _below(self, child: Any, path: str, fields: dict[str, Any]) -> str:
        if path not in self._form.lists:
            return self.flatten(child, path, fields)
        part: dict[str, Any] = {}
        broken = self.flatten(child, "", part)
        if (child.text or "").strip() and len(child) == 0:
            part["."] = child.text.strip()
        fields.setdefault(path, []).append(part)
        return broken

    def ended(self, element: Any) -> bool:
        """An element ends; True if it is a record."""
        if self.depth:
            self.depth -= 1
            if self.depth == 0:
                self._elements = 0
                self._holders.update(ancestor.tag for ancestor in element.iterancestors())
                return True
            return False
        around = element.getparent()
        is_full = self._open.pop() or bool((element.text or "").strip() or element.attrib)
        if around is not None:
            if is_full and element.tag not in self._holders and len(self._held) < self._limits.fields:
                self._held.add((around.tag, element.tag))
            self._open[-1] = self._open[-1] or is_full
            _forget(element)
        return False

    def beside(self) -> Iterator[Finding]:
        """A finding for each element beside the records that holds something."""
        for around, tag in sorted(self._held):
            if tag not in self._holders and around in self._holders:
                yield finding("warning", "not-read", Position(column=self.name(tag)))


def read_xml(stream: BinaryIO, form: XmlForm, limits: Limits) -> Iterator[Record | Finding]:
    """The records of an XML file. A field is named by its path, an attribute by `path/@name`."""
    count = 0
    last: Record | None = None
    parsing = _Parsing(form, limits)
    try:
        events = etree.iterparse(
            io.BufferedReader(LimitedStream(stream, limits)),
            events=("start", "end"),
            resolve_entities=False,
            no_network=True,
            load_dtd=False,
            huge_tree=False,
            remove_comments=True,
            remove_pis=True,
        )
        first = True
        for event, element in events:
            if first:
                first = False
                if element.getroottree().docinfo.doctype:
                    yield finding("error", "doctype", Position(row=1))
                    return
            if event == "start":
                parsing.started(element)
                continue
            if not parsing.ended(element):
                continue
            count += 1
            if count > limits.records:
                raise LimitError("records")
            fields: dict[str, Any] = {}
            broken = parsing.flatten(element, "", fields)
            position = Position(row=element.sourceline or 0)
            if last is not None:
                yield last
                last = None
            if broken:
                yield finding("error", broken, position) if broken == "unreadable" else over(broken, limits, position)
            else:
                key = fields.get(form.key, "")
                last = Record(key if isinstance(key, str) else "", fields, position)
            _forget(element)
        if last is not None:
            # What the file holds besides is told once, with the last of its records.
            held, last = last, None
            yield replace(held, findings=tuple(parsing.beside()))
    except etree.XMLSyntaxError as error:
        if last is not None:
            yield last
        position = Position(row=error.lineno or 0)
        limit = _limit_of(str(error))
        yield over(limit, limits, position) if limit else finding("error", "unreadable", position)
    except LimitError as error:
        if last is not None:
            yield last
        yield over(error.limit, limits)


def _forget(element: Any) -> None:
    """Let go of an element and of what stood before it, so that the tree does not grow."""
    element.clear()
    while element.getprevious() is not None:
        del element.getparent()[0]


def _limit_of(message: str) -> str:
    """Which of the parser's own limits its message tells of."""
    if "depth" in message:
        return "depth"
    return "field_characters" if "huge" in message.lower() or "too long" in message else ""


def _add(fields: dict[str, Any], path: str, value: str) -> None:
    held = fields.get(path)
    if held is None:
        fields[path] = value
    elif isinstance(held, list):
        held.append(value)
    else:
        fields[path] = [held, value]
