"""What is wrong with settings: each mistake with its place, a line of the file or a variable of the environment."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from gateway.settings.environment import said_by


@dataclass(frozen=True, slots=True)
class SettingProblem:
    """One thing wrong with the settings: where, what, and what would make it right.

    `variables` of the environment say it, if there are any; else it stands in the file.
    """

    line: int | None
    key: str
    message: str
    variables: tuple[str, ...] = ()


class SettingsError(Exception):
    """The settings cannot be used; `problems` has one item for each mistake."""

    def __init__(self, source: Path, problems: list[SettingProblem]) -> None:
        self.source = source
        self.problems = problems
        super().__init__("\n".join(self.lines()))

    def lines(self) -> list[str]:
        """One printable line for each mistake, `FILE:LINE: KEY: what is wrong`, or with the variable that says it."""
        return [": ".join((*self._place(problem), problem.message)) for problem in self.problems]

    def _place(self, problem: SettingProblem) -> tuple[str, ...]:
        if problem.key in problem.variables:
            return (problem.key,)
        in_file = f"{self.source}:{problem.line}" if problem.line else str(self.source)
        return ", ".join(problem.variables) or in_file, problem.key


@dataclass(frozen=True, slots=True)
class Sources:
    """Where settings come from: the file, as text and as it was read, and the environment over it."""

    text: str
    in_file: Mapping[str, Any]
    environment: Mapping[str, str]


def problems_of(error: ValidationError, sources: Sources) -> list[SettingProblem]:
    """Each mistake where it was made."""
    problems = []
    for item in error.errors(include_url=False, include_input=False):
        place = item["loc"]
        if place[0:1] == ("sources",):
            place = (*place[:2], *place[3:])  # without its kind, which stands in it and is no table
        key = tuple(map(str, place))
        variables = tuple(said_by(sources.environment, key, sources.in_file))
        line = None if variables else _line_of(sources.text, place)
        problems.append(SettingProblem(line, ".".join(key) or "file", _say(item["type"], item["msg"]), variables))
    return problems


def _say(kind: str, message: str) -> str:
    if kind == "list_type":
        return 'is a list; write it as ["a", "b"], in the environment too'
    if kind == "missing":
        return "is missing; add it"
    if kind == "extra_forbidden":
        return "is not a setting; check the spelling or remove it"
    return message.removeprefix("Value error, ")


def _line_of(text: str, location: tuple[int | str, ...]) -> int | None:
    """Line of a key in the file, as near as can be told: the key if it is there, else its table."""
    lines = text.splitlines()
    tables = [str(part) for part in location if isinstance(part, str)]
    ordinal = next((part for part in location if isinstance(part, int)), 0)
    for depth in range(len(tables), 0, -1):
        header = re.compile(rf"^\s*\[\[?\s*{re.escape('.'.join(tables[:depth]))}\s*\]\]?")
        found = [number for number, line in enumerate(lines) if header.match(line)]
        if not found:
            continue
        start = found[min(ordinal, len(found) - 1)]
        for number in range(start + 1, len(lines)):
            if lines[number].lstrip().startswith("["):
                break
            if depth < len(tables) and re.match(rf"^\s*{re.escape(tables[depth])}\s*[.=]", lines[number]):
                return number + 1
        return start + 1
    return None
