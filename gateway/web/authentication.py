"""Which information system calls: by its registered certificate or by an access token.

A caller is one of the clients that the node's settings register. Nothing else about the connection counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

from fastapi import Request

from gateway.protocol.identifiers import ServiceId, SubsystemId
from gateway.protocol.problems import ProblemError
from gateway.protocol.signing import thumbprint
from gateway.web.listeners import CERTIFICATE

ANY = frozenset({"*"})


@dataclass(frozen=True, slots=True)
class Caller:
    """A registered client and what it may do."""

    name: str
    subsystem: SubsystemId
    actions: frozenset[str]
    services: frozenset[str]
    purposes: frozenset[str]
    categories: frozenset[str]
    default_purpose: str | None
    default_categories: frozenset[str]

    def may(self, action: str) -> None:
        """Refuse an action that the client has no right to. Raises ProblemError `client-not-permitted`."""
        if action not in self.actions:
            raise _not_permitted("action", action)

    def may_ask(self, service: ServiceId, purpose: str, categories: frozenset[str]) -> None:
        """Refuse a service, purpose or category beyond the client's rights. Raises ProblemError."""
        self.may_hand_over(service, purpose, categories)

    def may_hand_over(self, service: ServiceId | None, purpose: str, categories: frozenset[str]) -> None:
        """Refuse to send to a service (if it is known yet), for a purpose, what is beyond the client's rights."""
        if service is not None and self.services != ANY and str(service) not in self.services:
            raise _not_permitted("service", str(service))
        self.may_open(purpose, categories)

    def may_open(self, purpose: str, categories: frozenset[str]) -> None:
        """Refuse a purpose or categories beyond the client's rights. Raises ProblemError."""
        if self.purposes != ANY and purpose not in self.purposes:
            raise _not_permitted("purpose", purpose)
        beyond = categories - self.categories
        if self.categories != ANY and beyond:
            raise _not_permitted("categories", ", ".join(sorted(beyond)))


def _not_permitted(kind: str, what: str) -> ProblemError:
    return ProblemError(
        "client-not-permitted",
        detail=f"this client has no right to the {kind} {what}",
        remedy="have the right added to the client in the node's settings",
    )


@dataclass(frozen=True, slots=True)
class Registered:
    """One client of the settings, with the thumbprints of its certificates (base64url of SHA-256)."""

    caller: Caller
    certificates: frozenset[str]


class Callers:
    """Finds the caller of a request."""

    def __init__(
        self,
        registered: Iterable[Registered],
        *,
        tokens: Callable[[str, str | None, datetime], str] | None,
        clock: Callable[[], datetime],
    ) -> None:
        clients = tuple(registered)
        self._by_name = {one.caller.name: one.caller for one in clients}
        self._by_certificate = {certificate: one.caller for one in clients for certificate in one.certificates}
        self._tokens = tokens
        self._clock = clock

    def identify(self, request: Request) -> Caller:
        """The client that calls. Raises ProblemError `not-authenticated`, `client-unknown` or `token-refused`."""
        certificate: bytes | None = request.scope.get(CERTIFICATE)
        pin = thumbprint(certificate) if certificate is not None else None
        authorization = request.headers.get("authorization", "")
        if authorization[:7].lower() == "bearer " and self._tokens is not None:
            caller = self._by_name.get(self._tokens(authorization[7:].strip(), pin, self._clock()))
            shown = self._by_certificate.get(pin) if pin is not None else None
            if shown is not None and shown is not caller:
                raise ProblemError(
                    "token-refused",
                    detail="the access token and the certificate are of two different clients",
                    remedy="use the token of the client that connects",
                )
        elif pin is not None:
            caller = self._by_certificate.get(pin)
        else:
            raise ProblemError(
                "not-authenticated",
                detail="the caller showed neither a certificate nor an access token",
                remedy="connect with the client's certificate, or get a token at /oauth/token",
            )
        if caller is None:
            raise ProblemError(
                "client-unknown",
                detail="the settings register no client with this certificate or token",
                remedy="add the client to the node's settings",
            )
        request.state.caller = caller
        return caller
