"""The description of the faces is what they do: every answer here is held against it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx
import pytest

from audit.log.entries import ZONE, EntryType, Outcome
from consent.rulebook import load, reference_rulebook
from gateway.handover.plan import Handovers
from gateway.obligations.tasks import Kind, NewTask, add
from gateway.storage.engine import writer
from gateway.story import Story
from gateway.web.doors import CERTIFICATE_SCHEME, TOKEN_SCHEME
from gateway.web.headers import USER_HEADER
from gateway.wire.problems import ProblemError
from schemas.identifiers import HETU, MIGRI_CUSTOMER
from tests.former import former_rulebook
from tests.gateway.exchange.inprocess import Place, node
from tests.gateway.identity.test_identity import held_handover, order_of
from tests.gateway.web.faces import UNDECLARED, Face, Faces, faces

PERSON = {"system": MIGRI_CUSTOMER, "value": "7000001"}
CODE = {"system": HETU, "value": "010190-900P"}
CONSENT: dict[str, Any] = {
    "subject": PERSON,
    "purposes": ["service-need-lookup"],
    "recipients": ["municipality"],
    "categories": ["health-needs"],
    "given_by": {"kind": "self"},
}
USER = {USER_HEADER: "tester-1"}


@pytest.fixture
async def here(place: Place, database_url: str) -> AsyncIterator[Faces]:
    async with node(place, database_url) as found, faces(found) as both:
        yield both


def records(here: Faces, *people: int) -> bytes:
    """Some rows of the centre's register."""
    folder = here.here.place.network.folder.parent / "samples"
    header, *rows = (folder / "reception-centre.csv").read_bytes().split(b"\r\n")
    return b"\r\n".join([header, *(rows[person] for person in people), b""])


ORDER = "/v1/handovers?flow=F1&adapter=reception-centre-csv"


async def test_every_answer_of_the_face_for_clients_is_one_that_its_description_tells(here: Faces) -> None:
    face = here.clients
    await _everything(here)

    assert face.errors == []
    document = face.document
    described = {
        (method.upper(), path)
        for path, methods in document["paths"].items()
        for method in methods
        if not path.startswith(UNDECLARED)
    }
    assert described - {(method, path) for method, path, _ in face.seen} == set(), "each path was called"
    succeeded = {(method, path) for method, path, status in face.seen if status < 300}
    for method, path in described - {("POST", "/oauth/token")}:
        for status, told in document["paths"][path][method.lower()]["responses"].items():
            is_problem = list(told.get("content", {})) == ["application/problem+json"]
            assert status < "400" or is_problem, f"{method} {path} {status}"
    assert described - succeeded == {("POST", "/oauth/token"), ("POST", "/v1/queries")}


async def test_each_path_says_who_may_call_and_what_is_sent(here: Faces) -> None:
    document = here.clients.document

    assert set(document["components"]["securitySchemes"]) == {CERTIFICATE_SCHEME, TOKEN_SCHEME}
    for path, methods in document["paths"].items():
        if path.startswith(UNDECLARED) or path == "/oauth/token":
            continue
        for method, operation in methods.items():
            assert operation["security"] == [{CERTIFICATE_SCHEME: []}, {TOKEN_SCHEME: []}], path
            assert {"400", "401", "403", "503"} <= operation["responses"].keys(), path
            assert ("requestBody" in operation) is (method == "post" and not path.endswith(BODILESS)), path


BODILESS = ("/owner", "/same", "/apart", "/opening", "/approval", "/drop")


async def test_a_form_in_the_description_refuses_what_the_face_refuses(here: Faces) -> None:
    forms = here.clients.document["components"]["schemas"]

    assert forms["AskForm"]["additionalProperties"] is False
    assert set(forms["AskForm"]["required"]) == {"service", "subject"}
    status = forms["ConsentForm"]["properties"]["status"]["anyOf"]
    assert status == [{"type": "string", "enum": ["active", "refused"]}, {"type": "null"}]
    assert forms["PersonForm"]["properties"]["value"]["maxLength"] == 64


