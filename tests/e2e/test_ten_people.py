"""What each recipient gets of each of the ten people, field by field, seen from the outside.

What is expected stands here in full: which categories the law gives whom (from the table of categories and roles),
which fields of the municipal form belong to which category, and what the centre's export says of each person. Nothing
of it is taken from the rulebook or the mappings that are tested.
"""

from __future__ import annotations

import asyncio
import csv
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gateway.demo.organisations import DEMO, Organisation
from schemas.identifiers import MIGRI_CUSTOMER
from tests.e2e.conftest import Stage, network
from tests.waiting import until
from texts import Text

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

NEIGHBOURS = (
    Organisation(
        "kouvola",
        Text("Kouvola (demo)", "Kouvola (demo)", "Kouvola (demo)"),
        "MUN/9000006-2",
        "kotoutuminen",
        ("municipality",),
        "kouvola.demo",
        municipalities=("286",),
    ),
    # Helsinki belongs to no county: it arranges social and health services itself.
    Organisation(
        "helsinki",
        Text("Helsinki (demo)", "Helsingfors (demo)", "Helsinki (demo)"),
        "MUN/9000007-0",
        "kotoutuminen",
        ("municipality", "county"),
        "helsinki.demo",
        municipalities=("091",),
    ),
    Organisation(
        "tampere",
        Text("Tampere (demo)", "Tammerfors (demo)", "Tampere (demo)"),
        "MUN/9000008-9",
        "kotoutuminen",
        ("municipality",),
        "tampere.demo",
        municipalities=("837",),
    ),
)

#: Fields of the municipal form, by the data category (or part of one) that they belong to.
FIELDS = {
    # Whoever knows the person must know of a safety prohibition, in order to keep it.
    "identity": (
        "henkilotunnus",
        "asiakasnumero",
        "sukunimi",
        "etunimet",
        "sukupuoli",
        "syntymaaika",
        "kansalaisuus",
        "turvakielto",
        "turvakielto_kunta",
    ),
    "language": ("aidinkieli", "tulkki"),
    "contact/telecom": ("puhelin", "sahkoposti"),
    "contact/address": ("katuosoite", "postinumero", "postitoimipaikka"),
    "residence-permit": ("lupa", "lupa_myonnetty", "lupa_pvm"),
    "move": ("kunta", "muuttopaiva", "omatoiminen_muutto"),
    "family": ("perhekoko", "lasten_iat"),
    "guardianship": ("ilman_huoltajaa", "edustaja", "huoltaja"),
    "vulnerability/fact": ("haavoittuvassa_asemassa",),
    "vulnerability": ("haavoittuvuuden_peruste",),
    "housing": ("asuminen",),
    "education": ("koulutus",),
    "employment": ("ammatti",),
    "finances": ("tulot",),
    "child-protection": ("lastensuojelu",),
    "health-needs": ("terveys",),
}

#: Service needs of the export, with the category of each and its name in the municipal form.
NEEDS = {
    "ASUNTO": ("housing", "asunto"),
    "KIELIKOULUTUS": ("education", "kielikoulutus"),
    "PERUSOPETUS": ("education", "perusopetus"),
    "TYÖ": ("employment", "tyollisyys"),
    "OHJAUS": ("social-needs/early-support", "ohjaus"),
    "SOSIAALITYÖ": ("social-needs", "sosiaalityo"),
    "VAMMAISPALVELU": ("social-needs", "vammaispalvelu"),
    "TERVEYS": ("health-needs", "terveys"),
    "MIELENTERVEYS": ("health-needs", "mielenterveys"),
    "KUNTOUTUS": ("health-needs", "kuntoutus"),
    "NEUVOLA": ("health-needs", "neuvola"),
    "LASTENSUOJELU": ("child-protection", "lastensuojelu"),
    "EDUSTAJA": ("guardianship", "edustaja"),
    "ALKUTOIMEENTULO": ("finances/early-support", "alkutoimeentulo"),
}

