"""What a person's words say about one question: which prohibits a category, and which carries it.

A prohibition stops whatever rests on a word. A report stops it too while it holds, but for the person's own permission.
Neither has a say about what no word carries. Pure.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Final

from consent.rules.law import Rulebook
from consent.words.consents import ConsentRecord, WordKind, WordStatus

CARRYING: Final = frozenset({WordKind.PERMISSION, WordKind.CONSENT})


@dataclass(frozen=True, slots=True)
class Asked:
    """Who would hear it, of what role, from which member, for what, on which day; and of the person what is known.

    `ages` are those that the person may have on the day, `is_unaccompanied` whether they came as a minor without a
    guardian.
    """

    holder: str
    role: str
    member: str
    purpose: str
    day: date
    ages: tuple[int, ...] = ()
    is_unaccompanied: bool | None = None


class Silence(StrEnum):
    """Why no word carries a category."""

    MISSING = "missing"
    WITHDRAWN = "withdrawn"
    REPORTED = "reported"
    ENDED = "ended"  # by its own end, or that of the giver's mandate
    ANOTHER = "another"  # one of another kind would


class Said:
    """The words of one person that are about one question."""

    def __init__(self, words: Iterable[ConsentRecord], asked: Asked, rulebook: Rulebook) -> None:
        # The end of a prohibition opened data on the word of whoever took it back: it is looked at anew at each
        # decision, as a permission is, for who could not take it back has not.
        words = [word.unless_lifted_in_vain(asked.ages, asked.is_unaccompanied, asked.day) for word in words]
        meant = [
            word
            for word in words
            if word.meant_for(asked.purpose, asked.role, asked.member) and word.aimed_at(asked.holder, asked.role)
        ]
        about = [word for word in meant if word.in_force(asked.day)]
        self._rulebook = rulebook
        self._ended = [word for word in meant if word.carries and not word.in_force(asked.day)]
        # Whoever said it was held against the age that the form told. What is known now of the person counts more.
        self._carrying = [
            word for word in about if word.carries and word.may_carry(asked.ages, asked.is_unaccompanied, asked.day)
        ]
        self._prohibitions = [word for word in about if word.forbids and word.kind is not WordKind.REPORT]
        self._reports = [word for word in about if word.forbids and word.kind is WordKind.REPORT]
        self._withdrawn = [word for word in about if word.status == WordStatus.WITHDRAWN]

    def prohibition_of(self, category: str) -> ConsentRecord | None:
        """The prohibition that is about any part of a category."""
        return next((word for word in self._prohibitions if self._touches(word, category)), None)

    def word_for(self, category: str, kinds: Collection[WordKind] = CARRYING) -> ConsentRecord | Silence:
        """The permission or consent, of these kinds, that carries a whole category and is not held by a report."""
        covering = [word for word in self._carrying if self._covers(word, category)]
        given = [word for word in covering if word.kind in kinds]
        for word in given:
            if not any(report.holds(word) and self._touches(report, category) for report in self._reports):
                return word
        if given:
            return Silence.REPORTED
        for gone, silence in ((self._withdrawn, Silence.WITHDRAWN), (self._ended, Silence.ENDED)):
            if any(word.kind in kinds and self._covers(word, category) for word in gone):
                return silence
        return Silence.ANOTHER if covering else Silence.MISSING

    def _covers(self, word: ConsentRecord, category: str) -> bool:
        return word.is_whole or self._rulebook.covers(word.categories, category)

    def _touches(self, word: ConsentRecord, category: str) -> bool:
        return word.names_all or self._rulebook.touches(word.categories, category)
