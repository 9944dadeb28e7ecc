"""A rulebook that was once in use decides today what it decided then, byte for byte.

`recorded/` holds a rulebook as it was published, and for each purpose a digest over the texts of its decisions, made
by the program of its time: every case, every path that it knows, three days, with and without an emergency, and before
the facts are known. A decision that is written down stands on this: `rulebook replay` would call it tampered with.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, time
from functools import cache
from pathlib import Path

import pytest

from consent.deciding.decision import decide
from consent.deciding.examples import consent, party
from consent.rulebook import load
from consent.rules.law import Rulebook
from consent.rules.request import Emergency, Request
from tests.former import former

RECORDED = Path(__file__).parents[1] / "recorded"
VERSIONS = ("2026-01-01", "2026-11-27")
EVERYBODY = {"contact-directory", "withdrawal-notice"}
DIGESTS: dict[str, dict[str, str]] = {
    version: json.loads((RECORDED / f"fi-kotoutuminen-{version}.json").read_text("utf-8")) for version in VERSIONS
}
DAYS = [datetime.combine(date.fromisoformat(on), time(12), UTC) for on in ("2022-06-01", "2024-06-01", "2026-03-01")]


@cache
def older(version: str) -> Rulebook:
    """A rulebook of that time."""
    if version == VERSIONS[1]:
        return former()
    return load((RECORDED / f"fi-kotoutuminen-{version}.yaml").read_bytes(), source="older")


@pytest.mark.parametrize("version", VERSIONS)
def test_rulebook_of_that_time_still_loads_and_is_that_text(version: str) -> None:
    assert older(version).digest == DIGESTS[version]["rulebook"]


@pytest.mark.parametrize(
    ("version", "purpose"),
    [
        (version, purpose)
        for version in VERSIONS
        # What everybody tells everybody takes as long as all else together: of one of the two it is enough.
        for purpose in sorted(set(DIGESTS[version]) - {"rulebook"} - (EVERYBODY if version == VERSIONS[1] else set()))
    ],
)
def test_older_rulebook_decides_what_it_decided_when_it_was_new(version: str, purpose: str) -> None:
    assert digest_of(older(version), purpose) == DIGESTS[version][purpose]


def digest_of(rulebook: Rulebook, purpose: str) -> str:
    """One digest over the texts of all decisions for a purpose."""
    digest = hashlib.sha256()
    for text in _texts(rulebook, purpose):
        digest.update(text + b"\n")
    return digest.hexdigest()


def _texts(rulebook: Rulebook, purpose: str) -> Iterator[bytes]:
    parties, every = rulebook.parties, frozenset(rulebook.categories)
    whole = frozenset(code for code, category in rulebook.categories.items() if category.parent is None)
    words = {
        (at, case.id): [consent(document, index, at) for index, document in enumerate(case.consents)]
        for at in DAYS
        for case in rulebook.cases.values()
    }
    for provider, giving in parties.items():
        for requester, asking in parties.items():
            if not rulebook.bases_for(giving["role"], asking["role"], purpose):
                continue
            sides = party(giving, provider), party(asking, requester)
            for at in DAYS:
                for emergency in (None, Emergency("x")):
                    for case in rulebook.cases.values():
                        known = Request(*sides, purpose, whole, case.facts, emergency=emergency)
                        yield decide(known, rulebook, words[at, case.id], at).canonical()
                    unknown = Request(*sides, purpose, every, known=False, emergency=emergency)
                    yield decide(unknown, rulebook, words[at, "p06-torture-survivor"], at).canonical()
