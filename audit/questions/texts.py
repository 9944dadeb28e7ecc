"""Catalogues of what is said to people, in Finnish, Swedish and English: how they are read, and the log's own.

A catalogue is TOML: `key = [Finnish, Swedish, English]` in tables. A text that a number governs has two forms,
`key = { one = [...], many = [...] }`, and is asked for with that number as `count`. A text that is asked for in another
language is given in English. A key that is missing is a KeyError: it fails in a test and not in front of a reader.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Final

LANGUAGES: Final = ("fi", "sv", "en")
Texts = Mapping[str, tuple[str, str, str]]

_ONE: Final = "#one"
"""What the key of a form for a count of one ends with; no key of a file can hold it unquoted."""


def read(text: str) -> dict[str, tuple[str, str, str]]:
    """The catalogue that a TOML text holds; names of tables are put before the keys. Raises ValueError."""
    found: dict[str, tuple[str, str, str]] = {}

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


def _three(name: str, value: object) -> tuple[str, str, str]:
    if not isinstance(value, list) or len(value) != len(LANGUAGES):
        raise ValueError(f"{name}: a text has exactly three languages")
    return (str(value[0]), str(value[1]), str(value[2]))


def say(texts: Texts, key: str, language: str, values: Mapping[str, object]) -> str:
    """The text of a key with values put in; its form for one if `count` is one. Raises KeyError."""
    # Templates give numbers as they are written, so "1" is one as well.
    is_one = str(values.get("count")) == "1" and key + _ONE in texts
    found = texts[key + _ONE if is_one else key]
    text = found[LANGUAGES.index(language)] if language in LANGUAGES else found[2]
    return text.format(**values) if values else text


@cache
def own_texts() -> Texts:
    """What the reports and anomaly rules say."""
    return read((files("audit") / "texts.toml").read_text("utf-8"))


def text(key: str, language: str, **values: object) -> str:
    """A text of the reports and anomaly rules. Raises KeyError."""
    return say(own_texts(), key, language, values)
