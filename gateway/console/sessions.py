"""Who is signed in: sessions, and the one-time links that open one.

A session's cookie is 32 random bytes that only the browser holds; the database knows its SHA-256. What else the session
needs (the token of its forms, the key of its handles) is derived from the cookie and never stored. A session is always
made anew at sign-in, so that a cookie planted beforehand is worth nothing.

A *handle* stands for a person in the address of a page: the person's opaque id, sealed under the session's key. It
means nothing to another session, in a browser's history or in a proxy's log.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import Connection, Engine, delete, insert, or_, select, update

from audit.log.entries import micros
from gateway.desk.roles import Role
from gateway.storage.console_tables import links, sessions

ROLES: Final[tuple[Role, ...]] = tuple(Role)
IDLE: Final = timedelta(minutes=30)
LONGEST: Final = timedelta(hours=8)
_SEEN_EVERY: Final = timedelta(minutes=1)
_NONCE: Final = 12


class SessionError(ValueError):
    """A role that does not exist, or a handle that this session did not make."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Somebody who may sign in. `member` limits what they see to entries that name this member; None is the node."""

    user: str
    name: str
    role: Role
    member: str | None = None


@dataclass(frozen=True, slots=True)
class Session:
    """A signed-in person. `csrf` stands in every form of the session's pages."""

    identity: Identity
    csrf: str
    key: bytes

    def __repr__(self) -> str:
        return f"Session(role={self.identity.role!r})"

    def handle(self, subject: str) -> str:
        """What stands for a person in addresses, in this session only."""
        nonce = secrets.token_bytes(_NONCE)
        sealed = AESGCM(self.key).encrypt(nonce, subject.encode(), b"person")
        return base64.urlsafe_b64encode(nonce + sealed).decode().rstrip("=")

    def subject(self, handle: str) -> str:
        """The person whom a handle of this session stands for. Raises SessionError."""
        try:
            data = base64.urlsafe_b64decode(handle + "=" * (-len(handle) % 4))
            return AESGCM(self.key).decrypt(data[:_NONCE], data[_NONCE:], b"person").decode()
        except (InvalidTag, binascii.Error, ValueError) as error:
            raise SessionError("this address was made for another session") from error


def role(text: str) -> Role:
    """The role of that name. Raises SessionError."""
    try:
        return Role(text)
    except ValueError:
        raise SessionError(f"{text!r} is not a role; use one of {', '.join(ROLES)}") from None


def _digest(token: str) -> bytes:
    return sha256(token.encode()).digest()


def _derived(token: str, purpose: bytes) -> bytes:
    return hmac.digest(token.encode(), b"console\x00" + purpose, "sha256")


class Sessions:
    """The sessions in one database; any replica of the node knows them."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._writer = engine.execution_options(writes=True)

    def open(self, identity: Identity, now: datetime, *, instead_of: str | None = None) -> str:
        """Sign somebody in and give the new cookie; the session that the browser had before ends."""
        token = secrets.token_urlsafe(32)
        with self._writer.begin() as connection:
            gone = or_(
                sessions.c.created <= micros(now - LONGEST),
                sessions.c.seen <= micros(now - IDLE),
                sessions.c.token == _digest(instead_of or ""),
            )
            connection.execute(delete(sessions).where(gone))
            connection.execute(
                insert(sessions).values(
                    token=_digest(token),
                    user_id=identity.user,
                    name=identity.name[:200],
                    role=str(identity.role),
                    member=identity.member,
                    created=micros(now),
                    seen=micros(now),
                )
            )
        return token

    def find(self, token: str, now: datetime) -> Session | None:
        """The session of a cookie; None if there is none, or it was idle or open for too long."""
        with self._engine.connect() as connection:
            row = connection.execute(select(sessions).where(sessions.c.token == _digest(token))).first()
        if row is None or row.created <= micros(now - LONGEST) or row.seen <= micros(now - IDLE):
            return None
        if row.seen <= micros(now - _SEEN_EVERY):
            with self._writer.begin() as connection:
                connection.execute(update(sessions).where(sessions.c.token == row.token).values(seen=micros(now)))
        identity = Identity(row.user_id, row.name, role(row.role), row.member)
        return Session(identity, _derived(token, b"form").hex(), _derived(token, b"handle"))

    def end(self, token: str) -> None:
        """Sign out."""
        with self._writer.begin() as connection:
            connection.execute(delete(sessions).where(sessions.c.token == _digest(token)))


def offer_link(connection: Connection, offered: Identity, now: datetime, valid: timedelta) -> str:
    """Make a token that signs somebody in once, until `valid` has passed. Only its SHA-256 is kept."""
    token = secrets.token_urlsafe(32)
    connection.execute(delete(links).where(links.c.expires <= micros(now)))
    connection.execute(
        insert(links).values(
            token=_digest(token),
            name=offered.name[:200],
            role=str(offered.role),
            member=offered.member,
            expires=micros(now + valid),
        )
    )
    return token


def redeem_link(connection: Connection, token: str, now: datetime) -> Identity | None:
    """Use a token up. None if there is none of that kind, it was used before, or its time is over."""
    row = connection.execute(
        delete(links)
        .where(links.c.token == _digest(token))
        .returning(links.c.name, links.c.role, links.c.member, links.c.expires)
    ).first()
    if row is None or row.expires <= micros(now):
        return None
    return Identity("", row.name, role(row.role), row.member)
