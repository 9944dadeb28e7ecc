"""How much one asker may ask, and that persons of whom nothing is given count most."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import orjson
import pytest

from gateway.exchange import rates
from gateway.exchange.rates import HOUR, MINUTE, Asker, RateLimits, Rates
from gateway.wire.problems import ProblemError
from schemas.identifiers import MIGRI_CUSTOMER
from tests.gateway.exchange.inprocess import Place, node, problem_of
from tests.gateway.web.faces import Faces, faces

ANNA, BERT = Asker("system", "anna", "p"), Asker("system", "bert", "p")


@dataclass
class Clock:
    at: float = 0.0

    def __call__(self) -> float:
        return self.at


def refused(counts: Rates, asker: Asker) -> int:
    """After how many seconds it may ask again."""
    with pytest.raises(ProblemError) as error:
        counts.spend(asker)
    assert error.value.code == "rate-limited"
    assert error.value.retry_after is not None
    return error.value.retry_after


def test_a_minutes_questions_are_for_one_user_and_purpose_and_come_back_evenly() -> None:
    clock = Clock()
    counts = Rates(RateLimits(user_per_minute=2), clock)
    for _ in range(2):
        counts.spend(ANNA)

    assert refused(counts, ANNA) == 30
    counts.spend(BERT)
    counts.spend(Asker("system", "anna", "another purpose"))
    counts.spend(Asker("other system", "anna", "p"))
    clock.at = MINUTE / 2
    counts.spend(ANNA)
    assert refused(counts, ANNA) == 30


def test_a_caller_that_names_ever_new_users_has_a_count_of_its_own() -> None:
    counts = Rates(RateLimits(user_per_minute=10, caller_per_minute=3), Clock())
    for number in range(3):
        counts.spend(Asker("system", f"user-{number}", "p"))

    assert refused(counts, Asker("system", "user-4", "p")) == 20
    assert refused(counts, Asker("system", None, "p")) == 20
    counts.spend(Asker("other system", None, "p"))


def test_persons_asked_about_in_vain_are_counted_each_once_whatever_the_purpose() -> None:
    clock = Clock()
    counts = Rates(RateLimits(user_in_vain_per_hour=2), clock)
    for _ in range(5):
        counts.in_vain(ANNA, "person-1")
    counts.spend(ANNA)
    clock.at = 60.0
    counts.in_vain(ANNA, "person-2")

    assert refused(counts, ANNA) == HOUR - 60
    assert refused(counts, Asker("system", "anna", "another purpose")) == HOUR - 60
    counts.spend(BERT)
    clock.at = HOUR
    counts.spend(ANNA)


def test_an_emergency_is_never_refused() -> None:
    counts = Rates(RateLimits(user_per_minute=1, user_in_vain_per_hour=1), Clock())
    counts.spend(ANNA)
    counts.in_vain(ANNA, "person")

    counts.spend(ANNA, is_emergency=True)
    refused(counts, ANNA)


def test_counts_do_not_grow_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rates, "_MOST_ASKERS", 10)
    counts = Rates(RateLimits(5, 5, 5, 5), Clock())
    for number in range(100):
        asker = Asker("system", f"user-{number}", "p")
        counts.spend(Asker(f"caller-{number}", f"user-{number}", "p"))
        counts.in_vain(asker, f"person-{number}")

    assert len(counts._buckets) == len(counts._persons) == 10
    assert max(len(persons.seen) for persons in counts._persons.values()) <= 5


@pytest.fixture
async def here(place: Place, database_url: str) -> AsyncIterator[Faces]:
    async with node(place, database_url) as found, faces(found) as both:
        yield both


async def test_a_peer_that_tries_out_persons_is_refused_before_the_source_is_asked(here: Faces) -> None:
    provider, register = here.here, here.here.register
    provider.exchange.rates = Rates(RateLimits(caller_in_vain_per_hour=2))
    for person in ("7000001", "7000002"):
        answer = await provider.ask(person, categories=frozenset({"health-needs"}))
        assert answer.status in {403, 404}, answer.body
    asked = list(register.fetched)

    answer = await provider.ask("7000003")

    assert (answer.status, problem_of(answer)) == (429, "rate-limited")
    assert orjson.loads(answer.body)["retry_after"] > 3000
    assert answer.message is not None, "signed, as whoever sent the message is known"
    assert register.fetched == asked
    assert provider.entries()[-1].reason == "rate-limited"
    urgent = {"subject": {"system": MIGRI_CUSTOMER, "value": "7000003"}, "emergency": {"justification": "unconscious"}}
    assert problem_of(await provider.ask("", body=urgent)) != "rate-limited"


async def test_a_client_that_asks_too_much_is_told_when_to_come_again(here: Faces) -> None:
    here.here.exchange.rates = Rates(RateLimits(user_per_minute=1))
    question = {
        "service": "FI-DEMO/MUN/9999999-9/nobody/nothing", "subject": {"system": MIGRI_CUSTOMER, "value": "7000001"},
        "purpose": "service-need-lookup", "categories": ["identity"], "user": "anna",
    }  # fmt: skip

    first = await here.clients.call("POST", "/v1/queries", json=question)
    second = await here.clients.call("POST", "/v1/queries", json=question)
    other = await here.clients.call("POST", "/v1/queries", json=question | {"user": "bert"})

    assert [answer.status_code for answer in (first, second, other)] == [404, 429, 404]
    assert second.json()["code"] == "rate-limited"
    assert 0 < int(second.headers["retry-after"]) <= 60
    assert here.clients.errors == []