async def _everything(here: Faces) -> None:
    """Each path in more than one way, well and badly."""
    face = here.clients
    await _consents(face)
    await _reports(face)
    await _handovers(here)
    await _identity(here)
    await _queries(face)
    await _standing_requests(here)
    await _audit(here)
    for path in ("/v1/handovers", "/v1/inbox", "/v1/consents/x", "/v1/identity/held"):
        assert (await face.call("GET", path, certificate=b"stranger")).status_code == 401
        assert (await face.call("GET", f"{path}?nonsense=1", headers=USER)).json()["code"] == "invalid-request"
    assert (await face.call("POST", "/oauth/token", data={"grant_type": "password"})).status_code == 400
    assert (await face.call("POST", "/oauth/token", json={})).status_code == 415


async def _tasks(here: Faces) -> None:
    """A task of a person whom this node knows, made as a delivery would make it."""
    face, exchange = here.clients, here.here.exchange
    member, now = here.here.party.subsystem.member, exchange.clock()
    with writer(exchange.engine).begin() as connection:
        subject = exchange.subjects.of(str(member)).claim(connection, [(MIGRI_CUSTOMER, "7000099")], now)
        new = NewTask(
            kind=Kind.TELL, member=str(member), subject=subject, message="m", party="FI-DEMO/MUN/1/x", purpose="p",
            categories=frozenset({"identity"}), bases=(), care=(), due=now.date(), named=[(MIGRI_CUSTOMER, "7000099")],
        )  # fmt: skip
        add(connection, Story(node=exchange.node), new, now)
    (task,) = (await face.call("GET", "/v1/tasks")).json()["tasks"]
    assert (await face.call("POST", f"/v1/tasks/{task['id']}/opening", headers=USER)).status_code == 200
    assert (await face.call("POST", "/v1/tasks/none/opening", headers=USER)).status_code == 404
    path, said = f"/v1/tasks/{task['id']}/outcome", {"outcome": "told", "day": now.astimezone(ZONE).date().isoformat()}
    assert (await face.call("POST", path, json=said, headers=USER)).status_code == 400
    said |= {"channel": "meeting", "language": "fi"}
    assert (await face.call("POST", path, json=said, headers=USER)).status_code == 201
    assert (await face.call("POST", path, json=said, headers=USER)).status_code == 404


async def _standing_requests(here: Faces) -> None:
    face, exchange, path = here.clients, here.here.exchange, "/v1/standing-requests"
    former, reference = exchange.standing, load(reference_rulebook(), source="reference")
    # The network's own rulebook knows no rights to get.
    exchange.standing = lambda at: replace(former(at), rulebook=reference)
    right = (await face.call("GET", f"{path}/rights")).json()["rights"][0]
    asked = {name: right[name] for name in ("role", "providers", "provision", "categories")}
    asked |= {"id": "centre-1", "purpose": right["purposes"][0], "first": "2026-01-01"}
    assert (await face.call("POST", path, json=asked, headers=USER)).status_code == 201
    assert (await face.call("POST", path, json=asked)).status_code == 400
    assert (await face.call("GET", path)).status_code == 200
    assert (await face.call("GET", f"{path}/centre-1")).status_code == 200
    assert (await face.call("GET", f"{path}/none")).status_code == 404
    for known, status in (("centre-1", 201), ("none", 404)):
        answer = await face.call("POST", f"{path}/{known}/end", json={"last": "2026-06-30"}, headers=USER)
        assert answer.status_code == status
    exchange.standing = former
    await _tasks(here)


