"""What the desk works with, all of one node: its log, its people, its keys, and what codes are called there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from sqlalchemy import Engine

from adapters.sdk.versions import Version
from audit.log.log import Log
from audit.questions.anomalies import Thresholds
from audit.questions.report import Activity, Controller, Names
from audit.questions.subjects import Subjects
from audit.tree.checkpoint import VerifierKey
from gateway.desk.describing import activities, hidden_bases, names_of, organisation
from gateway.exchange.witnesses import Proven
from gateway.registry.read.standing import Standing
from gateway.wire.identifiers import MemberId, SubsystemId
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

    `subsystems` are those that the node speaks for. `given` is each member's controller as the settings name it.
    `named`, `called`, `described` and `witnessed` stand in for what registry and rulebook say, where there are none.
    """

    node: str
    engine: Engine
    log: Log
    subjects: Subjects
    clock: Callable[[], datetime]
    standing: Latest = nothing
    subsystems: tuple[SubsystemId, ...] = ()
    given: Mapping[str, Controller] = field(default_factory=dict)
    thresholds: Thresholds = field(default_factory=Thresholds)
    overdue_seconds: float = 24 * 3600
    named: Names | None = None
    called: Callable[[str], str] | None = None
    described: Callable[[str], Sequence[Activity]] | None = None
    witnessed: Callable[[], Sequence[VerifierKey]] | None = None
    #: The member's signing key, where the desk may sign for it: in the node, and in no command beside it.
    signer: Callable[[MemberId], Signer] | None = None
    #: The nodes that were shown that our log only grew: what a node that runs knows, and no command beside it.
    proven_to: Callable[[], Sequence[Proven]] = tuple
    #: The versions of adapters that are installed beside the node. Their code is loaded in a reader and never here.
    installed: Callable[[], Sequence[Version]] = tuple
    #: The adapters whose version in use could not be taken up by this node, which goes on with the former.
    not_taken: Callable[[], Iterable[str]] = tuple

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

    @property
    def members(self) -> tuple[str, ...]:
        """The members that the node speaks for."""
        return tuple(dict.fromkeys(str(subsystem.member) for subsystem in self.subsystems))

    def of(self, member: str | None) -> tuple[SubsystemId, ...]:
        """The subsystems of a member that the node speaks for; of another member, or None, those of the first."""
        wanted = member if member in self.members else next(iter(self.members), None)
        return tuple(subsystem for subsystem in self.subsystems if str(subsystem.member) == wanted)

    def subjects_of(self, member: str | None) -> Subjects:
        """The data subjects that somebody who asks for this member may look for."""
        # Another member's persons are another controller's: whoever asks for one member finds none of them.
        return self.subjects.of(member) if member is not None and member in self.members else self.subjects

    def organisation(self, language: str, member: str | None = None) -> str:
        """The organisation whose node this is, or which of them."""
        if self.called is not None:
            return self.called(language)
        members = (member,) if member in self.members else self.members
        named = (organisation(self.standing(), self.of(named), language) for named in members)
        return ", ".join(name for name in named if name) or self.node

    def controller(self, language: str, member: str | None = None) -> Controller:
        """Who answers for the processing: as the settings name it, else the organisation."""
        own = self.of(member)
        given = self.given.get(str(own[0].member), UNNAMED) if own else UNNAMED
        name = given.name or self.organisation(language, member)
        return Controller(name, given.contact, given.officer, given.measures)

    def activities(self, year: int, language: str, member: str | None = None) -> Sequence[Activity]:
        """What an organisation processes data for in a year, by the law that was in force in it."""
        if self.described is not None:
            return self.described(language)
        standing = self.standing()
        return () if standing is None else activities(standing, year, self.of(member), language)
