"""The review queue: emergency accesses and unusual patterns wait until somebody signs them off."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from audit.questions.reviews import MAX_REMARK, ReviewError, Verdict
from gateway.console.office import Answer, Ask, Moved, NotHereError, Page, Shown, Visit, asked
from gateway.desk.questions.reviewing import Case, Queue, ReviewOf, Reviews, SignOff, Unusual
from gateway.desk.roles import Role
from gateway.wire.problems import ProblemError

WINDOWS: Final = (1, 7, 30)
_WRONG: Final = {"/verdict": "review.no-verdict", "/remark": "review.no-remark", "/rule": "review.no-rule"}


def queue(_visit: Visit) -> Answer:
    """What waits, emergencies first, and what was signed off lately."""

    def shown(told: Queue) -> Answer:
        values = {
            "emergencies": told.emergencies,
            "patterns": [pair for pair in told.patterns if pair[1] is not None],
            "done": [pair for pair in told.done if pair[1] is not None],
            "windows": WINDOWS,
        }
        return Shown("reviews.html", values)

    return Ask(Reviews(), shown)


def look(visit: Visit) -> Answer:
    """Look for unusual patterns in the last days and put what is found into the queue."""
    days = next((window for window in WINDOWS if str(window) == visit.form.get("days")), WINDOWS[0])
    start = visit.now - timedelta(days=days)
    return Ask(Unusual.of(start=start, end=visit.now, queue=True), lambda _told: Moved("/reviews"))


def review(visit: Visit) -> Answer:
    """One case for review, with the form that signs it off."""
    entry, posted = visit.path["entry"], visit.method == "POST" and visit.session.identity.role == Role.OFFICER
    rule = (visit.form if posted else visit.query).get("rule") or None

    def shown(case: Case, wrong: str | None = None, status: int = 200) -> Answer:
        if rule is not None and rule not in case.reviews and not posted:
            raise NotHereError
        name = rule if rule is not None and rule in case.reviews else next(iter(case.waits or case.reviews))
        values: dict[str, Any] = {
            "found": case.found,
            "justification": case.justification,
            "review": case.reviews[name],
            "rule": name,
            "others": [other for other in case.waits if other != name],
            "verdicts": list(Verdict),
            "wrong": wrong,
            "remark": visit.form.get("remark", "").strip()[:MAX_REMARK] if wrong else "",
            "chosen": visit.form.get("verdict", "") if wrong else "",
        }
        return Shown("review.html", values, status=status)

    def opened(case: Case | None) -> Answer:
        if case is None:
            raise NotHereError
        return signed(case) if posted else shown(case)

    def signed(case: Case) -> Answer:
        def refused(error: ProblemError | ReviewError) -> Answer:
            if isinstance(error, ProblemError):
                return shown(case, _WRONG.get(error.pointer or "", "review.no-remark"), 400)
            return shown(case, status=409)  # it was signed off before

        if rule is not None and rule in case.reviews and rule not in case.waits:
            return shown(case, status=409)
        verdict, remark = visit.form.get("verdict", ""), visit.form.get("remark", "").strip()
        try:
            asked = SignOff.of(entry=case.found.entry.id, verdict=verdict, remark=remark, rule=rule)
        except ProblemError as error:
            return refused(error)
        return Ask(
            asked,
            lambda done: Moved(f"/reviews/{done.entry}?rule={done.name}"),
            (ProblemError, ReviewError),
            refused,
        )

    return asked(lambda: ReviewOf.of(entry=entry, rule=rule), opened)


PAGES = (
    Page("/reviews", "reviews", queue, Reviews.roles, group="people", rank=30),
    Page("/reviews/look", "look", look, Unusual.roles, ("POST",)),
    Page("/reviews/{entry}", "review", review, ReviewOf.roles, ("GET", "POST")),
)
