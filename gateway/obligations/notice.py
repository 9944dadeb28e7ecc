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
from texts import LANGUAGES, Catalogue

_TEXTS: Final = Catalogue("obligations")


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
        found[language] = _TEXTS(
            "notice-given" if task.kind is Kind.TELL_GIVEN else "notice",
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
