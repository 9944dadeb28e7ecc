"""The migration of what people had said invents no will: over generated stores, nobody's data flows more after it."""

from __future__ import annotations

import itertools
import json
import random
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from alembic import command
from sqlalchemy import Connection, Engine, text

from consent.deciding.said import Asked, Said
from consent.rulebook import load
from consent.rules.law import Rulebook
from consent.words import store
from consent.words.consents import ConsentRecord, WordKind
from gateway.storage import schema
from gateway.storage.engine import writer
from tests.databases import database_url, engine, postgresql_server, postgresql_url
from tests.former import former_rulebook

__all__ = ["database_url", "engine", "postgresql_server", "postgresql_url"]

HOLDER = "FI-DEMO/GOV/9000001-1"
RECIPIENTS = (("municipality", "FI-DEMO/MUN/9000003-8"), ("county", "FI-DEMO/WSC/9000004-6"))
PURPOSES = ("reception-to-municipality", "reception-to-county", "onward-move")
CATEGORIES = ("health-needs", "social-needs", "housing", "vulnerability", "vulnerability/fact")
TODAY = datetime.now(UTC).date()
DAYS = tuple(TODAY + timedelta(days=days) for days in (-400, -1, 0, 1, 40, 400, 4000))
Word = dict[str, Any]


@pytest.fixture(scope="module")
def rulebook() -> Rulebook:
    return load(former_rulebook(), source="reference")


def said(draw: random.Random, identifier: str, subject: str) -> list[Word]:
    """The versions of one word, as a former version of this software wrote them: without a kind or a target."""
    some = draw.choice
    refused = draw.random() < 0.5
    days = sorted(some([None, *DAYS]) or date(9999, 1, 1) for _ in range(2))
    starts, ends = (None if day.year == 9999 else day.isoformat() for day in days)
    word = {
        "id": identifier,
        "version": 1,
        "status": "refused" if refused else "active",
        "subject": subject,
        "given_by": {
            "kind": some(["self", "self", "guardian", "representative"]),
            "mandate_until": some([None, *DAYS[2:]]),
            "minor_opinion": some([None, "agrees", "disagrees"]),
        },
        "purposes": draw.sample(PURPOSES, draw.randint(0 if refused else 1, 3)),
        "recipients": draw.sample(
            ["municipality", "county", *(member for _, member in RECIPIENTS), f"{RECIPIENTS[0][1]}/kotoutuminen"],
            draw.randint(0 if refused else 1, 3),
        ),
        "categories": draw.sample(CATEGORIES, draw.randint(1, 3)),
        "starts": starts,
        "ends": ends,
        "language": "ti",
        "evidence": {"form": None, "digest": None},
        "recorded_by": f"{HOLDER}/vastaanotto",
        "recorded_at": "2025-01-01T12:00:00+00:00",
    }
    mandate = word["given_by"]["mandate_until"]
    word["given_by"]["mandate_until"] = mandate.isoformat() if mandate is not None else None
    if draw.random() < 0.25:
        return [word, {**word, "version": 2, "status": some(["withdrawn", "entered-in-error"])}]
    return [word]


def store_as_before(connection: Connection, words: list[list[Word]]) -> None:
    """Write words into a database of the revision before kinds, and bring it to the one before this migration."""
    row = text(
        "INSERT INTO consents (id, version, subject, status, recorded_at, current, document) "
        "VALUES (:id, :version, :subject, :status, 1, :current, :document)"
    )
    command.upgrade(schema._config(connection), "0003")
    for versions in words:
        for version in versions:
            current = int(version is versions[-1])
            connection.execute(row, {**version, "current": current, "document": json.dumps(version)})
    subjects = {versions[0]["subject"] for versions in words}
    connection.execute(
        text("INSERT INTO consent_epochs (subject, epoch) VALUES (:subject, 1)"), [{"subject": of} for of in subjects]
    )
    command.upgrade(schema._config(connection), "0004")


