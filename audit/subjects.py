"""The people that entries speak of, known by pseudonyms only, and how they can be forgotten.

An identifier of a person is never stored: only a blind index of it, an HMAC-SHA-256 under the node's index key. Each
subject has a key of their own, kept AES-key-wrapped (RFC 3394) under the node's wrapping key; the pseudonym in entries
is an HMAC-SHA-256 under that key, and personal payloads elsewhere are sealed with it. Destroying the key, the pseudonym
and the blind indices makes the entries unlinkable, while the tree and all its proofs stay as they are.

A person can be known first by one identifier and later by another. Identifiers that come together belong together: an
unknown one is added to the known subject, and two subjects that turn out to be one are linked, the older standing for
both.
"""

from __future__ import annotations

import hmac
import secrets
import unicodedata
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from threading import Lock
from typing import Final

from cryptography.hazmat.primitives.keywrap import aes_key_unwrap, aes_key_wrap
from sqlalchemy import Connection, delete, or_, select, update

from audit.entries import micros
from audit.statements import Fixed
from audit.tables import identifiers as identifiers_table
from audit.tables import subjects as subjects_table

HETU_SYSTEM: Final = "urn:oid:1.2.246.21"
#: Under how many other spellings an identifier is looked for: each is a hash and a place in one query.
OLD_SPELLINGS: Final = 8
KEY_BYTES: Final = 32
_CACHED_KEYS: Final = 8_192

Identifiers = Sequence[tuple[str, str]]


class SubjectError(ValueError):
    """No such subject, one whose key was destroyed, or no identifier to go by."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A data subject: an opaque id, the pseudonym that entries carry, and the 32-byte key that seals their payloads."""

    id: str
    pseudonym: str
    key: bytes

    def __repr__(self) -> str:
        return f"Subject(id={self.id!r})"  # the key stays out of tracebacks and logs


def normalised(system: str, value: str) -> str:
    """What of an identifier goes into its blind index: NFKC, no space around it, personal identity codes in upper case.

    Whoever takes an identifier in has checked it and written it in its one notation, which this leaves as it is.
    """
    text = unicodedata.normalize("NFKC", value).strip()
    return text.upper() if system == HETU_SYSTEM else text


def _once_taken(system: str, text: str) -> Iterator[tuple[str, str]]:
    """The identifier as it may have been recorded when it was taken as it came, likelier spellings first.

    The index does not give the text back, so that a refusal recorded under such a spelling cannot be rewritten: it can
    only be looked for.
    """
    lower = text.lower()
    yield from ((system, text.upper()), (system, lower), (system, text.title()))
    if "-" in text:
        yield from ((system, text.replace("-", sign)) for sign in "\u2010\u2013\u2212")
    yield from ((f"{system} ", text), (f"{system} ", lower))
    if "-" in text:
        yield system, lower.replace("-", "\u2010")
    oid = system.removeprefix("urn:oid:")
    yield from ((oid, text), (oid, lower))


_COLUMNS: Final = "s.id, s.pseudonym, s.wrapped_key, s.same_as"
_BY_ID: Final = Fixed(f"SELECT {_COLUMNS} FROM audit_subjects s WHERE s.id = ?")  # noqa: S608
_BY_BLIND: Final = Fixed(
    f"SELECT i.blind, {_COLUMNS} FROM audit_identifiers i JOIN audit_subjects s ON s.id = i.subject "  # noqa: S608
    f"WHERE i.blind IN ({', '.join('?' * (1 + OLD_SPELLINGS))})"
)
_ADD_SUBJECT: Final = Fixed.insert("audit_subjects", "id", "pseudonym", "wrapped_key", "created")
_ADD_IDENTIFIER: Final = Fixed.insert("audit_identifiers", "blind", "subject", "created")


