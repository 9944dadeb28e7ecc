"""What a delivery brings with it to the node that takes it in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from sqlalchemy import Connection

from audit.log.entries import Entry
from audit.questions.subjects import Subject
from consent.deciding.verdicts import Decision
from gateway.exchange.context import Exchange
from gateway.exchange.deciding import facts_of
from gateway.exchange.opening import Incoming
from gateway.obligations import arising
from gateway.obligations.arising import Moved
from gateway.story import Story
from schemas.facts import identifiers


@dataclass(frozen=True, slots=True)
class Brought:
    """What a delivery brings: the record, which categories it holds, and by which decision of ours it is taken in.

    `is_told` is whether its sender says that it tells the person of what goes by their word.
    """

    bundle: dict[str, Any]
    categories: frozenset[str]
    decision: Decision
    is_told: bool = False


def moved_by(
    exchange: Exchange, connection: Connection, incoming: Incoming, brought: Brought, subject: Subject
) -> Moved:
    """The same as data that we got about a person."""
    subsystem = incoming.service.id.subsystem
    return Moved(
        decision=brought.decision,
        rulebook=incoming.rulebook,
        categories=brought.categories,
        facts=facts_of(brought.bundle, incoming.registry, incoming.now),
        subject=subject,
        under=exchange.subjects_of(subsystem).found_under(connection, [subject.id]),
        named=[(identifier.system, identifier.value) for identifier in identifiers(brought.bundle)],
        ours=subsystem.member,
        party=incoming.claims.issuer,
        message=incoming.claims.message_id,
        purpose=incoming.claims.purpose,
        language=language_of(brought.bundle),
        is_told=brought.is_told,
    )


def language_of(bundle: Mapping[str, Any]) -> str | None:
    """The person's language, if the record says it."""
    for spoken in bundle["entry"][0]["resource"].get("communication", ()):
        for coding in spoken.get("language", {}).get("coding", ()):
            if isinstance(coding.get("code"), str):
                return str(coding["code"])
    return None


def taken_in(exchange: Exchange, connection: Connection, moved: Moved, receipt: Entry) -> tuple[Entry, ...]:
    """Put on record what comes with it, in the transaction that takes it in."""
    # The entry of a query names us as the recipient; that of a delivery names who brought it.
    is_query = receipt.source == str(moved.party)
    recipient = receipt.agents.recipient if is_query else receipt.source
    story = Story(
        node=exchange.node,
        recipient=recipient,
        source=str(moved.party),
        message_id=moved.message,
        subject=moved.subject.pseudonym,
        purpose=moved.purpose,
        rulebook=moved.rulebook.digest,
        case=receipt.case,
    )
    return arising.got(connection, story, moved, receipt.recorded)


def kept_until(moved: Moved, receipt: Entry) -> str | None:
    """The last day on which its content is kept here."""
    day: date | None = arising.retained_until(moved, receipt.recorded)
    return None if day is None else day.isoformat()
