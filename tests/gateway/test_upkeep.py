"""What a node looks after while it runs: keys that change, connections refused, a registry about to expire."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Engine, select

from audit.log.entries import Entry
from audit.log.log import Log
from audit.log.tables import entries
from audit.tree.checkpoint import LogSigner
from gateway.keys import certificates
from gateway.keys.credentials import KeyPlace, Opening
from gateway.keys.errors import TrustError
from gateway.keys.keystore import write_private_key
from gateway.node.handshakes import KINDS, WINDOW, RefusedConnections
from gateway.registry.read import standing
from gateway.registry.read.entries import Content
from gateway.registry.read.roles import Lifetimes
from gateway.registry.read.standing import Standings
from gateway.registry.run.authority import Authority as RegistryAuthority
from gateway.settings import RegistrySettings
from gateway.settings.keys import KeySettings
from gateway.storage import revocations
from gateway.telemetry import Telemetry
from gateway.wire.problems import ProblemError
from gateway.wire.signing import thumbprint
from tests.databases import migrate
from tests.former import former_rulebook
from tests.gateway.registry.conftest import KOTKA, NOW, Authority, named
from tests.waiting import until

PHRASE = b"a passphrase"
AUTHORITY = Authority.make()
OVERLAP = timedelta(minutes=2)


class Clock:
    """A clock that goes when it is told to."""

    def __init__(self, now: datetime = NOW) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def telemetry() -> Iterator[Telemetry]:
    found = Telemetry("test", otlp_endpoint=None, sample_ratio=0)
    yield found
    found.close()


@pytest.fixture
def log(engine: Engine) -> Iterator[Log]:
    migrate(engine)
    found = Log(engine, LogSigner(Ed25519PrivateKey.generate(), "test"), origin="test", clock=lambda: NOW)
    found.start()
    yield found
    found.close()


# --- Keys -------------------------------------------------------------------------------------------------------------


class Place:
    """A signing key in files, and a registry of which the test says what it lists."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.listed: set[str] = set()
        (folder / "phrase").write_bytes(PHRASE)
        self.first = self.put()
        self.listed.add(self.first)
        self.opening = Opening()
        settings = KeySettings(
            certificate=folder / "signing.pem", key=folder / "signing.key", passphrase=folder / "phrase"
        )
        self.settings = settings
        self.place = KeyPlace(
            "signing", settings, self.opening.signing, lambda one, _now: thumbprint(one) in self.listed, OVERLAP
        )

    def put(self) -> str:
        """Put a new key in the files' place; the thumbprint of its certificate."""
        key = certificates.new_private_key("ES256")
        certificate = AUTHORITY.signing(KOTKA.member, key)
        (self.folder / "signing.key").unlink(missing_ok=True)
        write_private_key(self.folder / "signing.key", key, PHRASE)
        (self.folder / "signing.pem").write_bytes(certificates.to_pem(certificate))
        return thumbprint(certificate)


@pytest.fixture
def key(tmp_path: Path) -> Iterator[Place]:
    found = Place(tmp_path)
    yield found
    found.opening.close()


def test_a_new_key_takes_over_when_the_registry_has_listed_it_for_the_overlap(key: Place) -> None:
    second, now = key.put(), NOW
    assert key.place.look()
    assert key.place.condition(now)["next"] == second
    for minutes in (0, 5):
        assert not key.place.settle(now + timedelta(minutes=minutes))  # not listed yet
    now += timedelta(minutes=10)
    key.listed.add(second)
    assert not key.place.settle(now)
    assert not key.place.settle(now + OVERLAP - timedelta(seconds=1))
    assert key.place.held.name == key.first
    assert key.place.settle(now + OVERLAP)
    assert key.place.held.name == second
    assert key.place.condition(now)["next"] is None
    assert not key.place.settle(now + OVERLAP)


def test_a_key_that_was_revoked_gives_way_at_once(key: Place) -> None:
    second = key.put()
    key.place.look()
    key.listed = {second}
    assert key.place.settle(NOW)
    assert key.place.held.name == second


def test_a_listing_that_was_withdrawn_begins_the_overlap_anew(key: Place) -> None:
    second = key.put()
    key.place.look()
    key.listed.add(second)
    assert not key.place.settle(NOW)
    key.listed.discard(second)
    assert not key.place.settle(NOW + OVERLAP)
    key.listed.add(second)
    assert not key.place.settle(NOW + OVERLAP)
    assert key.place.settle(NOW + 2 * OVERLAP)


