"""How the log stands: its seal, its newest records read one by one, its witnesses, the logs it watches, and alarms."""

from __future__ import annotations

from typing import Any

from sqlalchemy import func, select

from audit.log.tables import cosignatures
from audit.questions.checking import MOST, CheckingError, check_newest
from audit.tree.checkpoint import MAX_NOTE_BYTES, NoteError
from audit.tree.proofs import unchanged_since
from audit.tree.witness import all_alarms, watched
from gateway.desk.console.office import EVERYONE, INSPECTORS, Answer, Page, Shown, Visit


def health(visit: Visit) -> Answer:
    """The log's seal, witnesses, watched logs and alarms.

    Asked to, it reads the newest records one by one, or says whether the log continues a seal that somebody kept.
    """
    office, connection = visit.office, visit.connection
    latest = office.log.latest()
    marks = connection.execute(
        select(cosignatures.c.witness, func.max(cosignatures.c.size), func.max(cosignatures.c.timestamp))
        .group_by(cosignatures.c.witness)
        .order_by(cosignatures.c.witness)
    )
    values = {
        "latest": latest,
        "key": str(office.log_key),
        "cosignatures": [(witness, (size, timestamp)) for witness, size, timestamp in marks],
        "watched": watched(connection),
        "alarms": all_alarms(connection),
        "continuity": None,
        "wrong": None,
        "most": MOST,
        "report": None,
        "busy": False,
    }
    if visit.method == "GET":
        return Shown("log.html", values)
    if visit.form.get("act") == "check":
        return _checked(visit, values)
    note = visit.form.get("note", "").replace("\r\n", "\n")
    try:
        if len(note) > MAX_NOTE_BYTES:
            raise NoteError("too long")
        values["continuity"] = unchanged_since(connection, note.strip("\n") + "\n", office.log_key)
    except NoteError:
        values["wrong"] = "log.not-a-seal"
        return Shown("log.html", values, {"act": "continuity"}, status=400)
    return Shown("log.html", values, {"act": "continuity"})


def _checked(visit: Visit, values: dict[str, Any]) -> Answer:
    office = visit.office
    try:
        report = check_newest(
            office.engine, office.checking, log_key=office.log_key, witnesses=office.witnesses(), newest=MOST
        )
    except CheckingError:
        return Shown("log.html", values | {"busy": True}, {"act": "check", "busy": True}, status=409)
    values["report"] = report
    return Shown("log.html", values, {"act": "check", **report.to_codes()})


def verify(visit: Visit) -> Answer:
    """Verify an exported file in the browser; the file never leaves it."""
    return Shown("verify.html", {"key": str(visit.office.log_key)})


PAGES = (
    Page("/log", "log", health, EVERYONE, ("GET", "POST"), "log", 10),
    Page("/log/verify", "verify", verify, INSPECTORS, group="log", rank=40),
)
