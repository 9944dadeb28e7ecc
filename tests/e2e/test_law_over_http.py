"""What the acts give whom, asked of a running node over HTTP: case by case, with the provision in the answer.

The tables beside this file hold the cases: `law.csv` what was once decided otherwise than the acts say,
`law_hostile.csv` what lies at their edges. What goes beside them (words, handovers, pages)
stands below as tests of its own.
"""

from __future__ import annotations

import asyncio
import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from consent.checking.explaining import AT_THE_RECIPIENT, CARRIED_OUT
from consent.checking.invariants import prove
from consent.checking.stating import load_invariants, reference_invariants
from consent.rulebook import load, reference_rulebook
from consent.rules.law import RETAIN, Case
from gateway.demo.network import Network
from schemas.identifiers import MIGRI_CUSTOMER
from tests.e2e.conftest import Stage, network
from tests.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

RULEBOOK = load(reference_rulebook(), source="reference")
#: Parties that the examples of the rulebook do without.
PARTIES = {
    **RULEBOOK.parties,
    "lansi-uusimaa": {"role": "county", "counties": ["lansi-uusimaa"]},
    "vantaa-kerava": {"role": "county", "counties": ["vantaa-kerava"]},
}
LANGUAGES = ("fi", "sv", "en")


def rows() -> Iterator[dict[str, str]]:
    for name in ("law.csv", "law_hostile.csv"):
        lines = (Path(__file__).parent / name).read_text("utf-8").splitlines()
        yield from csv.DictReader((line for line in lines if not line.startswith("#")), delimiter=";")


ROWS = list(rows())


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with network(tmp_path_factory.mktemp("law"), prepare=_let_the_centre_read_its_log) as running:
        yield running


def _let_the_centre_read_its_log(built: Network) -> None:
    config = built.parties["centre"].config
    text = config.read_text("utf-8")
    assert "[clients.rights]" not in text
    config.write_text(
        text + '\n[clients.rights]\nactions = ["query", "handover", "inbox", "consent", "decision", "audit"]\n', "utf-8"
    )


def stated(name: str) -> dict[str, Any]:
    party = PARTIES[name]
    territory = {kind: list(party.get(kind, ())) for kind in ("municipalities", "counties")}
    return {"role": party["role"], "member": name, **territory}


def facts_of(person: Case, changes: str) -> dict[str, Any]:
    """The facts of a person, changed by `name=value`; a name without a value is no longer known."""
    facts = {name: value for name in person.facts.__slots__ if (value := getattr(person.facts, name)) is not None}
    for change in changes.split():
        name, _, value = change.partition("=")
        facts.pop(name, None)
        if value:
            facts[name] = {"true": True, "false": False}.get(value, int(value) if name == "age" else value)
    return facts


def said(text: str, purpose: str) -> list[dict[str, Any]]:
    """A word of the person: its kind, to whom and about what; without these to all and about everything."""
    if not text:
        return []
    kind, *narrowed = text.split()
    word: dict[str, Any] = {"kind": kind, "status": "refused" if kind == "prohibition" else "active"}
    word |= {"given_by": {"kind": "self"}}
    if narrowed:
        word |= {"recipients": [narrowed[0]], "categories": narrowed[1].split("+")}
    if kind != "prohibition":
        word["purposes"] = [purpose]
    return [word]


def case_of(row: dict[str, str]) -> dict[str, Any]:
    """A row as the case that a client puts."""
    person = RULEBOOK.cases[row["person"]]
    document: dict[str, Any] = {
        "purpose": row["purpose"],
        "provider": stated(row["from"]),
        "requester": stated(row["to"]),
        "facts": facts_of(person, row["facts"]),
        "consents": [
            *({"given_by": {"kind": "self"}, **word} for word in person.consents),
            *said(row["said"], row["purpose"]),
        ],
        "categories": [part.partition("=")[0] for part in row["expected"].split("|")],
        "at": f"{row['on']}T12:00:00Z",
    }
    if row["how"] == "emergency":
        document["emergency"] = {"justification": "worked example"}
    elif row["how"] != "query":
        document |= {"way": "handover", "asked": row["how"] == "asked"}
    return document


