"""Whether the log was altered, asked where people look: on the page that says how it stands."""

from __future__ import annotations

import httpx
import pytest
from sqlalchemy import delete, select, text, update

from audit.log.tables import entries
from audit.questions.query import Filters, search
from tests.gateway.console.conftest import Running, Visitor, World, hidden


def ask(client: Visitor, running: Running) -> httpx.Response:
    """Press the button."""
    form = {"csrf": hidden(client.get("/log")), "act": "check"}
    return client.post("/log", data=form, headers={"origin": running.address})


def size(world: World) -> int:
    return world.log.latest().size


def tamper(world: World, index: int, how: str) -> None:
    """In plain SQL, with the triggers gone."""
    with world.engine.begin() as connection:
        for trigger in connection.execute(text("SELECT name FROM sqlite_master WHERE type = 'trigger'")).scalars():
            connection.execute(text(f"DROP TRIGGER {trigger}"))
        if how == "deleted":
            connection.execute(delete(entries).where(entries.c.idx == index))
            return
        body = connection.scalar(select(entries.c.body).where(entries.c.idx == index))
        assert body is not None
        changed = body.replace("success", "refused") if how == "altered" else "no entry at all"
        assert changed != body
        connection.execute(update(entries).where(entries.c.idx == index).values(body=changed))


def noted(world: World) -> dict[str, object]:
    """What the log says of the last check."""
    with world.engine.connect() as connection:
        page = search(connection, Filters(types=("console-read",)), limit=2)
    return next(dict(item.entry.detail) for item in page.found if item.entry.detail["question"] == "check")


@pytest.mark.parametrize("role", ["officer", "operator", "auditor"])
def test_a_log_that_nobody_touched_is_said_to_be_whole(running: Running, role: str) -> None:
    client = running.enter(role)  # type: ignore[arg-type]
    before = size(running.world)
    page = ask(client, running)
    assert page.status_code == 200
    assert "none was altered" in page.text
    assert 'role="alert"' not in page.text
    detail = noted(running.world)
    assert (detail["page"], detail["sound"]) == ("log", True)
    assert int(str(detail["checked"])) >= before


@pytest.mark.parametrize("how", ["altered", "deleted", "unreadable"])
@pytest.mark.parametrize("language", ["fi", "sv", "en"])
def test_the_first_record_that_was_altered_is_named(running: Running, how: str, language: str) -> None:
    world, client = running.world, running.enter()
    words = {
        "fi": {"altered": "Sen tekstiä", "deleted": "Se on poissa", "unreadable": "Sen tekstiä"},
        "sv": {"altered": "Dess text", "deleted": "Den är borta", "unreadable": "Dess text"},
        "en": {"altered": "Its text", "deleted": "It is gone", "unreadable": "Its text"},
    }
    for index in (17, 11):
        tamper(world, index, how)
    client.get(f"/log?language={language}")
    page = ask(client, running)
    assert page.status_code == 200
    alarm = page.text.split('role="alert"', 1)[1].split("</div>", 1)[0]
    assert "12" in alarm.split("</strong>", 1)[0], "records are counted from one"
    assert words[language][how] in alarm
    detail = noted(world)
    assert (detail["sound"], detail["at"]) == (False, 11)


def test_one_check_is_made_at_a_time(running: Running) -> None:
    client = running.enter()
    with running.world.office.desk.checking:
        page = ask(client, running)
        assert page.status_code == 409
        assert "A check is being made right now" in page.text
    assert "none was altered" in ask(client, running).text
