"""What every stage of an exchange works with: the parts of one node, wired by `gateway.node.parts`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Engine

from adapters.sdk import Limits as AdapterLimits
from audit.log.log import Log
from audit.questions.subjects import Subjects, spelt
from gateway.exchange.keeping import KeptRulebooks
from gateway.exchange.rates import Rates
from gateway.exchange.transport import PeerTransport
from gateway.exchange.witnessing import Witnessing
from gateway.person.held import HeldRecords
from gateway.person.people import People
from gateway.person.values import Named, Register
from gateway.reading.readers import IN_PROCESS, Adapters
from gateway.registry.read.standing import Standing
from gateway.sources.backends import Backend, Locator
from gateway.storage.replay import Replays
from gateway.telemetry import Telemetry
from gateway.wire.identifiers import MemberId, ServiceId, SubsystemId
from gateway.wire.signing import Signer


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one message may be and how long it may take (bytes and seconds), and what an adapter reads."""

    body_bytes: int
    message_bytes: int
    peer_timeout_seconds: float
    adapter: AdapterLimits = field(default_factory=AdapterLimits)


@dataclass(frozen=True, slots=True)
class DeliveryPolicy:
    """How deliveries are worked: seconds, except for the workers and the failures after which one is left alone."""

    workers: int
    poll_seconds: float
    retry_seconds: float
    retry_limit_seconds: float
    lease_seconds: float
    overdue_seconds: float
    recipient_workers: int = 4
    recipient_failures: int = 3
    attempt_seconds: float = 20.0


@dataclass(slots=True)
class Exchange:
    """The parts of a node that an exchange passes through."""

    node: str
    subsystems: tuple[SubsystemId, ...]
    clock: Callable[[], datetime]
    standing: Callable[[datetime], Standing]  # raises ProblemError `registry-expired`, `node-held`
    signer: Callable[[MemberId], Signer]  # the own key of a member that the node speaks for
    log: Log
    engine: Engine
    subjects: Subjects
    people: People
    held: HeldRecords
    replays: Replays
    witnessing: Witnessing
    transport: PeerTransport
    backends: Mapping[ServiceId, Backend]
    telemetry: Telemetry
    limits: Limits
    delivery: DeliveryPolicy
    rates: Rates = field(default_factory=Rates)
    rulebooks: KeptRulebooks = field(default_factory=KeptRulebooks)
    #: The registers behind our query services; one that is not named here is not believed when it joins identifiers.
    registers: Mapping[ServiceId, Register] = field(default_factory=dict)

    #: The adapters for what clients send and fetch, and where their code runs: in a node never in this process.
    adapters: Adapters = IN_PROCESS
    #: `standing` without the gate of a node that is held, see `gateway.node.hold`; None: there is no gate.
    standing_ungated: Callable[[datetime], Standing] | None = None
    #: Whether the node is held: then nothing that waits to be sent is even tried.
    is_held: Callable[[], bool] = lambda: False

    def standing_though_held(self, now: datetime) -> Standing:
        """What goes on while nothing may be released goes by this: taking in words of people, and the log for peers."""
        return (self.standing_ungated or self.standing)(now)

    def subjects_of(self, subsystem: SubsystemId) -> Subjects:
        """The data subjects of the member that a subsystem of ours belongs to."""
        return self.subjects.of(str(subsystem.member))

    def register_of(self, service: ServiceId) -> Register:
        """The register behind a query service of ours."""
        return self.registers.get(service) or Register(str(service))

    def looked_for(self, subsystem: SubsystemId, system: str, value: str) -> Named:
        """A person whom a subsystem of ours looks for."""
        return Named.looked_for(str(subsystem.member), system, value)

    def reference(self, locator: Locator) -> str:
        """A keyed hash of a person's identifier, to count persons by and for nothing else."""
        return self.subjects.fingerprint("asked-in-vain", locator.canonical())

    def user_pseudonym(self, subsystem: SubsystemId, user: str | None) -> str | None:
        """Keyed hash of an end user's id: accountability without a name. Only this node can link it back."""
        return self.subjects.user(str(subsystem), user) if user and spelt(user) else None

    def case_pseudonym(self, reference: str | None) -> str | None:
        """Keyed hash of a case reference, under which the log finds it again."""
        return self.subjects.case(reference) if reference else None
