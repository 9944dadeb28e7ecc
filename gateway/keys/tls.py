"""TLS for the faces of a node.

The peer face speaks TLS 1.3 only and demands a certificate which an anchor of the registry has issued; which node that
certificate belongs to is then looked up in the registry by `peer_pin`. The client face speaks TLS 1.2 or later and
demands a certificate too, or only asks for one where systems may come with an access token instead.

What a listener serves with can change while it listens: a ServingContext hands each new connection to the context of
the moment, and a WatchedContext tells of every handshake that it refuses, by problem code.
Source: RFC 8446; RFC 9325 (recommendations for TLS); X509_V_ERR codes of OpenSSL.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from gateway.keys.certificates import to_pem
from gateway.keys.errors import TrustError
from gateway.wire.signing import thumbprint

_Context = TypeVar("_Context", bound=ssl.SSLContext)

# What OpenSSL says of a handshake, and the problem that it is. What is not here is `tls-handshake-failed`.
_BY_REASON = {
    "HTTP_REQUEST": "tls-required",
    "HTTPS_PROXY_REQUEST": "tls-required",
    "WRONG_VERSION_NUMBER": "tls-required",
    "UNSUPPORTED_PROTOCOL": "tls-version-refused",
    "UNKNOWN_PROTOCOL": "tls-version-refused",
    "VERSION_TOO_LOW": "tls-version-refused",
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "tls-certificate-missing",
}
_NOT_YET_VALID, _HAS_EXPIRED, _INVALID_PURPOSE = 9, 10, 26
_BY_VERIFICATION = {
    _NOT_YET_VALID: "tls-certificate-not-in-force",
    _HAS_EXPIRED: "tls-certificate-not-in-force",
    _INVALID_PURPOSE: "tls-certificate-unfit",
}


@dataclass(frozen=True, slots=True)
class TlsKey:
    """Files of a TLS key: certificate (PEM), private key (encrypted PKCS#8 in PEM), and the key's passphrase."""

    certificate: Path
    key: Path
    passphrase: bytes | None = None


class WatchedContext(ssl.SSLContext):
    """A server's context which tells `refused` the problem code of each handshake that it does not end well."""

    refused: Callable[[str], None] | None = None


class _WatchedObject(ssl.SSLObject):
    def do_handshake(self) -> None:
        try:
            super().do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except ssl.SSLError as error:
            context = self.context
            if isinstance(context, WatchedContext) and context.refused is not None:
                context.refused(handshake_problem(error))
            raise


class ServingContext(ssl.SSLContext):
    """What a listener is opened with: every new connection gets the certificate and the anchors of the moment."""

    current: ssl.SSLContext

    def wrap_bio(self, *arguments: Any, **options: Any) -> ssl.SSLObject:
        """Begin a connection with the current context."""
        return self.current.wrap_bio(*arguments, **options)


def serving(current: ssl.SSLContext) -> ServingContext:
    """A context for a listener which serves with `current` until it is given another."""
    context = ServingContext(ssl.PROTOCOL_TLS_SERVER)
    context.current = current
    return context


def watched(context: WatchedContext, refused: Callable[[str], None]) -> WatchedContext:
    """Make `context` tell `refused` of each handshake that fails."""
    context.refused = refused
    context.sslobject_class = _WatchedObject
    return context


def handshake_problem(error: ssl.SSLError) -> str:
    """The problem code for what went wrong in a handshake on the server's side."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _BY_VERIFICATION.get(error.verify_code, "tls-certificate-unknown")
    return _BY_REASON.get(error.reason or "", "tls-handshake-failed")


def peer_pin(certificate: bytes) -> str:
    """The pin of a certificate (DER) as the registry lists it: SHA-256 in unpadded base64url."""
    return thumbprint(certificate)


def server_context(key: TlsKey, anchors: Sequence[bytes]) -> WatchedContext:
    """The peer face's listener: TLS 1.3, client certificate demanded. Raises TrustError `key-unreadable`."""
    context = WatchedContext(ssl.PROTOCOL_TLS_SERVER)
    _harden(context, ssl.TLSVersion.TLSv1_3)
    _load(context, key)
    _trust(context, anchors)
    context.verify_mode = ssl.CERT_REQUIRED
    # Each handshake shows its certificate anew: a resumed session would outlive a revocation.
    context.num_tickets = 0
    return context


def client_context(
    key: TlsKey,
    anchors: Sequence[bytes],
    kind: type[_Context] = ssl.SSLContext,  # type: ignore[assignment]
) -> _Context:
    """What a node connects to its peers with: TLS 1.3, own certificate, the other's checked by chain and node id.

    `kind` is the class of context to make. Raises TrustError `key-unreadable`.
    """
    context = kind(ssl.PROTOCOL_TLS_CLIENT)
    _harden(context, ssl.TLSVersion.TLSv1_3)
    _load(context, key)
    _trust(context, anchors)
    context.check_hostname = True
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def client_face_context(key: TlsKey, authorities: Sequence[bytes], *, demand: bool = True) -> WatchedContext:
    """The client face's listener: TLS 1.2 or later, certificates of `authorities` (DER or PEM) accepted.

    With `demand` False a client without a certificate is let in, to show an access token instead; without authorities
    no client is asked for a certificate.
    """
    context = WatchedContext(ssl.PROTOCOL_TLS_SERVER)
    _harden(context, ssl.TLSVersion.TLSv1_2)
    _load(context, key)
    if not authorities and not demand:
        context.verify_mode = ssl.CERT_NONE
        return context
    _trust(context, authorities)
    context.verify_mode = ssl.CERT_REQUIRED if demand else ssl.CERT_OPTIONAL
    context.num_tickets = 0
    return context


def browser_context(key: TlsKey) -> ssl.SSLContext:
    """The console's listener: TLS 1.2 or later, no certificate asked of the browser. Raises TrustError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _harden(context, ssl.TLSVersion.TLSv1_2)
    _load(context, key)
    return context


def _harden(context: ssl.SSLContext, least: ssl.TLSVersion) -> None:
    context.minimum_version = least
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_TICKET
    context.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_TRUSTED_FIRST
    if least < ssl.TLSVersion.TLSv1_3:
        context.set_ciphers("ECDHE+AESGCM:ECDHE+CHACHA20")


def _load(context: ssl.SSLContext, key: TlsKey) -> None:
    try:
        # An empty passphrase function, so that OpenSSL never asks a terminal for one.
        context.load_cert_chain(key.certificate, key.key, password=key.passphrase or b"")
    except FileNotFoundError:
        raise TrustError("key-unreadable", f"{key.certificate} or {key.key} is not there") from None
    except (ssl.SSLError, OSError, ValueError):
        raise TrustError(
            "key-unreadable",
            f"{key.key} cannot be used with {key.certificate}",
            "check the passphrase, and that the key is that of the certificate",
        ) from None


def _trust(context: ssl.SSLContext, anchors: Sequence[bytes]) -> None:
    if not anchors:
        raise TrustError("certificate-chain", "no authority is given whose certificates are accepted")
    context.load_verify_locations(cadata="".join(to_pem(anchor).decode("ascii") for anchor in anchors))
