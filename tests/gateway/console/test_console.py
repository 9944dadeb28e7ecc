"""How a node's console is reached: its address, its TLS, and the settings that would leave it open."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gateway.cli.console import Guest, make_link
from gateway.console.composition import address_of
from gateway.demo.network import build
from gateway.desk.roles import Role
from gateway.node.wiring import NodeError, console_tls
from gateway.settings import ConsoleSettings, Settings, load
from gateway.settings.problems import SettingsError
from gateway.settings.values import Address


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """The settings of the demo's reception centre."""
    folder = tmp_path_factory.mktemp("console")
    network = build(folder / "network", datetime.now(UTC), folder / "register.csv")
    return load(network.parties["centre"].config)


def listening(settings: Settings, host: str, console: ConsoleSettings | None = None) -> Settings:
    listen = settings.listen.model_copy(update={"console": Address(host=host, port=8450)})
    return settings.model_copy(update={"listen": listen, "console": console or settings.console})


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::"])
def test_without_tls_the_console_is_never_open_to_a_network(settings: Settings, host: str) -> None:
    with pytest.raises(NodeError, match="loopback only") as error:
        console_tls(listening(settings, host))

    assert "reverse proxy" in error.value.remedy


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_on_loopback_it_may_stand_behind_a_proxy(settings: Settings, host: str) -> None:
    assert console_tls(listening(settings, host)) is None


def test_with_a_key_of_its_own_it_speaks_tls_and_asks_browsers_for_no_certificate(settings: Settings) -> None:
    context = console_tls(listening(settings, "0.0.0.0", ConsoleSettings(tls=settings.tls.clients)))

    assert context is not None
    assert context.verify_mode == ssl.CERT_NONE
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize(
    ("console", "expected"),
    [
        (ConsoleSettings(), "http://localhost:8450"),
        (ConsoleSettings(address="https://console.example.fi"), "https://console.example.fi"),
    ],
)
def test_the_address_is_the_one_that_browsers_see(console: ConsoleSettings, expected: str) -> None:
    assert address_of(console, "127.0.0.1", 8450) == expected


def test_an_address_with_a_path_is_told_to_the_operator(settings: Settings, tmp_path: Path) -> None:
    file = tmp_path / "node.toml"
    file.write_text('[console]\naddress = "https://console.example.fi/officer/"\n', "utf-8")

    with pytest.raises(SettingsError, match="without a path"):
        load(file)


def test_a_link_is_made_before_the_node_has_ever_run(settings: Settings) -> None:
    link = make_link(settings, Guest(Role.AUDITOR), datetime.now(UTC))

    assert settings.listen.console is not None
    assert link.startswith(f"http://localhost:{settings.listen.console.port}/link/")
    assert len(link.rsplit("/", 1)[1]) >= 43
