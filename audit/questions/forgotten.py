"""Searches that follow a thread to people, and find nobody who was forgotten; and what is left to clear of them.

A person whose key was destroyed has no identifier and no pseudonym by which to be looked for. Two threads remain in the
entries, which never change: the keyed hash of a case, which whoever knows its reference can ask for, and the ids of
consents. A search along one of them leaves out what is about somebody who was forgotten; other people of the same case
are found as before. Entries that are found otherwise (by a time, a recipient, their own id) stay, and tell of nobody.
"""

from __future__ import annotations

from sqlalchemy import Connection, select

from audit.log.tables import subjects
from audit.questions.query import Filters, Found, Order, Page, Search


def remembering(find: Search) -> Search:
    """The same search without the entries that a case or a consent would lead to of people who were forgotten.

    The connection is to the database that knows the data subjects. A page may have fewer entries than its limit; it has
    none only where there is nothing more.
    """

    def search(connection: Connection, filters: Filters, *, order: Order, after: str | None, limit: int) -> Page:
        page = find(connection, filters, order=order, after=after, limit=limit)
        if filters.case is None and filters.consent is None:
            return page
        left = _remembered(connection, page.found)
        while not left and page.next is not None:
            page = find(connection, filters, order=order, after=page.next, limit=limit)
            left = _remembered(connection, page.found)
        return Page(left, page.next)

    return search


def _remembered(connection: Connection, found: tuple[Found, ...]) -> tuple[Found, ...]:
    about = {item.entry.subject for item in found} - {None}
    known = set(connection.scalars(select(subjects.c.pseudonym).where(subjects.c.pseudonym.in_(about))))
    return tuple(item for item in found if item.entry.subject is None or item.entry.subject in known)


def scrub(connection: Connection) -> None:
    """After a destruction was committed: empty SQLite's write-ahead log, so that old pages do not linger in it.

    On PostgreSQL: vacuum the dead rows. Needs a connection outside a transaction (AUTOCOMMIT).
    """
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").close()
    else:
        connection.exec_driver_sql("VACUUM audit_subjects, audit_identifiers")
