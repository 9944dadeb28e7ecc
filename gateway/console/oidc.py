"""Sign in by OpenID Connect: authorization code flow with PKCE, against the organisation's own provider.

The provider is found by its discovery document, which is read again when a day has passed or a signature names a key
that is not known. State, nonce and PKCE verifier are derived from one random cookie that the browser holds while it is
away, so that an answer counts only in the browser that asked.
Sources: OpenID Connect Core 1.0 section 3.1 and Discovery 1.0; RFC 7636 (PKCE); RFC 9207 (issuer in the answer).
"""

from __future__ import annotations

import hmac
import ssl
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote, urlsplit

import aiohttp
import orjson
from authlib.oauth2.rfc6749.parameters import prepare_grant_uri
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from gateway.console.sessions import Identity
from gateway.desk.roles import Role

ALGORITHMS: Final = ("ES256", "PS256", "RS256", "EdDSA")
_TIMEOUT: Final = aiohttp.ClientTimeout(total=10)
_FRESH: Final = 86_400.0
_LIMIT: Final = 256 * 1024
_LEEWAY: Final = 60


class SignInError(Exception):
    """Nobody was signed in; `code` says why: `provider`, `answer`, `token` or `no-role`."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Provider:
    """The organisation's provider and what its claims mean here.

    `roles` maps each role to the values of the claim `role_claim` that give it; the first role in the order officer,
    auditor, registrar, operator counts.
    `member_claim`, if set, names the claim with the id of the member that a person is limited
    to; who has no such claim is not let in.
    """

    issuer: str
    client_id: str
    client_secret: str = field(repr=False, default="")
    role_claim: str = "roles"
    roles: Mapping[Any, Sequence[str]] = field(default_factory=dict)
    member_claim: str | None = None
    scopes: tuple[str, ...] = ("openid", "profile")


class Door:
    """Sends people to the provider and reads what they bring back."""

    def __init__(self, provider: Provider, redirect_uri: str, tls: ssl.SSLContext | None = None) -> None:
        self._provider = provider
        self._redirect = redirect_uri
        self._tls = tls
        self._metadata: tuple[float, dict[str, Any]] | None = None
        self._keys: KeySet | None = None

    async def away(self, cookie: str) -> str:
        """The address at the provider to which the browser goes. Raises SignInError."""
        metadata = await self._discover()
        return str(
            prepare_grant_uri(
                metadata["authorization_endpoint"],
                client_id=self._provider.client_id,
                response_type="code",
                redirect_uri=self._redirect,
                scope=" ".join(self._provider.scopes),
                state=_derived(cookie, "state"),
                nonce=_derived(cookie, "nonce"),
                code_challenge=create_s256_code_challenge(_derived(cookie, "verifier")),
                code_challenge_method="S256",
            )
        )

    async def back(self, cookie: str, answer: Mapping[str, str], now: float) -> Identity:
        """Who came back. `now` is in seconds since the epoch. Raises SignInError."""
        if not hmac.compare_digest(answer.get("state", "").encode(), _derived(cookie, "state").encode()):
            raise SignInError("answer", "the answer belongs to another sign-in")
        metadata = await self._discover()
        if answer.get("iss", metadata["issuer"]) != metadata["issuer"]:
            raise SignInError("answer", "the answer comes from another provider")
        if "code" not in answer:
            raise SignInError("answer", "the provider signed nobody in")
        token = await self._redeem(metadata, answer["code"], _derived(cookie, "verifier"))
        claims = await self._claims(metadata, token, _derived(cookie, "nonce"), now)
        return self._identity(claims)

    async def _redeem(self, metadata: Mapping[str, Any], code: str, verifier: str) -> str:
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._redirect,
            "client_id": self._provider.client_id,
            "code_verifier": verifier,
        }
        headers = {}
        if self._provider.client_secret:
            headers["authorization"] = aiohttp.encode_basic_auth(
                quote(self._provider.client_id, safe=""), quote(self._provider.client_secret, safe="")
            )
        document = await self._ask("POST", metadata["token_endpoint"], form, headers)
        token = document.get("id_token")
        if not isinstance(token, str):
            raise SignInError("token", "the provider gave no ID token")
        return token

    async def _claims(self, metadata: Mapping[str, Any], token: str, nonce: str, now: float) -> Mapping[str, Any]:
        for fresh in (False, True):
            keys = await self._key_set(metadata, fresh=fresh)
            try:
                decoded = jwt.decode(token, keys, algorithms=list(ALGORITHMS))
                claims = CodeIDToken(
                    decoded.claims,
                    decoded.header,
                    options={
                        "iss": {"essential": True, "value": metadata["issuer"]},
                        "aud": {"essential": True, "value": self._provider.client_id},
                        "nonce": {"essential": True, "value": nonce},
                    },
                    params={"nonce": nonce, "client_id": self._provider.client_id},
                )
                claims.validate(now=int(now), leeway=_LEEWAY)
                return dict(claims)
            except (JoseError, ValueError, KeyError) as error:
                # The provider may have changed its keys since they were read: look once more, then believe it.
                if fresh:
                    raise SignInError("token", f"the ID token does not hold ({type(error).__name__})") from None
        raise SignInError("token", "the ID token does not hold")

    def _identity(self, claims: Mapping[str, Any]) -> Identity:
        provider = self._provider
        stated = claims.get(provider.role_claim, ())
        values = {stated} if isinstance(stated, str) else {value for value in stated if isinstance(value, str)}
        order = (Role.OFFICER, Role.AUDITOR, Role.REGISTRAR, Role.OPERATOR)
        role = next((role for role in order if values & set(provider.roles.get(role, ()))), None)
        if role is None:
            raise SignInError("no-role", "the provider's claims give no role in the console")
        member = None
        if provider.member_claim is not None:
            member = claims.get(provider.member_claim)
            if not isinstance(member, str) or not member:
                raise SignInError("no-role", "the provider's claims name no member")
        name = claims.get("name") or claims.get("preferred_username") or role
        return Identity(f"{claims['iss']}\x00{claims['sub']}", str(name), role, member)

    async def _discover(self) -> dict[str, Any]:
        if self._metadata is not None and time.monotonic() - self._metadata[0] < _FRESH:
            return self._metadata[1]
        issuer = self._provider.issuer.rstrip("/")
        document = await self._ask("GET", f"{issuer}/.well-known/openid-configuration")
        wanted = ("issuer", "authorization_endpoint", "token_endpoint", "jwks_uri")
        if any(not isinstance(document.get(name), str) for name in wanted):
            raise SignInError("provider", "the provider's discovery document is incomplete")
        if document["issuer"].rstrip("/") != issuer:
            raise SignInError("provider", "the provider's discovery document names another issuer")
        for name in wanted:
            if not _safe(document[name]):
                raise SignInError("provider", f"the provider's {name} is not an https address")
        self._metadata = (time.monotonic(), document)
        return document

    async def _key_set(self, metadata: Mapping[str, Any], *, fresh: bool) -> KeySet:
        if self._keys is None or fresh:
            document = await self._ask("GET", metadata["jwks_uri"])
            try:
                self._keys = KeySet.import_key_set({"keys": document["keys"]})
            except (JoseError, KeyError, ValueError, TypeError):
                raise SignInError("provider", "the provider's keys cannot be read") from None
        return self._keys

    async def _ask(
        self, method: str, url: str, form: Mapping[str, str] | None = None, headers: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        try:
            async with (
                aiohttp.ClientSession(timeout=_TIMEOUT, headers=headers) as session,
                session.request(method, url, data=form, ssl=self._tls or True, allow_redirects=False) as answer,
            ):
                if answer.status != 200:
                    raise SignInError("provider", f"the provider answered {answer.status}")
                body = b""
                async for chunk in answer.content.iter_chunked(16_384):
                    body += chunk
                    if len(body) > _LIMIT:
                        raise SignInError("provider", "the provider's answer is too long")
                document = orjson.loads(body)
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise SignInError("provider", f"the provider could not be asked ({type(error).__name__})") from None
        if not isinstance(document, dict):
            raise SignInError("provider", "the provider's answer is not an object")
        return document


def _derived(cookie: str, purpose: str) -> str:
    return hmac.digest(cookie.encode(), f"sign-in\x00{purpose}".encode(), "sha256").hex()


def _safe(url: str) -> bool:
    """https, or plain http on this machine (a provider behind the same reverse proxy, or a test's)."""
    parts = urlsplit(url)
    return parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in {"localhost", "127.0.0.1", "::1"})
