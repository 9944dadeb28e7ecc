"""One record and its proof, and the story that it belongs to: a case or a handover as a timeline."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from sqlalchemy import Connection

from audit.questions.query import Filters, Found, by_id, by_index, case, chain
from audit.tree.merkle import ProofError
from audit.tree.proofs import EntryProof, export_proofs, prove
from gateway.desk.console.office import (
    INSPECTORS,
    Answer,
    Moved,
    NotHereError,
    Page,
    Reasons,
    Sent,
    Shown,
    Visit,
)

LONGEST: Final = 500
READING: Final = ("console-read", "export")


def _entry(visit: Visit) -> Found:
    text = visit.path["index"]
    if not text.isascii() or not text.isdigit() or len(text) > 15:
        raise NotHereError
    index = int(text)
    found = visit.office.at(visit.connection, index)
    if found is None or not visit.sees(found.entry):
        raise NotHereError
    return found


def record(visit: Visit) -> Answer:
    """What one entry says, and what proves that it has not changed."""
    found = _entry(visit)
    try:
        proof: EntryProof | None = prove(visit.connection, found.index, found.entry)
    except ProofError:
        proof = None
    witnesses = sorted({mark.witness for _, mark in proof.cosignatures}) if proof is not None else []
    earliest: dict[str, int] = {}
    for _, mark in proof.cosignatures if proof is not None else ():
        earliest[mark.witness] = min(mark.timestamp, earliest.get(mark.witness, mark.timestamp))
    before = None if found.entry.previous is None else by_id(visit.connection, found.entry.previous, find=visit.find)
    values = {
        "found": found,
        "proof": proof,
        "witnesses": [(name, earliest[name]) for name in witnesses],
        "reasons": _reasons(visit, found, before),
        "holders": 1 + len(witnesses),
        "key": str(visit.office.log_key),
        "before": before,
        "has_story": found.entry.previous is not None
        or bool(visit.search(Filters(previous=found.entry.id), limit=1).found),
    }
    return Shown("record.html", values, {"entry": found.entry.id}, found.entry.subject, found.entry.case)


def _reasons(visit: Visit, found: Found, before: Found | None) -> Reasons | None:
    """Why it was decided so: told to the officer only, since it speaks of the person's circumstances.

    A delivery that was answered rests on the decision of the delivery that was sent.
    """
    if visit.session.identity.role != "officer":
        return None
    reasons = visit.office.reasons(found.entry.id, visit.language)
    if reasons is None and before is not None and before.entry.type == found.entry.type == "delivery":
        return visit.office.reasons(before.entry.id, visit.language)
    return reasons


def proof_file(visit: Visit) -> Answer:
    """The record with its proof, as a file that anybody can verify without the log."""
    found = _entry(visit)

    def body(connection: Connection) -> Iterator[bytes]:
        yield export_proofs(
            connection,
            [] if by_index(connection, found.index) is None else [found.index],
            log_key=visit.office.log_key,
            witnesses=visit.office.witnesses(),
            archived=[(found.index, found.entry)],
        )

    detail = {"entry": found.entry.id, "format": "proof"}
    name = f"record-{found.index + 1}.json" if "download" in visit.query else None
    return Sent(body, "application/json", name, detail, found.entry.subject)


def story(visit: Visit) -> Answer:
    """The whole story that an entry belongs to: a handover, its deliveries, receipts and acceptance."""
    found = chain(visit.connection, visit.path["id"], limit=LONGEST, find=visit.find)
    if not found:
        raise NotHereError
    first = found[0].entry
    return Shown(
        "timeline.html", {"found": found, "kind": "story", "read": 0}, {"story": first.id}, first.subject, first.case
    )


def find_case(visit: Visit) -> Answer:
    """Find a case by its reference, which is posted and never kept: the log knows its keyed hash."""
    if visit.method == "GET":
        return Shown("cases.html", {"wrong": None})
    reference = visit.form.get("reference", "").strip()[:200]
    if not reference:
        return Shown("cases.html", {"wrong": "cases.empty"}, status=400)
    key = visit.office.subjects.case(reference)
    return Moved(f"/cases/{key}", case=key if visit.search(case(key), limit=1).found else None)


def one_case(visit: Visit) -> Answer:
    """Everything about one case, oldest first."""
    key = visit.path["key"]
    everything = visit.walk(case(key), limit=LONGEST)
    found = [item for item in everything if item.entry.type not in READING]
    values = {"found": found, "kind": "case", "read": len(everything) - len(found)}
    return Shown("timeline.html", values, case=key if found else None)


PAGES = (
    Page("/cases", "cases", find_case, INSPECTORS, ("GET", "POST"), "people", 15),
    Page("/cases/{key}", "case", one_case, INSPECTORS),
    Page("/entries/{index}", "record", record, INSPECTORS),
    Page("/entries/{index}/proof", "proof", proof_file, INSPECTORS),
    Page("/stories/{id}", "story", story, INSPECTORS),
)
