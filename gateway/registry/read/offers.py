"""The services of a published registry, read when somebody asks for them.

A network of ten thousand members offers a hundred thousand services, of which one node ever calls a few dozen. The file
is parsed and grouped by subsystem at once; a group's descriptors are made at the first look-up in it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any

from gateway.keys.errors import TrustError
from gateway.registry.read.entries import ServiceDescriptor
from gateway.wire.identifiers import SubsystemId

ReadGroup = Callable[[Mapping[str, Any]], list[ServiceDescriptor]]


class Offers(Collection[ServiceDescriptor]):
    """All services of a registry by their subsystem, equal to any collection of the same descriptors in their order."""

    def __init__(self, groups: Mapping[SubsystemId, Mapping[str, Any]], read: ReadGroup, size: int) -> None:
        """`groups` is the parsed JSON of each subsystem, which `read` turns into descriptors."""
        self._groups = groups
        self._read = read
        self._size = size
        self._made: dict[SubsystemId, dict[str, ServiceDescriptor]] = {}

    @classmethod
    def given(cls, services: Iterable[ServiceDescriptor]) -> Offers:
        """Offers of descriptors that are there already. Raises TrustError `registry-malformed` for one listed twice."""
        offers = cls({}, lambda _group: [], 0)
        for service in services:
            group = offers._made.setdefault(service.id.subsystem, {})
            if group.setdefault(service.id.code, service) is not service:
                raise TrustError("registry-malformed", f"the service {service.id} is listed twice")
            offers._size += 1
        offers._groups = {subsystem: {} for subsystem in offers._made}
        return offers

    def subsystems(self) -> Iterator[SubsystemId]:
        """The subsystems that offer anything."""
        return iter(self._groups)

    def of(self, subsystem: SubsystemId) -> Mapping[str, ServiceDescriptor]:
        """The services of one subsystem by their code. Raises TrustError `registry-malformed`."""
        made = self._made.get(subsystem)
        if made is None:
            group = self._groups.get(subsystem)
            if group is None:
                return {}
            read = self._read(group)
            made = {service.id.code: service for service in read}
            if len(made) != len(read):
                raise TrustError("registry-malformed", f"a service of {subsystem} is listed twice")
            self._made[subsystem] = made
        return made

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[ServiceDescriptor]:
        for subsystem in self._groups:
            yield from self.of(subsystem).values()

    def __contains__(self, service: object) -> bool:
        return isinstance(service, ServiceDescriptor) and (
            self.of(service.id.subsystem).get(service.id.code) == service
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Collection) and tuple(self) == tuple(other)

    def __hash__(self) -> int:
        return hash(self._size)
