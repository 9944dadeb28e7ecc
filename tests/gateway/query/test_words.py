"""By which words an answer goes: told to whoever takes that, and believed only as far as our own rulebook lets it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from sqlalchemy import select

from consent.words.consents import ConsentRecord
from gateway.exchange.messaging import Message, Outgoing, prepare
from gateway.exchange.opening import Answer
from gateway.handover.carrying import Answering, answered_by, digest_of, keep, read, section_of
from gateway.query.words import judged
from gateway.registry.read.registry import Registry
from gateway.registry.read.standing import Standing
from gateway.storage.engine import writer
from gateway.storage.tables import arrival_words
from gateway.wire.decided import DecisionSummary, body_digest
from gateway.wire.identifiers import ServiceId, SubsystemId
from gateway.wire.message import Checkpoint, ResponseClaims
from gateway.wire.problems import ProblemError
from gateway.wire.strict import split
from schemas.projection import project
from tests.gateway.exchange.inprocess import InProcess, Place, node

HEALTH, PURPOSE = "health-needs", "service-need-lookup"
GIVEN = frozenset({"identity", HEALTH})
WORD = {
    "kind": "consent",
    "digest": body_digest(b"a word"),
    "day": "2026-03-01",
    "giver": "self",
    "section": "",
}


def taking(party: str, *versions: int) -> Any:
    """The registry, in which one party's nodes take these versions."""

    def changed(standing: Standing) -> Standing:
        registry = standing.registry
        nodes = tuple(
            replace(listed, messages=versions) if listed.id.startswith(party) else listed
            for listed in registry.content.nodes
        )
        content = replace(registry.content, nodes=nodes)
        return replace(standing, registry=Registry(content, version=registry.version, expires=registry.expires))

    return changed


def claims_of(answer: Answer) -> dict[str, Any]:
    claims: dict[str, Any] = split(answer.message, 1 << 16).claims
    return claims


async def words_stored(here: InProcess, person: str) -> list[ConsentRecord]:
    named = here.exchange.looked_for(here.party.subsystem, "urn:yhdyspinta:id:migri-customer", person)
    return list((await here.exchange.people.recall(named)).words)


async def test_answer_states_the_word_that_carries_a_category_and_none_for_the_others(
    place: Place, database_url: str
) -> None:
    async with node(place, database_url) as here:
        await here.consent("W1")
        answer = await here.ask("W1")

        (record,) = await words_stored(here, "W1")
    assert set(claims_of(answer)["dec"]["per"]) == {"identity", HEALTH}
    stated = claims_of(answer)["wrd"]
    assert stated.keys() == {HEALTH}
    assert stated[HEALTH]["digest"] == digest_of(record)
    assert read({"wrd": stated}, datetime.now(UTC))[0].giver == "self"


@pytest.mark.parametrize("versions", [(1,), (1, 2)])
async def test_peer_of_a_former_version_is_answered_as_before(
    place: Place, database_url: str, versions: tuple[int, ...]
) -> None:
    async with node(place, database_url, standing=taking("kotka", *versions)) as here:
        await here.consent("W2")
        answer = await here.ask("W2")

    assert answer.status == 200
    assert "wrd" not in claims_of(answer)


@asynccontextmanager
async def kotka(place: Place, database: str, *versions: int) -> AsyncIterator[InProcess]:
    async with node(place, database, of="kotka", standing=taking("centre", *versions)) as here:
        yield here


def asked(here: InProcess) -> Outgoing:
    now = here.exchange.clock()
    standing = here.exchange.standing(now)
    service = standing.registry.service(here.service)
    assert service is not None
    message = Message(
        consumer=here.party.subsystem,
        service=service,
        purpose=PURPOSE,
        categories=frozenset({"identity", HEALTH}),
        body=b"{}",
        case=None,
        user=None,
    )
    return prepare(here.exchange, standing, message, now)


def answered(outgoing: Outgoing, words: Any, *permitted: str) -> ResponseClaims:
    return ResponseClaims(
        issuer=outgoing.service.id,
        audience=outgoing.claims.issuer,
        issued_at=outgoing.claims.issued_at,
        request=body_digest(b""),
        status=200,
        content_type="application/fhir+json",
        digest=body_digest(b""),
        checkpoint=outgoing.claims.checkpoint,
        decision=DecisionSummary("d", body_digest(b""), frozenset(permitted)),
        words=words,
    )


def section(here: InProcess) -> str:
    """By which provision the network's rulebook lets a consent carry it."""
    standing = here.exchange.standing(here.exchange.clock())
    triple = ("reception-centre", "municipality", PURPOSE)
    (basis,) = standing.rulebook.carriers(triple, HEALTH, here.exchange.clock().date())
    return section_of(basis)


