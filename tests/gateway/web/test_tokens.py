"""Access tokens and the clock: how long they are good, and that an assertion is taken once, by whichever replica."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from sqlalchemy import Engine

from audit.log.log import Log
from audit.tree.checkpoint import LogSigner
from gateway.storage.replay import Replays
from gateway.web.tokens import ACCESS_LIFETIME, ClientKeys, Tokens
from gateway.wire.problems import ProblemError
from tests.databases import migrate
from tests.properties import examples

NOW = datetime(2026, 3, 2, 12, 0, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
KEY = ec.generate_private_key(ec.SECP256R1())
NODE_KEY = Ed25519PrivateKey.generate()
ISSUER = "urn:yhdyspinta:node:kotka-1"


@pytest.fixture
def log(engine: Engine) -> Iterator[Log]:
    """A log on an empty database."""
    migrate(engine)
    signer = LogSigner(Ed25519PrivateKey.generate(), "test/log")
    made = Log(engine, signer, origin="test/log", clock=lambda: NOW)
    made.start()
    yield made
    made.close()


@pytest.fixture
def keys(tmp_path: Path) -> ClientKeys:
    """The key set of the one client."""
    path = tmp_path / "client.jwks"
    path.write_text(json.dumps({"keys": [json.loads(jwt.algorithms.ECAlgorithm.to_jwk(KEY.public_key()))]}))
    return ClientKeys.read("register", path)


def replica(log: Log, keys: ClientKeys | None) -> Tokens:
    """One replica of the node: its own memory, the shared database and keys."""
    return Tokens("kotka-1", NODE_KEY, [keys] if keys else [], log=log, replays=Replays())


def assertion(at: datetime = NOW, jti: str = "a-unique-id", lifetime: float = 60) -> str:
    seconds = int(at.timestamp())
    claims = {"iss": "register", "sub": "register", "aud": ISSUER, "jti": jti, "iat": seconds}
    return jwt.encode(claims | {"exp": int(seconds + lifetime)}, KEY, algorithm="ES256")


async def refused(call: Any) -> str:
    """The code of the refusal that this call, of a plain function or of a coroutine, ends in."""

    async def called() -> None:
        result = call()
        if asyncio.iscoroutine(result):
            await result

    with pytest.raises(ProblemError) as problem:
        await called()
    return problem.value.code


async def test_a_token_is_good_for_five_minutes_to_the_second(log: Log, keys: ClientKeys) -> None:
    tokens = replica(log, keys)

    granted = await tokens.grant(assertion(), None, NOW)

    assert granted.expires_in == ACCESS_LIFETIME.total_seconds() == 300
    assert tokens.client_of(granted.text, None, NOW + ACCESS_LIFETIME - SECOND) == "register"
    assert await refused(lambda: tokens.client_of(granted.text, None, NOW + ACCESS_LIFETIME)) == "token-expired"


async def test_another_replica_takes_no_assertion_that_was_taken(log: Log, keys: ClientKeys) -> None:
    first, second = replica(log, keys), replica(log, keys)

    granted = await first.grant(assertion(), None, NOW)

    assert await refused(lambda: second.grant(assertion(), None, NOW + SECOND)) == "assertion-refused"
    assert second.client_of(granted.text, None, NOW) == "register", "but it knows the token"


async def test_of_many_uses_at_once_one_is_taken(log: Log, keys: ClientKeys) -> None:
    replicas = [replica(log, keys) for _ in range(4)]

    outcomes = await asyncio.gather(
        *(one.grant(assertion(), None, NOW) for one in replicas for _ in range(3)), return_exceptions=True
    )

    assert sum(not isinstance(one, BaseException) for one in outcomes) == 1
    assert {one.code for one in outcomes if isinstance(one, ProblemError)} == {"assertion-refused"}


@pytest.mark.parametrize(
    ("after", "taken"),
    [(-6, False), (-5, True), (0, True), (64, True), (65, False)],
    ids=["six seconds early", "five seconds early", "at once", "within the tolerance", "too late"],
)
async def test_an_assertion_counts_within_its_lifetime_and_five_seconds(
    log: Log, keys: ClientKeys, after: int, taken: bool
) -> None:
    tokens = replica(log, keys)
    now = NOW + after * SECOND

    if taken:
        assert (await tokens.grant(assertion(), None, now)).text
    else:
        assert await refused(lambda: tokens.grant(assertion(), None, now)) == "assertion-refused"


async def test_a_clock_that_was_set_back_opens_nothing(log: Log, keys: ClientKeys) -> None:
    tokens = replica(log, keys)
    late = NOW + timedelta(minutes=50)
    await tokens.grant(assertion(late), None, late)

    assert await refused(lambda: tokens.grant(assertion(late), None, late - 4 * SECOND)) == "assertion-refused"


async def test_a_bound_token_needs_its_certificate(log: Log, keys: ClientKeys) -> None:
    tokens = replica(log, keys)

    granted = await tokens.grant(assertion(), "the-pin", NOW)

    assert tokens.client_of(granted.text, "the-pin", NOW) == "register"
    for pin in (None, "another"):
        assert await refused(lambda: tokens.client_of(granted.text, pin, NOW)) == "token-refused"  # noqa: B023


async def test_the_token_of_a_client_whose_keys_were_removed_is_refused(log: Log, keys: ClientKeys) -> None:
    tokens = replica(log, keys)
    granted = await tokens.grant(assertion(), None, NOW)

    tokens.register([])

    assert await refused(lambda: tokens.client_of(granted.text, None, NOW)) == "token-refused"
    assert await refused(lambda: tokens.grant(assertion(jti="another-id"), None, NOW)) == "assertion-refused"


async def test_the_token_of_another_node_is_refused(log: Log, keys: ClientKeys) -> None:
    other = Tokens("kouvola-1", NODE_KEY, [keys], log=log, replays=Replays())
    granted = await replica(log, keys).grant(assertion(), None, NOW)

    assert await refused(lambda: other.client_of(granted.text, None, NOW)) == "token-refused"


@examples(100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.one_of(st.text(max_size=80), st.from_regex(r"[A-Za-z0-9_-]{0,60}(\.[A-Za-z0-9_-]{0,60}){2}")))
def test_no_text_makes_a_token_be_refused_in_any_other_way(text: str) -> None:
    tokens = Tokens("kotka-1", NODE_KEY, [], log=None, replays=Replays())  # type: ignore[arg-type]

    with pytest.raises(ProblemError) as problem:
        tokens.client_of(text, None, NOW)

    assert problem.value.code == "token-refused"
