"""Recognise what the columns of a register are, by their names in three languages and by what their values look like.

A name alone is not enough where the values contradict it, and values alone are enough only where they can hardly be
anything else (an identity code, an e-mail address). What was not recognised is told with its reason; nothing is guessed
in silence.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from functools import cache
from importlib.resources import files
from typing import Any

from ruamel.yaml import YAML

from adapters.scaffold.outlining import SampleError
from adapters.scaffold.sniffing import Column, Sample
from adapters.transforms import TRANSFORMS, TransformError
from schemas.codes import code_system, code_systems

#: Words that say whose a value is and not what it is.
_NOISE = frozenset(
    {"asiakas", "asiakkaan", "hakija", "hakijan", "henkilon", "henkilo", "potilaan", "tieto", "tiedot"}
    | {"kund", "kundens", "klient", "klientens", "person", "personens", "uppgift"}
    | {"client", "clients", "applicant", "applicants", "customer", "patient", "subject", "the", "of"}
)
#: Kinds that the values may contradict: the share of values that must fit.
_STRICT = 0.6
#: Kinds whose values can hardly be anything else: what is called otherwise, or not at all, is recognised by them.
_TELLING = frozenset({"hetu", "email", "language", "permit-ground", "service-need", "municipality", "gender"})
#: What only its name can say: guessed from values, a town would become one to which a protected address may go.
_NAMED_ONLY = frozenset({"safety-recipient"})
#: Characters of a name that is still a name; comparing costs more than its length.
_LONGEST_NAME = 120
#: A guess is never certain.
_SUREST = 0.95
_SEPARATORS = ("|", ";", ",", "/", "+")
_TABLED = frozenset(
    {
        "gender",
        "language",
        "country",
        "permit-ground",
        "housing-situation",
        "schooling",
        "urgency",
        "vulnerability-ground",
        "service-need",
        "municipality",
    }
)


@dataclass(frozen=True, slots=True)
class Concept:
    """Something that registers hold about a person: its name here, its titles, its names, what its values look like."""

    name: str
    title: Mapping[str, str]
    kind: str
    synonyms: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Recognised:
    """A column that was recognised: as what, how surely (0 to 1), by what, and how its values are to be read.

    `table` gives the code of each value of the sample that is known; `unknown` counts the values that are not.
    """

    column: Column
    concept: Concept
    score: float
    by: str
    table: Mapping[str, str] = field(default_factory=dict)
    unknown: int = 0
    separator: str | None = None


@dataclass(frozen=True, slots=True)
class Left:
    """A column that was left to the developer, and why."""

    column: Column
    reason: str


@dataclass(frozen=True, slots=True)
class Recognition:
    """All columns of a sample, and the one that tells its records apart."""

    recognised: tuple[Recognised, ...]
    left: tuple[Left, ...]
    key: str


#: How days are written, the most usual first.
DATES = ("fi-date", "iso-date", "hl7-date", "named-month", "day-of", "day-first", "ddmmyyyy")
#: Words of a column's name that may protect somebody: what is left to the developer begins with those.
_PROTECTS = re.compile(r"turva|kielto|spärr|skydd|protect|confidential|secrecy|\bTK\b|PD1-12", re.I)
_CODE = re.compile(r"[0-9]{6}[-+A-FU-Y][0-9]{3}[0-9A-Z]\Z", re.I)
_SHORT_DATE = re.compile(r"[0-9]{1,2}[./-][0-9]{1,2}[./-][0-9]{2}\Z")
_POST = re.compile(r"[0-9]{5}[ ,]+[^\W\d_]")

#: What tells records apart where there is neither a customer number nor an identity code.
LOCAL_KEY = Concept(
    "local-key",
    {"fi": "Rekisterin oma avain", "sv": "Registrets egen nyckel", "en": "The register's own key"},
    "key",
    (),
)


@cache
def concepts() -> tuple[Concept, ...]:
    """The vocabulary."""
    return tuple(
        Concept(
            name,
            stated["title"],
            stated["kind"],
            tuple(tuple(plain(part) for part in synonym.split("-") if plain(part)) for synonym in stated["names"]),
        )
        for name, stated in _read("vocabulary.yaml").items()
    )


def recognise(sample: Sample, key: str = "") -> Recognition:
    """Say of each column what it is, or why that is not known; `key` is the one that the developer says it is."""
    offers: list[tuple[float, int, Column, Concept, str]] = []
    doubts: dict[str, str] = {}
    for column in sample.columns:
        looks: dict[str, float | None] = {}
        for order, concept in enumerate(concepts()):
            if concept.name == "full-name" and re.search(r"[/.]", column.name):
                continue  # the name of a town, of a language, of a code
            if "[]/" in column.name and concept.name not in {"service-needs", "bookkeeping"}:
                continue  # an object of a list is somebody or something else
            by_name = 0.0 if _is_anothers(column.name, concept) else name_score(column.name, concept)
            if by_name < 0.55 and (concept.kind not in _TELLING or concept.name in _NAMED_ONLY):
                continue
            if concept.kind not in looks:
                looks[concept.kind] = value_score(column, concept.kind)
            by_values = looks[concept.kind]
            if by_values is None:  # no value to look at
                if by_name >= 0.75:
                    offers.append((by_name - 0.05, -order, column, concept, "its name"))
            elif by_name >= 0.55:
                if by_values >= _STRICT:
                    offers.append((by_name + by_values / 5, -order, column, concept, "its name and its values"))
                elif by_name >= 0.75 and column.name not in doubts:
                    doubts[column.name] = f"named like “{concept.title['en']}”, but its values do not look like that"
            elif (
                concept.kind in _TELLING
                and by_values >= 0.9
                and len(set(column.held)) >= 2
                and not _is_anothers(column.name, concept)
            ):
                offers.append((by_values / 2, -order, column, concept, "its values"))
    taken: dict[str, Recognised] = {}
    given: set[str] = set()
    for score, _, column, concept, by in sorted(offers, key=lambda one: (-one[0], -one[1])):
        if column.name in taken or (concept.name in given and concept.kind != "bookkeeping"):
            continue
        given.add(concept.name)
        taken[column.name] = _described(column, concept, min(score, _SUREST), by)
    if key and key not in {column.name for column in sample.columns}:
        raise SampleError(f"the sample has no column {key!r}", "say --key as the header writes it")
    key = key or _key(sample, taken.values())
    known = taken[key].concept.name if key in taken else ""
    if "customer-number" not in given and known != "identity-code":
        column = next(column for column in sample.columns if column.name == key)
        by = "its values: no two are the same" if column.unique else "nothing: say --key"
        taken[key] = Recognised(column, LOCAL_KEY, 0.5, by)
    left = tuple(
        Left(column, _why(column) or doubts.get(column.name, "its name and its values are not in the vocabulary"))
        for column in sorted(sample.columns, key=lambda column: _PROTECTS.search(column.name) is None)
        if column.name not in taken
    )
    ordered = tuple(taken[column.name] for column in sample.columns if column.name in taken)
    return Recognition(ordered, left, key)


def why_left(name: str) -> str:
    """Why a field that may protect somebody is left, by its name; empty for any other."""
    return "it may protect somebody: say what its values mean before anything else" if _PROTECTS.search(name) else ""


def _why(column: Column) -> str:
    """Why a column is left that looks like something the language has a word for; empty for any other."""
    held = column.held
    if told := why_left(column.name):
        return told
    if _share(held, lambda value: value.strip().lower() in {"x", "v", "✓"}) == 1.0:
        return "a tick: what is ticked is made with when: {" + column.name + ": [" + held[0].strip() + "]}"
    if _share(held, _SHORT_DATE.match) > 0.9:
        return "days with a year of two digits: say the first of their hundred years, as in as: short-date 1930"
    if _share(held, _POST.match) > 0.9:
        return "a postal code and a town: take it twice, as: postal-code-of and as: town-of"
    return ""


_CODE_NAMES = frozenset({"koodi", "code", "arvo", "value", "tyyppi", "type", "laji", "kod", "typ", "nimi", "name"})
#: What sort something is of is not what it is: an address of the sort “home” is no street.
_SORTS = frozenset({"tyyppi", "type", "laji", "typ"})
#: Words of a path that say that what stands below them is another's than the person's.
_OTHERS = frozenset(
    {"tyontekija", "omatyontekija", "kasittelija", "ohjaaja", "huoltaja", "edustaja", "yhteyshenkilo", "lahiomainen"}
    | {"puoliso", "lapsi", "lapset", "jasen", "perheenjasen", "keskus", "vastaanottokeskus", "tulkki", "laatija"}
    | {
        "handlaggare",
        "vardnadshavare",
        "foretradare",
        "kontaktperson",
        "anhorig",
        "make",
        "maka",
        "barn",
        "forlaggning",
    }
    | {"worker", "caseworker", "guardian", "representative", "contact", "emergency", "spouse", "child", "children"}
    | {"relative", "kin", "interpreter", "centre", "center", "author", "father", "mother", "aiti", "isa", "mor", "far"}
)


def _is_anothers(name: str, concept: Concept) -> bool:
    """Whether a column's path or name says that its value is another person's: a worker's telephone, a child's name."""
    told = {word for step in re.split(r"[/.]", name) for word in words(step.lstrip("@"))}
    told |= {plain(step.lstrip("@")) for step in re.split(r"[/.]", name)}
    about = {word for synonym in concept.synonyms for word in [*synonym, "".join(synonym)]}
    return bool(told & _OTHERS - about) and not any(told & _OTHERS & {part} for part in about)


def plain(text: str) -> str:
    """Letters and digits only, without marks and capitals: `Äidinkieli` is `aidinkieli`."""
    spread = unicodedata.normalize("NFKD", text.replace("ø", "o").replace("æ", "ae").casefold())
    return "".join(letter for letter in spread if letter.isalnum() and not unicodedata.combining(letter))


def words(name: str) -> list[str]:
    """The words of a column's name: `AsiakkaanSyntPvm`, `synt.pvm` and `synt_pvm` have the same last two."""
    parted = re.sub(r"(?<=[a-zåäö0-9])(?=[A-ZÅÄÖ])", " ", name)
    return [plain(word) for word in re.split(r"[\W_]+", parted) if plain(word)]


