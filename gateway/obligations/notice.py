"""What a person is told of data that was got about them (GDPR 14), in Finnish, Swedish and English.

It names who has the data now, from whom it came, for what, which data and by which provision, and what the person can
do. It is for the person's hand: nothing of it belongs on an envelope or into a push message. Whoever speaks another
language is given one of these with an interpreter.
"""

from __future__ import annotations

from typing import Final

from gateway.obligations.tasks import Task
from gateway.registry.read.standing import Standing
from gateway.wire.identifiers import IdentifierError, SubsystemId
from texts import LANGUAGES, Catalogue

_TEXTS: Final = Catalogue("obligations")


def notices(task: Task, standing: Standing) -> dict[str, str]:
    """The text in each language."""
    rulebook = standing.rulebook
    found = {}
    for language in LANGUAGES:
        purpose = rulebook.purposes.get(task.purpose)
        categories = [
            rulebook.categories[code].title[language] for code in task.categories if code in rulebook.categories
        ]
        bases = [basis.cited(language) for code in task.bases if (basis := rulebook.basis(code)) is not None]
        found[language] = _TEXTS(
            "notice",
            language,
            party=_party(standing, task.party, language),
            purpose=purpose[language] if purpose is not None else "–",
            categories=", ".join(categories),
            bases="; ".join(dict.fromkeys(bases)),
        )
    return found


def _party(standing: Standing, party: str, language: str) -> str:
    try:
        member = standing.registry.member(SubsystemId.parse(party).member)
    except IdentifierError:
        return party
    return member.name.in_language(language) if member is not None else party
