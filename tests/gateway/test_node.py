"""A node that cannot start says why and what would make it right, and leaves nothing behind."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from adapters.samples import write_samples
from gateway.demo.network import Network, build

pytestmark = [pytest.mark.e2e]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Network:
    """A demo network on disk, nothing of it running."""
    folder = tmp_path_factory.mktemp("node")
    write_samples(folder / "register", count=40)
    return build(folder / "network", datetime.now(UTC), folder / "register" / "reception-centre.csv")


def start(config: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gateway", "node", "run", "--config", str(config)],
        capture_output=True,
        text=True,
        check=False,
    )


def changed(network: Network, folder: Path, change: Callable[[str], str]) -> Path:
    """A node's settings with one change, in its own folder so that its paths hold."""
    config = network.parties["kotka"].folder / f"{folder.name}.toml"
    config.write_text(change(network.parties["kotka"].config.read_text("utf-8")), "utf-8")
    return config


@pytest.mark.parametrize(
    ("change", "said", "remedy"),
    [
        (('key = "signing.key"', 'key = "absent.key"'), "absent.key", ""),
        (('certificate = "tls.pem"', 'certificate = "signing.pem"'), "key", ""),
        (('client_authorities = ["clients-authority.pem"]', ""), "no client could ever connect", "authorities"),
        (("root = ", 'cache = "elsewhere"\nroot = "absent.json" #'), "absent.json", ""),
    ],
    ids=["no-signing-key", "wrong-tls-certificate", "no-client-authorities", "no-root"],
)
def test_missing_part_is_named_and_the_node_ends_with_3(
    built: Network, tmp_path: Path, change: tuple[str, str], said: str, remedy: str
) -> None:
    done = start(changed(built, tmp_path, lambda text: text.replace(*change)))

    assert done.returncode == 3, done.stderr
    assert said in done.stderr
    assert remedy in done.stderr
    assert "Traceback" not in done.stderr


def test_port_in_use_is_named_before_anything_else_starts(built: Network) -> None:
    placement = built.parties["placement"]
    with socket.create_server(("127.0.0.1", placement.clients)):
        done = start(placement.config)

    assert done.returncode == 3
    assert f"listen.clients: 127.0.0.1:{placement.clients} cannot be bound" in done.stderr
    assert not (placement.folder / "node.db").exists()


def test_expired_registry_is_named(tmp_path: Path) -> None:
    write_samples(tmp_path / "register", count=40)
    network = build(
        tmp_path / "network", datetime.now(UTC) - timedelta(days=500), tmp_path / "register" / "reception-centre.csv"
    )

    done = start(network.parties["kotka"].config)

    assert done.returncode == 3
    assert "expired" in done.stderr
    assert "Traceback" not in done.stderr
