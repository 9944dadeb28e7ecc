"""What a process writes to its log: our own events word for word, and of libraries nothing but the place."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.loglines import JsonLines

NAME = "Lokivuoto"


def line_of(name: str, message: str, *args: Any, **more: Any) -> dict[str, Any]:
    record = logging.LogRecord(name, logging.ERROR, "/opt/lib/hl7/util.py", 230, message, args, None, "unescape")
    record.__dict__.update(more)
    line: dict[str, Any] = json.loads(JsonLines().format(record))
    del line["time"]
    return line


@pytest.mark.parametrize(
    ("name", "message", "args", "logger", "event"),
    [
        ("/opt/lib/hl7/util.py", "Error unescaping value [%s]", (NAME,), "hl7/util.py", "library-message"),
        ("asyncssh", f"no such file {NAME}", (), "asyncssh", "library-message"),
        ("uvicorn.access", '%s - "%s %s"', (NAME, "GET", "/"), "uvicorn.access", "library-message"),
        ("uvicorn.error", "Exception in ASGI application\n", (), "uvicorn.error", "application-failed"),
        ("asyncio", f"Task exception was never retrieved\nfuture: <{NAME}>", (), "asyncio", "task-failed-unheard"),
        (f"x {NAME}", "%d", (NAME,), "hl7/util.py", "library-message"),
        ("yhdyspintaNot", NAME, (), "yhdyspintaNot", "library-message"),
    ],
)
def test_of_a_library_only_the_place_is_told(
    name: str, message: str, args: tuple[Any, ...], logger: str, event: str
) -> None:
    assert line_of(name, message, *args, fields={"value": NAME}) == {
        "level": "error",
        "logger": logger,
        "event": event,
        "place": "hl7/util.py:230 unescape",
    }


def test_our_own_events_are_told_with_their_fields() -> None:
    assert line_of("yhdyspinta.delivery", "delivery-failed", fields={"code": "no-route"}) == {
        "level": "error",
        "logger": "yhdyspinta.delivery",
        "event": "delivery-failed",
        "code": "no-route",
    }


def test_an_exception_is_told_by_type_and_place() -> None:
    try:
        raise ValueError(NAME)
    except ValueError:
        line = line_of("hl7", "failed", exc_info=sys.exc_info())

    assert line["exception"] == "ValueError"
    assert NAME not in json.dumps(line)


def warn() -> None:
    warnings.warn(NAME, stacklevel=1)


def crash() -> None:
    raise ValueError(NAME)


def crash_in_a_thread() -> None:
    import threading

    thread = threading.Thread(target=crash)
    thread.start()
    thread.join()


def crash_while_freed() -> None:
    class Freed:
        def __del__(self) -> None:
            crash()

    Freed()


def log_with_wrong_arguments() -> None:
    logging.getLogger("yhdyspinta.x").error("%d", NAME)


def log_as_a_library() -> None:
    logging.getLogger("hl7").error("cannot take %s", NAME)


WHOLE = "configure_logging('debug')"
COMMAND = "quiet_libraries()"


@pytest.mark.parametrize(
    ("configure", "provoke", "is_told"),
    [
        (WHOLE, warn, True),
        (WHOLE, crash, True),
        (WHOLE, crash_in_a_thread, True),
        (WHOLE, crash_while_freed, True),
        (WHOLE, log_with_wrong_arguments, False),
        (WHOLE, log_as_a_library, True),
        (COMMAND, warn, False),
        (COMMAND, log_with_wrong_arguments, False),
        (COMMAND, log_as_a_library, True),
    ],
)
def test_no_way_to_standard_error_carries_a_value(configure: str, provoke: Callable[[], None], is_told: bool) -> None:
    code = (
        f"from gateway.loglines import configure_logging, quiet_libraries; {configure}\n"
        f"from tests.gateway.test_loglines import {provoke.__name__} as provoke; provoke()"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2]
    )

    assert NAME not in done.stderr
    assert done.stdout == ""
    assert [json.loads(line)["level"] in {"warning", "error", "critical"} for line in done.stderr.splitlines()] == (
        [True] * is_told
    )
