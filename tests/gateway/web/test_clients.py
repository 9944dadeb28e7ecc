"""The organisation's own systems at the client face of a running node: who they are, and what they may do."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import select

from gateway.demo.network import Network
from gateway.keys.certificates import to_der
from gateway.storage.tables import handovers, inbox, replays
from gateway.web.tokens import ASSERTION_TYPE, ClientKeys, KeySetError
from gateway.wire.signing import thumbprint
from tests.gateway.running import Running, running
from tests.waiting import until

pytestmark = pytest.mark.xdist_group("clients")
ISSUER = "urn:yhdyspinta:node:kotka.demo"
P256 = ec.generate_private_key(ec.SECP256R1())
ED25519 = Ed25519PrivateKey.generate()
STRANGER = ec.generate_private_key(ec.SECP256R1())
RSA = rsa.generate_private_key(65537, 2048)
NARROW = ec.generate_private_key(ec.SECP256R1())
EVERYTHING = {"services": ["*"], "purposes": ["*"], "categories": ["*"], "actions": ["query", "inbox"]}
RIGHTS: dict[str, dict[str, list[str]]] = {
    "no-action": EVERYTHING | {"actions": ["inbox"]},
    "other-service": EVERYTHING | {"services": ["FI-DEMO/GOV/9000001-1/vastaanotto/muu"]},
    "other-purpose": EVERYTHING | {"purposes": ["municipal-placement"]},
    "one-category": EVERYTHING | {"categories": ["identity"]},
}


def jwk(key: Any, **more: str) -> dict[str, Any]:
    algorithm = jwt.algorithms.OKPAlgorithm if isinstance(key, Ed25519PrivateKey) else jwt.algorithms.ECAlgorithm
    return {**json.loads(algorithm.to_jwk(key.public_key())), **more}


def prepare(network: Network) -> None:
    folder = network.parties["kotka"].folder
    sets = {"both": [jwk(P256, kid="a"), jwk(ED25519, kid="b")], "narrow": [jwk(NARROW)]}
    for name, keys in sets.items():
        (folder / f"{name}.jwks").write_text(json.dumps({"keys": keys}))
    lines = ['jwks = "both.jwks"']  # of the client that the settings end with, which has a certificate too
    for name, rights in RIGHTS.items():
        lines += ["", "[[clients]]", f'name = "{name}"', 'jwks = "narrow.jwks"']
        lines += [f'subsystem = "{network.parties["kotka"].subsystem}"', "[clients.rights]"]
        lines += [f"{kind} = {json.dumps(values)}" for kind, values in rights.items()]
    config = network.parties["kotka"].config
    config.write_text(config.read_text() + "\n".join(lines) + "\n")


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A centre and a municipality; the municipality's node knows systems with keys."""
    with running(tmp_path_factory.mktemp("clients"), prepare=prepare) as found:
        yield found


def assertion(key: Any = P256, alg: str = "ES256", head: dict[str, Any] | None = None, **changes: Any) -> str:
    """An assertion that is good, but for the changes; a change to `...` leaves the claim out."""
    now = int(time.time())
    claims = {
        "iss": "kotka-system", "sub": "kotka-system", "aud": ISSUER, "iat": now, "exp": now + 60,
        "jti": str(uuid.uuid4()),
    } | changes  # fmt: skip
    claims = {name: value for name, value in claims.items() if value is not ...}
    return jwt.encode(claims, key, algorithm=alg, headers={"kid": "a"} if head is None else head)


def form(signed: str, **changes: str) -> dict[str, str]:
    return {
        "grant_type": "client_credentials", "client_assertion_type": ASSERTION_TYPE, "client_assertion": signed,
    } | changes  # fmt: skip


async def get_token(nodes: Running, signed: str, *, certificate: bool = False) -> dict[str, Any]:
    async with (
        nodes.client("kotka", certificate=certificate) as session,
        session.post("/oauth/token", data=form(signed)) as answer,
    ):
        document: dict[str, Any] = await answer.json()
        return document | {"status": answer.status}


async def ask(
    nodes: Running, token: str | None, *, certificate: bool = False, **changes: Any
) -> tuple[int, str | None]:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with (
        nodes.client("kotka", certificate=certificate) as session,
        session.post("/v1/queries", json=nodes.question(**changes), headers=headers) as answer,
    ):
        return answer.status, (await answer.json()).get("code")


