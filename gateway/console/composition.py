"""The data protection officer's console on this node: the desk with an address, and who may come in."""

from __future__ import annotations

import ssl
from collections.abc import Callable

from starlette.types import ASGIApp

from gateway.console.office import Condition, IdentifierKind, Office
from gateway.console.oidc import Door, Provider
from gateway.console.shell import console
from gateway.desk.desk import Desk
from gateway.settings import ConsoleSettings, OpenIdSettings, Settings
from schemas.identifiers import HETU, LOCAL, MIGRI_CUSTOMER

ANSWER_PATH = "/sign-in/answer"
IDENTIFIERS = (
    IdentifierKind("personal-identity-code", HETU),
    IdentifierKind("customer-number", MIGRI_CUSTOMER),
    IdentifierKind("local-number", LOCAL),
)


def console_app(
    settings: Settings, address: str, desk: Desk, condition: Callable[[], Condition] = Condition
) -> ASGIApp:
    """The console of this node, reached by browsers at `address`."""
    office = Office(address, desk, IDENTIFIERS, condition)
    return console(office, _door(settings.console.openid, address))


def address_of(settings: ConsoleSettings, host: str, port: int) -> str:
    """Where browsers reach the console: as the settings say, else on this machine."""
    if settings.address is not None:
        return settings.address
    return f"{'https' if settings.tls is not None else 'http'}://{_spoken(host)}:{port}"


def _spoken(host: str) -> str:
    return "localhost" if host in {"127.0.0.1", "::1", "localhost"} else host


def _door(settings: OpenIdSettings | None, address: str) -> Door | None:
    if settings is None:
        return None
    provider = Provider(
        issuer=settings.issuer,
        client_id=settings.client_id,
        client_secret=settings.client_secret.read_text("utf-8").strip() if settings.client_secret else "",
        role_claim=settings.role_claim,
        roles=settings.roles,
        member_claim=settings.member_claim,
    )
    tls = None
    if settings.certificate_authority is not None:
        tls = ssl.create_default_context(cafile=str(settings.certificate_authority))
    return Door(provider, f"{address}{ANSWER_PATH}", tls)
