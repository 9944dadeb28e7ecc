"""The people that entries speak of, known by pseudonyms only, and how they can be forgotten.

An identifier of a person is never stored: only a blind index of it, an HMAC-SHA-256 under the node's index key, apart
for each member that the node serves. Each identifier has a subject of its own, with a key, kept AES-key-wrapped under
the node's wrapping key (`audit.questions.keys`); the pseudonym in entries is an HMAC-SHA-256 under that key, and
personal payloads elsewhere are sealed with it. Destroying the key, the pseudonym and the blind indices makes the
entries unlinkable, while the tree and all its proofs stay as they are.

Which subjects are one person stands in `audit.questions.links`. What another organisation names together is a *claim*:
a subject of its own for that one item, found under each of the identifiers that were named, and nothing else.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Final

from sqlalchemy import Connection, bindparam, delete, select, update

from audit.log.entries import micros
from audit.log.statements import Counted, Fixed
from audit.log.tables import claims as claims_table
from audit.log.tables import identifiers as identifiers_table
from audit.log.tables import subjects as subjects_table
from audit.questions import links
from audit.questions.keys import KEY_BYTES, SubjectError, SubjectKeys

HETU_SYSTEM: Final = "urn:oid:1.2.246.21"
#: Under how many other spellings an identifier is looked for: each is a hash and a place in one query.
OLD_SPELLINGS: Final = 9
_AT_ONCE: Final = 500

Identifiers = Sequence[tuple[str, str]]


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
    yield from ((system, text.upper()), (system, lower), (system, text.title()), (system, text.capitalize()))
    if "-" in text:
        yield from ((system, text.replace("-", sign)) for sign in "\u2010\u2013\u2212")
    yield from ((f"{system} ", text), (f"{system} ", lower))
    if "-" in text:
        yield system, lower.replace("-", "\u2010")
    oid = system.removeprefix("urn:oid:")
    yield from ((oid, text), (oid, lower))


_COLUMNS: Final = tuple(subjects_table.c[name] for name in ("id", "pseudonym", "wrapped_key", "claimed"))
_BY_ID: Final = Fixed(select(*_COLUMNS).where(subjects_table.c.id == bindparam("of")), "of")
_ADD_SUBJECT: Final = Fixed.insert(subjects_table, "id", "pseudonym", "wrapped_key", "created", "claimed")
_OWN: Final = Fixed(
    update(subjects_table)
    .where(subjects_table.c.id == bindparam("of"), subjects_table.c.claimed == 1)
    .values(claimed=0),
    "of",
)
_ADD_IDENTIFIER: Final = Fixed.insert(
    identifiers_table, "blind", "subject", "created", "member", "system", "notation", "index_key"
)
_ADD_CLAIM: Final = Fixed.insert(claims_table, "claim", "subject")
_CLAIMED: Final = Counted(
    lambda ids: select(claims_table.c.claim, claims_table.c.subject).where(claims_table.c.claim.in_(ids))
)
_BY_BLIND: Final = Counted(
    lambda blinds: (
        select(identifiers_table.c.blind, *_COLUMNS)
        .join(subjects_table, subjects_table.c.id == identifiers_table.c.subject)
        .where(identifiers_table.c.blind.in_(blinds))
    )
)

NOTATION: Final = 2
"""How identifiers are written before they are hashed: 2 is with the member's name in front; 1 was without."""


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of one identifier: the subjects that have it, of several the one in today's notation first."""

    system: str
    value: str
    subjects: tuple[Subject, ...]


