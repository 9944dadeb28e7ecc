"""The lines that a process writes: one JSON object each, and nothing in them that was not meant to be there.

Only our own loggers are heard verbatim: they are given names of events, codes and identifiers of organisations. What
any other logger says is told by its place, level and kind of exception alone, for a library that meets a value it
cannot take puts that value into its message. The same holds for warnings and for exceptions that nobody caught.
"""

from __future__ import annotations

import json
import logging
import sys
import threading
import time
import traceback
from types import MappingProxyType, TracebackType
from typing import Any

#: The root of the loggers whose messages are ours to answer for.
OURS = "yhdyspinta"

#: What libraries say that operators need, by the first line of the message as it stands in the library's code.
_KNOWN = MappingProxyType(
    {
        "Cancel %s running task(s), timeout graceful shutdown exceeded": "shutdown-timeout",
        "Exception in ASGI application": "application-failed",
        "ASGI callable returned without completing response.": "response-incomplete",
        "Invalid HTTP request received.": "http-malformed",
        "Task exception was never retrieved": "task-failed-unheard",
        "Unclosed client session": "client-session-unclosed",
        "Unclosed connection": "connection-unclosed",
    }
)
_FRAMES = 6


class JsonLines(logging.Formatter):
    """One JSON object a line. Exceptions are told by type and place, not by text."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without its end."""
        line: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
        }
        if record.name.split(".", maxsplit=1)[0] == OURS:
            line |= {"logger": record.name, "event": record.getMessage(), **getattr(record, "fields", {})}
        else:
            line |= _foreign(record)
        if record.exc_info and record.exc_info[0] is not None:
            line |= _exception(record.exc_info[0], record.exc_info[2])
        return json.dumps(line, ensure_ascii=False)


def _foreign(record: logging.LogRecord) -> dict[str, Any]:
    """What may be told of a library's record. Its message is never put together, its arguments are not looked at."""
    # Some libraries name their logger by the path of their file; a name of any other kind could be a value.
    is_name = record.name.isascii() and all(part.isidentifier() for part in record.name.split("."))
    first = record.msg.partition("\n")[0].strip() if isinstance(record.msg, str) else ""
    file = "/".join(record.pathname.rsplit("/", 2)[-2:])
    return {
        "logger": record.name if is_name else file,
        "event": _KNOWN.get(first, "library-message"),
        "place": f"{file}:{record.lineno} {record.funcName}",
    }


def _exception(kind: type[BaseException], trace: TracebackType | None) -> dict[str, Any]:
    frames = traceback.extract_tb(trace)[-_FRAMES:]
    return {
        "exception": kind.__name__,
        "at": [f"{frame.filename.rsplit('/', 1)[-1]}:{frame.lineno} {frame.name}" for frame in frames],
    }


def configure_logging(level: str) -> None:
    """Send every logger's lines, warnings and exceptions that nobody caught to standard error as JSON."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for chatty in ("aiohttp", "asyncio", "tuf", "urllib3", "uvicorn", "alembic", "asyncssh"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    quiet_libraries()
    logger = logging.getLogger(f"{OURS}.process")
    # Python's own hooks write the text of the exception, which quotes values.
    sys.excepthook = lambda kind, error, trace: logger.critical("exception-uncaught", exc_info=(kind, error, trace))
    threading.excepthook = lambda told: logger.critical(
        "exception-uncaught", exc_info=(told.exc_type, told.exc_value or told.exc_type(), told.exc_traceback)
    )
    sys.unraisablehook = lambda told: logger.error(
        "exception-unraisable", exc_info=(told.exc_type, told.exc_value or told.exc_type(), told.exc_traceback)
    )


def quiet_libraries() -> None:
    """Let no library write text of its own to standard error, also where no logging is configured."""
    logging.captureWarnings(True)
    logging.raiseExceptions = False  # a record that cannot be formatted would be printed with its arguments
    if logging.lastResort is not None:
        logging.lastResort.setFormatter(JsonLines())
