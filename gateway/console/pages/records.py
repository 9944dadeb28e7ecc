"""One record and its proof, and the story that it belongs to: a case or a handover as a timeline."""

from __future__ import annotations

from gateway.console.office import Answer, Ask, Moved, NotHereError, Page, Sent, Shown, Visit, asked, here
from gateway.desk.questions.proving import Opened, ProofFile, Proofs, Record
from gateway.desk.questions.searching import Course, CourseOf, FindCase, Timeline


def _index(visit: Visit) -> int:
    text = visit.path["index"]
    if not text.isascii() or not text.isdigit() or len(text) > 15:
        raise NotHereError
    return int(text)


def record(visit: Visit) -> Answer:
    """What one entry says, and what proves that it has not changed."""

    def shown(told: Opened | None) -> Answer:
        key = str(visit.office.desk.context.log_key)
        return Shown("record.html", {"told": here(told), "key": key})

    return asked(lambda: Record.of(entry=_index(visit), language=visit.language), shown)


def proof_file(visit: Visit) -> Answer:
    """The record with its proof, as a file that anybody can verify without the log."""
    index = _index(visit)

    def shown(made: ProofFile) -> Answer:
        if made.missing:
            raise NotHereError
        name = f"record-{index + 1}.json" if "download" in visit.query else None
        return Sent([made.whole], "application/json", name)

    return asked(lambda: Proofs.of(entries=[index]), shown)


def story(visit: Visit) -> Answer:
    """The whole story that an entry belongs to: a handover, its deliveries, receipts and acceptance."""

    def shown(course: Course) -> Answer:
        if not course.found:
            raise NotHereError
        return Shown("timeline.html", {"found": course.found, "kind": "story", "read": 0})

    return asked(lambda: Timeline.of(entry=visit.path["id"]), shown)


def find_case(visit: Visit) -> Answer:
    """Find a case by its reference, which is posted and never kept: the log knows its keyed hash."""
    if visit.method == "GET":
        return Shown("cases.html", {"wrong": None})
    reference = visit.form.get("reference", "").strip()[:200]
    if not reference or "\0" in reference:
        return Shown("cases.html", {"wrong": "cases.empty"}, status=400)
    return Ask(FindCase.of(case=reference), lambda key: Moved(f"/cases/{key}"))


def one_case(visit: Visit) -> Answer:
    """Everything about one case, oldest first."""

    def shown(course: Course) -> Answer:
        read = len(course.found) - len(course.happened)
        return Shown("timeline.html", {"found": course.happened, "kind": "case", "read": read})

    return asked(lambda: CourseOf.of(key=visit.path["key"]), shown)


PAGES = (
    Page("/cases", "cases", find_case, FindCase.roles, ("GET", "POST"), "people", 15),
    Page("/cases/{key}", "case", one_case, Timeline.roles),
    Page("/entries/{index}", "record", record, Record.roles),
    Page("/entries/{index}/proof", "proof", proof_file, Proofs.roles),
    Page("/stories/{id}", "story", story, Timeline.roles),
)