async def test_asker_takes_what_its_own_rulebook_lets_the_word_carry(place: Place, database_url: str) -> None:
    async with kotka(place, database_url, 1, 2, 3) as here:
        outgoing, bundle = asked(here), project(here.register.bundle("W3"), GIVEN).bundle
        words = {HEALTH: {**WORD, "section": section(here)}}

        (carrier,) = judged(None, outgoing, answered(outgoing, words, "identity", HEALTH), bundle).words

        assert carrier.to_json() == words[HEALTH]
        held_back = project(bundle, frozenset({"identity"})).bundle
        assert judged(None, outgoing, answered(outgoing, {}, "identity", HEALTH), held_back).words == ()


@pytest.mark.parametrize(
    ("changes", "permitted"),
    [
        ({"kind": "prohibition"}, ("identity", HEALTH)),
        ({"section": "999/1999 1:1"}, ("identity", HEALTH)),
        ({"giver": "other"}, ("identity", HEALTH)),
        ({"day": "2999-01-01"}, ("identity", HEALTH)),
        ({"digest": "x"}, ("identity", HEALTH)),
        ({"more": "x"}, ("identity", HEALTH)),
        ({}, ("identity",)),  # a word for what is not given
        (None, ("identity", HEALTH)),  # no word for what needs one
    ],
)
async def test_asker_refuses_what_the_stated_words_do_not_carry(
    place: Place, database_url: str, changes: dict[str, str] | None, permitted: tuple[str, ...]
) -> None:
    async with kotka(place, database_url, 1, 2, 3) as here:
        outgoing, bundle = asked(here), project(here.register.bundle("W4"), GIVEN).bundle
        words = {} if changes is None else {HEALTH: {**WORD, "section": section(here)} | changes}

        for stated in [words, None] if changes is None else [words]:
            with pytest.raises(ProblemError) as refused:
                judged(None, outgoing, answered(outgoing, stated, *permitted), bundle)
            assert refused.value.code == "peer-answer-invalid"


@pytest.mark.parametrize(
    "body", [{}, {"entry": []}, {"entry": [1]}, {"entry": [{}]}, {"entry": [{"resource": {"birthDate": "x"}}]}]
)
async def test_signed_answer_that_is_no_record_is_refused_as_such(
    place: Place, database_url: str, body: dict[str, Any]
) -> None:
    async with kotka(place, database_url, 1, 2, 3) as here:
        outgoing = asked(here)
        with pytest.raises(ProblemError) as refused:
            judged(None, outgoing, answered(outgoing, {}, "identity"), body)

    assert (refused.value.code, refused.value.detail) == (
        "peer-answer-invalid", "the other node's signed answer is not a record",
    )  # fmt: skip


async def test_answer_of_a_former_version_is_taken_without_words(place: Place, database_url: str) -> None:
    async with kotka(place, database_url, 1, 2) as here:
        outgoing = asked(here)

        claims = answered(outgoing, None, "identity", HEALTH)
        assert judged(None, outgoing, claims, here.register.bundle("W5")).words == ()


async def test_word_of_an_answer_is_found_by_its_digest_for_the_one_who_answered_only(
    place: Place, database_url: str
) -> None:
    async with kotka(place, database_url, 1, 2, 3) as here:
        stated = read({"wrd": {HEALTH: WORD}}, datetime.now(UTC) + timedelta(days=1))
        with writer(here.exchange.engine).begin() as connection:
            keep(connection, "m-1", stated, Answering("A/B/C/D", "s-1"))
        with here.exchange.engine.connect() as connection:
            assert answered_by(connection, [WORD["digest"]], "A/B/C/D") == ("s-1",)
            assert answered_by(connection, [WORD["digest"]], "A/B/C/E") == ()
            assert answered_by(connection, [], "A/B/C/D") == ()
            (row,) = connection.execute(select(arrival_words)).all()
        assert (row.sender, row.subject, row.digest) == ("A/B/C/D", "s-1", WORD["digest"])


@pytest.mark.parametrize(
    "words", [[], {"Health": {}}, {"identity": []}, {"identity": {"kind": 1}}, {"a": {"k": "x" * 301}}]
)
def test_words_of_another_form_are_refused_at_the_wire(words: Any) -> None:
    subsystem = SubsystemId.parse("FI-DEMO/MUN/9000003-8/kotoutuminen")
    claims = ResponseClaims(
        issuer=ServiceId(subsystem, "palvelutarve"),
        audience=subsystem,
        issued_at=datetime.now(UTC),
        request=body_digest(b""),
        status=200,
        content_type="application/json",
        digest=body_digest(b""),
        checkpoint=Checkpoint("o", 1, b"0" * 32),
        words={HEALTH: WORD},
    )
    assert ResponseClaims.from_claims(orjson.loads(claims.to_json())) == claims

    with pytest.raises(ProblemError) as refused:
        ResponseClaims.from_claims({**orjson.loads(claims.to_json()), "wrd": words})

    assert (refused.value.code, refused.value.pointer) == ("claim-invalid", "/wrd")
