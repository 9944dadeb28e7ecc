"""Collect the evidence of one exchange from a node's own store: messages, log, registry versions, bodies, time stamps.

Works on the database and the registry's cache, beside a running node or without one.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import Connection, Row, select

from audit.log.entries import Entry
from audit.questions.archive import Archive, ArchiveError
from audit.questions.query import Filters
from audit.questions.subjects import Subjects
from audit.tree.checkpoint import Former, VerifierKey, parse_checkpoint, succeeding
from audit.tree.proofs import export_proofs, prove
from audit.tree.verify import FORMAT as LOG_FORMAT
from gateway.evidence.package import Evidence
from gateway.keys.errors import TrustError
from gateway.storage.sealing import unseal
from gateway.storage.tables import bodies, messages, timestamps

Vouched = Callable[[int], Mapping[str, bytes]]
"""The registry's metadata and files of one version; see `RegistryClient.vouched`."""

_TRIES = 50


@dataclass(frozen=True, slots=True)
class Holdings:
    """Where a node's proofs lie besides its database: what the registry vouched for, and the log's key.

    `subjects` opens the bodies that are still held; without it they are left out. `archives` are folders of the log's
    archived months; `authorities` are the certificates (PEM) that time stamps go by.
    """

    vouched: Vouched
    log_key: VerifierKey
    subjects: Subjects | None
    authorities: bytes | None = None
    archives: Sequence[Path] = ()


def collect(connection: Connection, message_id: str, holdings: Holdings, *, direction: str | None = None) -> Evidence:
    """The evidence of one message. Raises TrustError `evidence-incomplete`.

    `direction` is `sent` or `received`, for a node that was both sides of an exchange.
    """
    subjects = holdings.subjects
    row = _message(connection, message_id, direction)
    logged = _logged(connection, message_id, holdings.archives)
    last = max(index for index, _ in logged)
    versions = {row.registry_version, row.response_registry_version} - {None}
    registries = {version: _registry(holdings.vouched, version) for version in versions}
    log_key = _listed(holdings.log_key, registries.values())
    stamp = _stamp(connection, last, log_key)
    return Evidence(
        message_id=message_id,
        direction=row.direction,
        request=row.request,
        request_registry=row.registry_version,
        registries=registries,
        log=export_proofs(connection, dict(logged), log_key=log_key),
        response=row.response,
        response_registry=row.response_registry_version if row.response is not None else None,
        stamped=_stamped(connection, logged, stamp.note, log_key) if stamp is not None else None,
        timestamp=bytes(stamp.token) if stamp is not None else None,
        authorities=holdings.authorities if stamp is not None else None,
        bodies=_bodies(connection, message_id, subjects) if subjects is not None else {},
    )


def _message(connection: Connection, message_id: str, direction: str | None) -> Row[Any]:
    statement = select(messages).where(messages.c.message_id == message_id)
    if direction is not None:
        statement = statement.where(messages.c.direction == direction)
    rows = connection.execute(statement).all()
    if not rows:
        raise _incomplete("this node holds no signed message of that id", "see `message_id` in the log's entries")
    if len(rows) > 1:
        raise _incomplete("this node both sent and received the message", "say which, with --direction")
    return rows[0]


def _logged(connection: Connection, message_id: str, archives: Sequence[Path]) -> list[tuple[int, Entry]]:
    """The log's entries that name the message by what was signed, wherever they lie by now.

    What came of it later, such as the duty to tell the person, names it by its id alone, and proves nothing of it.
    """
    archive = Archive(*archives)
    try:
        page = archive.search_all(connection, Filters(message_id=message_id), order="oldest")
    except ArchiveError as error:
        raise _incomplete(f"the archive of the log cannot be read: {error}", "restore it from your backup") from None
    finally:
        archive.close()
    if not page.found:
        raise _incomplete(
            "the log's entries of this exchange are not in the database", "name the log's archive with --archive"
        )
    return [(item.index, item.entry) for item in page.found if item.entry.request_digest]


def _registry(vouched: Vouched, version: int) -> Mapping[str, bytes]:
    # A running node rewrites what it keeps of the current version at each refresh: a look may come at a bad time.
    for _ in range(_TRIES):
        try:
            found = vouched(version)
        except OSError:
            found = {}
        if "metadata/timestamp.json" in found and "targets/members.json" in found:
            return found
        time.sleep(0.05)
    raise _incomplete(f"the registry's version {version} is not kept any more", "restore the registry's cache folder")


def _listed(log_key: VerifierKey, registries: Iterable[Mapping[str, bytes]]) -> VerifierKey | Former:
    """The key of the log that the registry listed for it then, a former one perhaps.

    Who reads the evidence holds the log against the registry of the message's time, and that knew no later key.
    """
    listed = {
        node["log"].get("key")
        for files in registries
        for node in orjson.loads(files["targets/members.json"])["nodes"]
        if (node.get("log") or {}).get("origin") == log_key.name
    }
    if str(log_key) not in listed:
        for number, former in enumerate(log_key.former):
            if str(former.key) in listed:
                return Former(succeeding(former.key, log_key.former[:number]), former.note)
    return log_key


def _stamp(connection: Connection, index: int, log_key: VerifierKey | Former) -> Row[Any] | None:
    """The earliest time stamp over a checkpoint that includes the entry: the one that proves most."""
    reach = timestamps.c.size > index
    if isinstance(log_key, Former):
        reach &= timestamps.c.size <= log_key.size
    return connection.execute(select(timestamps).where(reach).order_by(timestamps.c.size).limit(1)).first()


def _stamped(
    connection: Connection, logged: Sequence[tuple[int, Entry]], note: str, log_key: VerifierKey | Former
) -> bytes:
    checkpoint = parse_checkpoint(note)
    items = []
    for index, entry in logged:
        proof = prove(connection, index, entry, checkpoint)
        texts = [base64.b64encode(digest).decode() for digest in proof.proof]
        items.append({"index": index, "entry": proof.entry.canonical().decode(), "proof": texts})
    own = log_key.key if isinstance(log_key, Former) else log_key
    document = {"format": LOG_FORMAT, "log_key": str(own), "witness_keys": [], "checkpoint": note, "entries": items}
    return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS)


def _bodies(connection: Connection, message_id: str, subjects: Subjects) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    rows = connection.execute(
        select(bodies).where(bodies.c.message_id == message_id, bodies.c.part.in_(("request", "response")))
    )
    for row in rows:
        key = subjects.key_of(connection, row.subject)
        if key is not None:
            found[row.part] = unseal(key, f"bodies/{message_id}/{row.part}", bytes(row.sealed))
        # Else the person's key was destroyed, and what is left of the body is noise.
    return found


def entries_of(evidence: Evidence) -> list[Entry]:
    """The log's entries in the evidence, unverified."""
    return [Entry.parse(item["entry"]) for item in orjson.loads(evidence.log)["entries"]]


def _incomplete(detail: str, remedy: str) -> TrustError:
    return TrustError("evidence-incomplete", detail, remedy)
