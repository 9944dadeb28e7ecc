"""Client certificates and clients that were shut out, for every replica of a node to see.

A revocation is a row and never goes away again: a system that is let in anew gets a new certificate. The row and the
log entry that speaks of it are one transaction; running nodes read the table every few seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, insert, select

from audit.log.entries import EntryType, Outcome, micros
from audit.log.waiting import Written
from gateway.storage.tables import client_revocations
from gateway.story import Story

CERTIFICATE = "certificate"
CLIENT = "client"


@dataclass(frozen=True, slots=True)
class Revocations:
    """Who is shut out: thumbprints of certificates (SHA-256, unpadded base64url), and names of clients."""

    certificates: frozenset[str] = frozenset()
    clients: frozenset[str] = frozenset()


def read(connection: Connection) -> Revocations:
    found: dict[str, set[str]] = {CERTIFICATE: set(), CLIENT: set()}
    for row in connection.execute(select(client_revocations.c.kind, client_revocations.c.revoked)):
        found.setdefault(row.kind, set()).add(row.revoked)
    return Revocations(frozenset(found[CERTIFICATE]), frozenset(found[CLIENT]))


@dataclass(frozen=True, slots=True)
class Shut:
    """What is to be shut out, a CERTIFICATE or a CLIENT, and the client whose it is; empty if settings know none."""

    kind: str
    what: str
    client: str = ""


def revoke(connection: Connection, shut: Shut, *, node: str, now: datetime) -> Written[bool]:
    """Shut it out, with the entry to be recorded; False and nothing new if it was out already."""
    kind, revoked = shut.kind, shut.what
    held = client_revocations.c
    if connection.execute(select(held.at).where(held.kind == kind, held.revoked == revoked)).first() is not None:
        return Written(False, ())
    entry = Story(client=shut.client or None, node=node).entry(
        EntryType.KEY, Outcome.SUCCESS, now, reason="client-revoked", detail={kind: revoked}
    )
    connection.execute(
        insert(client_revocations), {"revoked": revoked, "kind": kind, "at": micros(now), "entry": entry.id}
    )
    return Written(True, (entry,))
