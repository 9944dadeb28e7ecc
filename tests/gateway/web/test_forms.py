"""What is refused for its form: told by place, reason and remedy, alike for every form, and without what was sent."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.consents.forms import CODES, CaseForm, ConsentForm
from gateway.handover.forms import AcceptanceForm
from gateway.query.forms import AskForm
from gateway.web.headers import CASE_HEADER, USER_HEADER
from gateway.web.validation import plain_json, read
from gateway.wire.problems import ProblemError, to_problem_json
from schemas.identifiers import HETU
from tests.gateway.exchange.inprocess import Place, node
from tests.gateway.web.faces import Faces, faces

SECRET = "010190-900P"
PERSON = {"system": HETU, "value": SECRET}
ASK = {"service": "A/B/C/D/E", "subject": PERSON}
CONSENT = {"subject": PERSON, "categories": ["identity"]}


def refused(form: Any, document: Any, **codes: Any) -> ProblemError:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    with pytest.raises(ProblemError) as error:
        read(form, body, **codes)
    assert SECRET not in to_problem_json(error.value).decode()
    return error.value


@pytest.mark.parametrize(
    ("form", "document", "code", "pointer", "said"),
    [
        (AskForm, ASK | {"purpos": "x"}, "invalid-request", "", "did you mean purpose?"),
        (AskForm, ASK | {SECRET: 1}, "invalid-request", "", "known here: case, categories"),
        (AskForm, ASK | {"purpose": 1}, "invalid-request", "/purpose", "is to be a text"),
        (AskForm, ASK | {"purpose": "x" * 257}, "invalid-request", "/purpose", "at most 256 characters"),
        (AskForm, ASK | {"case": "a\tb"}, "invalid-request", "/case", "may not have"),
        (AskForm, ASK | {"categories": "identity"}, "invalid-request", "/categories", "is to be a list"),
        (AskForm, ASK | {"categories": ["x"] * 129}, "invalid-request", "/categories", "at most 128 items"),
        (AskForm, ASK | {"categories": ["a", 2]}, "invalid-request", "/categories/1", "is to be a text"),
        (AskForm, {"service": "A/B/C/D/E"}, "invalid-request", "/subject", "is missing"),
        (AskForm, ASK | {"subject": SECRET}, "invalid-request", "/subject", "which person"),
        (AskForm, ASK | {"subject": PERSON | {"x": SECRET}}, "invalid-request", "/subject", "which person"),
        (AskForm, ASK | {"subject": PERSON | {"value": "010190-900A"}}, "subject-check", "/subject/value", ""),
        (AskForm, ASK | {"service": SECRET}, "invalid-identifier", "/service", ""),
        (AskForm, ASK | {"emergency": {}}, "justification-missing", "/emergency/justification", "sentence"),
        (ConsentForm, CONSENT | {"status": "draft"}, "consent-invalid", "/status", "'active' or 'refused'"),
        (ConsentForm, CONSENT | {"starts": "soon"}, "consent-invalid", "/starts", "2026-01-31"),
        (ConsentForm, CONSENT | {"starts": 20260101}, "consent-invalid", "/starts", "2026-01-31"),
        (ConsentForm, CONSENT | {"subject_age": "12"}, "consent-invalid", "/subject_age", "whole number"),
        (ConsentForm, CONSENT | {"given_by": {"kin": "self"}}, "consent-invalid", "/given_by", "did you mean kind?"),
        (ConsentForm, {"categories": ["identity"]}, "invalid-request", "/subject", "is missing"),
        (CaseForm, {"flow": "F1", "facts": {"aeg": 3}}, "invalid-request", "/facts", "did you mean age?"),
        (CaseForm, {"consents": [{}, {"stauts": 1}]}, "invalid-request", "/consents/1", "did you mean status?"),
        (CaseForm, {"at": "0001-01-01T00:00:00+14:00"}, "invalid-request", "/at", "1900 to 2200"),
        (CaseForm, {"at": "9999-12-31T23:59:59Z"}, "invalid-request", "/at", "1900 to 2200"),
        (CaseForm, {"at": 1767225600}, "invalid-request", "/at", "ISO 8601"),
        (AcceptanceForm, {"contact": {"name": " "}}, "invalid-request", "/contact/name", "responsible"),
        (AcceptanceForm, {"contact": {"name": "a\nb"}}, "invalid-request", "/contact/name", "one line"),
    ],
)
def test_what_does_not_fit_is_told_by_place_reason_and_remedy(
    form: Any, document: Any, code: str, pointer: str, said: str
) -> None:
    problem = refused(form, document, codes=CODES if form is ConsentForm else None)

    assert (problem.code, problem.pointer) == (code, pointer)
    assert said in f"{problem.detail} {problem.remedy}"
    assert problem.remedy


@pytest.mark.parametrize(
    "body",
    [
        b'{"a": 1, "a": 2}', b'[{"b": {"c": 1, "c": 1}}]', b'{"a": NaN}', b'{"a": -Infinity}', b"", b"{", b"\xff{}",
        b'{"a": ' + b"9" * 5000 + b"}", b"[" * 100_000, b'{"a": 1} {}', b"\xef\xbb\xbf{}", rb'{"a": "\ud800"}',
    ],
    ids=[
        "twice", "twice below", "NaN", "Infinity", "nothing", "half", "no UTF-8", "number", "deep", "two", "mark",
        "surrogate",
    ],
)  # fmt: skip
def test_json_that_parsers_could_read_differently_is_refused(body: bytes) -> None:
    with pytest.raises(ProblemError) as error:
        plain_json(body)

    assert error.value.code == "invalid-json"


def test_body_that_is_no_object_is_not_json_for_us() -> None:
    assert refused(AskForm, b"[]").code == "invalid-json"
    assert refused(AskForm, b"7").code == "invalid-json"


@pytest.fixture
async def here(place: Place, database_url: str) -> AsyncIterator[Faces]:
    async with node(place, database_url) as found, faces(found) as both:
        yield both


@pytest.mark.parametrize(
    ("path", "pointer"),
    [
        ("/v1/handovers?state=nonsense", "/state"),
        ("/v1/inbox?state=nonsense", "/state"),
        ("/v1/handovers?limit=0", "/limit"),
        ("/v1/inbox?limit=-1", "/limit"),
        ("/v1/inbox?limit=99999999999999999999999", "/limit"),
        ("/v1/inbox?limit=1001", "/limit"),
        ("/v1/handovers?limit=1001", "/limit"),
        ("/v1/inbox?limit=1&limit=2", None),
        ("/v1/inbox?limi=1", "/"),
        ("/v1/inbox?after=%00", "/after"),
        ("/v1/inbox/a%00b", "/identifier"),
        ("/v1/handovers/" + "x" * 65, "/identifier"),
        ("/v1/consents/%C3%A4", "/identifier"),
    ],
)
async def test_parameters_that_are_not_of_the_described_form_are_refused(
    here: Faces, path: str, pointer: str | None
) -> None:
    answer = await here.clients.call("GET", path)

    assert (answer.status_code, answer.json()["code"], answer.json().get("pointer")) == (
        400,
        "invalid-request",
        pointer,
    )


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00%2B14:00", "9999-12-31T23:59:59-12:00", "0", "tomorrow"])
async def test_moment_that_no_database_holds_is_refused(here: Faces, moment: str) -> None:
    answer = await here.clients.call("POST", f"/v1/handovers?not_before={moment}", content=b"x")

    assert (answer.status_code, answer.json()["pointer"]) == (400, "/not_before")


@pytest.mark.parametrize("header", [CASE_HEADER, USER_HEADER, "Idempotency-Key"])
async def test_header_that_means_something_stands_once(here: Faces, header: str) -> None:
    answer = await here.clients.call("POST", "/v1/handovers", content=b"x", headers=[(header, "a"), (header, "b")])

    assert (answer.status_code, answer.json()["pointer"].lower()) == (400, f"/{header}".lower())


async def test_who_calls_is_asked_before_what_was_sent(here: Faces) -> None:
    async def endless() -> AsyncIterator[bytes]:
        yield b"{"
        raise AssertionError("the body of a stranger was read")

    answer = await here.clients.call("POST", "/v1/consents?x=1", content=endless(), certificate=b"stranger")

    assert answer.json()["code"] == "client-unknown"
