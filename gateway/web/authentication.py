"""Which information system calls: by its registered certificate or by an access token.

A caller is one of the clients that the node's settings register, and neither it nor the certificate that it shows has
been revoked. Nothing else about the connection counts. Who is refused is told to whoever counts refusals.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

from fastapi import Request

from gateway.person.values import Register
from gateway.storage.revocations import Revocations
from gateway.web.listeners import ADMITTED, CERTIFICATE
from gateway.wire.identifiers import ServiceId, SubsystemId
from gateway.wire.problems import ProblemError
from gateway.wire.signing import thumbprint

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
    #: Whether the records of its register are believed when they name two identifiers together.
    is_authoritative: bool = False

    @property
    def register(self) -> Register:
        """The register that its records come from."""
        return Register(self.name, self.is_authoritative)

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
        refused: Callable[[str, str], None] | None = None,
    ) -> None:
        """`refused` is told the problem code and the thumbprint of the certificate, of those who showed one."""
        self._by_name: dict[str, Caller] = {}
        self._by_certificate: dict[str, Caller] = {}
        self._revoked = Revocations()
        self._tokens = tokens
        self._clock = clock
        self._refused = refused
        self.register(registered)

    def register(self, registered: Iterable[Registered]) -> None:
        """Know these clients from now on, and no others."""
        clients = tuple(registered)
        self._by_name = {client.caller.name: client.caller for client in clients}
        self._by_certificate = {certificate: client.caller for client in clients for certificate in client.certificates}

    def shut_out(self, revoked: Revocations) -> None:
        """Refuse these certificates and clients from now on, on open connections too."""
        self._revoked = revoked

    def identify(self, request: Request) -> Caller:
        """The client that calls. Raises ProblemError.

        `not-authenticated`, `client-unknown`, `client-revoked`, or what is wrong with its access token.
        """
        caller = request.scope.get(ADMITTED)
        if not isinstance(caller, Caller):
            # No listener that asked at the head of the request stands before this application.
            caller = self.recognise(request.scope.get(CERTIFICATE), request.headers.get("authorization", ""))
        request.state.caller = caller
        return caller

    def recognise(self, certificate: bytes | None, authorization: str) -> Caller:
        """The client that shows this certificate (DER) or access token. Raises ProblemError as `identify` does."""
        pin = thumbprint(certificate) if certificate is not None else None
        try:
            return self._recognise(authorization, pin)
        except ProblemError as problem:
            # What comes without a certificate is a stranger's, and no concern of the audit log.
            if self._refused is not None and pin is not None:
                self._refused(problem.code, pin)
            raise

    def known(self, certificate: bytes | None, authorization: str) -> Caller | None:
        """The client that shows these, or None for a stranger, of whom nobody is told."""
        try:
            return self._recognise(authorization, thumbprint(certificate) if certificate is not None else None)
        except ProblemError:
            return None

    def _recognise(self, authorization: str, pin: str | None) -> Caller:
        if pin in self._revoked.certificates:
            raise ProblemError("client-revoked", detail="the certificate of this client has been revoked")
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
        if caller.name in self._revoked.clients:
            raise ProblemError("client-revoked", detail="this client has been shut out")
        return caller