def name_score(name: str, concept: Concept) -> float:
    """How well a column's name fits a concept, from 0 to 1. Of a path, its last steps count."""
    if len(name) > _LONGEST_NAME:
        return 0.0
    steps = [step.lstrip("@") for step in name.split("/") if step]
    if not steps or (plain(steps[-1]) in _SORTS and concept.kind not in _TABLED):
        return 0.0
    tried = {steps[-1]: 1.0, " ".join(steps[-2:]): 0.97} if len(steps) > 1 else {name: 1.0}
    if plain(steps[-1]) in _CODE_NAMES:  # what it is a code of, an object around it says
        tried |= {step.removesuffix("[]"): 0.97 for step in steps[:-1]}
    return max(weight * _fits(words(text), synonym) for text, weight in tried.items() for synonym in concept.synonyms)


def _fits(given: list[str], synonym: tuple[str, ...]) -> float:
    if not given:
        return 0.0
    told = [word for word in given if word not in _NOISE] or given
    whole = "".join(synonym)
    best = 0.0
    for tokens, weight in ((given, 1.0), (told, 0.96)):
        joined = "".join(tokens)
        if joined == whole or sorted(tokens) == sorted(synonym):
            return weight
        if len(tokens) == len(synonym) > 1 and all(_abbreviates(a, b) for a, b in zip(tokens, synonym, strict=True)):
            best = max(best, 0.85 * weight)
        elif len(tokens) == 1 and 3 <= len(joined) < len(whole) and _runs_through(joined, synonym):
            best = max(best, 0.72 * weight)
        elif len(whole) >= 5 and whole in joined:
            best = max(best, (0.6 + 0.3 * len(whole) / len(joined)) * weight)
        elif len(joined) >= 5 and 0.75 < len(joined) / len(whole) < 1.34:  # else they cannot be this much alike
            ratio = SequenceMatcher(None, joined, whole).ratio()
            best = max(best, 0.8 * ratio * weight) if ratio >= 0.86 else best
    return best


