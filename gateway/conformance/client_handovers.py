"""Handovers, the inbox and acceptances at the client face: idempotency, cursors, who is responsible."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from gateway.conformance.bench import (
    Bench,
    Desk,
    expect,
    expect_equal,
    expect_refusal,
    new_key,
    plan_of,
)
from gateway.conformance.case import case
from gateway.conformance.persons import Person
from gateway.conformance.verdicts import Failed

_ARRIVALS = 3


@case("CLI-23")
def the_same_again(bench: Bench) -> None:
    """Hands a new person over twice, under one key."""
    record, key = Person.make().bundle(bench.handing.municipality), new_key()
    first, again = (bench.hand_over(record, key=key) for _ in range(2))
    expect(first, 201)
    expect(again, 200, 201)
    expect_equal("the id of the handover", plan_of(first)["id"], plan_of(again)["id"])
    expect_equal("existing", True, plan_of(again).get("existing"))


@case("CLI-24")
def another_under_the_same_key(bench: Bench) -> None:
    """Hands a new person over under a key, and then another person under the same key."""
    key, municipality = new_key(), bench.handing.municipality
    expect(bench.hand_over(Person.make().bundle(municipality), key=key), 201)
    expect_refusal(bench.hand_over(Person.make().bundle(municipality), key=key), 409, code="idempotency-conflict")


@case("CLI-25")
def the_same_without_a_key(bench: Bench) -> None:
    """Hands a new person over twice, without a key."""
    record = Person.make().bundle(bench.handing.municipality)
    first, again = (bench.hand_over(record) for _ in range(2))
    expect(first, 201)
    expect(again, 200, 201)
    expect_equal("the id of the handover", plan_of(first)["id"], plan_of(again)["id"])


@case("CLI-26")
def arrives_once(bench: Bench) -> None:
    """Hands a new person over, twice under one key, waits for the delivery, and counts what arrived."""
    record, key = Person.make().bundle(bench.handing.municipality), new_key()
    plan = plan_of(bench.hand_over(record, key=key))
    bench.hand_over(record, key=key)
    bench.delivered(plan)
    expect_equal("the number of arrivals", 1, len(bench.arrivals(plan)))


@case("CLI-49")
def another_case_under_the_same_key(bench: Bench) -> None:
    """Hands a new person over under a key, and the same person again under it, not before tomorrow this time."""
    key, record = new_key(), Person.make().bundle(bench.handing.municipality)
    expect(bench.hand_over(record, key=key), 201)
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    expect_refusal(bench.hand_over(record, key=key, not_before=tomorrow), 409, code="idempotency-conflict")


@case("CLI-50")
def a_key_that_was_not_used_up(bench: Bench) -> None:
    """Sends a record without a patient under a key, and then a good one under the same key."""
    key, record = new_key(), Person.make().bundle(bench.handing.municipality)
    expect(bench.hand_over(record | {"entry": []}, key=key), 400, 422)
    expect(bench.hand_over(record, key=key), 201)


def _page(desk: Desk, path: str, after: str | int, name: str) -> tuple[list[Mapping[str, Any]], str | int]:
    """One page of two entries, and the cursor that leads on."""
    answer = desk.get(path, limit=2, **({"after": after} if after else {}))
    expect(answer, 200)
    entries = answer.document.get(name) or []
    if entries and not answer.document.get("next"):
        raise Failed("`next`, the cursor to go on with", "a page without it")
    return list(entries), answer.document.get("next") or after


def _to_the_end(desk: Desk, path: str, after: str | int, name: str) -> tuple[list[str], str | int]:
    """The ids of all that stands behind a cursor, page by page, and the cursor at the end."""
    found: list[str] = []
    while True:
        before = after
        entries, after = _page(desk, path, before, name)
        if not entries:
            return found, before
        if after == before:
            raise Failed("a `next` that leads on", f"the cursor {before} again")
        found += [str(entry.get("id")) for entry in entries]


@case("CLI-27")
def nothing_missed_in_the_inbox(bench: Bench) -> None:
    """Reads the inbox to its end in pages of two, hands three persons over, and reads on until all have been seen."""
    _, end = _to_the_end(bench.receiving, "/v1/inbox", "", "items")
    plans = [bench.planned(Person.make()) for _ in range(_ARRIVALS)]
    for plan in plans:
        bench.delivered(plan)
    expected = sorted(str(item["id"]) for plan in plans for item in bench.arrivals(plan))
    seen, _ = _to_the_end(bench.receiving, "/v1/inbox", end, "items")
    expect_equal("the new arrivals, each once", expected, sorted(name for name in seen if name in expected))


@case("CLI-28")
def nothing_missed_in_the_list(bench: Bench) -> None:
    """Reads the list of handovers to its end in pages of two, hands three persons over, and reads on."""
    _, end = _to_the_end(bench.sending, "/v1/handovers", "", "handovers")
    expected = sorted(str(bench.planned(Person.make())["id"]) for _ in range(_ARRIVALS))
    seen, _ = _to_the_end(bench.sending, "/v1/handovers", end, "handovers")
    expect_equal("the new handovers, each once", expected, sorted(name for name in seen if name in expected))


@case("CLI-29")
def the_last_id_leads_on(bench: Bench) -> None:
    """Hands a person over, waits for the arrival, and reads what comes after it."""
    plan = bench.planned(Person.make())
    bench.delivered(plan)
    arrivals = bench.arrivals(plan)
    if not arrivals:
        raise Failed("the arrival in the inbox", "it is not there")
    answer = bench.receiving.get("/v1/inbox", after=str(arrivals[0]["id"]), limit=1)
    expect(answer, 200)
    if any(item.get("id") == arrivals[0]["id"] for item in answer.document.get("items") or []):
        raise Failed("what comes after the id", "the item of that id itself")


def _arrival(bench: Bench) -> tuple[Mapping[str, Any], str]:
    """A new arrival: the plan of its handover, and the path of the item."""
    plan = bench.planned(Person.make())
    bench.delivered(plan)
    items = bench.arrivals(plan)
    if not items:
        raise Failed("the arrival in the inbox", "it is not there")
    return plan, f"/v1/inbox/{items[0]['id']}"


@case("CLI-30")
def acceptance_is_told(bench: Bench) -> None:
    """Accepts an arrival and waits until the sender's delivery says so."""
    plan, path = _arrival(bench)
    accepted = bench.receiving.post(f"{path}/acceptance", {"contact": {"name": "Conformance team"}})
    expect(accepted, 200, 201)
    expect_equal("state", "accepted", accepted.document.get("state"))

    def look() -> tuple[bool | None, object]:
        state = bench.delivery_of(plan).get("state")
        return (True if state == "accepted" else None), state

    bench.until(look, "the sender's delivery to be accepted")


