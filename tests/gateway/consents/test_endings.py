"""Whoever takes a prohibition back says who they are, whatever the ending is called; on both kinds of database."""

from __future__ import annotations

from typing import Any

import pytest

from audit.log.entries import EntryType
from consent.words.consents import ErrorReason, WordStatus
from consent.words.givers import Giver
from gateway.consents.endings import TakenBack
from gateway.consents.record import Recorder
from gateway.consents.reports import Answer, Reports
from gateway.person.registrar import Registrar
from gateway.sources.backends import Locator
from gateway.wire.problems import ProblemError
from schemas.facts import Identifier
from schemas.identifiers import HETU, MIGRI_CUSTOMER
from tests.databases import database_url, postgresql_server, postgresql_url
from tests.gateway.exchange.inprocess import InProcess

__all__ = ["database_url", "postgresql_server", "postgresql_url"]
pytestmark = pytest.mark.xdist_group("reports")
ADULT = Locator(HETU, "010180-9018")
CHILD = Locator(HETU, "150612A900" + "0123456789ABCDEFHJKLMNPRSTUVWXY"[150612900 % 31])
CUSTOMER = Locator(MIGRI_CUSTOMER, "7000009")
OWN = Giver.read({"kind": "self"})
GUARDIAN = Giver.read({"kind": "guardian", "minor_opinion": "agrees"})
FORBIDDEN: dict[str, Any] = {"kind": "prohibition", "categories": ["health-needs"]}


async def said(here: InProcess, about: Locator, **changes: Any) -> str:
    recorded = await here.consents.record("test", here.party.subsystem, about, FORBIDDEN | changes)
    return recorded.record.id


async def ended(here: InProcess, word: str, said: TakenBack, ending: Any = WordStatus.WITHDRAWN) -> Any:
    return await here.consents.withdraw("test", here.party.subsystem, word, ending, said)


async def refused(here: InProcess, word: str, said: TakenBack, ending: Any = WordStatus.WITHDRAWN) -> ProblemError:
    before = len(here.entries())
    with pytest.raises(ProblemError) as problem:
        await ended(here, word, said, ending)
    assert len(here.entries()) == before
    assert problem.value.detail
    return problem.value


async def test_nobody_ends_a_minors_prohibition_but_the_minor(here: InProcess) -> None:
    word = await said(here, CHILD, given_by={"kind": "self", "able_to_decide": True})

    for giver, about, age, pointer in (
        (None, None, None, "/given_by"),
        (OWN, None, None, "/subject"),
        (GUARDIAN, CHILD, 30, "/given_by/kind"),
        (OWN, CHILD, 30, "/given_by"),  # the identity code tells the age, whatever is said of it
        (Giver.read({"kind": "other"}), CHILD, None, "/given_by/kind"),
        (OWN, ADULT, None, "/subject"),
    ):
        problem = await refused(here, word, TakenBack(giver, about, age))
        assert (problem.pointer, problem.code) == (
            pointer,
            "consent-unknown" if about == ADULT else "consent-invalid",
        )
    able = Giver.read({"kind": "self", "able_to_decide": True})
    done = await ended(here, word, TakenBack(able, CHILD))

    assert (done.record.status, done.record.version, done.record.ended_by) == ("withdrawn", 2, able)
    versions = await here.consents.history("test", here.party.subsystem, word)
    assert versions[1].ended_by == able
    assert versions[0].ended_by is None
    entry = next(entry for entry in here.entries() if (word, 2) in entry.consents)
    assert (entry.type, entry.detail["ended_by"]) == (EntryType.CONSENT, "self")


async def test_an_error_is_said_by_the_person_too_and_why(here: InProcess) -> None:
    word, error = await said(here, ADULT), WordStatus.ENTERED_IN_ERROR
    reason = ErrorReason.NEVER_SAID

    assert (await refused(here, word, TakenBack(OWN, ADULT), error)).pointer == "/reason"
    assert (await refused(here, word, TakenBack(error=reason), error)).pointer == "/given_by"
    assert (await refused(here, word, TakenBack(OWN, ADULT, error=reason))).pointer == "/reason"
    done = await ended(here, word, TakenBack(OWN, ADULT, error=reason), error)

    assert (done.record.status, done.record.error, done.record.ended_by) == (error, reason, OWN)
    assert next(entry for entry in here.entries() if (word, 2) in entry.consents).detail["error"] == "never-said"


@pytest.mark.parametrize("ending", [WordStatus.WITHDRAWN, WordStatus.ENTERED_IN_ERROR])
async def test_a_report_ends_by_no_door_but_its_answer(here: InProcess, ending: WordStatus) -> None:
    word = await said(here, ADULT, given_by={"kind": "other"})
    error = ErrorReason.NEVER_SAID if ending is WordStatus.ENTERED_IN_ERROR else None

    assert (await refused(here, word, TakenBack(OWN, ADULT, error=error), ending)).code == "invalid-request"


async def test_age_is_told_by_the_identity_code_where_one_is_known(here: InProcess) -> None:
    word, unknown = await said(here, CUSTOMER), await said(here, Locator(MIGRI_CUSTOMER, "7000010"))
    await said(here, CHILD)
    joined = (Identifier(CUSTOMER.system, CUSTOMER.value), Identifier(CHILD.system, CHILD.value))
    member = str(here.party.subsystem.member)
    registrar = Registrar(here.exchange.node, here.exchange.subjects.of(member), here.exchange.held)
    with here.exchange.engine.begin() as connection:
        registrar.join(connection, *joined, "test " + "a" * 32, here.exchange.clock())

    problem = await refused(here, word, TakenBack(OWN, CUSTOMER, 30))
    assert (problem.pointer, problem.remedy) == ("/subject", "name the person by the identity code")
    assert (await refused(here, word, TakenBack(OWN, CHILD, 30))).pointer == "/given_by"
    elsewhere = Locator(MIGRI_CUSTOMER, "7000010")
    assert (await refused(here, unknown, TakenBack(OWN, elsewhere))).pointer == "/subject_age"
    assert (await ended(here, unknown, TakenBack(OWN, elsewhere, 30))).record.status == "withdrawn"


async def test_ending_again_changes_nothing_and_tells_what_stands(here: InProcess) -> None:
    word = await said(here, ADULT)
    first = await ended(here, word, TakenBack(OWN, ADULT))

    again = await ended(here, word, TakenBack())

    assert (again.record, again.known, again.notices) == (first.record, True, 0)
    assert len(await here.consents.history("test", here.party.subsystem, word)) == 2
    assert (await refused(here, word, TakenBack(), WordStatus.ENTERED_IN_ERROR)).code == "consent-withdrawn"


async def test_a_consent_is_ended_by_anybody_at_once(here: InProcess) -> None:
    word = await here.consent("7000011")

    done = await ended(here, word, TakenBack())

    assert (done.record.status, done.record.ended_by) == ("withdrawn", None)


async def test_a_no_to_a_report_is_said_by_who_may_permit(here: InProcess) -> None:
    reports, who = Reports(here.exchange), Recorder("test", here.party.subsystem)
    report = await said(here, CHILD, given_by={"kind": "guardian", "able_to_decide": True})

    for giver in (GUARDIAN, OWN):
        with pytest.raises(ProblemError) as problem:
            await reports.answer(who, report, Answer(False, giver, "ti", 30), CHILD)
        assert problem.value.code == "consent-invalid"
    able = Giver.read({"kind": "self", "able_to_decide": True})
    done = await reports.answer(who, report, Answer(False, able, "ti"), CHILD)

    assert (done.record.status, done.record.ended_by) == ("lapsed", able)
