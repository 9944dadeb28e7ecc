"""A person's words as the log tells them: their history, what was disclosed under each, and what left too late."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, select

from audit.log.entries import Entry, EntryType, Outcome, micros
from audit.log.tables import FACETS, WITHDRAWN, entries, facets
from audit.questions.query import (
    CLOCKS_DIFFER,
    MAX_PAGE,
    At,
    Filters,
    Found,
    Search,
    by_id,
    by_index,
    known,
    meaning,
    search,
    walk,
)
from audit.questions.said import Saying, Terms, TermsOf, no_terms, word_of
from audit.questions.words import RELEASED, RELEASES, Word
from audit.tree.merkle import ProofError

_ASKED_AT_ONCE: Final = 500


@dataclass(frozen=True, slots=True)
class ConsentStory:
    """One word of a person: the entries about it, what was disclosed under it, and its terms where they are kept."""

    consent: str
    history: tuple[Found, ...]
    disclosed: tuple[Found, ...]
    more: bool
    terms: Terms | None = None

    @property
    def kind(self) -> Saying | None:
        """Which of the four kinds it is by its newest entry; None where only others' entries about it are found."""
        return word_of(self.history[-1].entry) if self.history else None

    def carried(self, release: Found) -> tuple[str, ...]:
        """The categories of a disclosure that this consent is about; the rest moved without it."""
        used = dict(release.entry.consents).get(self.consent, 0)
        about = {
            version: {*item.entry.categories.permitted, *item.entry.categories.withheld}
            for item in self.history
            for consent, version in item.entry.consents
            if consent == self.consent and version <= used
        }
        if not about:
            return release.entry.categories.permitted
        return tuple(code for code in release.entry.categories.permitted if code in about[max(about)])

    def late(self) -> list[tuple[Found, Found]]:
        """Releases under it that stand in the log after its withdrawal, each with that withdrawal."""
        pairs = []
        for item in self.history:
            if item.entry.withdraws:
                version = dict(item.entry.consents).get(self.consent, 0)
                pairs += [
                    (item, release)
                    for release in self.disclosed
                    if release.index > item.index and dict(release.entry.consents).get(self.consent, 0) <= version
                ]
        return pairs

    def to_dict(self) -> dict[str, Any]:
        """The story as JSON tells it."""
        return {
            "consent": self.consent,
            "kind": self.kind,
            "terms": None if self.terms is None else self.terms.to_dict(),
            "history": [item.to_dict() for item in self.history],
            "disclosed": [item.to_dict() | {"carried": list(self.carried(item))} for item in self.disclosed],
            "more": self.more,
        }


def consents_of(
    connection: Connection,
    pseudonyms: Sequence[str],
    *,
    limit: int = 200,
    find: Search = search,
    terms: TermsOf = no_terms,
) -> tuple[ConsentStory, ...]:
    """A person's words: the history of each, and what was disclosed under it. Whoever reads words changes none."""
    theirs = Filters(subjects=known(pseudonyms), types=("consent", "refusal"))
    told = walk(connection, theirs, order="oldest", limit=limit, find=find)
    about = [item for item in told if word_of(item.entry) is not None]
    ids = dict.fromkeys(consent for item in about for consent, _ in item.entry.consents)
    stories = []
    for consent in ids:
        under = replace(meaning(Word.DISCLOSED), consent=consent)
        page = find(connection, under, order="oldest", after=None, limit=limit)
        history = tuple(item for item in about if any(id_ == consent for id_, _ in item.entry.consents))
        newest = max(version for item in history for id_, version in item.entry.consents if id_ == consent)
        stated = terms(connection, consent, newest)
        stories.append(ConsentStory(consent, history, page.found, page.next is not None, stated))
    return tuple(stories)


def left_after_withdrawal(
    connection: Connection,
    pseudonyms: Sequence[str] = (),
    *,
    start: datetime | None = None,
    find: Search = search,
    at: At = by_index,
) -> tuple[tuple[Found, Found], ...]:
    """Pairs of a withdrawal and a release that stands after it yet cites the withdrawn consent. Must be empty.

    For one person, or for everyone since `start`. `find` and `at` know what was moved out of the database. Raises
    ProofError if an entry cannot be read: then nobody can say that nothing left.
    """
    suspects = _cited_later(connection, _withdrawals(connection, pseudonyms, start, find, at))
    pairs: list[tuple[Found, Found]] = []
    for low in range(0, len(suspects), _ASKED_AT_ONCE):
        some = suspects[low : low + _ASKED_AT_ONCE]
        read = _read(connection, {index for suspect in some for index in (suspect.withdrawal, suspect.cited)}, at)
        for suspect in some:
            withdrawal, later = read[suspect.withdrawal], read[suspect.cited]
            withdrew = dict(withdrawal.entry.consents).get(suspect.consent, 0)
            # Also what names no category: a withdrawn consent must not be cited by anything that left.
            released = later.entry.outcome in RELEASED and _moved(connection, later, find)
            if released and _left_before(connection, withdrawal, later, find):
                continue
            if released and any(id_ == suspect.consent and used <= withdrew for id_, used in later.entry.consents):
                pairs.append((withdrawal, later))
                if len(pairs) >= MAX_PAGE:
                    return tuple(pairs)
    return tuple(pairs)


