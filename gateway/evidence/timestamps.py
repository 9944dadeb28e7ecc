"""RFC 3161 time stamps over checkpoints: an authority that is none of us says by when the log had come how far.

`Stamping` asks for one now and then while a node runs; it is a convenience for later evidence and never in the way of
an exchange. `check_timestamp` verifies one.
Source: RFC 3161; RFC 5816.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
from cryptography import x509
from rfc3161_client import (
    HashAlgorithm,
    TimestampRequestBuilder,
    VerificationError,
    VerifierBuilder,
    decode_timestamp_response,
)
from sqlalchemy import Connection, insert, select

from audit.log.log import Log, LogError
from audit.log.waiting import Written
from gateway.keys.errors import TrustError
from gateway.storage.tables import timestamps
from gateway.telemetry import event

LOGGER = logging.getLogger("yhdyspinta.timestamps")
RESPONSE_LIMIT = 64 * 1024


def check_timestamp(token: bytes, data: bytes, authorities: Sequence[bytes]) -> datetime:
    """When the time stamp says that `data` existed (UTC). Raises TrustError `timestamp-refused`.

    `authorities` are files of certificates (PEM, one or several each) whose time stamps are believed.
    """
    try:
        roots = [
            load_pem_x509_certificate
            for file in authorities
            for load_pem_x509_certificate in x509.load_pem_x509_certificates(file)
        ]
        response = decode_timestamp_response(token)
        VerifierBuilder(roots=roots).build().verify_message(response, data)
        at = response.tst_info.gen_time
    except (VerificationError, ValueError) as error:
        # The library's texts quote whole error stacks; the first line says what is the matter.
        raise TrustError("timestamp-refused", f"the time stamp does not hold: {str(error).splitlines()[0]}") from None
    return (at if at.tzinfo is not None else at.replace(tzinfo=UTC)).astimezone(UTC)


class Stamping:
    """Has the log's latest checkpoint stamped at intervals, whenever the log has grown."""

    def __init__(
        self, url: str, authorities: Sequence[Path], every_seconds: float, *, log: Log, clock: Callable[[], datetime]
    ) -> None:
        self._url = url
        self._authorities = [path.read_bytes() for path in authorities]
        self._every = every_seconds
        self._log = log
        self._clock = clock
        self._size = 0

    async def run(self) -> None:
        """Stamp until cancelled. What fails is told in the operational log, and tried again the next time."""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as session:
            while True:
                try:
                    await self.stamp(session)
                except (TrustError, LogError, aiohttp.ClientError, OSError, TimeoutError) as error:
                    event(LOGGER, logging.WARNING, "not-stamped", reason=getattr(error, "code", type(error).__name__))
                await asyncio.sleep(self._every)

    async def stamp(self, session: aiohttp.ClientSession) -> None:
        """Have the newest checkpoint stamped, if it is not yet. Raises TrustError `timestamp-refused`."""
        checkpoint = self._log.latest()
        if checkpoint.size in {0, self._size}:
            return
        note = checkpoint.note.encode()
        request = TimestampRequestBuilder().data(note).hash_algorithm(HashAlgorithm.SHA256).build()
        headers = {"Content-Type": "application/timestamp-query"}
        async with session.post(self._url, data=request.as_bytes(), headers=headers, allow_redirects=False) as answer:
            if answer.status != 200:
                raise TrustError("timestamp-refused", f"the authority answered {answer.status}")
            token = b""
            async for part in answer.content.iter_chunked(RESPONSE_LIMIT):
                token += part
                if len(token) > RESPONSE_LIMIT:
                    raise TrustError("timestamp-refused", "the authority's answer is over any time stamp's size")
        check_timestamp(token, note, self._authorities)
        at = int(self._clock().timestamp() * 1_000_000)

        def keep(connection: Connection) -> Written[None]:
            held = connection.execute(select(timestamps.c.size).where(timestamps.c.size == checkpoint.size)).first()
            if held is None:
                row = {"size": checkpoint.size, "note": checkpoint.note, "token": token, "at": at}
                connection.execute(insert(timestamps), row)
            return Written(None, ())

        await self._log.commit(keep)
        self._size = checkpoint.size
