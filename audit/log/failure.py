"""An error of a disk or a database in the words of the system, with its place, and with nothing of a person."""

from __future__ import annotations

import shutil

from sqlalchemy.exc import OperationalError


def said(error: BaseException) -> str:
    """What went wrong and where; of an error that may carry what a statement carried, only its kind."""
    match error:
        case OperationalError():
            # Of the disk, the connection, a lock: a statement's values stand in errors of other kinds.
            return next(iter(str(error.orig).splitlines()), type(error.orig).__name__)
        case shutil.Error() if error.args and isinstance(error.args[0], list) and error.args[0]:
            _, place, why = error.args[0][0]
            return why if str(place) in why else f"{place}: {why}"
        case OSError() if error.strerror:
            return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
        case shutil.Error() | OSError():
            return str(error) or type(error).__name__
    return type(error).__name__
