"""What the console says, in Finnish, Swedish and English: one catalogue (`texts.toml`), and dates and numbers.

A key that is missing is a KeyError: a page that would show nothing fails in its test and not in front of a reader.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cache
from importlib.resources import files

from audit.log.entries import ZONE
from audit.questions.texts import Texts, read, say
from audit.questions.texts import own_texts as reported

_SHARED = frozenset({"word", "word-step", "word-state", "word-says", "speaker"})
NARROW = "\N{NO-BREAK SPACE}"


@cache
def own_texts() -> Texts:
    """The catalogue of this room."""
    place = files("gateway.console")
    pages, boards = (read((place / f"{name}.toml").read_text("utf-8")) for name in ("texts", "boards"))
    # What a person's words are called is said once, for sheets and pages alike.
    words = {key: text for key, text in reported().items() if key.split(".")[0] in _SHARED}
    return {**words, **pages, **boards}


@dataclass(frozen=True, slots=True)
class Words:
    """The catalogue in one language."""

    texts: Texts
    language: str

    def __call__(self, key: str, **values: object) -> str:
        """The text of a key, with values put in; its form for one if `count` is one. Raises KeyError."""
        return say(self.texts, key, self.language, values)

    def code(self, kind: str, code: str | None) -> str:
        """What a code is called in this catalogue: where it has no name, that it has none.

        Only what names itself (an organisation's identifier, the origin of a log) is shown as it is.
        """
        if code is None:
            return ""
        key = f"{kind}.{code}"
        if key not in self.texts:
            key = f"unnamed.{kind}"
        return self(key) if key in self.texts else code

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
