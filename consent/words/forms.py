"""Consents as forms bring them: a JSON document or a CSV file of many, each row for itself.

A CSV file has a header of the names below, in any order, separated by commas or semicolons, in UTF-8. Lists (purposes,
recipients, categories) are separated by spaces. What is wrong is told by row and column; the other rows stand.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from consent.words.reading import ConsentError

COLUMNS = (
    "subject_system",
    "subject",
    "status",
    "given_by",
    "mandate_until",
    "minor_opinion",
    "subject_age",
    "unaccompanied",
    "able_to_decide",
    "personal_matters",
    "weighty_reason",
    "kind",
    "target",
    "whole",
    "purposes",
    "recipients",
    "categories",
    "starts",
    "ends",
    "language",
    "form",
    "digest",
)
NEEDED = ("subject_system", "subject")
MOST = 1000
_YES = {"yes": True, "true": True, "1": True, "kyllä": True, "ja": True}
_NO = {"no": False, "false": False, "0": False, "ei": False, "nej": False, "": None}

#: Which column a member of the record came from, so that what is wrong with it is told by column.
_COLUMN_OF = {
    "/status": "status",
    "/given_by": "given_by",
    "/given_by/kind": "given_by",
    "/given_by/mandate_until": "mandate_until",
    "/given_by/minor_opinion": "minor_opinion",
    "/given_by/able_to_decide": "able_to_decide",
    "/given_by/personal_matters": "personal_matters",
    "/given_by/weighty_reason": "weighty_reason",
    "/kind": "kind",
    "/target": "target",
    "/target/kind": "target",
    "/target/code": "target",
    "/target/sector": "target",
    "/purposes": "purposes",
    "/recipients": "recipients",
    "/categories": "categories",
    "/starts": "starts",
    "/ends": "ends",
    "/language": "language",
    "/subject": "subject",
    "/subject/system": "subject_system",
    "/subject/value": "subject",
    "/subject_age": "subject_age",
    "/subject_unaccompanied": "unaccompanied",
    "/evidence/form": "form",
    "/evidence/digest": "digest",
}


@dataclass(frozen=True, slots=True)
class Row:
    """One consent or refusal of a file: the number of its row (of its place in a JSON list), and the form of it."""

    number: int
    form: dict[str, Any] | None
    error: ConsentError | None = None


def column_of(pointer: str) -> str:
    """The CSV column in which a member of the record stands; the pointer itself for one that has none."""
    return _COLUMN_OF.get(pointer, pointer)


def read_json(data: bytes) -> Iterator[Row]:
    """Rows of `{"consents": [...]}` or of a bare list. Raises ConsentError if it is neither."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        raise ConsentError("", "this is not JSON") from None
    listed = document.get("consents") if isinstance(document, dict) else document
    if not isinstance(listed, list):
        raise ConsentError("/consents", 'send {"consents": [...]}')
    _not_too_many(len(listed))
    for number, form in enumerate(listed, start=1):
        if isinstance(form, dict):
            yield Row(number, form)
        else:
            yield Row(number, None, ConsentError("", "a consent is an object"))


def read_csv(data: bytes) -> Iterator[Row]:
    """Rows of a CSV file; the first after the header is 2, as in a spreadsheet. Raises ConsentError for the header."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ConsentError("", "the file is not UTF-8; save it as CSV UTF-8") from None
    head = text.split("\n", 1)[0]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=";" if head.count(";") > head.count(",") else ",")
    try:
        header = [name.strip().lower() for name in next(reader, [])]
        rows = [row for row in reader if any(value.strip() for value in row)]
    except csv.Error as error:
        raise ConsentError("", f"line {reader.line_num}: {error}") from None
    unknown = [name for name in header if name not in COLUMNS]
    missing = [name for name in NEEDED if name not in header]
    if unknown or missing or len(set(header)) != len(header):
        said = [f"there is no column {', '.join(unknown)}"] if unknown else []
        said += [f"the column {', '.join(missing)} is missing"] if missing else []
        raise ConsentError("", "; ".join(said or ["a column stands twice"]) + f". Columns: {', '.join(COLUMNS)}")
    _not_too_many(len(rows))
    for number, row in enumerate(rows, start=2):
        if len(row) != len(header):
            yield Row(number, None, ConsentError("", f"the row has {len(row)} values, the header {len(header)}"))
            continue
        values = dict(zip(header, (value.strip() for value in row), strict=True))
        try:
            yield Row(number, _form(values))
        except ConsentError as error:
            yield Row(number, None, error)


def _form(values: dict[str, str]) -> dict[str, Any]:
    giver = {
        "kind": values.get("given_by"),
        "mandate_until": values.get("mandate_until"),
        "minor_opinion": values.get("minor_opinion"),
        "able_to_decide": _answer(values, "able_to_decide"),
        "personal_matters": _answer(values, "personal_matters"),
        "weighty_reason": _answer(values, "weighty_reason"),
    }
    form: dict[str, Any] = {
        "subject": {"system": values["subject_system"], "value": values["subject"]},
        # Of kind and status the one that is left out follows from the other.
        "kind": values.get("kind") or None,
        "status": values.get("status") or (None if values.get("kind") else "active"),
        "target": values.get("target") or None,
        "whole": _answer(values, "whole") is True,
        "given_by": {name: said for name, said in giver.items() if said not in (None, "")} or None,
        "purposes": values.get("purposes", "").split(),
        "recipients": values.get("recipients", "").split(),
        "categories": values.get("categories", "").split(),
        "starts": values.get("starts") or None,
        "ends": values.get("ends") or None,
        "language": values.get("language") or "fi",
        "evidence": {"form": values.get("form") or None, "digest": values.get("digest") or None},
        "subject_unaccompanied": _answer(values, "unaccompanied"),
    }
    age = values.get("subject_age", "")
    if age:
        if not (age.isascii() and age.isdigit() and len(age) <= 3):
            raise ConsentError("/subject_age", "write the age in years")
        form["subject_age"] = int(age)
    return form


def _answer(values: dict[str, str], column: str) -> bool | None:
    stated = values.get(column, "").lower()
    if stated not in _YES and stated not in _NO:
        pointer = next((pointer for pointer, name in _COLUMN_OF.items() if name == column), f"/{column}")
        raise ConsentError(pointer, "write yes or no")
    return _YES.get(stated, _NO.get(stated))


def _not_too_many(count: int) -> None:
    if count > MOST:
        raise ConsentError("", f"the file holds {count} consents, at most {MOST} are taken at once")
