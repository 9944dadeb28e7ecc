"""An error is told in the system's words, with its place, and without what a statement carried."""

from __future__ import annotations

import errno
import shutil
import sqlite3

import pytest
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError

from audit.log.failure import said

FULL = OSError(errno.ENOSPC, "No space left on device", "/secrets/index.key")


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (FULL, "/secrets/index.key: No space left on device"),
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device"),
        (shutil.Error([("/from", "/to", str(FULL))]), f"/to: {FULL}"),
        (shutil.Error("a sentence"), "a sentence"),
        (OSError(), "OSError"),
        (OperationalError("INSERT 010190-900P", None, sqlite3.OperationalError("database or disk is full")), None),
        (IntegrityError("INSERT", None, sqlite3.IntegrityError("010190-900P")), "IntegrityError"),
        (DBAPIError("INSERT", None, ValueError("010190-900P")), "DBAPIError"),
        (KeyError("010190-900P"), "KeyError"),
    ],
)
def test_an_error_is_told_with_its_place_and_nothing_of_a_person(error: Exception, told: str | None) -> None:
    assert said(error) == (told or "database or disk is full")