def spelt(user: str) -> str:
    """A user's name as it counts: of one login, whatever its capitals, blanks and composed characters."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", user).casefold())
    return " ".join(folded.split())


class Subjects:
    """Finds, makes and forgets data subjects. All functions work inside the caller's transaction.

    Two members of a node have no person in common: whatever is made, is made for the first of `members`. Whoever looks
    for a person at the desk of the whole node looks among all of them.
    """

    def __init__(self, wrapping_key: bytes, index_key: bytes, *, members: Sequence[str] = ("",)) -> None:
        self.keys = SubjectKeys((wrapping_key,), (index_key,))
        self._members = tuple(members)

    @classmethod
    def under(cls, keys: SubjectKeys, members: Sequence[str] = ("",)) -> Subjects:
        """The same under keys that may change while it is in use: all that were made under them change with them."""
        made = cls.__new__(cls)
        made.keys, made._members = keys, tuple(members)
        return made

    def of(self, member: str) -> Subjects:
        """The data subjects of one member of this node."""
        return self if self._members == (member,) else Subjects.under(self.keys, (member,))

    def blind(self, system: str, value: str) -> bytes:
        """The blind index of an identifier as it is written today, 32 bytes."""
        return self.keys.digest(_written(self._members[0], system, value))

    def blinds(self, system: str, value: str) -> tuple[bytes, ...]:
        """Every blind index under which the identifier may stand: today's first, then those of a former version, which
        took identifiers as they came and kept no members apart; and the same of each index key before today's.
        """
        text = normalised(system, value)
        others = dict.fromkeys((system_, normalised(system_, spelt)) for system_, spelt in _once_taken(system, text))
        others.pop((system, text), None)
        former = ((system, text), *islice(others, OLD_SPELLINGS))
        return self.keys.digests(
            *(_written(member, system, value) for member in self._members),
            *(f"identifier\x00{kind}\x00{spelt}".encode() for kind, spelt in former),
        )

    def records(self, register: str, key: str) -> tuple[bytes, ...]:
        """The keyed hashes of a register's own key of a record, the one to write first."""
        return self.keys.digests(_written(self._members[0], f"record/{register}", key))

    def case(self, reference: str) -> str:
        """The keyed hash that stands for a case reference in entries, 64 hex digits."""
        return self.cases(reference)[0]

    def cases(self, reference: str) -> tuple[str, ...]:
        """The same under every index key in use: a case may have been spoken of under several."""
        return tuple(digest.hex() for digest in self.keys.digests(f"case\x00{reference}".encode()))

    def user(self, system: str, user: str) -> str:
        """The pseudonym of a person who uses a system (never of a data subject), 32 hex digits.

        One person however the name is spelt (`spelt`): a log that has two for one could be searched in vain.
        """
        return self.users(system, user)[0]

    def users(self, system: str, user: str) -> tuple[str, ...]:
        """The same under every index key in use: by each of them it is still this person."""
        return tuple(digest.hex()[:32] for digest in self.keys.digests(f"user\x00{system}\x00{spelt(user)}".encode()))

    def fingerprint(self, purpose: str, *parts: bytes) -> str:
        """The keyed hash of these parts, 64 hex digits: personal data has so few values that a plain hash tells it."""
        return self.fingerprints(purpose, *parts)[0]

    def fingerprints(self, purpose: str, *parts: bytes) -> tuple[str, ...]:
        """The same under every index key in use."""
        message = b"".join(len(part).to_bytes(8, "big") + part for part in (purpose.encode(), *parts))
        return tuple(digest.hex() for digest in self.keys.digests(b"fingerprint\x00" + message))

    def find(self, connection: Connection, system: str, value: str) -> Subject | None:
        """The subject with this identifier, or None. Creates nothing."""
        return next(iter(self.all_of(connection, system, value)), None)

    def all_of(self, connection: Connection, system: str, value: str) -> tuple[Subject, ...]:
        """All subjects that this identifier was recorded for, those that only others have named included: more than
        one if it was recorded in several spellings before identifiers had one notation, or by several members.
        """
        (known,) = self._read(connection, ((system, value),), claimed=True)
        return known.subjects

    def known(self, connection: Connection, identifiers: Identifiers) -> tuple[Known, ...]:
        """What is known of each identifier, in their order. Creates nothing.

        One that only other organisations have named is not known: their messages change nothing for anybody.
        """
        return self._read(connection, identifiers, claimed=False)

    def _read(self, connection: Connection, identifiers: Identifiers, *, claimed: bool) -> tuple[Known, ...]:
        asked = [self.blinds(system, value) for system, value in identifiers]
        rows = self._rows(connection, tuple(blind for blinds in asked for blind in blinds), claimed=claimed)
        return tuple(
            Known(system, value, _once(rows[blind] for blind in blinds if blind in rows))
            for (system, value), blinds in zip(identifiers, asked, strict=True)
        )

    def by_id(self, connection: Connection, id: str) -> Subject | None:  # noqa: A002
        """The subject of this id, or None if there is none or it was destroyed."""
        row = _BY_ID.row(connection, id)
        return None if row is None else self.opened(*row[:3])

    def key_of(self, connection: Connection, id: str) -> bytes | None:  # noqa: A002
        """The key of this id, or None if there is none or it was destroyed."""
        subject = self.by_id(connection, id)
        return None if subject is None else subject.key

    def ensure(self, connection: Connection, identifiers: Identifiers, now: datetime) -> tuple[Known, ...]:
        """The same as `known`, with a new subject for each identifier that nobody had. Links nothing.

        Call it under the log's lock (in a unit), so that two requests do not make the same subject twice.
        Raises SubjectError without identifiers.
        """
        return self._met(connection, identifiers, now, is_claim=False)

    def _met(
        self, connection: Connection, identifiers: Identifiers, now: datetime, *, is_claim: bool
    ) -> tuple[Known, ...]:
        if not identifiers:
            raise SubjectError("a person needs at least one identifier")
        met: list[Known] = []
        for known in self._read(connection, tuple(dict.fromkeys(identifiers)), claimed=True):
            if known.subjects:
                self._reindex(connection, known, now)
                if not is_claim:
                    for subject in known.subjects:
                        _OWN.run(connection, subject.id)
                met.append(known)
            else:
                subject = self._create(connection, now, is_claim=is_claim)
                self._index(connection, known, subject, now)
                met.append(Known(known.system, known.value, (subject,)))
        return tuple(met)

    def claim(
        self, connection: Connection, identifiers: Identifiers, now: datetime, also: Sequence[str] = ()
    ) -> Subject:
        """The subject of one item that another organisation brought, found under each identifier that it named.

        What others name together links nobody. If all of it is one person here beyond doubt, the item is that
        person's; else it gets a subject, and so a key, of its own. `also` are further subjects that it is found
        under; of a claim, those that it is found under. Call it in a unit.
        """
        first, ids = self._claimed_by(connection, identifiers, now, also)
        return first if first is not None else self._claim(connection, ids, now)

    def answered(self, connection: Connection, asked: Subject, identifiers: Identifiers, now: datetime) -> Subject:
        """The subject of an answer to a question about `asked`: found under each identifier that the answer named, too.

        The same as of a claim, but all answers that name the same are one's: the same person is asked about often.
        """
        if not identifiers:
            return asked
        first, ids = self._claimed_by(connection, identifiers, now, [asked.id])
        if first is not None:
            return asked
        claim = f"c-{hashlib.sha256(' '.join(ids).encode()).hexdigest()[:32]}"
        return self.by_id(connection, claim) or self._claim(connection, ids, now, claim)

    def _claimed_by(
        self, connection: Connection, identifiers: Identifiers, now: datetime, also: Sequence[str]
    ) -> tuple[Subject | None, list[str]]:
        """Whose identifiers these and the further subjects are; with the first of one person beyond doubt."""
        met = self._met(connection, identifiers, now, is_claim=True)
        ids = [subject.id for known in met for subject in known.subjects]
        ids += self.found_under(connection, also)
        is_one = len(ids) == 1 or links.are_one(connection, ids)
        return met[0].subjects[0] if is_one else None, sorted(set(ids))

    def _claim(self, connection: Connection, ids: Sequence[str], now: datetime, identifier: str = "") -> Subject:
        claim = self._create(connection, now, is_claim=True, identifier=identifier)
        for subject in ids:
            _ADD_CLAIM.run(connection, claim.id, subject)
        return claim

    def nobody(self, connection: Connection, now: datetime) -> Subject:
        """The subject, and so the key, of one item that names nobody: it is found under no identifier. In a unit."""
        return self._create(connection, now, is_claim=True)

    def found_under(self, connection: Connection, ids: Sequence[str]) -> list[str]:
        """The subjects that have identifiers: of a claim, those of the identifiers that were named."""
        if not ids:
            return []
        rows = _CLAIMED.rows(connection, ids)
        claimed = {claim for claim, _ in rows}
        return [*(subject for _, subject in rows), *(id_ for id_ in ids if id_ not in claimed)]

    def own(self, connection: Connection, ids: Iterable[str]) -> None:
        """These subjects are persons of our own from now on, also where only others had named them. In a unit."""
        for id_ in ids:
            _OWN.run(connection, id_)

    def group(self, connection: Connection, id: str) -> tuple[str, ...]:  # noqa: A002
        """All ids that are this person beyond doubt, this one first; empty if unknown."""
        if _BY_ID.row(connection, id) is None:
            return ()
        return (id, *sorted(links.web(connection, (id,)).certain((id,)) - {id}))

    def pseudonyms(self, connection: Connection, id: str) -> tuple[str, ...]:  # noqa: A002
        """All pseudonyms under which entries speak of this person, this id's first; empty if unknown or destroyed."""
        ids = self.group(connection, id)
        claimed = connection.scalars(select(claims_table.c.claim).where(claims_table.c.subject.in_(ids)))
        wanted = (*ids, *sorted(claimed))
        found = {
            row.id: row.pseudonym
            for row in connection.execute(
                select(subjects_table.c.id, subjects_table.c.pseudonym).where(
                    subjects_table.c.id.in_(wanted), subjects_table.c.pseudonym.is_not(None)
                )
            )
        }
        return tuple(found[wanted_id] for wanted_id in dict.fromkeys(wanted) if wanted_id in found)

    def same_person(self, connection: Connection, pseudonym: str) -> tuple[str, ...]:
        """All pseudonyms of the person whose one this is, itself included; of a claim, of all whom it names."""
        table = subjects_table
        id_ = connection.scalar(select(table.c.id).where(table.c.pseudonym == pseudonym))
        ids = self.found_under(connection, [id_]) if id_ else []
        return tuple(dict.fromkeys((pseudonym, *(found for of in ids for found in self.pseudonyms(connection, of)))))

    def systems(self, connection: Connection, ids: Sequence[str]) -> list[tuple[str, str | None]]:
        """Each identifier's subject and system, of these subjects; the system is None where it was not kept."""
        rows = connection.execute(
            select(identifiers_table.c.subject, identifiers_table.c.system).where(identifiers_table.c.subject.in_(ids))
        )
        return [(row.subject, row.system) for row in rows]

    def of_others(self, connection: Connection, ids: Sequence[str]) -> frozenset[str]:
        """Those of these subjects that another member of the node has made."""
        table, found = identifiers_table, set[str]()
        for start in range(0, len(ids), _AT_ONCE):
            rows = connection.scalars(
                select(table.c.subject).where(
                    table.c.subject.in_(ids[start : start + _AT_ONCE]),
                    table.c.member.is_not(None),
                    table.c.member.not_in(self._members),
                )
            )
            found.update(rows)
        return frozenset(found)

    def names_all(self, connection: Connection, id: str, identifiers: Identifiers) -> bool:  # noqa: A002
        """Whether these are all the identifiers that a former version put under one subject."""
        rows = connection.scalars(
            select(identifiers_table.c.blind).where(
                identifiers_table.c.subject == id, identifiers_table.c.notation < NOTATION
            )
        )
        named = {blind for system, value in identifiers for blind in self.blinds(system, value)}
        return named.issuperset(map(bytes, rows))

    def destroy(self, connection: Connection, id: str, now: datetime) -> tuple[str, ...]:  # noqa: A002
        """Forget the person: key, pseudonym and identifiers of all that is this person beyond doubt.

        What others claimed about several persons goes when the last of them is forgotten. Returns the ids concerned.
        Call it in a unit together with its entry of type `key`. On SQLite the freed space is overwritten; what the
        write-ahead log and backups still hold goes with `forgotten.scrub` and with their own retention.
        """
        ids = self.group(connection, id)
        if not ids:
            raise SubjectError("there is no such subject")
        return self.destroy_all(connection, ids, now)

    def destroy_all(self, connection: Connection, ids: Sequence[str], now: datetime) -> tuple[str, ...]:
        """The same of exactly these subjects, whoever they are."""
        claimed = connection.scalars(select(claims_table.c.claim).where(claims_table.c.subject.in_(ids))).all()
        connection.execute(delete(claims_table).where(claims_table.c.subject.in_(ids)))
        shared = connection.scalars(select(claims_table.c.claim).where(claims_table.c.claim.in_(claimed))).all()
        gone = (*ids, *sorted(set(claimed) - set(shared)))
        wrapped = connection.scalars(select(subjects_table.c.wrapped_key).where(subjects_table.c.id.in_(gone))).all()
        connection.execute(delete(identifiers_table).where(identifiers_table.c.subject.in_(ids)))
        connection.execute(
            update(subjects_table)
            .where(subjects_table.c.id.in_(gone))
            .values(wrapped_key=None, pseudonym=None, destroyed=micros(now))
        )
        for item in wrapped:
            self.keys.forget(bytes(item or b""))
        return gone

    def _rows(self, connection: Connection, blinds: tuple[bytes, ...], *, claimed: bool = True) -> dict[bytes, Subject]:
        rows = _BY_BLIND.rows(connection, blinds)
        found = {bytes(row[0]): self.opened(*row[1:4]) for row in rows if claimed or not row[4]}
        return {blind: subject for blind, subject in found.items() if subject is not None}

    def _index(self, connection: Connection, known: Known, subject: Subject, now: datetime) -> None:
        blind = self.blind(known.system, known.value)
        _ADD_IDENTIFIER.run(
            connection, blind, subject.id, micros(now), self._members[0], known.system, NOTATION, self.keys.index_key_id
        )

    def _reindex(self, connection: Connection, known: Known, now: datetime) -> None:
        """Add today's notation under today's index key to an identifier that stands in a former one only.

        The former row stays: on a node of several members it is the only one that the others find their words by, and
        a replica that has not read the new key yet finds people by it.
        """
        if not self._rows(connection, (self.blind(known.system, known.value),)):
            self._index(connection, known, known.subjects[0], now)

    def _create(self, connection: Connection, now: datetime, *, is_claim: bool, identifier: str = "") -> Subject:
        key = secrets.token_bytes(KEY_BYTES)
        subject = Subject(identifier or f"s-{secrets.token_hex(16)}", _pseudonym(key), key)
        wrapped = self.keys.wrap(key)
        _ADD_SUBJECT.run(connection, subject.id, subject.pseudonym, wrapped, micros(now), int(is_claim))
        return subject

    def opened(self, id: str, pseudonym: str | None, wrapped: bytes | None) -> Subject | None:  # noqa: A002
        """The subject of a row, with its key unwrapped; None if it was destroyed."""
        if wrapped is None or pseudonym is None:
            return None
        return Subject(id, pseudonym, self.keys.unwrap(bytes(wrapped)))


def _written(member: str, system: str, value: str) -> bytes:
    """What of an identifier is hashed today."""
    return f"identifier/{NOTATION}\x00{member}\x00{system}\x00{normalised(system, value)}".encode()


def _once(subjects: Iterable[Subject]) -> tuple[Subject, ...]:
    return tuple({subject.id: subject for subject in subjects}.values())


def _pseudonym(key: bytes) -> str:
    return hmac.digest(key, b"pseudonym", "sha256").hex()
