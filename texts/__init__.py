"""What is said to people in Finnish, Swedish and English: one catalogue in files beside this module, and its reader.

A file is TOML: `key = [Finnish, Swedish, English]` in tables, whose names stand before the keys. A text that a number
governs has two forms, `key = { one = [...], many = [...] }`, and is asked for with that number as `count`. A text that
is asked for in another language is given in English. A key that is missing is a KeyError, and a file that lacks a
language a ValueError: they fail in a test and not in front of a reader. Names of categories, purposes and bases are the
rulebook's, those of codes the code lists'.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache, cached_property
from importlib.resources import files
from string import Formatter
from typing import Final, Literal

Language = Literal["fi", "sv", "en"]
LANGUAGES: Final[tuple[str, ...]] = ("fi", "sv", "en")
OTHERWISE: Final = "en"
_FORMATTER: Final = Formatter()

_ONE: Final = "#one"
"""What the key of a form for a count of one ends with; no key of a file can hold it unquoted."""
_MONTHS: Final = (
    "January February March April May June July August September October November December".split()  # noqa: SIM905
)


@dataclass(frozen=True, slots=True)
class Text:
    """One text in Finnish, Swedish and English."""

    fi: str
    sv: str
    en: str

    def in_language(self, language: str) -> str:
        """The text in `language` (a BCP 47 tag such as `sv-FI`); in English if it is none of the three."""
        primary = language.split("-", 1)[0].lower()
        if primary == "fi":
            return self.fi
        return self.sv if primary == "sv" else self.en

    def to_dict(self) -> dict[str, str]:
        """The text by language."""
        return {"fi": self.fi, "sv": self.sv, "en": self.en}

    def filled(self, **values: object) -> Text:
        """The text with values put in. Raises KeyError for one that it asks for and that is not given."""
        return Text(_filled(self.fi, values), _filled(self.sv, values), _filled(self.en, values))


def _filled(template: str, values: Mapping[str, object]) -> str:
    """The template with values put in; a value that ends with a full stop, as `1 mom.`, ends the sentence with it."""
    filled = ""
    for literal, name, form, conversion in _FORMATTER.parse(template):
        filled += literal[1:] if literal.startswith(".") and filled.endswith(".") else literal
        if name is not None:
            value = _FORMATTER.convert_field(_FORMATTER.get_field(name, (), values)[0], conversion)
            filled += _FORMATTER.format_field(value, form or "")
    return filled


def read(text: str) -> dict[str, Text]:
    """The texts of a file, by key. Raises ValueError that names the key."""
    found: dict[str, Text] = {}

    def enter(prefix: str, table: Mapping[str, object]) -> None:
        for key, value in table.items():
            name = f"{prefix}{key}"
            if isinstance(value, dict) and value.keys() == {"one", "many"}:
                found[name + _ONE], found[name] = _three(name, value["one"]), _three(name, value["many"])
            elif isinstance(value, dict):
                enter(f"{name}.", value)
            else:
                found[name] = _three(name, value)

    enter("", tomllib.loads(text))
    return found


def _three(name: str, value: object) -> Text:
    if not isinstance(value, list) or len(value) != len(LANGUAGES):
        raise ValueError(f"{name}: a text has exactly three languages: Finnish, Swedish, English")
    if not all(isinstance(words, str) and words.strip() for words in value):
        raise ValueError(f"{name}: a text has words in each of its three languages")
    return Text(*value)


@cache
def _file(name: str) -> Mapping[str, Text]:
    return read((files("texts") / f"{name}.toml").read_text("utf-8"))


class Catalogue(Mapping[str, Text]):
    """The texts of some files, which are read when the first text is asked for."""

    def __init__(self, *names: str) -> None:
        self._names = names

    @cached_property
    def _texts(self) -> Mapping[str, Text]:
        return {key: text for name in self._names for key, text in _file(name).items()}

    def __getitem__(self, key: str) -> Text:
        return self._texts[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._texts)

    def __len__(self) -> int:
        return len(self._texts)

    def __call__(self, key: str, language: str, **values: object) -> str:
        """The text of a key with values put in; its form for one if `count` is one. Raises KeyError."""
        # Templates give numbers as they are written, so "1" is one as well.
        is_one = str(values.get("count")) == "1" and key + _ONE in self._texts
        text = self._texts[key + _ONE if is_one else key].in_language(language)
        return _filled(text, values) if values else text

    def named(self, kind: str, code: str, language: str) -> str:
        """What a code is called, by the text of `kind.code`; the code itself if it has no name."""
        text = self.get(f"{kind}.{code}")
        return code if text is None else text.in_language(language)


def day(on: date, language: str) -> str:
    """A day as people write it: `1.7.2026`, in English `1 July 2026`."""
    if language == "en":
        return f"{on.day} {_MONTHS[on.month - 1]} {on.year}"
    return f"{on.day}.{on.month}.{on.year}"
