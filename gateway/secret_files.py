"""The node's secret files, held against the database that depends on them.

A secret that is made anew over a database with rows opens or loses what people trusted to it: under another index key
every refusal is passed over, under another wrapping key nothing that is kept can be read. So secrets are made for an
empty database only. From then on the database knows them by a fingerprint, and a node whose files are missing or belong
to another database does not start.
"""

from __future__ import annotations

import base64
import hmac
import secrets
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap
from sqlalchemy import Connection, Engine, insert, inspect, literal, select, text

from audit.tables import entries, identifiers, subjects
from consent.tables import consents
from gateway.parts import NodeError, secret
from gateway.settings import Settings
from gateway.storage.engine import writer
from gateway.storage.tables import secret_fingerprints
from gateway.trust.keystore import write_secret

#: What is lost with each, in an operator's words. The token key is not among them: access tokens live for minutes, and
#: clients fetch others.
DEPENDS: Final[Mapping[str, str]] = {
    "wrapping_key": "without it nothing that is kept of any person can be read",
    "index_key": "without it no person is found, and their consents and refusals are passed over",
    "log_key": "it signs the audit log, which cannot go on under another key",
    "witness_key": "the registry lists it as the key with which this node cosigns the logs of others",
}
#: Those that the database itself can be held against.
_FINGERPRINTED: Final = ("wrapping_key", "index_key")
_TRIED: Final = 10
_ADVISORY_LOCK: Final = 0x79686473  # "yhds": replicas that start at once on an empty database make one set of secrets


def prepare(settings: Settings, engine: Engine, now: datetime) -> None:
    """For a node that starts: make the secrets of an empty database, else refuse those that do not belong to it.

    Raises NodeError, and makes nothing then.
    """
    with writer(engine).begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _ADVISORY_LOCK})
        if not _depended_on(connection):
            for name in DEPENDS:
                with suppress(FileExistsError):
                    write_secret(_path(settings, name), base64.b64encode(secrets.token_bytes(32)) + b"\n")
        _verify(settings, connection, tuple(DEPENDS))
        known = _fingerprints(connection)
        for name in _FINGERPRINTED:
            if name not in known:
                row = {"name": name, "fingerprint": fingerprint(name, secret(_path(settings, name)))}
                connection.execute(insert(secret_fingerprints), {**row, "at": int(now.timestamp() * 1_000_000)})
    if not settings.secrets.token_key.exists():
        with suppress(FileExistsError):
            write_secret(settings.secrets.token_key, base64.b64encode(secrets.token_bytes(32)) + b"\n")


def verify(settings: Settings, engine: Engine, *names: str) -> None:
    """For a command beside a node: are these the secrets of this database? Raises NodeError. Writes nothing."""
    with engine.connect() as connection:
        _verify(settings, connection, names)


def fingerprint(name: str, key: bytes) -> str:
    """By what the database knows a secret; it tells nothing of the secret."""
    return hmac.digest(key, f"yhdyspinta fingerprint\x00{name}".encode(), "sha256").hex()


def _verify(settings: Settings, connection: Connection, names: tuple[str, ...]) -> None:
    for name in names:
        if not _path(settings, name).exists():
            raise NodeError(
                f"{_path(settings, name)} is missing, and the database depends on it: {DEPENDS[name]}",
                "restore the file from the backup of the node's secrets; a node makes secrets only for a database that "
                "is empty, so name another one in database.url if this is a new node",
            )
    known = _fingerprints(connection)
    for name in names:
        # Before the database knows a fingerprint, only the wrapping key can be tried, on what it has wrapped.
        key = secret(_path(settings, name))
        if name in known:
            belongs = hmac.compare_digest(known[name], fingerprint(name, key))
        else:
            belongs = name != "wrapping_key" or _unwraps(connection, key)
        if not belongs:
            raise NodeError(
                f"{_path(settings, name)} is not the secret with which this database was made: {DEPENDS[name]}",
                "restore the file that belongs to this database, or name the database that belongs to the file in "
                "database.url; nothing was changed",
            )


def _unwraps(connection: Connection, key: bytes) -> bool:
    wrapped = connection.scalars(
        select(subjects.c.wrapped_key).where(subjects.c.wrapped_key.is_not(None)).limit(_TRIED)
    ).all()
    try:
        return all(aes_key_unwrap(key, bytes(item)) for item in wrapped)
    except InvalidUnwrap:
        return False


def _depended_on(connection: Connection) -> bool:
    """Whether the database holds anything that a secret opens, or knows its secrets already."""
    held = (subjects, identifiers, consents, entries, secret_fingerprints)
    return any(connection.execute(select(literal(1)).select_from(table).limit(1)).first() for table in held)


def _fingerprints(connection: Connection) -> dict[str, str]:
    if not inspect(connection).has_table(secret_fingerprints.name):
        return {}  # a command beside a database that no node of this version has opened yet
    rows = connection.execute(select(secret_fingerprints.c.name, secret_fingerprints.c.fingerprint))
    return {row.name: row.fingerprint for row in rows}


def _path(settings: Settings, name: str) -> Path:
    path: Path = getattr(settings.secrets, name)
    return path
