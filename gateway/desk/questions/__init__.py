"""The officer's questions, one class each, and the registry of them that the interface and its description walk."""

from __future__ import annotations

from typing import Any, Final

from gateway.desk.asking import Question
from gateway.desk.questions.boards import Handovers
from gateway.desk.questions.counting import Flows, Overview, Processing, Years
from gateway.desk.questions.persons import (
    AfterWithdrawal,
    ConsentsOf,
    DaysOf,
    DisclosuresOf,
    ExtractOf,
    FindPerson,
    Heartbeat,
    UsagePeriod,
    Usages,
)
from gateway.desk.questions.proving import Check, Health, Proof, Proofs, Record, Unchanged
from gateway.desk.questions.reviewing import ReviewOf, SignOff, Unreviewed, Unusual
from gateway.desk.questions.rulebooks import Again, Explain, RulebookChange, Swings
from gateway.desk.questions.searching import Export, Find, FindCase, Timeline

QUESTIONS: Final[tuple[type[Question[Any]], ...]] = (
    Overview,
    FindPerson,
    DisclosuresOf,
    ConsentsOf,
    DaysOf,
    ExtractOf,
    Usages,
    UsagePeriod,
    Heartbeat,
    AfterWithdrawal,
    Find,
    Export,
    FindCase,
    Timeline,
    Flows,
    Processing,
    Years,
    Unusual,
    Unreviewed,
    ReviewOf,
    SignOff,
    Health,
    Check,
    Record,
    Proof,
    Proofs,
    Unchanged,
    RulebookChange,
    Swings,
    Explain,
    Again,
    Handovers,
)
