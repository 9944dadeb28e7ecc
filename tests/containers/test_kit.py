"""The conformance kit's profile for the containers, of what `docker/prepare` really makes, without an engine."""

from __future__ import annotations

import http.client
import importlib
import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType

import pytest
from typer.testing import CliRunner

from gateway.cli.main import app
from gateway.conformance.catalogue import cases
from gateway.conformance.profile import Profile, load
from gateway.conformance.running import Verdict, check, run
from gateway.registry.read.distribution import RegistryClient
from gateway.settings import load as load_settings

DOCKER = Path(__file__).parents[2] / "docker"
FIRST = 18_400
PORTS = {"centre": FIRST, "kotka": FIRST + 4, "kymenlaakso": FIRST + 8}
PERSON = "DEMO-1001"
#: Stands where a container engine would: runs a container's script here, with the places of its volumes in it, and
#: gives no file to another user.
ENGINE = r"""
import re, subprocess, sys
arguments = sys.argv[1:]
volumes = [arguments[n + 1].split(":") for n, word in enumerate(arguments) if word == "--volume"]
places = {inside: outside for outside, inside, *_ in volumes}
script = re.sub(r" --owner \d+ --group \d+|chown [^\n]*", "", arguments[-1])
known = re.compile(r"(?<![\w./-])(" + "|".join(places) + r")(?=[/\s'\"])")
script = known.sub(lambda found: places[found[1]], script + "\n")
sys.exit(subprocess.run(["sh", "-euc", script], cwd=places.get("/var/lib/yhdyspinta")).returncode)
"""