@pytest.mark.parametrize("fault", ["half", "mismatch", "gone", "passphrase"])
def test_files_that_do_not_fit_are_told_once_and_looked_at_again(key: Place, fault: str) -> None:
    former = {path: path.read_bytes() for path in key.folder.iterdir()}
    if fault == "half":
        (key.folder / "signing.pem").write_bytes(b"-----BEGIN CERTIFICATE-----\n")
    elif fault == "mismatch":
        other = certificates.new_private_key("ES256")
        (key.folder / "signing.pem").write_bytes(certificates.to_pem(AUTHORITY.signing(KOTKA.member, other)))
    elif fault == "gone":
        (key.folder / "signing.key").unlink()
    else:
        (key.folder / "phrase").write_bytes(b"another")
        key.put()
    assert key.place.look()
    assert key.place.problem is not None
    assert PHRASE.decode() not in str(key.place.condition(NOW)["problem"])
    assert not key.place.look()  # said once
    assert key.place.held.name == key.first
    for path, data in former.items():
        path.write_bytes(data)
    assert key.place.look()
    assert key.place.problem is None
    assert key.place.waiting is None


def test_a_certificate_is_told_to_expire_a_month_before(key: Place) -> None:
    end = key.place.held.not_after
    assert not key.place.condition(end - timedelta(days=31))["expires_soon"]
    soon = key.place.condition(end - timedelta(days=29))
    assert (soon["expires_soon"], soon["in_force"]) == (True, True)
    assert not key.place.condition(end + timedelta(seconds=1))["in_force"]
    assert key.place.remaining(end - timedelta(seconds=5)) == 5


def test_a_tls_key_is_a_copy_that_outlives_its_files_and_not_the_node(tmp_path: Path) -> None:
    private = certificates.new_private_key("ES256")
    write_private_key(tmp_path / "tls.key", private, PHRASE)
    (tmp_path / "phrase").write_bytes(PHRASE)
    (tmp_path / "tls.pem").write_bytes(certificates.to_pem(AUTHORITY.tls(KOTKA.member, "kotka-1", private)))
    opening = Opening()
    settings = KeySettings(certificate=tmp_path / "tls.pem", key=tmp_path / "tls.key", passphrase=tmp_path / "phrase")
    key = opening.tls(settings)
    assert key.tls is not None
    (tmp_path / "tls.key").unlink()
    assert b"ENCRYPTED" in key.tls.key.read_bytes()
    assert key.tls.key.parent.stat().st_mode & 0o077 == 0
    with pytest.raises(TrustError, match="key-unreadable"):
        opening.tls(settings)
    opening.close()
    assert not key.tls.key.exists()


# --- Connections refused ----------------------------------------------------------------------------------------------


def recorded(engine: Engine) -> list[Entry]:
    with engine.connect() as connection:
        return [Entry.parse(body) for body in connection.scalars(select(entries.c.body).order_by(entries.c.idx))]


