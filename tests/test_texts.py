"""The catalogue of texts: three languages that ask for the same values, a form for one, and no text without a place."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from datetime import date
from functools import cache
from pathlib import Path

import pytest

from consent.deciding.decision import _NEARNESS
from gateway.wire.problem_table import PROBLEMS
from tests.gateway.console.test_texts import VALUES
from texts import Catalogue, Text, day, read

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "texts").glob("*.toml"))
CODE = [ROOT / room for room in ("gateway", "audit", "consent", "adapters", "schemas")]


def texts_of(file: Path) -> Mapping[str, Text]:
    return read(file.read_text("utf-8"))


def each() -> Iterator[tuple[str, str, Text]]:
    """Every text with its file and key."""
    for file in FILES:
        for key, text in texts_of(file).items():
            yield file.name, key, text


def test_every_text_asks_for_the_same_values_in_all_three_languages() -> None:
    for file, key, text in each():
        places = [sorted(re.findall(r"\{(\w+)\}", words)) for words in text.to_dict().values()]
        assert places[0] == places[1] == places[2], f"{file}: {key}: a value is missing in one language"


def test_every_text_that_a_number_governs_has_a_form_for_one() -> None:
    """Else a page says `1 times`. A number that stands apart, after a colon or in brackets, governs nothing."""
    apart = re.compile(r"(?:: |\(|sammanlagt |yhteensä |Disclosures in \{year\}: )\{count\}")

    for file in FILES:
        texts = texts_of(file)
        for key, text in texts.items():
            words = text.to_dict().values()
            governs = any("{count}" in word for word in words) and not all(apart.search(word) for word in words)
            assert not governs or f"{key}#one" in texts, f"{key}: write it as {{ one = [...], many = [...] }}"
            assert not key.endswith("#one") or not governs, f"{key}: one is said in words or as 1"


def test_three_languages_stand_in_the_catalogue_and_not_in_code() -> None:
    """What names itself (an adapter, an invented organisation, the register's key of a sample) is no text of ours."""
    own = {"adapters", "gateway/demo"}
    found = []
    for path in (path for room in CODE for path in room.rglob("*.py")):
        name = str(path.relative_to(ROOT))
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            said = node.args if isinstance(node, ast.Call) and ast.unparse(node.func) == "Text" else []
            if isinstance(node, ast.Dict):
                keys = {key.value for key in node.keys if isinstance(key, ast.Constant)}
                said = node.values if {"fi", "sv", "en"} <= keys else []
            is_literal = len(said) >= 3 and all(isinstance(word, ast.Constant | ast.JoinedStr) for word in said)
            if is_literal and not any(name.startswith(room) for room in own):
                found.append(f"{name}:{node.lineno}")  # type: ignore[attr-defined]

    assert found == []


@cache
def written() -> tuple[frozenset[str], frozenset[str]]:
    """The strings of code and templates: those that may be a key, and those that begin one."""
    whole: set[str] = set()
    begun: set[str] = set()
    for path in (path for room in CODE for path in room.rglob("*.py")):
        source = path.read_text("utf-8")
        begun |= {f"{kind}." for kind in re.findall(r'\.(?:named|code)\("([a-z-]+)"', source)}
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.JoinedStr) and isinstance(node.values[0], ast.Constant):
                begun.add(str(node.values[0].value))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                whole.add(node.value)
    for path in (path for room in CODE for path in room.rglob("*.html")):
        page = path.read_text("utf-8")
        begun |= set(re.findall(r'"([a-z0-9.-]+)" ~', page))
        begun |= {f"{kind}." for kind in re.findall(r'\b(?:name|t\.code)\("([a-z-]+)"', page)}
        whole |= set(re.findall(r"""["']([a-z0-9.-]+)["']""", page))
    return frozenset(whole), frozenset(text for text in begun if re.search(r"[a-z][.-]\Z", text))


def is_used(key: str) -> bool:
    """Whether something asks for the key: by the whole of it, or by a beginning, and a value of those that it has."""
    whole, begun = written()
    # What is wrong and what mends it are asked for together, by their code.
    if key in whole or key.removesuffix(".is").removesuffix(".mends") in whole:
        return True
    beginnings = [beginning for beginning in begun if key.startswith(beginning)]
    return any(
        beginning not in VALUES or key.removeprefix(beginning) in {str(value) for value in VALUES[beginning]}
        for beginning in beginnings
    )


@pytest.mark.parametrize("file", [file for file in FILES if file.stem != "problems"], ids=lambda file: file.stem)
def test_every_text_is_asked_for_somewhere(file: Path) -> None:
    assert [key for key in texts_of(file) if not is_used(key.removesuffix("#one"))] == []


def test_every_problem_has_its_title_and_every_title_its_problem() -> None:
    assert list(Catalogue("problems")) == list(PROBLEMS)


@pytest.mark.parametrize(
    ("written", "wrong"),
    [
        ('[a]\nb = ["one", "two"]', "a.b: a text has exactly three languages"),
        ('a = ["one", "two", " "]', "a: a text has words in each"),
        ('a = ["one", "two", 3]', "a: a text has words in each"),
        ('a = "one"', "a: a text has exactly three languages"),
    ],
)
def test_a_text_without_a_language_is_refused(written: str, wrong: str) -> None:
    with pytest.raises(ValueError, match=wrong):
        read(written)


def test_files_of_one_catalogue_share_no_key() -> None:
    parts = [texts_of(ROOT / "texts" / f"{name}.toml").keys() for name in ("console", "audit", "words")]

    assert parts[0] & parts[2] == parts[1] & parts[2] == set()


def test_the_workbench_has_words_for_every_reason_of_a_decision() -> None:
    texts = Catalogue("workbench")
    reasons = [*_NEARNESS, "no-basis", "category-unknown"]

    assert [reason for reason in reasons if texts.named("why", reason, "fi") == reason] == []


def test_a_text_in_another_language_is_english_and_a_missing_one_an_error() -> None:
    texts = Catalogue("workbench")

    assert texts("records", "de") == texts("records", "en")
    assert texts.named("why", "no-such-code", "fi") == "no-such-code"
    with pytest.raises(KeyError):
        texts("no-such-text", "fi")


def test_a_value_that_ends_with_a_full_stop_ends_the_sentence() -> None:
    basis = read('basis = ["Peruste: {act}. Muu: {act}.", "{act}", "{act}."]')["basis"]

    assert basis.filled(act="54 § 1 mom.") == Text(
        "Peruste: 54 § 1 mom. Muu: 54 § 1 mom.", "54 § 1 mom.", "54 § 1 mom."
    )
    assert basis.filled(act="54 §").fi == "Peruste: 54 §. Muu: 54 §."


def test_a_text_is_said_in_its_form_for_one_if_it_has_one_and_the_count_is_one() -> None:
    texts = Catalogue("audit")

    for count in (1, "1"):
        assert texts("anomaly.bulk-lookups", "en", count=count, threshold=5).startswith(
            "One user made 1 look-up within"
        )
        assert texts("extract.hidden", "en", count=count).startswith(
            "Lines that the law forbids showing to the person: 1."
        )
    assert texts("anomaly.bulk-lookups", "en", count=11, threshold=5).startswith("One user made 11 look-ups within")


def test_days_are_written_as_people_write_them() -> None:

    assert [day(date(2026, 7, 1), language) for language in ("fi", "sv", "en")] == [
        "1.7.2026",
        "1.7.2026",
        "1 July 2026",
    ]