@pytest.fixture(scope="module", autouse=True)
def path() -> Iterator[None]:
    """The scripts of docker/ find each other as they do there."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(DOCKER))
        yield


@pytest.fixture(scope="module")
def kit(path: None) -> ModuleType:
    return importlib.import_module("kit")


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folders of `docker/prepare`."""
    folder = tmp_path_factory.mktemp("containers")
    engine = folder / "engine"
    engine.write_text(f"#!{sys.executable}{ENGINE}")
    engine.chmod(0o700)
    environment = os.environ | {
        "ENGINE": str(engine),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(DOCKER.parent),
    }
    command = ["sh", DOCKER / "prepare", folder / "network", str(FIRST)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder / "network"


@pytest.fixture(scope="module")
def written(kit: ModuleType, state: Path) -> Path:
    path = state / "profile.toml"
    path.write_text(kit.toml(kit.profile(state, PORTS, PERSON)))
    return path


@pytest.fixture(scope="module")
def profile(written: Path) -> Profile:
    return load(written)


def test_every_test_of_the_kit_finds_what_it_needs(profile: Profile) -> None:
    assert {need for case in cases() for need in case.needs if not profile.has(need)} == set()


def test_the_members_keys_open_and_fit_their_certificates(profile: Profile) -> None:
    check(profile)


def test_the_profile_says_of_nodes_and_services_what_the_registry_says(state: Path, profile: Profile) -> None:
    root = (state / "centre" / "root.json").read_bytes()
    registry = RegistryClient(state / "authority" / "registry", state / "seen", root).refresh(datetime.now(UTC))
    for face in (profile.node, profile.inbox):
        assert face is not None
        node = registry.node(face.id)
        assert node is not None
        assert face.address == node.address
        assert face.pins == frozenset(node.pins)
        assert set(face.services.values()) <= {str(offer.id) for offer in registry.content.services}


def test_the_kits_container_is_given_what_the_profile_names_and_nothing_of_a_nodes_own(
    kit: ModuleType, state: Path
) -> None:
    given = set(kit.files(kit.profile(state, PORTS, PERSON)))

    assert {Path(name).name for name in given} == {
        *("authority.pem", "passphrase", "system.pem", "system.key", "system-token.key"),
        *("signing.pem", "signing.key", "tls.pem", "tls.key"),
    }
    assert all((state / name).is_file() for name in given)


def test_the_reception_centre_says_who_a_person_is_and_its_system_may_come_with_a_token(state: Path) -> None:
    settings = load_settings(state / "centre" / "node.toml")

    [client], [service] = settings.clients, settings.services
    assert (client.identity, service.identity) == ("authoritative", "authoritative")
    assert client.jwks is not None
    assert "d" not in json.loads(client.jwks.read_bytes())["keys"][0]
    assert (state / "centre" / "clients" / "system-token.key").stat().st_mode & 0o077 == 0
    assert load_settings(state / "kotka" / "node.toml").clients[0].identity == "claimed"


def test_no_test_passes_where_nobody_listens(written: Path) -> None:
    with socket.socket() as closed:
        # Bound and not listened on: nobody else gets the port, and who connects to it is refused.
        closed.bind(("127.0.0.1", 0))
        results = run(load(_elsewhere(written, closed.getsockname()[1])), cases())

    assert {result.case.id for result in results if result.verdict is not Verdict.FAILED} == set()


def test_a_target_that_never_answers_has_refused_nothing(written: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        path = _elsewhere(written, silent.getsockname()[1])
        path.write_text(path.read_text().replace("patience_seconds = 120", "patience_seconds = 0.1"))
        results = run(load(path), [case for case in cases() if case.id in ("CLI-1", "CLI-2", "NODE-1", "NODE-2")])

    assert {result.verdict for result in results} == {Verdict.FAILED}
    assert {result.got for result in results} == {"nothing for 0.1 seconds"}


def test_a_test_that_fails_or_is_not_run_breaks_the_promise(kit: ModuleType, written: Path) -> None:
    broken = importlib.import_module("outside").PromiseError
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        path = _elsewhere(written, closed.getsockname()[1])
        failed = _report(kit, path, "CLI-1")
    path.write_text(path.read_text().replace("[sending.tokens]", "[sending.other]"))
    not_run = _report(kit, path, "CLI-7")

    with pytest.raises(broken, match="0 passed, 1 failed, 0 not run"):
        kit.judged(failed)
    with pytest.raises(broken, match="0 failed, 1 not run"):
        kit.judged(not_run)
    # None at all is no success either.
    with pytest.raises(broken, match="0 passed"):
        kit.judged({"counts": {"passed": 0, "failed": 0, "not-run": 0}, "results": []})


@pytest.mark.parametrize("text", ["", "Traceback: {'counts': 1}\nMemoryError", '{"error": "no such file"}'])
def test_a_kit_that_gives_no_report_breaks_the_promise(kit: ModuleType, text: str) -> None:
    with pytest.raises(importlib.import_module("outside").PromiseError, match="gives a report"):
        kit.read(text)


def test_a_report_is_read_among_what_the_engine_warns_of(kit: ModuleType) -> None:
    report = {"counts": {"passed": 1}, "results": []}

    assert kit.read(f"WARN[0000] slow\n{json.dumps(report)}\nWARN[0001] slow\n") == report


def test_a_kit_that_passes_keeps_the_promise_and_says_how_many(
    kit: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    results = [{"id": "CLI-1", "verdict": "passed"}]

    kit.judged({"counts": {"passed": 1, "failed": 0, "not-run": 0}, "results": results})

    assert "✓ the conformance kit: 1 passed, 0 failed, 0 not run" in capsys.readouterr().out


def _elsewhere(profile: Path, port: int) -> Path:
    """The profile with all faces at one port of loopback."""
    path = profile.with_name("elsewhere.toml")
    path.write_text(re.sub(r"https://[^\s:/]+:\d+", f"https://127.0.0.1:{port}", profile.read_text()))
    return path


def _report(kit: ModuleType, profile: Path, test: str) -> dict[str, object]:
    command = ["conformance", "run", "--profile", str(profile), "--only", test, "--json"]
    report: dict[str, object] = kit.read(CliRunner().invoke(app, command).output)
    return report


def test_the_register_outside_knows_one_person_and_nobody_else() -> None:
    outside = importlib.import_module("outside")
    export = b"ASIAKASNUMERO;HETU\r\nDEMO-1001;010190-900P\r\nDEMO-1002;\r\n"
    register = outside.Register(export, 0)
    try:
        answers = [_asked(register.port, outside.CUSTOMER, number) for number in (PERSON, "DEMO-1002")]
    finally:
        register.close()

    assert register.person == PERSON
    assert answers == [(200, b"ASIAKASNUMERO;HETU\r\nDEMO-1001;010190-900P\r\n"), (404, b"")]


def _asked(port: int, system: str, value: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("POST", "/records", json.dumps({"subject": {"system": system, "value": value}}))
    answer = connection.getresponse()
    return answer.status, answer.read()
