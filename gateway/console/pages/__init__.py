"""The console's pages, one module for each thing an officer does."""

from __future__ import annotations

from typing import Final

from gateway.console.office import Page
from gateway.console.pages import (
    asking,
    duties,
    laws,
    network,
    overview,
    people,
    records,
    reports,
    reviewing,
    sealing,
    searching,
)

PAGES: Final[tuple[Page, ...]] = (
    *overview.PAGES,
    *people.PAGES,
    *searching.PAGES,
    *records.PAGES,
    *reviewing.PAGES,
    *sealing.PAGES,
    *reports.PAGES,
    *network.PAGES,
    *asking.PAGES,
    *duties.PAGES,
    *laws.PAGES,
)
