"""What a peer may try, and what must be refused: each with its exact code, nothing of the record in the answer, and the
refusal in the log.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import orjson
import pytest

from gateway.registry.read.standing import Standing
from schemas.identifiers import MIGRI_CUSTOMER
from tests.gateway.exchange.inprocess import InProcess, Place, hidden_reason, node, problem_of

pytestmark = pytest.mark.xdist_group("policy-refusals")
Bundle = dict[str, Any]


@pytest.fixture
def database(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'node.db'}"


def refused_with(here: InProcess, code: str) -> None:
    """The last entry of the log is the refusal, and nothing was ever let go."""
    log = here.entries()
    assert (log[-1].outcome, log[-1].reason) == ("failed" if code == "source-invalid" else "refused", code)
    assert not [entry for entry in log if entry.outcome in {"success", "partial"} and entry.type == "query"]


ASKED: list[tuple[str, dict[str, Any], int, str]] = [
    ("a purpose that the service is not declared for", {"purpose": "compensation"}, 403, "purpose-not-declared"),
    ("a purpose of another role", {"purpose": "municipal-placement"}, 403, "not-permitted"),
    ("a purpose that there is not", {"purpose": "curiosity"}, 403, "purpose-not-declared"),
    ("a category that there is not", {"categories": frozenset({"identity", "horoscope"})}, 422, "category-unknown"),
    ("no category", {"categories": frozenset()}, 422, "category-unknown"),
    ("only what no basis gives", {"categories": frozenset({"child-protection"})}, 403, "not-permitted"),
    (
        "an emergency without a justification",
        {"body": {"subject": {"system": MIGRI_CUSTOMER, "value": "A1"}, "emergency": {"justification": " "}}},
        422,
        "justification-missing",
    ),
    (
        "an emergency that its role has no basis for",
        {
            "body": {"subject": {"system": MIGRI_CUSTOMER, "value": "A1"}, "emergency": {"justification": "Fire."}},
            "categories": frozenset({"child-protection"}),
        },
        403,
        "not-permitted",
    ),
]


@pytest.mark.parametrize(("changes", "status", "code"), [row[1:] for row in ASKED], ids=[row[0] for row in ASKED])
async def test_question_that_may_not_be_asked_never_reaches_the_source(
    place: Place, database: str, changes: dict[str, Any], status: int, code: str
) -> None:
    async with node(place, database) as here:
        answer = await here.ask("A1", **changes)

        assert (answer.status, problem_of(answer)) == (status, code)
        assert answer.message is not None  # signed, as every answer to a verified message is
        assert here.register.fetched == []
        refused_with(here, code)


def patient(record: Bundle) -> Bundle:
    found: Bundle = record["entry"][0]["resource"]
    return found


def another_person(record: Bundle) -> None:
    patient(record)["identifier"] = [{"system": MIGRI_CUSTOMER, "value": "B2"}]


def two_persons(record: Bundle) -> None:
    record["entry"].append({"resource": {**patient(record), "id": "patient-2"}})


SMUGGLED: list[tuple[str, Callable[[Bundle], Any]]] = [
    ("another person's record", another_person),
    ("two persons in one record", two_persons),
    ("an extension", lambda record: patient(record)["extension"].append({"url": "urn:alien", "valueString": "asthma"})),
    ("a contained resource", lambda record: patient(record).update(contained=[{"resourceType": "Observation"}])),
    ("an unknown member", lambda record: patient(record).update(diagnosis="asthma")),
    ("a narrative", lambda record: patient(record).update(text={"status": "generated", "div": "<div>asthma</div>"})),
    ("a name for an id", lambda record: patient(record).update(id="asthma-1")),
    (
        "a reference to somebody else",
        lambda record: record["entry"][-1]["resource"].update(subject={"reference": "Patient/asthma-1"}),
    ),
    ("a member of the frame", lambda record: record.update(meta={"tag": [{"display": "asthma"}]})),
]


@pytest.mark.parametrize("change", [row[1] for row in SMUGGLED], ids=[row[0] for row in SMUGGLED])
async def test_record_in_which_something_is_smuggled_is_refused_as_a_whole(
    place: Place, database: str, change: Callable[[Bundle], Any]
) -> None:
    async with node(place, database) as here:
        here.register.changed["A1"] = change

        answer = await here.ask("A1")

        assert hidden_reason(here, answer) == "source-invalid"
        assert b"asthma" not in answer.body
        refused_with(here, "source-invalid")


async def test_a_service_without_a_source_system_behind_it_says_so(place: Place, database: str) -> None:
    async with node(place, database) as here:
        here.exchange.backends = {}

        answer = await here.ask("A1")

        assert (answer.status, problem_of(answer)) == (503, "service-disabled")
        assert [entry for entry in here.entries() if entry.outcome in {"success", "partial"}] == []
        assert [(entry.type, entry.reason) for entry in here.entries()][-1] == ("query", "service-disabled")


def rules(change: Callable[[Any], Any]) -> Callable[[Standing], Standing]:
    """A registry whose rulebook has every basis changed so."""

    def changed(standing: Standing) -> Standing:
        book = standing.rulebook
        other = book.with_bases(change(basis) for basis in book.bases)
        return replace(standing, rulebook=replace(other, digest="sha-256:" + "0" * 64))

    return changed


@pytest.mark.parametrize(
    "change",
    [
        lambda basis: replace(basis, starts=date(2999, 1, 1), ends=None),
        lambda basis: replace(basis, starts=None, ends=date(2000, 1, 1)),
    ],
    ids=["not yet in force", "no longer in force"],
)
async def test_basis_that_is_not_in_force_gives_nothing(
    place: Place, database: str, change: Callable[[Any], Any]
) -> None:
    async with node(place, database, standing=rules(change)) as here:
        answer = await here.ask("A1")

        assert problem_of(answer) == "not-permitted"
        refused_with(here, "not-permitted")


async def test_person_without_a_final_permit_is_refused_under_their_pseudonym(place: Place, database: str) -> None:
    """The refusal is on record about the person, and the decision behind it can be made again."""
    from gateway.exchange.keeping import kept_decisions, kept_rulebook
    from gateway.exchange.rejudging import replay

    def pending(record: Bundle) -> None:
        for extension in patient(record)["extension"]:
            if extension["url"].endswith(":residence-permit"):
                for part in extension["extension"]:
                    if part["url"] == "granted":
                        part["valueBoolean"] = False

    async with node(place, database) as here:
        here.register.changed["A1"] = pending
        answer = await here.ask("A1")

        assert hidden_reason(here, answer) == "not-permitted"
        refused_with(here, "not-permitted")
        refusal = here.entries()[-1]
        assert refusal.subject is not None
        assert refusal.categories.withheld == ("health-needs", "identity")
        engine = here.exchange.engine
        (kept,) = kept_decisions(engine, here.exchange.subjects)
        assert (kept.entry, kept.decision) == (refusal.id, refusal.detail["decision"])
        replayed = replay([kept], lambda digest: kept_rulebook(engine, digest))
        assert (replayed.same, replayed.sound) == (1, True)


async def test_rulebook_that_changed_while_the_source_was_read_decides(place: Place, database: str) -> None:
    """The question was admitted by the old rulebook; the new one gives only the person's identity."""
    changed = False
    narrower = rules(lambda basis: replace(basis, categories=frozenset({"identity"})))

    def standing(one: Standing) -> Standing:
        return narrower(one) if changed else one

    async with node(place, database, standing=standing) as here:
        await here.consent("A1")
        fetch = here.register.fetch

        async def fetching(locator: Any) -> Any:
            nonlocal changed
            sourced = await fetch(locator)
            changed = True
            return sourced

        here.register.fetch = fetching  # type: ignore[method-assign]
        answer = await here.ask("A1")

        assert answer.status == 200
        assert [entry["resource"]["resourceType"] for entry in orjson.loads(answer.body)["entry"]] == ["Patient"]
        released = here.entries()[-1]
        assert released.rulebook == "sha-256:" + "0" * 64
        assert released.categories.withheld == ("health-needs",)