class Subjects:
    """Finds, makes, links and forgets data subjects. All functions work inside the caller's transaction."""

    def __init__(self, wrapping_key: bytes, index_key: bytes) -> None:
        if len(wrapping_key) not in (16, 24, 32) or len(index_key) < KEY_BYTES:
            raise SubjectError("the wrapping key has 16, 24 or 32 bytes and the index key at least 32")
        self._wrapping_key = wrapping_key
        self._index_key = index_key
        self._keys: OrderedDict[bytes, bytes] = OrderedDict()
        self._lock = Lock()

    def blind(self, system: str, value: str) -> bytes:
        """The blind index of an identifier, 32 bytes."""
        message = f"identifier\x00{system}\x00{normalised(system, value)}"
        return hmac.digest(self._index_key, message.encode(), "sha256")

    def blinds(self, system: str, value: str) -> tuple[bytes, ...]:
        """The blind index of an identifier, then those of the spellings in which it may have been recorded before."""
        text = normalised(system, value)
        others = dict.fromkeys((system_, normalised(system_, spelt)) for system_, spelt in _once_taken(system, text))
        others.pop((system, text), None)
        return (self.blind(system, value), *(self.blind(*other) for other in islice(others, OLD_SPELLINGS)))

    def case(self, reference: str) -> str:
        """The keyed hash that stands for a case reference in entries, 64 hex digits."""
        return hmac.digest(self._index_key, f"case\x00{reference}".encode(), "sha256").hex()

    def user(self, system: str, user: str) -> str:
        """The pseudonym of a person who uses a system (never of a data subject), 32 hex digits."""
        return hmac.digest(self._index_key, f"user\x00{system}\x00{user}".encode(), "sha256").hex()[:32]

    def fingerprint(self, purpose: str, *parts: bytes) -> str:
        """The keyed hash of these parts, 64 hex digits: personal data has so few values that a plain hash tells it."""
        message = b"".join(len(part).to_bytes(8, "big") + part for part in (purpose.encode(), *parts))
        return hmac.digest(self._index_key, b"fingerprint\x00" + message, "sha256").hex()

    def find(self, connection: Connection, system: str, value: str) -> Subject | None:
        """The subject with this identifier, or None. Creates nothing."""
        return next(iter(self.known(connection, system, value)), None)

    def known(self, connection: Connection, system: str, value: str) -> tuple[Subject, ...]:
        """All subjects that this identifier was recorded for: more than one if it was recorded in several spellings
        before identifiers had one notation. The one under today's notation comes first.
        """
        blinds = self.blinds(system, value)
        padded = blinds + blinds[:1] * (1 + OLD_SPELLINGS - len(blinds))
        rows = {bytes(row[0]): row[1:] for row in _BY_BLIND.rows(connection, *padded)}
        found = (self._subject(connection, *rows[blind]) for blind in blinds if blind in rows)
        return tuple({subject.id: subject for subject in found if subject is not None}.values())

    def by_id(self, connection: Connection, id: str) -> Subject | None:  # noqa: A002
        """The subject of this id, or None if there is none or it was destroyed."""
        row = _BY_ID.row(connection, id)
        return None if row is None else self._subject(connection, *row)

    def key_of(self, connection: Connection, id: str) -> bytes | None:  # noqa: A002
        """The key of this very id, or None if there is none or it was destroyed.

        What was sealed for a person opens with the key of the id it was sealed under, also when another id has come to
        stand for the person since.
        """
        row = _BY_ID.row(connection, id)
        return None if row is None or row[2] is None else self._unwrap(bytes(row[2]))

    def resolve(self, connection: Connection, identifiers: Identifiers, now: datetime) -> Subject:
        """The subject who has these identifiers, made if unknown; identifiers that come together are linked.

        Call it under the log's lock (in a unit), so that two requests do not make the same person twice.
        Raises SubjectError without identifiers.
        """
        if not identifiers:
            raise SubjectError("a person needs at least one identifier")
        found: dict[str, Subject] = {}
        unknown: list[bytes] = []
        for system, value in identifiers:
            known = self.find(connection, system, value)
            if known is None:
                unknown.append(self.blind(system, value))
            else:
                found[known.id] = known
        if not found:
            subject = self._create(connection, now)
        elif len(found) == 1:
            (subject,) = found.values()
        else:
            subject = self.link(connection, tuple(found), now)
        for blind in dict.fromkeys(unknown):
            _ADD_IDENTIFIER.run(connection, blind, subject.id, micros(now))
        return subject

    def link(self, connection: Connection, ids: Sequence[str], now: datetime) -> Subject:
        """Make these subjects one person; the oldest stands for all. Raises SubjectError for an unknown id."""
        rows = [self._primary(connection, id_) for id_ in ids]
        standing = [row for row in rows if row is not None and row[2] is not None]
        if not standing or len(standing) != len(ids):
            raise SubjectError("only subjects that exist and were not destroyed can be linked")
        oldest = min(
            {row[0] for row in standing},
            key=lambda id_: connection.execute(
                select(subjects_table.c.created, subjects_table.c.id).where(subjects_table.c.id == id_)
            ).one(),
        )
        others = sorted({row[0] for row in standing} - {oldest})
        for other in others:
            connection.execute(
                update(subjects_table)
                .where(or_(subjects_table.c.id == other, subjects_table.c.same_as == other))
                .values(same_as=oldest)
            )
        subject = self.by_id(connection, oldest)
        if subject is None:  # it was read above, in this transaction
            raise SubjectError("the subject disappeared while it was linked")
        return subject

    def group(self, connection: Connection, id: str) -> tuple[str, ...]:  # noqa: A002
        """All ids that stand for the same person as this one, the leading one first; empty if unknown."""
        row = self._primary(connection, id)
        if row is None:
            return ()
        linked = connection.scalars(
            select(subjects_table.c.id).where(subjects_table.c.same_as == row[0]).order_by(subjects_table.c.created)
        )
        return (row[0], *linked)

    def pseudonyms(self, connection: Connection, id: str) -> tuple[str, ...]:  # noqa: A002
        """All pseudonyms under which entries speak of this person; empty if unknown or destroyed."""
        ids = self.group(connection, id)
        rows = connection.execute(
            select(subjects_table.c.pseudonym).where(
                subjects_table.c.id.in_(ids), subjects_table.c.pseudonym.is_not(None)
            )
        )
        return tuple(row[0] for row in rows)

    def destroy(self, connection: Connection, id: str, now: datetime) -> tuple[str, ...]:  # noqa: A002
        """Forget the person: key, pseudonym and identifiers of this subject and all linked to it.

        Returns the ids concerned. Call it in a unit together with its entry of type `key`. On SQLite the freed space is
        overwritten; what the write-ahead log and backups still hold goes with `scrub` and with their own retention.
        """
        ids = self.group(connection, id)
        if not ids:
            raise SubjectError("there is no such subject")
        wrapped = connection.scalars(select(subjects_table.c.wrapped_key).where(subjects_table.c.id.in_(ids))).all()
        connection.execute(delete(identifiers_table).where(identifiers_table.c.subject.in_(ids)))
        connection.execute(
            update(subjects_table)
            .where(subjects_table.c.id.in_(ids))
            .values(wrapped_key=None, pseudonym=None, destroyed=micros(now))
        )
        with self._lock:
            for item in wrapped:
                self._keys.pop(bytes(item or b""), None)
        return ids

    def _create(self, connection: Connection, now: datetime) -> Subject:
        key = secrets.token_bytes(KEY_BYTES)
        subject = Subject(f"s-{secrets.token_hex(16)}", _pseudonym(key), key)
        wrapped = aes_key_wrap(self._wrapping_key, key)
        _ADD_SUBJECT.run(connection, subject.id, subject.pseudonym, wrapped, micros(now))
        return subject

    def _primary(self, connection: Connection, id_: str) -> tuple[str, str | None, bytes | None] | None:
        row = _BY_ID.row(connection, id_)
        if row is not None and row[3] is not None:
            row = _BY_ID.row(connection, row[3])
        return None if row is None else (row[0], row[1], row[2])

    def _subject(
        self, connection: Connection, id_: str, pseudonym: str | None, wrapped: bytes | None, same_as: str | None
    ) -> Subject | None:
        if same_as is not None:
            row = _BY_ID.row(connection, same_as)
            if row is None:
                return None
            id_, pseudonym, wrapped, _ = row
        if wrapped is None or pseudonym is None:
            return None
        return Subject(id_, pseudonym, self._unwrap(bytes(wrapped)))

    def _unwrap(self, wrapped: bytes) -> bytes:
        with self._lock:
            key = self._keys.get(wrapped)
            if key is not None:
                self._keys.move_to_end(wrapped)
                return key
        key = aes_key_unwrap(self._wrapping_key, wrapped)
        with self._lock:
            self._keys[wrapped] = key
            if len(self._keys) > _CACHED_KEYS:
                self._keys.popitem(last=False)
        return key


def _pseudonym(key: bytes) -> str:
    return hmac.digest(key, b"pseudonym", "sha256").hex()


def scrub(connection: Connection) -> None:
    """After a destruction was committed: empty SQLite's write-ahead log, so that old pages do not linger in it.

    On PostgreSQL: vacuum the dead rows. Needs a connection outside a transaction (AUTOCOMMIT).
    """
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").close()
    else:
        connection.exec_driver_sql("VACUUM audit_subjects, audit_identifiers")
