"""Settings from the environment: `YHDYSPINTA_<SECTION>__<KEY>` lies over `[section] key` of the file.

A list is written as in the file, `["a", "b"]`. A number stands for a table of a list: `YHDYSPINTA_CLIENTS__0__NAME` is
the name of the first of `[[clients]]`, and the number after the last makes a new one. What cannot be laid over is a
fault with the variable's name, never its value, which may be meant for nobody's eyes. So is a variable that is meant
for settings and reaches none: a protection that somebody believes to be set would be off.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from typing import Any, Final

PREFIX = "YHDYSPINTA_"
#: Of that prefix, and no setting: the passphrase of a registry's keys.
REGISTRY_VARIABLE: Final = "YHDYSPINTA_REGISTRY_PASSPHRASE"

#: Where something stands in the settings, numbers as text.
Place = tuple[str, ...]


def lay_over(document: dict[str, Any], environment: Mapping[str, str]) -> list[tuple[str, str]]:
    """Change the document to what the environment says; returns (variable, fault) for each that does not fit it."""
    faults = []
    for name in sorted(environment, key=_in_order):
        if not _is_meant(name):
            continue
        if not name.startswith(PREFIX) or name != name.upper() or "__" not in name:
            faults.append((name, f"is no setting; write {PREFIX}<SECTION>__<KEY>, in capitals, or remove it"))
            continue
        *sections, key = path_of(name)
        try:
            table = _table(document, sections)
        except _NoPlaceError as error:
            faults.append((name, str(error)))
            continue
        if isinstance(table.get(key), (dict, list)) and not _is_plain(table[key]):
            faults.append((name, f"{'.'.join((*sections, key))} is a table; name a key of it after another __"))
        else:
            table[key] = _value(environment[name])
    return faults


def _is_meant(name: str) -> bool:
    return name.upper().startswith(PREFIX) and name != REGISTRY_VARIABLE


def path_of(name: str) -> Place:
    """Where a variable's setting stands."""
    return tuple(name.removeprefix(PREFIX).lower().split("__"))


def said_by(environment: Mapping[str, str], place: Place, in_file: Mapping[str, Any]) -> list[str]:
    """The variables that say what is wrong at a place, or that made the table there, which the file does not have."""
    meant = {name: path_of(name) for name in sorted(environment, key=_in_order) if _is_meant(name)}
    exact = [name for name, path in meant.items() if place[: len(path)] == path]
    if exact or _has(in_file, place):
        return exact
    # What is missing, or is no setting, in a table that variables alone have made.
    made = next((place[:depth] for depth in range(1, len(place) + 1) if not _has(in_file, place[:depth])), place)
    return [name for name, path in meant.items() if path[: len(made)] == made]


def _has(found: Any, path: Place) -> bool:
    for part in path:
        if isinstance(found, list) and part.isdigit() and int(part) < len(found):
            found = found[int(part)]
        elif isinstance(found, Mapping) and part in found:
            found = found[part]
        else:
            return False
    return True


class _NoPlaceError(Exception):
    """A path leads through something that is no table."""


def _table(document: dict[str, Any], sections: list[str]) -> dict[str, Any]:
    """The table at a path, made where it is not there yet. Raises _NoPlaceError."""
    found: Any = document
    for depth, section in enumerate(sections):
        here = ".".join(sections[:depth]) or "the file"
        if isinstance(found, list):
            found = _item(found, section, here)
        elif isinstance(found, dict):
            found = found.setdefault(section, [] if _begins_list(sections, depth) else {})
        else:
            raise _NoPlaceError(f"{here} is {_kind(found)}")
    if not isinstance(found, dict):
        here = ".".join(sections)
        raise _NoPlaceError(f"{here} is {_kind(found)}")
    return found


def _begins_list(sections: list[str], depth: int) -> bool:
    """Whether what a section that is not there yet holds are numbered tables."""
    return depth + 1 < len(sections) and sections[depth + 1].isascii() and sections[depth + 1].isdigit()


def _item(tables: list[Any], section: str, here: str) -> Any:
    """One of a list's tables by its number, a new one at its end. Raises _NoPlaceError."""
    if not (section.isascii() and section.isdigit()) or (tables and _is_plain(tables)):
        raise _NoPlaceError(f"{here} is {_kind(tables)}")
    # Compared as text first: a number of thousands of digits is not worth being made.
    if len(section) > len(str(len(tables))) or int(section) > len(tables):
        raise _NoPlaceError(f"{here} has {len(tables)} tables; the next one is {len(tables)}")
    if int(section) == len(tables):
        tables.append({})
    return tables[int(section)]


def _kind(found: object) -> str:
    """What something is that has nothing below it by a name."""
    if not isinstance(found, list):
        return "a value and no table; nothing can stand below it"
    if found and _is_plain(found):
        return 'a list of values; write the whole as ["a", "b"]'
    return f"a list of tables; give the number of one, from 0 to {len(found)}"


def _is_plain(value: object) -> bool:
    """Whether a setting as a whole can take its place: a list of plain values."""
    return isinstance(value, list) and not any(isinstance(item, dict) for item in value)


def _value(text: str) -> object:
    """What a variable says: a list if it is written as one (an address may begin with a bracket too), else its text."""
    if text.lstrip().startswith("["):
        try:
            return tomllib.loads(f"value = {text.strip()}")["value"]
        # Beside what is no TOML: numbers and lists that Python itself refuses, by their length and their depth.
        except (ValueError, RecursionError):
            return text
    return text


def _in_order(name: str) -> tuple[tuple[int, str], ...]:
    """By name, numbers by their size, so that the second new table is made after the first."""
    return tuple((len(part), part) if re.fullmatch(r"[0-9]+", part) else (0, part) for part in name.split("__"))
