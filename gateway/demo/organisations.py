"""The organisations of a demo network: what they are, and how each was built."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gateway.wire.identifiers import MemberId, SubsystemId
from texts import Text

INSTANCE = "FI-DEMO"


@dataclass(frozen=True, slots=True)
class Organisation:
    """An organisation of the demo: its member and subsystem (`CLASS/MEMBER`, subsystem), its roles, its node.

    `municipalities` are the codes that a municipality answers for, `county` the county that a county is.
    """

    name: str
    title: Text
    member: str
    subsystem: str
    roles: tuple[str, ...]
    node: str
    municipalities: tuple[str, ...] = ()
    county: str | None = None


@dataclass(frozen=True, slots=True)
class Party:
    """One organisation of the demo as it was built: its identifiers, its node and where that listens."""

    name: str
    title: Text
    member: MemberId
    subsystem: SubsystemId
    roles: tuple[str, ...]
    node: str
    folder: Path
    peers: int
    clients: int
    local: int
    system: int
    console: int

    @property
    def holds_records(self) -> bool:
        """Whether it is the one whose register the demo reads."""
        return "reception-centre" in self.roles

    @property
    def config(self) -> Path:
        """The node's settings."""
        return self.folder / "node.toml"

    @property
    def address(self) -> str:
        """Where the organisation's own systems call their node."""
        return f"https://localhost:{self.clients}"

    @property
    def console_address(self) -> str:
        """Where the organisation's data protection officer signs in."""
        return f"http://localhost:{self.console}"


#: The four organisations of `make demo`.
DEMO: tuple[Organisation, ...] = (
    Organisation(
        "centre",
        Text("Esimerkin vastaanottokeskus", "Exempelförläggningen", "Example reception centre"),
        "GOV/9000001-1",
        "vastaanotto",
        ("reception-centre",),
        "centre.demo",
    ),
    Organisation(
        "kotka",
        Text("Kotkan kaupunki (demo)", "Kotka stad (demo)", "City of Kotka (demo)"),
        "MUN/9000003-8",
        "kotoutuminen",
        ("municipality",),
        "kotka.demo",
        municipalities=("285",),
    ),
    Organisation(
        "kymenlaakso",
        Text("Kymenlaakson hyvinvointialue (demo)", "Kymmenedalens välfärdsområde (demo)", "Kymenlaakso county (demo)"),
        "WSC/9000004-6",
        "sosiaali",
        ("county",),
        "kymenlaakso.demo",
        county="kymenlaakso",
    ),
    Organisation(
        "placement",
        Text("Elinvoimakeskus (demo)", "Livskraftscentralen (demo)", "Placement authority (demo)"),
        "GOV/9000005-4",
        "kuntapaikat",
        ("placement-authority",),
        "placement.demo",
    ),
)
