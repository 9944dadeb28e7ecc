"""Consents, refusals, withdrawals and decisions at the client face of running nodes, and what they do between two."""

from __future__ import annotations

import asyncio
import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from fhir.resources.R4B.bundle import Bundle
from fhir.resources.R4B.consent import Consent
from sqlalchemy import select
from typer.testing import CliRunner

from consent.deciding.examples import outcome
from consent.rulebook import load
from consent.rules.law import Rulebook
from consent.words.fhir import CATEGORY
from consent.words.resource import RECIPIENT
from gateway.cli.main import app
from gateway.storage.tables import arrival_words, bodies, decisions, deliveries
from schemas.identifiers import HETU, MIGRI_CUSTOMER
from tests.former import former_rulebook
from tests.gateway.running import Running, running
from tests.waiting import until, wait

pytestmark = pytest.mark.xdist_group("consents")
RULEBOOK = load(former_rulebook(), source="reference")


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A centre, a municipality and a county."""
    with running(tmp_path_factory.mktemp("consents"), nodes=("centre", "kotka", "kymenlaakso")) as found:
        yield found


async def call(nodes: Running, party: str, method: str, path: str, **sent: Any) -> tuple[int, dict[str, Any]]:
    async with nodes.client(party) as session, session.request(method, path, **sent) as answer:
        return answer.status, await answer.json(content_type=None)


def invented(number: int) -> str:
    """An artificial identity code of an adult whom no register of the network knows."""
    digits = f"010180{900 + number}"
    return f"{digits[:6]}-{digits[6:]}" + "0123456789ABCDEFHJKLMNPRSTUVWXY"[int(digits) % 31]


async def post(nodes: Running, party: str, path: str, document: Any = None) -> tuple[int, dict[str, Any]]:
    return await call(nodes, party, "POST", path, json=document if document is not None else {})


def consent(person: str, **changes: Any) -> dict[str, Any]:
    return {
        "subject": {"system": HETU, "value": person},
        "purposes": ["service-need-lookup"],
        "recipients": ["municipality"],
        "categories": ["health-needs"],
        "given_by": {"kind": "self"},
        "language": "ar",
        "evidence": {"form": "S-3", "digest": "sha-256:" + "a" * 64},
    } | changes


def taken_back(person: str, **changes: Any) -> dict[str, Any]:
    return {"subject": {"system": HETU, "value": person}, "given_by": {"kind": "self"}} | changes


# -- who it is about ----------------------------------------------------------------------------------------------

NOBODYS: list[tuple[str, Any, str, str]] = [
    ("check character", {"system": HETU, "value": "010190-900A"}, "subject-check", "/value"),
    ("day", {"system": HETU, "value": "310290-901X"}, "subject-form", "/value"),
    ("x", {"system": HETU, "value": "x"}, "subject-form", "/value"),
    ("hyphen", {"system": HETU, "value": "010190\u2010900P"}, "subject-form", "/value"),
    ("minus", {"system": MIGRI_CUSTOMER, "value": "DEMO\u2212X1"}, "subject-form", "/value"),
    ("NUL", {"system": MIGRI_CUSTOMER, "value": "A\x001"}, "subject-form", "/value"),
    ("inner blank", {"system": MIGRI_CUSTOMER, "value": "A 1"}, "subject-form", "/value"),
    ("system", {"system": "1.2.246.21", "value": "010190-900P"}, "subject-system-unknown", "/system"),
    ("a text", "010190-900P", "invalid-request", ""),
    ("no system", {"value": "010190-900P"}, "invalid-request", ""),
]


@pytest.mark.parametrize(("subject", "code", "member"), [row[1:] for row in NOBODYS], ids=[row[0] for row in NOBODYS])
async def test_nobody_is_refused_alike_at_every_door_for_clients(
    nodes: Running, subject: Any, code: str, member: str
) -> None:
    before = len(nodes.entries("centre"))
    doors: list[tuple[str, str, dict[str, Any]]] = [
        ("/v1/consents", "/subject", consent("") | {"subject": subject}),
        ("/v1/consents/search", "/subject", {"subject": subject}),
        ("/v1/decisions", "/subject", {"flow": "F1", "facts": {}, "subject": subject}),
    ]
    for path, pointer, document in doors:
        status, answer = await post(nodes, "centre", path, document)
        assert (status, answer["code"], answer["pointer"]) == (400, code, pointer + member), path
        assert answer["remedy"], path
    status, answer = await post(nodes, "kotka", "/v1/queries", nodes.question(subject=subject))
    assert (status, answer["code"], answer["pointer"]) == (400, code, "/subject" + member)
    status, answer = await post(
        nodes, "centre", "/v1/consents/import", {"consents": [consent("") | {"subject": subject}]}
    )
    assert (status, answer["findings"][0]["code"]) == (422, code)
    assert answer["findings"][0]["column"] == ("subject_system" if member == "/system" else "subject")

    assert len(nodes.entries("centre")) == before


async def test_ground_that_the_rulebook_does_not_know_is_no_case_of_which_nothing_moves(nodes: Running) -> None:
    for ground in ("asylum_granted", "nosuch"):
        document = {"flow": "F1", "facts": {"permit_ground": ground}}
        status, answer = await post(nodes, "centre", "/v1/decisions", document)
        assert (status, answer["code"], answer["pointer"]) == (400, "invalid-request", "/facts/permit_ground")
        assert "asylum-granted" in answer["remedy"]


@pytest.mark.parametrize("subject", [row[1] for row in NOBODYS], ids=[row[0] for row in NOBODYS])
async def test_prohibition_that_cannot_be_tied_to_a_person_waits_to_be_placed(nodes: Running, subject: Any) -> None:
    """It is neither turned away nor counted as protecting anybody, and it waits first among what waits."""
    person = invented(41)
    _, former = await call(nodes, "centre", "GET", "/v1/reports")
    status, answer = await post(
        nodes, "centre", "/v1/consents", consent("", status="refused", language="ti") | {"subject": subject}
    )

    assert (status, answer["status"]) == (202, "not-placed")
    assert answer["pointer"].startswith("/subject")
    _, waiting = await call(nodes, "centre", "GET", "/v1/reports")
    assert [item["id"] for item in waiting["unplaced"]] == [
        *(item["id"] for item in former["unplaced"]),
        answer["id"],
    ]
    whom = {"subject": {"system": HETU, "value": person}}
    for identifier in (answer["id"], "none"):
        elsewhere, _ = await post(nodes, "kotka", f"/v1/reports/{identifier}/placement", whom)
        assert elsewhere == 404
    status, placed = await post(
        nodes, "centre", f"/v1/reports/{answer['id']}/placement", {"subject": {"system": HETU, "value": person}}
    )
    assert (status, placed["kind"], placed["status"]) == (201, "prohibition", "refused")
    _, found = await post(nodes, "centre", "/v1/consents/search", {"subject": {"system": HETU, "value": person}})
    assert placed["id"] in {word["id"] for word in found["consents"]}
    again = await post(
        nodes, "centre", f"/v1/reports/{answer['id']}/placement", {"subject": {"system": HETU, "value": person}}
    )
    assert again[0] == 404
    entry = nodes.entries("centre", reason="not-placed")[-2]
    assert (entry.type, entry.outcome, entry.detail["held"]) == ("identity", "pending", answer["id"])


async def test_prohibitions_of_a_file_that_cannot_be_tied_to_a_person_wait(nodes: Running) -> None:
    known, nobody = invented(42), {"subject": {"system": HETU, "value": "010190-900A"}}
    forms = [consent(known, status="refused"), consent("", status="refused") | nobody, consent("") | nobody]

    status, answer = await post(nodes, "centre", "/v1/consents/import", {"consents": forms})

    assert (status, answer["recorded"], answer["rejected"], len(answer["not_placed"])) == (201, 1, 1, 1)
    assert [(finding["row"], finding["code"]) for finding in answer["findings"]] == [
        (2, "subject-check"),
        (3, "subject-check"),
    ]


# -- who said it, and in which language -----------------------------------------------------------------------------

COUNTY = {"purposes": ["reception-to-county"], "recipients": ["county"], "categories": ["health-needs"]}


def minor(number: int) -> str:
    digits = f"010112{900 + number}"
    return f"{digits[:6]}A{digits[6:]}" + "0123456789ABCDEFHJKLMNPRSTUVWXY"[int(digits) % 31]


async def county_gets(nodes: Running, person: str) -> bool:
    """Whether the county would get this person's health needs, by the words that stand."""
    facts = facts_of(RULEBOOK, "p01-asylum-adult")
    document = {"flow": "F1", "facts": facts, "subject": {"system": HETU, "value": person}}
    status, answer = await post(nodes, "centre", "/v1/decisions", document | {"requester": {"role": "county"}})
    assert status == 200, answer["detail"]
    (advice,) = answer["decisions"]
    return "health-needs" in {permitted["category"] for permitted in advice["decision"]["permitted"]}


