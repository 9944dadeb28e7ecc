"""Go by the keys of the secret files while the node runs, in the order in which the database says that they count.

A secret is changed on one machine and holds for all replicas: the database knows at once which keys its rows depend on.
A node that lacks one of them would pass over words of people that were written under it, so it is held until it has it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from audit.log.entries import micros
from audit.log.log import Log, LogError
from audit.questions.keys import SubjectKeys
from gateway.node.secret_files import TOKEN, KnownKey, SecretState, known_keys, lacks, ordered, path_of
from gateway.node.wiring import NodeError, log_signer, secrets_in
from gateway.settings import Settings
from gateway.settings.exposed import Exposed, exposed
from gateway.telemetry import event
from gateway.web.tokens import ACCESS_LIFETIME, Tokens

LOGGER = logging.getLogger("yhdyspinta.secrets")
WATCHED: Final = ("wrapping_key", "index_key", TOKEN)


@dataclass(slots=True)
class SecretWatch:
    """Keeps what a node works with to its files and its database. `tokens` joins later, with the face for clients.

    `log` signs by the keys of its file.
    """

    settings: Settings
    engine: Engine
    keys: SubjectKeys
    clock: Callable[[], datetime]
    tokens: Tokens | None = None
    log: Log | None = None
    _held: dict[str, tuple[bytes, ...]] = field(default_factory=dict)
    _stamps: dict[str, int] = field(default_factory=dict)
    _lacking: str | None = None
    #: Secret files that others could read by now: told, since a node that runs is not to stop of it.
    exposed: tuple[Exposed, ...] = ()

    def look(self) -> str | None:
        """Take up what has changed. What is lacking to go on releasing, if anything. Blocks."""
        self._look_at_modes()
        for name in WATCHED:
            self._read(name)
        if self.log is not None:
            self._read_log(self.log)
        try:
            with self.engine.connect() as connection:
                known = known_keys(connection)
        except SQLAlchemyError as error:
            # Without its database a node releases nothing anyway.
            event(LOGGER, logging.ERROR, "secrets-not-compared", reason=type(error).__name__)
            return self._lacking
        self._use(known)
        faults = ((name, lacks(name, self._held[name], known.get(name, ()))) for name in ("wrapping_key", "index_key"))
        lacking = next((f"{path_of(self.settings, name).name} {fault}" for name, fault in faults if fault), None)
        if lacking is not None and lacking != self._lacking:
            event(LOGGER, logging.ERROR, "secret-lacking", reason=lacking)
        self._lacking = lacking
        return lacking

    def _look_at_modes(self) -> None:
        found = exposed(self.settings)
        for file in found:
            if file not in self.exposed:
                event(LOGGER, logging.ERROR, "secret-exposed", key=file.key, reason=file.fault)
        self.exposed = found

    def _read(self, name: str) -> None:
        """Read a file again if it was replaced; the former keys go on if it is gone or half copied."""
        path = path_of(self.settings, name)
        try:
            stamp = path.stat().st_mtime_ns
            if stamp == self._stamps.get(name):
                return
            keys = secrets_in(path)
        except (NodeError, OSError) as error:
            if name not in self._held:
                raise
            event(LOGGER, logging.ERROR, "secret-unread", file=path.name, reason=type(error).__name__)
            return
        if name in self._held and keys != self._held[name]:
            event(LOGGER, logging.INFO, "secret-read", file=path.name, keys=len(keys))
        self._held[name], self._stamps[name] = keys, stamp

    def _read_log(self, log: Log) -> None:
        """Sign by the keys that the log's file has now, if they go on from those in use; else the former go on."""
        path = self.settings.secrets.log_key
        try:
            stamp = path.stat().st_mtime_ns
            if stamp == self._stamps.get(path.name):
                return
            before = log.signs_by
            log.sign_by(log_signer(self.settings))
        except (NodeError, LogError, OSError) as error:
            event(LOGGER, logging.ERROR, "secret-unread", file=path.name, reason=type(error).__name__)
            return
        if path.name in self._stamps and log.signs_by != before:
            event(LOGGER, logging.INFO, "secret-read", file=path.name, keys=len(log.signs_by))
        self._stamps[path.name] = stamp

    def _use(self, known: Mapping[str, tuple[KnownKey, ...]]) -> None:
        wrapping, index = (
            ordered(name, self._held[name], known.get(name, ())) for name in ("wrapping_key", "index_key")
        )
        self.keys.use(wrapping, index)
        if self.tokens is not None:
            keys = ordered(TOKEN, self._held[TOKEN], known.get(TOKEN, ()))
            # Whoever has stolen the former key can make tokens until it counts no more, so that is soon.
            since = max((key.at for key in known.get(TOKEN, ()) if key.state is SecretState.CURRENT), default=0)
            is_over = micros(self.clock()) > since + ACCESS_LIFETIME // timedelta(microseconds=1)
            is_changing = any(key.state is SecretState.JOINING for key in known.get(TOKEN, ()))
            used = keys[:1] if is_over and not is_changing else keys
            self.tokens.use(tuple(Ed25519PrivateKey.from_private_bytes(key) for key in used))
