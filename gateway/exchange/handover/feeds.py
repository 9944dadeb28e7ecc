"""Make the feeds that a node's settings ask for."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, make_url

from adapters.sdk import Adapter, Limits
from gateway.exchange.handover.deliver import Deliveries
from gateway.exchange.handover.plan import Handovers, Order
from gateway.person.values import Register
from gateway.reading.readers import Adapters
from gateway.settings_sources import DatabaseSource, DirectorySource, HttpSource, SftpSource, SourceSettings
from gateway.sources.batches import Source
from gateway.sources.database import Database
from gateway.sources.directory import Directory
from gateway.sources.feed import Feed, FeedPolicy, HandOver
from gateway.sources.http import ClientCredentials, HttpApi, Paging
from gateway.sources.progress import Progress
from gateway.wire.identifiers import SubsystemId


def open_feed(
    settings: SourceSettings,
    handovers: Handovers,
    deliveries: Deliveries,
    progress: Progress,
    *,
    body_limit: int,
    limits: Limits,
    trace_id: Callable[[], str],
    adapters: Adapters,
) -> Feed:
    """The feed of one source, not yet started. Raises AdapterError, IdentifierError, OSError."""
    adapter = adapters.load(settings.adapter)
    return Feed(
        settings.name,
        _source(settings, adapter, body_limit),
        adapter,
        _hand_over(settings, handovers, deliveries, trace_id),
        progress,
        reports=settings.reports / settings.name,
        policy=FeedPolicy(settings.poll_seconds, settings.retry_limit_seconds),
        # Handing over takes its time; that is not the file's, so the limit in seconds is one for files that never end.
        limits=replace(limits, seconds=7 * 86400.0),
    )


def _hand_over(
    settings: SourceSettings, handovers: Handovers, deliveries: Deliveries, trace_id: Callable[[], str]
) -> HandOver:
    sender = SubsystemId.parse(settings.subsystem)

    async def hand_over(bundle: dict[str, Any], idempotency: str) -> bool:
        plan = await handovers.plan(
            Order(
                client=f"source {settings.name}",
                sender=sender,
                bundle=bundle,
                flow=settings.flow,
                idempotency=idempotency,
                case=None,
                user=None,
                not_before=None,
                trace_id=trace_id(),
                register=Register(f"source {settings.name}", settings.identity == "authoritative"),
            )
        )
        if not plan.existing:
            deliveries.wake()
        return plan.existing

    return hand_over


def _source(settings: SourceSettings, adapter: Adapter, body_limit: int) -> Source:
    match settings:
        case DirectorySource():
            return Directory(settings.folder, settings.pattern)
        case DatabaseSource():
            url = make_url(settings.url)
            if settings.password is not None:
                url = url.set(password=_secret(settings.password))
            return Database(
                create_engine(url, pool_size=1, pool_pre_ping=True),
                settings.query,
                adapter,
                changed=settings.changed,
                key=settings.key,
                title=settings.name,
                page=settings.page,
                overlap_seconds=settings.overlap_seconds,
            )
        case HttpSource():
            return HttpApi(
                settings.url,
                adapter,
                paging=Paging(settings.records, settings.next, settings.parameter),
                credentials=_credentials(settings),
                timeout_seconds=settings.timeout_seconds,
                body_limit=body_limit,
                context=ssl.create_default_context(cafile=str(settings.certificate_authority))
                if settings.certificate_authority
                else None,
            )
        case SftpSource():
            from gateway.sources.sftp import Account, SftpDrop  # loads asyncssh, which only this kind of source needs

            return SftpDrop(
                Account(
                    settings.host, settings.port, settings.user, settings.key, settings.known_hosts, settings.passphrase
                ),
                settings.folder,
                pattern=settings.pattern,
                body_limit=body_limit,
            )


def _credentials(settings: HttpSource) -> ClientCredentials | None:
    if settings.token_url is None or settings.client_id is None or settings.client_secret is None:
        return None
    file = settings.client_secret
    return ClientCredentials(settings.token_url, settings.client_id, lambda: _secret(file), settings.scope)


def _secret(path: Path) -> str:
    return path.read_text("utf-8").strip()
