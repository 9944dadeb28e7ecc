"""Make the feeds that a node's settings ask for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path

from sqlalchemy import create_engine, make_url

from adapters.sdk import Adapter, Change, Mapped
from gateway.exchange.context import Exchange
from gateway.handover.changes import Changes, Teller
from gateway.handover.deliver import Deliveries
from gateway.handover.plan import Handovers, Order
from gateway.person.values import Register
from gateway.reading.readers import Adapters
from gateway.settings.sources import (
    DatabaseSource,
    DirectorySource,
    HttpSource,
    MllpSource,
    PolledSettings,
    SftpSource,
    SourceSettings,
)
from gateway.sources.batches import Source
from gateway.sources.database import Database, Query
from gateway.sources.directory import Directory
from gateway.sources.dropped import DropDirectory
from gateway.sources.endpoint import Endpoint
from gateway.sources.feed import Books, Feed, FeedPolicy, Intake
from gateway.sources.frames import BEGIN, CLOSE
from gateway.sources.gathering import Parts
from gateway.sources.http import ClientCredentials, HttpApi, Paging
from gateway.sources.messages import Messages
from gateway.sources.progress import Progress
from gateway.sources.taking import Door, HandOver, TakeChange, Taking
from gateway.sources.window import Window
from gateway.wire.identifiers import SubsystemId


def open_feed(
    settings: PolledSettings, exchange: Exchange, deliveries: Deliveries, progress: Progress, adapters: Adapters
) -> Feed:
    """The feed of one source, not yet started. Raises AdapterError, IdentifierError, OSError."""
    adapter = adapters.load(settings.adapter)
    # Handing over takes its time; that is not the file's, so the limit in seconds is one for files that never end.
    limits = replace(exchange.limits.adapter, seconds=7 * 86400.0)
    return Feed(
        settings.name,
        Intake(
            source_of(settings, adapter, exchange.limits.body_bytes),
            adapter,
            limits,
            lambda digest: adapters.using(settings.adapter, digest),
        ),
        Door(_hand_over(settings, exchange, deliveries), _take_change(settings, exchange)),
        Books(progress, settings.reports / settings.name),
        FeedPolicy(settings.poll_seconds, settings.retry_limit_seconds),
    )


def open_messages(settings: MllpSource, exchange: Exchange, deliveries: Deliveries) -> Messages:
    """What takes the messages of a source that listens."""
    limits = replace(exchange.limits.adapter, total_bytes=settings.message_bytes + len(BEGIN + CLOSE))
    return Messages(
        Taking(settings.name, Door(_hand_over(settings, exchange, deliveries), _take_change(settings, exchange))),
        Window(settings.name, exchange.engine, exchange.log, exchange.subjects.fingerprints, settings.window_seconds),
        settings.reports / settings.name,
        limits,
        exchange.clock,
    )


def _hand_over(settings: SourceSettings, exchange: Exchange, deliveries: Deliveries) -> HandOver:
    handovers, sender = Handovers(exchange), SubsystemId.parse(settings.subsystem)

    async def hand_over(mapped: Mapped, idempotency: str) -> bool:
        assert mapped.bundle is not None
        plan = await handovers.plan(
            Order(
                client=f"source {settings.name}",
                sender=sender,
                bundle=mapped.bundle,
                made_by=mapped.made_by,
                flow=settings.flow,
                idempotency=idempotency,
                case=None,
                user=None,
                not_before=None,
                trace_id=exchange.telemetry.trace()[0],
                register=Register(f"source {settings.name}", settings.identity == "authoritative"),
                record_key=mapped.key or None,
            )
        )
        if not plan.existing:
            deliveries.wake()
        return plan.existing

    return hand_over


def _take_change(settings: SourceSettings, exchange: Exchange) -> TakeChange:
    changes, sender = Changes(exchange), SubsystemId.parse(settings.subsystem)
    register = Register(f"source {settings.name}", settings.identity == "authoritative")

    async def take(change: Change) -> Mapping[str, int]:
        trace_id = exchange.telemetry.trace()[0]
        return asdict(await changes.take(change, Teller(f"source {settings.name}", sender, register, trace_id)))

    return take


def source_of(settings: PolledSettings, adapter: Adapter, body_limit: int) -> Source:
    """What the settings of a source name, ready to be asked."""
    match settings:
        case DirectorySource() if settings.parts:
            return DropDirectory(settings.folder, _parts(settings), body_limit=body_limit)
        case DirectorySource():
            return Directory(settings.folder, settings.pattern)
        case DatabaseSource():
            url = make_url(settings.url)
            if settings.password is not None:
                url = url.set(password=_secret(settings.password))
            return Database(
                create_engine(url, pool_size=1, pool_pre_ping=True),
                Query(
                    settings.query,
                    changed=settings.changed,
                    key=settings.key,
                    title=settings.name,
                    page=settings.page,
                    overlap_seconds=settings.overlap_seconds,
                    children=settings.children,
                ),
                adapter,
            )
        case HttpSource():
            return HttpApi(
                Endpoint.at(settings.url, settings.timeout_seconds, body_limit, settings.certificate_authority),
                adapter,
                paging=Paging(settings.records, settings.next, settings.parameter),
                credentials=_credentials(settings),
            )
        case SftpSource():
            return _sftp(settings, body_limit)


def _sftp(settings: SftpSource, body_limit: int) -> Source:
    # These load asyncssh, which only this kind of source needs.
    from gateway.sources.sftp import Account, SftpDrop
    from gateway.sources.sftp_drops import SftpDrops

    account = Account(
        settings.host, settings.port, settings.user, settings.key, settings.known_hosts, settings.passphrase
    )
    if settings.parts:
        return SftpDrops(account, settings.folder, _parts(settings), body_limit=body_limit)
    return SftpDrop(account, settings.folder, pattern=settings.pattern, body_limit=body_limit)


def _parts(settings: DirectorySource | SftpSource) -> Parts:
    return Parts(tuple(settings.parts), settings.marker)


def _credentials(settings: HttpSource) -> ClientCredentials | None:
    if settings.token_url is None or settings.client_id is None or settings.client_secret is None:
        return None
    file = settings.client_secret
    return ClientCredentials(settings.token_url, settings.client_id, lambda: _secret(file), settings.scope)


def _secret(path: Path) -> str:
    return path.read_text("utf-8").strip()