async def test_rulebook_that_changed_before_the_release_is_recorded_is_decided_by(place: Place, database: str) -> None:
    """The change comes after the source was read and before the transaction of the release."""
    narrower = rules(lambda basis: replace(basis, categories=frozenset({"identity"})))
    armed = False

    def standing(one: Standing) -> Standing:
        return narrower(one) if armed else one

    async with node(place, database, standing=standing) as here:
        await here.consent("A1")
        take = here.exchange.log.commit

        async def committing(unit: Any) -> Any:
            nonlocal armed
            armed = True
            return await take(unit)

        here.exchange.log.commit = committing  # type: ignore[method-assign]
        answer = await here.ask("A1")

        assert answer.status == 200
        assert b"Observation" not in answer.body
        assert here.entries()[-1].rulebook == "sha-256:" + "0" * 64


async def test_decisions_of_answers_are_replayed_and_a_tampered_one_is_named(place: Place, database: str) -> None:
    from sqlalchemy import update

    from gateway.exchange.keeping import kept_decisions, kept_rulebook
    from gateway.exchange.rejudging import replay, swing
    from gateway.storage.tables import decisions

    async with node(place, database) as here:
        consent = await here.consent("A1")
        await here.ask("A1")
        await here.withdraw(consent)
        await here.ask("A1")
        await here.ask("A2")
        engine, subjects = here.exchange.engine, here.exchange.subjects
        standing = here.exchange.standing(here.exchange.clock())

        def again() -> Any:
            return replay(kept_decisions(engine, subjects), lambda digest: kept_rulebook(engine, digest))

        whole = again()
        none = standing.rulebook.with_bases(())
        changed = swing(kept_decisions(engine, subjects), standing.rulebook, none)
        entry = next(iter(kept_decisions(engine, subjects))).entry
        with engine.execution_options(writes=True).begin() as connection:
            connection.execute(update(decisions).where(decisions.c.entry == entry).values(decision="d-" + "0" * 32))
        tampered = again()
        person = subjects.find(engine.connect(), MIGRI_CUSTOMER, "A2")
        assert person is not None
        with engine.execution_options(writes=True).begin() as connection:
            subjects.destroy(connection, person.id, here.exchange.clock())
        forgotten = again()

    assert (whole.decisions, whole.same, whole.sound) == (3, 3, True)
    assert (changed.otherwise, changed.decisions, changed.by_purpose) == (3, 3, {"service-need-lookup": 3})
    assert changed.lost["health-needs"] == 1
    assert (tampered.different, tampered.sound) == ((entry,), False)
    assert len(forgotten.forgotten) == 1
