"""What the demo's municipalities and counties ask once for all: their standing requests, each signed by its member.

Under a right to get nothing is sent to who has not asked for it. Source: Act 906/2019, section 22.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date
from typing import Final

from consent.rules.law import Rulebook
from consent.rules.provisions import Provision
from consent.rules.standing import StandingRequest
from gateway.demo.organisations import Party
from gateway.keys.keystore import FileKeyStore
from gateway.registry.read.asked import signed

_RECEPTION: Final = frozenset({"reception-centre", "placement-authority", "immigration-service"})
_PLANNING: Final = frozenset({"municipality", "employment-authority"})
#: By role: for which purpose it asks, whom, and by which provisions that give it a right.
_ASKED: Final = {
    "municipality": ("reception-to-municipality", _RECEPTION, ("681/2023 83:2", "681/2023 86:1")),
    "county": ("reception-to-county", _RECEPTION, ("681/2023 83:2", "681/2023 87:1")),
    "benefits-agency": ("benefits", _PLANNING, ("681/2023 88:1",)),
}
#: The day from which these provisions are in force.
_FIRST: Final = date(2025, 1, 1)


def asked_by(parties: Iterable[Party], rulebook: Rulebook, passphrase: str) -> tuple[StandingRequest, ...]:
    """The standing requests of these parties, as far as the rulebook knows of any. Their keys are in their folders."""
    if rulebook.form == 1:  # it knows rights to get no more than standing requests
        return ()
    return tuple(asked for party in parties for asked in _of(party, rulebook, passphrase))


def _of(party: Party, rulebook: Rulebook, passphrase: str) -> Iterator[StandingRequest]:
    signer = FileKeyStore.open(party.folder / "signing.key", party.folder / "signing.pem", passphrase.encode())
    for role in party.roles:
        purpose, providers, provisions = _ASKED.get(role, ("", frozenset(), ()))
        for number, text in enumerate(provisions, 1):
            provision = Provision.parse(text)
            yield signed(
                StandingRequest(
                    id=f"{party.name}-{role}-{number}",
                    member=str(party.member),
                    role=role,
                    providers=providers,
                    provision=provision,
                    purpose=purpose,
                    categories=_given_by(rulebook, provision, role),
                    first=_FIRST,
                ),
                signer,
            )


def _given_by(rulebook: Rulebook, provision: Provision, role: str) -> frozenset[str]:
    """All that the provision gives this role: nobody can ask for more by it."""
    return frozenset(
        category
        for basis in rulebook.bases
        if role in basis.requesters and basis.source is not None and basis.source.provision == provision
        for category in basis.categories
    )