MUNICIPALITY = {
    "identity", "language", "contact/telecom", "contact/address", "move", "residence-permit", "family", "housing",
    "education", "employment", "guardianship", "vulnerability/fact", "social-needs/early-support",
    "finances/early-support",
}  # fmt: skip
COUNTY = {
    "identity", "language", "contact/telecom", "contact/address", "move", "residence-permit", "family", "housing",
    "guardianship",
}  # fmt: skip
#: What is sensitive reaches the county for a child alone (681/2023 87 §:1), or by a word of the person: health needs by
#: the patient's permission (703/2023 54 §:1).
COUNTY_OF_A_CHILD_ALONE = COUNTY | {
    "vulnerability/fact", "vulnerability", "social-needs/early-support", "social-needs", "child-protection",
    "finances", "finances/early-support", "health-needs",
}  # fmt: skip
COUNTY_WITH_HEALTH = COUNTY | {"health-needs"}
#: By the person's consent, and no more than it takes to arrange services (681/2023 9 §:1).
NOTICE = {"identity", "language", "contact/telecom", "contact/address", "move"}


@dataclass(frozen=True)
class Expected:
    """What one recipient is to get of one person: nothing if `categories` is empty."""

    case: str
    flow: str
    role: str
    recipient: str
    categories: frozenset[str]


def expect(case: str, flow: str, role: str, recipient: str, categories: set[str]) -> Expected:
    return Expected(case, flow, role, recipient, frozenset(categories))


EXPECTED = (
    expect("p01-asylum-adult", "F1", "municipality", "kotka", MUNICIPALITY),
    expect("p01-asylum-adult", "F1", "county", "kymenlaakso", COUNTY),
    # F2 is for whoever selects and places; a centre at which the family stays tells of its move.
    expect("p02-quota-family", "F1", "municipality", "kotka", MUNICIPALITY),
    expect("p02-quota-family", "F1", "county", "kymenlaakso", COUNTY),
    expect("p03-ukrainian-mother", "F5", "municipality", "kouvola", MUNICIPALITY),
    expect("p03-ukrainian-mother", "F5", "county", "kymenlaakso", COUNTY),
    expect("p04-unaccompanied-minor", "F6", "municipality", "kotka", MUNICIPALITY),
    expect("p04-unaccompanied-minor", "F6", "county", "kymenlaakso", COUNTY_OF_A_CHILD_ALONE),
    expect("p05-independent-mover", "F3", "municipality", "helsinki", NOTICE),
    expect("p06-torture-survivor", "F1", "municipality", "kotka", MUNICIPALITY),
    expect("p06-torture-survivor", "F1", "county", "kymenlaakso", COUNTY_WITH_HEALTH),  # permitted, see _hand_over
    expect("p07-safety-prohibition", "F1", "municipality", "kotka", MUNICIPALITY),
    expect("p07-safety-prohibition", "F1", "county", "kymenlaakso", COUNTY),
    expect("p08-pending-permit", "F1", "municipality", "kotka", set()),
    expect("p08-pending-permit", "F1", "county", "kymenlaakso", set()),
    expect("p09-withdrawn-consent", "F1", "municipality", "kotka", MUNICIPALITY),
    expect("p09-withdrawn-consent", "F1", "county", "kymenlaakso", COUNTY),
    expect("p10-moves-on", "F1", "municipality", "kotka", MUNICIPALITY),
    expect("p10-moves-on", "F1", "county", "kymenlaakso", COUNTY),
)


@dataclass
class Handed:
    """The ten people, handed over: the network, the plans by case, the export's rows by case."""

    stage: Stage
    plans: dict[str, dict[str, Any]]
    rows: dict[str, dict[str, str]]


@pytest.fixture(scope="module")
def handed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Handed]:
    with network(tmp_path_factory.mktemp("ten"), (*DEMO, *NEIGHBOURS)) as stage:
        text = stage.export.read_bytes().decode("windows-1252", "replace")
        rows = list(csv.DictReader(text.splitlines(), delimiter=";"))[:10]
        by_case = dict(zip(stage.cases, rows, strict=True))
        yield Handed(stage, asyncio.run(_hand_over(stage)), by_case)


