"""The officer's questions, one class each, and the registry of them."""

from __future__ import annotations

from typing import Any, Final

from gateway.desk.asking import Question
from gateway.desk.questions import (
    adapters,
    boards,
    counting,
    duties,
    persons,
    proving,
    requests,
    reviewing,
    rulebooks,
    searching,
    stories,
)

QUESTIONS: Final[tuple[type[Question[Any]], ...]] = tuple(
    found
    for module in (
        persons,
        searching,
        stories,
        counting,
        reviewing,
        proving,
        rulebooks,
        boards,
        adapters,
        requests,
        duties,
    )
    for found in vars(module).values()
    if isinstance(found, type)
    and issubclass(found, Question)
    and found.__module__ == module.__name__
    and not getattr(found, "__abstractmethods__", ())
)
"""Every question that can be asked, in the order of the modules."""
