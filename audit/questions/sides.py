"""Who gave and who got the data that an entry tells of, for searches and counts in the database (`Entry.giver`)."""

from __future__ import annotations

from typing import Final

from sqlalchemy import ColumnElement, and_, func, or_, true

from audit.log.entries import EntryType
from audit.log.tables import entries

SIDES: Final = {
    "recipient": (entries.c.recipient, entries.c.source),
    "source": (entries.c.source, entries.c.recipient),
}
"""Where a row has who got the data and who gave it; and where, if it is turned."""
TURNED: Final = "turned-"
"""Before the name of a side: drives the search for rows that are turned."""


def without_index(condition: ColumnElement[bool]) -> ColumnElement[bool]:
    """The same condition, for which a database chooses no index whatever statistics it has; it knows how many hold."""
    return condition.is_(true())


def is_turned() -> ColumnElement[bool]:
    """Of a row: whether it names the giver as recipient and the taker as source (`Entry.giver`), as far as rows say."""
    source = entries.c.source
    return and_(
        entries.c.type.in_((EntryType.RECEIPT.value, EntryType.CONSENT.value)),
        func.substr(entries.c.service, 1, func.length(source) + 1) == source + "/",
    )


def on_side(name: str, value: str, driver: str) -> ColumnElement[bool]:
    """Whether somebody gave or got the data, whichever way round the row has it."""
    column, turned_column = SIDES[name]
    straight = and_(column == value, is_turned().is_not(true()))
    turned = and_(turned_column == value, without_index(is_turned()))
    if driver == name:
        return straight
    return turned if driver == TURNED + name else without_index(or_(straight, turned))
