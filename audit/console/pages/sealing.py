"""How the log stands: its seal, the witnesses who hold it, the logs of others that are watched, and alarms."""

from __future__ import annotations

from sqlalchemy import func, select

from audit.checkpoint import MAX_NOTE_BYTES, NoteError
from audit.console.office import EVERYONE, INSPECTORS, Answer, Page, Shown, Visit
from audit.proofs import unchanged_since
from audit.tables import cosignatures
from audit.witness import all_alarms, watched


def health(visit: Visit) -> Answer:
    """The log's seal, witnesses, watched logs and alarms; and whether it continues a seal that somebody kept."""
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
    }
    if visit.method == "GET":
        return Shown("log.html", values)
    note = visit.form.get("note", "").replace("\r\n", "\n")
    try:
        if len(note) > MAX_NOTE_BYTES:
            raise NoteError("too long")
        values["continuity"] = unchanged_since(connection, note.strip("\n") + "\n", office.log_key)
    except NoteError:
        values["wrong"] = "log.not-a-seal"
        return Shown("log.html", values, {"act": "continuity"}, status=400)
    return Shown("log.html", values, {"act": "continuity"})


def verify(visit: Visit) -> Answer:
    """Verify an exported file in the browser; the file never leaves it."""
    return Shown("verify.html", {"key": str(visit.office.log_key)})


PAGES = (
    Page("/log", "log", health, EVERYONE, ("GET", "POST"), "log", 10),
    Page("/log/verify", "verify", verify, INSPECTORS, group="log", rank=40),
)