async def _hand_over(stage: Stage) -> dict[str, dict[str, Any]]:
    await _say(stage, "p06-torture-survivor", "prohibition", ["health-needs"])
    await _say(stage, "p06-torture-survivor", "permission", ["health-needs"], to="county")
    contact = ["identity", "language", "contact", "move"]
    await _say(stage, "p05-independent-mover", "consent", contact, purposes=("independent-move-notice",))
    consent = await _say(stage, "p09-withdrawn-consent", "consent", ["health-needs", "social-needs"])
    plans = {}
    for case, known in stage.cases.items():
        late = case == "p09-withdrawn-consent"
        when = {"not_before": (datetime.now(UTC) + timedelta(seconds=10)).isoformat()} if late else {}
        order = {"rows": [stage.row(case)], "flow": known["flow"], "key": case, "parameters": when}
        answer = await stage.post("centre", "/hand-over", order)
        assert answer["handed_over"] == 1, answer
        plans[case] = answer["handovers"][0]
        if late:
            withdrawn = await stage.call("centre", "POST", f"/v1/consents/{consent}/withdrawal", {}, expect=201)
            assert withdrawn["body"]["notices"] == 0

    def settled(handovers: list[dict[str, Any]]) -> bool:
        parts = [part for one in handovers for part in one["deliveries"]]
        return len(handovers) == 10 and all(part["state"] in {"accepted", "stopped"} for part in parts)

    await until(stage.handovers, settled)
    return plans


async def _say(
    stage: Stage,
    case: str,
    kind: str,
    categories: list[str],
    to: str = "municipality",
    purposes: tuple[str, ...] = ("service-need-lookup",),
) -> str:
    answer = await stage.call(
        "centre",
        "POST",
        "/v1/consents",
        {
            "subject": {"system": MIGRI_CUSTOMER, "value": stage.key(case)},
            "kind": kind,
            "purposes": [f"reception-to-{to}", *purposes],
            "recipients": [to],
            "categories": categories,
            "given_by": {"kind": "self"},
        },
        expect=201,
    )
    return str(answer["body"]["id"])


def iso(day: str) -> str:
    d, m, y = day.split(".")
    return f"{y}-{int(m):02}-{int(d):02}"


def form(row: dict[str, str]) -> dict[str, Any]:
    """The whole municipal form of a person, from the export's row. What the export leaves empty is left out."""
    yes = {"K": True, "E": False}
    languages = {
        "ukraina": "uk", "venäjä": "ru", "arabia": "ar", "dari": "prs", "pashto": "ps", "somali": "so", "sorani": "ckb",
        "tigrinja": "ti",
    }  # fmt: skip
    permits = {
        "TP": "asylum-granted", "TS": "subsidiary-protection", "KP": "quota-refugee", "INH": "humanitarian",
        "TILK": "temporary-protection-with-home-municipality", "VIR": "pending",
    }  # fmt: skip
    grounds = {
        "VAMMA": "disability", "ILMAN-HUOLTAJAA": "unaccompanied", "KIDUTUS": "torture", "VÄKIVALTA": "violence",
    }  # fmt: skip
    whole: dict[str, Any] = {
        "henkilotunnus": row["HETU"],
        "asiakasnumero": row["ASIAKASNUMERO"],
        "sukunimi": row["SUKUNIMI"],
        "etunimet": row["ETUNIMET"],
        "sukupuoli": {"M": "male", "N": "female"}[row["SUKUPUOLI"]],
        "syntymaaika": iso(row["SYNTYMAAIKA"]),
        "kansalaisuus": row["KANSALAISUUS"],
        "aidinkieli": languages[row["AIDINKIELI"]],
        "tulkki": yes[row["TULKKI"]],
        "puhelin": row["PUHELIN"].replace(" ", ""),
        "sahkoposti": row["SAHKOPOSTI"],
        "katuosoite": row["OSOITE"],
        "postinumero": row["POSTINUMERO"],
        "postitoimipaikka": row["POSTITOIMIPAIKKA"],
        "turvakielto": yes[row["TURVAKIELTO"]],
        "turvakielto_kunta": row["TURVAKIELTO_VASTAANOTTAJA"],
        "lupa": permits[row["OLESKELULUPA"]],
        "lupa_myonnetty": row["OLESKELULUPA"] != "VIR",
        "lupa_pvm": iso(row["LUPA_PVM"]) if row["LUPA_PVM"] else "",
        "kunta": row["KUNTA"],
        "muuttopaiva": iso(row["MUUTTOPAIVA"]),
        "omatoiminen_muutto": yes[row["OMATOIMINEN_MUUTTO"]],
        "perhekoko": int(row["PERHEKOKO"]),
        "lasten_iat": [int(age) for age in row["LASTEN_IAT"].split("|") if age],
        "ilman_huoltajaa": yes.get(row["YKSIN_TULLUT_ALAIKAINEN"], ""),
        "edustaja": row["EDUSTAJA"],
        "huoltaja": row["HUOLTAJA"],
        "haavoittuvassa_asemassa": yes[row["HAAVOITTUVUUS"]],
        "haavoittuvuuden_peruste": grounds.get(row["HAAVOITTUVUUSPERUSTE"], ""),
        "asuminen": {"VOK": "reception-centre", "YKS": "private"}[row["ASUMINEN"]],
        "koulutus": {"0": "none", "L": "literacy", "P": "primary", "T": "secondary", "K": "tertiary"}[row["KOULUTUS"]],
        "ammatti": row["AMMATTI"],
        "tulot": int(row["TULOT"]),
        "lastensuojelu": row["LASTENSUOJELU"],
        "terveys": row["TERVEYSTARPEET"],
    }
    return {name: value for name, value in whole.items() if value not in ("", [])}