def _abbreviates(short: str, long: str) -> bool:
    """`nro` is short for `numero`: the same first letter, and its letters in their order."""
    if not long.startswith(short[:1]):
        return False
    rest = iter(long)
    return all(letter in rest for letter in short)


def _runs_through(short: str, parts: Sequence[str]) -> bool:
    """`synpvm` runs through `syntymä-pvm`: a beginning of each part, one after the other."""
    if not parts:
        return not short
    if len(parts) == 1 and len(short) < 3:
        return False
    return any(
        short.startswith(parts[0][:length]) and _runs_through_rest(short[length:], parts[1:])
        for length in range(len(parts[0]), 0, -1)
    )


def _runs_through_rest(short: str, parts: Sequence[str]) -> bool:
    if not parts:
        return not short
    return any(
        short.startswith(parts[0][:length]) and _runs_through_rest(short[length:], parts[1:])
        for length in range(len(parts[0]), 0, -1)
    )


def value_score(column: Column, kind: str) -> float | None:
    """The share of a column's values that look like this kind; None if it holds no value."""
    held = column.held
    if not held:
        return None
    match kind:
        case "hetu" | "email" | "postal-code" | "number":
            return _share(held, lambda value: takes(kind, value))
        case "phone":
            return _share(held, lambda value: takes("phone", value) and any(c.isdigit() for c in value))
        case "date" | "birth":
            return max(_share(held, lambda value, by=by: takes(by, value, kind)) for by in DATES)
        case "yes-no":
            return _share(held, lambda value: takes("y-n", value))
        case "numbers":
            separator = _separator(held, str.isdigit)
            return _share(_parts(held, separator), lambda value: value.isdigit() and int(value) < 30)
        case "key":
            return 1.0 if column.unique and all(re.fullmatch(r"[A-Za-z0-9._-]{1,40}", value) for value in held) else 0.0
        case "name":
            return _share(held, lambda value: not any(letter.isdigit() for letter in value))
        case "service-need":
            known = values_of("service-need")
            parts = _parts(held, None if column.listed else parted_by(kind, held))
            return _share(parts, lambda value: plain(value) in known)
        case "country":
            return _share(held, lambda value: plain(value) in values_of("country") or takes("country", value))
        case _ if kind in _TABLED:
            return _share(held, lambda value: plain(value) in values_of(kind))
        case "bookkeeping":
            return 1.0
        case _:
            return _share(held, lambda value: len(value.strip()) > 1 and not takes("hetu", value))