@pytest.mark.parametrize("language", ["ti", "tr", "tlh"])
@pytest.mark.parametrize("is_minor", [False, True], ids=["the person", "a minor"])
async def test_refusal_is_in_force_at_once_in_any_language(nodes: Running, language: str, is_minor: bool) -> None:
    serial = 50 + ["ti", "tr", "tlh"].index(language)
    person = minor(serial) if is_minor else invented(serial)
    giver = {"kind": "guardian", "minor_opinion": "agrees"} if is_minor else {"kind": "self"}
    await post(nodes, "centre", "/v1/consents", consent(person, **COUNTY, given_by=giver))
    assert await county_gets(nodes, person)

    status, answer = await post(
        nodes,
        "centre",
        "/v1/consents",
        consent(person, kind="prohibition", language=language, categories=[]) | {"purposes": [], "recipients": []},
    )

    assert (status, answer["kind"], answer["language"], answer["ends"]) == (201, "prohibition", language, None)
    assert not await county_gets(nodes, person)


@pytest.mark.parametrize("language", ["ti", "tr", "tlh"])
@pytest.mark.parametrize("forbids", [True, False], ids=["confirmed", "denied"])
async def test_what_a_neighbour_reports_holds_until_the_person_is_asked(
    nodes: Running, language: str, forbids: bool
) -> None:
    person = invented(60 + 2 * ["ti", "tr", "tlh"].index(language) + forbids)
    await post(nodes, "centre", "/v1/consents", consent(person, **COUNTY))

    status, report = await post(
        nodes,
        "centre",
        "/v1/consents",
        consent(person, **COUNTY, kind="prohibition", language=language, given_by={"kind": "other"}),
    )

    assert (status, report["kind"], report["language"]) == (201, "report", language)
    assert report["ends"] is not None
    assert not await county_gets(nodes, person)
    _, waiting = await call(nodes, "centre", "GET", "/v1/reports")
    assert report["id"] in {item["id"] for item in waiting["reports"]}
    _, others = await call(nodes, "kotka", "GET", "/v1/reports")
    assert report["id"] not in {item["id"] for item in others["reports"]}
    path, said = (
        f"/v1/reports/{report['id']}/answer",
        {"forbids": forbids, "language": language, "given_by": {"kind": "self"}},
    )
    about = {"subject": {"system": HETU, "value": person}}
    for wrong, code in (
        (about | said | {"forbids": "maybe"}, 422),
        ({key: value for key, value in (about | said).items() if key != "given_by"}, 422),
        (about | said | {"given_by": {"kind": "other"}}, 400),
        ({"subject": {"system": HETU, "value": invented(1)}} | said, 404),
    ):
        assert (await post(nodes, "centre", path, wrong))[0] == code
    assert (await post(nodes, "kotka", path, about | said))[0] == 404
    assert (await post(nodes, "centre", f"/v1/consents/{report['id']}/withdrawal"))[0] == 400

    status, answer = await post(nodes, "centre", path, about | said)

    assert (status, answer["kind"]) == (201, "prohibition" if forbids else "report")
    assert answer["status"] == ("refused" if forbids else "lapsed")
    assert await county_gets(nodes, person) is not forbids
    assert (await post(nodes, "centre", path, about | said))[0] == 409
    told = [entry for entry in nodes.entries("centre") if any(id_ == report["id"] for id_, _ in entry.consents)]
    assert [(entry.type, entry.outcome) for entry in told if entry.type == "refusal"] == [
        ("refusal", "pending"),
        ("refusal", "success"),
    ]


