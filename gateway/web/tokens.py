"""Access tokens for the organisation's own systems: OAuth 2.0 client credentials, without any shared secret.

A system proves who it is by a short JWT that it signs with its own key (`private_key_jwt`); the node knows only the
public keys that the settings register for it. What it gets in return is good for five minutes, for this node, for that
client, and, where the system had shown a certificate when it asked, for connections with that certificate only. Each
assertion is taken once: its id is stored where the ids of messages are, so other replicas and the time after a restart
know of it too.
Source: RFC 6749 section 4.4, RFC 7521, RFC 7523 section 3, RFC 8705 section 3, RFC 8725, RFC 9068.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NoReturn

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from sqlalchemy import Connection

from audit.log.entries import new_id
from audit.log.log import Log
from audit.log.waiting import Written
from gateway.storage.replay import Replays
from gateway.wire.problems import ProblemError

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ACCESS_LIFETIME = timedelta(minutes=5)
ASSERTION_LIFETIME = timedelta(minutes=5)
CLOCK_TOLERANCE = timedelta(seconds=5)
ASSERTION_LIMIT = 8192
_MEDIA_TYPE = "at+jwt"
_ALGORITHMS = ("ES256", "EdDSA")
_JTI = re.compile(r"[\x21-\x7e]{8,128}")


class KeySetError(ValueError):
    """A JWK set that cannot be used; the message says which key and why."""


@dataclass(frozen=True, slots=True)
class ClientKeys:
    """The public keys of one client, by their `kid`; the key under the empty name serves assertions without one."""

    client: str
    keys: Mapping[str, jwt.PyJWK] = field(repr=False)

    @classmethod
    def read(cls, client: str, path: Path) -> ClientKeys:
        """Read a JWK set of P-256 and Ed25519 public keys. Raises KeySetError."""
        try:
            document = json.loads(path.read_text("utf-8"))
        except OSError as error:
            raise KeySetError(f"{path} cannot be read: {error.strerror}") from None
        except ValueError:
            raise KeySetError(f"{path} is not JSON in UTF-8") from None
        listed = document.get("keys") if isinstance(document, dict) else None
        if not isinstance(listed, list) or not listed:
            raise KeySetError(f'{path} is no JWK set: write {{"keys": [ … ]}} with at least one key')
        keys: dict[str, jwt.PyJWK] = {}
        for number, one in enumerate(listed, 1):
            name, key = _public_key(path, number, one)
            if name in keys:
                raise KeySetError(f"{path}: key {number} has the same kid as another; give each key a kid of its own")
            keys[name] = key
        if "" not in keys and len(keys) == 1:
            keys[""] = next(iter(keys.values()))
        return cls(client, keys)


@dataclass(frozen=True, slots=True)
class AccessToken:
    """A token for one client, and how long it is good, in seconds."""

    text: str = field(repr=False)
    expires_in: int


class Tokens:
    """Gives access tokens to clients that prove themselves, and recognises them again."""

    def __init__(
        self, node: str, key: Ed25519PrivateKey, clients: Iterable[ClientKeys], *, log: Log, replays: Replays
    ) -> None:
        self.issuer = f"urn:yhdyspinta:node:{node}"
        self.use((key,))
        self._clients: Mapping[str, Mapping[str, jwt.PyJWK]] = {}
        self._log = log
        self._replays = replays
        self.register(clients)

    def use(self, keys: Sequence[Ed25519PrivateKey]) -> None:
        """Sign with the first of these keys from now on, and know tokens by each of them."""
        self._key, self._public = keys[0], tuple(key.public_key() for key in keys)

    def register(self, clients: Iterable[ClientKeys]) -> None:
        """Know these clients' keys from now on, and no others."""
        self._clients = {client.client: client.keys for client in clients}

    async def grant(self, assertion: str, pin: str | None, now: datetime) -> AccessToken:
        """A token for the client that signed the assertion; `pin` is the thumbprint of the certificate it showed.

        Raises ProblemError `assertion-refused`, and LogError if the assertion's id could not be stored.
        """
        client, jti, expires = self._verified(assertion, now)
        # Longer than any UUID and of fixed form, so that it can never meet the id of a message.
        name = hashlib.sha256(f"assertion\0{client}\0{jti}".encode()).hexdigest()

        def take(connection: Connection) -> Written[None]:
            self._replays.take(connection, name, expires)
            return Written(None, ())

        try:
            await self._log.commit(take)
        except ProblemError:
            _refuse("the assertion was used before", "sign a new one, with a jti of its own, for each token")
        return AccessToken(self._signed(client, pin, now), int(ACCESS_LIFETIME.total_seconds()))

    def client_of(self, token: str, pin: str | None, now: datetime) -> str:
        """The name of the client to whom we gave this token. Raises ProblemError `token-refused`, `token-expired`."""
        try:
            header = jwt.get_unverified_header(token)
            claims = self._decoded(token)
        except (jwt.PyJWTError, ValueError):
            raise _token_refused("the access token is not one of this node") from None
        if header.get("typ") != _MEDIA_TYPE or claims["iss"] != self.issuer or claims["aud"] != self.issuer:
            raise _token_refused("this is not an access token of this node")
        if now.timestamp() >= claims["exp"]:
            raise ProblemError("token-expired", detail="the access token is past its time", remedy="get a new one")
        bound = claims.get("cnf", {}).get("x5t#S256")
        if bound is not None and bound != pin:
            raise _token_refused("the access token is bound to a certificate that this connection does not show")
        if claims["sub"] not in self._clients:
            raise _token_refused("the client has no key here any more")
        return str(claims["sub"])

    def _decoded(self, token: str) -> dict[str, Any]:
        """What a token says that one of our keys has signed. Raises PyJWTError."""
        first, *former = self._public
        for key in former:
            with suppress(jwt.InvalidSignatureError):
                return jwt.decode(token, key, algorithms=["EdDSA"], options=_OPTIONS)
        return jwt.decode(token, first, algorithms=["EdDSA"], options=_OPTIONS)

    def _verified(self, assertion: str, now: datetime) -> tuple[str, str, datetime]:
        if len(assertion) > ASSERTION_LIMIT:
            _refuse(f"an assertion has at most {ASSERTION_LIMIT} characters")
        try:
            header = jwt.get_unverified_header(assertion)
            client = jwt.decode(assertion, options={"verify_signature": False}).get("sub")
        except (jwt.PyJWTError, ValueError):
            _refuse("the assertion is not a JWT")
        keys = self._clients.get(client) if isinstance(client, str) else None
        key = keys.get(header.get("kid", "")) if keys is not None else None
        # One and the same answer for a stranger, for a client without keys and for a key that is not listed.
        if key is None or header.get("alg") != key.algorithm_name:
            _refuse("no registered client has such a key", "register the public key in the client's jwks")
        if header.keys() - {"alg", "typ", "kid"}:
            _refuse("the header may hold alg, typ and kid only")
        try:
            claims = jwt.decode(assertion, key.key, algorithms=[key.algorithm_name], options=_OPTIONS)
        except (jwt.PyJWTError, ValueError):
            _refuse("the signature is not that of the client's key")
        return self._checked(claims, str(client), now)

    def _checked(self, claims: dict[str, Any], client: str, now: datetime) -> tuple[str, str, datetime]:
        if claims.get("iss") != client:
            _refuse("iss and sub are both the client's name")
        # One audience and no other: what was signed for another server must be of no use here.
        if claims.get("aud") not in (self.issuer, [self.issuer]):
            _refuse("aud is not this node", f"write {self.issuer}")
        jti, exp = claims.get("jti"), claims.get("exp")
        if not isinstance(jti, str) or _JTI.fullmatch(jti) is None:
            _refuse("jti is a text of 8 to 128 visible characters")
        seconds = now.timestamp()
        tolerance = CLOCK_TOLERANCE.total_seconds()
        for name in ("iat", "nbf"):
            value = claims.get(name, 0)
            if type(value) is not int or value > seconds + tolerance:
                _refuse(f"{name} is no time, or later than now", "set the clock")
        if type(exp) is not int or not seconds - tolerance < exp <= seconds + ASSERTION_LIFETIME.total_seconds():
            _refuse("exp is missing, past, or more than five minutes away", "sign each assertion when it is needed")
        return client, jti, datetime.fromtimestamp(exp, now.tzinfo)

    def _signed(self, client: str, pin: str | None, now: datetime) -> str:
        issued = int(now.timestamp())
        claims: dict[str, Any] = {
            "iss": self.issuer,
            "aud": self.issuer,
            "sub": client,
            "client_id": client,
            "iat": issued,
            "exp": issued + int(ACCESS_LIFETIME.total_seconds()),
            "jti": new_id(now),
        }
        if pin is not None:
            claims["cnf"] = {"x5t#S256": pin}
        return jwt.encode(claims, self._key, algorithm="EdDSA", headers={"typ": _MEDIA_TYPE})


