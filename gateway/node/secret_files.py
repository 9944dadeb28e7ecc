"""The node's secret files, held against the database that depends on them.

A secret that is made anew over a database with rows opens or loses what people trusted to it: under another index key
every refusal is passed over, under another wrapping key nothing that is kept can be read. So secrets are made for an
empty database only. From then on the database knows them by a fingerprint, and a node whose files are missing or belong
to another database does not start. A secret is changed by a command while nodes run (`gateway.node.rotation`): its
file then has several keys, and the database knows of each in what state it is.
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from itertools import chain, islice
from pathlib import Path
from typing import Any, Final

import orjson
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap
from sqlalchemy import ColumnElement, Connection, Engine, delete, insert, inspect, literal, select, text

from audit.log.entries import Entry, EntryType, Outcome, micros
from audit.log.tables import entries, identifiers, subjects
from audit.questions.keys import unwrapped
from consent.words.tables import consents
from gateway.keys import ring
from gateway.keys.keystore import write_secret
from gateway.node.wiring import NodeError, secrets_in, subjects_of
from gateway.settings import Settings
from gateway.settings.exposed import exposed
from gateway.storage.engine import writer
from gateway.storage.sealing import unseal
from gateway.storage.tables import disclosures, handovers, inbox, secret_fingerprints
from gateway.story import Story

#: What is lost with each, in an operator's words. The token key is not among them: access tokens live for minutes, and
#: clients fetch others.
DEPENDS: Final[Mapping[str, str]] = {
    "wrapping_key": "without it nothing that is kept of any person can be read",
    "index_key": "without it no person is found, and their consents and refusals are passed over",
    "log_key": "it signs the audit log, which goes on under another key only if this one hands it on",
    "witness_key": "the registry lists it as the key with which this node cosigns the logs of others",
}
#: Those that the database itself can be held against.
_FINGERPRINTED: Final = ("wrapping_key", "index_key")
TOKEN: Final = "token_key"  # noqa: S105 - a name
LACKS_REMEDY: Final = (
    "copy the file from where `yhdyspinta node rotate` was run, or restore it from the newest backup of the secrets; "
    "nothing was changed"
)
_TRIED: Final = 10


class SecretState(StrEnum):
    """How a key stands in a database."""

    JOINING = "joining"  # every node is to have it before anything is written under it
    CURRENT = "current"
    FORMER = "former"  # what was written under it is still read
    GONE = "gone"  # nothing depends on it any more


@dataclass(frozen=True, slots=True)
class KnownKey:
    """A key as a database knows it."""

    fingerprint: str
    state: SecretState
    at: int

    @property
    def is_needed(self) -> bool:
        """Whether a node that lacks it would miss something, or open what is shut."""
        return self.state is not SecretState.GONE


_ADVISORY_LOCK: Final = 0x79686473  # "yhds": replicas that start at once on an empty database make one set of secrets


def prepare(settings: Settings, engine: Engine, now: datetime) -> bool:
    """For a node that starts: make the secrets of an empty database, else refuse those that do not belong to it.

    Whether the token key is another than before: nothing is lost with it, but whoever has put another in its place
    can make tokens, so it is to be noticed. Raises NodeError, and makes nothing then.
    """
    if not settings.secrets.token_key.exists():
        with suppress(FileExistsError):
            write_secret(settings.secrets.token_key, base64.b64encode(ring.new()) + b"\n")
    token = fingerprint(TOKEN, secrets_in(settings.secrets.token_key)[0])
    with writer(engine).begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _ADVISORY_LOCK})
        if not _depended_on(connection):
            for name in DEPENDS:
                with suppress(FileExistsError):
                    write_secret(path_of(settings, name), base64.b64encode(ring.new()) + b"\n")
        _verify(settings, connection, tuple(DEPENDS))
        known = known_keys(connection)
        for name in _FINGERPRINTED:
            if name not in known:
                row = {"name": name, "fingerprint": fingerprint(name, secrets_in(path_of(settings, name))[0])}
                connection.execute(insert(secret_fingerprints), {**row, "at": micros(now)})
        if token in {key.fingerprint for key in known.get(TOKEN, ()) if key.is_needed}:
            return False
        connection.execute(delete(secret_fingerprints).where(secret_fingerprints.c.name == TOKEN))
        connection.execute(insert(secret_fingerprints), {"name": TOKEN, "fingerprint": token, "at": micros(now)})
    return TOKEN in known


def refuse_exposed(settings: Settings) -> None:
    """Let no node start on secrets that others can read. Raises NodeError."""
    if found := exposed(settings):
        raise NodeError(
            "; ".join(file.fault for file in found),
            f"take them from others, chmod 600 {' '.join(str(file.path) for file in found)}; and make other secrets if "
            "somebody may have read them",
        )


def verify(settings: Settings, engine: Engine, *names: str) -> None:
    """For a command beside a node: are these the secrets of this database? Raises NodeError. Writes nothing."""
    with engine.connect() as connection:
        _verify(settings, connection, names)


def noticed(node: str, now: datetime) -> Entry:
    """The entry of a start at which the token key was another than at the start before."""
    return Story(node=node).entry(EntryType.SECRET, Outcome.SUCCESS, now, detail={"secret": TOKEN, "change": "another"})


def fingerprint(name: str, key: bytes) -> str:
    """By what the database knows a secret; it tells nothing of the secret."""
    return hmac.digest(key, f"yhdyspinta fingerprint\x00{name}".encode(), "sha256").hex()


def _verify(settings: Settings, connection: Connection, names: tuple[str, ...]) -> None:
    for name in names:
        if not path_of(settings, name).exists():
            raise NodeError(
                f"{path_of(settings, name)} is missing, and the database depends on it: {DEPENDS[name]}",
                "restore the file from the backup of the node's secrets; a node makes secrets only for a database that "
                "is empty, so name another one in database.url if this is a new node",
            )
    known = _known_to_any(connection)
    for name in names:
        path = path_of(settings, name)
        if not _belongs(settings, connection, name, known.get(name, ())):
            raise NodeError(
                f"{path} is not the secret with which this database was made: {DEPENDS[name]}",
                "restore the file that belongs to this database, or name the database that belongs to the file in "
                "database.url; nothing was changed",
            )
        lacking = lacks(name, secrets_in(path), known.get(name, ()))
        if lacking is not None:
            raise NodeError(f"{path} {lacking}", LACKS_REMEDY)


def lacks(name: str, keys: Sequence[bytes], known: Sequence[KnownKey]) -> str | None:
    """What the keys of a file lack for a database that knows these; None if nothing."""
    held = [fingerprint(name, key) for key in keys]
    needed = {key.fingerprint for key in known if key.is_needed}
    if not needed <= set(held):
        return "lacks a key under which this database is written"
    if needed and held[0] not in needed:
        # What is written under it, nobody would find who has only the keys that the database asks for.
        return "begins with a key that this database does not know"
    return None


def ordered(name: str, keys: Sequence[bytes], known: Sequence[KnownKey]) -> tuple[bytes, ...]:
    """The same keys, the one first under which this database is written."""
    current = {key.fingerprint for key in known if key.state is SecretState.CURRENT}
    return tuple(sorted(keys, key=lambda key: fingerprint(name, key) not in current))


def _belongs(settings: Settings, connection: Connection, name: str, known: Sequence[KnownKey]) -> bool:
    keys = secrets_in(path_of(settings, name))
    if known:
        needed = {key.fingerprint for key in known if key.is_needed}
        return any(hmac.compare_digest(fingerprint(name, key), print_) for key in keys for print_ in needed)
    # Before the database knows a fingerprint, a key is tried on what was made with it.
    match name:
        case "wrapping_key":
            return _unwraps(connection, keys)
        case "index_key":
            wrapping = path_of(settings, "wrapping_key")
            # Of a wrapping key that opens nothing here, whoever asks about that key is told.
            can_try = wrapping.exists() and _unwraps(connection, secrets_in(wrapping))
            return not can_try or _finds(settings, connection)
    return True


def _finds(settings: Settings, connection: Connection) -> bool:
    """Whether people are found by the identifiers that the database keeps sealed; True if it keeps none."""
    people, has_tried = subjects_of(settings), False
    for pairs in islice(_sealed_names(connection, secrets_in(path_of(settings, "wrapping_key"))), _TRIED):
        blinds = [blind for system, value in pairs for blind in people.blinds(system, value)]
        if connection.execute(select(literal(1)).where(identifiers.c.blind.in_(blinds)).limit(1)).first():
            return True
        has_tried = True
    return not has_tried


def _sealed_names(connection: Connection, wrapping: Sequence[bytes]) -> Iterator[list[tuple[str, str]]]:
    """The identifiers that each of some records, arrivals and disclosures names, of people whose key still opens."""
    # Only columns that every version had: a command may stand beside a database that no node has upgraded yet.
    kept = (
        select(
            literal("disclosures/") + disclosures.c.consent + "/" + disclosures.c.recipient, disclosures.c.identifiers
        )
        .add_columns(subjects.c.wrapped_key)
        .join_from(disclosures, subjects, subjects.c.id == disclosures.c.subject),
        *(
            select(literal(f"{table.name}/") + table.c.id, table.c.sealed, subjects.c.wrapped_key)
            .join_from(table, subjects, subjects.c.id == table.c.subject)
            .where(table.c.sealed.is_not(None))
            for table in (inbox, handovers)
        ),
    )
    found = (
        connection.execute(statement.where(subjects.c.wrapped_key.is_not(None)).limit(_TRIED)) for statement in kept
    )
    for place, sealed, wrapped in chain.from_iterable(found):
        pairs = _pairs(orjson.loads(unseal(unwrapped(wrapping, bytes(wrapped)), place, bytes(sealed))))
        if pairs:
            yield pairs


def _pairs(document: Any) -> list[tuple[str, str]]:
    """Whom a disclosure, a notice or a record names."""
    match document:
        case {"entry": [{"resource": {"identifier": [*named]}}, *_]} | {"subject": [*named]} | [*named]:
            return [(item["system"], item["value"]) for item in named if {"system", "value"} <= item.keys()]
    return []


def _unwraps(connection: Connection, keys: Sequence[bytes]) -> bool:
    wrapped = connection.scalars(
        select(subjects.c.wrapped_key).where(subjects.c.wrapped_key.is_not(None)).limit(_TRIED)
    ).all()
    try:
        return all(unwrapped(keys, bytes(item)) for item in wrapped)
    except InvalidUnwrap:
        return False


def _depended_on(connection: Connection) -> bool:
    """Whether the database holds anything that a secret opens, or knows its secrets already."""
    held = (subjects, identifiers, consents, entries, secret_fingerprints)
    return any(connection.execute(select(literal(1)).select_from(table).limit(1)).first() for table in held)


def known_keys(connection: Connection) -> dict[str, tuple[KnownKey, ...]]:
    """What the database knows of each secret, in the order in which it came to know it."""
    return _known(connection, secret_fingerprints.c.state)


def _known_to_any(connection: Connection) -> dict[str, tuple[KnownKey, ...]]:
    """The same of a database that a command may meet before a node of this version has opened it."""
    inspected, table = inspect(connection), secret_fingerprints
    if not inspected.has_table(table.name):
        return {}
    has_state = any(column["name"] == "state" for column in inspected.get_columns(table.name))
    return _known(connection, table.c.state if has_state else literal(SecretState.CURRENT.value))


def _known(connection: Connection, state: ColumnElement[str]) -> dict[str, tuple[KnownKey, ...]]:
    table = secret_fingerprints
    rows = connection.execute(
        select(table.c.name, table.c.fingerprint, table.c.at, state.label("state")).order_by(table.c.at)
    )
    found: dict[str, tuple[KnownKey, ...]] = {}
    for row in rows:
        key = KnownKey(row.fingerprint, SecretState(row.state), row.at)
        found[row.name] = (*found.get(row.name, ()), key)
    return found


def path_of(settings: Settings, name: str) -> Path:
    """Where a secret lies."""
    path: Path = getattr(settings.secrets, name)
    return path