def found(advice: dict[str, Any]) -> dict[str, str]:
    """Of each category the provision by which it moves, or the reason for which it does not."""
    decision = advice["decision"]
    outcome = {held["category"]: held["code"] for held in decision["withheld"]}
    for permitted in decision["permitted"]:
        basis = RULEBOOK.basis(permitted["basis"])
        assert basis is not None
        assert basis.source is not None
        outcome[permitted["category"]] = str(basis.source.provision)
        # Whoever reads the answer reads the provision in their own language.
        for language in LANGUAGES:
            assert basis.cited(language) in advice["explanation"][language]
    return outcome


def put(stage: Stage, row: dict[str, str]) -> dict[str, Any]:
    answer = asyncio.run(stage.call("kotka", "POST", "/v1/decisions", case_of(row), expect=200))
    assert answer["body"]["rulebook"]["digest"] == RULEBOOK.digest
    (advice,) = answer["body"]["decisions"]
    return advice


@pytest.mark.parametrize("row", ROWS, ids=[row["what"] for row in ROWS])
def test_case_goes_as_the_act_says_and_the_answer_names_the_provision(stage: Stage, row: dict[str, str]) -> None:
    outcome = found(put(stage, row))

    expected = dict(part.split("=", 1) for part in row["expected"].split("|"))
    assert {category: outcome.get(category) for category in expected} == expected


# 9 What a person says: any language, each kind with a life of its own, and who may say it.


def say(stage: Stage, person: str, **word: Any) -> dict[str, Any]:
    """Record a word of somebody whom no register of the network knows."""
    document = {"subject": {"system": MIGRI_CUSTOMER, "value": f"LAW-{person}"}, "categories": ["health-needs"]}
    document |= {"given_by": {"kind": "self"}} | word
    return asyncio.run(stage.call("centre", "POST", "/v1/consents", document))


@pytest.mark.parametrize("language", ["ti", "tr", "nqo", "x-own"])
@pytest.mark.parametrize("age", [11, 46])
def test_prohibition_in_any_language_by_the_person_of_any_age_is_in_force_at_once(
    stage: Stage, language: str, age: int
) -> None:
    answer = say(stage, f"{language}-{age}", kind="prohibition", language=language, subject_age=age)

    assert answer["status"] == 201, answer
    assert (answer["body"]["status"], answer["body"]["kind"]) == ("refused", "prohibition")


PERMIT = {"kind": "permission", "recipients": ["county"]}
CONSENT = {"kind": "consent", "recipients": ["municipality"], "purposes": ["onward-move"]}


@pytest.mark.parametrize(
    ("age", "word", "status"),
    [
        (15, {**PERMIT, "given_by": {"kind": "self", "able_to_decide": True}}, 201),
        (18, {**PERMIT, "given_by": {"kind": "self"}}, 201),
        (11, {**PERMIT, "given_by": {"kind": "guardian"}}, 201),
        (17, {**PERMIT, "given_by": {"kind": "self"}}, 422),
        (17, {**PERMIT, "given_by": {"kind": "guardian", "able_to_decide": True}}, 422),
        (12, {**PERMIT, "given_by": {"kind": "guardian", "minor_opinion": "agrees"}}, 201),
        (12, {**PERMIT, "given_by": {"kind": "guardian", "minor_opinion": "disagrees"}}, 422),
        (12, {**PERMIT, "given_by": {"kind": "guardian"}}, 422),
        (46, {**PERMIT, "given_by": {"kind": "guardian", "mandate_until": "2030-01-01"}}, 422),
        (
            46,
            {
                **PERMIT,
                "given_by": {
                    "kind": "guardian",
                    "mandate_until": "2030-01-01",
                    "able_to_decide": False,
                    "personal_matters": True,
                },
            },
            201,
        ),
        (46, {**PERMIT, "given_by": {"kind": "other"}}, 422),
        (46, {**PERMIT, "ends": "2030-01-01"}, 422),
        (46, {**CONSENT, "ends": "2030-01-01"}, 201),
        (46, {"kind": "consent", "recipients": ["municipality"]}, 422),
    ],
    ids=[
        "able minor",
        "on the eighteenth birthday",
        "guardian of a child of eleven",
        "minor not found able",
        "guardian of an able minor",
        "guardian",
        "child disagrees",
        "child not asked",
        "guardian of an adult",
        "guardian with the court's word",
        "neighbour",
        "permission that ends",
        "consent that ends",
        "consent that names no purpose",
    ],
)
def test_who_permits_and_for_whom(stage: Stage, age: int, word: dict[str, Any], status: int) -> None:
    answer = say(stage, f"permits-{age}", subject_age=age, **word)

    assert answer["status"] == status, answer


