"""Where a single column goes in the person's record, for a tool that maps one at a time; and what was recognised anew.

Relatives and observations are others' than the person's own: those are written by hand.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from adapters.scaffold.outlining import SampleError
from adapters.scaffold.proposing import transform_for
from adapters.scaffold.recognising import concepts, recognise
from adapters.scaffold.several import gathered
from adapters.scaffold.sniffing import Hints
from adapters.workbench.editing import FURTHER

#: The place of each concept below `Patient`; a number is the place in a list.
PLACES: Final[Mapping[str, tuple[str | int, ...]]] = {
    "family-name": ("name", 0, "family"),
    "given-names": ("name", 0, "given"),
    "language": ("communication", 0, "language"),
    "identity-code": ("identifier", "urn:oid:1.2.246.21"),
    "customer-number": ("identifier", "migri-customer"),
    "gender": ("gender",),
    "birth-date": ("birthDate",),
    "phone": ("telecom", FURTHER, "value"),
    "email": ("telecom", FURTHER, "value"),
    "street": ("address", 0, "line", 0),
    "postal-code": ("address", 0, "postalCode"),
    "city": ("address", 0, "city"),
    "interpreter": ("extension", "patient-interpreterRequired"),
    "citizenship": ("extension", "patient-citizenship", "code"),
    "permit-ground": ("extension", "residence-permit", "ground"),
    "permit-date": ("extension", "residence-permit", "decided"),
    "municipality": ("extension", "move", "municipality"),
    "move-date": ("extension", "move", "date"),
    "independent-move": ("extension", "move", "independent"),
    "safety-prohibition": ("extension", "safety-prohibition", "active"),
    "safety-recipient": ("extension", "safety-prohibition", "named-recipient"),
    "vulnerable": ("extension", "vulnerability", "fact"),
    "family-size": ("extension", "family", "size"),
    "unaccompanied": ("extension", "guardianship", "unaccompanied"),
    "service-needs": ("code",),
}
#: The resource of a concept that is not told of the person: there is one for each part of the column.
_RESOURCES: Final = {"service-needs": "ServiceRequest"}
#: What is written beside a concept where nothing was.
_BESIDE: Final[Mapping[str, Mapping[str, Any]]] = {
    "language": {"preferred": True},
    "phone": {"system": "phone"},
    "email": {"system": "email"},
}


@dataclass(frozen=True, slots=True)
class Place:
    """A place that a column may be mapped to: its concept and title, and the change that maps a column there."""

    concept: str
    title: Mapping[str, str]
    path: tuple[str | int, ...]
    transform: str
    beside: Mapping[str, Any]
    resource: str


def places() -> tuple[Place, ...]:
    """All places, each with the transform that its values ask for most often."""
    titles = {concept.name: concept.title for concept in concepts()}
    kinds = {concept.name: concept.kind for concept in concepts()}
    return tuple(
        Place(
            name,
            titles[name],
            path,
            transform_for(name, kinds[name]),
            _BESIDE.get(name, {}),
            _RESOURCES.get(name, "Patient"),
        )
        for name, path in PLACES.items()
    )


def proposed(sample: Path) -> Mapping[str, str]:
    """The concept of each column that is recognised in a sample as it is now; none if it cannot be made out."""
    try:
        given = gathered(sample, Hints())
        found = recognise(given.sample, given.key)
    except (SampleError, OSError):
        return {}
    known = [(entry.column.name, entry.concept.name) for entry in found.recognised]
    return {column: concept for column, concept in known if concept in PLACES}