@pytest.mark.parametrize(
    ("key", "alg", "kid"), [(P256, "ES256", "a"), (ED25519, "EdDSA", "b")], ids=["p256", "ed25519"]
)
async def test_a_system_gets_a_token_with_its_key_and_asks_with_it(
    nodes: Running, key: Any, alg: str, kid: str
) -> None:
    granted = await get_token(nodes, assertion(key, alg, {"kid": kid}))

    assert granted["status"] == 200
    assert granted["token_type"] == "Bearer"
    assert granted["expires_in"] == 300
    assert await ask(nodes, granted["access_token"]) == (200, None)
    entry = nodes.entries("kotka", type="query", outcome="success")[-1]
    assert entry.agents.client == "kotka-system"


async def test_a_token_got_with_a_certificate_is_good_with_that_certificate_only(nodes: Running) -> None:
    granted = await get_token(nodes, assertion(), certificate=True)

    claims = jwt.decode(granted["access_token"], options={"verify_signature": False})
    shown = to_der((nodes.party("kotka").folder / "client.pem").read_bytes())
    assert claims["cnf"] == {"x5t#S256": thumbprint(shown)}
    assert await ask(nodes, granted["access_token"], certificate=True) == (200, None)
    assert await ask(nodes, granted["access_token"], certificate=False) == (401, "token-refused")


async def test_a_certificate_and_the_token_of_another_client_do_not_go_together(nodes: Running) -> None:
    granted = await get_token(nodes, assertion(NARROW, head={}, iss="one-category", sub="one-category"))

    assert granted["status"] == 200
    assert await ask(nodes, granted["access_token"], certificate=True) == (401, "token-refused")


async def test_an_assertion_is_taken_once_after_a_restart_too(nodes: Running) -> None:
    signed = assertion()

    assert (await get_token(nodes, signed))["status"] == 200
    again = await get_token(nodes, signed)
    assert (again["status"], again["error"], again["code"]) == (401, "invalid_client", "assertion-refused")
    # What decides is in the database, under a name that no message can have.
    assert any(len(row.message_id) == 64 for row in nodes.rows("kotka", select(replays)))
    await nodes.restart("kotka")
    assert (await get_token(nodes, signed))["code"] == "assertion-refused"


BAD: dict[str, Any] = {
    "stranger's key": lambda: assertion(STRANGER),
    "another client's key": lambda: assertion(NARROW),
    "unknown client": lambda: assertion(iss="nobody", sub="nobody"),
    "unknown kid": lambda: assertion(head={"kid": "z"}),
    "no kid where there are two keys": lambda: assertion(head={}),
    "kid of the other key": lambda: assertion(head={"kid": "b"}),
    "RS256": lambda: assertion(RSA, "RS256"),
    "HS256 with the public key": lambda: assertion(b"k" * 32, "HS256"),
    "alg none": lambda: assertion(None, "none"),
    "embedded jwk": lambda: assertion(STRANGER, head={"kid": "a", "jwk": jwk(STRANGER)}),
    "jku": lambda: assertion(head={"kid": "a", "jku": "https://example.org/keys"}),
    "another audience": lambda: assertion(aud="https://example.org/token"),
    "two audiences": lambda: assertion(aud=[ISSUER, "https://example.org"]),
    "no audience": lambda: assertion(aud=...),
    "iss of another": lambda: assertion(iss="one-category"),
    "no jti": lambda: assertion(jti=...),
    "short jti": lambda: assertion(jti="1"),
    "no exp": lambda: assertion(exp=...),
    "past": lambda: assertion(exp=int(time.time()) - 6),
    "too long": lambda: assertion(exp=int(time.time()) + 3600),
    "from the future": lambda: assertion(iat=int(time.time()) + 60),
    "not yet": lambda: assertion(nbf=int(time.time()) + 60),
    "exp as a text": lambda: assertion(exp=str(int(time.time()) + 60)),
    "no JWT": lambda: "abc",
    "9000 characters": lambda: "a" * 9000,
}


@pytest.mark.parametrize("name", BAD)
async def test_a_bad_assertion_gets_no_token(nodes: Running, name: str) -> None:
    refused = await get_token(nodes, BAD[name]())

    assert refused["status"] == 401
    assert refused["error"] == "invalid_client"
    assert refused["code"] == "assertion-refused"
    assert "access_token" not in refused


@pytest.mark.parametrize(
    ("changes", "status", "error"),
    [
        ({"grant_type": "authorization_code"}, 400, "unsupported_grant_type"),
        ({"client_assertion_type": "urn:x"}, 400, "invalid_request"),
        ({"client_secret": "s3cret"}, 401, "invalid_client"),
    ],
    ids=["another grant", "another kind of assertion", "a password"],
)
async def test_the_token_endpoint_serves_one_grant_only(
    nodes: Running, changes: dict[str, str], status: int, error: str
) -> None:
    async with (
        nodes.client("kotka", certificate=False) as session,
        session.post("/oauth/token", data=form(assertion(), **changes)) as answer,
    ):
        assert answer.status == status
        assert (await answer.json())["error"] == error
        assert answer.headers["Cache-Control"] == "no-store"


