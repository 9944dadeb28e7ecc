"""What the desk works with, all of one node: its log, its people, its keys, and what codes are called there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from sqlalchemy import Engine

from audit.log.log import Log
from audit.questions.anomalies import Thresholds
from audit.questions.report import Activity, Controller, Names
from audit.questions.subjects import Subjects
from audit.tree.checkpoint import VerifierKey
from gateway.desk.describing import activities, hidden_bases, names_of, organisation
from gateway.registry.read.standing import Standing
from gateway.wire.identifiers import SubsystemId
from gateway.wire.signing import Signer

Latest = Callable[[], Standing | None]
"""The registry and rulebook that the node has, in force or expired: the desk is needed most when something fails."""


UNNAMED: Final = Controller("")


def nothing() -> Standing | None:
    """No registry and no rulebook."""
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeskContext:
    """What questions are answered from.

    `subsystems` are those that the node speaks for. `given` is the controller as the settings name it. `named`,
    `called`, `described` and `witnessed` stand in for what registry and rulebook say, where there are none.
    """

    node: str
    engine: Engine
    log: Log
    subjects: Subjects
    clock: Callable[[], datetime]
    standing: Latest = nothing
    subsystems: tuple[SubsystemId, ...] = ()
    given: Controller = UNNAMED
    thresholds: Thresholds = field(default_factory=Thresholds)
    overdue_seconds: float = 24 * 3600
    named: Names | None = None
    called: Callable[[str], str] | None = None
    described: Callable[[str], Sequence[Activity]] | None = None
    witnessed: Callable[[], Sequence[VerifierKey]] | None = None
    #: The member's signing key, where the desk may sign for it: in the node, and in no command beside it.
    signer: Callable[[], Signer] | None = None

    @property
    def log_key(self) -> VerifierKey:
        """The key that proves the log's own seal."""
        return self.log.verifier

    @property
    def names(self) -> Names:
        """What codes are called at this moment."""
        return self.named or names_of(self.standing)

    def witnesses(self) -> Sequence[VerifierKey]:
        """The keys of the witnesses whose cosignatures count: those that the registry lists."""
        if self.witnessed is not None:
            return self.witnessed()
        standing = self.standing()
        return () if standing is None else standing.registry.witness_keys

    def hidden_bases(self) -> frozenset[str]:
        """The bases under which the law forbids telling the person."""
        standing = self.standing()
        return frozenset() if standing is None else hidden_bases(standing.rulebook)

    def organisation(self, language: str) -> str:
        """The organisation whose node this is."""
        if self.called is not None:
            return self.called(language)
        return organisation(self.standing(), self.subsystems[:1], language) or self.node

    def controller(self, language: str) -> Controller:
        """Who answers for the processing: as the settings name it, else the organisation."""
        given = self.given
        return Controller(given.name or self.organisation(language), given.contact, given.officer, given.measures)

    def activities(self, year: int, language: str) -> Sequence[Activity]:
        """What this organisation processes data for in a year, by the law that was in force in it."""
        if self.described is not None:
            return self.described(language)
        standing = self.standing()
        return () if standing is None else activities(standing, year, self.subsystems, language)
