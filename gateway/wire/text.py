"""Short texts for people, in the three languages that a node speaks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Language = Literal["fi", "sv", "en"]
LANGUAGES: tuple[Language, ...] = ("fi", "sv", "en")


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
