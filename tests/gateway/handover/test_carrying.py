"""By which word a delivery goes: what travels of it, what the receiver makes of it, and how a withdrawal finds it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from sqlalchemy import select

from consent.deciding.verdicts import PermittedCategory, legal_day
from consent.rules.request import SubjectFacts
from consent.words.consents import ConsentRecord, Stamp
from gateway.exchange.deciding import Case, decide_between
from gateway.handover import carrying
from gateway.registry.read.registry import Registry
from gateway.storage.tables import arrival_words, inbox
from schemas.identifiers import MIGRI_CUSTOMER
from schemas.projection import project
from tests.databases import database_url, postgresql_server, postgresql_url
from tests.gateway.exchange.inprocess import InProcess, Place, node, problem_of

__all__ = ["database_url", "postgresql_server", "postgresql_url"]
pytestmark = pytest.mark.xdist_group("carrying")
PURPOSE = "reception-to-municipality"
HEALTH = "health-needs"


@pytest.fixture
async def kotka(place: Place, database_url: str) -> AsyncIterator[InProcess]:
    async with node(place, database_url, of="kotka") as here:
        yield here


def basis(here: InProcess) -> Any:
    """That by which health needs come to the municipality with the person's word."""
    rulebook = here.exchange.standing(here.exchange.clock()).rulebook
    triple = ("reception-centre", "municipality", PURPOSE)
    found = rulebook.carriers(triple, HEALTH, legal_day(here.exchange.clock()))
    return next(basis for basis in found if basis.needs_word)


def carrier(here: InProcess, **changes: str) -> dict[str, str]:
    return {
        "kind": basis(here).word.value,
        "digest": "sha-256=:" + "A" * 43 + "=:",
        "day": "2026-01-01",
        "giver": "self",
        "section": carrying.section_of(basis(here)),
    } | changes


def handover(here: InProcess, **changes: Any) -> dict[str, Any]:
    bundle = project(here.register.bundle("7000001"), frozenset({"identity", HEALTH})).bundle
    return {
        "handover": "h-1", "delivery": "d-1", "flow": "F1", "bundle": bundle, "wrd": {HEALTH: carrier(here)},
    } | changes  # fmt: skip


async def brought(here: InProcess, document: dict[str, Any]) -> str | None:
    """The code of the problem with which a handover is refused; None if it is taken in."""
    return problem_of(await here.bring("saapuvat", document, party="centre", purpose=PURPOSE, categories={HEALTH}))


async def test_what_carries_a_delivery_is_kept_with_the_arrival_and_a_withdrawal_finds_it(kotka: InProcess) -> None:
    assert await brought(kotka, handover(kotka)) is None

    with kotka.exchange.engine.connect() as connection:
        (kept,) = connection.execute(select(arrival_words)).all()
        (arrival,) = connection.execute(select(inbox)).all()
        digest = carrier(kotka)["digest"]
        centre = str(kotka.place.network.parties["centre"].subsystem)
        assert carrying.arrivals_by(connection, [digest], centre) == (arrival.id,)
        assert carrying.arrivals_by(connection, [digest], "FI-DEMO/WSC/9000004-6/palvelut") == ()
    assert (kept.arrival, kept.category, kept.kind, kept.giver) == (arrival.id, HEALTH, basis(kotka).word, "self")
    assert (kept.digest, kept.day, kept.section) == (digest, "2026-01-01", carrying.section_of(basis(kotka)))

    # The person is known there by another number by now: the digest alone says which arrival it is about.
    notice = {
        "notice": "n-1", "consent": "c-1", "status": "withdrawn", "categories": [HEALTH], "words": [digest],
        "subject": [{"system": MIGRI_CUSTOMER, "value": "9999999"}],
    }  # fmt: skip
    answer = await kotka.bring("ilmoitukset", notice, party="centre", purpose="withdrawal-notice")
    assert answer.status == 200
    with kotka.exchange.engine.connect() as connection:
        about = connection.execute(select(inbox.c.subject).where(inbox.c.kind == "notice")).scalar_one()
        subjects = kotka.exchange.subjects_of(kotka.party.subsystem)
        found = [{of, *subjects.found_under(connection, [of])} for of in (about, arrival.subject)]
    assert found[0] & found[1], "the notice is found under whom the arrival is about"


WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("no word", {"wrd": {}}, "not-permitted"),
    ("a word of another kind", {"kind": "other"}, "not-permitted"),
    ("another provision", {"section": "1/1999 1"}, "not-permitted"),
    ("a report", {"kind": "report"}, "invalid-request"),
    ("a neighbour's", {"giver": "other"}, "invalid-request"),
    ("of a day to come", {"day": "2999-01-01"}, "invalid-request"),
    ("no day", {"day": "yesterday"}, "invalid-request"),
    ("no digest", {"digest": "x"}, "invalid-request"),
    ("more than is needed", {"form": "SUOSTUMUS-3"}, "invalid-request"),
    ("no object", {"wrd": []}, "invalid-request"),
    ("a number", {"wrd": {HEALTH: 7}}, "invalid-request"),
    ("no category", {"wrd": {"\u0000": {}}}, "invalid-request"),
]