def _moved(connection: Connection, later: Found, find: Search) -> bool:
    """Whether an entry tells of what left, or of what arrived and did not leave this same node."""
    if later.entry.type != EntryType.RECEIPT:
        return later.entry.type in RELEASES
    if later.entry.message_id is None:
        return False
    sent = Filters(message_id=later.entry.message_id, types=(EntryType.DELIVERY.value,))
    return not find(connection, sent, order="oldest", after=None, limit=1).found


def _left_before(connection: Connection, withdrawal: Found, later: Found, find: Search) -> bool:
    """Whether an entry only tells the receipt of what was on record as leaving before the withdrawal."""
    if later.entry.type != EntryType.DELIVERY or later.entry.previous is None:
        return False
    requested = by_id(connection, later.entry.previous, find=find)
    return (
        requested is not None
        and (requested.entry.type, requested.entry.outcome) == (EntryType.DELIVERY, Outcome.REQUESTED)
        and requested.index < withdrawal.index
    )


@dataclass(frozen=True, slots=True)
class _Suspect:
    """A consent, the entry that withdrew it, and one that came after and cites it. It may cite a later version."""

    consent: str
    withdrawal: int
    cited: int


def _withdrawals(
    connection: Connection, pseudonyms: Sequence[str], start: datetime | None, find: Search, at: At
) -> list[tuple[str, int, int]]:
    """Consent, time and index of each withdrawal: those of a person, or all since `start`; in order of the log."""
    about: Iterable[Found]
    if pseudonyms:
        about = walk(connection, Filters(start, subjects=tuple(pseudonyms), types=("consent",)), find=find)
    else:
        ended = select(facets.c.idx).where(
            facets.c.kind == FACETS["status"],
            facets.c.value == WITHDRAWN,
            facets.c.recorded >= (0 if start is None else micros(start)),
        )
        indexes = connection.scalars(ended).all()
        about = [
            found
            for low in range(0, len(indexes), _ASKED_AT_ONCE)
            for found in _read(connection, indexes[low : low + _ASKED_AT_ONCE], at).values()
        ]
    return sorted(
        (
            (consent, micros(item.entry.recorded), item.index)
            for item in about
            if item.entry.withdraws
            for consent, _ in item.entry.consents
        ),
        key=lambda one: one[2],
    )


def _cited_later(connection: Connection, withdrawals: Sequence[tuple[str, int, int]]) -> list[_Suspect]:
    suspects: list[_Suspect] = []
    for low in range(0, len(withdrawals), _ASKED_AT_ONCE):
        some = withdrawals[low : low + _ASKED_AT_ONCE]
        # The index decides what came after; the time only narrows the search, with room for clocks that differ.
        since = min(recorded for _, recorded, _ in some) - CLOCKS_DIFFER // timedelta(microseconds=1)
        rows = connection.execute(
            select(facets.c.value, facets.c.idx).where(
                facets.c.kind == FACETS["consent"],
                facets.c.value.in_({consent for consent, _, _ in some}),
                facets.c.recorded >= since,
            )
        )
        cited: dict[str, list[int]] = {}
        for consent, index in rows:
            cited.setdefault(consent, []).append(index)
        suspects += [
            _Suspect(consent, withdrawal, index)
            for consent, _, withdrawal in some
            for index in sorted(cited.get(consent, ()))
            if index > withdrawal
        ]
    return suspects


def _read(connection: Connection, indexes: Iterable[int], at: At) -> dict[int, Found]:
    wanted = set(indexes)
    rows = connection.execute(select(entries.c.idx, entries.c.body).where(entries.c.idx.in_(wanted)))
    read = {row.idx: Found(row.idx, Entry.parse(row.body)) for row in rows}
    for index in sorted(wanted - read.keys()):
        archived = at(connection, index)
        if archived is None:
            raise ProofError(f"record {index + 1} is neither in the database nor in its archive")
        read[index] = archived
    return read
