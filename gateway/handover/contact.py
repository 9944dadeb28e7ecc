"""Who is responsible for a person from now on, as an acceptance names them: a closed form, sealed where it is kept."""

from __future__ import annotations

from typing import Any

import orjson
from sqlalchemy import Connection, Row

from audit.questions.subjects import Subjects
from gateway.storage.sealing import seal, unseal
from gateway.wire.problems import ProblemError

Contact = dict[str, str]

MEMBERS = ("name", "organisation", "role", "phone", "email")
LONGEST = 256


def contact_of(document: dict[str, Any]) -> Contact:
    """The member `contact` of an acceptance, if it has the form that there is. Raises ProblemError."""
    contact = document.get("contact")
    if not isinstance(contact, dict):
        raise _refused("/contact", "an acceptance names who is responsible from now on")
    for name, value in contact.items():
        if name not in MEMBERS:
            # A name from outside is not repeated in an error: it may be anything.
            raise _refused("/contact", "a contact has no other members than " + ", ".join(MEMBERS))
        if not isinstance(value, str) or len(value) > LONGEST or not value.isprintable():
            raise _refused(f"/contact/{name}", f"{name} is to be one line of text of at most {LONGEST} characters")
    if not contact.get("name", "").strip():
        raise _refused("/contact/name", "an acceptance names who is responsible from now on")
    return dict(contact)


def sealed_contact(key: bytes | None, table: str, id_: str, contact: Contact) -> bytes | None:
    """The contact as it is kept with a row, under the key of the person that the row is about; None without a key."""
    return None if key is None else seal(key, f"{table}/{id_}/contact", orjson.dumps(contact))


def kept_contact(subjects: Subjects, connection: Connection, table: str, row: Row[Any]) -> Contact | None:
    """The contact that is kept with a row; None if there is none, or the person's key was destroyed."""
    if row.contact_sealed is not None:
        key = subjects.key_of(connection, row.subject)
        found: Contact | None = None
        if key is not None:
            found = orjson.loads(unseal(key, f"{table}/{row.id}/contact", row.contact_sealed))
        return found
    return orjson.loads(row.contact) if row.contact else None  # written by a former version, in the clear


def _refused(pointer: str, detail: str) -> ProblemError:
    return ProblemError(
        "invalid-request",
        pointer=pointer,
        detail=detail,
        remedy='send {"contact": {"name": "…", "phone": "…", "email": "…"}}; a team and its number will do',
    )
