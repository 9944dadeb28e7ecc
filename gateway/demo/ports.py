"""Ports of loopback for the processes of a demo network, taken before they are told."""

from __future__ import annotations

import secrets
import socket
import sys
import weakref
from collections.abc import Iterator, Sequence

LOOPBACK = "127.0.0.1"
_PORTS = range(12_000, 32_000)


class Ports:
    """Ports of loopback that are this process's to give away, for as long as the object is referred to.

    Each is bound and never listened on. A listener that sets SO_REUSEADDR, as every server here does, may bind it
    beside that, also again after it was killed; nobody else is given it, neither another reservation nor whoever asks
    the system for any free port. Only Linux shares a port so: elsewhere they are let go as soon as all are found.
    """

    def __init__(self, count: int) -> None:
        held: list[socket.socket] = []
        while len(held) < count:
            place = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            try:
                place.bind((LOOPBACK, secrets.choice(_PORTS)))
            except OSError:
                place.close()
                continue
            # Set after binding: the bind itself must fail where anybody has the port, reserved or listened on.
            place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            held.append(place)
        self._numbers = tuple(int(place.getsockname()[1]) for place in held)
        let_go = weakref.finalize(self, _close, held)
        if sys.platform != "linux":
            let_go()

    def __iter__(self) -> Iterator[int]:
        return iter(self._numbers)


def _close(held: Sequence[socket.socket]) -> None:
    for place in held:
        place.close()
