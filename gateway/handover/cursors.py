"""Cursors over lists that grow: the number that the database gave a row in the order of commits.

An id is no cursor. Its sender chose it, before its commit and by its own clock, so a row may appear before one that a
reader has passed already.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Table, select

from gateway.wire.problems import ProblemError


def position(connection: Connection, table: Table, after: str, *own: ColumnElement[bool]) -> int:
    """The number after which a client goes on: what an answer gave it as `next`, or the id of a row.

    Former versions had the id of the last row for their cursor. `own` says which rows are the client's to name. Raises
    ProblemError.
    """
    if not after:
        return 0
    if after.isascii() and after.isdigit() and len(after) <= 18:
        return int(after)
    number: int | None = None
    if len(after) <= 64 and after.isascii() and after.isprintable():
        number = connection.execute(select(table.c.number).where(table.c.id == after, *own)).scalar_one_or_none()
    if number is None:
        raise ProblemError(
            "invalid-request",
            pointer="/after",
            detail="after is neither a cursor of ours nor the id of anything in this list",
            remedy="give what the former answer had as `next`, or leave it out to begin at the beginning",
        )
    return number


def following(rows: Sequence[Row[Any]], before: int) -> str:
    """The cursor for what comes after these rows; without rows, the one that they were asked with."""
    return str(rows[-1].number if rows else before)
