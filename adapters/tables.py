"""Code tables of a mapping: written in it, read from CSV files beside it, or one of the shipped lists in all its names.

A value is compared without regard to case, blanks and the way in which a letter with a mark is written. The names of a
shipped list in Finnish, Swedish and English count as its codes do, unless two codes share one.
"""

from __future__ import annotations

import csv
import difflib
import unicodedata
from collections.abc import Callable, Collection, Mapping
from datetime import date
from functools import cache
from typing import Any

from ruamel.yaml.comments import CommentedMap

from adapters.faults import Faults, near
from adapters.transforms import Transform, TransformError
from schemas.codes import code_system, code_systems

_NOT_GRANTED = frozenset({"pending", "refused"})
_TYPES = {bool: "boolean", int: "integer", str: "string"}
#: Words of a table that are no values: of which list it is a part, and in which file it stands.
_WORDS = frozenset({"extends", "file"})


def folded(value: Any) -> str:
    """A value as it is compared."""
    if type(value) is str and value.isascii() and " " not in value and value.isprintable():
        return value.lower()  # nothing to normalise
    return " ".join(unicodedata.normalize("NFC", str(value)).casefold().split())


def _names(coding: Any) -> set[str]:
    return {folded(text) for text in (coding.fi, coding.sv, coding.en, *coding.aliases) if text}


@cache
def named(name: str) -> Mapping[str, str]:
    """The code of each code and name of a shipped list; a name that two codes share is none."""
    system = code_system(name)
    found: dict[str, str] = {}
    shared: set[str] = set()
    for code, coding in system.codes.items():
        for text in _names(coding):
            if found.setdefault(text, code) != code:
                shared.add(text)
    if name == "language":
        # A language in many forms and the one that most speak share their name (Arabic, Kurdish): the wider is meant.
        wider = {
            text: [c for c, coding in system.codes.items() if len(c) == 2 and text in _names(coding)] for text in shared
        }
        found |= {text: codes[0] for text, codes in wider.items() if len(codes) == 1}
        shared = {text for text, codes in wider.items() if len(codes) != 1}
    return {text: code for text, code in found.items() if text not in shared} | {
        folded(code): code for code in system.codes
    }


class Tables:
    """The tables of a mapping. `read` gives the text of a file beside it; `today` is the day by which codes are in use.

    Raises MappingError when made.
    """

    def __init__(
        self, stated: CommentedMap, faults: Faults, read: Callable[[str], str], today: Callable[[], date]
    ) -> None:
        self._stated = stated
        self._faults = faults
        self._read = read
        self._today = today
        self._own: dict[str, dict[Any, Any]] = {}
        self._ended: dict[str, dict[str, tuple[str, str]]] = {}
        for name in stated:
            faults.object(stated, name, "a table is an object", "{VALUE: code, …}")
            self._own[name] = self._table(name)

    def _table(self, name: str) -> dict[Any, Any]:
        stated = self._stated[name]
        extended = stated.get("extends")
        if extended is not None and extended not in code_systems():
            self._faults.fail(
                stated, "extends", f"there is no code system {extended!r}", near(extended, code_systems())
            )
        made: dict[Any, Any] = {value: code for value, code in stated.items() if value not in _WORDS}
        if "file" in stated:
            made = {**self._filed(name, stated), **made}
        return made

    def _filed(self, name: str, stated: CommentedMap) -> dict[Any, Any]:
        path = str(stated["file"])
        try:
            rows = list(csv.DictReader(self._read(path).removeprefix("\ufeff").splitlines()))
            self._ended[name] = {
                folded(row["value"]): (row.get("valid_from") or "", row.get("valid_to") or "9999-12-31")
                for row in rows
                if row.get("valid_from") or row.get("valid_to")
            }
            return {row["value"]: row["code"] for row in rows}
        except (OSError, KeyError, csv.Error):
            self._faults.fail(stated, "file", f"{path} is no code table", "a CSV file with the columns value and code")

    def __iter__(self) -> Any:
        return iter(self._own)

    def values(self, transform: str) -> Collection[Any]:
        """What a table can give; empty for any other transform."""
        word, _, argument = transform.partition(" ")
        if word not in {"code", "table"}:
            return ()
        if argument not in self._own:
            return list(code_system(argument).codes)
        extended = self._stated[argument].get("extends")
        return [*self._own[argument].values(), *(code_system(extended).codes if extended else ())]

    def transform(self, named_as: str, template: CommentedMap) -> Transform | None:
        """The transform that `code NAME` or `table NAME` is; None for any other word. Raises MappingError."""
        word, _, argument = named_as.partition(" ")
        if word == "granted":
            return self._granted(named_as, argument, template)
        if word not in {"code", "table"}:
            return None
        if argument in self._own:
            extended = self._stated[argument].get("extends")
            return self._made(named_as, self._own[argument], named(extended) if extended else {}, argument)
        if word == "code" and argument in code_systems():
            return self._made(named_as, {}, named(argument), argument)
        known = [*self._own, *code_systems()]
        return self._faults.fail(template, "as", f"there is no code table {argument!r}", near(argument, known))

    def _granted(self, name: str, table: str, template: CommentedMap) -> Transform:
        """Whether the permit of a table is one that was granted."""
        ground = self.transform(f"code {table}", template)
        assert ground is not None

        def look_up(value: Any) -> Any:
            return ground.forward(value) not in _NOT_GRANTED

        return Transform(name, "Whether a permit was granted.", ("", ""), look_up, None, "boolean")

    def _made(self, name: str, own: Mapping[Any, Any], names: Mapping[str, str], table: str) -> Transform:
        forward: dict[str, Any] = {**names, **{folded(value): code for value, code in own.items()}}
        backward: dict[Any, Any] = {}
        for value, code in own.items():
            backward.setdefault((type(code), code), str(value))
        for code in names.values():
            backward.setdefault((str, code), code)
        ended, today = self._ended.get(table, {}), self._today

        def look_up(value: Any) -> Any:
            text = folded(value)
            try:
                code = forward[text]
            except KeyError:
                found = difflib.get_close_matches(text, forward, 1, 0.6)
                raise TransformError("code-unknown", found[0] if found else "") from None
            if ended and text in ended and not ended[text][0] <= today().isoformat() <= ended[text][1]:
                raise TransformError("code-not-in-use")
            return code

        def look_back(value: Any) -> Any:
            try:
                return backward[type(value), value]
            except (KeyError, TypeError):
                raise TransformError("code-unknown") from None

        kinds = {_TYPES.get(type(code), "string") for code in forward.values()}
        gives = kinds.pop() if len(kinds) == 1 else ""
        return Transform(name, "A value of a table.", ("", ""), look_up, look_back, gives)