async def test_neighbours_report_does_not_hold_what_the_person_permits(nodes: Running) -> None:
    person = invented(70)
    await post(nodes, "centre", "/v1/consents", consent(person, **COUNTY, kind="permission"))
    await post(
        nodes, "centre", "/v1/consents", consent(person, **COUNTY, kind="prohibition", given_by={"kind": "other"})
    )

    assert await county_gets(nodes, person)


async def test_question_in_another_notation_finds_the_same_person(nodes: Running) -> None:
    code = nodes.people[1]
    for spelling in (code, f" {code.lower()} ", f"{code}\u00a0"):
        status, answer = await post(
            nodes, "kotka", "/v1/queries", nodes.question(subject={"system": HETU, "value": spelling})
        )
        assert status == 200, answer["detail"]


# -- decisions ---------------------------------------------------------------------------------------------------


def stated(rulebook: Rulebook, name: str) -> dict[str, Any]:
    party = rulebook.parties[name]
    return {
        "role": party["role"],
        "member": name,
        "municipalities": list(party.get("municipalities", ())),
        "counties": list(party.get("counties", ())),
    }


def facts_of(rulebook: Rulebook, case: str) -> dict[str, Any]:
    facts = rulebook.cases[case].facts
    return {name: value for name in facts.__slots__ if (value := getattr(facts, name)) is not None}


async def test_every_flow_has_an_example_that_permits_and_one_that_refuses_through_the_api(nodes: Running) -> None:
    """Every worked example of the rulebook, put to the node; then: does each flow's row have both kinds?"""
    purposes = {
        code: {part.purpose for part in (*flow.deliveries, *flow.asked)} for code, flow in RULEBOOK.flows.items()
    }
    permitting: set[str] = set()
    refusing: set[str] = set()
    async with nodes.client("kotka") as session:
        for example in RULEBOOK.examples:
            expected = outcome(RULEBOOK, example)
            document = {
                "purpose": example.purpose,
                "provider": stated(RULEBOOK, example.provider),
                "requester": stated(RULEBOOK, example.requester),
                "facts": facts_of(RULEBOOK, example.case),
                "consents": [{"given_by": {"kind": "self"}, **word} for word in RULEBOOK.cases[example.case].consents],
                "at": f"{example.on.isoformat()}T12:00:00Z",
            }
            if example.emergency:
                document["emergency"] = {"justification": "worked example"}
            async with session.post("/v1/decisions", json=document) as answer:
                body = await answer.json()
                assert answer.status == 200, body
            (found,) = body["decisions"]
            permitted = {one["category"] for one in found["decision"]["permitted"]}
            assert permitted == expected.permitted_categories, example
            assert body["rulebook"]["digest"] == RULEBOOK.digest
            for language in ("fi", "sv", "en"):
                assert len(found["explanation"][language]) > 40
            for code, known in purposes.items():
                if example.purpose in known:
                    permitting |= {code} if example.permitted else set()
                    refusing |= {code} if example.withheld else set()

    assert permitting == refusing == set(RULEBOOK.flows)


async def test_flow_is_decided_for_each_of_its_recipients(nodes: Running) -> None:
    status, body = await post(
        nodes,
        "centre",
        "/v1/decisions",
        {"flow": "F1", "facts": facts_of(RULEBOOK, "p01-asylum-adult"), "at": "2026-03-01T12:00:00Z"},
    )

    assert status == 200
    by_role = {one["decision"]["requester"]: one["decision"] for one in body["decisions"]}
    assert set(by_role) == {"municipality", "county"}
    # A patient's data go to neither of them without the person's word: 703/2023 6 and 54 §.
    for decision in by_role.values():
        assert ("health-needs", "consent-missing") in {(one["category"], one["code"]) for one in decision["withheld"]}


def _granted(purpose: str, recipient: str, *categories: str) -> dict[str, Any]:
    said = {"purposes": [purpose], "recipients": [recipient], "categories": list(categories)}
    return said | {"status": "active", "given_by": {"kind": "self"}}


#: Who asks what about whom with which consent, and the basis by which a category may move; None if it may not.
FOOTING: list[tuple[str, dict[str, Any], str, str, list[dict[str, Any]], str, str | None]] = [
    ("the county, no permission", {"flow": "F1"}, "p01-asylum-adult", "county", [], "health-needs", None),
    (
        "the county, with permission (703/2023 54 §:1)",
        {"flow": "F1"},
        "p01-asylum-adult",
        "county",
        [_granted("reception-to-county", "county", "health-needs")],
        "health-needs",
        "county-by-permission",
    ),
    (
        "a child without a guardian (681/2023 87 §:1)",
        {"flow": "F6"},
        "p04-unaccompanied-minor",
        "county",
        [],
        "health-needs",
        "unaccompanied-minor-county-2025",
    ),
    ("the new municipality, no consent", {"flow": "F10"}, "p10-moves-on", "municipality", [], "housing", None),
    (
        "the new municipality, by consent (681/2023 85 §)",
        {"flow": "F10"},
        "p10-moves-on",
        "municipality",
        [_granted("onward-move", "municipality", "housing")],
        "housing",
        "onward-move-municipality-2025",
    ),
    ("the new county, no permission", {"flow": "F10"}, "p10-moves-on", "county", [], "health-needs", None),
    (
        "the new municipality revises the plan (681/2023 86 §:4)",
        {"purpose": "plan-revision", "provider": {"role": "municipality"}, "requester": {"role": "municipality"}},
        "p10-moves-on",
        "municipality",
        [],
        "education",
        "plan-revision",
    ),
]


