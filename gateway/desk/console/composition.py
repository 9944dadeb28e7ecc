"""The data protection officer's console on this node: the audit room's pages, with names, duties and boards added.

The audit room knows nothing of a node. Here it is given what a node knows: what organisations are called, which bases
the rulebook has, who may sign in and how; and the pages that need more than the log.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import TypeVar

from starlette.types import ASGIApp

from audit.questions.report import Controller
from audit.tree.checkpoint import VerifierKey
from consent import replaying
from consent.explaining import explain
from consent.rulebook import Rulebook, load
from gateway.desk.console.boards import annex
from gateway.desk.console.office import IdentifierKind, Office, Reasons
from gateway.desk.console.oidc import Door, Provider
from gateway.desk.console.shell import console
from gateway.desk.describing import activities, hidden_bases, names_of
from gateway.desk.officer import Officer
from gateway.exchange.context import Exchange
from gateway.exchange.keeping import kept_decisions, kept_rulebook
from gateway.registry.read.entries import witness_name
from gateway.registry.read.standing import Standing
from gateway.settings import ConsoleSettings, OpenIdSettings, Settings
from schemas.identifiers import HETU, MIGRI_CUSTOMER, SubjectIdentifierError, canonical

ANSWER_PATH = "/sign-in/answer"
T = TypeVar("T")

Latest = Callable[[], Standing | None]
"""The registry and rulebook that the node has, in force or expired: the console is needed most when something fails."""


def console_app(settings: Settings, address: str, exchange: Exchange, latest: Latest, officer: Officer) -> ASGIApp:
    """The console of this node, reached by browsers at `address`."""
    names = Named(latest)
    office = Office(
        address=address,
        node=exchange.node,
        organisation=lambda language: names.organisation(exchange, language),
        engine=exchange.engine,
        log=exchange.log,
        log_key=exchange.log.verifier,
        subjects=exchange.subjects,
        clock=exchange.clock,
        identifiers=(
            IdentifierKind("personal-identity-code", HETU, partial(_written, HETU)),
            IdentifierKind("customer-number", MIGRI_CUSTOMER, partial(_written, MIGRI_CUSTOMER)),
        ),
        witnesses=lambda: _witnesses(latest),
        names=names,
        controller=lambda language: Controller(
            settings.audit.controller or names.organisation(exchange, language),
            settings.audit.contact,
            settings.audit.officer,
        ),
        activities=lambda language: _of_rulebook(latest, lambda book: activities(book, language)),
        hidden_bases=lambda: _of_rulebook(latest, lambda book: tuple(hidden_bases(book))),
        thresholds=settings.audit.unusual.thresholds(),
        reasons=lambda entry, language: _reasons(exchange, entry, language),
        find=officer.find,
        at=lambda connection, index: officer.locate(connection, str(index)),
        checking=officer.checking,
    )
    return console(office, _door(settings.console.openid, address), (annex(exchange, latest, officer.proposals),))


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


def _written(system: str, text: str) -> str | None:
    """An identifier in its one notation; None if it cannot be one of this system."""
    try:
        return canonical(system, text)[1]
    except SubjectIdentifierError:
        return None


class Named:
    """What codes are called, by the registry and the rulebook that the node has."""

    def __init__(self, latest: Latest) -> None:
        self._latest = latest
        self._names = names_of(latest)

    def __call__(self, kind: str, code: str, language: str) -> str | None:
        """The name of a code of one of the kinds that the console asks for; None if it has none."""
        if kind not in {"log", "witness"}:
            return self._names(kind, code, language)
        standing = self._latest()
        return None if standing is None else self._log(standing, code, language)

    def organisation(self, exchange: Exchange, language: str) -> str:
        """The organisation whose node this is."""
        own = exchange.subsystems[0]
        standing = self._latest()
        member = standing.registry.member(own.member) if standing is not None else None
        return member.name.in_language(language) if member is not None else str(own.member)

    @staticmethod
    def _log(standing: Standing, code: str, language: str) -> str | None:
        node = next(
            (one for one in standing.registry.content.nodes if code in (one.id, one.log_origin, witness_name(one.id))),
            None,
        )
        member = standing.registry.member(node.owner) if node is not None else None
        return member.name.in_language(language) if member is not None else None


def _witnesses(latest: Latest) -> Sequence[VerifierKey]:
    standing = latest()
    return standing.registry.witness_keys if standing is not None else ()


def _of_rulebook(latest: Latest, ask: Callable[[Rulebook], Sequence[T]]) -> Sequence[T]:
    standing = latest()
    return ask(standing.rulebook) if standing is not None else ()


def _reasons(exchange: Exchange, entry: str, language: str) -> Reasons | None:
    """Why the decision of a log entry fell as it did: made again from what was kept, and put into words."""
    kept = next(iter(list(kept_decisions(exchange.engine, exchange.subjects, entry=entry))), None)
    if kept is None or kept.recorded is None or kept.consents is None:
        return None
    text = kept_rulebook(exchange.engine, kept.rulebook)
    if text is None:
        return None
    book = _loaded(text)
    decision = replaying.again(kept.recorded, book, kept.consents)
    return Reasons(explain(decision, book, language), decision.canonical() == kept.recorded.canonical)


@lru_cache(maxsize=4)
def _loaded(text: bytes) -> Rulebook:
    return load(text)
