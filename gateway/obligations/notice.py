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

LANGUAGES: Final = ("fi", "sv", "en")
_TEXTS: Final = {
    "fi": (
        "Tämä organisaatio on saanut sinusta tietoja. Ne tulivat täältä: {party}. Tarkoitus: {purpose}. "
        "Tiedot: {categories}. Peruste: {bases}. Voit pyytää nähtäväksi, mitä sinusta on talletettu, ja pyytää virheen "
        "korjaamista. Voit kysyä lisää tietosuojavastaavalta ja tehdä valituksen tietosuojavaltuutetulle."
    ),
    "sv": (
        "Denna organisation har fått uppgifter om dig. De kom från: {party}. Ändamål: {purpose}. "
        "Uppgifter: {categories}. Grund: {bases}. Du kan begära att få se vad som har sparats om dig och begära att "
        "fel rättas. Du kan fråga dataskyddsombudet och klaga hos dataombudsmannen."
    ),
    "en": (
        "This organisation has received data about you. It came from: {party}. Purpose: {purpose}. "
        "Data: {categories}. Basis: {bases}. You may ask to see what is stored about you, and ask for errors to be "
        "corrected. You may ask the data protection officer, and complain to the Data Protection Ombudsman."
    ),
}


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
        found[language] = _TEXTS[language].format(
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