@pytest.mark.parametrize(
    ("asked", "case", "role", "consents", "category", "basis"),
    [row[1:] for row in FOOTING],
    ids=[row[0] for row in FOOTING],
)
async def test_what_moves_has_a_footing_in_law(
    nodes: Running,
    asked: dict[str, Any],
    case: str,
    role: str,
    consents: list[dict[str, Any]],
    category: str,
    basis: str | None,
) -> None:
    document = {**asked, "facts": facts_of(RULEBOOK, case), "consents": consents, "at": "2026-03-01T12:00:00Z"}
    if "flow" not in asked:
        document["categories"] = [category]

    status, body = await post(nodes, "centre", "/v1/decisions", document)

    assert status == 200, body
    decision = next(one["decision"] for one in body["decisions"] if one["decision"]["requester"] == role)
    assert {one["category"]: one["basis"] for one in decision["permitted"]}.get(category) == basis


async def test_members_of_the_registry_are_decided_for_in_their_roles_and_territory(nodes: Running) -> None:
    document = {
        "purpose": "reception-to-municipality",
        "provider": {"subsystem": str(nodes.party("centre").subsystem)},
        "requester": {"subsystem": str(nodes.party("kotka").subsystem)},
        "facts": facts_of(RULEBOOK, "p01-asylum-adult"),
    }

    _, here = await post(nodes, "centre", "/v1/decisions", document)
    elsewhere = facts_of(RULEBOOK, "p01-asylum-adult") | {"municipality": "286"}
    _, there = await post(nodes, "centre", "/v1/decisions", document | {"facts": elsewhere})

    assert here["decisions"][0]["decision"]["permitted"]
    assert there["decisions"][0]["decision"]["outcome"] == "deny"
    unmet = [one for one in there["decisions"][0]["decision"]["withheld"] if one["code"] == "condition-unmet"]
    assert {one["unmet"] for one in unmet} == {"requester-is-municipality-of-residence"}


async def test_law_of_another_day_is_asked_by_the_date(nodes: Running) -> None:
    document = {
        "flow": "F5",
        "facts": facts_of(RULEBOOK, "p03-ukrainian-mother"),
        "requester": {"role": "municipality"},
    }

    _, before = await post(nodes, "centre", "/v1/decisions", document | {"at": "2023-02-28T12:00:00Z"})
    _, after = await post(nodes, "centre", "/v1/decisions", document | {"at": "2023-03-01T12:00:00Z"})

    assert before["decisions"][0]["decision"]["outcome"] == "deny"
    assert after["decisions"][0]["decision"]["outcome"] == "partial"


async def test_without_facts_it_says_what_it_would_need(nodes: Running) -> None:
    _, body = await post(nodes, "kotka", "/v1/decisions", {"flow": "F9", "requester": {"role": "county"}})

    decision = body["decisions"][0]["decision"]
    assert decision["outcome"] == "possible"
    assert set(decision["permitted"][0]["needs"]) == {"municipality", "permit_granted", "permit_ground"}


async def test_decision_asked_for_is_not_stored(nodes: Running) -> None:
    before = len(nodes.entries("kymenlaakso")), len(nodes.rows("kymenlaakso", select(decisions)))

    status, _ = await post(
        nodes, "kymenlaakso", "/v1/decisions", {"flow": "F1", "facts": facts_of(RULEBOOK, "p07-safety-prohibition")}
    )

    assert status == 200
    assert (len(nodes.entries("kymenlaakso")), len(nodes.rows("kymenlaakso", select(decisions)))) == before


AT_SUBSYSTEM = ("invalid-request", "/provider/subsystem")


@pytest.mark.parametrize(
    ("document", "code", "pointer"),
    [
        ({}, "invalid-request", "/flow"),
        ({"flow": "F1", "purpose": "compensation"}, "invalid-request", "/flow"),
        ({"flow": "F99"}, "invalid-request", "/flow"),
        ({"flow": "F1", "requester": {"role": "development-centre"}}, "invalid-request", "/requester"),
        # The shared plan: 1100/2024 repealed its sections on the day on which 681/2023 came into force.
        ({"flow": "F8"}, "invalid-request", "/flow"),
        ({"purpose": "shared-plan", "provider": {}, "requester": {}}, "invalid-request", "/purpose"),
        ({"purpose": "theft", "provider": {}, "requester": {}}, "invalid-request", "/purpose"),
        ({"purpose": "compensation"}, "invalid-request", "/provider"),
        ({"purpose": "compensation", "provider": {"role": "x"}, "requester": {}}, "invalid-request", "/provider/role"),
        ({"purpose": "compensation", "provider": {"subsystem": "x"}, "requester": {}}, *AT_SUBSYSTEM),
        ({"flow": "F1", "facts": {"age": "old"}}, "invalid-request", "/facts/age"),
        ({"flow": "F1", "facts": {"age": True}}, "invalid-request", "/facts/age"),
        ({"flow": "F1", "facts": {"permit_ground": "nosuch"}}, "invalid-request", "/facts/permit_ground"),
        ({"flow": "F1", "facts": {"shoe_size": 43}}, "invalid-request", "/facts"),
        ({"flow": "F1", "categories": ["horoscope"]}, "invalid-request", "/categories"),
        ({"flow": "F1", "consents": [{"status": "active"}]}, "invalid-request", "/consents/0/categories"),
        ({"flow": "F1", "at": "yesterday"}, "invalid-request", "/at"),
    ],
)  # fmt: skip
async def test_case_that_cannot_be_decided_is_told_where(
    nodes: Running, document: dict[str, Any], code: str, pointer: str
) -> None:
    status, body = await post(nodes, "kotka", "/v1/decisions", document)

    assert (status, body["code"], body["pointer"]) == (400, code, pointer)


