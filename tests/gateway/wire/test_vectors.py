"""The published vectors of the protocol, run against this implementation; `generate.py` beside them makes them."""

from __future__ import annotations

import base64
import importlib.util
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from sqlalchemy import Engine

from audit.log.tables import metadata as audit_metadata
from gateway.keys.certificates import check_signing
from gateway.storage.engine import writer
from gateway.storage.replay import Replays
from gateway.wire.identifiers import IdentifierError, MemberId, ServiceId, SubsystemId
from gateway.wire.problem_table import PROBLEMS
from gateway.wire.problems import ProblemError
from gateway.wire.signing import (
    Sent,
    SigningKey,
    Verifier,
    check_body,
    open_request,
    thumbprint,
    verify_response,
)
from tests.databases import migrate
from tests.gateway.wire.conftest import verify_request

FOLDER = Path(__file__).parents[2] / "vectors" / "protocol"


def read(name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((FOLDER / name).read_text("utf-8"))
    return document


def moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


KEYS = read("keys.json")
ANCHOR = base64.b64decode(KEYS["anchor"])
REQUESTS, RESPONSES, REPLAYS, IDENTIFIERS = (
    read(f"{name}.json") for name in ("requests", "responses", "replays", "identifiers")
)


def key_of(one: dict[str, Any]) -> SigningKey:
    certificate = base64.b64decode(one["certificate"])
    assert thumbprint(certificate) == one["thumbprint"]
    checked = check_signing(certificate, [ANCHOR])
    return SigningKey(
        MemberId.parse(one["member"]),
        one["algorithm"],
        checked.public_key,
        moment(one["not_before"]),
        moment(one["not_after"]),
    )


LISTED = {one["thumbprint"]: key_of(one) for one in KEYS["listed"]}
OFFERED = {ServiceId.parse(one) for one in REQUESTS["offered"]}


def message_of(case: dict[str, Any]) -> str:
    return case["message"] if "message" in case else case["repeat"][0] * case["repeat"][1]


def outcome(call: Any) -> dict[str, Any]:
    try:
        call()
    except ProblemError as problem:
        return {"result": problem.code, "status": problem.status}
    return {"result": "accepted"}


def expected(case: dict[str, Any]) -> dict[str, Any]:
    return {name: case[name] for name in ("result", "status") if name in case}


def named(cases: list[dict[str, Any]]) -> Any:
    return pytest.mark.parametrize("case", cases, ids=[f"{one.get('step', '')}: {one['name']}" for one in cases])


@named(REQUESTS["cases"])
def test_a_request_has_the_published_outcome(case: dict[str, Any]) -> None:
    def verify() -> None:
        verify_request(
            message_of(case),
            base64.b64decode(case["body"]),
            Verifier(LISTED.get, moment(case["now"])),
            audience=OFFERED.__contains__,
            tls_members=frozenset(MemberId.parse(member) for member in case["peer_members"]),
        )

    assert outcome(verify) == expected(case)


@named(RESPONSES["cases"])
def test_a_response_has_the_published_outcome(case: dict[str, Any]) -> None:
    def verify() -> None:
        verify_response(
            case["message"],
            base64.b64decode(case["body"]),
            Verifier(LISTED.get, moment(case["now"])),
            Sent(case["request"], ServiceId.parse(case["service"]), SubsystemId.parse(case["consumer"])),
        )

    assert outcome(verify) == expected(case)


@named(REPLAYS["cases"])
@pytest.mark.parametrize("memory", ["one process", "another process each time"])
def test_replays_have_the_published_outcome(engine: Engine, case: dict[str, Any], memory: str) -> None:
    migrate(engine)
    assert "audit_entries" in audit_metadata.tables
    replays = Replays()

    for step in case["steps"]:
        if memory != "one process":
            replays = Replays()  # as after a restart, or on another replica

        def take(step: dict[str, Any] = step, replays: Replays = replays) -> None:
            claims = open_request(
                step["message"],
                Verifier(LISTED.get, moment(step["now"])),
                audience=OFFERED.__contains__,
                tls_members=frozenset(MemberId.parse(member) for member in REPLAYS["peer_members"]),
            )
            replays.refuse_seen(claims.message_id)
            check_body(claims, base64.b64decode(step["body"]))
            with writer(engine).begin() as connection:
                replays.take(connection, claims.message_id, claims.expires_at)
                replays.sweep(connection, moment(step["now"]))

        assert outcome(take) == expected(step)


@pytest.mark.parametrize("case", IDENTIFIERS["cases"], ids=lambda case: case["text"][:40] or "empty")
def test_a_text_is_an_identifier_or_is_not(case: dict[str, Any]) -> None:
    if case["parts"] is None:
        with pytest.raises(IdentifierError):
            ServiceId.parse(case["text"])
        return
    found = ServiceId.parse(case["text"])
    member = found.subsystem.member
    assert [member.instance, member.member_class, member.code, found.subsystem.code, found.code] == case["parts"]
    assert str(found) == case["text"]


def test_the_files_are_what_their_generator_writes() -> None:
    spec = importlib.util.spec_from_file_location("vectors_generate", FOLDER / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    generate = importlib.util.module_from_spec(spec)
    import sys

    sys.modules["vectors_generate"] = generate
    try:
        spec.loader.exec_module(generate)
    finally:
        del sys.modules["vectors_generate"]

    for name, content in generate.files().items():
        assert (FOLDER / name).read_text("utf-8") == content, f"{name}: run generate.py, and say why it changed"


def test_the_vectors_meet_every_refusal_that_a_receiver_can_give_a_message() -> None:
    met = {case["result"] for part in (REQUESTS, RESPONSES) for case in part["cases"]}
    met |= {step["result"] for case in REPLAYS["cases"] for step in case["steps"]}
    order = list(PROBLEMS)
    codes = order[order.index("message-too-large") : order.index("response-to-another") + 1]

    assert set(codes) - met == {"content-type-mismatch"}, "that one is about the HTTP request around the message"


def test_the_private_keys_are_those_of_the_certificates() -> None:
    for one in (*KEYS["listed"], *KEYS["unlisted"]):
        public = x509.load_der_x509_certificate(base64.b64decode(one["certificate"])).public_key()
        jwk = one["private_jwk"]
        assert jwk["d"]
        if one["algorithm"] == "EdDSA":
            raw = public.public_bytes_raw()  # type: ignore[union-attr]
            assert jwk["x"] == base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
        else:
            x = public.public_numbers().x  # type: ignore[union-attr]
            assert jwk["x"] == base64.urlsafe_b64encode(x.to_bytes(32, "big")).rstrip(b"=").decode()