@pytest.mark.parametrize(("changes", "code"), [row[1:] for row in WRONG], ids=[row[0] for row in WRONG])
async def test_word_that_does_not_carry_brings_nothing_in(
    place: Place, tmp_path: Path, changes: dict[str, Any], code: str
) -> None:
    async with node(place, f"sqlite:///{tmp_path / 'node.db'}", of="kotka") as here:
        expected: str | None = code
        if changes == {"kind": "other"}:
            changes = {"kind": "permission" if basis(here).word == "consent" else "consent"}
            # A rulebook of the first form does not tell permissions from consents.
            expected = code if here.exchange.standing(here.exchange.clock()).rulebook.form > 1 else None
        if "wrd" not in changes:
            changes = {"wrd": {HEALTH: {**carrier(here), **changes}}}
        refused = await brought(here, handover(here, **changes))

        assert refused == expected
        with here.exchange.engine.connect() as connection:
            for table in (arrival_words, inbox):
                assert (connection.execute(select(table)).all() == []) is (refused is not None)


async def test_delivery_of_the_former_version_is_still_taken(kotka: InProcess) -> None:
    centre = str(kotka.place.network.parties["centre"].subsystem)
    word = {
        "id": "c-1", "version": 1, "status": "active", "kind": basis(kotka).word.value, "given_by": {"kind": "self"},
        "purposes": [PURPOSE], "recipients": ["municipality"], "categories": [HEALTH], "language": "fi",
        "recorded_by": centre, "recorded_at": "2026-01-01T00:00:00+00:00",
    }  # fmt: skip
    document = handover(kotka, consents=[word])
    del document["wrd"]

    assert await brought(kotka, document) is None


def told(here: InProcess, **form: Any) -> tuple[ConsentRecord, dict[str, dict[str, str]]]:
    """A word that carries health needs to the municipality, and what travels of it."""
    now = here.exchange.clock()
    standing = here.exchange.standing(now)
    parties = here.place.network.parties
    record = ConsentRecord.from_form(
        {
            "kind": basis(here).word.value, "purposes": [PURPOSE], "recipients": ["municipality", "county"],
            "categories": [HEALTH, "housing"], "language": "ti", "evidence": {"form": "SUOSTUMUS-3"},
            "given_by": {"kind": "self"},
        } | form,
        Stamp("c-1", "s-1", str(parties["centre"].subsystem), now - timedelta(days=1)),
    )  # fmt: skip
    facts = SubjectFacts(
        permit_ground=next(iter(sorted(basis(here).permits)), "asylum-granted"), permit_granted=True, age=30,
        municipality="285", county="kymenlaakso", plan_in_force=True,
    )  # fmt: skip
    case = Case(
        provider=parties["centre"].subsystem, requester=parties["kotka"].subsystem, purpose=PURPOSE,
        categories=frozenset({HEALTH}), at=now, facts=facts, consents=(record,), mode="handover",
    )  # fmt: skip
    decision = decide_between(standing.registry, standing.rulebook, case)
    return record, carrying.carriers(decision, standing.rulebook, [record])


async def test_nothing_more_of_a_word_travels_than_what_carries(kotka: InProcess) -> None:
    record, travels = told(kotka)

    assert travels == {
        HEALTH: {
            "kind": record.kind,
            "digest": carrying.digest_of(record),
            "day": legal_day(record.recorded_at).isoformat(),
            "giver": "self",
            "section": carrying.section_of(basis(kotka)),
        }
    }
    assert await brought(kotka, handover(kotka, wrd=travels)) is None, "what we send, we take"
    text = orjson.dumps(travels).decode()
    assert not [hidden for hidden in ("ti", "SUOSTUMUS-3", "county", "housing", "c-1", "s-1") if f'"{hidden}"' in text]
    assert carrying.read({"wrd": travels}, datetime.now(UTC))[0].to_json() == travels[HEALTH]


async def test_digest_is_of_one_version_and_says_nothing_that_can_be_guessed(kotka: InProcess) -> None:
    record, _ = told(kotka)

    assert carrying.digest_of(record) == carrying.digest_of(ConsentRecord.from_dict(record.to_dict()))
    for other in (replace(record, version=2), replace(record, id="c-2"), replace(record, subject="s-2")):
        assert carrying.digest_of(other) != carrying.digest_of(record)


async def test_sender_uses_the_highest_version_that_every_node_of_the_recipient_takes(kotka: InProcess) -> None:
    registry = kotka.exchange.standing(kotka.exchange.clock()).registry
    member = kotka.party.member

    def with_(*versions: tuple[int, ...]) -> int:
        (ours,) = registry.nodes_of(member)
        others = tuple(node for node in registry.content.nodes if node.id != ours.id)
        nodes = tuple(
            replace(ours, id=f"n-{number}", pins=frozenset(), messages=taken) for number, taken in enumerate(versions)
        )
        content = replace(registry.content, nodes=(*others, *nodes))
        return carrying.version_for(Registry(content, version=9, expires=registry.expires), member)

    assert carrying.version_for(registry, member) == 3
    assert with_((1,)) == 1
    assert with_((1, 2)) == 2
    assert with_((2, 3)) == 3
    assert with_((2, 3), (1, 2)) == 2
    assert with_((3, 4)) == 3
    assert with_((1, 2), (1,)) == 1
    assert with_((7,)) == 1
    assert with_() == 1


@pytest.mark.parametrize(
    ("needs", "carried"), [((), True), (("age",), True), (("consent",), False), (("age", "permission"), False)]
)
def test_word_that_is_not_stated_is_not_there(needs: tuple[str, ...], carried: bool) -> None:
    permitted = PermittedCategory(HEALTH, "b", possible=bool(needs), needs=needs)

    assert carrying.is_carried(permitted) is carried