# -- consents ----------------------------------------------------------------------------------------------------


async def test_consent_is_recorded_read_withdrawn_and_every_step_is_on_record(nodes: Running) -> None:
    person = invented(3)

    status, made = await post(nodes, "centre", "/v1/consents", consent(person))
    assert (status, made["status"], made["version"]) == (201, "active", 1)
    _, found = await post(nodes, "centre", "/v1/consents/search", {"subject": {"system": HETU, "value": person}})
    status, ended = await post(nodes, "centre", f"/v1/consents/{made['id']}/withdrawal")
    assert (status, ended["status"], ended["version"]) == (201, "withdrawn", 2)
    again, stands = await post(nodes, "centre", f"/v1/consents/{made['id']}/withdrawal")
    _, history = await call(nodes, "centre", "GET", f"/v1/consents/{made['id']}")

    assert [one["id"] for one in found["consents"]] == [made["id"]]
    assert (again, stands) == (200, ended | {"notices": 0})
    assert [one["status"] for one in history["versions"]] == ["active", "withdrawn"]
    assert "subject" not in made
    spoken = [
        one
        for one in nodes.entries("centre", type="consent")
        if (made["id"], 1) in one.consents or (made["id"], 2) in one.consents
    ]
    assert [one.detail.get("status", one.detail.get("act")) for one in spoken] == [
        "active",
        "read",
        "withdrawn",
        "read",
        "read",
    ]
    assert len({one.subject for one in spoken}) == 1


async def test_nobody_takes_a_prohibition_back_without_saying_who(nodes: Running) -> None:
    person = invented(42)
    _, made = await post(nodes, "centre", "/v1/consents", consent(person, kind="prohibition"))
    path = f"/v1/consents/{made['id']}/withdrawal"

    for document, pointer in (
        ({}, "/given_by"),
        ({"given_by": {"kind": "guardian"}, "nonsense": 1}, ""),
        (taken_back(person, given_by={"kind": "guardian"}), "/given_by/mandate_until"),
        (taken_back(person, subject_age=200), "/subject_age"),
    ):
        status, problem = await post(nodes, "centre", path, document)
        assert (status, problem["code"], problem["pointer"]) == (422, "consent-invalid", pointer)
        assert problem["remedy"]
    async with nodes.client("centre") as session, session.post(path) as answer:
        assert (answer.status, (await answer.json(content_type=None))["pointer"]) == (422, "/given_by")
    status, ended = await post(nodes, "centre", path, taken_back(person))

    assert (status, ended["status"], ended["ended_by"]["kind"]) == (201, "withdrawn", "self")
    _, history = await call(nodes, "centre", "GET", f"/v1/consents/{made['id']}")
    assert [version.get("ended_by") is not None for version in history["versions"]] == [False, True]
    _, bundle = await call(
        nodes, "centre", "GET", f"/v1/consents/{made['id']}", headers={"Accept": "application/fhir+json"}
    )
    last = bundle["entry"][1]["resource"]
    Consent.model_validate(last)
    assert last["status"] == "inactive"
    assert any(part["url"].endswith("word-ended-by") for part in last["extension"])
    again, problem = await call(
        nodes, "centre", "POST", "/v1/consents", headers={"Content-Type": "application/fhir+json"},
        json=last | {"patient": {"identifier": {"system": HETU, "value": person}}},
    )  # fmt: skip
    assert (again, problem["pointer"]) == (422, "/status")
    assert "withdrawal" in problem["detail"]


async def test_a_consent_is_withdrawn_by_anybody_but_in_the_declared_form(nodes: Running) -> None:
    _, made = await post(nodes, "centre", "/v1/consents", consent(invented(43)))
    path = f"/v1/consents/{made['id']}/withdrawal"

    status, problem = await post(nodes, "centre", path, {"nonsense": 1})
    assert (status, problem["code"]) == (422, "consent-invalid")
    assert (await post(nodes, "centre", path, {"given_by": {"kind": "other"}}))[0] == 201


async def test_consent_of_another_organisation_is_not_there_for_this_one(nodes: Running) -> None:
    _, made = await post(nodes, "centre", "/v1/consents", consent(invented(4)))

    status, problem = await post(nodes, "kotka", f"/v1/consents/{made['id']}/withdrawal")

    assert (status, problem["code"]) == (404, "consent-unknown")


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"purposes": ["service-need-lokup"]}, "/purposes/0"),
        ({"categories": ["health"]}, "/categories/0"),
        ({"recipients": ["munisipality"]}, "/recipients/0"),
        ({"status": "withdrawn"}, "/status"),
        ({"language": "arabic (Iraq)"}, "/language"),
        ({"given_by": {"kind": "representative"}}, "/given_by/mandate_until"),
    ],
)
async def test_consent_that_would_protect_nobody_is_refused(
    nodes: Running, changes: dict[str, Any], pointer: str
) -> None:
    status, problem = await post(nodes, "centre", "/v1/consents", consent(invented(5), **changes))

    assert (status, problem["code"], problem["pointer"]) == (422, "consent-invalid", pointer)


async def test_age_of_a_minor_is_read_from_the_identity_code(nodes: Running) -> None:
    child = "150612A900" + "0123456789ABCDEFHJKLMNPRSTUVWXY"[int("150612900") % 31]

    alone, problem = await post(nodes, "centre", "/v1/consents", consent(child, subject_age=30))
    status, made = await post(
        nodes, "centre", "/v1/consents", consent(child, given_by={"kind": "guardian", "able_to_decide": False})
    )

    assert (alone, problem["pointer"]) == (422, "/given_by")
    assert (status, made["given_by"]["mandate_until"]) == (201, "2030-06-14")