async def test_a_form_with_a_parameter_twice_or_that_is_json_is_refused(nodes: Running) -> None:
    async with nodes.client("kotka", certificate=False) as session:
        pairs = [*form(assertion()).items(), ("grant_type", "client_credentials")]
        async with session.post("/oauth/token", data=pairs) as answer:
            assert (answer.status, (await answer.json())["code"]) == (400, "invalid-request")
        async with session.post("/oauth/token", json=form(assertion())) as answer:
            assert (answer.status, (await answer.json())["code"]) == (415, "unsupported-media-type")


async def test_a_token_that_the_node_did_not_give_opens_nothing(nodes: Running) -> None:
    now = int(time.time())
    claims = {"iss": ISSUER, "aud": ISSUER, "sub": "kotka-system", "iat": now, "exp": now + 300}
    forged = jwt.encode(claims, Ed25519PrivateKey.generate(), algorithm="EdDSA", headers={"typ": "at+jwt"})
    good = (await get_token(nodes, assertion()))["access_token"]
    head, body, signature = good.split(".")
    unsigned = jwt.encode(claims, None, algorithm="none", headers={"typ": "at+jwt"})

    for token in (forged, unsigned, f"{head}.{body}.", f"{head}.{body}.{signature[::-1]}", assertion(), "x"):
        assert await ask(nodes, token) == (401, "token-refused")
    assert await ask(nodes, None) == (401, "not-authenticated")


@pytest.mark.parametrize("client", RIGHTS)
async def test_a_client_gets_what_its_rights_give_and_an_attempt_at_more_is_on_record(
    nodes: Running, client: str
) -> None:
    token = (await get_token(nodes, assertion(NARROW, head={}, iss=client, sub=client)))["access_token"]
    asked = len(nodes.entries("centre"))

    assert await ask(nodes, token) == (403, "client-not-permitted")

    entry = nodes.entries("kotka", outcome="refused", reason="client-not-permitted")[-1]
    assert (entry.type, entry.agents.client) == ("query", client)
    assert len(nodes.entries("centre")) == asked, "nothing left the node"


async def test_within_its_rights_a_narrow_client_is_served(nodes: Running) -> None:
    name = {"iss": "one-category", "sub": "one-category"}
    token = (await get_token(nodes, assertion(NARROW, head={}, **name)))["access_token"]

    assert await ask(nodes, token, categories=["identity"]) == (200, None)


async def test_what_a_stranger_sends_fills_no_audit_log(nodes: Running) -> None:
    before = len(nodes.entries("kotka"))

    for _ in range(3):
        assert await ask(nodes, None) == (401, "not-authenticated")

    assert len(nodes.entries("kotka")) == before
    log = nodes.party("kotka").folder / "node.log"
    await until(lambda: "not-authenticated" in log.read_text())


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ([], "at least one key"),
        ([{"kty": "oct", "k": "c2VjcmV0"}], "is a secret"),
        ([json.loads(jwt.algorithms.ECAlgorithm.to_jwk(P256))], "is a secret"),
        ([jwk(P256, kid="a"), jwk(ED25519, kid="a")], "same kid"),
        ([json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(RSA.public_key()))], "neither a P-256 nor an Ed25519"),
        ([{"kty": "EC"}], "cannot be read"),
        (["text"], "not a JSON object"),
    ],
    ids=["empty", "symmetric", "private", "same kid twice", "RSA", "broken", "no object"],
)
def test_a_key_set_that_cannot_serve_is_refused_when_the_node_starts(
    tmp_path: Path, keys: list[Any], said: str
) -> None:
    path = tmp_path / "client.jwks"
    path.write_text(json.dumps({"keys": keys}))

    with pytest.raises(KeySetError, match=said):
        ClientKeys.read("system", path)


def handing_over(network: Network) -> None:
    """A narrow client at the centre, one at the municipality, and nothing else changed."""
    for party, name, rights in (
        ("centre", "other-recipient", {"services": ["FI-DEMO/MUN/9000003-8/kotoutuminen/muu"]}),
        ("centre", "other-purpose", {"purposes": ["service-need-lookup"]}),
        ("centre", "one-category", {"categories": ["identity"]}),
        ("kotka", "sees-little", {"categories": ["identity"]}),
        ("kotka", "asks-only", {"actions": ["query"]}),
    ):
        folder = network.parties[party].folder
        (folder / "narrow.jwks").write_text(json.dumps({"keys": [jwk(NARROW)]}))
        lines = ["", "[[clients]]", f'name = "{name}"', 'jwks = "narrow.jwks"']
        lines += [f'subsystem = "{network.parties[party].subsystem}"', "[clients.rights]"]
        lines += [f"{kind} = {json.dumps(values)}" for kind, values in rights.items()]
        config = network.parties[party].config
        config.write_text(config.read_text() + "\n".join(lines) + "\n")