async def test_the_first_of_a_kind_is_recorded_at_once_and_the_rest_as_one_sum(
    engine: Engine, log: Log, telemetry: Telemetry, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    clock = Clock()
    refused = RefusedConnections("kotka-1", clock, telemetry)
    refused.report_to(log)
    knock = refused.on("peers")
    for _ in range(1000):
        knock("tls-certificate-missing")
    refused.count("clients", "client-revoked", "A" * 43)
    clock.now += WINDOW - timedelta(seconds=1)
    refused.sum_up()
    clock.now += timedelta(seconds=1)
    refused.sum_up()
    clock.now += WINDOW
    refused.sum_up()
    knock("tls-certificate-missing")
    knock("tls-certificate-missing")
    await refused.close()
    found = [(one.type, one.outcome, one.reason, dict(one.detail)) for one in recorded(engine)]
    missing = [one for one in found if one[2] == "tls-certificate-missing"]
    assert [one[3]["count"] for one in missing] == [1, 999, 1, 1]
    assert {one[:2] for one in found} == {("anomaly", "refused")}
    [revoked] = [one for one in found if one[2] == "client-revoked"]
    assert revoked[3] == {"face": "clients", "count": 1, "certificate": "A" * 43}
    assert len(caplog.records) == len(found)


async def test_however_many_kinds_knock_the_memory_stays_small(telemetry: Telemetry) -> None:
    refused = RefusedConnections("kotka-1", Clock(), telemetry)
    for number in range(10 * KINDS):
        refused.count("clients", "client-unknown", f"{number:043}")
    assert len(refused._windows) <= KINDS + 1
    await refused.close()


async def test_a_clock_that_is_set_back_reports_and_begins_anew(engine: Engine, log: Log, telemetry: Telemetry) -> None:
    clock = Clock()
    refused = RefusedConnections("kotka-1", clock, telemetry)
    refused.report_to(log)
    refused.count("peers", "tls-required")
    refused.count("peers", "tls-required")
    clock.now -= timedelta(hours=1)
    refused.sum_up()
    await refused.close()
    assert [one.detail["count"] for one in recorded(engine)] == [1, 1]


# --- Clients shut out -------------------------------------------------------------------------------------------------


def test_a_revocation_and_its_entry_are_one_and_are_made_once(engine: Engine, log: Log) -> None:
    def revoke(kind: str, what: str) -> bool:
        return log.commit_blocking(
            lambda connection: revocations.revoke(
                connection, revocations.Shut(kind, what, "tools"), node="kotka-1", now=NOW
            )
        ).value

    assert revoke(revocations.CERTIFICATE, "A" * 43)
    assert not revoke(revocations.CERTIFICATE, "A" * 43)
    assert revoke(revocations.CLIENT, "tools")
    with engine.connect() as connection:
        assert revocations.read(connection) == revocations.Revocations(frozenset({"A" * 43}), frozenset({"tools"}))
    assert [(one.type, one.reason, dict(one.detail)) for one in recorded(engine)] == [
        ("key", "client-revoked", {"certificate": "A" * 43}),
        ("key", "client-revoked", {"client": "tools"}),
    ]


# --- The registry -----------------------------------------------------------------------------------------------------


async def test_a_registry_about_to_expire_is_told_early_and_moves_no_data_when_it_has(
    tmp_path: Path, telemetry: Telemetry, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    clock = Clock(datetime.now(UTC))
    authority = RegistryAuthority(tmp_path / "authority", PHRASE, lifetimes=Lifetimes(timestamp=timedelta(hours=8)))
    authority.create(Content("FI-DEMO", named("Testiverkko"), rulebook=former_rulebook()), clock.now)
    (tmp_path / "root.json").write_bytes(authority.publisher.root())
    settings = RegistrySettings(
        source=str(tmp_path / "authority" / "registry"),
        root=tmp_path / "root.json",
        cache=tmp_path / "cache",
        refresh_seconds=3600,
    )
    standings = Standings(settings, "FI-DEMO", clock, telemetry)
    await standings.start()
    begun = clock.now
    try:
        assert standings.condition(clock.now)["expires_soon"] is False
        clock.now = begun + timedelta(hours=5, minutes=59)
        assert standings.condition(clock.now)["expires_soon"] is False
        # A quarter of eight hours is left: it is said, once an hour.
        clock.now = begun + timedelta(hours=6, minutes=1)
        await refreshed(standings, lambda: "registry-expires-soon" in said(caplog))
        condition = standings.condition(clock.now)
        assert (condition["expires_soon"], condition["in_force"]) == (True, True)
        assert standings.now(clock.now).registry.instance == "FI-DEMO"

        clock.now = begun + timedelta(hours=8)
        with pytest.raises(ProblemError) as refusal:
            standings.now(clock.now)
        assert refusal.value.code == "registry-expired"
        await refreshed(standings, lambda: "registry-expired" in said(caplog))
        assert standings.condition(clock.now)["in_force"] is False
        assert standings.problem is not None

        authority.publish(authority.content(), clock.now)
        await refreshed(standings, lambda: standings.problem is None)
        assert standings.now(clock.now).registry.version == 1
        assert standings.condition(clock.now)["age_seconds"] == 0
    finally:
        await standings.stop()
    assert not [one for one in threading.enumerate() if one.name == "registry" and one.is_alive()]
    assert standing.WARN_SECONDS == 12 * 3600


async def test_the_registry_of_another_network_is_no_registry(tmp_path: Path, telemetry: Telemetry) -> None:
    authority = RegistryAuthority(tmp_path / "authority", PHRASE)
    authority.create(Content("FI-OTHER", named("Muu verkko"), rulebook=b"rules: []\n"), NOW)
    (tmp_path / "root.json").write_bytes(authority.publisher.root())
    settings = RegistrySettings(
        source=str(tmp_path / "authority" / "registry"), root=tmp_path / "root.json", cache=tmp_path / "cache"
    )
    with pytest.raises(TrustError) as refusal:
        await Standings(settings, "FI-DEMO", lambda: NOW, telemetry).start()
    assert refusal.value.code == "registry-foreign"


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


async def refreshed(standings: Standings, holds: Callable[[], Any]) -> None:
    """Have the registry refreshed, and wait until what it brings is there."""
    standings.refresh_now()
    await until(holds)