async def test_fhir_goes_in_and_comes_out(nodes: Running) -> None:
    person = invented(6)
    fhir = {"Content-Type": "application/fhir+json"}
    resource = {
        "resourceType": "Consent",
        "status": "active",
        "scope": {
            "coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "patient-privacy"}]
        },
        "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
        "patient": {"identifier": {"system": HETU, "value": person}},
        "performer": [{"identifier": {"system": HETU, "value": person}}],
        "language": "so",
        "provision": {
            "type": "permit",
            "purpose": [{"system": "urn:yhdyspinta:purpose", "code": "service-need-lookup"}],
            "class": [{"system": "urn:yhdyspinta:category", "code": "health-needs"}],
            "actor": [
                {
                    "role": {"coding": [RECIPIENT]},
                    "reference": {"identifier": {"system": "urn:yhdyspinta:role", "value": "municipality"}},
                }
            ],
        },
    }

    status, made = await call(nodes, "centre", "POST", "/v1/consents", json=resource, headers=fhir)
    _, found = await call(
        nodes, "centre", "POST", "/v1/consents/search",
        json={"subject": {"system": HETU, "value": person}}, headers={"Accept": "application/fhir+json"},
    )  # fmt: skip

    assert status == 201
    Consent.model_validate(made)
    Bundle.model_validate(found)
    assert found["entry"][0]["resource"] == made
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"status": "draft"}, "/status"),
        ({"performer": [{"reference": "RelatedPerson/naapuri", "display": "Naapuri"}]}, "/performer/0"),
        ({"performer": []}, "/performer"),
        ({"dateTime": "2100-01-01"}, "/dateTime"),
        (
            {"provision": resource["provision"] | {"class": [{"system": CATEGORY, "code": "horoscope"}]}},
            "/provision/class/0",
        ),
        ({"patient": {"identifier": {"system": HETU, "value": "010190-900X"}}}, "/performer/0"),
    ]
    for changes, pointer in wrong:
        refused, problem = await call(nodes, "centre", "POST", "/v1/consents", json=resource | changes, headers=fhir)
        assert (refused, problem["code"], problem["pointer"]) == (422, "consent-invalid", pointer)


async def test_no_door_takes_what_opens_data_from_nobody(nodes: Running) -> None:
    """As JSON, in a list, in a file and in a case that is only put; a prohibition is taken from anybody."""
    person = invented(66)
    unsaid = {name: value for name, value in consent(person).items() if name != "given_by"}
    alone, problem = await post(nodes, "centre", "/v1/consents", unsaid)
    listed, of_list = await post(
        nodes, "centre", "/v1/consents/import", {"consents": [unsaid, unsaid | {"given_by": {}}]}
    )
    columns = "subject_system;subject;given_by;purposes;recipients;categories"
    row = f"{HETU};{person};;service-need-lookup;municipality;health-needs"
    _, of_file = await call(
        nodes, "centre", "POST", "/v1/consents/import",
        data=f"{columns}\n{row}\n", headers={"Content-Type": "text/csv"},
    )  # fmt: skip
    put, of_case = await post(
        nodes, "centre", "/v1/decisions", {"flow": "F1", "consents": [{"categories": ["identity"]}]}
    )
    forbidden, word = await post(nodes, "centre", "/v1/consents", unsaid | {"status": "refused"})

    assert (alone, problem["code"], problem["pointer"]) == (422, "consent-invalid", "/given_by")
    assert (listed, [found["column"] for found in of_list["findings"]]) == (422, ["given_by", "given_by"])
    assert [found["column"] for found in of_file["findings"]] == ["given_by"]
    assert (put, of_case["pointer"]) == (400, "/consents/0/given_by")
    assert (forbidden, word["kind"]) == (201, "prohibition")


# -- between two nodes -------------------------------------------------------------------------------------------


async def ask(nodes: Running, person: str, *categories: str, **changes: Any) -> tuple[int, dict[str, Any]]:
    question = {
        "service": nodes.network.service("centre", "palvelutarve"),
        "subject": {"system": HETU, "value": person},
        "purpose": "service-need-lookup",
        "categories": list(categories),
    } | changes
    return await post(
        nodes, changes.pop("by", "kotka"), "/v1/queries", {k: v for k, v in question.items() if k != "by"}
    )


def moving_to(nodes: Running, municipality: str) -> list[str]:
    """Identity codes of adults of the register who move to a municipality under a permit, in its order."""
    export = next((nodes.network.folder.parent / "samples").glob("*.csv"))
    with export.open(encoding="windows-1252", errors="replace", newline="") as file:
        rows = list(csv.DictReader(file, delimiter=";"))[:24]
    return [
        row["HETU"]
        for row in rows
        if row["HETU"]
        and row["KUNTA"] == municipality
        and row["OLESKELULUPA"] in {"TP", "TS", "KP"}
        and row["TURVAKIELTO"] != "K"
        and row["HETU"][6] == "-"
    ]


async def test_withdrawal_stops_the_next_answer_and_its_notice_reaches_the_recipient(nodes: Running) -> None:
    person = moving_to(nodes, "285")[0]
    categories = ("identity", "health-needs")

    _, without = await ask(nodes, person, *categories)
    assert "health-needs" not in without["decision"]["permitted"]
    _, made = await post(nodes, "centre", "/v1/consents", consent(person))
    _, with_it = await ask(nodes, person, *categories)
    assert "health-needs" in with_it["decision"]["permitted"]
    _, ended = await post(nodes, "centre", f"/v1/consents/{made['id']}/withdrawal")
    assert ended["notices"] == 1
    _, after = await ask(nodes, person, *categories)
    assert "health-needs" not in after["decision"]["permitted"]
    assert {one["code"] for one in after["decision"]["withheld"]} == {"needs-the-persons-word"}

    item = await arrived(nodes, "kotka", made["id"])
    status, opened = await call(nodes, "kotka", "GET", f"/v1/inbox/{item['id']}")
    assert (status, item["flow"], item["purpose"]) == (200, "F14", "withdrawal-notice")
    assert opened["content"]["consent"] == made["id"]
    assert opened["content"]["status"] == "withdrawn"
    assert {"system": HETU, "value": person} in opened["content"]["subject"]
    receipt = [one for one in nodes.entries("kotka", type="consent") if one.detail.get("consent") == made["id"]]
    assert [one.outcome for one in receipt] == ["success"]
    assert receipt[0].request_digest is not None  # the signed notice is held as evidence
    settled = await until(
        lambda: [
            row
            for row in nodes.rows("centre", select(deliveries).where(deliveries.c.kind == "notice"))
            if row.state == "accepted"
        ]
    )
    assert settled[0].receipt


