"""Fetch a person's record from the source system behind a service, and read it with the service's adapter.

The source answers in its own format; the adapter turns it into the canonical bundle. The locator (which person) travels
in the body of a POST, never in a URL. Redirects are not followed and only the configured address is ever called.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol, runtime_checkable

import aiohttp
import orjson

from adapters.sdk import Adapter, Finding, Limits, Mapped
from consent.rules.request import is_justification
from gateway.sources.endpoint import Endpoint
from gateway.wire.problems import ProblemError
from schemas.identifiers import SubjectIdentifierError, canonical

#: As many as the schema lets a record have.
MOST_IDENTIFIERS = 5


@dataclass(frozen=True, slots=True)
class Locator:
    """Which person a query is about: an identifier in its one notation, with the system that gives it meaning."""

    system: str
    value: str

    @classmethod
    def of(cls, subject: object, pointer: str = "/subject") -> Locator:
        """Read `{"system": …, "value": …}`, which stands at `pointer`, into the notation in which persons are known.

        Raises ProblemError `invalid-request`, `subject-system-unknown`, `subject-form`, `subject-check`.
        """
        system, value = (subject.get("system"), subject.get("value")) if isinstance(subject, dict) else (None, None)
        if not (isinstance(system, str) and isinstance(value, str) and 0 < len(value) <= 64 and 0 < len(system) <= 128):
            raise ProblemError(
                "invalid-request",
                pointer=pointer,
                detail="the request does not say which person it is about",
                remedy='send {"system": "urn:oid:1.2.246.21", "value": "…"}',
            )
        try:
            return cls(*canonical(system, value))
        except SubjectIdentifierError as error:
            raise impossible(error, f"{pointer}/{error.member}") from None

    @classmethod
    def several(cls, subjects: object, pointer: str) -> tuple[Locator, ...]:
        """The same for the identifiers of one person, at least one. Raises ProblemError."""
        if not isinstance(subjects, list) or not 0 < len(subjects) <= MOST_IDENTIFIERS:
            raise ProblemError(
                "invalid-request",
                pointer=pointer,
                detail=f"a person is named by a list of 1 to {MOST_IDENTIFIERS} identifiers",
                remedy='send [{"system": "urn:oid:1.2.246.21", "value": "…"}]',
            )
        return tuple(cls.of(given, f"{pointer}/{index}") for index, given in enumerate(subjects))

    def canonical(self) -> bytes:
        """The bytes that travel to the source system."""
        return orjson.dumps({"subject": {"system": self.system, "value": self.value}})


def impossible(error: SubjectIdentifierError, pointer: str) -> ProblemError:
    """An identifier that cannot be taken, as a problem with its place."""
    return ProblemError(error.code, pointer=pointer, detail=error.detail, remedy=error.remedy)


def object_in(body: bytes) -> dict[str, Any]:
    """The JSON object that the body of a peer's message is. Raises ProblemError `invalid-request`."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        document = None
    if not isinstance(document, dict):
        raise ProblemError("invalid-request", detail="the body is not a JSON object", remedy="send a JSON object")
    return document


def read_query(body: bytes) -> tuple[Locator, str | None]:
    """Which person a query is about and, in an emergency, its justification. Raises ProblemError `invalid-request`."""
    document = object_in(body)
    emergency = document.get("emergency")
    justification = emergency.get("justification") if isinstance(emergency, dict) else None
    if emergency is not None and not is_justification(justification):
        raise ProblemError(
            "justification-missing",
            pointer="/emergency/justification",
            detail="an emergency was claimed without a justification that says anything",
            remedy="say in a sentence why it cannot wait; the data protection officer will read it",
        )
    return Locator.of(document.get("subject")), justification


@dataclass(frozen=True, slots=True)
class Sourced:
    """One person's record, mapped: the canonical bundle and what the adapter had to say about it.

    `made_by` is the version of the adapter, `key` the record's key in the source, if it has one.
    """

    bundle: dict[str, Any]
    findings: tuple[Finding, ...]
    made_by: str = ""
    key: str | None = None


