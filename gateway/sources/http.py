"""Pages of a source system's HTTP API, with OAuth 2.0 client credentials where it asks for them.

A page leads to the next one by a `Link: <…>; rel="next"` header (RFC 8288) or by a member of its body. The feed moves
on only when a page names the next; the last page is asked for again until it has grown or has a next one, so that
nothing is skipped. A next page must be at the same origin: a source cannot send the node elsewhere, nor its token.
Source: RFC 6749 section 4.4 for the client credentials.
"""

from __future__ import annotations

import asyncio
import base64
import io
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urljoin, urlsplit

import aiohttp
import orjson

from adapters.sdk import Adapter
from gateway.sources.batches import Batch, FileBatch, SourceError, identity
from gateway.sources.endpoint import Endpoint

_NEXT = re.compile(r'<([^<>]+)>\s*;[^,]*\brel\s*=\s*"?next"?', re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ClientCredentials:
    """What the node shows at the token endpoint."""

    token_url: str
    client_id: str
    secret: Callable[[], str]
    scope: str = ""


@dataclass(frozen=True, slots=True)
class Paging:
    """Where a page holds its records and its next page: JSON Pointers into the body; empty for all of it, or none.
    A step `link[relation=next]` is the object of a list that has this member.

    `parameter` says in which query parameter a next page that is not an address is asked for.
    """

    records: str = ""
    next: str = ""
    parameter: str = ""


class HttpApi:
    """An HTTP API that gives its records page by page."""

    def __init__(
        self,
        endpoint: Endpoint,
        adapter: Adapter,
        *,
        paging: Paging,
        credentials: ClientCredentials | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url = endpoint.url
        self._adapter = adapter
        self._paging = paging
        self._credentials = credentials
        self._timeout = aiohttp.ClientTimeout(total=endpoint.timeout_seconds)
        self._body_limit = endpoint.body_limit
        self._context = endpoint.context
        self._monotonic = monotonic
        self._session: aiohttp.ClientSession | None = None
        self._token = ""
        self._token_ends = 0.0

    async def poll(self, position: str | None) -> Batch | None:
        """See Source."""
        url = position or self._url
        body, headers = await self._page(url)
        document = _json(body) if self._paging.records or self._paging.next else None
        further = self._next(url, document, headers)
        records = body
        if self._paging.next and isinstance(document, dict) and document.get("resourceType") == "Bundle":
            # Its pages are followed here: a page is not refused for being one of several.
            records = orjson.dumps({name: value for name, value in document.items() if name not in {"link", "total"}})
        if self._paging.records:
            records = orjson.dumps(_pointed(document, self._paging.records))
        return FileBatch(identity(url.encode(), records), "page", lambda: io.BytesIO(records), further or position)

    async def finished(self, batch: Batch) -> None:
        """See Source."""

    async def close(self) -> None:
        """See Source."""
        if self._session is not None:
            await self._session.close()

    def _next(self, url: str, document: Any, headers: Mapping[str, str]) -> str | None:
        stated: Any = None
        if self._paging.next:
            stated = _pointed(document, self._paging.next, missing=None)
        elif match := _NEXT.search(headers.get("Link", "")):
            stated = match[1]
        if stated in (None, ""):
            return None
        if self._paging.parameter:
            separator = "&" if urlsplit(self._url).query else "?"
            return f"{self._url}{separator}{urlencode({self._paging.parameter: str(stated)})}"
        further = urljoin(url, str(stated))
        if urlsplit(further)[:2] != urlsplit(self._url)[:2]:
            raise SourceError(
                "source-invalid", "the next page is at another origin", "the API must page within its own address"
            )
        return further

    async def _page(self, url: str) -> tuple[bytes, Mapping[str, str]]:
        for attempt in (1, 2):
            headers = {"Accept": ", ".join(self._adapter.manifest.media_types)}
            if self._credentials is not None:
                headers["Authorization"] = f"Bearer {await self._bearer(self._credentials)}"
            status, body, answered = await self._ask("GET", url, headers=headers)
            if status == 401 and self._credentials is not None and attempt == 1:
                self._token = ""  # revoked before its time; a new one is asked for once
                continue
            if status != 200:
                raise SourceError("source-failed", f"the API answered {status}")
            return body, answered
        raise AssertionError

    async def _bearer(self, credentials: ClientCredentials) -> str:
        if self._token and self._monotonic() < self._token_ends:
            return self._token
        form = {"grant_type": "client_credentials"} | ({"scope": credentials.scope} if credentials.scope else {})
        secret = await asyncio.to_thread(credentials.secret)
        shown = f"{_form(credentials.client_id)}:{_form(secret)}".encode()
        authorization = "Basic " + base64.b64encode(shown).decode()
        status, body, _ = await self._ask(
            "POST",
            credentials.token_url,
            headers={"Authorization": authorization, "Accept": "application/json"},
            data=form,
        )
        document = _json(body) if status == 200 else None
        token = document.get("access_token") if isinstance(document, dict) else None
        if not isinstance(token, str) or not isinstance(document, dict):
            raise SourceError(
                "source-unauthorized",
                f"the token endpoint answered {status} and gave no token",
                "check the client id, its secret and the scope with the API's keeper",
            )
        lifetime = document.get("expires_in")
        self._token = token
        # Half a minute early, so that a token does not end on its way.
        self._token_ends = self._monotonic() + (float(lifetime) - 30 if isinstance(lifetime, int | float) else 60)
        return token

    async def _ask(
        self, method: str, url: str, *, headers: Mapping[str, str], data: Mapping[str, str] | None = None
    ) -> tuple[int, bytes, Mapping[str, str]]:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=self._timeout,
                connector=aiohttp.TCPConnector(limit=4, ssl=self._context or True),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        try:
            async with self._session.request(
                method, url, headers=headers, data=data, allow_redirects=False
            ) as response:
                received = bytearray()
                async for part in response.content.iter_chunked(64 * 1024):
                    received += part
                    if len(received) > self._body_limit:
                        raise SourceError("source-failed", f"a page is over {self._body_limit} bytes", "ask for less")
                return response.status, bytes(received), dict(response.headers)
        except TimeoutError:
            raise SourceError("source-timeout", "the API did not answer in time") from None
        except (aiohttp.ClientError, OSError) as error:
            raise SourceError("source-unreachable", f"the API cannot be reached ({type(error).__name__})") from None


def _form(value: str) -> str:
    """RFC 6749 section 2.3.1: both are form-encoded before they are put into Basic."""
    return urlencode({"": value})[1:]


def _json(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        raise SourceError("source-invalid", "the page is not JSON") from None


def _chosen(document: Any, name: str, member: str, wanted: str) -> Any:
    """The object of a list that has a member with a value; None if there is none."""
    listed = document.get(name) if isinstance(document, dict) else None
    objects = [item for item in listed if isinstance(item, dict)] if isinstance(listed, list) else []
    return next((item for item in objects if item.get(member) == wanted), None)


_MISSING: Any = object()


def _pointed(document: Any, pointer: str, missing: Any = _MISSING) -> Any:
    value = document
    for step in pointer.strip("/").split("/"):
        name, _, rest = step.partition("[")
        if isinstance(value, dict) and step in value:
            value = value[step]
        elif rest.endswith("]") and (found := _chosen(value, name, *rest[:-1].partition("=")[::2])) is not None:
            value = found
        elif missing is _MISSING:
            raise SourceError("source-invalid", f"the page has no {pointer}", "set `records` to where the records are")
        else:
            return missing
    return value
