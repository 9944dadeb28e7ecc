"""What a command or a node loads: what its use or its settings ask for, and none of what is heavy besides."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from adapters.samples import write_samples
from gateway.cli.main import NOUNS, load
from gateway.demo.network import Network, build
from gateway.demo.organisations import DEMO
from gateway.demo.ports import Ports

#: Libraries that take long to load, each with who needs it.
HEAVY = {
    "alembic": "a database that is older than the node",
    "asyncssh": "a source over SFTP",
    "authlib": "the console",
    "hl7": "an adapter of HL7 messages",
    "jinja2": "the console and its reports",
    "lxml": "an adapter of XML or workbooks",
    "openpyxl": "an adapter of workbooks",
    "opentelemetry.exporter.otlp": "traces",
    "opentelemetry.sdk.trace": "traces",
    "rfc3161_client": "timestamps",
}
#: Those that no listing of commands needs either.
NODE = {"aiohttp", "cryptography", "fastapi", "joserfc", "opentelemetry", "ruamel", "sqlalchemy", "tuf"}

#: What no node ever runs.
DESK_TOOLS = ("adapters.scaffold", "adapters.workbench", "adapters.samples", "gateway.demo", "gateway.conformance")

RUN_COMMAND = """
import json, sys
from gateway.cli.main import app
try:
    app(sys.argv[1:])
except SystemExit as ended:
    print("\\n" + json.dumps([ended.code, list(sys.modules)]))
"""
RUN_NODE = """
import asyncio, json, sys
from pathlib import Path
from gateway.node.node import Node
from gateway.settings import load

def ready():
    print("\\n" + json.dumps([0, list(sys.modules)]))
    node.stop()

async def main():
    global node
    node = Node(load(Path(sys.argv[1])), ready=ready)
    await node.run()

asyncio.run(main())
"""


def loaded(code: str, *arguments: str) -> set[str]:
    """The modules of a process of its own, at its end or when its node is ready."""
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    status, modules = json.loads(done.stdout.splitlines()[-1])
    assert status == 0, done.stdout
    return set(modules)


def among(names: set[str] | dict[str, str], modules: set[str]) -> list[str]:
    """Which of the libraries are there."""
    return sorted(name for name in names if name in modules)


@pytest.mark.parametrize(
    "arguments",
    [("--help",), ("--version",), ("registry", "--help"), ("registry", "show", "--help")],
    ids=" ".join,
)
def test_listing_commands_loads_no_heavy_library(arguments: tuple[str, ...]) -> None:
    assert among(NODE | HEAVY.keys(), loaded(RUN_COMMAND, *arguments)) == []


@pytest.mark.parametrize("noun", ["node", "client", "consent", "identity", "console", "evidence"])
def test_commands_beside_a_node_load_no_faces_before_they_are_used(noun: str) -> None:
    modules = loaded(RUN_COMMAND, noun, "--help")

    assert among(HEAVY, modules) == []
    assert among({"fastapi", "uvicorn", "tuf"}, modules) == []


@pytest.mark.parametrize("noun", NOUNS)
def test_a_noun_is_listed_with_what_its_commands_say_of_themselves(noun: str) -> None:
    assert load(noun).help == NOUNS[noun].help


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Network:
    folder = tmp_path_factory.mktemp("loading")
    write_samples(folder / "register", count=40)
    organisations = [organisation for organisation in DEMO if organisation.name in {"centre", "kotka"}]
    export = folder / "register" / "reception-centre.csv"
    return build(folder / "network", datetime.now(UTC), export, organisations=organisations)


def settings(network: Network, change: Callable[[str], str] = lambda text: text) -> Path:
    """The settings of the municipality's node, which has neither sources nor services, without its console."""
    config = network.parties["kotka"].config
    lines = [line for line in config.read_text("utf-8").splitlines() if not line.startswith("console =")]
    assert lines != config.read_text("utf-8").splitlines(), "the demo's node has a console"
    plain = config.with_name("plain.toml")
    plain.write_text(change("\n".join(lines)), "utf-8")
    return plain


@pytest.mark.e2e
def test_node_loads_what_its_settings_ask_for_and_no_more(network: Network) -> None:
    first = loaded(RUN_NODE, str(settings(network)))
    second = loaded(RUN_NODE, str(settings(network)))

    assert among(HEAVY, first) == ["alembic"], "an empty database is brought up to date"
    assert among(HEAVY, second) == []
    assert [module for module in second if module.startswith(DESK_TOOLS)] == [], "tools for developers"


@pytest.mark.e2e
@pytest.mark.parametrize(
    ("change", "asked_for"),
    [
        (
            lambda text: text + '\n[telemetry]\notlp_endpoint = "http://127.0.0.1:9"\nsample_ratio = 1.0\n',
            "opentelemetry.exporter.otlp",
        ),
        (lambda text: text.replace("[listen]", '[listen]\nconsole = "127.0.0.1:PORT"'), "jinja2"),
    ],
    ids=["traces", "console"],
)
def test_node_loads_what_its_settings_add(network: Network, change: Callable[[str], str], asked_for: str) -> None:
    ports = Ports(1)
    config = settings(network, lambda text: change(text).replace("PORT", str(next(iter(ports)))))

    assert asked_for in loaded(RUN_NODE, str(config))
