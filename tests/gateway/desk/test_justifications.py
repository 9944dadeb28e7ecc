"""Why an emergency could not wait: the officer reads it where they review the access, on either side, and on record."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select

from audit.log.tables import subjects
from audit.questions.reviews import EMERGENCY as RULE
from gateway.desk.questions.reviewing import ReviewOf, Reviews, Unreviewed
from gateway.desk.roles import Asker, Role
from tests.gateway.exchange.inprocess import InProcess
from tests.gateway.query.test_asked import EMERGENCY, Two, place, told, two
from tests.gateway.web.faces import desk_of, faces

__all__ = ["place", "two"]
SAID = EMERGENCY.justification


def asked(here: InProcess, question: Any, role: Role = Role.OFFICER) -> Any:
    desk = desk_of(here.exchange)
    try:
        return desk.ask(question, Asker("test", "officer", role=role))
    finally:
        desk.close()


@pytest.mark.parametrize("side", ["centre", "county"])
async def test_an_officer_reads_why_an_emergency_could_not_wait_and_that_is_on_record(two: Two, side: str) -> None:
    await two.ask(two.county, "A2", "identity", "contact", emergency=EMERGENCY)
    here: InProcess = getattr(two, side)
    entry = told(here)

    assert asked(here, Unreviewed()).justifications == {entry.id: SAID}
    assert here.entries()[-1].detail["justifications"] == 1
    case = asked(here, ReviewOf.of(entry=entry.id, rule=RULE))
    assert case.justification == SAID
    read = here.entries()[-1]
    assert (read.subject, read.detail["question"], read.detail["justification"]) == (entry.subject, "review", True)
    assert SAID not in str([entry.to_dict() for entry in here.entries()])

    assert asked(here, ReviewOf.of(entry=entry.id), Role.AUDITOR).justification is None
    assert here.entries()[-1].detail["justification"] is False
    assert asked(here, Unreviewed(), Role.AUDITOR).justifications == {}
    assert asked(here, Reviews()).justifications == {}, "the console's list shows none, and so reads none"
    async with faces(here) as both:
        answer = await both.clients.call("GET", "/v1/audit/unreviewed")
        assert answer.json()["justifications"] == {entry.id: SAID}
        assert both.clients.errors == []


async def test_of_who_was_forgotten_no_justification_is_left(two: Two) -> None:
    await two.ask(two.county, "A2", "identity", "contact", emergency=EMERGENCY)
    here = two.county
    with here.exchange.engine.execution_options(writes=True).begin() as connection:
        pseudonym = told(here).subject
        found = connection.scalar(select(subjects.c.id).where(subjects.c.pseudonym == pseudonym))
        here.exchange.subjects.destroy(connection, str(found), here.exchange.clock())

    assert asked(here, Unreviewed()).justifications == {}
    assert asked(here, ReviewOf.of(entry=told(here).id)).justification is None