def permitted_form(row: dict[str, str], categories: frozenset[str]) -> dict[str, Any]:
    """Of the whole form, what belongs to these categories."""
    allowed = {name for category in categories for name in FIELDS.get(category, ())}
    expected = {name: value for name, value in form(row).items() if name in allowed}
    needs = [NEEDS[code][1] for code in row["PALVELUTARPEET"].split("|") if NEEDS[code][0] in categories]
    if needs:
        expected["palvelutarpeet"] = needs
        expected["kiireellisyys"] = {"K1": "routine", "K2": "urgent", "K3": "asap"}[row["KIIREELLISYYS"]]
    return expected


@pytest.mark.parametrize("one", EXPECTED, ids=lambda one: f"{one.case}-{one.role}")
def test_recipient_gets_exactly_the_fields_that_the_law_gives_it(handed: Handed, one: Expected) -> None:
    plan = handed.plans[one.case]
    part = next(part for part in plan["deliveries"] if part["role"] == one.role)
    now = next(
        delivery
        for handover in asyncio.run(handed.stage.handovers())
        for delivery in handover["deliveries"]
        if delivery["id"] == part["id"]
    )
    items = asyncio.run(handed.stage.call(one.recipient, "GET", "/v1/inbox?limit=1000", expect=200))["body"]["items"]
    arrived = [item for item in items if item["handover"] == plan["id"] and item["purpose"] == part["purpose"]]

    if not one.categories:
        assert now["state"] == "stopped"
        assert now["problem"] == "not-permitted"
        assert arrived == []
        return
    assert now["state"] == "accepted"
    assert now["contact"]["name"]
    assert len(arrived) == 1
    answer = asyncio.run(
        handed.stage.call(one.recipient, "GET", f"/v1/inbox/{arrived[0]['id']}?adapter=municipality-json", expect=200)
    )
    got = answer["body"]
    needs = got.pop("palvelutarpeet", None)
    expected = permitted_form(handed.rows[one.case], one.categories)
    expected_needs = expected.pop("palvelutarpeet", None)
    assert got == expected
    assert sorted(needs or []) == sorted(expected_needs or [])


@pytest.mark.parametrize(
    ("who", "case", "asked", "status", "permitted"),
    [
        ("kotka", "p01-asylum-adult", ["identity", "housing", "health-needs"], 200, {"identity", "housing"}),
        # No permission, no patient data (703/2023 54 §:1); and nothing else to a county that has no client (64 §:1).
        ("kymenlaakso", "p01-asylum-adult", ["identity", "health-needs", "education"], 404, set()),
        ("kymenlaakso", "p06-torture-survivor", ["identity", "health-needs", "education"], 200, {"health-needs"}),
        # Not a refusal, where the record decides: that would tell that the person is known there.
        ("tampere", "p01-asylum-adult", ["identity"], 404, set()),
        ("placement", "p01-asylum-adult", ["identity"], 403, set()),
        ("kotka", "p03-ukrainian-mother", ["identity"], 404, set()),
        ("kouvola", "p03-ukrainian-mother", ["identity", "family"], 200, {"identity", "family"}),
        ("kotka", "p04-unaccompanied-minor", ["guardianship", "child-protection"], 200, {"guardianship"}),
        ("kymenlaakso", "p04-unaccompanied-minor", ["guardianship", "child-protection"], 200,
         {"guardianship", "child-protection"}),
        ("helsinki", "p05-independent-mover", ["identity", "health-needs"], 200, {"identity"}),
        ("kotka", "p06-torture-survivor", ["identity", "health-needs"], 200, {"identity"}),
        ("kotka", "p08-pending-permit", ["identity"], 404, set()),
        ("kymenlaakso", "p08-pending-permit", ["identity", "health-needs"], 404, set()),
        ("kotka", "p09-withdrawn-consent", ["identity", "health-needs"], 200, {"identity"}),
        ("tampere", "p10-moves-on", ["identity"], 404, set()),
    ],
)  # fmt: skip
def test_question_about_one_of_the_ten_is_answered_as_far_as_the_law_goes(
    handed: Handed, who: str, case: str, asked: list[str], status: int, permitted: set[str]
) -> None:
    answer = asyncio.run(handed.stage.query(who, handed.stage.key(case), "service-need-lookup", asked))

    assert answer["status"] == status
    if status == 404:
        assert not {"decision", "bundle"} & answer["body"].keys()
        return
    decision = answer["body"]["decision"]
    assert {one.partition("/")[0] if one.startswith("contact") else one for one in decision["permitted"]} == permitted
    if status == 200:
        assert answer["body"]["bundle"]["resourceType"] == "Bundle"
    else:
        assert "bundle" not in answer["body"]


