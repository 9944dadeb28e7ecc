"""What a person is told of data about them that moved (GDPR 13, 14): reviewed texts, and drafts in other languages.

A text in Finnish, Swedish or English names who got or gave the data, for what, which data and by which provision, and
what the person can do. It is for the person's hand: nothing of it belongs on an envelope or into a push message. Ten
other languages have drafts, which nobody who speaks them has proof-read: each is given beside a reviewed text, with an
interpreter, and never sent alone. Of any other language it is said that there is no text.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib.resources import files
from typing import Final

from gateway.obligations.tasks import Kind, Task
from gateway.registry.read.standing import Standing
from gateway.wire.identifiers import IdentifierError, SubsystemId

LANGUAGES: Final = ("fi", "sv", "en")
_GOT: Final = {
    "fi": "Tämä organisaatio on saanut sinusta tietoja. Ne tulivat täältä: {party}. ",
    "sv": "Denna organisation har fått uppgifter om dig. De kom från: {party}. ",
    "en": "This organisation has received data about you. It came from: {party}. ",
}
_GIVEN: Final = {
    "fi": "Tämä organisaatio on antanut sinusta tietoja luvallasi tai suostumuksellasi. Ne annettiin tänne: {party}. "
    "Voit perua lupasi tai suostumuksesi. ",
    "sv": "Denna organisation har lämnat ut uppgifter om dig med ditt tillstånd eller samtycke. De gavs till: {party}. "
    "Du kan återkalla ditt tillstånd eller samtycke. ",
    "en": "This organisation has given data about you with your permission or consent. It was given to: {party}. "
    "You may take your permission or consent back. ",
}
_REST: Final = {
    "fi": "Tarkoitus: {purpose}. Tiedot: {categories}. Peruste: {bases}. Voit pyytää nähtäväksi, mitä sinusta on "
    "talletettu, ja pyytää virheen korjaamista. Voit kysyä lisää tietosuojavastaavalta ja tehdä valituksen "
    "tietosuojavaltuutetulle. Voit pyytää tulkkia.",
    "sv": "Ändamål: {purpose}. Uppgifter: {categories}. Grund: {bases}. Du kan begära att få se vad som har sparats om "
    "dig och begära att fel rättas. Du kan fråga dataskyddsombudet och klaga hos dataombudsmannen. Du kan be om en "
    "tolk.",
    "en": "Purpose: {purpose}. Data: {categories}. Basis: {bases}. You may ask to see what is stored about you, and "
    "ask for errors to be corrected. You may ask the data protection officer, and complain to the Data Protection "
    "Ombudsman. You may ask for an interpreter.",
}


class Translation(StrEnum):
    """What there is in a person's language."""

    REVIEWED = "reviewed"
    DRAFT = "draft"
    MISSING = "missing"
    UNKNOWN = "unknown"  # the record does not say which language it is


@dataclass(frozen=True, slots=True)
class Told:
    """What a person is told: reviewed texts and drafts by language, and what there is in the person's own."""

    reviewed: Mapping[str, str]
    drafts: Mapping[str, str]
    language: str | None
    translation: Translation


def told(task: Task, standing: Standing) -> Told:
    """The texts of a task to tell somebody something."""
    drafts = {language: _draft(task, texts) for language, texts in drafts_by_language().items()}
    primary = (task.language or "").partition("-")[0].lower()
    if not primary:
        state = Translation.UNKNOWN
    elif primary in LANGUAGES:
        state = Translation.REVIEWED
    else:
        state = Translation.DRAFT if primary in drafts else Translation.MISSING
    return Told(notices(task, standing), drafts, task.language, state)


def _draft(task: Task, texts: Mapping[str, str]) -> str:
    # That it is a draft stands in the text itself, first: whoever has only the sheet knows it too.
    return " ".join((texts["draft"], texts["given" if task.kind is Kind.TELL_GIVEN else "got"], texts["rest"]))


@cache
def drafts_by_language() -> Mapping[str, Mapping[str, str]]:
    """The sentences of each draft, as the file has them."""
    document = tomllib.loads((files("gateway.obligations") / "drafts.toml").read_text(encoding="utf-8"))
    return {language: texts for language, texts in document.items() if isinstance(texts, dict)}


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
        first = _GIVEN if task.kind is Kind.TELL_GIVEN else _GOT
        found[language] = (first[language] + _REST[language]).format(
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