class Backend(Protocol):
    """What stands behind a query service."""

    async def fetch(self, locator: Locator) -> Sourced:
        """Fetch and map one person's record.

        Raises ProblemError: `subject-not-found`, `source-unreachable`, `source-timeout`, `source-failed`,
        `source-invalid`.
        """
        ...

    async def close(self) -> None:
        """End all connections to the source."""
        ...


@runtime_checkable
class Elsewhere(Protocol):
    """An adapter that works in another process, which the event loop can wait for without a thread."""

    async def convert_soon(self, body: bytes, limits: Limits) -> list[Mapped]:
        """What the records of a body become."""
        ...


class HttpBackend:
    """A source system that answers over HTTP in a format that an adapter reads."""

    def __init__(self, endpoint: Endpoint, adapter: Adapter, *, limits: Limits) -> None:
        self._url = endpoint.url
        self._adapter = adapter
        # Asked once: a protocol that is checked at run time is slow to ask.
        self._elsewhere = adapter if isinstance(adapter, Elsewhere) else None
        self._limits = limits
        self._body_limit = endpoint.body_limit
        self._timeout = aiohttp.ClientTimeout(total=endpoint.timeout_seconds)
        self._context = endpoint.context
        self._session: aiohttp.ClientSession | None = None

    async def fetch(self, locator: Locator) -> Sourced:
        """See Backend."""
        body = await self._ask(locator)
        found: Sourced | None = None
        for mapped in await self._converted(body):
            if mapped.bundle is None or found is not None:
                # Half a record, or records of several persons, is not an answer to a question about one person.
                raise ProblemError(
                    "source-invalid",
                    detail="the source system's record cannot be read without errors: "
                    + ", ".join(sorted({finding.code for finding in mapped.findings}) or ["more than one person"]),
                )
            found = Sourced(mapped.bundle, tuple(mapped.findings), mapped.made_by, mapped.key or None)
        if found is None:
            raise ProblemError("subject-not-found", detail="the source system knows no such person")
        return found

    async def _converted(self, body: bytes) -> list[Mapped]:
        adapter = self._adapter
        if self._elsewhere is not None:
            return await self._elsewhere.convert_soon(body, self._limits)
        # Two records say that it is not one.
        return await asyncio.to_thread(lambda: list(islice(adapter.convert(io.BytesIO(body), self._limits), 2)))

    async def _ask(self, locator: Locator) -> bytes:
        if self._session is None:
            connector = aiohttp.TCPConnector(limit=0, limit_per_host=128, ssl=self._context or True)
            self._session = aiohttp.ClientSession(
                connector=connector,
                timeout=self._timeout,
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                skip_auto_headers={"User-Agent", "Accept-Encoding"},
            )
        headers: Mapping[str, str] = {
            "Content-Type": "application/json",
            "Accept": ", ".join(self._adapter.manifest.media_types),
        }
        try:
            try:
                received = await self._answer(self._session, locator, headers)
            except aiohttp.ClientConnectorError:
                raise
            except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
                # A connection that was kept open is closed by the source when it likes. A question changes nothing
                # there, so it is asked once more, on another connection.
                received = await self._answer(self._session, locator, headers)
        except TimeoutError:
            raise ProblemError("source-timeout", detail="the source system did not answer in time") from None
        except (aiohttp.ClientError, OSError) as error:
            raise ProblemError(
                "source-unreachable", detail=f"the source system could not be reached ({type(error).__name__})"
            ) from None
        if len(received) > self._body_limit:
            raise ProblemError("source-failed", detail=f"the source's answer is over {self._body_limit} bytes")
        return received

    async def _answer(self, session: aiohttp.ClientSession, locator: Locator, headers: Mapping[str, str]) -> bytes:
        async with session.post(
            self._url, data=locator.canonical(), headers=headers, allow_redirects=False
        ) as response:
            if response.status == 404:
                raise ProblemError("subject-not-found", detail="the source system knows no such person")
            if response.status != 200:
                raise ProblemError("source-failed", detail=f"the source system answered {response.status}")
            received = await response.content.read(self._body_limit + 1)
            while len(received) <= self._body_limit and not response.content.at_eof():
                received += await response.content.read(self._body_limit + 1 - len(received))
            return received

    async def close(self) -> None:
        """See Backend."""
        if self._session is not None:
            await self._session.close()