def plan(start: str) -> dict[str, Any]:
    """An integration plan in force from a day."""
    kind = {"system": "urn:yhdyspinta:codes:plan-kind", "code": "integration-plan"}
    return {
        "resource": {
            "resourceType": "CarePlan",
            "id": "care-plan-1",
            "status": "active",
            "intent": "plan",
            "category": [{"coding": [kind]}],
            "subject": {"reference": "Patient/patient-1"},
            "period": {"start": start},
        }
    }


def test_person_who_moves_on_is_handed_over_with_their_consent_and_only_with_it(handed: Handed) -> None:
    # The municipality contacts the new one by the client's consent, if there is a plan: 681/2023 85 §.
    stage = handed.stage
    known = handed.plans["p10-moves-on"]
    items = asyncio.run(stage.call("kotka", "GET", "/v1/inbox?limit=1000", expect=200))["body"]["items"]
    arrival = next(item for item in items if item["handover"] == known["id"])
    bundle = asyncio.run(stage.call("kotka", "GET", f"/v1/inbox/{arrival['id']}", expect=200))["body"]["content"]
    move = next(one for one in bundle["entry"][0]["resource"]["extension"] if one["url"].endswith(":move"))
    for part in move["extension"]:
        if part["url"] == "municipality":
            part["valueCoding"] = {**part["valueCoding"], "code": "837"}
    # The same record twice is one handover: the second time the plan is another one.
    planned, replanned = ({**bundle, "entry": [*bundle["entry"], plan(day)]} for day in ("2025-01-01", "2025-02-01"))
    path = "/v1/handovers?flow=F10&adapter=canonical"

    without = asyncio.run(stage.call("kotka", "POST", path, planned, expect=201))
    asyncio.run(stage.call("kotka", "POST", "/v1/consents", _to_contact(stage), expect=201))
    answer = asyncio.run(stage.call("kotka", "POST", path, replanned, expect=201))

    stopped = next(one for one in without["body"]["handovers"][0]["deliveries"] if one["role"] == "municipality")
    assert (stopped["state"], stopped["permitted"]) == ("stopped", [])
    delivery = next(one for one in answer["body"]["handovers"][0]["deliveries"] if one["role"] == "municipality")
    assert delivery["state"] == "due"
    assert {one["basis"] for one in delivery["permitted"]} == {"onward-move-contact"}
    arrived = asyncio.run(
        until(
            lambda: stage.held("tampere"),
            lambda held: [one for one in held if one["handover"] == answer["body"]["handovers"][0]["id"]],
        )
    )
    assert [one["flow"] for one in arrived] == ["F10"]
    assert arrived[0]["content"]["kunta"] == "837"
    assert "terveys" not in arrived[0]["content"]


def _to_contact(stage: Stage) -> dict[str, Any]:
    return {
        "subject": {"system": MIGRI_CUSTOMER, "value": stage.key("p10-moves-on")},
        "kind": "consent",
        "given_by": {"kind": "self"},
        "purposes": ["onward-move"],
        "recipients": ["municipality"],
        "categories": ["identity", "language", "contact", "move", "housing"],
    }
