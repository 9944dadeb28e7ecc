"""Malformed input at the client face: refused by name, never answered with an internal error."""

from __future__ import annotations

import gzip
import json

from gateway.conformance.bench import Bench, as_json, expect, expect_refusal
from gateway.conformance.case import case
from gateway.conformance.persons import HETU, Person
from gateway.conformance.verdicts import Failed
from gateway.conformance.wire import Request

_JSON = ("Content-Type", "application/json")
_SEARCH = "/v1/consents/search"
INTERNAL = frozenset({500, 501})


@case("CLI-34")
def no_json(bench: Bench) -> None:
    """Sends half a JSON object."""
    expect_refusal(bench.sending.send(Request("POST", _SEARCH, (_JSON,), b'{"subject": {')), 400, 422)


@case("CLI-35")
def no_object(bench: Bench) -> None:
    """Sends a JSON list where an object is to be."""
    expect_refusal(bench.sending.post(_SEARCH, [{"subject": Person.make().subject}]), 400, 422)


@case("CLI-36")
def no_utf8(bench: Bench) -> None:
    """Sends JSON with a byte that UTF-8 does not have."""
    body = b'{"subject": {"system": "urn:oid:1.2.246.21", "value": "\xff"}}'
    expect_refusal(bench.sending.send(Request("POST", _SEARCH, (_JSON,), body)), 400, 422)


@case("CLI-37")
def a_nul(bench: Bench) -> None:
    """Records a consent under an identity code with a NUL behind it: a refusal would be kept, to be placed."""
    person = Person.make()
    subject = {"system": HETU, "value": f"{person.code}\0"}
    expect_refusal(bench.consent(person, "active", subject=subject), 400, 422)


@case("CLI-38")
def a_surrogate(bench: Bench) -> None:
    """Searches for an identifier that is half a UTF-16 pair, by escape."""
    body = json.dumps({"subject": {"system": HETU, "value": "\udfff"}}).encode()
    expect_refusal(bench.sending.send(Request("POST", _SEARCH, (_JSON,), body)), 400, 422)


@case("CLI-39")
def another_media_type(bench: Bench) -> None:
    """Sends a good JSON object as plain text."""
    body = json.dumps({"subject": Person.make().subject}).encode()
    request = Request("POST", _SEARCH, (("Content-Type", "text/plain"),), body)
    expect_refusal(bench.sending.send(request), 415)


@case("CLI-40")
def compressed(bench: Bench) -> None:
    """Sends a good JSON object compressed, and says so."""
    body = gzip.compress(json.dumps({"subject": Person.make().subject}).encode())
    request = Request("POST", _SEARCH, (_JSON, ("Content-Encoding", "gzip")), body)
    expect_refusal(bench.sending.send(request), 415)


@case("CLI-41")
def too_much(bench: Bench) -> None:
    """Announces a body of one byte more than the limit, and waits for the answer before sending it."""
    request = Request("POST", _SEARCH, (_JSON,), b"", bench.sending.face.body_limit + 1)
    expect_refusal(bench.sending.send(request), 413)


@case("CLI-42")
def a_long_key(bench: Bench) -> None:
    """Hands a new person over under an `Idempotency-Key` of 500 characters: taken or refused, but no internal error."""
    key = Person.make().code.replace("-", "x") * 50
    answer = bench.hand_over(Person.make().bundle(bench.handing.municipality), key=key[:500])
    if answer.status in INTERNAL or not answer.status:
        raise Failed("201 or a refusal of the key", answer.told())


@case("CLI-43")
def no_time(bench: Bench) -> None:
    """Hands a person over with `not_before=soon`."""
    expect_refusal(bench.hand_over(Person.make().bundle(bench.handing.municipality), not_before="soon"), 400, 422)


@case("CLI-44")
def no_such_address(bench: Bench) -> None:
    """Reads an address that the interface does not have."""
    expect_refusal(bench.sending.get("/v1/no-such-thing"), 404)


@case("CLI-45")
def another_method(bench: Bench) -> None:
    """Deletes the list of handovers."""
    expect_refusal(bench.sending.send(Request("DELETE", "/v1/handovers")), 405)


@case("CLI-46")
def the_callers_language(bench: Bench) -> None:
    """Has the same request refused in Finnish, Swedish and English."""
    titles = set()
    for language in ("fi", "sv", "en"):
        answer = bench.sending.post(_SEARCH, {"subject": "nobody"}, ("Accept-Language", language))
        expect_refusal(answer, 400, 422)
        titles.add(answer.document.get("title"))
    if len(titles) != 3 or None in titles:
        raise Failed("a title in each of three languages", f"{len(titles)} different titles")


@case("CLI-47")
def the_form_of_a_problem(bench: Bench) -> None:
    """Has a request refused and reads the problem's members."""
    answer = bench.sending.send(as_json("POST", "/v1/queries", {"service": "x"}))
    expect(answer, 400, 422)
    problem = answer.document
    if problem.get("status") != answer.status or not all(
        isinstance(problem.get(name), str) and problem[name] for name in ("type", "title", "code")
    ):
        raise Failed("type, title, code and the status of the answer", ", ".join(sorted(problem)) or "no JSON object")
    if not str(problem["type"]).endswith(str(problem["code"])):
        raise Failed("a type that ends with the code", str(problem["type"]))


@case("CLI-48")
def two_lengths(bench: Bench) -> None:
    """Sends a request with `Content-Length` and `Transfer-Encoding: chunked`."""
    body = b"2\r\n{}\r\n0\r\n\r\n"
    request = Request("POST", _SEARCH, (_JSON, ("Transfer-Encoding", "chunked")), body)
    expect_refusal(bench.sending.send(request), 400)
