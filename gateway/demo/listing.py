"""What the demo network's registry lists: services, municipalities, counties."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from consent.law import Rulebook
from gateway.demo.organisations import Organisation, Party
from gateway.registry.read.entries import County, Municipality, ServiceDescriptor
from gateway.wire.identifiers import ServiceId
from gateway.wire.text import Text
from schemas.facts import HETU, MIGRI_CUSTOMER


def services_of(roles: tuple[str, ...]) -> tuple[str, ...]:
    """Codes of the services of an organisation with these roles."""
    own = "palvelutarve" if "reception-centre" in roles else "saapuvat"
    return (own, "hyvaksynnat", "ilmoitukset")


def services(parties: Mapping[str, Party], rulebook: Rulebook) -> tuple[ServiceDescriptor, ...]:
    """What each offers: the source of records a query service, the others an inbox, and all what handovers need."""
    every = frozenset(rulebook.purposes)
    categories = frozenset(rulebook.categories)
    handed = frozenset(part.purpose for flow in rulebook.flows.values() for part in flow.deliveries)
    found: list[ServiceDescriptor] = []
    for party in parties.values():
        if party.holds_records:
            found.append(
                ServiceDescriptor(
                    ServiceId(party.subsystem, "palvelutarve"),
                    "query",
                    Text("Palvelutarpeet", "Servicebehov", "Service needs"),
                    purposes=frozenset({"service-need-lookup", "municipal-placement"}),
                    categories=categories,
                    schema="Bundle",
                    locator=(HETU, MIGRI_CUSTOMER),
                    keep_bodies=True,
                )
            )
        else:
            found.append(
                ServiceDescriptor(
                    ServiceId(party.subsystem, "saapuvat"),
                    "inbox",
                    Text("Saapuvat", "Inkommande", "Inbox"),
                    purposes=handed,
                    categories=categories,
                    schema="Bundle",
                    keep_bodies=True,
                )
            )
        found += [
            ServiceDescriptor(
                ServiceId(party.subsystem, "hyvaksynnat"),
                "acceptance",
                Text("Hyväksynnät", "Godkännanden", "Acceptances"),
                purposes=every,
                categories=categories,
            ),
            ServiceDescriptor(
                ServiceId(party.subsystem, "ilmoitukset"),
                "notice",
                Text("Ilmoitukset", "Meddelanden", "Notices"),
                purposes=frozenset({"withdrawal-notice"}),
                categories=categories,
            ),
        ]
    return tuple(found)


def municipalities(organisations: Sequence[Organisation], parties: Mapping[str, Party]) -> tuple[Municipality, ...]:
    """Some municipalities, and who of the network receives for them."""
    members = {
        code: parties[organisation.name].subsystem
        for organisation in organisations
        for code in organisation.municipalities
    }
    return tuple(
        Municipality(code, name, county, members.get(code))
        for code, name, county in (
            ("285", Text("Kotka", "Kotka", "Kotka"), "kymenlaakso"),
            ("286", Text("Kouvola", "Kouvola", "Kouvola"), "kymenlaakso"),
            ("075", Text("Hamina", "Fredrikshamn", "Hamina"), "kymenlaakso"),
            ("091", Text("Helsinki", "Helsingfors", "Helsinki"), None),
            ("837", Text("Tampere", "Tammerfors", "Tampere"), "pirkanmaa"),
        )
    )


def counties(organisations: Sequence[Organisation], parties: Mapping[str, Party]) -> tuple[County, ...]:
    """Some counties, and who of the network receives for them."""
    members = {
        organisation.county: parties[organisation.name].subsystem
        for organisation in organisations
        if organisation.county is not None
    }
    return tuple(
        County(code, name, members.get(code))
        for code, name in (
            ("kymenlaakso", Text("Kymenlaakson hyvinvointialue", "Kymmenedalens välfärdsområde", "Kymenlaakso")),
            ("pirkanmaa", Text("Pirkanmaan hyvinvointialue", "Birkalands välfärdsområde", "Pirkanmaa")),
        )
    )
