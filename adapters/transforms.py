"""Transforms: named, pure functions from a source's value to a canonical one and, where there is a way, back.

A transform raises TransformError with the code of a finding; it never puts the value into words.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from types import MappingProxyType
from typing import Any
from zoneinfo import ZoneInfo

from schemas.codes import code_system
from schemas.facts import days_of
from schemas.identifiers import SubjectIdentifierError, identity_code


class TransformError(ValueError):
    """A value that a transform cannot take; `code` is that of the finding, `near` what the developer may have meant."""

    def __init__(self, code: str, near: str = "") -> None:
        super().__init__(code)
        self.code = code
        self.near = near


@dataclass(frozen=True, slots=True)
class Transform:
    """A transform: its name in mappings, what it does, an example, its function and the way back if there is one.

    `gives` is the JSON type of what it makes, by which the compiler knows where it can stand; empty if it is known
    only at work. `in_part` is its function where a year, or a year and month, may stand for a day.
    """

    name: str
    does: str
    example: tuple[str, Any]
    forward: Callable[[Any], Any]
    backward: Callable[[Any], Any] | None
    gives: str = "string"
    in_part: Callable[[Any], Any] | None = None


_FI_DATE = re.compile(r"([0-9]{1,2})\.([0-9]{1,2})\.([0-9]{4})\Z")
#: Of a number within the country the first digit is 0; without it (or +) a spreadsheet has lost a zero.
_PHONE = re.compile(r"(\+[1-9]|0)[0-9]{4,14}\Z")
_ISO_DATE = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})\Z")
#: A day that a spreadsheet or a database wrote with the midnight that it begins at, and with no zone.
_MIDNIGHT = re.compile(r"[T ]0{1,2}[:.]00([:.]00([.,]0+)?)?\Z")
_DAY_FIRST = re.compile(r"([0-9]{1,2})[./-]([0-9]{1,2})[./-]([0-9]{4})\Z")
_NAMED_MONTH = re.compile(r"([0-9]{1,2})[. -]{1,2}([A-Za-z]{3})[a-z]*\.?[ -]([0-9]{4})\Z")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_NAMES = tuple(name.capitalize() for name in _MONTHS)
_FINLAND = ZoneInfo("Europe/Helsinki")
_SHORT_DATE = re.compile(r"([0-9]{1,2})[./-]([0-9]{1,2})[./-]([0-9]{2})\Z")
_POST = re.compile(r"(?:FI-?)?([0-9]{5})[ ,]+([^\W\d_].*)\Z", re.S)
#: Small words of a family name: von Tessel, van den Berg, al Khoud.
_PARTICLES = frozenset(
    {"af", "al", "av", "ben", "bin", "da", "de", "del", "della", "den", "der", "di", "do", "dos"}
) | {*("du", "el", "ibn", "la", "le", "ter", "ten", "van", "von", "zu", "zur", "y")}
_EMAIL = re.compile(r"[^@\s]{1,64}@[^@\s]+\.[^@\s]+\Z")


def hetu(value: Any) -> str:
    """A Finnish personal identity code: its date exists and its check character is right."""
    try:
        return identity_code(str(value))
    except SubjectIdentifierError as error:
        raise TransformError("hetu-check" if error.code == "subject-check" else "hetu-form") from None


def fi_date(value: Any) -> str:
    """A day as Finns write it, or as ISO 8601 does; gives ISO 8601.

    ISO 8601 has weeks and days of the year as well: nobody writes them by intent, and a library reads them as other
    days. An instant with a zone is no day either.
    """
    text = _MIDNIGHT.sub("", str(value).strip())
    if match := _FI_DATE.match(text):
        return _day(match[3], match[2], match[1])
    if _ISO_DATE.match(text) is None:
        raise TransformError("date-form")
    return _day(*text.split("-"))


def _day(year: str | int, month: str | int, day: str | int) -> str:
    try:
        found = date(int(year), int(month), int(day))
    except ValueError:
        raise TransformError("date-form") from None
    if not 1800 <= found.year <= 2199:
        raise TransformError("date-form")
    return found.isoformat()


#: How a year, or a year and month, is written where a day is looked for: alone, or with zeros for what is not known.
_IN_PART: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "fi-date": (r"(?:(?:00?\.)?(?P<m>[0-9]{1,2})\.)?(?P<y>[0-9]{4})", r"(?P<y>[0-9]{4})-(?P<m>[0-9]{2})(?:-00)?"),
        "day-first": (r"(?:(?:00?[./-])?(?P<m>[0-9]{1,2})[./-])?(?P<y>[0-9]{4})",),
        "named-month": (r"(?:(?P<name>[A-Za-z]{3})[a-z]*\.?[ -])?(?P<y>[0-9]{4})",),
        "hl7-date": (r"(?P<y>[0-9]{4})(?:(?P<m>[0-9]{2})(?:00)?)?",),
        "ddmmyyyy": (r"(?:(?:00)?(?P<m>[0-9]{1,2}))??(?P<y>[0-9]{4})",),
        "short-date": (r"00?[./-](?P<m>[0-9]{1,2})[./-](?P<yy>[0-9]{2})",),
    }
)


def _taking_parts(forward: Callable[[Any], Any], written: Sequence[str], first: int = 0) -> Callable[[Any], Any]:
    """The same function, which also takes what is written in part; gives `1990` or `1990-05`."""
    forms = [re.compile(form + r"\Z") for form in written]

    def take(value: Any) -> Any:
        try:
            return forward(value)
        except TransformError:
            text = _MIDNIGHT.sub("", str(value).strip())
            found = next((match.groupdict() for form in forms if (match := form.match(text)) is not None), None)
            if found is None:
                raise
        year = int(found["y"]) if "y" in found else first + (int(found["yy"]) - first) % 100
        named = (found.get("name") or "").lower()
        if named and named not in _MONTHS:
            raise TransformError("date-form")
        month = _MONTHS.index(named) + 1 if named else int(found.get("m") or 0)
        return _day(year, month or 1, 1)[: len("1990-05" if month else "1990")]

    return take


def _way_back(day: str, month: str, year: str) -> Callable[[Any], Any]:
    """How a day is written, and how what only has a year and month, or a year, is."""

    def write(value: Any) -> str:
        stated = str(value)
        found = days_of(stated).first or date.min
        form = {10: day, 7: month, 4: year}[len(stated)]
        return form.format(d=found.day, m=found.month, y=found.year, yy=found.year % 100, name=_NAMES[found.month - 1])

    return write


def _day_first(value: Any) -> str:
    match = _DAY_FIRST.match(_MIDNIGHT.sub("", str(value).strip()))
    if match is None:
        raise TransformError("date-form")
    return _day(match[3], match[2], match[1])


def _named_month(value: Any) -> str:
    match = _NAMED_MONTH.match(str(value).strip())
    if match is None or match[2].lower() not in _MONTHS:
        raise TransformError("date-form")
    return _day(match[3], _MONTHS.index(match[2].lower()) + 1, match[1])


def day_of_instant(value: Any) -> str:
    """What day it was in Finland: the evening before, in UTC, is already that day there."""
    try:
        instant = datetime.fromisoformat(str(value).strip())
    except ValueError:
        raise TransformError("date-form") from None
    if instant.tzinfo is None:
        return _day(instant.year, instant.month, instant.day)
    there = instant.astimezone(_FINLAND)
    return _day(there.year, there.month, there.day)


def _hl7_date(value: Any) -> str:
    text = str(value).strip()
    # The hour is not looked at: HL7 v2 writes the time of a place, and its day is the day of that place.
    if re.fullmatch(r"[0-9]{8}([0-9]{2,6}([.][0-9]{1,4})?([+-][0-9]{4})?)?", text) is None:
        raise TransformError("date-form")
    return fi_date(f"{text[:4]}-{text[4:6]}-{text[6:8]}")


def _yes_no(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    word = str(value).strip().lower()
    if word in {"k", "kyllä", "ja", "yes", "y", "true", "1", "x"}:
        return True
    if word in {"e", "ei", "nej", "no", "false", "0"}:
        return False
    raise TransformError("not-yes-no")


def _ddmmyyyy(value: Any) -> str:
    text = str(value).strip()
    if re.fullmatch(r"[0-9]{7,8}", text) is None:  # a spreadsheet takes the first zero away
        raise TransformError("date-form")
    text = text.zfill(8)
    return _day(text[4:], text[2:4], text[:2])


def _y_n(value: Any) -> bool:
    """For exports in English. Elsewhere an N may stand for nothing at all, and is never a quiet no."""
    return {"Y": True, "N": False}[word] if (word := str(value).strip().upper()) in {"Y", "N"} else _yes_no(value)


def _number(value: Any) -> int:
    text = re.sub(r"[\s\u00a0]", "", str(value))
    if isinstance(value, bool) or re.fullmatch(r"-?[0-9]{1,9}", text) is None:
        raise TransformError("not-a-number")
    return int(text)


def _phone(value: Any) -> str:
    text = re.sub(r"[\s.\u00a0/-]", "", str(value))
    if text.startswith("00"):
        text = "+" + text[2:]
    if text.startswith("+"):  # behind the country's number nobody dials the zero that is written in brackets
        text = text.replace("(0)", "", 1)
    text = re.sub(r"[()]", "", text)
    if text.startswith("+3580"):
        text = "+358" + text[5:]
    if _PHONE.match(text) is None:
        raise TransformError("phone-form")
    return text


def _email(value: Any) -> str:
    text = str(value).strip()
    if _EMAIL.match(text) is None:
        raise TransformError("email-form")
    return text


def _postal_code(value: Any) -> str:
    text = str(value).strip()
    if re.fullmatch(r"[0-9]{5}", text) is None:
        raise TransformError("postal-code-form")
    return text


def _country(value: Any) -> str:
    found = code_system("country").find(str(value))
    if found is None:
        raise TransformError("country-form")
    return found.code


def _language(value: Any) -> str:
    found = code_system("language").find(str(value))
    if found is None:
        raise TransformError("language-unknown")
    return found.code


def short_date(first: int) -> Transform:
    """A day whose year has two digits: it is in the hundred years that begin with `first`, which the mapping says."""

    def forward(value: Any) -> str:
        match = _SHORT_DATE.match(str(value).strip())
        if match is None:
            raise TransformError("date-form")
        year = first + (int(match[3]) - first) % 100
        return _day(year, match[2], match[1])

    write = _way_back("{d}.{m}.{yy:02}", "00.{m:02}.{yy:02}", "00.00.{yy:02}")

    def backward(value: Any) -> Any:
        if not first <= int(str(value)[:4]) < first + 100:
            raise TransformError("date-form")
        return write(value)

    in_part = _taking_parts(forward, _IN_PART["short-date"], first)
    return Transform(f"short-date {first}", "", ("", ""), forward, backward, in_part=in_part)


def _at_comma(value: Any) -> tuple[str, str]:
    """A family name and what is given, which one comma parts. Of two commas nobody knows which it is."""
    family, _, given = (part.strip() for part in str(value).partition(","))
    if not family or not given or "," in given:
        raise TransformError("name-form")
    return family, given


def _at_end(value: Any) -> tuple[str, str]:
    """What is given, and the family name behind it: the last word, with the small words that belong to it."""
    found = str(value).split()
    at = len(found) - 1
    while at > 0 and found[at - 1].lower() in _PARTICLES and found[at - 1].islower():
        at -= 1
    if at < 1 or "," in str(value):
        raise TransformError("name-form")
    return " ".join(found[at:]), " ".join(found[:at])


def _post(value: Any) -> tuple[str, str]:
    match = _POST.match(str(value).strip())
    if match is None:
        raise TransformError("postal-code-form")
    return match[1], match[2]


def _text(value: Any) -> str:
    return str(value).strip()


def _joined(value: Any) -> str:
    if not isinstance(value, list):
        raise TransformError("unreadable")
    return " ".join(value)


def _k_or_e(value: Any) -> str:
    return "K" if value else "E"


def _words(value: Any) -> list[str]:
    return str(value).split()


_to_fi_date = _way_back("{d}.{m}.{y}", "{m}.{y}", "{y}")


def _date(
    name: str, does: str, example: tuple[str, str], forward: Callable[[Any], str], backward: Callable[[Any], Any]
) -> Transform:
    written = _IN_PART.get(name, _IN_PART["fi-date"])
    return Transform(name, does, example, forward, backward, in_part=_taking_parts(forward, written))


_ALL = (
    Transform("text", "The text without the space around it.", (" Kotka ", "Kotka"), _text, str),
    Transform("words", "The words of a text, as a list.", ("Anna Maria", ["Anna", "Maria"]), _words, _joined, "array"),
    Transform("hetu", "A Finnish personal identity code, checked.", ("131052-900w", "131052-900W"), hetu, str),
    _date("fi-date", "A day written 5.2.1990 (or 1990-02-05).", ("5.2.1990", "1990-02-05"), fi_date, _to_fi_date),
    _date("iso-date", "A day written 1990-02-05.", ("1990-02-05", "1990-02-05"), fi_date, str),
    _date("day-first", "A day written 05/02/1990, day first.", ("05/02/1990", "1990-02-05"), _day_first, _to_fi_date),
    _date(
        "named-month",
        "A day with an English month: 5 Feb 1990.",
        ("05-Feb-1990", "1990-02-05"),
        _named_month,
        _way_back("{d} {name} {y}", "{name} {y}", "{y}"),
    ),
    _date(
        "day-of",
        "The day of an instant, as it is in Finland.",
        ("1990-05-04T22:00:00Z", "1990-05-05"),
        day_of_instant,
        str,
    ),
    _date(
        "hl7-date",
        "A day written 19900205, as HL7 v2 does.",
        ("19900205", "1990-02-05"),
        _hl7_date,
        _way_back("{y}{m:02}{d:02}", "{y}{m:02}", "{y}"),
    ),
    Transform("yes-no", "Yes or no: K/E, kyllä/ei, true/false.", ("K", True), _yes_no, _k_or_e, "boolean"),
    _date(
        "ddmmyyyy",
        "A day written 05021990.",
        ("05021990", "1990-02-05"),
        _ddmmyyyy,
        _way_back("{d:02}{m:02}{y}", "00{m:02}{y}", "0000{y}"),
    ),
    Transform("y-n", "Yes or no in English: Y/N.", ("N", False), _y_n, lambda value: "Y" if value else "N", "boolean"),
    Transform("boolean", "Yes or no; back as a JSON boolean.", ("true", True), _yes_no, bool, "boolean"),
    Transform("number", "A whole number.", ("1 200", 1200), _number, int, "integer"),
    Transform("phone", "A telephone number without spaces.", ("040 123 4567", "0401234567"), _phone, str),
    Transform("email", "An e-mail address.", ("a@example.fi", "a@example.fi"), _email, str),
    Transform("postal-code", "A Finnish postal code.", ("48100", "48100"), _postal_code, str),
    Transform(
        "postal-code-of",
        "The postal code before a town.",
        ("48100 KOTKA", "48100"),
        lambda value: _post(value)[0],
        None,
    ),
    Transform(
        "town-of", "The town behind a postal code.", ("48100 KOTKA", "KOTKA"), lambda value: _post(value)[1], None
    ),
    Transform(
        "family-before-comma",
        "The family name of “Family, Given”.",
        ("von Tessel, Anna Maria", "von Tessel"),
        lambda value: _at_comma(value)[0],
        None,
    ),
    Transform(
        "given-after-comma",
        "The given names of “Family, Given”.",
        ("von Tessel, Anna Maria", ["Anna", "Maria"]),
        lambda value: _at_comma(value)[1].split(),
        None,
        "array",
    ),
    Transform(
        "family-at-end",
        "The family name of “Given Family”: the last word, with small words as von and de before it.",
        ("Anna Maria von Tessel", "von Tessel"),
        lambda value: _at_end(value)[0],
        None,
    ),
    Transform(
        "given-before-family",
        "The given names of “Given Family”.",
        ("Anna Maria von Tessel", ["Anna", "Maria"]),
        lambda value: _at_end(value)[1].split(),
        None,
        "array",
    ),
    Transform("country", "A country by its ISO 3166 code, as its three letters.", ("ua", "UKR"), _country, str),
    Transform("language", "A language by ISO 639, as BCP 47 writes it.", ("UKR", "uk"), _language, str),
)

#: Every transform by its name. `code TABLE` and `table NAME` are made by the compiler from the mapping's tables.
TRANSFORMS: Mapping[str, Transform] = MappingProxyType({transform.name: transform for transform in _ALL})