def carried_before(rulebook: Rulebook, words: list[Word], asked: Asked, category: str) -> bool:
    """Whether consent carried a category under the former rules, written down anew from how they were documented."""
    day = asked.day.isoformat()

    def speaks(word: Word) -> bool:
        forbids = word["status"] == "refused"
        mandate = word["given_by"]["mandate_until"]
        in_period = (word["starts"] or day) <= day <= (word["ends"] or day)
        in_mandate = forbids or mandate is None or day <= mandate
        to = word["recipients"]
        named = asked.role in to or asked.member in to
        for_them = named or (forbids and (not to or any(name.startswith(f"{asked.member}/") for name in to)))
        return (
            in_period
            and in_mandate
            and for_them
            and (asked.purpose in word["purposes"] or (forbids and not word["purposes"]))
        )

    standing = [word for word in words if speaks(word)]
    covered = any(
        word["status"] == "active" and rulebook.covers(frozenset(word["categories"]), category) for word in standing
    )
    return covered and not any(
        word["status"] == "refused" and rulebook.touches(frozenset(word["categories"]), category) for word in standing
    )


def is_carried(said_: Said, category: str, kind: WordKind) -> bool:
    return said_.prohibition_of(category) is None and isinstance(said_.word_for(category, {kind}), ConsentRecord)


@pytest.mark.parametrize("seed", [1, 2])
def test_number_of_persons_whose_data_flows_more_after_the_migration_is_0(
    engine: Engine, rulebook: Rulebook, seed: int
) -> None:
    draw = random.Random(seed)
    words = {
        f"s-{number}": [said(draw, f"c-{number}-{index}", f"s-{number}") for index in range(draw.randint(1, 4))]
        for number in range(250)
    }
    with writer(engine).begin() as connection:
        store_as_before(connection, [versions for person in words.values() for versions in person])

    schema.bring_up_to_date(engine)

    questions = [
        Asked(HOLDER, role, member, purpose, day)
        for (role, member), purpose, day in itertools.product(RECIPIENTS, PURPOSES, DAYS)
    ]
    more, less, same = set(), set(), 0
    with engine.connect() as connection:
        for subject, person in words.items():
            now = [store.read_version(document, kind) for document, kind in connection.execute(store.words((subject,)))]
            newest = [versions[-1] for versions in person]
            for asked, category in itertools.product(questions, CATEGORIES):
                before = carried_before(rulebook, newest, asked, category)
                told = Said(now, asked, rulebook)
                assert not is_carried(told, category, WordKind.PERMISSION)
                after = is_carried(told, category, WordKind.CONSENT)
                if after and not before:
                    more.add(subject)
                elif before and not after:
                    less.add(subject)
                same += before and after
    assert more == set()
    # It is no empty promise: much goes on flowing, and of some refusals an end fell away.
    assert same > 1_000
    assert less


def test_end_of_a_refusal_that_stands_falls_away_and_every_version_stays(engine: Engine) -> None:
    draw = random.Random(3)
    base = {**said(draw, "c", "s")[0], "status": "refused", "starts": None, "given_by": {"kind": "self"}}
    tomorrow, yesterday = ((TODAY + timedelta(days=days)).isoformat() for days in (2, -2))
    words = [
        [{**base, "id": "stands", "ends": tomorrow}],
        [{**base, "id": "had-ended", "ends": yesterday}],
        [{**base, "id": "endless", "ends": None}],
        [{**base, "id": "lifted", "ends": tomorrow}, {**base, "id": "lifted", "version": 2, "status": "withdrawn"}],
    ]
    with writer(engine).begin() as connection:
        store_as_before(connection, words)

    schema.bring_up_to_date(engine)

    with engine.connect() as connection:
        found = {word[0]["id"]: store.history(connection, word[0]["id"]) for word in words}
        epochs = dict(connection.execute(store.changes(("s",))).tuples().all())
    assert {identifier: [word.version for word in versions] for identifier, versions in found.items()} == {
        "stands": [1, 2],
        "had-ended": [1],
        "endless": [1],
        "lifted": [1, 2],
    }
    assert all(word.kind is WordKind.PROHIBITION for versions in found.values() for word in versions)
    former, now = found["stands"]
    assert (former.ends, now.ends, now.origin) == (date.fromisoformat(tomorrow), None, "upgrade")
    assert (now.recorded_by, now.recorded_at) == (former.recorded_by, former.recorded_at)
    assert now.in_force(date(2099, 1, 1))
    assert epochs == {"s": 2}
