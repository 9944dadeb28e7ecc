"""How the log stands: its seal, its newest records read one by one, its witnesses, the logs it watches, and alarms."""

from __future__ import annotations

from typing import Any, Final

from audit.questions.checking import MOST, CheckingError
from audit.tree.checkpoint import NoteError
from audit.tree.proofs import Continuity
from gateway.console.office import Answer, Ask, Page, Shown, Visit
from gateway.desk.questions.proving import Check, Health, Standing, Unchanged
from gateway.desk.roles import INSPECTORS
from gateway.wire.problems import ProblemError

_NOTHING: Final = {"continuity": None, "wrong": None, "report": None, "busy": False}


def health(visit: Visit) -> Answer:
    """The log's seal, witnesses, watched logs and alarms.

    Asked to, it reads the newest records one by one, or says whether the log continues a seal that somebody kept.
    """

    def with_standing(status: int = 200, **more: Any) -> Answer:
        def shown(told: Standing) -> Answer:
            return Shown("log.html", {"told": told, "most": MOST, **_NOTHING, **more}, status=status)

        return Ask(Health(), shown)

    if visit.method == "GET":
        return with_standing()
    if visit.form.get("act") == "check":
        return Ask(
            Check(),
            lambda told: with_standing(report=told),
            (CheckingError,),
            lambda _error: with_standing(409, busy=True),
        )

    def no_seal(_error: Exception) -> Answer:
        return with_standing(400, wrong="log.not-a-seal")

    def continued(told: Continuity) -> Answer:
        return with_standing(continuity=told)

    note = visit.form.get("note", "").replace("\r\n", "\n").strip("\n")
    try:
        return Ask(Unchanged.of(checkpoint=f"{note}\n"), continued, (NoteError,), no_seal)
    except ProblemError as error:
        return no_seal(error)


def verify(visit: Visit) -> Answer:
    """Verify an exported file in the browser; the file never leaves it."""
    return Shown("verify.html", {"key": str(visit.office.desk.context.log_key)})


PAGES = (
    Page("/log", "log", health, Health.roles, ("GET", "POST"), "log", 10),
    Page("/log/verify", "verify", verify, INSPECTORS, group="log", rank=40),
)
