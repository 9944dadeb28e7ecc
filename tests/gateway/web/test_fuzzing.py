"""Whatever comes to a face, well formed, nearly so or not at all: no answer is a failure of the node's own.

Requests are made from the descriptions of the faces. FACES_EXAMPLES says how many for each operation; `make test` tries
a few, the long form some thousands.
"""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from gateway.node.peer_forms import AcceptanceMessage, HandoverMessage, NoticeMessage, QueryMessage
from schemas.identifiers import HETU, MIGRI_CUSTOMER
from tests.gateway.exchange.inprocess import Place, node
from tests.gateway.web import generating
from tests.gateway.web.faces import Face, Faces, faces
from tests.properties import examples

MANY = int(os.environ.get("FACES_EXAMPLES", "0"))
EACH = (
    settings(max_examples=MANY, deadline=None, suppress_health_check=list(HealthCheck))
    if MANY
    else examples(25, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
)
#: Statuses of others' failures, with the one condition under which a face may answer so here: nobody listens there.
OF_OTHERS = {("POST", "/v1/queries"): {"peer-unreachable"}}
PEOPLE: list[dict[str, Any]] = [
    {"system": MIGRI_CUSTOMER, "value": "7000001"},
    {"system": HETU, "value": "010190-900P"},
    {"system": HETU, "value": "010190-900A"},
]


#: Members of the officer's questions, whose forms the description does not tell: good values of each.
OFFICER: dict[str, list[Any]] = {
    "question": ["search", "disclosures", "refusals", "by-subject", "emergencies"],
    "person": PEOPLE,
    "filters": [{"purpose": "service-need-lookup"}, {"outcome": ["success"]}, {"user": "x"}, {"nonsense": "x"}],
    "from": ["2026-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00"],
    "to": ["2027-01-01T00:00:00Z", "9999-12-31T23:59:59-12:00"],
    "order": ["newest", "oldest"],
    "limit": [50, 0, -1, 10**30],
    "after": ["1", "x", str(10**30)],
    "handover": ["x"], "entry": ["0", str(10**30)], "case": ["V-1"],
    "newest": [1, 10**30], "queue": [True], "entries": [["0"], []], "earlier": [[], ["x"]],
    "checkpoint": ["x\ny\n", "yhdyspinta/centre.demo\n1\nAAAA\n"], "for_officer": [True], "language": ["fi"],
    "format": ["csv", "jsonl", "fhir"], "verdict": ["explained"], "remark": ["x"], "rule": ["emergency"],
    "rulebook": ["rulebook: x\nversion: 2027-01-01\n", "{", "a: [1"],
}  # fmt: skip


@dataclass
class Ground:
    """A node's faces on a loop in a thread of its own, and good values that requests are made with."""

    loop: asyncio.AbstractEventLoop
    faces: Faces
    samples: dict[str, list[Any]]

    def run(self, story: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(story, self.loop).result()


@pytest.fixture
def ground(place: Place, database_url: str) -> Iterator[Ground]:
    with standing(place, database_url) as made:
        made.samples = samples_of(made, place)
        yield made


@contextmanager
def standing(place: Place, database_url: str, of: str = "centre") -> Iterator[Ground]:
    """The faces of a party's node."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    stack = AsyncExitStack()

    async def start() -> Faces:
        found = await stack.enter_async_context(node(place, database_url, of=of))
        return await stack.enter_async_context(faces(found))

    try:
        both = asyncio.run_coroutine_threadsafe(start(), loop).result()
        yield Ground(loop, both, {})
    finally:
        asyncio.run_coroutine_threadsafe(stack.aclose(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def samples_of(ground: Ground, place: Place) -> dict[str, list[Any]]:
    """Good values: of the registry and the rulebook, and ids of what stands in the database."""
    here = ground.faces.here
    rulebook = here.exchange.standing(here.exchange.clock()).rulebook
    register = (place.network.folder.parent / "samples" / "reception-centre.csv").read_bytes()
    rows = register.split(b"\r\n")
    some = [b"\r\n".join([rows[0], row, b""]) for row in rows[1:6]]
    word = {"subject": PEOPLE[0], "purposes": ["service-need-lookup"], "recipients": ["municipality"],
            "categories": ["health-needs"], "given_by": {"kind": "self"}}  # fmt: skip
    call = ground.faces.clients.call
    consent = ground.run(call("POST", "/v1/consents", json=word)).json()["id"]
    ordered = ground.run(call("POST", "/v1/handovers?adapter=reception-centre-csv", content=some[0])).json()
    handover = ordered["handovers"][0]
    notice = {"notice": "n-1", "consent": "c-1", "categories": ["health-needs"], "subject": PEOPLE[:2]}
    ground.run(here.bring("ilmoitukset", notice, party="kotka", purpose="withdrawal-notice"))
    arrival = ground.run(call("GET", "/v1/inbox")).json()["items"][0]["id"]
    return {
        "PersonForm": PEOPLE,
        "purpose": sorted(rulebook.purposes)[:8],
        "purposes": [sorted(rulebook.purposes)[:2], []],
        "categories": [sorted(rulebook.categories)[:3], ["identity"]],
        "recipients": [["municipality"], [str(here.party.subsystem)]],
        "flow": ["F1", "F7", "F14"],
        "adapter": [
            "reception-centre-csv",
            "canonical",
            "fhir-r4",
            "municipality-json",
            "county-hl7",
            "municipality-xlsx",
        ],
        "service": [str(place.network.service("kotka", "kotoutuminen")), str(here.service)],
        "identifier": [consent, handover["id"], handover["deliveries"][0]["id"], arrival],
        "entry": [here.entries()[0].id],
        "after": [arrival, "0", "17", ""],
        "role": ["municipality", "reception-centre"],
        "*/*": some,
        "text/csv": [b"subject_system,subject,categories\n" + f"{HETU},010190-900P,identity\n".encode(), *some],
        "application/fhir+json": [b'{"resourceType": "Consent", "status": "active"}'],
        "system": [HETU, MIGRI_CUSTOMER],
        "delivery": [handover["deliveries"][0]["id"]],
        "handover": [handover["id"]],
        "{}": [OFFICER],
        "path": ["checkpoint", "tile/0/000", "tile/entries/000.p/1", "tile/0/x001/000", "tile/8/000.p/255"],
        "sizes": ["0", "1,2", "", "18446744073709551616"],
    }


@pytest.mark.parametrize("face", ["clients", "peers"])
def test_no_request_makes_a_face_fail(ground: Ground, face: str) -> None:
    reached: Face = getattr(ground.faces, face)
    operations = [(path, method) for path, methods in reached.document["paths"].items() for method in methods]
    assert len(operations) > 4
    failures = []
    for path, method in operations:
        try:
            trying(ground, reached, path, method)()
        except AssertionError as failure:
            failures.append(str(failure)[:3000])

    assert failures == [], "\n".join(failures)
    assert reached.errors == []


def trying(ground: Ground, reached: Face, path: str, method: str) -> Callable[[], None]:
    """The property of one operation."""

    @EACH
    @given(st.data())
    def attempt(data: st.DataObject) -> None:
        address, headers, body = generating.request(data.draw, reached.document, path, method, ground.samples)
        answer = ground.run(reached.call(method.upper(), address, headers=encoded(headers), content=body))
        if answer.status_code >= 500:
            told = f"{answer.status_code} {answer.text}: {method} {address[:300]} {headers} {body[:500]!r}"
            assert answer.status_code != 500, told
            assert answer.json()["code"] in OF_OTHERS.get((method.upper(), path), set()), told

    return attempt


def encoded(headers: dict[str, str]) -> list[tuple[bytes, bytes]]:
    """Headers as they go over the wire."""
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]


MESSAGE_SAMPLES: dict[str, list[Any]] = {
    "PersonForm": PEOPLE,
    "subject": [PEOPLE[0], PEOPLE[:2], PEOPLE[2:]],
    "flow": ["F1", "F14"],
    "categories": [["identity"], ["health-needs"], []],
    "delivery": ["d-1", "d-2"],
    "handover": ["h-1"],
    "notice": ["n-1", "n-2"],
    "consent": ["c-1"],
    "consents": [[]],
    "messages": [[], ["m-1"]],
    "contact": [{"name": "Kotoutumispalvelut"}],
}


@pytest.mark.parametrize(
    ("form", "of", "code", "peer", "purpose"),
    [
        (QueryMessage, "centre", "palvelutarve", "kotka", "service-need-lookup"),
        (HandoverMessage, "kotka", "saapuvat", "centre", "reception-to-municipality"),
        (AcceptanceMessage, "kotka", "hyvaksynnat", "centre", "reception-to-municipality"),
        (NoticeMessage, "kotka", "ilmoitukset", "centre", "withdrawal-notice"),
    ],
)
def test_no_signed_message_makes_a_node_fail_and_its_form_is_the_described_one(
    place: Place, database_url: str, form: type[BaseModel], of: str, code: str, peer: str, purpose: str
) -> None:
    with standing(place, database_url, of) as ground:
        here, described = ground.faces.here, ground.faces.peers.document
        samples = MESSAGE_SAMPLES | {"bundle": [place.template]}
        statuses = set()

        @EACH
        @given(st.data())
        def attempt(data: st.DataObject) -> None:
            wild = data.draw(st.sampled_from([4, 12, 1000]))
            reference = {"$ref": f"#/components/schemas/{form.__name__}"}
            value = generating.Making(described, samples).value(data.draw, reference, "", wild)
            body = json.dumps(value).encode()
            if data.draw(st.integers(0, 4)) == 0:
                body = generating.mutated(data.draw, body)
            categories = data.draw(st.sampled_from([{"identity"}, {"health-needs"}, {"nonsense"}]))

            answer = ground.run(here.bring(code, body, party=peer, purpose=purpose, categories=frozenset(categories)))

            assert answer.status < 500, f"{answer.body!r}: {body[:1000]!r}"
            statuses.add(answer.status)
            if answer.status == 200:
                form.model_validate_json(body)

        attempt()
        assert len(statuses) > 1, "some got further than others"