# Times are held against the node's clock and not against that of the library; the audience by equality.
_OPTIONS: Any = {
    "verify_exp": False,
    "verify_iat": False,
    "verify_nbf": False,
    "verify_aud": False,
    "require": ["exp", "sub", "iss", "aud"],
}


def _public_key(path: Path, number: int, one: object) -> tuple[str, jwt.PyJWK]:
    if not isinstance(one, dict):
        raise KeySetError(f"{path}: key {number} is not a JSON object")
    if "d" in one or one.get("kty") == "oct":
        raise KeySetError(f"{path}: key {number} is a secret; register public keys only, and replace this one")
    name = one.get("kid", "")
    try:
        key = jwt.PyJWK(one)
    except (jwt.PyJWTError, ValueError, TypeError, KeyError):
        raise KeySetError(f"{path}: key {number} cannot be read as a JWK") from None
    public = key.key
    p256 = isinstance(public, EllipticCurvePublicKey) and isinstance(public.curve, SECP256R1)
    if not isinstance(name, str) or not (p256 or isinstance(public, Ed25519PublicKey)):
        raise KeySetError(f"{path}: key {number} is neither a P-256 nor an Ed25519 key")
    if key.algorithm_name not in _ALGORITHMS:
        raise KeySetError(f"{path}: key {number} names an algorithm that is not one of {', '.join(_ALGORITHMS)}")
    return name, key


def _refuse(detail: str, remedy: str = "") -> NoReturn:
    raise ProblemError("assertion-refused", detail=detail, remedy=remedy)


def _token_refused(detail: str) -> ProblemError:
    return ProblemError("token-refused", detail=detail, remedy="get a token at /oauth/token")