async def _audit(here: Faces) -> None:
    face, exchange = here.clients, here.here.exchange

    async def ask(path: str, expected: int = 200, **document: Any) -> httpx.Response:
        answer = await face.call("POST", f"/v1/audit/{path}", json=document, headers=USER)
        assert answer.status_code == expected, (path, answer.text)
        return answer

    window = {"from": "2026-01-01T00:00:00Z", "to": "2100-01-01T00:00:00Z"}
    (found,) = (await ask("search", limit=1)).json()["found"]
    for path in ("consents", "days", "extract", "after-withdrawal"):
        await ask(path, person=PERSON)
        await ask(path, 400, person=CODE | {"value": "010190-900A"})
    await ask("search", question="disclosures", person=PERSON, order="oldest")
    await ask("timeline", entry=found["entry"]["id"])
    for path in ("flows", "unusual"):
        await ask(path, **window)
    await ask("rulebook-change", rulebook=former_rulebook().decode(), **window)
    await ask("rulebook-change", 400, rulebook="no: rulebook")
    await ask("check", newest=100)
    await ask("proofs", entries=[found["entry"]["id"]])
    await ask("proofs", 404, entries=["no-such"])
    for form in ("csv", "jsonl", "fhir"):
        await ask("export", format=form)
    proof = await face.call("GET", f"/v1/audit/entries/{found['index']}/proof")
    await ask("unchanged", checkpoint=proof.json()["checkpoint"])
    await ask("unchanged", 400, checkpoint="no seal")
    for path, status in (
        ("questions", 200), ("unreviewed", 200), ("adapters", 200), ("entries/no-such/proof", 404),
        ("entries/99999999999999999/proof", 400),
        ("processing/2026", 200), ("processing/1", 400), ("processing/9999", 400), ("processing/then", 400),
    ):  # fmt: skip
        assert (await face.call("GET", f"/v1/audit/{path}")).status_code == status, path
    page = await face.call("GET", "/v1/audit/processing/2026", headers={"Accept": "text/html"})
    assert page.headers["content-type"].startswith("text/html")
    verdict = {"verdict": "justified", "remark": "seen"}
    await ask(f"reviews/{found['entry']['id']}", 400, **verdict)
    emergency = Story(client="test").entry(EntryType.BREAK_GLASS, Outcome.SUCCESS, exchange.clock())
    await exchange.log.append([emergency])
    await ask(f"reviews/{emergency.id}", 201, **verdict)


async def _consents(face: Face) -> None:
    made = (await face.call("POST", "/v1/consents", json=CONSENT)).json()
    assert made["notices"] == 0
    fhir = {"Accept": "application/fhir+json"}
    await face.call("POST", "/v1/consents/search", json={"subject": PERSON})
    found = await face.call("POST", "/v1/consents/search", json={"subject": PERSON}, headers=fhir)
    resource = found.json()["entry"][0]["resource"]
    again = await face.call("POST", "/v1/consents", json=resource, headers={"Content-Type": "application/fhir+json"})
    assert again.status_code == 201
    await face.call("GET", f"/v1/consents/{made['id']}")
    await face.call("GET", f"/v1/consents/{made['id']}", headers=fhir)
    assert (await face.call("POST", f"/v1/consents/{made['id']}/withdrawal")).status_code == 201
    assert (await face.call("POST", f"/v1/consents/{made['id']}/withdrawal")).status_code == 200
    assert (await face.call("POST", f"/v1/consents/{made['id']}/error")).status_code == 409
    other = (await face.call("POST", "/v1/consents", json=CONSENT | {"status": "refused"})).json()
    ending, by = (
        f"/v1/consents/{other['id']}/error",
        {"subject": PERSON, "given_by": {"kind": "self"}, "subject_age": 30},
    )
    for lacking in ({}, by, by | {"reason": "never-said", "nonsense": 1}):
        assert (await face.call("POST", ending, json=lacking)).status_code == 422
    assert (await face.call("POST", ending, content=b"x", headers={"Content-Type": "text/csv"})).status_code == 415
    assert (await face.call("POST", ending, json=by | {"reason": "never-said"})).status_code == 201
    assert (await face.call("GET", "/v1/consents/nobody-knows")).status_code == 404
    assert (await face.call("POST", "/v1/consents", json=CONSENT | {"status": "draft"})).status_code == 422
    listed = {"consents": [CONSENT | {"language": "so"}, CONSENT | {"categories": ["horoscope"]}]}
    assert (await face.call("POST", "/v1/consents/import", json=listed)).status_code == 201
    assert (await face.call("POST", "/v1/consents/import", json={"consents": [CONSENT]})).status_code == 200
    assert (await face.call("POST", "/v1/consents/import", json=listed["consents"][1:])).status_code == 422
    assert await face.call("POST", "/v1/consents/import", content=b"x", headers={"Content-Type": "text/csv"})
    case = {"flow": "F1", "facts": {"permit_ground": "asylum-granted", "permit_granted": True, "municipality": "285"}}
    assert (await face.call("POST", "/v1/decisions", json=case | {"subject": PERSON})).status_code == 200
    assert (await face.call("POST", "/v1/decisions", json=case | {"emergency": {}})).status_code == 422


