"""Exports of entries: CSV for spreadsheets, JSON Lines for programs, a FHIR bundle for health systems.

All three stream. In CSV, a cell that a spreadsheet would take for a formula is given a leading apostrophe. What is to
be
*proven* elsewhere goes out by `audit.tree.proofs.export_proofs` instead.
Sources: OWASP, "CSV Injection"; HL7 FHIR R4 AuditEvent.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import orjson

from audit.log.entries import Entry, timestamp
from audit.questions.identities import act_of, matter_of
from audit.questions.query import Found
from audit.questions.said import Saying, about, aim_of, saying, step, word_of

CSV_COLUMNS: Final = (
    "index",
    "recorded",
    "type",
    "outcome",
    "source",
    "recipient",
    "client",
    "user",
    "service",
    "purpose",
    "permitted",
    "withheld",
    "bases",
    "consents",
    "reason",
    "subject",
    "case",
    "message_id",
    "previous",
    "rulebook",
    "id",
    "word",
    "word_step",
    "about",
    "target",
    "act",
    "matter",
)
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def guarded(cell: str) -> str:
    """The cell, made harmless if a spreadsheet would take it for a formula."""
    return f"'{cell}" if cell.lstrip(" ").startswith(_FORMULA) else cell


def to_csv(found: Iterable[Found]) -> Iterator[str]:
    """Lines of a CSV file (RFC 4180, with a header, lists separated by spaces)."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, delimiter=";", lineterminator="\r\n")

    def line(cells: Iterable[str]) -> str:
        writer.writerow([guarded(cell) for cell in cells])
        result = buffer.getvalue()
        buffer.seek(0)
        buffer.truncate()
        return result

    yield line(CSV_COLUMNS)
    for item in found:
        entry = item.entry
        word = word_of(entry)
        row = {
            "index": str(item.index),
            "recorded": timestamp(entry.recorded),
            "type": entry.type,
            "outcome": entry.outcome,
            "source": entry.giver,
            "recipient": entry.taker,
            "client": entry.agents.client,
            "user": entry.agents.user,
            "service": entry.service,
            "purpose": entry.purpose,
            "permitted": "" if word else " ".join(entry.categories.permitted),
            "withheld": "" if word else " ".join(entry.categories.withheld),
            "bases": " ".join(entry.bases),
            "consents": " ".join(f"{id_}/{version}" for id_, version in entry.consents),
            "reason": entry.reason,
            "subject": entry.subject,
            "case": entry.case,
            "message_id": entry.message_id,
            "previous": entry.previous,
            "rulebook": entry.rulebook,
            "id": entry.id,
            "word": saying(entry),
            "word_step": step(entry) if word else None,
            "about": " ".join(about(entry)) if word else None,
            "target": aim.kind if (aim := aim_of(entry)) is not None else None,
            "act": act_of(entry),
            "matter": matter_of(entry),
        }
        yield line(row[name] or "" for name in CSV_COLUMNS)


def to_json_lines(found: Iterable[Found]) -> Iterator[bytes]:
    """One JSON object a line: the entry's index and its canonical form, of which the leaf hash is made."""
    for item in found:
        yield b'{"index":%d,"entry":%s}\n' % (item.index, item.entry.canonical())


_ACTION: Final = {
    **dict.fromkeys(("query", "console-read", "export"), "R"),
    **dict.fromkeys(("consent", "refusal", "registry"), "U"),
    "key": "D",
}
_OUTCOME: Final = {"success": "0", "partial": "0", "requested": "0", "planned": "0", "pending": "0"}
_SYSTEM: Final = "urn:yhdyspinta:codes:"


def _coding(system: str, code: str) -> dict[str, str]:
    return {"system": f"{_SYSTEM}{system}", "code": code}


def audit_event(found: Found, *, origin: str) -> dict[str, Any]:
    """An entry as a FHIR R4 AuditEvent; `origin` names the log that observed it."""
    entry = found.entry
    event: dict[str, Any] = {
        "resourceType": "AuditEvent",
        "id": entry.id,
        "type": {"system": "http://terminology.hl7.org/CodeSystem/audit-event-type", "code": "rest"},
        "subtype": [_coding("audit-type", entry.type)],
        "action": "R" if saying(entry) is Saying.READING else _ACTION.get(entry.type, "E"),
        "recorded": timestamp(entry.recorded),
        "outcome": _OUTCOME.get(entry.outcome, "4"),
        "outcomeDesc": entry.outcome if entry.reason is None else f"{entry.outcome}: {entry.reason}",
        "agent": _agents(entry),
        "source": {"observer": {"identifier": {"system": f"{_SYSTEM}log", "value": origin}}},
        "entity": _entities(found),
    }
    if entry.purpose is not None:
        event["purposeOfEvent"] = [{"coding": [_coding("purpose", entry.purpose)]}]
    return event


def _agents(entry: Entry) -> list[dict[str, Any]]:
    agents = entry.agents
    named = (("recipient", entry.taker), ("client", agents.client), ("user", agents.user), ("node", agents.node))
    present = [(role, value) for role, value in named if value is not None]
    requestor = present[0][0] if present else None
    return [
        {
            "role": [{"coding": [_coding("agent", role)]}],
            "who": {"identifier": {"system": f"{_SYSTEM}{role}", "value": value}},
            "requestor": role == requestor,
        }
        for role, value in present
    ] or [{"who": {"display": "unknown"}, "requestor": True}]


def _entities(found: Found) -> list[dict[str, Any]]:
    entry = found.entry
    details = [("log-index", str(found.index))]
    for name, value in (
        ("message-id", entry.message_id),
        ("rulebook", entry.rulebook),
        ("request-digest", entry.request_digest),
        ("response-digest", entry.response_digest),
        ("case", entry.case),
        ("previous", entry.previous),
    ):
        if value is not None:
            details.append((name, value))
    word = word_of(entry)
    if word is None:
        details += [("permitted", code) for code in entry.categories.permitted]
        details += [("withheld", code) for code in entry.categories.withheld]
    else:
        # What a word names was neither disclosed nor withheld.
        details += [("word", word), ("word-step", step(entry))]
        details += [("about", code) for code in about(entry)]
    aim = aim_of(entry)
    told = (("target", None if aim is None else aim.kind), ("act", act_of(entry)), ("matter", matter_of(entry)))
    details += [(name, str(value)) for name, value in told if value is not None]
    details += [("basis", code) for code in entry.bases]
    details += [("consent", f"{id_}/{version}") for id_, version in entry.consents]
    entity: dict[str, Any] = {"detail": [{"type": name, "valueString": value} for name, value in details]}
    if entry.subject is not None:
        entity["what"] = {"identifier": {"system": f"{_SYSTEM}subject-pseudonym", "value": entry.subject}}
    if entry.service is not None:
        entity["name"] = entry.service
    return [entity]


def to_fhir(found: Iterable[Found], *, origin: str) -> Iterator[bytes]:
    """A FHIR Bundle of type `collection` with an AuditEvent for each entry, in pieces."""
    yield b'{"resourceType":"Bundle","type":"collection","entry":['
    for number, item in enumerate(found):
        entry: Mapping[str, Any] = {
            "fullUrl": f"urn:uuid:{item.entry.id}",
            "resource": audit_event(item, origin=origin),
        }
        yield (b"," if number else b"") + orjson.dumps(entry)
    yield b"]}"
