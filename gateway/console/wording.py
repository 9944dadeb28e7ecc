"""What the console says in one language: its texts, and dates and numbers as people write them.

A key that is missing is a KeyError: a page that would show nothing fails in its test and not in front of a reader.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Final

from audit.log.entries import ZONE
from texts import Catalogue, day

NARROW = "\N{NO-BREAK SPACE}"


TEXTS: Final = Catalogue("console", "words")


@dataclass(frozen=True, slots=True)
class Words:
    """The catalogue in one language."""

    language: str

    def __call__(self, key: str, **values: object) -> str:
        """The text of a key, with values put in; its form for one if `count` is one. Raises KeyError."""
        return TEXTS(key, self.language, **values)

    def code(self, kind: str, code: str | None) -> str:
        """What a code is called in this catalogue: where it has no name, that it has none.

        Only what names itself (an organisation's identifier, the origin of a log) is shown as it is.
        """
        if code is None:
            return ""
        key = f"{kind}.{code}"
        if key not in TEXTS:
            key = f"unnamed.{kind}"
        return self(key) if key in TEXTS else code

    def has(self, key: str) -> bool:
        """Whether there is a text of this key."""
        return key in TEXTS

    def day(self, at: datetime) -> str:
        """A date in Finnish time."""
        return self.date(at.astimezone(ZONE).date())

    def date(self, on: date) -> str:
        """A date as people write it."""
        return day(on, self.language)

    def at(self, seconds: int) -> datetime:
        """The moment of seconds since the epoch."""
        return datetime.fromtimestamp(seconds, UTC)

    def clock(self, at: datetime) -> str:
        """The time of day in Finnish time, to the minute."""
        local = at.astimezone(ZONE)
        return f"{local.hour}.{local.minute:02}" if self.language == "fi" else f"{local:%H:%M}"

    def when(self, at: datetime) -> str:
        """Date and time of day in Finnish time."""
        return self("app.when", day=self.day(at), clock=self.clock(at))

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