async def test_answer_says_by_which_word_it_goes_and_a_withdrawal_names_the_same(nodes: Running) -> None:
    words = []
    for person in moving_to(nodes, "285")[5:]:
        _, made = await post(nodes, "centre", "/v1/consents", consent(person))
        status, answer = await ask(nodes, person, "identity", "health-needs")
        assert status == 200
        words = nodes.rows("kotka", select(arrival_words).where(arrival_words.c.arrival == answer["message_id"]))
        if words:  # this person's record has health needs
            break

    (word,) = words
    assert (word.category, word.kind, word.giver) == ("health-needs", "consent", "self")
    assert word.sender == str(nodes.party("centre").subsystem)
    await post(nodes, "centre", f"/v1/consents/{made['id']}/withdrawal")
    item = await arrived(nodes, "kotka", made["id"])
    _, opened = await call(nodes, "kotka", "GET", f"/v1/inbox/{item['id']}")
    assert word.digest in opened["content"]["words"]


async def test_refusal_after_the_fact_tells_those_who_hold_what_it_is_about(nodes: Running) -> None:
    person = moving_to(nodes, "285")[1]
    status, _ = await ask(nodes, person, "identity", "housing")
    assert status == 200

    _, refusal = await post(
        nodes, "centre", "/v1/consents", consent(person, status="refused", purposes=[], categories=["housing"])
    )
    _, other = await post(
        nodes, "centre", "/v1/consents", consent(person, status="refused", purposes=[], categories=["finances"])
    )
    _, after = await ask(nodes, person, "identity", "housing")

    assert refusal["notices"] == 1
    assert other["notices"] == 0
    assert [held["category"] for held in after["decision"]["withheld"]] == ["housing"]
    item = await arrived(nodes, "kotka", refusal["id"])
    assert item["categories"] == ["housing"]


async def test_consent_of_another_person_carries_nothing(nodes: Running) -> None:
    one, other = moving_to(nodes, "285")[2:4]
    await post(nodes, "centre", "/v1/consents", consent(one))
    await post(nodes, "centre", "/v1/consents", consent(other, categories=["housing"]))

    _, answer = await ask(nodes, other, "identity", "health-needs")

    assert answer["decision"]["withheld"] == [{"category": "health-needs", "code": "needs-the-persons-word"}]


async def test_consent_whose_guardian_has_no_mandate_any_more_carries_nothing(nodes: Running) -> None:
    person = moving_to(nodes, "285")[4]
    ended = {"kind": "representative", "mandate_until": "2026-01-31"}
    await post(nodes, "centre", "/v1/consents", consent(person, given_by=ended))

    _, answer = await ask(nodes, person, "identity", "health-needs")

    assert answer["decision"]["withheld"] == [{"category": "health-needs", "code": "needs-the-persons-word"}]


async def test_same_identifier_in_two_notations_is_one_person(nodes: Running) -> None:
    person = moving_to(nodes, "285")[5]
    await post(
        nodes, "centre", "/v1/consents", consent(f" {person.lower()} ", status="refused", categories=["housing"])
    )

    _, answer = await ask(nodes, person, "identity", "housing")

    assert [held["category"] for held in answer["decision"]["withheld"]] == ["housing"]


async def test_case_reference_that_was_used_for_another_person_binds_nobody_to_it(nodes: Running) -> None:
    """A case reference is a word in the log: it opens nothing, and the two persons stay two."""
    one, other = moving_to(nodes, "285")[6:8]
    await post(nodes, "centre", "/v1/consents", consent(one))
    await post(nodes, "centre", "/v1/consents", consent(other, categories=["housing"]))

    _, first = await ask(nodes, one, "identity", "health-needs", case="KOTKA-77")
    _, second = await ask(nodes, other, "identity", "health-needs", case="KOTKA-77")

    assert "health-needs" in first["decision"]["permitted"]
    assert "health-needs" not in second["decision"]["permitted"]
    spoken = [entry for entry in nodes.entries("kotka", type="query", outcome="partial") if entry.case]
    spoken += [entry for entry in nodes.entries("kotka", type="query", outcome="success") if entry.case]
    assert len({entry.case for entry in spoken}) == 1
    assert len({entry.subject for entry in spoken}) == 2


async def test_emergency_is_answered_marked_kept_and_put_before_the_officer(nodes: Running) -> None:
    """The person does not live in the county, so that only an emergency opens the record."""
    from audit.questions.reviews import unreviewed_emergencies
    from gateway.storage import engine as storage

    person = moving_to(nodes, "091")[0]
    asked = ("identity", "health-needs", "finances")
    justification = "Found unconscious at the railway station; allergies must be known now."

    refused, problem = await ask(nodes, person, *asked, by="kymenlaakso")
    told = {"by": "kymenlaakso", "user": "nurse-4"}
    for nothing in ("  ", ".", "!?", "\u200b\u200b", "\u3164\u3164", "112"):
        silent, missing = await ask(nodes, person, *asked, **told, emergency={"justification": nothing})
        assert (silent, missing["code"]) == (422, "justification-missing"), nothing
    for nobody in ({}, {"user": " "}):
        by = {"by": "kymenlaakso", **nobody}
        alone, unsaid = await ask(nodes, person, *asked, **by, emergency={"justification": justification})
        assert (alone, unsaid["pointer"]) == (400, "/user"), nobody
    status, answer = await ask(nodes, person, *asked, **told, emergency={"justification": justification})

    assert (refused, problem["code"]) == (404, "not-available")
    assert status == 200
    assert sorted(answer["decision"]["permitted"]) == ["health-needs", "identity"]
    entry = nodes.entries("centre", type="break-glass")[-1]
    assert entry.bases == ("lookup-county-emergency",)
    assert justification not in str(entry.to_dict())
    sealed = nodes.rows(
        "centre", select(bodies).where(bodies.c.message_id == entry.message_id, bodies.c.part == "reason")
    )
    assert len(sealed) == 1
    assert justification.encode() not in bytes(sealed[0].sealed)
    engine = storage.create(f"sqlite:///{nodes.party('centre').folder / 'node.db'}")
    with engine.connect() as connection:
        waiting = unreviewed_emergencies(connection)
    engine.dispose()
    assert entry.id in [one.entry.id for one in waiting]
    said = (nodes.party("centre").folder / "node.log").read_text("utf-8")
    assert "emergency-access" in said
    assert entry.message_id in said
    assert justification not in said
    assert person not in said


