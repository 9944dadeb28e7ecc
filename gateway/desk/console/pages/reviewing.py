"""The review queue: emergency accesses and unusual patterns wait until somebody signs them off."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from sqlalchemy import Connection

from audit.log.entries import Entry
from audit.log.log import Written
from audit.questions import reviews
from audit.questions.anomalies import Anomaly, detect
from audit.questions.query import Found, by_id
from gateway.desk.console.office import INSPECTORS, OFFICER, Act, Answer, NotHereError, Page, Shown, Visit
from gateway.story import Story

VERDICTS: Final = ("justified", "explained", "not-justified", "escalated")
WINDOWS: Final = (1, 7, 30)


def _about(visit: Visit, review: reviews.Review) -> Found | None:
    return by_id(visit.connection, review.entry, find=visit.find)


def queue(visit: Visit) -> Answer:
    """What waits, emergencies first, and what was signed off lately."""
    emergencies = [
        item for item in reviews.unreviewed_emergencies(visit.connection, find=visit.find) if visit.sees(item.entry)
    ]
    patterns = [(one, _about(visit, one)) for one in reviews.waiting(visit.connection, kind="anomaly")]
    done = [(one, _about(visit, one)) for one in reviews.done(visit.connection, limit=50)]
    values = {
        "emergencies": emergencies,
        "patterns": [(review, found) for review, found in patterns if found is not None],
        "done": [(review, found) for review, found in done if found is not None],
        "windows": WINDOWS,
    }
    return Shown("reviews.html", values)


def look(visit: Visit) -> Answer:
    """Look for unusual patterns in the last days and put what is found into the queue."""
    days = next((window for window in WINDOWS if str(window) == visit.form.get("days")), WINDOWS[0])
    start = visit.now - timedelta(days=days)
    office = visit.office
    found = detect(visit.connection, start, visit.now, office.thresholds, now=visit.now, find=office.find)

    def unit(connection: Connection) -> Written[None]:
        opened = [_noticed(visit, *new) for new in reviews.open_anomalies(connection, found, visit.now)]
        read = _entry(visit, "console-read", "success", {"page": "look", "days": days, "found": len(found)})
        return Written(None, [read, *opened])

    return Act(unit, "/reviews")


def _noticed(visit: Visit, anomaly: Anomaly, review: reviews.Review) -> Entry:
    detail: dict[str, str | int | bool] = {"rule": anomaly.rule, "count": anomaly.count, "review": review.id}
    return _entry(visit, "anomaly", "pending", detail, anomaly.entries[0])


def _entry(
    visit: Visit, kind: str, outcome: str, detail: dict[str, str | int | bool], previous: str | None = None
) -> Entry:
    story = Story(client="console", user=visit.session.identity.user, node=visit.office.node)
    return story.entry(kind, outcome, visit.now, previous=previous, detail=detail)


def _of_entry(visit: Visit) -> tuple[Found, dict[str, reviews.Review | None]]:
    """The entry and its reviews by name; that of an emergency access may not have been opened."""
    found = by_id(visit.connection, visit.path["entry"], find=visit.find)
    if found is None:
        raise NotHereError
    cases: dict[str, reviews.Review | None] = {reviews.EMERGENCY: None} if _is_emergency(found) else {}
    cases.update((review.name, review) for review in reviews.reviews_of(visit.connection, found.entry.id))
    if not cases:
        raise NotHereError
    return found, cases


def _is_emergency(found: Found) -> bool:
    return found.entry.type == reviews.EMERGENCY


def one(visit: Visit) -> Answer:
    """One case for review, with the form that signs it off."""
    found, cases = _of_entry(visit)
    waits = [name for name, review in cases.items() if review is None or review.signed_off is None]
    posted = visit.method == "POST" and visit.session.identity.role == "officer"
    asked = (visit.form if posted else visit.query).get("rule")
    if asked is not None and asked not in cases and not posted:
        raise NotHereError
    name = asked if asked in cases else next(iter(waits or cases))
    review = cases[name]
    values: dict[str, Any] = {
        "found": found,
        "review": review,
        "rule": name,
        "others": [other for other in waits if other != name],
        "verdicts": VERDICTS,
        "wrong": None,
        "remark": "",
        "chosen": "",
    }

    def shown(status: int = 200) -> Shown:
        return Shown("review.html", values, {"entry": found.entry.id, "rule": name}, found.entry.subject, status=status)

    if not posted:
        return shown()
    verdict, remark = visit.form.get("verdict", ""), visit.form.get("remark", "").strip()
    unsaid = asked not in cases and (asked is not None or len(waits) > 1)
    if unsaid or verdict not in VERDICTS or not remark or len(remark) > reviews.MAX_REMARK:
        wrong = "no-rule" if unsaid else "no-verdict" if verdict not in VERDICTS else "no-remark"
        values |= {"wrong": f"review.{wrong}", "remark": remark[: reviews.MAX_REMARK], "chosen": verdict}
        return shown(400)
    if name not in waits:
        return shown(409)

    def unit(connection: Connection) -> Written[None]:
        standing = reviews.meant(connection, found, name, visit.now)
        reviews.sign_off(
            connection, standing.id, by=visit.session.identity.user, verdict=verdict, remark=remark, now=visit.now
        )
        detail: dict[str, str | int | bool] = {
            "question": "sign-off",
            "review": standing.kind,
            "rule": name,
            "verdict": verdict,
        }
        return Written(None, [_entry(visit, "decision", "success", detail, found.entry.id)])

    return Act(unit, f"/reviews/{found.entry.id}?rule={name}")


PAGES = (
    Page("/reviews", "reviews", queue, INSPECTORS, group="people", rank=30),
    Page("/reviews/look", "look", look, OFFICER, ("POST",)),
    Page("/reviews/{entry}", "review", one, INSPECTORS, ("GET", "POST")),
)