def test_prohibition_stands_until_it_is_taken_back_and_can_be_aimed(stage: Stage) -> None:
    register = {"sector": "health", "kind": "register", "code": "FI-DEMO/GOV/9000001-1/terveys"}

    ended = say(stage, "ended", kind="prohibition", ends="2026-01-31")
    aimed = say(stage, "aimed", kind="prohibition", target=register)
    against = say(
        stage,
        "against",
        kind="prohibition",
        target={"sector": "health", "kind": "guardian"},
        subject_age=16,
        given_by={"kind": "self", "able_to_decide": True},
    )

    assert (ended["status"], ended["body"].get("ends")) == (201, None)
    assert (aimed["status"], aimed["body"]["target"]) == (201, register)
    assert (against["status"], against["body"]["kind"]) == (201, "prohibition")


def test_word_of_a_person_decides_what_is_answered(stage: Stage) -> None:
    """Patient data to the county: nothing, then by permission, then nothing again; the municipality's right stays."""
    person = stage.key("p01-asylum-adult")
    subject = {"system": MIGRI_CUSTOMER, "value": person}

    def ask(who: str, *categories: str) -> set[str]:
        answer = asyncio.run(stage.query(who, person, "service-need-lookup", categories))
        return set(answer["body"]["decision"]["permitted"]) if answer["status"] == 200 else set()

    def record(**word: Any) -> str:
        answer = asyncio.run(
            stage.call(
                "centre", "POST", "/v1/consents", {"subject": subject, "given_by": {"kind": "self"}, **word}, expect=201
            )
        )
        return str(answer["body"]["id"])

    assert ask("kymenlaakso", "health-needs") == set()
    record(kind="permission", recipients=["county"], categories=["health-needs"])
    assert ask("kymenlaakso", "health-needs") == {"health-needs"}
    record(kind="prohibition")
    assert ask("kymenlaakso", "health-needs") == set()
    assert ask("kotka", "housing", "health-needs") == {"housing"}


# 12 and 15 The paragraph that a lawyer would sign, as a node gives it.

PARAGRAPH = {
    "what": "paragraph", "person": "p06-torture-survivor", "facts": "", "said": "", "from": "centre", "to": "kotka",
    "purpose": "reception-to-municipality", "on": "2026-03-01", "how": "asked",
    "expected": "education=|health-needs=|identity=|language=|vulnerability=|child-protection=",
}  # fmt: skip


