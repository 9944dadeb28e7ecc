"""Is a face ready, by what this process can know; and what only others can know, told beside it and deciding nothing.

A balancer sends nothing to a face that is not ready. So what decides is what the process sees for itself: whether its
log can be written, whether the registry and its own keys are in force, whether it is held. Whether anybody reaches it
from outside, those tell who do: a node behind an address translator could not find out by calling itself.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit

from audit.log.entries import EntryType, Outcome
from audit.log.log import Log, LogError
from gateway.registry.read.standing import Standing
from gateway.settings import Settings
from gateway.story import Story

PROBE_SECONDS = 2.0


class FaceName(StrEnum):
    """The faces that a balancer may ask about."""

    CLIENTS = "clients"
    PEERS = "peers"
    CONSOLE = "console"


#: The console shows what has been recorded, and is needed most when nothing can be released.
_NEEDED: Mapping[FaceName, frozenset[str]] = {
    FaceName.CLIENTS: frozenset({"stopping", "log", "registry", "held", "keys.signing", "keys.peers", "keys.clients"}),
    FaceName.PEERS: frozenset({"stopping", "log", "registry", "held", "keys.signing", "keys.peers"}),
    FaceName.CONSOLE: frozenset({"stopping", "log"}),
}


@dataclass(frozen=True, slots=True)
class Seen:
    """What a process sees of itself. `keys` says of each whether others believe it."""

    is_stopping: bool
    is_log_writable: bool
    is_registry_in_force: bool
    is_held: bool
    keys: Mapping[str, bool]

    def faults(self) -> frozenset[str]:
        """What is not as it should be."""
        signing = [in_force for name, in_force in self.keys.items() if name.partition("/")[0] == "signing"]
        faults = {
            "stopping": self.is_stopping,
            "log": not self.is_log_writable,
            "registry": not self.is_registry_in_force,
            "held": self.is_held,
            **{f"keys.{name}": not in_force for name, in_force in self.keys.items()},
            # One member's key that has ended stops nothing of another's.
            "keys.signing": not any(signing),
        }
        return frozenset(name for name, is_at_fault in faults.items() if is_at_fault)


def readiness(seen: Seen) -> dict[str, Any]:
    """Each face with what it misses, and `ready`, which is that of the faces that move data."""
    faults = seen.faults()
    faces = {face: sorted(faults & needed) for face, needed in _NEEDED.items()}
    return {
        "ready": not faces[FaceName.CLIENTS] and not faces[FaceName.PEERS],
        "faces": {face.value: {"ready": not missing, "missing": missing} for face, missing in faces.items()},
    }


def reach(standing: Standing | None, settings: Settings, called: datetime | None) -> dict[str, Any]:
    """Where others look for the face towards peers, where it listens, and when one of them last came."""
    port, nodes = settings.listen.peers.port, standing.registry.content.nodes if standing is not None else ()
    listed = next((node.address for node in nodes if node.id == settings.node.id), None)
    return {
        "registered": listed,
        "listening_port": port,
        "same_port": None if listed is None else urlsplit(listed).port == port,
        "last_call": called.isoformat() if called is not None else None,
    }


async def probe(log: Log, node: str, clock: Callable[[], datetime]) -> None:
    """While the log cannot be written, try: to a face that is not ready nobody sends anything that would find out."""
    while True:
        await asyncio.sleep(PROBE_SECONDS)
        if not log.is_writable:
            entry = Story(node=node).entry(
                EntryType.MAINTENANCE, Outcome.SUCCESS, clock(), reason="log-not-durable", detail={"act": "writable"}
            )
            with contextlib.suppress(LogError):
                await log.append((entry,))
