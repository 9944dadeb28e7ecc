"""HTTP that must be refused, at the peer and the client face of a running node, byte by byte."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import ssl
import time
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from audit.tree.checkpoint import LogSigner
from tests.gateway.hostile.conftest import BODY_SECONDS, HEAD_SECONDS, Open, fake_peer
from tests.gateway.hostile.test_messages import http, response_of, sent
from tests.gateway.running import LOOPBACK, Raw, answer_of, raw
from tests.waiting import until

Face = tuple[int, ssl.SSLContext, str]


pytestmark = pytest.mark.xdist_group("hostile")


@pytest.fixture(params=["peers", "clients"])
def face(request: pytest.FixtureRequest, gate: Open) -> Face:
    """Where to connect, with which certificate, and the one path that matters there."""
    party = gate.nodes.party("centre")
    if request.param == "peers":
        return party.peers, gate.nodes.peer_context("kotka"), "/peer/v1/messages"
    return party.clients, gate.nodes.client_context("centre"), "/v1/queries"


@pytest.fixture(params=["peers", "clients"])
def hasty(request: pytest.FixtureRequest, gate: Open) -> Face:
    """The same of the node that gives callers little time."""
    party = gate.nodes.party("kotka")
    if request.param == "peers":
        return party.peers, gate.nodes.peer_context("centre"), "/peer/v1/messages"
    return party.clients, gate.nodes.client_context("kotka"), "/v1/queries"


def on_record(gate: Open, face: Face, before: int, code: str, party: str = "centre") -> bool:
    """The peer face records in the audit log; what a client face refuses as HTTP is in the operational log."""
    if face[2].startswith("/peer"):
        # What the node does of itself meanwhile, and what becomes of an earlier test's connections, is none of this.
        told = [entry for entry in gate.nodes.entries(party)[before:] if entry.reason == code]
        assert len(told) <= 1, "it is on record once"
        return bool(told) and told[0].outcome == "refused"
    return f'"reason": "{code}"' in (gate.nodes.party(party).folder / "node.log").read_text()


def request(face: Face, *lines: str, method: str = "POST", target: str | None = None, body: bytes = b"") -> bytes:
    head = [f"{method} {target or face[2]} HTTP/1.1", *lines]
    return "\r\n".join(head).encode("latin-1") + b"\r\n\r\n" + body


SMUGGLED = b"POST /v1/queries HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"
CHUNKED = b"2\r\n{}\r\n0\r\n\r\n"
AMBIGUOUS: dict[str, tuple[tuple[str, ...], bytes, str]] = {
    "length and chunks": (("Host: a", "Content-Length: 4", "Transfer-Encoding: chunked"), CHUNKED, "invalid-request"),
    "chunks and length": (("Host: a", "Transfer-Encoding: chunked", "Content-Length: 4"), CHUNKED, "invalid-request"),
    "two lengths": (("Host: a", "Content-Length: 2", "Content-Length: 60"), b"{}" + SMUGGLED, "invalid-request"),
    "a length list": (("Host: a", "Content-Length: 2, 60"), b"{}" + SMUGGLED, "invalid-request"),
    "a signed length": (("Host: a", "Content-Length: +2"), b"{}", "invalid-request"),
    "a length in hexadecimal": (("Host: a", "Content-Length: 0x2"), b"{}", "invalid-request"),
    "a length over 64 bits": (("Host: a", "Content-Length: 99999999999999999999"), b"{}", "invalid-request"),
    "a blank before the colon": (("Host: a", "Transfer-Encoding : chunked"), CHUNKED, "invalid-request"),
    "a coding that is almost chunked": (("Host: a", "Transfer-Encoding: xchunked"), CHUNKED, "invalid-header"),
    "gzip, then chunked": (("Host: a", "Transfer-Encoding: gzip, chunked"), CHUNKED, "invalid-header"),
    "chunked, then identity": (("Host: a", "Transfer-Encoding: chunked, identity"), CHUNKED, "invalid-request"),
    "chunked twice": (
        ("Host: a", "Transfer-Encoding: chunked", "Transfer-Encoding: chunked"), CHUNKED, "invalid-request",
    ),
    "a folded header": (("Host: a", "X-A: b", " Content-Length: 60"), SMUGGLED, "invalid-request"),
    "a bare carriage return": (("Host: a", "X-A: b\rContent-Length: 60"), SMUGGLED, "invalid-request"),
    "NUL in a header": (("Host: a", "X-A: b\0c"), b"", "invalid-request"),
    "no Host": ((), b"", "invalid-header"),
    "two Hosts": (("Host: a", "Host: b"), b"", "invalid-header"),
    "an upgrade": (("Host: a", "Connection: upgrade", "Upgrade: h2c"), b"", "invalid-header"),
}  # fmt: skip


@pytest.mark.parametrize("name", AMBIGUOUS)
async def test_what_two_parsers_could_read_differently_is_refused_and_the_connection_closed(
    gate: Open, face: Face, name: str
) -> None:
    lines, body, code = AMBIGUOUS[name]
    before = len(gate.nodes.entries("centre"))

    answers = await all_answers(face, request(face, *lines, body=body))

    assert [(one.status, one.code) for one in answers] == [(400, code)], "one refusal, and nothing smuggled behind it"
    assert answers[0].headers["connection"] == "close"
    await until(lambda: on_record(gate, face, before, code))
    assert gate.source.asked == []


async def all_answers(face: Face, data: bytes) -> list[Raw]:
    """Everything that comes back until the connection is closed."""
    reader, writer = await asyncio.open_connection(LOOPBACK, face[0], ssl=face[1], server_hostname="localhost")
    writer.write(data)
    found = []
    while (answer := await answer_of(reader)) is not None:
        found.append(answer)
        if answer.headers.get("connection") == "close":
            break
    assert await reader.read() == b"", "the connection is closed"
    writer.close()
    return found


@pytest.mark.parametrize(
    ("chunks", "code"),
    [
        (b"-2\r\n{}\r\n0\r\n\r\n", "invalid-request"),
        (b"2 \r\n{}\r\n0\r\n\r\n", "invalid-request"),
        (b"fffffffffffffffff\r\n{}", "invalid-request"),
        (b"2\r\n{}XX0\r\n\r\n", "invalid-request"),
    ],
    ids=["negative", "a blank", "endless", "no end of chunk"],
)
async def test_chunks_that_are_none_end_the_connection(gate: Open, face: Face, chunks: bytes, code: str) -> None:
    head = ("Host: a", "Transfer-Encoding: chunked", "Content-Type: application/json")

    answers = await all_answers(face, request(face, *head, body=chunks))

    assert [(one.status, one.code) for one in answers] == [(400, code)]
    assert gate.source.asked == []


@pytest.mark.parametrize(
    ("lines", "target", "status", "code"),
    [
        (("Host: a", "X-A: " + "a" * 70_000), None, 431, "headers-too-large"),
        (("Host: a", *(f"X-{number}: a" for number in range(300))), None, 431, "headers-too-large"),
        (("Host: a",), "/" + "a" * 9_000, 414, "target-too-long"),
    ],
    ids=["one long header", "many headers", "a long target"],
)
async def test_an_oversized_head_is_refused(
    gate: Open, face: Face, lines: tuple[str, ...], target: str | None, status: int, code: str
) -> None:
    before = len(gate.nodes.entries("centre"))

    answer = await raw(face[0], face[1], request(face, *lines, target=target))

    assert answer is not None
    assert (answer.status, answer.code) == (status, code)
    await until(lambda: on_record(gate, face, before, code))


@pytest.mark.parametrize("chunked", [False, True], ids=["declared", "chunked"])
async def test_an_oversized_body_is_refused(gate: Open, face: Face, chunked: bool) -> None:
    size = 300_000
    lines = ["Host: a", "Content-Type: application/json", "Connection: close", "Message: a.b.c"]
    lines.append("Transfer-Encoding: chunked" if chunked else f"Content-Length: {size}")
    body = f"{size:x}\r\n".encode() + b" " * size + b"\r\n0\r\n\r\n" if chunked else b" " * size

    answer = await raw(face[0], face[1], request(face, *lines, body=body))

    assert answer is not None
    assert (answer.status, answer.code) == (413, "body-too-large")


async def test_a_head_that_comes_drop_by_drop_is_ended(gate: Open, hasty: Face) -> None:
    before = len(gate.nodes.entries("kotka"))
    begun = time.monotonic()
    reader, writer = await asyncio.open_connection(LOOPBACK, hasty[0], ssl=hasty[1], server_hostname="localhost")

    async def drip() -> None:
        writer.write(f"POST {hasty[2]} HTTP/1.1\r\nHost: a\r\n".encode())
        for number in range(1000):
            writer.write(f"X-{number}: a\r\n".encode())
            await asyncio.sleep(0.05)

    dripping = asyncio.create_task(drip())
    answer = await answer_of(reader)
    dripping.cancel()
    writer.close()

    assert answer is not None
    assert (answer.status, answer.code) == (408, "request-timeout")
    assert time.monotonic() - begun >= HEAD_SECONDS - 0.1
    await until(lambda: on_record(gate, hasty, before, "request-timeout", "kotka"))


async def test_a_body_that_comes_drop_by_drop_is_ended(gate: Open, hasty: Face) -> None:
    before = len(gate.nodes.entries("kotka"))
    begun = time.monotonic()
    reader, writer = await asyncio.open_connection(LOOPBACK, hasty[0], ssl=hasty[1], server_hostname="localhost")

    async def drip() -> None:
        writer.write(request(hasty, "Host: a", "Content-Length: 1000", "Content-Type: application/json", "Message: a"))
        for _ in range(1000):
            writer.write(b" ")
            await asyncio.sleep(0.05)

    dripping = asyncio.create_task(drip())
    answer = await answer_of(reader)
    dripping.cancel()
    writer.close()

    assert answer is not None
    assert (answer.status, answer.code) == (408, "request-timeout")
    assert time.monotonic() - begun >= BODY_SECONDS - 0.1
    if hasty[2].startswith("/peer"):
        await until(lambda: on_record(gate, hasty, before, "request-timeout", "kotka"))


async def test_a_connection_on_which_nothing_is_asked_is_closed(hasty: Face) -> None:
    reader, writer = await asyncio.open_connection(LOOPBACK, hasty[0], ssl=hasty[1], server_hostname="localhost")

    assert await reader.read() == b""
    writer.close()


async def test_slow_callers_do_not_keep_others_out(gate: Open, face: Face) -> None:
    slow = [
        await asyncio.open_connection(LOOPBACK, face[0], ssl=face[1], server_hostname="localhost") for _ in range(40)
    ]
    for _, writer in slow:
        writer.write(b"POST ")

    answer = await gate.send(gate.message())

    assert answer is not None
    assert answer.status == 200
    for _, writer in slow:
        writer.close()


TRAVERSALS = (
    "/../../../../etc/passwd", "/peer/v1/../../etc/passwd", "/v1/../v1/queries", "/v1/./queries", "//v1/queries",
    "/%2e%2e/%2e%2e/etc/passwd", "/v1/%2e%2e/%2e%2e/etc/passwd", "/v1/..%2f..%2fetc%2fpasswd", "/v1/%252e%252e%252f",
    "/v1/..%5c..%5cetc", "/v1/%c0%ae%c0%ae/", "/v1/%00/", "/v1/queries/", "/v1/queries%2f", "/V1/QUERIES",
    "/v1/queries;a=b", "/openapi.json/..", "/static/../node.toml",
)  # fmt: skip


@pytest.mark.parametrize("target", TRAVERSALS)
async def test_a_path_that_climbs_finds_nothing(gate: Open, face: Face, target: str) -> None:
    before = len(gate.nodes.entries("centre"))

    answer = await raw(face[0], face[1], request(face, "Host: a", "Connection: close", method="GET", target=target))

    assert answer is not None
    assert (answer.status, answer.code) == (404, "not-found")
    assert b"root:" not in answer.body
    if face[2].startswith("/peer"):
        await until(lambda: on_record(gate, face, before, "not-found"))


@pytest.mark.parametrize("target", ["http://127.0.0.1:1/x", "localhost:1", "*", "v1/queries"])
async def test_a_target_that_is_no_path_is_refused(face: Face, target: str) -> None:
    answer = await raw(face[0], face[1], request(face, "Host: a", method="GET", target=target))

    assert answer is not None
    assert answer.status == 400
    assert answer.code in {"invalid-target", "invalid-request"}


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1:1", "a' OR 1=1", "[::1]", "a" * 300])
async def test_whatever_the_host_says_nothing_of_it_comes_back(face: Face, host: str) -> None:
    asked = request(face, f"Host: {host}", f"X-Forwarded-Host: {host}", "Connection: close", method="GET", target="/x")

    answer = await raw(face[0], face[1], asked)

    assert answer is not None
    assert (answer.status, answer.code) == (404, "not-found")
    assert host.encode() not in answer.body
    assert host not in "".join(answer.headers.values())


@pytest.mark.parametrize(
    "lines",
    [("X-HTTP-Method-Override: POST",), ("X-HTTP-Method: POST",), ("X-Method-Override: POST",)],
    ids=lambda lines: lines[0].split(":")[0],
)
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "TRACE", "OPTIONS"])
async def test_a_method_is_the_one_in_the_request_line(
    gate: Open, face: Face, lines: tuple[str, ...], method: str
) -> None:
    body = gate.body()
    head = ("Host: a", "Connection: close", "Content-Type: application/json", f"Content-Length: {len(body)}", *lines)

    asked = request(face, *head, method=method, target=f"{face[2]}?_method=POST", body=body)
    answer = await raw(face[0], face[1], asked)

    assert answer is not None
    assert (answer.status, answer.code) == (405, "method-not-allowed")
    assert gate.source.asked == []


@pytest.mark.parametrize(
    "headers",
    [
        ("Content-Encoding: gzip",),
        ("Content-Encoding: identity", "Content-Encoding: gzip"),
        ("Content-Encoding: deflate, gzip",),
        ("Content-Encoding: br",),
    ],
    ids=["gzip", "identity and gzip", "twice", "br"],
)
async def test_a_compressed_body_is_not_unpacked(gate: Open, face: Face, headers: tuple[str, ...]) -> None:
    bomb = gzip.compress(bytes(30_000_000), 9)
    head = ("Host: a", "Connection: close", "Content-Type: application/json", f"Content-Length: {len(bomb)}", *headers)

    answer = await raw(face[0], face[1], request(face, *head, "Message: a.b.c", body=bomb))

    assert answer is not None
    assert (answer.status, answer.code) == (415, "unsupported-content-encoding")


@pytest.mark.parametrize(
    "kind",
    ["text/plain", "text/html", "application/xml", "multipart/form-data", "application/x-www-form-urlencoded", ""],
)
async def test_a_body_of_another_type_is_not_taken_for_json(gate: Open, kind: str) -> None:
    async with gate.nodes.client("kotka") as session:
        headers = {"Content-Type": kind} if kind else {}
        data = json.dumps(gate.nodes.question())
        async with session.post("/v1/queries", data=data, headers=headers, skip_auto_headers={"Content-Type"}) as found:
            assert (found.status, (await found.json())["code"]) == (415, "unsupported-media-type")
    assert gate.source.asked == []


SENSELESS: dict[str, tuple[str, dict[str, Any] | bytes | None, int, str]] = {
    "no JSON": ("/v1/queries", b"{", 400, "invalid-json"),
    "an array": ("/v1/queries", b"[]", 400, "invalid-json"),
    "a purpose that the rulebook lacks": ("/v1/queries", {"purpose": "curiosity"}, 422, "purpose-unknown"),
    "a member that the registry lacks": (
        "/v1/queries", {"service": "FI-DEMO/GOV/9999999-9/x/palvelutarve"}, 404, "member-unknown",
    ),
    "a name of no service": ("/v1/queries", {"service": "palvelutarve"}, 400, "invalid-identifier"),
    "a handover that nobody ordered": ("/v1/handovers/none", None, 404, "handover-unknown"),
    "an adapter that is not there": ("/v1/handovers?flow=F1&adapter=none", b"a;b", 422, "adapter-unknown"),
    "a type that says no adapter": ("/v1/handovers?flow=F1", b"a;b", 422, "adapter-unknown"),
}  # fmt: skip


@pytest.mark.parametrize("name", SENSELESS)
async def test_what_makes_no_sense_is_refused_by_the_code_that_says_why(gate: Open, name: str) -> None:
    path, content, status, code = SENSELESS[name]
    body = json.dumps(gate.nodes.question(**content)).encode() if isinstance(content, dict) else content
    kind = "application/json" if path == "/v1/queries" else "application/octet-stream"

    async with (
        gate.nodes.client("centre") as session,
        session.request("GET" if body is None else "POST", path, data=body, headers={"Content-Type": kind}) as answer,
    ):
        document = await answer.json()

    assert (answer.status, document["code"]) == (status, code), document
    assert gate.source.asked == []


async def test_a_flow_that_the_rulebook_lacks_is_refused_before_anything_is_planned(gate: Open) -> None:
    header, first, *_ = gate.nodes.export.read_bytes().split(b"\r\n")
    path = "/v1/handovers?flow=F999&adapter=reception-centre-csv"
    async with (
        gate.nodes.client("centre") as session,
        session.post(path, data=b"\r\n".join([header, first, b""]), headers={"Content-Type": "text/csv"}) as answer,
    ):
        document = await answer.json()

    assert (answer.status, document["code"]) == (422, "flow-unknown"), document
    assert gate.nodes.entries("centre", type="handover") == []


# --- What the source system may not do --------------------------------------------------------------------------------


async def ask(gate: Open) -> tuple[int, dict[str, Any], Any]:
    async with gate.nodes.client("kotka") as session, session.post("/v1/queries", json=gate.nodes.question()) as answer:
        return answer.status, await answer.json(), answer.headers


async def test_a_redirect_of_the_source_is_not_followed(gate: Open) -> None:
    inwards = f"http://{LOOPBACK}:{gate.trap.server.server_address[1]}/latest/meta-data"
    gate.source.answer = lambda _body: (302, {"Location": inwards}, b"")

    status, document, _ = await ask(gate)

    assert (status, document["code"]) == (502, "source-failed")
    assert gate.trap.asked == []
    assert "source-failed" in [entry.reason for entry in gate.nodes.entries("centre", outcome="failed")]


async def test_headers_of_the_source_reach_nobody(gate: Open) -> None:
    good = gate.source.answer

    def answer(body: bytes) -> tuple[int, dict[str, str], bytes]:
        status, headers, content = good(body)
        return status, headers | {"Set-Cookie": "a=b", "X-Secret": "c", "Location": "http://evil.example/"}, content

    gate.source.answer = answer

    status, _, headers = await ask(gate)

    assert status == 200
    assert {name.lower() for name in headers} <= {"content-type", "content-length"}


async def test_an_endless_or_compressed_answer_of_the_source_is_refused(gate: Open) -> None:
    gate.source.answer = lambda _body: (200, {"Content-Type": "text/csv"}, b"a;b\r\n" * 60_000)
    assert (await ask(gate))[1]["code"] == "source-failed"

    gate.source.answer = lambda _body: (200, {"Content-Encoding": "gzip"}, gzip.compress(bytes(30_000_000)))
    # That there is a record, though no sound one, is told to nobody but the holder.
    assert (await ask(gate))[1]["code"] == "not-available"
    assert gate.nodes.entries("centre")[-1].reason == "source-invalid"


async def test_headers_of_a_peer_reach_no_client(gate: Open) -> None:
    service = str(gate.nodes.service("second", "palvelutarve"))
    evil = ("Set-Cookie: a=b", "Location: http://evil.example/", "Access-Control-Allow-Origin: *")

    async with fake_peer(gate, "second", lambda _request: http(b"{}", headers=evil)):  # noqa: SIM117
        async with gate.nodes.client("kotka") as session:
            async with session.post("/v1/queries", json=gate.nodes.question(service=service)) as answer:
                assert answer.status == 502
                assert {name.lower() for name in answer.headers} <= {"content-type", "content-length"}


async def test_a_witness_that_asks_for_what_is_not_there_yet_makes_no_log_grow(gate: Open) -> None:
    before = len(gate.nodes.entries("centre"))
    party = gate.nodes.party("centre")
    asked = b"GET /peer/v1/log/tile/0/999 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"

    answer = await raw(party.peers, gate.nodes.peer_context("kotka"), asked)

    assert answer is not None
    assert (answer.status, answer.code) == (404, "not-found")
    assert len(gate.nodes.entries("centre")) == before


async def test_a_receipt_that_cannot_be_read_is_no_receipt(gate: Open) -> None:
    """The delivery stays due: who signed is known, and not that anything was taken in."""
    header, first, *_ = gate.nodes.export.read_bytes().split(b"\r\n")
    headers = {"Content-Type": "text/csv", "Idempotency-Key": "receipt"}
    path = "/v1/handovers?flow=F1&adapter=reception-centre-csv"

    def unreadable(request: bytes) -> bytes:
        claims = json.loads(base64.urlsafe_b64decode(sent(request).split(".")[1] + "=="))
        return response_of(
            gate,
            request,
            b"[]",
            party="kymenlaakso",
            iss=claims["aud"],
            aud=claims["iss"],
            cty="application/json",
            log={"origin": "yhdyspinta/kymenlaakso.demo", "size": 0, "root": "A" * 43 + "="},
        ).replace(b"application/fhir+json", b"application/json")

    async with fake_peer(gate, "kymenlaakso", unreadable) as peer, gate.nodes.client("centre") as session:
        async with session.post(path, data=b"\r\n".join([header, first, b""]), headers=headers) as answer:
            assert answer.status == 201, await answer.text()
        await until(lambda: peer.received)
        [failed, *_] = await until(
            lambda: gate.nodes.entries("centre", type="delivery", outcome="failed", reason="receipt-invalid")
        )

    assert failed.response_digest is not None, "what was answered is known by its digest"
    assert not gate.nodes.entries("centre", type="delivery", outcome="success", previous=failed.previous or "")


async def test_a_checkpoint_that_does_not_continue_the_former_is_not_cosigned(gate: Open) -> None:
    secret = base64.b64decode((gate.nodes.party("second").folder / "secrets" / "log.key").read_bytes())
    signer = LogSigner(Ed25519PrivateKey.from_private_bytes(secret), "yhdyspinta/second.demo")

    async def bring(old: int, proof: str, size: int, root: bytes) -> Raw | None:
        body = f"old {old}\n{proof}\n{signer.sign(size, root).note}".encode()
        head = f"POST /peer/v1/checkpoints HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {len(body)}"
        context = gate.nodes.peer_context("second")
        return await raw(gate.nodes.party("centre").peers, context, head.encode() + b"\r\n\r\n" + body)

    first = await bring(0, "", 1, b"\x01" * 32)
    assert first is not None
    assert first.status == 200, first.body

    second = await bring(1, base64.b64encode(b"\x02" * 32).decode() + "\n", 2, b"\x03" * 32)

    assert second is not None
    assert (second.status, second.code) == (422, "log-not-proven")