@pytest.mark.parametrize(
    ("language", "said", "unsaid"),
    [
        (
            "fi",
            [
                "1.3.2026",
                f"{RULEBOOK.name} {RULEBOOK.version}",
                "laki kotoutumisen edistämisestä (681/2023), 83 § 2 mom.",
                "6 artiklan 1 kohdan c alakohta",
                "9 artiklan 2 kohdan g alakohta",
                "henkilötiedot, kieli ja tulkin tarve, koulutus",
                "haavoittuvasta asemasta saa kertoa vain, onko se todettu",
                "henkilö tai hänen laillinen edustajansa on kieltänyt luovutuksen",
            ],
            ["alkukartoitus", "kuntaan osoitta", "9 art. 2", "31.12.2022"],
        ),
        (
            "sv",
            [
                "1.3.2026",
                "lagen om främjande av integration (681/2023), 83 § 2 mom.",
                "artikel 9.2 g",
                "hälso- och sjukvård",
            ],
            ["laki ", "yleinen", "Utlämnare", "i kraft till "],
        ),
        (
            "en",
            ["1 March 2026", "Act on the Promotion of Integration (681/2023), section 83(2)", "Article 9(2)(g)"],
            ["laki ", "lagen ", " mom."],
        ),
    ],
)
def test_paragraph_is_one_that_a_lawyer_could_sign(
    stage: Stage, language: str, said: list[str], unsaid: list[str]
) -> None:
    text = put(stage, PARAGRAPH)["explanation"][language]

    assert [words for words in said if words not in text] == []
    assert [words for words in unsaid if words in text] == []
    assert text.count(RULEBOOK.categories["education"].title[language]) == 1


@pytest.mark.parametrize(
    ("case", "to", "purpose", "on", "category", "said"),
    [
        ("p09-ended-consent", "kotka", "reception-to-municipality", "2026-03-01", "health-needs",
         ("ei ole enää voimassa", "gäller inte längre", "has ended")),
        ("p09-withdrawn-consent", "kotka", "reception-to-municipality", "2026-03-01", "health-needs",
         ("on peruutettu", "har återkallats", "has been withdrawn")),
        ("p08-pending-permit", "kotka", "reception-to-municipality", "2026-03-01", "housing",
         ("jolla on oleskelulupa", "som har uppehållstillstånd", "who have a residence permit")),
        ("p01-asylum-adult", "kymenlaakso", "reception-to-county", "2022-12-31", "social-needs",
         ("hyvinvointialueita ja niiden tietovirtoja ei ollut", "fanns inte", "did not exist")),
        ("p28-deceased", "kotka", "reception-to-municipality", "2026-03-01", "housing",
         ("henkilö on kuollut", "personen är avliden", "the person has died")),
        ("p04-unaccompanied-minor", "edustaja", "representation", "2026-03-01", "health-needs",
         ("on tulkinnanvaraista", "en tolkningsfråga", "open to interpretation")),
        ("p21-sent-to-training", "producer", "training", "2026-03-01", "contact-person",
         ("virkailijan nimi", "tjänsteinnehavarens namn", "the name of the official")),
        ("p01-asylum-adult", "kymenlaakso", "reception-to-county", "2026-03-01", "vulnerability",
         ("edellyttää henkilön suostumusta", "förutsätter personens samtycke", "requires the person's consent")),
        ("p14-mark-missing", "kotka", "reception-to-municipality", "2026-03-01", "contact",
         ("onko henkilöllä turvakielto", "har spärrmarkering", "whether there is a safety prohibition")),
    ],
)  # fmt: skip
def test_withheld_category_is_told_with_the_reason_that_is_true(
    stage: Stage, case: str, to: str, purpose: str, on: str, category: str, said: tuple[str, ...]
) -> None:
    row = {**PARAGRAPH, "person": case, "to": to, "purpose": purpose, "on": on, "expected": f"{category}="}

    explained = put(stage, row)["explanation"]

    for language, words in zip(LANGUAGES, said, strict=True):
        assert words in explained[language]


def test_purpose_follows_from_the_recipient_where_a_flow_is_put(stage: Stage) -> None:
    facts = facts_of(RULEBOOK.cases["p01-asylum-adult"], "")
    document = {"flow": "F1", "facts": facts, "requester": {"role": "county"}, "at": "2026-03-01T12:00:00Z"}

    answer = asyncio.run(stage.call("kotka", "POST", "/v1/decisions", document, expect=200))

    assert [advice["decision"]["purpose"] for advice in answer["body"]["decisions"]] == ["reception-to-county"]


