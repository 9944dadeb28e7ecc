"""A real Chromium for the tests of pages, which talks to nobody but them and is as patient as a test may be."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests import parts
from tests.waiting import LIMIT_SECONDS

ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
LIMIT_MILLISECONDS = LIMIT_SECONDS * 1000


@contextmanager
def chromium() -> Iterator[Any]:
    """The browser. Every wait in it, and every expectation, ends only shortly before the test does."""
    path = parts.tool("chromium")
    api = parts.module("playwright.sync_api")
    api.expect.set_options(timeout=LIMIT_MILLISECONDS)
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(ARGUMENTS), timeout=LIMIT_MILLISECONDS)
        yield browser
        browser.close()


def context_of(browser: Any, **settings: Any) -> Any:
    """A browser context with that patience."""
    context = browser.new_context(**settings)
    context.set_default_timeout(LIMIT_MILLISECONDS)
    return context
