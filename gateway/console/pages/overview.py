"""The first page: what waits for the officer, how the log stands, and a way to everything else."""

from __future__ import annotations

from gateway.console.office import Answer, Ask, Page, Shown, Visit
from gateway.desk.questions.counting import DAYS, Overview


def overview(visit: Visit) -> Answer:
    """Whether the node is held, what ends soon, figures of the last days, what waits, and the state of the log."""
    condition = visit.office.condition()
    return Ask(Overview(), lambda told: Shown("overview.html", {"told": told, "days": DAYS, "condition": condition}))


PAGES = (Page("/", "overview", overview, Overview.roles),)
