"""The table of problem codes, read from `problems.toml` and checked once.

The order of the table is the order in which an exchange can meet its problems. A table that breaks a rule stops the
program where it starts: no answer may leave with a code that has two meanings, or with a title that is missing.
Titles are texts for people, and stand with those, in `texts/problems.toml`.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from types import MappingProxyType
from typing import Any

from texts import Catalogue, Text

FILE = "problems.toml"
_CODE = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")


@dataclass(frozen=True, slots=True)
class Problem:
    """One kind of problem. `xroad_type` is what a caller in X-Road's way of speaking gets instead of the code.

    `is_coming`: the code is held for what is being built; nothing raises it yet and it is not published.
    """

    code: str
    status: int
    xroad_type: str
    title: Text
    is_coming: bool = False


@dataclass(frozen=True, slots=True)
class ProblemTable:
    """All codes, and those that have left, which are never used again."""

    problems: Mapping[str, Problem]
    departed: frozenset[str]


def read(text: str, titles: Mapping[str, Text]) -> ProblemTable:
    """The table of a TOML text and of titles. Raises ValueError that names the code, what is wrong and the remedy."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        # Also what TOML says of a code that stands twice.
        raise ValueError(f"{FILE}: {error}; each code stands once, with its values on one line") from None
    types: dict[str, str] = document["types"]
    departed = frozenset(document["departed"])
    problems = {code: _problem(code, row, types, titles) for code, row in document["problems"].items()}
    for code in sorted(departed & problems.keys()):
        raise ValueError(f"{FILE}: {code}: a code that has left is never used again; give the problem a new one")
    return ProblemTable(MappingProxyType(problems), departed)


def _problem(code: str, row: Mapping[str, Any], types: Mapping[str, str], titles: Mapping[str, Text]) -> Problem:
    def wrong(what: str) -> ValueError:
        return ValueError(f"{FILE}: {code}: {what}")

    if not _CODE.fullmatch(code):
        raise wrong("a code is lower-case words of a-z and 0-9, joined by single hyphens")
    if unknown := row.keys() - {"status", "type", "coming"}:
        raise wrong(f"{', '.join(sorted(unknown))}: a row has status, type and perhaps coming; titles are texts")
    status, is_coming = row.get("status"), row.get("coming", False)
    if type(status) is not int or not 400 <= status <= 599:
        raise wrong("status is an HTTP status from 400 to 599")
    if row.get("type") not in types:
        raise wrong("type is one of the names in [types]")
    if type(is_coming) is not bool:
        raise wrong("coming is true, or not there")
    if code not in titles:
        raise wrong("it has no title; write one in texts/problems.toml")
    return Problem(code, status, types[row["type"]], titles[code], is_coming)


TABLE = read((files("gateway.wire") / FILE).read_text("utf-8"), Catalogue("problems"))
PROBLEMS: Mapping[str, Problem] = TABLE.problems