async def _reports(face: Face) -> None:
    """Prohibitions that wait for a human."""
    told = CONSENT | {"kind": "prohibition", "given_by": {"kind": "other"}, "target": {"kind": "document", "code": "1"}}
    report = (await face.call("POST", "/v1/consents", json=told)).json()
    astray = await face.call("POST", "/v1/consents", json=told | {"subject": {"system": HETU, "value": "x"}})
    assert astray.status_code == 202
    assert (await face.call("GET", "/v1/reports")).json()["unplaced"]
    path, said = (
        f"/v1/reports/{report['id']}/answer",
        {"subject": PERSON, "forbids": True, "language": "ti", "given_by": {"kind": "self"}},
    )
    assert (await face.call("POST", path, json=said | {"language": "in their own words"})).status_code == 422
    assert (await face.call("POST", path, json=said)).status_code == 201
    assert (await face.call("POST", path, json=said)).status_code == 409
    assert (await face.call("POST", "/v1/reports/none/answer", json=said)).status_code == 404
    place = f"/v1/reports/{astray.json()['id']}/placement"
    assert (await face.call("POST", place, json={"subject": PERSON})).status_code == 201
    assert (await face.call("POST", place, json={"subject": PERSON})).status_code == 404


async def _handovers(here: Faces) -> None:
    face, kind = here.clients, {"Content-Type": "text/csv"}
    ordered = await face.call("POST", ORDER, content=records(here, 1, 2), headers=kind)
    assert ordered.status_code == 201, ordered.text
    broken = records(here, 3).replace(b"\r\n", b"\r\n;", 1)
    assert (await face.call("POST", ORDER, content=broken, headers=kind)).status_code == 422
    unknown = ORDER.replace("F1", "F0")
    assert (await face.call("POST", unknown, content=records(here, 4), headers=kind)).status_code == 422
    assert (await face.call("POST", "/v1/handovers?adapter=none", content=b"x")).status_code == 422
    key = kind | {"Idempotency-Key": "one"}
    assert (await face.call("POST", ORDER, content=records(here, 5), headers=key)).status_code == 201
    assert (await face.call("POST", ORDER, content=records(here, 6), headers=key)).status_code == 409
    for query in ("", "?state=planned&limit=1", "?state=overdue"):
        assert (await face.call("GET", f"/v1/handovers{query}")).status_code == 200
    handover = ordered.json()["handovers"][0]["id"]
    assert (await face.call("GET", f"/v1/handovers/{handover}")).status_code == 200
    assert (await face.call("GET", "/v1/handovers/nobody-knows")).status_code == 404
    await _arrivals(here)


