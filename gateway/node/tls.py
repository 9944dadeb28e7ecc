"""The TLS contexts of a node's faces, and the one that it connects to its peers with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.exchange.transport import PinnedContext, pinned
from gateway.keys.credentials import KeyPlace
from gateway.keys.tls import (
    ServingContext,
    TlsKey,
    client_context,
    client_face_context,
    server_context,
    serving,
    watched,
)
from gateway.node.handshakes import RefusedConnections
from gateway.registry.read.standing import Standings


class TlsFaces:
    """The TLS contexts of a node, made anew whenever a key or the registry's anchors change."""

    def __init__(
        self,
        places: Mapping[str, KeyPlace],
        authorities: list[bytes],
        standings: Standings,
        refused: RefusedConnections,
    ) -> None:
        """`places` has the keys `peers` and `clients`. Raises TrustError if they cannot be used."""
        self._places = places
        self._standings = standings
        self._refused = refused
        self._authorities = authorities
        self.peers: ServingContext = serving(self._peers())
        self.clients: ServingContext = serving(self._clients())
        #: For sources that listen: a certificate is demanded, so without anybody who issues them there is none.
        self.messages: ServingContext | None = serving(self._messages()) if authorities else None

    def renew(self, authorities: list[bytes] | None = None) -> None:
        """Serve new connections with the keys and anchors of this moment."""
        self._authorities = authorities if authorities is not None else self._authorities
        self.peers.current, self.clients.current = self._peers(), self._clients()
        if self.messages is not None and self._authorities:
            # Without them nobody new is believed; who was is still known by the certificate that the settings pin.
            self.messages.current = self._messages()

    def outgoing(self) -> PinnedContext:
        """What the node connects to its peers with."""
        return pinned(client_context(self._tls("peers"), self.anchors(), PinnedContext), self._listed)

    def anchors(self) -> tuple[bytes, ...]:
        """The registry's anchors, of the last registry that was good."""
        latest = self._standings.latest
        return latest.registry.anchors if latest is not None else ()

    def _listed(self, node: str, certificate: bytes) -> bool:
        latest = self._standings.latest
        if latest is None:
            return False
        known = latest.registry.node(node)
        return known is not None and latest.registry.tls_certificate(known, certificate) is not None

    def _peers(self) -> Any:
        return watched(server_context(self._tls("peers"), self.anchors()), self._refused.on("peers"))

    def _clients(self) -> Any:
        return watched(
            client_face_context(self._tls("clients"), self._authorities, demand=False), self._refused.on("clients")
        )

    def _messages(self) -> Any:
        return watched(client_face_context(self._tls("clients"), self._authorities), self._refused.on("messages"))

    def _tls(self, name: str) -> TlsKey:
        key = self._places[name].held.tls
        assert key is not None
        return key
