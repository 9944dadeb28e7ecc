"""What the officer does with the log rather than asks of it: archive months that are over.

Each act is an entry of the log. All functions block; call them from a thread.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, select

from audit.log.entries import Entry, EntryType, Outcome
from audit.log.tables import archives
from audit.log.waiting import Written
from audit.questions import archive
from gateway.desk.asking import Detail
from gateway.desk.desk import Desk
from gateway.desk.reading import story_of
from gateway.desk.roles import Asker


def archive_months(
    desk: Desk, asker: Asker, folder: Path, *, prune: bool, progress: Callable[[int, int], None] | None = None
) -> tuple[archive.Month, ...]:
    """Write the months that are over to a folder and check what was written; with `prune`, take them out of the
    database. Raises ArchiveError.
    """
    context = desk.context
    now = context.clock()
    with context.engine.connect() as connection:
        due = archive.closed_months(connection, now)
    done = []
    for number, (name, first, through) in enumerate(due):

        def unit(connection: Connection, name: str = name, first: int = first, through: int = through) -> Any:
            month = archive.archive_month(connection, folder, name, range(first, through), now=now)
            return Written(month, (_archived(desk, asker, "archive", month),))

        month: archive.Month = context.log.commit_blocking(unit).value
        checked = archive.verify_month(folder, month.name, context.log_key)
        if not checked.sound:
            raise archive.ArchiveError(
                f"{month.name} does not hold at record {(checked.first or 0) + 1}: {checked.problem}"
            )
        done.append(month)
        if progress is not None:
            progress(number + 1, len(due))
    if prune:
        _prune(desk, asker, folder)
    return tuple(done)


def _prune(desk: Desk, asker: Asker, folder: Path) -> None:
    context = desk.context
    with context.engine.connect() as connection:
        unpruned = select(archives.c.month).where(archives.c.pruned.is_(None)).order_by(archives.c.first)
        names = connection.scalars(unpruned).all()
    kept = {month.name: month for month in archive.months(folder)}
    for name in names:
        if name not in kept:
            raise archive.ArchiveError(f"{name} is not in {folder}; name the folder that it was archived to")
        context.log.append_blocking((_archived(desk, asker, "prune", kept[name]),))
        archive.prune(context.engine, folder, name, log_key=context.log_key, now=context.clock())


def _archived(desk: Desk, asker: Asker, action: str, month: archive.Month) -> Entry:
    detail: Detail = {"action": action, "month": month.name, "first": month.first, "through": month.through}
    return story_of(desk.context, asker).entry(EntryType.EXPORT, Outcome.SUCCESS, desk.context.clock(), detail=detail)