async def _arrivals(here: Faces) -> None:
    face = here.clients
    consent = {"notice": "n-1", "consent": "c-1", "categories": ["health-needs"], "subject": [PERSON]}
    brought = await here.here.bring("ilmoitukset", consent, party="kotka", purpose="withdrawal-notice")
    assert brought.status == 200, brought.body
    (item,) = (await face.call("GET", "/v1/inbox?state=received")).json()["items"]
    assert (await face.call("GET", f"/v1/inbox/{item['id']}", headers=USER)).status_code == 200
    assert (await face.call("GET", f"/v1/inbox/{item['id']}?adapter=none")).status_code == 422
    assert (await face.call("GET", "/v1/inbox/nobody-knows")).status_code == 404
    path = f"/v1/inbox/{item['id']}/acceptance"
    assert (await face.call("POST", path, json={"contact": {}})).status_code == 400
    assert (await face.call("POST", path, json={"contact": {"name": "Kotoutumispalvelut"}})).status_code == 201


async def _identity(here: Faces) -> None:
    face = here.clients
    held = await held_handover(here.here)
    for path in ("/v1/identity/held", "/v1/identity/unconfirmed"):
        assert (await face.call("GET", path, headers=USER)).status_code == 200
        assert (await face.call("GET", path)).status_code == 400
    assert (await face.call("POST", f"/v1/identity/held/{held}/owner", headers=USER)).status_code == 200
    assert (await face.call("POST", f"/v1/identity/held/{held}/opening", headers=USER)).status_code == 200
    assert (await face.call("POST", f"/v1/identity/held/{held}/apart", headers=USER)).status_code == 200
    with pytest.raises(ProblemError, match="waits as"):
        await Handovers(here.here.exchange).plan(order_of(here.here, "7000001"))
    (second,) = (await face.call("GET", "/v1/identity/held", headers=USER)).json()["held"]
    assert (await face.call("POST", f"/v1/identity/held/{second['id']}/same", headers=USER)).status_code == 200
    assert (
        await face.call("POST", f"/v1/identity/held/{second['id']}/same", headers={USER_HEADER: "x"})
    ).status_code == 200
    both = {"identifiers": [{"system": MIGRI_CUSTOMER, "value": "7000010"}, CODE]}
    for known in both["identifiers"]:
        assert (await face.call("POST", "/v1/consents", json=CONSENT | {"subject": known})).status_code == 201
    twice = {"identifiers": [CODE, CODE]}
    assert (await face.call("POST", "/v1/identity/join", json=twice, headers=USER)).status_code == 400
    proposal = await face.call("POST", "/v1/identity/undo", json=both, headers=USER)
    assert proposal.status_code == 404
    proposal = await face.call("POST", "/v1/identity/join", json=both, headers=USER)
    assert proposal.status_code == 200, proposal.text
    path = f"/v1/identity/proposals/{proposal.json()['proposal']}/approval"
    assert (await face.call("POST", path, headers=USER)).status_code == 403
    assert (await face.call("POST", path, headers={USER_HEADER: "tester-2"})).status_code == 200
    proposal = await face.call("POST", "/v1/identity/undo", json=both, headers=USER)
    path = f"/v1/identity/proposals/{proposal.json()['proposal']}/drop"
    assert (await face.call("POST", path, headers=USER)).status_code == 200
    assert (await face.call("POST", path, headers=USER)).status_code == 404
    assert (await face.call("POST", "/v1/identity/marry", json=both, headers=USER)).status_code == 400


async def _queries(face: Face) -> None:
    question = {
        "service": "FI-DEMO/MUN/9999999-9/nobody/nothing", "subject": CODE, "purpose": "service-need-lookup",
        "categories": ["identity"],
    }  # fmt: skip
    assert (await face.call("POST", "/v1/queries", json=question)).status_code == 404
    assert (await face.call("POST", "/v1/queries", json=question | {"service": "x"})).status_code == 400
    assert (await face.call("POST", "/v1/queries", json=question | {"purpose": "curiosity"})).status_code in {404, 422}
