"""The examples of docs/clients.md and the tutorial for adapters, done as a reader would, against running nodes."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from gateway.demo.leash import leashed
from gateway.demo.network import Network
from gateway.storage.tables import inbox
from tests import parts
from tests.adapters.tools.documents import DOCS, blocks, edit, run, shims, write
from tests.gateway.running import Running, running
from tests.waiting import wait

pytestmark = pytest.mark.xdist_group("guide")
GUIDE = Path(__file__).parents[3] / "docs" / "clients.md"
BLOCK = re.compile(r"<!-- run: (\w+)(?:, (\w+))? -->\n```bash\n(.*?)```|<!-- (registered) -->", re.DOTALL)
PARTIES = {"municipality": "kotka", "centre": "centre"}


def prepare(network: Network) -> None:
    """The centre's system may decide who is who."""
    config = network.parties["centre"].config
    rights = '\n[clients.rights]\nactions = ["query", "handover", "inbox", "consent", "decision", "identity"]\n'
    line = 'identity = "authoritative"\n'
    config.write_text(config.read_text().replace(line, line + rights, 1))


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A centre and a municipality."""
    for tool in ("curl", "jq", "openssl"):
        parts.tool(tool)
    with running(tmp_path_factory.mktemp("guide"), prepare=prepare) as found:
        yield found


class Reader:
    """Someone who types the guide's examples: one shell for each organisation, whose variables last."""

    def __init__(self, nodes: Running, name: str, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        party = nodes.party(PARTIES[name])
        for file in ("client.pem", "client.key"):
            shutil.copyfile(party.folder / file, folder / file)
        shutil.copyfile(party.folder / "clients-authority.pem", folder / "authority.pem")
        rows = nodes.export.read_bytes().split(b"\r\n")
        (folder / "export.csv").write_bytes(b"\r\n".join([rows[0], rows[2], b""]))
        self.shell = subprocess.Popen(
            leashed(["bash"]), cwd=folder, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env={
                **os.environ, "NODE": party.address, "PASSPHRASE": nodes.network.passphrase,
                "CENTRE": str(nodes.party("centre").subsystem), "PERSON": nodes.people[1],
                "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            },
        )  # fmt: skip
        self.type("set -euo pipefail")

    def type(self, text: str) -> str:
        """Run a block; returns what it wrote. A command that fails ends the shell, and fails the test."""
        assert self.shell.stdin is not None
        assert self.shell.stdout is not None
        # From a file, so that no command of the block can take the shell's own input for its own.
        (self.folder / "block.sh").write_text(text)
        self.shell.stdin.write("source ./block.sh </dev/null\nprintf '\\n---done---\\n'\n")
        self.shell.stdin.flush()
        lines = []
        for line in self.shell.stdout:
            if line == "---done---\n":
                return "".join(lines).removesuffix("\n")
            lines.append(line)
        pytest.fail(f"{text}\nended the shell, saying:\n{''.join(lines)}")

    def close(self) -> None:
        if self.shell.stdin is not None:
            self.shell.stdin.close()
        self.shell.wait()
        if self.shell.stdout is not None:
            self.shell.stdout.close()


@pytest.fixture
def readers(nodes: Running, tmp_path: Path) -> Iterator[dict[str, Reader]]:
    """One for each organisation."""
    found = {name: Reader(nodes, name, tmp_path / name) for name in PARTIES}
    yield found
    for one in found.values():
        one.close()


def register(nodes: Running, reader: Reader) -> None:
    """What whoever runs the node does with the key set that a system gives them."""
    party = nodes.party("kotka")
    shutil.copyfile(reader.folder / "client-register.jwks", party.folder / "client-register.jwks")
    lines = ["", "[[clients]]", 'name = "client-register"', f'subsystem = "{party.subsystem}"']
    party.config.write_text("\n".join([party.config.read_text(), *lines, 'jwks = "client-register.jwks"', ""]))
    nodes.processes._running["kotka-node"].send_signal(signal.SIGHUP)
    log = party.folder / "node.log"
    wait(lambda: "settings-renewed" in log.read_text(), alive=nodes.processes.check)


def test_every_example_of_the_guide_does_what_the_guide_says(nodes: Running, readers: dict[str, Reader]) -> None:
    said: list[str] = []
    for match in BLOCK.finditer(GUIDE.read_text("utf-8")):
        who, when, text, registered = match.groups()
        if registered:
            register(nodes, readers["municipality"])
            continue
        if when == "arrived":
            wait(lambda: nodes.rows("kotka", select(inbox.c.id)))
        said += [reader.type(text) for name, reader in readers.items() if who in {name, "everyone"}]

    first, _, _, token, query, handed, followed, opened, *wishes, waiting, decided, refused, again = said
    consented, lifted, reported = wishes
    assert json.loads(first) == {"items": [], "next": "0"}
    assert json.loads(token) == {"items": [], "next": "0"}
    assert json.loads(query.rpartition("}\n")[0] + "}")["decision"]["permitted"]
    assert json.loads(handed.rpartition("}\n")[0] + "}") == {"read": 1, "handed_over": 1, "rejected": 0}
    assert "municipality\tFI-DEMO/MUN/9000003-8/kotoutuminen\tdue" in handed
    assert '"role": "municipality"' in followed
    assert '"kind": "handover"' in opened
    assert '"Patient"' in opened
    assert opened.rstrip().endswith('"accepted"')
    assert '"withdrawn"' in consented
    assert '"active",\n  "withdrawn"' in consented
    assert '"status": "withdrawn",\n  "ended_by": "self"' in lifted
    assert '"unplaced": 0' in reported
    assert '"kind": "report",\n  "status": "lapsed"' in reported
    assert waiting.split() == ["[]", "[]"]
    assert decided.startswith('client-not-permitted\n{\n  "reason": "join",\n  "identifiers": [')
    assert decided.rstrip().endswith(']\n}\n{\n  "released": [],\n  "handover": null\n}')
    assert "400\n" in refused
    assert '"code": "invalid-identifier"' in refused
    assert "not-permitted" in refused
    assert again.rstrip().endswith("true")


def test_every_block_of_the_guide_is_run_or_is_what_the_reader_sets() -> None:
    text = GUIDE.read_text("utf-8")

    ran = sum(match[3] is not None for match in BLOCK.finditer(text))

    assert text.count("```bash") == ran + 1, "only the block of variables is not run"


def test_the_tutorial_ends_with_the_record_in_an_inbox(nodes: Running, tmp_path: Path) -> None:
    """Every file written, every command run, every line of output there, every edit made."""
    (tmp_path / "bin").mkdir()
    shims(tmp_path / "bin")
    (tmp_path / "network").mkdir()
    (tmp_path / "network" / "network").symlink_to(nodes.network.folder)
    said = "\n".join(f"{name.upper()}={nodes.party(name).address}" for name in PARTIES.values())
    done = []

    for block in blocks(DOCS / "tutorial.md"):
        done.append(block.language)
        match block.language:
            case "csv":
                write(block, tmp_path)
            case "diff":
                edit(block, tmp_path)
            case "sh":
                # What the demo tells a reader, and a second or two that a reader takes.
                said = f"{block.text}\n{said}"
                wait(lambda: "adapter-taken" in log_of(nodes), alive=nodes.processes.check)
            case "console":
                if block.about == "inbox":
                    wait(lambda: arrived(nodes, tmp_path), alive=nodes.processes.check)
                run(block, tmp_path, said)

    assert (done.count("console"), done.count("diff"), done.count("csv"), done.count("sh")) == (11, 3, 1, 1)


def log_of(nodes: Running) -> str:
    return (nodes.party("centre").folder / "node.log").read_text("utf-8")


def arrived(nodes: Running, folder: Path) -> bool:
    handed = json.loads((folder / "handed.json").read_text("utf-8"))["handovers"][0]["id"]
    return handed in {row.handover for row in nodes.rows("kotka", select(inbox.c.handover))}
