"""The node's own keys, which change while it runs: for signing, for the peer face and for the client face.

The key files are looked at every second. A key that was put in place of another is opened beside the one in use, which
stays in memory, and takes over when everybody can know it: when the registry has listed its certificate for as long as
peers may need to refresh (`overlap`). Until then, and if the files do not fit together, the former goes on. So a
rotation loses no message, and half-copied files stop nothing. A key whose certificate the registry lists no longer
gives way at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from gateway.keys import durable
from gateway.keys.certificates import load, to_der
from gateway.keys.errors import TrustError
from gateway.keys.keystore import FileKeyStore
from gateway.keys.tls import TlsKey, client_context
from gateway.keys.token import Pkcs11KeyStore
from gateway.settings.keys import KeySettings
from gateway.storage.scratch import Scratch
from gateway.wire.signing import Signer, thumbprint

#: With less than this left of a certificate's life, health warns that it is about to expire.
WARN = timedelta(days=30)

Vouched = Callable[[bytes, datetime], bool]
"""Whether a certificate (DER) may be used at that moment, as far as the registry goes."""


@dataclass(frozen=True, slots=True)
class Key:
    """A key as it was opened: its certificate (DER), until when that is good (UTC), and what uses it."""

    certificate: bytes
    not_after: datetime
    signer: Signer | None = None
    tls: TlsKey | None = None

    @property
    def name(self) -> str:
        """Thumbprint of the certificate."""
        return thumbprint(self.certificate)


Opener = Callable[[KeySettings], Key]
_Stamp = tuple[tuple[str, int, int, int], ...]


class KeyPlace:
    """One of the node's keys: where it lies, the one in use, and the one that waits to take over."""

    def __init__(self, name: str, settings: KeySettings, opened: Opener, vouched: Vouched, overlap: timedelta) -> None:
        """Open the key. Raises TrustError `key-unreadable`, `key-mismatch`, or that the certificate is none."""
        self.name = name
        self.problem: TrustError | None = None
        self._settings = settings
        self._open = opened
        self._vouched = vouched
        self._overlap = overlap
        self._stamp = _stamp(settings)
        self.held = opened(settings)
        self.waiting: Key | None = None
        self._since: datetime | None = None

    def use(self, settings: KeySettings) -> None:
        """Look for the key elsewhere from now on."""
        if settings != self._settings:
            self._settings = settings
            self._stamp = ()

    def look(self) -> bool:
        """Open the files if they have changed; whether there was anything new, or newly wrong, to say."""
        stamp = _stamp(self._settings)
        if stamp == self._stamp:
            return False
        before = str(self.problem)
        try:
            found = self._open(self._settings)
        except TrustError as error:
            # Looked at again the next time: the files may be half-way through being replaced.
            self.problem = error
            return str(error) != before
        self._stamp, self.problem, self._since = stamp, None, None
        self.waiting = found if found.certificate != self.held.certificate else None
        return True

    def settle(self, now: datetime) -> bool:
        """Let the waiting key take over if its time has come; whether it did."""
        waiting = self.waiting
        if waiting is None or not self._vouched(waiting.certificate, now):
            self._since = None
            return False
        if self._since is None:
            self._since = now
        if now - self._since < self._overlap and self._vouched(self.held.certificate, now):
            return False
        self.held, self.waiting, self._since = waiting, None, None
        return True

    def listed(self, now: datetime) -> bool:
        """Whether the key in use may be used, as far as the registry goes."""
        return self._vouched(self.held.certificate, now)

    def remaining(self, now: datetime) -> float:
        """Seconds until the certificate in use expires."""
        return (self.held.not_after - now).total_seconds()

    def condition(self, now: datetime) -> dict[str, Any]:
        """How the key stands, for the node's health."""
        return {
            "certificate": self.held.name,
            "expires": self.held.not_after.isoformat(),
            "remaining_seconds": round(self.remaining(now)),
            "expires_soon": self.held.not_after - now < WARN,
            "in_force": self.listed(now) and now <= self.held.not_after,
            "next": self.waiting.name if self.waiting is not None else None,
            "problem": str(self.problem) if self.problem is not None else None,
        }


class Opening:
    """Opens keys. TLS keys are copied, still encrypted, into a folder of this process: their files may change."""

    def __init__(self) -> None:
        self._scratch = Scratch()
        self._number = 0
        self._tokens: list[Pkcs11KeyStore] = []

    def close(self) -> None:
        """Remove the copies, and end the sessions with tokens."""
        self._scratch.close()
        for token in self._tokens:
            token.close()

    def signing(self, settings: KeySettings) -> Key:
        """A key that signs messages, from a file or a token."""
        signer: Signer
        if settings.pkcs11_module is not None:
            assert settings.pkcs11_token is not None
            assert settings.pkcs11_label is not None
            assert settings.pkcs11_pin is not None
            signer = Pkcs11KeyStore(
                settings.pkcs11_module,
                settings.pkcs11_token,
                settings.pkcs11_label,
                _read(settings.pkcs11_pin).decode("utf-8", "replace").strip(),
                _read(settings.certificate),
            )
            self._tokens.append(signer)
        else:
            assert settings.key is not None
            signer = FileKeyStore.open(settings.key, settings.certificate, passphrase(settings))
        return Key(signer.certificate, load(signer.certificate).not_valid_after_utc, signer=signer)

    def tls(self, settings: KeySettings) -> Key:
        """A key that proves the node at the ends of a connection, from a file."""
        if settings.key is None:
            raise TrustError(
                "key-unreadable",
                "the keys for TLS are files",
                "give `key` and `passphrase`; a token holds signing keys",
            )
        self._number += 1
        certificate, key = (self._scratch.folder / f"{self._number}.{of}" for of in ("pem", "key"))
        for copy, original in ((certificate, settings.certificate), (key, settings.key)):
            durable.put(copy, _read(original))
        copied = TlsKey(certificate, key, passphrase(settings))
        der = to_der(certificate.read_bytes())
        # Made in order to see that key, passphrase and certificate belong together.
        client_context(copied, (der,))
        return Key(der, load(der).not_valid_after_utc, tls=copied)


def passphrase(settings: KeySettings) -> bytes:
    """The passphrase of a key, from its file. Raises TrustError `key-unreadable`."""
    return _read(settings.passphrase).strip() if settings.passphrase else b""


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise TrustError("key-unreadable", f"{path} cannot be read: {error.strerror}") from None


def _stamp(settings: KeySettings) -> _Stamp:
    """What tells that a file is another one: its inode, size and time of change."""
    found = []
    for path in (settings.certificate, settings.key):
        if path is not None:
            try:
                status = path.stat()
                found.append((str(path), status.st_ino, status.st_size, status.st_mtime_ns))
            except OSError:
                found.append((str(path), 0, 0, 0))
    return tuple(found)
