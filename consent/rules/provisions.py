"""A provision of an act, as a rulebook names it and as a reader of Finnish, Swedish or English writes it.

`681/2023 86:2` is section 86, second moment; a letter goes with its section (`1386/2010 87 a:1`), a point stands in
parentheses (`615/2020 11:1(9)`). Without a moment the whole section is meant. GDPR articles: `9(2)(a)`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

GDPR = "2016/679"
_WRITTEN = re.compile(
    r"(?P<act>[0-9]{1,4}/[0-9]{3,4}) (?P<section>[0-9]{1,3}(?: [a-z])?)"
    r"(?::(?P<moment>[0-9]{1,2})(?:\((?P<point>[0-9]{1,2}(?: [a-z])?)\))?)?\Z"
)
_ARTICLE = re.compile(r"(?P<article>[0-9]{1,3})(?:\((?P<paragraph>[0-9]{1,2})\)(?:\((?P<point>[a-z])\))?)?\Z")


class ProvisionError(ValueError):
    """A text that names no provision."""


@dataclass(frozen=True, slots=True, order=True)
class Provision:
    """A section of an act, one moment of it, or one point of a moment."""

    act: str
    section: str
    moment: int | None = None
    point: str | None = None

    @classmethod
    def parse(cls, text: str) -> Provision:
        """Read `ACT SECTION[:MOMENT[(POINT)]]`. Raises ProvisionError."""
        found = _WRITTEN.match(text)
        if found is None:
            raise ProvisionError(f"{text!r} is no provision; write it as 681/2023 86:2")
        moment = found["moment"]
        return cls(found["act"], found["section"], int(moment) if moment else None, found["point"])

    def __str__(self) -> str:
        point = f"({self.point})" if self.point is not None else ""
        moment = f":{self.moment}{point}" if self.moment is not None else ""
        return f"{self.act} {self.section}{moment}"

    def covers(self, other: Provision) -> bool:
        """Whether another provision is this one or a part of it."""
        return (
            (self.act, self.section) == (other.act, other.section)
            and self.moment in (None, other.moment)
            and self.point in (None, other.point)
        )

    def said(self, language: str, *, inflected: bool = False) -> str:
        """As it is cited in `fi`, `sv` or `en`, without the act; `inflected` is the form that Finnish needs in a
        sentence.
        """
        if self.act == GDPR:
            paragraph = f"({self.moment})" if self.moment is not None else ""
            return article(f"{self.section}{paragraph}" + (f"({self.point})" if self.point else ""), language)
        if language == "fi":
            return self._finnish(inflected)
        if language == "sv":
            parts = [f"{self.section} §"]
            if self.moment is not None:
                parts.append(f"{self.moment} mom.")
            if self.point is not None:
                parts.append(f"{self.point} punkten")
            return " ".join(parts)
        moment = f"({self.moment})" if self.moment is not None else ""
        return f"section {self.section}{moment}" + (f", point {self.point}" if self.point is not None else "")

    def _finnish(self, inflected: bool) -> str:
        if self.moment is None:
            return f"{self.section} §"
        if not inflected:
            return f"{self.section} § {self.moment} mom." + (f" {self.point} kohta" if self.point else "")
        if self.point is not None:
            return f"{self.section} §:n {self.moment} momentin {self.point} kohta"
        return f"{self.section} §:n {self.moment} momentti"


def article(text: str, language: str) -> str:
    """An article of the GDPR, such as `9(2)(a)`, as a reader writes it. Raises ProvisionError."""
    found = _ARTICLE.match(text)
    if found is None:
        raise ProvisionError(f"{text!r} is no article; write it as 9(2)(a)")
    number, paragraph, point = found["article"], found["paragraph"], found["point"]
    if language == "fi":
        said = f"{number} artikla" if paragraph is None else f"{number} artiklan {paragraph} kohta"
        return said if point is None else f"{number} artiklan {paragraph} kohdan {point} alakohta"
    if language == "sv":
        return f"artikel {number}" + (f".{paragraph}" if paragraph else "") + (f" {point}" if point else "")
    return f"Article {number}" + (f"({paragraph})" if paragraph else "") + (f"({point})" if point else "")
