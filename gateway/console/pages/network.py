"""Pages of the console about the network: handovers under way, the registry, and the adapters of this node."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from gateway.console.office import Answer, Ask, Page, Shown, Visit
from gateway.desk.questions.adapters import Adapters
from gateway.desk.questions.boards import Board, Handovers
from gateway.desk.roles import EVERYONE
from gateway.registry.read.registry import Registry

OVER = 30


def board(visit: Visit) -> Answer:
    """Handovers under way, overdue ones first; those that are over; and arrivals that nobody has accepted yet."""

    def flow(code: str) -> str:
        standing = visit.office.desk.context.standing()
        known = standing.rulebook.flows.get(code) if standing is not None else None
        return code if known is None else f"{code} · {known.title[visit.language]}"

    def shown(told: Board) -> Answer:
        by_age = sorted(told.journeys, key=lambda journey: journey.created)
        under_way = [journey for journey in by_age if journey.is_open]
        values = {
            "late": [journey for journey in under_way if journey.is_late],
            "under_way": [journey for journey in under_way if not journey.is_late],
            "over": [journey for journey in reversed(by_age) if not journey.is_open][:OVER],
            "arrivals": told.arrivals,
            "hours": round(told.after / timedelta(hours=1)),
            "flow": flow,
        }
        return Shown("handovers.html", values)

    return Ask(Handovers(), shown)


def registry(visit: Visit) -> Answer:
    """Who is who: members, their roles today, systems, services and nodes; and how fresh the registry is."""
    context = visit.office.desk.context
    standing = context.standing()
    if standing is None:
        return Shown("registry.html", {"registry": None, "members": (), "expired": True, "municipalities": ()})
    known = standing.registry
    values = {
        "registry": known,
        "members": _members(visit, known),
        "expired": known.expired(visit.now),
        "municipalities": _municipalities(visit, known),
    }
    return Shown("registry.html", values, {"version": known.version})


def _members(visit: Visit, known: Registry) -> list[dict[str, Any]]:
    """The members with what they have, our own first."""
    own = {subsystem.member for subsystem in visit.office.desk.context.subsystems}
    members = [
        {
            "id": str(member.id),
            "name": member.name.in_language(visit.language),
            "own": member.id in own,
            "roles": sorted(known.roles_of(member.id, visit.now)),
            "systems": [
                {
                    "id": str(system.id),
                    "name": system.name.in_language(visit.language),
                    "services": [
                        {"code": service.id.code, "title": service.title.in_language(visit.language)}
                        for service in known.services_of(system.id)
                    ],
                }
                for system in member.subsystems
            ],
            "contacts": [
                {
                    "topic": contact.topic.in_language(visit.language),
                    "name": contact.name,
                    "reach": contact.email or contact.phone or "",
                }
                for contact in member.contacts
            ],
            "nodes": [node.id for node in known.nodes_of(member.id)],
        }
        for member in known.members()
    ]
    return sorted(members, key=lambda member: (not member["own"], str(member["name"])))


def _municipalities(visit: Visit, known: Registry) -> list[dict[str, str]]:
    """Who receives for which municipality."""
    return [
        {
            "code": municipality.code,
            "name": municipality.name.in_language(visit.language),
            "county": county.name.in_language(visit.language) if county is not None else "",
            "recipient": str(municipality.subsystem) if municipality.subsystem is not None else "",
        }
        for municipality in known.content.municipalities
        for county in (known.county(municipality.county, visit.now) if municipality.county is not None else None,)
    ]


def adapters(_visit: Visit) -> Answer:
    """Which version of each adapter is in use, and which there were."""
    return Ask(Adapters(), lambda told: Shown("adapters.html", {"told": told}))


PAGES = (
    Page("/handovers", "handovers", board, Handovers.roles, group="network", rank=10),
    Page("/registry", "registry", registry, EVERYONE, group="network", rank=20),
    Page("/adapters", "adapters", adapters, Adapters.roles, group="network", rank=60),
)