@cache
def values_of(kind: str) -> Mapping[str, str]:
    """How values of a coded kind are written, and their codes: the code system's own codes and names, and others."""
    found: dict[str, str] = {}
    if kind in code_systems():
        for code, coding in code_system(kind).codes.items():
            for written in (coding.en, coding.sv, coding.fi, code):
                found.setdefault(plain(written), code)
    for code, written in _read("values.yaml").get(kind, {}).items():
        found.update({plain(str(text)): str(code) for text in written})
    return found


def _described(column: Column, concept: Concept, score: float, by: str) -> Recognised:
    kind = concept.kind
    separator = None
    table: dict[str, str] = {}
    unknown = 0
    if kind == "service-need" and not column.listed:
        separator = parted_by(kind, column.held)
    if kind == "numbers" and not column.listed:
        separator = _separator(column.held, str.isdigit)
    if kind in _TABLED:
        for value in _parts(column.held, separator):
            code = values_of(kind).get(plain(value))
            if code is not None:
                table[value] = code
            elif not (kind == "country" and takes("country", value)):
                unknown += 1
    return Recognised(column, concept, score, by, table, unknown, separator)


def _key(sample: Sample, recognised: Iterable[Recognised]) -> str:
    recognised = list(recognised)
    by_concept = {column.concept.name: column.column for column in recognised}
    number, code = by_concept.get("customer-number"), by_concept.get("identity-code")
    if number is not None and number.filled == sample.records:
        return number.name
    # Somebody is always without an identity code: it tells records apart only where each has one.
    if code is not None and code.unique:
        return code.name
    # A name or a day that happens to be met once tells nobody apart in the next file.
    others = {column.column.name for column in recognised if column.concept.kind not in {"key", "hetu", "bookkeeping"}}
    free = [
        column
        for column in sample.columns
        # What only looks like identity codes is no number of the register's either.
        if column.unique and column.name not in others and _share(column.held, _CODE.match) < 0.5
    ]
    unique = [column.name for column in free if value_score(column, "key") == 1.0] or [column.name for column in free]
    if unique:
        return unique[0]
    if chosen := number or code:
        return chosen.name
    raise SampleError(
        "no column of the sample tells its records apart",
        "say --key; if one person has several rows, bring them together with layout: {group: …} (see wild exports)",
    )


def parted_by(kind: str, held: Sequence[str]) -> str | None:
    """What parts the values of a kind in a cell; None if no cell holds several."""
    return _separator(held, lambda value: plain(value) in values_of(kind))


def _separator(held: Sequence[str], known: Any) -> str | None:
    """The separator whose parts are known best; None if no value has several parts."""
    scores = []
    for separator in _SEPARATORS:
        if any(separator in value for value in held):
            parts = _parts(held, separator)
            scores.append((sum(bool(known(part)) for part in parts) / max(len(parts), 1), separator))
    return max(scores, key=lambda one: one[0])[1] if scores else None


def _parts(held: Sequence[str], separator: str | None) -> list[str]:
    if separator is None:
        return list(held)
    return [part.strip() for value in held for part in value.split(separator) if part.strip()]


def _share(values: Sequence[str], fits: Any) -> float:
    return sum(bool(fits(value)) for value in values) / len(values) if values else 0.0


def takes(transform: str, value: str, kind: str = "") -> bool:
    """Whether a transform takes a value; of a birth also the year, or year and month."""
    taking = TRANSFORMS[transform]
    try:
        ((kind == "birth" and taking.in_part) or taking.forward)(value)
    except TransformError:
        return False
    return True


@cache
def _read(name: str) -> Any:
    return YAML(typ="safe", pure=True).load((files("adapters.scaffold") / name).read_text(encoding="utf-8"))