@pytest.fixture(scope="module")
def handing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Nodes with clients that may hand over, or open, less than there is."""
    with running(tmp_path_factory.mktemp("rights"), prepare=handing_over) as found:
        yield found


async def call_as(
    nodes: Running, party: str, client: str, method: str, path: str, **options: Any
) -> tuple[int, dict[str, Any]]:
    """Call as one of the narrow clients."""
    audience = f"urn:yhdyspinta:node:{nodes.party(party).node}"
    signed = assertion(NARROW, head={}, iss=client, sub=client, aud=audience)
    async with nodes.client(party, certificate=False) as session:
        async with session.post("/oauth/token", data=form(signed)) as granted:
            token = (await granted.json())["access_token"]
        headers = {"Authorization": f"Bearer {token}", **options.pop("headers", {})}
        async with session.request(method, path, headers=headers, **options) as answer:
            return answer.status, await answer.json()


def record_of(nodes: Running) -> bytes:
    rows = nodes.export.read_bytes().split(b"\r\n")
    return b"\r\n".join([rows[0], rows[2], b""])


HAND_OVER = "/v1/handovers?flow=F1&adapter=reception-centre-csv"


@pytest.mark.parametrize("client", ["other-recipient", "other-purpose", "one-category"])
async def test_a_handover_beyond_the_clients_rights_is_refused_before_it_is_planned(
    handing: Running, client: str
) -> None:
    kind = {"Content-Type": "text/csv"}
    status, document = await call_as(
        handing, "centre", client, "POST", HAND_OVER, data=record_of(handing), headers=kind
    )

    assert (status, document["code"]) == (403, "client-not-permitted")
    assert handing.rows("centre", select(handovers.c.id).where(handovers.c.client == client)) == []
    entry = handing.entries("centre", outcome="refused", reason="client-not-permitted")[-1]
    assert (entry.type, entry.agents.client) == ("handover", client)


async def test_an_arrival_beyond_the_clients_rights_is_neither_opened_nor_accepted(handing: Running) -> None:
    async with handing.client("centre") as session:
        kind = {"Content-Type": "text/csv"}
        async with session.post(HAND_OVER, data=record_of(handing), headers=kind) as answer:
            assert answer.status == 201
    (row,) = await until(lambda: handing.rows("kotka", select(inbox)))
    opened = len(handing.entries("kotka", type="receipt", outcome="success"))
    contact = {"contact": {"name": "Joku"}}

    seen = await call_as(handing, "kotka", "sees-little", "GET", "/v1/inbox")
    read = await call_as(handing, "kotka", "sees-little", "GET", f"/v1/inbox/{row.id}")
    took = await call_as(handing, "kotka", "sees-little", "POST", f"/v1/inbox/{row.id}/acceptance", json=contact)
    listed = await call_as(handing, "kotka", "asks-only", "GET", "/v1/inbox")

    assert [one["id"] for one in seen[1]["items"]] == [row.id]
    assert "content" not in seen[1]["items"][0]
    for status, document in (read, took, listed):
        assert (status, document["code"]) == (403, "client-not-permitted")
    (after,) = handing.rows("kotka", select(inbox.c.state))
    assert after.state == "received"
    assert len(handing.entries("kotka", type="receipt", outcome="success")) == opened
    refused = [one.type for one in handing.entries("kotka", outcome="refused", reason="client-not-permitted")]
    assert refused == ["receipt"] * 3


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/consents"),
        ("POST", "/v1/consents/search"),
        ("GET", "/v1/consents/c-1"),
        ("POST", "/v1/consents/c-1/withdrawal"),
        ("GET", "/v1/reports"),
        ("POST", "/v1/reports/c-1/answer"),
        ("POST", "/v1/reports/c-1/placement"),
        ("POST", "/v1/decisions"),
        ("GET", "/v1/handovers"),
        ("GET", "/v1/handovers/h-1"),
        ("POST", "/v1/handovers"),
    ],
)
async def test_each_action_needs_its_right(handing: Running, method: str, path: str) -> None:
    status, document = await call_as(handing, "kotka", "asks-only", method, path, json={} if method == "POST" else None)

    assert (status, document["code"]) == (403, "client-not-permitted")
    assert handing.entries("kotka")[-1].agents.client == "asks-only"
