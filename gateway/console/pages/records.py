"""One record and its proof, and the story that it belongs to: a case or a handover as a timeline."""

from __future__ import annotations

from gateway.console.office import Answer, Ask, Moved, NotHereError, Page, Sent, Shown, Visit, asked, here
from gateway.desk.questions.proving import Opened, ProofFile, Proofs, Record
from gateway.desk.questions.stories import Course, CourseOf, FindCase, Place, StoryProofs, Timeline


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


def _told(course: Course, kind: str, proofs: str) -> Shown:
    read = len(course.found) - len(course.happened)
    return Shown("timeline.html", {"course": course, "kind": kind, "read": read, "proofs": proofs})


def _proofs(made: ProofFile | None) -> Answer:
    return Sent([here(made).whole], "application/json", "proofs.json")


def story(visit: Visit) -> Answer:
    """The whole story that an entry belongs to: a handover, its deliveries, receipts, acceptance and duties."""
    path = f"/stories/{visit.path['id']}/proofs"

    def shown(course: Course) -> Answer:
        if not course.found:
            raise NotHereError
        return _told(course, "story", path)

    return asked(lambda: Timeline.of(entry=visit.path["id"], explained_in=visit.language), shown)


def story_proofs(visit: Visit) -> Answer:
    """The same records, for anybody who wants to verify them without the log."""

    return asked(lambda: StoryProofs.of(entry=visit.path["id"]), _proofs)


def find_case(visit: Visit) -> Answer:
    """Find a story by a reference, which is posted and never kept: the log knows its keyed hash."""
    if visit.method == "GET":
        return Shown("cases.html", {"wrong": None})
    reference = visit.form.get("reference", "").strip()[:200]
    if not reference or "\0" in reference:
        return Shown("cases.html", {"wrong": "cases.empty"}, status=400)

    def shown(place: Place) -> Answer:
        return Moved(f"/stories/{place.entry}" if place.entry else f"/cases/{place.case}")

    return Ask(FindCase.of(case=reference), shown)


def one_case(visit: Visit) -> Answer:
    """Everything about one case, oldest first."""
    path = f"/cases/{visit.path['key']}/proofs"
    return asked(
        lambda: CourseOf.of(key=visit.path["key"], explained_in=visit.language),
        lambda course: _told(course, "case", path),
    )


def case_proofs(visit: Visit) -> Answer:
    """The same records, for anybody who wants to verify them without the log."""

    return asked(lambda: StoryProofs.of(key=visit.path["key"]), _proofs)


PAGES = (
    Page("/cases", "cases", find_case, FindCase.roles, ("GET", "POST"), "people", 15),
    Page("/cases/{key}", "case", one_case, Timeline.roles),
    Page("/cases/{key}/proofs", "proof", case_proofs, Proofs.roles),
    Page("/entries/{index}", "record", record, Record.roles),
    Page("/entries/{index}/proof", "proof", proof_file, Proofs.roles),
    Page("/stories/{id}", "story", story, Timeline.roles),
    Page("/stories/{id}/proofs", "proof", story_proofs, Proofs.roles),
)
