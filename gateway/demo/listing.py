"""What the demo network's registry lists: services, municipalities, counties."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date

from consent.rules.law import Rulebook
from gateway.demo.organisations import Organisation, Party
from gateway.registry.read.entries import County, Municipality, ServiceDescriptor
from gateway.wire.identifiers import ServiceId
from schemas.codes import Coding, code_system
from schemas.identifiers import HETU, MIGRI_CUSTOMER
from schemas.territories import territory
from texts import Text


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


#: Municipalities that the demo's registry lists, and the counties that some of them belong to.
_MUNICIPALITIES = ("285", "286", "075", "091", "837")
_COUNTIES = ("kymenlaakso", "pirkanmaa")


def municipalities(
    organisations: Sequence[Organisation], parties: Mapping[str, Party], on: date
) -> tuple[Municipality, ...]:
    """Some municipalities with the county that each belongs to on a day, and who of the network receives for them."""
    members = {
        code: parties[organisation.name].subsystem
        for organisation in organisations
        for code in organisation.municipalities
    }
    found = []
    for code in _MUNICIPALITIES:
        where = territory(code, on)
        county = where.county.code if where is not None and where.county is not None else None
        found.append(Municipality(code, _named(code_system("municipality").codes[code]), county, members.get(code)))
    return tuple(found)


def counties(organisations: Sequence[Organisation], parties: Mapping[str, Party]) -> tuple[County, ...]:
    """Some counties, and who of the network receives for them."""
    members = {
        organisation.county: parties[organisation.name].subsystem
        for organisation in organisations
        if organisation.county is not None
    }
    return tuple(
        County(code, _named(code_system("wellbeing-county").codes[code]), members.get(code)) for code in _COUNTIES
    )


def _named(coding: Coding) -> Text:
    """The official name in each language."""
    return Text(coding.fi, coding.sv, coding.en)
