"""What the console says, in Finnish, Swedish and English: one catalogue (`texts.toml`), and dates and numbers.

A key that is missing is a KeyError: a page that would show nothing fails in its test and not in front of a reader.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cache
from importlib.resources import files

from audit.entries import ZONE
from audit.texts import LANGUAGES, label

NARROW = "\N{NO-BREAK SPACE}"
Texts = Mapping[str, tuple[str, str, str]]


def read(text: str) -> dict[str, tuple[str, str, str]]:
    """A catalogue in TOML: `key = [Finnish, Swedish, English]` in tables, whose names are put before the keys."""
    found: dict[str, tuple[str, str, str]] = {}

    def enter(prefix: str, table: Mapping[str, object]) -> None:
        for key, value in table.items():
            name = f"{prefix}{key}"
            if isinstance(value, dict):
                enter(f"{name}.", value)
            elif isinstance(value, list) and len(value) == len(LANGUAGES):
                found[name] = (str(value[0]), str(value[1]), str(value[2]))
            else:
                raise ValueError(f"{name}: a text has exactly three languages")

    enter("", tomllib.loads(text))
    return found


@cache
def own_texts() -> Texts:
    """The catalogue of this room."""
    return read((files("audit.console") / "texts.toml").read_text("utf-8"))


@dataclass(frozen=True, slots=True)
class Words:
    """The catalogue in one language."""

    texts: Texts
    language: str

    def __call__(self, key: str, **values: object) -> str:
        """The text of a key, with values put in. Raises KeyError."""
        text = self.texts[key][LANGUAGES.index(self.language)]
        return text.format(**values) if values else text

    def code(self, kind: str, code: str | None) -> str:
        """What a code is called: in this catalogue, in that of the log, or the code itself."""
        if code is None:
            return ""
        key = f"{kind}.{code}"
        return self(key) if key in self.texts else label(kind, code, self.language)

    def has(self, key: str) -> bool:
        """Whether there is a text of this key."""
        return key in self.texts

    def day(self, at: datetime) -> str:
        """A date in Finnish time."""
        return self.date(at.astimezone(ZONE).date())

    def date(self, day: date) -> str:
        """A date as people write it."""
        if self.language == "en":
            return f"{day.day} {_MONTHS[day.month - 1]} {day.year}"
        return f"{day.day}.{day.month}.{day.year}"

    def at(self, seconds: int) -> datetime:
        """The moment of seconds since the epoch."""
        return datetime.fromtimestamp(seconds, UTC)

    def clock(self, at: datetime) -> str:
        """The time of day in Finnish time, to the minute."""
        local = at.astimezone(ZONE)
        return f"{local.hour}.{local.minute:02}" if self.language == "fi" else f"{local:%H:%M}"

    def when(self, at: datetime) -> str:
        """Date and time of day in Finnish time."""
        joint = {"fi": " klo ", "sv": " kl. ", "en": ", "}[self.language]
        return f"{self.day(at)}{joint}{self.clock(at)}"

    def number(self, value: int) -> str:
        """A whole number in groups of three."""
        return f"{value:,}".replace(",", NARROW)

    def nth(self, value: int) -> str:
        """An ordinal number."""
        written = self.number(value)
        if self.language == "fi":
            return f"{written}."
        if self.language == "sv":
            return written + (":a" if value % 10 in (1, 2) and value % 100 not in (11, 12) else ":e")
        special = value % 100 in (11, 12, 13)
        return written + ("th" if special else {1: "st", 2: "nd", 3: "rd"}.get(value % 10, "th"))


_MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip
