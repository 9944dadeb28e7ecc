"""A node that cannot start says why and what would make it right, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, delete, select

from adapters.samples import write_samples
from gateway.demo.network import Network, build
from gateway.keys.keystore import write_secret
from gateway.node.secret_files import DEPENDS, prepare
from gateway.node.wiring import NodeError, secret
from gateway.settings import load
from gateway.storage import engine as storage
from gateway.storage import schema
from gateway.storage.tables import secret_fingerprints
from schemas.identifiers import HETU
from tests.full import no_file_grows
from tests.gateway.running import Running, running

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


def with_database(network: Network, folder: Path, url: str) -> Path:
    """Settings of a node whose database is another."""
    return changed(network, folder, lambda text: text.replace('url = "sqlite:///node.db"', f'url = "{url}"'))


def test_database_that_does_not_answer_is_named_without_its_password_and_ends_the_node_with_3(
    built: Network, tmp_path: Path
) -> None:
    with socket.socket() as closed:
        # Bound and not listened on: nobody else gets the port, and who connects to it is refused.
        closed.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{closed.getsockname()[1]}"
        url = f"postgresql+psycopg://node:geheim@{place}/kotka?password=geheim"
        done = start(with_database(built, tmp_path, url))

    assert done.returncode == 3, done.stderr
    assert len(done.stderr.splitlines()) == 2
    assert f"{place}/kotka cannot be used" in done.stderr
    assert "refused" in done.stderr
    assert "mend database.url" in done.stderr
    assert "geheim" not in done.stderr + done.stdout


@pytest.mark.parametrize(
    ("url", "code"),
    [("sqlite:///nowhere/node.db", 3), ("mysql://127.0.0.1/kotka", 2), ("postgresql://db:port/kotka", 2), ("kotka", 2)],
    ids=["no-such-folder", "another-kind", "no-port", "no-url"],
)
def test_database_that_cannot_be_is_told_from_a_fault_of_the_node(
    built: Network, tmp_path: Path, url: str, code: int
) -> None:
    done = start(with_database(built, tmp_path, url))

    assert done.returncode == code, done.stderr
    assert "database" in done.stderr
    assert "Traceback" not in done.stderr


def test_evidence_is_not_written_where_the_database_does_not_answer(lived: Running, tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"postgresql+psycopg://node@127.0.0.1:{closed.getsockname()[1]}/kotka"
        config = with_database(lived.network, tmp_path, url)
        command = ["evidence", "export", "019aaaaa-0000-7000-8000-000000000000", "--config", str(config), "--json"]
        done = subprocess.run(
            [sys.executable, "-m", "gateway", *command], cwd=tmp_path, capture_output=True, text=True, check=False
        )

    assert done.returncode == 3, done.stderr
    assert "cannot be used" in json.loads(done.stdout)["error"]
    assert not list(tmp_path.iterdir())


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


# -- secrets -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A municipality's node that has recorded a refusal, and was stopped."""
    with running(tmp_path_factory.mktemp("lived"), nodes=("kotka",)) as found:
        asyncio.run(_refuse(found))
        found.processes.stop()
        yield found


async def _refuse(nodes: Running) -> None:
    refusal = {"subject": {"system": HETU, "value": "010190-900P"}, "status": "refused", "categories": ["housing"]}
    async with nodes.client("kotka") as session, session.post("/v1/consents", json=refusal) as answer:
        assert answer.status == 201, await answer.text()


def _fingerprints(nodes: Running) -> dict[str, str]:
    engine = storage.create(f"sqlite:///{nodes.party('kotka').folder / 'node.db'}")
    with engine.connect() as connection:
        rows = connection.execute(select(secret_fingerprints)).all()
    engine.dispose()
    return {row.name: row.fingerprint for row in rows}


def _forget_fingerprints(nodes: Running) -> None:
    """As a node left its database before it knew fingerprints."""
    engine = storage.create(f"sqlite:///{nodes.party('kotka').folder / 'node.db'}")
    with engine.begin() as connection:
        connection.execute(delete(secret_fingerprints))
    engine.dispose()


@contextmanager
def _instead(path: Path, content: bytes | None) -> Iterator[None]:
    """Another content of a file, or no file, for a while."""
    held = path.read_bytes()
    path.unlink()
    if content is not None:
        write_secret(path, content)
    try:
        yield
        assert not path.exists() if content is None else path.read_bytes() == content  # nothing was put in its place
    finally:
        path.unlink(missing_ok=True)
        write_secret(path, held)


OTHER = base64.b64encode(b"\x05" * 32)


@pytest.mark.parametrize("content", [None, OTHER], ids=["missing", "of another database"])
@pytest.mark.parametrize("name", ["index", "wrapping"])
def test_secret_that_does_not_belong_to_the_database_stops_the_start_and_is_named(
    lived: Running, name: str, content: bytes | None
) -> None:
    path = lived.party("kotka").folder / "secrets" / f"{name}.key"

    with _instead(path, content):
        done = start(lived.party("kotka").config)

    said = " ".join(done.stderr.split())
    assert done.returncode == 3, done.stderr
    assert f"{name}.key is {'missing' if content is None else 'not the secret'}" in said
    assert DEPENDS[f"{name}_key"] in said
    assert "restore the file" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("name", ["log", "witness"])
def test_key_that_others_know_the_node_by_is_not_made_anew(lived: Running, name: str) -> None:
    with _instead(lived.party("kotka").folder / "secrets" / f"{name}.key", None):
        done = start(lived.party("kotka").config)

    assert done.returncode == 3, done.stderr
    assert DEPENDS[f"{name}_key"] in " ".join(done.stderr.split())


def test_wrapping_key_is_tried_on_what_it_wrapped_before_a_database_takes_its_fingerprint(lived: Running) -> None:
    known = _fingerprints(lived)
    assert set(known) == {"index_key", "wrapping_key", "token_key"}
    _forget_fingerprints(lived)
    secrets = lived.party("kotka").folder / "secrets"

    with _instead(secrets / "wrapping.key", OTHER):
        foreign = start(lived.party("kotka").config)
    with _instead(secrets / "index.key", None):
        missing = start(lived.party("kotka").config)

    assert (foreign.returncode, missing.returncode) == (3, 3)
    assert "wrapping.key is not the secret" in " ".join(foreign.stderr.split())
    assert _fingerprints(lived) == {}
    prepare(load(lived.party("kotka").config), _engine(lived), datetime.now(UTC))  # the files that belong to it
    assert _fingerprints(lived) == known


def _engine(nodes: Running) -> Engine:
    return storage.create(f"sqlite:///{nodes.party('kotka').folder / 'node.db'}")


def test_command_beside_the_node_asks_no_database_that_its_secrets_do_not_belong_to(lived: Running) -> None:
    party = lived.party("kotka")
    command = [sys.executable, "-m", "gateway", "audit", "search", "person", "--person", "--config", str(party.config)]

    def search() -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, input="010190-900P\n", capture_output=True, text=True, check=False)

    assert search().returncode == 0
    with _instead(party.folder / "secrets" / "index.key", OTHER):
        refused = search()

    assert refused.returncode == 3
    assert "index.key is not the secret" in " ".join(refused.stderr.split())


def test_empty_database_gets_secrets_once_and_of_both_kinds(database_url: str, built: Network) -> None:
    settings = load(built.parties["kymenlaakso"].config)
    engine = storage.create(database_url)
    schema.bring_up_to_date(engine)
    at = datetime.now(UTC)

    prepare(settings, engine, at)
    made = {name: secret(getattr(settings.secrets, name)) for name in (*DEPENDS, "token_key")}
    prepare(settings, engine, at)

    assert {name: secret(getattr(settings.secrets, name)) for name in made} == made
    assert len(set(made.values())) == len(made)
    assert all(path.stat().st_mode & 0o077 == 0 for path in settings.secrets.index_key.parent.glob("*.key"))
    settings.secrets.index_key.unlink()
    with pytest.raises(NodeError, match=r"index\.key is missing"):
        prepare(settings, engine, at)
    engine.dispose()
    for name in ("wrapping_key", "token_key"):
        getattr(settings.secrets, name).unlink()


@pytest.mark.parametrize("command", [["run"], ["rotate", "index", "--yes"]], ids=["run", "rotate"])
def test_disk_that_is_full_is_said_once_with_its_place(lived: Running, command: list[str]) -> None:
    party = lived.party("kotka")
    before = sorted(party.folder.joinpath("secrets").iterdir())
    done = subprocess.run(
        [sys.executable, "-m", "gateway", "node", *command, "--config", str(party.config)],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=no_file_grows,
    )

    (fault,) = [line for line in done.stderr.splitlines() if line.startswith("✗")]
    assert done.returncode == 3
    assert "File too large" in fault or "disk I/O error" in fault
    assert str(party.folder) in fault
    assert "None" not in fault
    assert "unavailable: registry-unavailable" not in fault
    assert sorted(party.folder.joinpath("secrets").iterdir()) == before
