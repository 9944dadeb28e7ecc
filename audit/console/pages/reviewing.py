"""The review queue: emergency accesses and unusual patterns wait until somebody signs them off."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from sqlalchemy import Connection

from audit import reviews
from audit.anomalies import Anomaly, detect
from audit.console.office import INSPECTORS, OFFICER, Act, Answer, NotHereError, Page, Shown, Visit
from audit.entries import Agents, Entry
from audit.log import Written
from audit.query import Found, by_id

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
    days = next((one for one in WINDOWS if str(one) == visit.form.get("days")), WINDOWS[0])
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
    agents = Agents(client="console", user=visit.session.identity.user, node=visit.office.node)
    return Entry(kind, outcome, visit.now, agents=agents, previous=previous, detail=detail)


def _of_entry(visit: Visit) -> tuple[Found, reviews.Review | None]:
    found = by_id(visit.connection, visit.path["entry"], find=visit.find)
    if found is None:
        raise NotHereError
    review = reviews.review_of(visit.connection, found.entry.id)
    if review is None and found.entry.type != "break-glass":
        raise NotHereError
    return found, review


def one(visit: Visit) -> Answer:
    """One case for review, with the form that signs it off."""
    found, review = _of_entry(visit)
    values = {"found": found, "review": review, "verdicts": VERDICTS, "wrong": None, "remark": "", "chosen": ""}
    if visit.method == "GET" or visit.session.identity.role != "officer":
        return Shown("review.html", values, {"entry": found.entry.id}, found.entry.subject)
    verdict, remark = visit.form.get("verdict", ""), visit.form.get("remark", "").strip()
    if verdict not in VERDICTS or not remark or len(remark) > reviews.MAX_REMARK:
        wrong = "review.no-verdict" if verdict not in VERDICTS else "review.no-remark"
        values |= {"wrong": wrong, "remark": remark[: reviews.MAX_REMARK], "chosen": verdict}
        return Shown("review.html", values, {"entry": found.entry.id}, found.entry.subject, status=400)
    if review is not None and review.signed_off is not None:
        return Shown("review.html", values, {"entry": found.entry.id}, found.entry.subject, status=409)

    def unit(connection: Connection) -> Written[None]:
        standing = review or reviews.open_emergency(connection, found, visit.now)
        reviews.sign_off(
            connection, standing.id, by=visit.session.identity.user, verdict=verdict, remark=remark, now=visit.now
        )
        detail: dict[str, str | int | bool] = {"question": "sign-off", "review": standing.kind, "verdict": verdict}
        return Written(None, [_entry(visit, "decision", "success", detail, found.entry.id)])

    return Act(unit, f"/reviews/{found.entry.id}")


PAGES = (
    Page("/reviews", "reviews", queue, INSPECTORS, group="people", rank=30),
    Page("/reviews/look", "look", look, OFFICER, ("POST",)),
    Page("/reviews/{entry}", "review", one, INSPECTORS, ("GET", "POST")),
)
