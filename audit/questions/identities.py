"""What an entry says of who is who: which act it records, by whom, and what of."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from audit.log.entries import Entry, EntryType


class Act(StrEnum):
    """What was done. What a registrar, a register and an acceptance say of the same link are different acts."""

    JOINED = "joined"
    CONFIRMED_AGAIN = "confirmed-again"  # by another day's record
    TAKEN_OFF = "taken-off"  # by the register's correction
    ACCEPTED = "accepted"  # by an acceptance that named the person
    CONFIRMED = "confirmed"
    UNDONE = "undone"
    PLACED = "placed"
    PROPOSED = "proposed"
    DONE = "done"
    DROPPED = "dropped"
    HELD = "held"
    TAKEN = "taken"
    OPENED = "opened"
    SAME = "same"
    APART = "apart"
    CORRECTED = "corrected"
    WORD_PLACED = "word-placed"  # a prohibition that had been tied to nobody


class Matter(StrEnum):
    """What an act is about: the act that was proposed, or why a record was put aside."""

    JOIN = "join"
    UNDO = "undo"
    PLACE = "place"
    SAME = "same"
    TWO_VALUES = "two-values"
    NOT_THE_SAME = "not-the-same"
    BIRTH = "birth"
    TOO_MANY = "too-many"
    NOT_PLACED = "not-placed"


_BY_REGISTER: Final = {"confirmed": Act.CONFIRMED_AGAIN, "undone": Act.TAKEN_OFF}


def act_of(entry: Entry) -> Act | None:
    """What an entry about who is who records; None for any other entry, and for what this version has no word for."""
    if entry.type is not EntryType.IDENTITY:
        return None
    told = str(entry.detail.get("act"))
    if told == "done" and entry.detail.get("conflict") == Matter.NOT_PLACED:
        return Act.WORD_PLACED
    if told == "confirmed" and "arrival" in entry.detail:
        return Act.ACCEPTED
    if "register" in entry.detail and told in _BY_REGISTER:
        return _BY_REGISTER[told]
    return Act(told) if told in set(Act) else None


def matter_of(entry: Entry) -> Matter | None:
    """What an act about who is who is about, where it says so."""
    told = entry.detail.get("proposal", entry.detail.get("conflict"))
    return Matter(str(told)) if entry.type is EntryType.IDENTITY and told in set(Matter) else None
