"""Bring the rows of a table together or apart: the persons of one row, and the rows that belong to one record."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from adapters.keys import Keys
from adapters.layouts import Group, Layout, parted
from adapters.sdk import Finding, Limits, Record
from adapters.texts import finding, over

Item = Record | Finding


def arranged(items: Iterator[Item], layout: Layout, key: str, limits: Limits) -> Iterator[Item]:
    """The records of a source as its layout has them."""
    if layout.persons:
        items = _parted(items, layout, key)
    if layout.group is not None:
        items = _grouped(items, layout.group, limits)
    return items


def _parted(items: Iterator[Item], layout: Layout, key: str) -> Iterator[Item]:
    """A record for each person of a row. Where the key is the row's and not the person's, their number follows it."""
    for item in items:
        if isinstance(item, Finding):
            yield item
            continue
        for number, fields in parted(item.fields, layout.persons, {key, *layout.common}):
            own = str(fields.get(key, "")).strip()
            is_shared = key in item.fields and own
            if is_shared:
                fields[key] = own = f"{own}-{number}"
            yield Record(own, fields, item.position)


def _grouped(items: Iterator[Item], group: Group, limits: Limits) -> Iterator[Item]:
    """Rows with the same value that stand together. Rows of the same value further on are refused: what was said of
    that group without them was not all.
    """
    seen = Keys()
    held: list[Record] = []
    told: list[Finding] = []
    for item in items:
        if isinstance(item, Finding):
            told.append(item)  # it may be of this group, and is told after it
            if not held:
                yield told.pop()
            continue
        value = _value(item, group)
        if held and (not value or value != _value(held[0], group)):
            yield from _made(held, group, limits)
            yield from told
            held, told = [], []
        if value and not held and seen.again(value):
            yield finding("error", "group-apart", replace(item.position, column=group.by))
            continue
        held.append(item)
    yield from _made(held, group, limits) if held else ()
    yield from told


def _value(record: Record, group: Group) -> str:
    return str(record.fields.get(group.by, "")).strip()


def _made(rows: list[Record], group: Group, limits: Limits) -> Iterator[Item]:
    if len(rows) > limits.fields:
        yield over("fields", limits, rows[0].position)
        return
    for index, row in enumerate(rows[:1] if group.first else rows):
        others: list[dict[str, Any]] = [dict(other.fields) for at, other in enumerate(rows) if at != index]
        yield replace(row, fields={**row.fields, group.into: others})