def test_paragraph_promises_what_a_node_carries_out_and_no_more(stage: Stage) -> None:
    advice = put(stage, PARAGRAPH)

    declared = set(advice["decision"]["obligations"])
    assert {"minimise", "notify-subject"} <= declared
    for name in declared:
        for language in LANGUAGES:
            said = [RULEBOOK.obligations[name].says[language], *_periods(name, language)]
            is_said = any(words in advice["explanation"][language] for words in said)
            assert is_said is (name in CARRIED_OUT | AT_THE_RECIPIENT)


def _periods(obligation: str, language: str) -> list[str]:
    """For how long data is kept, where the basis says it."""
    return [period.says[language] for period in RULEBOOK.retention.values()] if obligation == RETAIN else []


# 13, 14 and 16 What another rulebook would change, what holds of this one, and where a value comes from.


def by_consent(text: str) -> str:
    """The reference with one right changed to the person's consent, and the examples that go with it."""
    start = text.index("  - id: plan-revision-municipality\n")
    block = text[start : text.index("\n  - id: ", start) + 1]
    changed = block.replace("mode: right-to-get", "mode: by-word").replace("word: shown", "word: consent")
    changed = changed[: changed.index("    examples:\n")] + (
        "    examples:\n"
        "      - {case: p10-consents-to-revision, from: kotka, to: tampere, on: 2026-06-01, permitted: [education]}\n"
        "      - {case: p10-with-plan, from: kotka, to: tampere, on: 2026-06-01, withheld: [education]}\n"
    )
    start = text.index("  p10-with-plan:\n")
    person = text[start : text.index("\n  p", start + 4) + 1].replace("p10-with-plan", "p10-consents-to-revision")
    word = "{status: active, purposes: [plan-revision], recipients: [municipality], categories: [education]}"
    return text.replace(block, changed, 1) + f"{person}    consents:\n      - {word}\n"


def test_change_from_a_right_to_consent_is_the_change_that_is_told(stage: Stage) -> None:
    proposed = by_consent(reference_rulebook().decode())

    answer = asyncio.run(stage.call("centre", "POST", "/v1/audit/rulebook-change", {"rulebook": proposed}, expect=200))

    told = answer["body"]["differences"]["changes"]
    classes = {(change["was"], change["becomes"]) for change in told}
    # Where another right gives it too, only the rule changes; nowhere does it vanish.
    assert ("right", "word") in classes <= {("right", "word"), ("right", "right")}
    assert {change["requester"] for change in told} == {"municipality"}


def test_rulebook_that_the_node_decides_by_keeps_its_invariants(stage: Stage) -> None:
    put(stage, ROWS[0])  # which asserts that it is this one

    proofs = prove(RULEBOOK, load_invariants(reference_invariants(), RULEBOOK))

    assert [proof.invariant.id for proof in proofs if not proof.holds] == []
    assert len(proofs) > 30


def test_what_arrives_says_where_it_was_obtained(stage: Stage) -> None:
    order = {"rows": [stage.row("p01-asylum-adult")], "flow": "F1", "key": "provenance", "parameters": {}}
    planned = asyncio.run(stage.post("centre", "/hand-over", order))["handovers"][0]

    async def arrived() -> list[dict[str, Any]]:
        answer = await stage.call("kotka", "GET", "/v1/inbox?limit=1000", expect=200)
        return [item for item in answer["body"]["items"] if item["handover"] == planned["id"]]

    (item,) = asyncio.run(until(arrived, bool))

    # 681/2023 73 § 2 mom.: of what was obtained elsewhere, where it was obtained and by whose act.
    centre = stage.network.parties["centre"].subsystem
    assert (item["sender"], item["flow"], item["purpose"]) == (str(centre), "F1", "reception-to-municipality")
    assert item["received"]
