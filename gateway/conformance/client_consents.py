"""Consents, refusals and withdrawals at the client face, and what they do to a handover."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from gateway.conformance.bench import (
    Bench,
    expect,
    expect_equal,
    expect_refusal,
    expect_silence,
    part_of,
    permitted,
)
from gateway.conformance.case import case
from gateway.conformance.persons import HETU, Person
from gateway.conformance.verdicts import Failed

#: How long the delivery that a withdrawal overtakes is held back: seconds, and longer where that was not enough.
_HELD_BACK = (3, 12, 48)


def _arrived(bench: Bench, plan: Mapping[str, Any]) -> set[str]:
    """The categories of what arrived of a handover."""
    items = bench.arrivals(plan)
    if not items:
        raise Failed("an arrival of the handover", "none")
    return {str(category) for item in items for category in item.get("categories") or []}


def _holds(categories: set[str], wanted: str) -> bool:
    return any(category == wanted or category.startswith(f"{wanted}/") for category in categories)


@case("CLI-11")
def a_consent_carries(bench: Bench) -> None:
    """Records a consent of a new person, hands the person over, and reads what arrived."""
    person = Person.make()
    expect(bench.consent(person), 201)
    plan = bench.planned(person)
    bench.delivered(plan)
    if not _holds(_arrived(bench, plan), bench.handing.category):
        raise Failed(f"{bench.handing.category} at the recipient", "it did not arrive")


@case("CLI-12")
def a_withdrawal_stops(bench: Bench) -> None:
    """Hands a consenting person over, not before a few seconds have passed, withdraws the consent meanwhile, and reads
    what arrived.
    """
    for seconds in _HELD_BACK:
        person = Person.make()
        consent = bench.consent(person)
        expect(consent, 201)
        plan = bench.planned(person, not_before=(datetime.now(UTC) + timedelta(seconds=seconds)).isoformat())
        withdrawn = bench.sending.post(f"/v1/consents/{consent.document['id']}/withdrawal", {})
        expect(withdrawn, 201)
        bench.delivered(plan)
        # Who holds data under the consent is told of its end: then the delivery was quicker than the withdrawal.
        if withdrawn.document.get("notices"):
            continue
        if _holds(_arrived(bench, plan), bench.handing.category):
            raise Failed(f"no {bench.handing.category} after the withdrawal", "it arrived all the same")
        return
    raise Failed("a withdrawal that overtakes the delivery", "the delivery was quicker each time")


@case("CLI-13")
def a_refusal_stops(bench: Bench) -> None:
    """Records a consent and then a refusal of the same, hands the person over, and reads the plan."""
    person = Person.make()
    expect(bench.consent(person), 201)
    expect(bench.consent(person, "refused"), 201)
    part = part_of(bench.planned(person), bench.handing.role)
    if _holds(permitted(part), bench.handing.category):
        raise Failed(f"{bench.handing.category} withheld", "it was planned to go")


@case("CLI-14")
def a_withdrawal_is_a_version(bench: Bench) -> None:
    """Records a consent, withdraws it twice, and reads its versions."""
    consent = bench.consent(Person.make())
    expect(consent, 201)
    path = f"/v1/consents/{consent.document['id']}"
    withdrawn = bench.sending.post(f"{path}/withdrawal", {})
    expect(withdrawn, 201)
    expect_equal("status", "withdrawn", withdrawn.document.get("status"))
    expect(bench.sending.post(f"{path}/withdrawal", {}), 200, 201)
    versions = bench.sending.get(path).document.get("versions") or []
    expect_equal("versions", ["active", "withdrawn"], [version.get("status") for version in versions])


@case("CLI-15")
def a_wrong_identity_code(bench: Bench) -> None:
    """Records a refusal and a consent under an identity code whose check character is not its own."""
    person = Person.make()
    waits = bench.consent(person, "refused", subject=person.misspelt)
    expect(waits, 202)
    expect_equal("status", "not-placed", waits.document.get("status"))
    expect_refusal(bench.consent(person, subject=person.misspelt), 400, 422)


@case("CLI-16")
def any_language(bench: Bench) -> None:
    """Records refusals explained in Kurmanji, in Tigrinya as spoken in Eritrea, and in Chinese in simplified script."""
    for language in ("kmr", "ti-ER", "zh-Hans"):
        answer = bench.consent(Person.make(), "refused", language=language)
        expect(answer, 201)
        expect_equal("language", language.lower(), str(answer.document.get("language")).lower())


@case("CLI-17")
def no_language(bench: Bench) -> None:
    """Records a refusal whose language is a sentence."""
    expect_refusal(bench.consent(Person.make(), "refused", language="in their own words!"), 400, 422)


@case("CLI-18")
def search_finds(bench: Bench) -> None:
    """Records a consent of one new person and a refusal of another, and searches for each."""
    first, second = Person.make(), Person.make()
    for person, status in ((first, "active"), (second, "refused")):
        recorded = bench.consent(person, status)
        expect(recorded, 201)
        found = bench.sending.post("/v1/consents/search", {"subject": person.subject})
        expect(found, 200)
        ids = [entry.get("id") for entry in found.document.get("consents") or []]
        expect_equal("the consents found", [recorded.document.get("id")], ids)


@case("CLI-52")
def a_prohibition_is_taken_back(bench: Bench) -> None:
    """Records a refusal, ends it as nobody, as a bystander and as another person would, and then as the person."""
    person = Person.make()
    refused = bench.consent(person, "refused")
    expect(refused, 201)
    path = f"/v1/consents/{refused.document['id']}/withdrawal"
    own = {"subject": person.subject, "given_by": {"kind": "self"}}
    for document in ({}, own | {"given_by": {"kind": "other"}}, own | {"subject": Person.make().subject}):
        expect_refusal(bench.sending.post(path, document), 404, 422)
    found = bench.sending.post("/v1/consents/search", {"subject": person.subject})
    expect(found, 200)
    standing = [entry.get("status") for entry in found.document.get("consents") or []]
    expect_equal("the words that stand after that", ["refused"], standing)
    ended = bench.sending.post(path, own)
    expect(ended, 201)
    expect_equal("status", "withdrawn", ended.document.get("status"))


@case("CLI-19")
def search_for_nobody(bench: Bench) -> None:
    """Searches for the consents of a person of whom nothing was ever recorded."""
    person = Person.make()
    answer = bench.sending.post("/v1/consents/search", {"subject": person.subject})
    expect(answer, 200)
    expect_equal("the consents found", [], answer.document.get("consents"))
    expect_silence(answer, person.code)


@case("CLI-20")
def question_about_nobody(bench: Bench) -> None:
    """Asks the service about a new person, of whom no source knows."""
    person, question = Person.make(), bench.question
    answer = bench.receiving.post(
        "/v1/queries",
        {
            "service": question.service,
            "subject": person.subject,
            "purpose": question.purpose,
            "categories": list(question.categories),
        },
    )
    expect_refusal(answer, 403, 404)
    expect_silence(answer, person.code, '"bundle"', '"Patient"')


@case("CLI-21")
def refusals_repeat_nothing(bench: Bench) -> None:
    """Sends a consent whose status does not exist, with an identity code in several of its places."""
    person = Person.make()
    document = {"subject": {"system": HETU, "value": person.code}, "status": person.code, "categories": [person.code]}
    answer = bench.sending.post("/v1/consents", document)
    expect_refusal(answer, 400, 422)
    expect_silence(answer, person.code)


@case("CLI-22")
def unknown_ids(bench: Bench) -> None:
    """Reads a handover and a consent under ids that were never given."""
    nowhere = "019aaaaa-0000-7000-8000-000000000000"
    for path in (f"/v1/handovers/{nowhere}", f"/v1/consents/{nowhere}"):
        expect_refusal(bench.sending.get(path), 404)