@case("CLI-31")
def accepting_again(bench: Bench) -> None:
    """Accepts an arrival twice, naming another contact the second time."""
    _, path = _arrival(bench)
    answers = [
        bench.receiving.post(f"{path}/acceptance", {"contact": {"name": name}})
        for name in ("First team", "Second team")
    ]
    for answer in answers:
        expect(answer, 200, 201)
    first, again = (answer.document.get("contact") for answer in answers)
    expect_equal("the contact", first, again)


@case("CLI-32")
def naming_nobody(bench: Bench) -> None:
    """Accepts an arrival without a contact, with an empty name, and with a name that is a number."""
    _, path = _arrival(bench)
    for document in ({}, {"contact": {"name": " "}}, {"contact": {"name": 5}}):
        expect_refusal(bench.receiving.post(f"{path}/acceptance", document), 400, 422)


@case("CLI-33")
def accepting_nothing(bench: Bench) -> None:
    """Accepts an item under an id that was never given."""
    path = "/v1/inbox/019aaaaa-0000-7000-8000-000000000000/acceptance"
    expect_refusal(bench.receiving.post(path, {"contact": {"name": "Conformance team"}}), 404)


@case("CLI-51")
def more_than_a_contact(bench: Bench) -> None:
    """Accepts an arrival with a name of 10 000 characters, and with a member that a contact does not have."""
    _, path = _arrival(bench)
    for contact in ({"name": "x" * 10_000}, {"name": "Conformance team", "note": "about the person"}):
        expect_refusal(bench.receiving.post(f"{path}/acceptance", {"contact": contact}), 400, 422)