async def arrived(nodes: Running, party: str, consent_id: str) -> dict[str, Any]:
    """The notice about a consent, once it is in the party's inbox."""
    async with nodes.client(party) as session:

        async def notices() -> list[dict[str, Any]]:
            async with session.get("/v1/inbox") as answer:
                items: list[dict[str, Any]] = (await answer.json())["items"]
            return [item for item in items if item["kind"] == "notice" and item["handover"] == consent_id]

        found: dict[str, Any] = (await until(notices))[0]
        return found


# -- by command --------------------------------------------------------------------------------------------------


def test_file_is_brought_by_command_as_the_client_that_calls(nodes: Running, tmp_path: Path) -> None:
    folder = nodes.party("centre").folder
    header = "subject_system,subject,status,given_by,purposes,recipients,categories"
    file = tmp_path / "forms.csv"
    file.write_text(
        f"{header}\n{HETU},{invented(20)},active,self,service-need-lookup,municipality,health-needs\n"
        f"{HETU},{invented(21)},active,self,service-need-lookup,municipality,horoscope\n"
    )
    order = [
        "consent", "import", str(file), "--node", nodes.party("centre").address,
        "--certificate", str(folder / "client.pem"), "--key", str(folder / "client.key"),
        "--authority", str(folder / "clients-authority.pem"), "--passphrase", str(nodes.network.folder / "passphrase"),
    ]  # fmt: skip

    told = CliRunner().invoke(app, order)
    again = CliRunner().invoke(app, [*order, "--json"])
    nowhere = CliRunner().invoke(app, [*order[:4], "https://localhost:1", *order[5:]])

    assert told.exit_code == 1, told.output
    assert "2 read, 1 recorded, 0 known before, 1 rejected" in told.output
    assert "is no code of the rulebook" in told.output
    assert (json.loads(again.output)["known"], again.exit_code) == (1, 1)
    assert nowhere.exit_code == 3


async def _two_exchanges(nodes: Running) -> None:
    """An answer that gives housing, and one in an emergency."""
    here, there = moving_to(nodes, "285")[3], moving_to(nodes, "091")[0]
    urgent = {"justification": "Found unconscious; allergies must be known now."}
    status, _ = await ask(nodes, here, "identity", "housing")
    emergency, _ = await ask(
        nodes, there, "identity", "health-needs", by="kymenlaakso", user="nurse-4", emergency=urgent
    )
    assert (status, emergency) == (200, 200)


def test_recorded_decisions_are_replayed_compared_and_explained_by_command(nodes: Running, tmp_path: Path) -> None:
    asyncio.run(_two_exchanges(nodes))
    config = str(nodes.party("centre").config)
    new = (
        former_rulebook()
        .decode()
        .replace(
            "categories: [housing, education, employment, guardianship, vulnerability/fact,",
            "categories: [education, employment, guardianship, vulnerability/fact,",
        )
        .replace(
            "permitted: [housing, education], withheld: [social-needs]", "permitted: [education], withheld: [housing]"
        )
    )
    (tmp_path / "old.yaml").write_bytes(former_rulebook())
    (tmp_path / "new.yaml").write_text(new)

    def run(command: str, *rest: str) -> Result:
        """The command, again while the node holds the database for longer than anybody waits for it."""

        def once() -> Result:
            return CliRunner().invoke(app, ["rulebook", command, *rest, "--config", config])

        return wait(once, lambda seen: "another process has held the database" not in seen.output)

    replayed = run("replay", "--json")
    found = run("diff", str(tmp_path / "old.yaml"), str(tmp_path / "new.yaml"), "--json")
    missing = run("explain", "--entry", "no-such")
    kept = nodes.entries("centre", type="break-glass")[-1]
    explained = run("explain", "--entry", kept.id, "--language", "en")

    assert replayed.exit_code == 0, replayed.output
    replay = json.loads(replayed.output)
    assert (replay["sound"], replay["different"]) == (True, [])
    assert replay["decisions"] == replay["same"] >= 2
    exchanges = json.loads(found.output)["exchanges"]
    assert 0 < exchanges["otherwise"] < exchanges["recorded"] == replay["decisions"]
    assert exchanges["lost"] == {"housing": exchanges["otherwise"]}
    assert explained.exit_code == 0
    assert "rests on an emergency" in " ".join(explained.output.split())
    assert missing.exit_code == 2
    by_command = [one for one in nodes.entries("centre", type="console-read") if one.agents.client == "command-line"]
    assert [(one.detail["question"], one.outcome, one.subject) for one in by_command] == [
        ("replay", "success", None),
        ("rulebook-change", "success", None),
        ("explain", "not-found", None),
        ("explain", "success", kept.subject),
    ]
    runs = by_command[:2]
    assert {one.detail["recorded"] for one in runs} == {replay["decisions"]}, "one entry for the whole run"
    assert (runs[0].detail["same"], runs[1].detail["otherwise"]) == (replay["same"], exchanges["otherwise"])
    assert kept.subject is not None
    assert all(one.agents.user for one in by_command)
