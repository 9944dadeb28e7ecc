"""`yhdyspinta registry`: a network from its first day on, by the commands that its people use."""

from __future__ import annotations

import contextlib
import itertools
import json
import shutil
import sqlite3
import ssl
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

import aiohttp
import pytest
from typer.testing import CliRunner

from audit.tree.checkpoint import VerifierKey, split_note
from gateway.cli.main import app
from gateway.demo.ports import Ports
from gateway.keys.credentials import Opening
from gateway.registry.read.distribution import RegistryClient
from gateway.settings import load
from tests.former import former_rulebook
from tests.gateway.running import ready
from tests.gateway.tokens import PIN, Tokens
from tests.nursery import node_started
from tests.waiting import living, wait


def run(*arguments: str) -> Any:
    """What the command does with these arguments."""
    return CliRunner().invoke(app, list(arguments))


MEMBER = "FI-TEST/MUN/9000003-8"
PHRASE = "the passphrase of the registry's keys"


class Network:
    """A network's authority in a folder, worked by commands."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = folder / "authority"
        self.phrase = folder / "phrase"

    @classmethod
    def begin(cls, folder: Path, *options: str) -> Network:
        """A network from its first day."""
        network = cls(folder)
        network.phrase.write_text(PHRASE)
        network.invoke("init", "FI-TEST", "--name", "Testiverkko", *options)
        return network

    def invoke(self, command: str, *arguments: str, code: int = 0, yes: bool = True) -> Any:
        """Run a command with --json; its document."""
        options: list[str] = ["--json"]
        if command not in {"show", "diff"} and yes:
            options.append("--yes")
        if command in {"init", "add", "publish", "rotate", "revoke", "sign"}:
            options += ["--authority", str(self.authority), "--passphrase-file", str(self.phrase)]
        result = run("registry", command, *arguments, *options)
        assert result.exit_code == code, (result.output, result.exception)
        return json.loads(result.stdout)

    def enrol(self, name: str = "kotka", *more: str, member: str = MEMBER, node: str = "kotka-1", code: int = 0) -> Any:
        described = ["--member", member, "--name", "Kotka", "--role", "municipality", "--subsystem", "kotoutuminen"]
        placed = ["--node", node, "--address", "https://127.0.0.1:5500", "--folder", str(self.folder / name)]
        return self.invoke("enrol", *described, *placed, *more, code=code)

    def joined(self, name: str = "kotka", **options: str) -> Path:
        """Let a member in, in three commands; the node's folder."""
        request = self.enrol(name, **options)["request"]
        self.invoke("add", request)
        self.invoke("join", str(Path(request).with_suffix(".welcome.json")), "--folder", str(self.folder / name))
        return self.folder / name

    @property
    def shown(self) -> Any:
        return self.invoke("show", str(self.authority))

    def version(self) -> int:
        version: int = self.shown["version"]
        return version


@pytest.fixture(scope="module")
def first_day(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("first-day")
    Network.begin(folder, "--root-keys", str(folder / "stick"))
    return folder


@pytest.fixture
def network(first_day: Path, tmp_path: Path) -> Network:
    """A network as it is on its first day."""
    shutil.copytree(first_day, tmp_path, dirs_exist_ok=True)
    return Network(tmp_path)


def test_a_network_begins_with_a_threshold_of_root_keys_that_are_carried_away(network: Network) -> None:
    names = {path.name for path in (network.authority / "keys").iterdir()}
    assert not any(name.startswith("root") for name in names)
    assert sorted(path.name for path in (network.folder / "stick").iterdir()) == [f"root-{n}.pem" for n in (1, 2, 3)]
    root = json.loads((network.authority / "root.json").read_bytes())["signed"]["roles"]["root"]
    assert (len(root["keyids"]), root["threshold"]) == (3, 2)
    for path in (*(network.authority / "keys").iterdir(), *(network.folder / "stick").iterdir()):
        assert b"ENCRYPTED PRIVATE KEY" in path.read_bytes()
        assert path.stat().st_mode & 0o077 == 0
    # Publishing needs none of the keys that were carried away.
    (network.folder / "stick").rename(network.folder / "elsewhere")
    assert network.invoke("publish")["signed"] == ["timestamp"]


def test_a_network_is_begun_once(network: Network) -> None:
    assert "already" in network.invoke("init", "FI-TEST", "--name", "Toinen", code=1)["error"]


def test_a_member_joins_in_three_commands_and_its_keys_never_leave_its_folder(network: Network) -> None:
    asked = network.enrol()
    folder, request = network.folder / "kotka", Path(asked["request"]).read_text()
    assert "PRIVATE" not in request
    assert request.count("BEGIN CERTIFICATE REQUEST") == 2
    added = network.invoke("add", asked["request"])
    assert added["fingerprint"] == asked["fingerprint"]
    assert f"+ member {MEMBER}" in added["changes"]
    done = network.invoke("join", added["welcome"], "--folder", str(folder), "--root-fingerprint", added["root"])
    assert {Path(path).name for path in done["written"]} == {"signing.pem", "tls.pem", "root.json", "node.toml"}
    secret = ("signing.key", "tls.key", "passphrase", "clients-authority.key", "secrets/log.key", "secrets/witness.key")
    for name in secret:
        assert (folder / name).stat().st_mode & 0o077 == 0
    [shown] = network.shown["members"]
    assert (shown["id"], [term["role"] for term in shown["roles"]]) == (MEMBER, ["municipality"])
    assert network.shown["verified"]
    published = b"".join(path.read_bytes() for path in (network.authority / "registry").rglob("*") if path.is_file())
    assert b"PRIVATE KEY" not in published
    # A node verifies all of it from the root that it was given.
    client = RegistryClient(network.authority / "registry", folder / "cache", (folder / "root.json").read_bytes())
    assert client.refresh(datetime.now(UTC)).node("kotka-1") is not None


def test_a_member_joins_wherever_its_request_was_written_to(network: Network) -> None:
    post = network.folder / "post"
    post.mkdir()

    asked = network.enrol("kotka", "--out", str(post / "kotka.json"))
    welcome = network.invoke("add", asked["request"])["welcome"]
    network.invoke("join", welcome, "--folder", str(network.folder / "kotka"))

    settings = load(network.folder / "kotka" / "node.toml")
    assert settings.node.subsystems == [f"{MEMBER}/kotoutuminen"]
    assert not (post / "subsystems.json").exists()


def test_a_node_that_joined_listens_at_the_port_that_was_registered(network: Network) -> None:
    asked = network.enrol("kotka", "--address", "https://127.0.0.1:5999")
    welcome = network.invoke("add", asked["request"])["welcome"]
    folder = network.folder / "kotka"
    result = run("registry", "join", welcome, "--folder", str(folder), "--yes")

    assert result.exit_code == 0, result.output
    assert str(load(folder / "node.toml").listen.peers) == "0.0.0.0:5999"
    said = " ".join(result.output.split())
    assert "0.0.0.0:5999, on all interfaces" in said
    assert "your own systems to 127.0.0.1:5443" in said


async def test_the_node_of_a_member_that_joined_runs_and_serves_the_system_that_was_added(network: Network) -> None:
    request = network.enrol()["request"]
    network.invoke("add", request)
    reserved = Ports(3)
    peers, clients, local = reserved
    listens = [
        "--peers",
        f"127.0.0.1:{peers}",
        "--clients",
        f"127.0.0.1:{clients}",
        "--local",
        f"127.0.0.1:{local}",
    ]
    folder = network.folder / "kotka"
    network.invoke("join", str(Path(request).with_suffix(".welcome.json")), "--folder", str(folder), *listens)
    assert run("client", "add", "tools", "--config", str(folder / "node.toml"), "--yes").exit_code == 0
    process = node_started(folder / "node.toml")
    try:
        await ready(local, living(process))
        async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{local}/metrics") as answer:
            metrics = await answer.text()
        for name in ("yhdyspinta_registry_age_seconds", "yhdyspinta_registry_remaining_seconds"):
            assert f"\n{name}{{" in metrics
        assert 'yhdyspinta_certificate_remaining_seconds{key="signing"' in metrics
        context = ssl.create_default_context(cafile=str(network.authority / "authority.pem"))
        phrase = (folder / "passphrase").read_text().strip()
        context.load_cert_chain(folder / "clients" / "tools.pem", folder / "clients" / "tools.key", password=phrase)
        async with (
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session,
            session.get(f"https://127.0.0.1:{clients}/v1/inbox", server_hostname="kotka-1") as answer,
        ):
            assert answer.status == 200
    finally:
        process.terminate()
        process.wait()


class Pair:
    """Two nodes that are in the network by commands alone, and run."""

    MEMBERS: ClassVar = {"kotka": "FI-TEST/MUN/9000003-8", "hamina": "FI-TEST/MUN/9000004-6"}
    SCHEDULE = "[audit]\nwitness_seconds = 0.2\ncosign_seconds = 0.2\n"

    def __init__(self, network: Network) -> None:
        self.network = network
        self.local: dict[str, int] = {}
        self.reserved = Ports(3 * len(self.MEMBERS))
        self.processes: list[subprocess.Popen[bytes]] = []
        ports = iter(self.reserved)
        for name, member in self.MEMBERS.items():
            peers, clients, self.local[name] = next(ports), next(ports), next(ports)
            placed = ("--address", f"https://127.0.0.1:{peers}")
            request = network.enrol(name, *placed, member=member, node=f"{name}-1")["request"]
            welcome = network.invoke("add", request)["welcome"]
            listens = ("--peers", f"127.0.0.1:{peers}", "--clients", f"127.0.0.1:{clients}")
            folder = str(network.folder / name)
            network.invoke("join", welcome, "--folder", folder, *listens, "--local", f"127.0.0.1:{self.local[name]}")
            text = self.config(name).read_text()
            hasty = text.replace("[registry]\n", "[registry]\nrefresh_seconds = 0.5\n")
            self.config(name).write_text(hasty + self.SCHEDULE)

    def config(self, name: str) -> Path:
        return self.network.folder / name / "node.toml"

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        self.processes = [node_started(self.config(name)) for name in self.MEMBERS]
        try:
            yield
        finally:
            for process in self.processes:
                process.terminate()
            for process in self.processes:
                process.wait()

    def until(self, look: Callable[[], Any], enough: Callable[[Any], Any] = bool) -> Any:
        """Wait for something that the two running nodes bring about."""
        return wait(look, enough, alive=living(*self.processes))

    def cosigns(self, signer: VerifierKey, name: str) -> None:
        """Wait until the key has cosigned the node's log."""
        self.until(lambda: self.health(name, "witness") is not None)
        looks = itertools.count(1)

        def look() -> set[str]:
            # A log that stands still is brought to its witnesses once a day: a question, which is on record, moves it.
            if next(looks) % 200 == 0:
                run("audit", "unusual", "--config", str(self.config(name)), "--json")
            return self.cosigned_by(name)

        self.until(look, lambda found: signer.key_id.hex() in found)

    def log_key(self, name: str) -> str:
        """The key that the registry lists for the node's log."""
        [key] = [node["log"]["key"] for node in self.network.shown["nodes"] if node["id"] == f"{name}-1"]
        return str(key)

    def one(self, name: str, statement: str) -> int:
        """A number from the node's database."""
        with contextlib.closing(sqlite3.connect(self.config(name).parent / "node.db")) as connection:
            return int(connection.execute(statement).fetchone()[0] or 0)

    def size(self, name: str) -> int:
        return self.one(name, "SELECT size FROM audit_head")

    def cosigned_size(self, name: str) -> int:
        return self.one(name, "SELECT max(size) FROM audit_cosignatures")

    def alarms(self, name: str) -> int:
        return self.one(name, "SELECT count(*) FROM audit_alarms")

    def health(self, name: str, part: str) -> Any:
        """A part of what the node's health says; None while it does not answer."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.local[name]}/health") as answer:
                return json.load(answer)[part]
        except urllib.error.HTTPError as error:
            return json.load(error)[part]
        except OSError:
            return None

    def cosigned_by(self, name: str) -> set[str]:
        """Ids of the keys that have cosigned the node's log."""
        with sqlite3.connect(self.network.folder / name / "node.db") as connection:
            notes = [note for (note,) in connection.execute("SELECT note FROM audit_cosignatures")]
        return {line.key_id.hex() for note in notes for line in split_note(note)[1] if line.name.endswith("/witness")}

    def keys(self, name: str) -> list[VerifierKey]:
        """The node's keys as a witness, as the registry lists them."""
        node = next(one for one in self.network.shown["nodes"] if one["id"] == f"{name}-1")
        return [VerifierKey.parse(key) for key in node.get("witness", [])]


def test_nodes_that_joined_by_commands_cosign_each_others_logs_and_change_their_keys_meanwhile(
    network: Network,
) -> None:
    pair = Pair(network)
    [former] = pair.keys("kotka")
    [other] = pair.keys("hamina")
    assert (former.name, other.name) == ("yhdyspinta/kotka-1/witness", "yhdyspinta/hamina-1/witness")
    with pair.running():
        pair.cosigns(former, "hamina")
        pair.cosigns(other, "kotka")
        # Each side learns of the other in its own time: a signature on one says nothing of what the other knows.
        pair.until(lambda: pair.health("kotka", "witness"), lambda seen: seen and seen["listed"])
        cosigned = pair.until(lambda: pair.health("kotka", "witness"), lambda seen: seen and seen["cosigned"])[
            "cosigned"
        ]
        assert [mark["witness"] for mark in cosigned] == [other.name]
        # Another key, while both run: asked for, listed beside the former, put in place, taken up.
        folder = network.folder / "kotka"
        out = ("--out", str(folder / "renewal.json"))
        asked = network.invoke("enrol", "--renew", "witness", "--folder", str(folder), *out)
        added = network.invoke("add", asked["request"])
        _, new = pair.keys("kotka")
        assert added["changes"] == [f"+ witness key {new.name}+{new.key_id.hex()}"]
        assert new.key_id.hex() not in pair.cosigned_by("hamina")
        done = network.invoke("join", added["welcome"], "--folder", str(folder))
        assert done["written"] == [str(folder / "secrets" / "witness.key")]
        pair.cosigns(new, "hamina")
        revoked = network.invoke("revoke", f"{former.name}+{former.key_id.hex()}")
        assert revoked["changes"] == [f"- witness key {former.name}+{former.key_id.hex()}"]
        assert pair.keys("kotka") == [new]
        pair.until(lambda: pair.health("kotka", "witness"), lambda seen: seen and seen["listed"])
    for name in Pair.MEMBERS:
        result = run("audit", "check", "--config", str(pair.config(name)), "--json")
        assert result.exit_code == 0, result.output
        assert json.loads(result.stdout)["sound"]


def test_a_log_goes_on_under_another_key_while_its_node_runs(network: Network) -> None:
    pair = Pair(network)
    folder, config = network.folder / "kotka", str(pair.config("kotka"))
    [witness] = pair.keys("hamina")
    with pair.running():
        pair.cosigns(witness, "kotka")
        former = pair.log_key("kotka")
        asked = network.invoke(
            "enrol", "--renew", "log", "--folder", str(folder), "--out", str(folder / "renewal.json")
        )
        # Before the registry lists it nobody would believe the new key.
        early = run("node", "rotate", "log", "--config", config, "--settle", "0", "--yes", "--json")
        assert (early.exit_code, "does not list" in json.loads(early.stdout)["error"]) == (3, True)
        assert "~ node kotka-1" in " ".join(network.invoke("add", asked["request"])["changes"])

        version = network.shown["version"]
        for name in Pair.MEMBERS:
            pair.until(
                lambda name=name: pair.health(name, "registry"), lambda known: known and known["version"] == version
            )
        # It holds back until the node signs by both keys.
        done = pair.until(
            lambda: run("node", "rotate", "log", "--config", config, "--settle", "1", "--yes", "--json"),
            lambda result: result.exit_code == 0 or "both keys" not in result.output,
        )
        assert done.exit_code == 0, done.output
        new = pair.log_key("kotka")
        assert new != former
        size = pair.size("kotka")
        # The peer goes on: it proves the log and cosigns it, by the new key alone.
        run("audit", "unusual", "--config", config, "--json")
        pair.until(lambda: pair.cosigned_size("kotka"), lambda found: found > size)
        assert pair.alarms("hamina") == 0
    for name in Pair.MEMBERS:
        result = run("audit", "check", "--config", str(pair.config(name)), "--json")
        assert json.loads(result.stdout)["sound"], result.output


def test_a_key_of_a_witness_is_not_put_in_place_before_it_is_listed(network: Network) -> None:
    folder = network.joined()
    before = (folder / "secrets" / "witness.key").read_bytes()
    asked = network.invoke(
        "enrol", "--renew", "witness", "--folder", str(folder), "--out", str(folder / "renewal.json")
    )
    assert (folder / "secrets" / "witness.key").read_bytes() == before
    welcome = Path(network.invoke("add", asked["request"])["welcome"])
    # A later request: what was listed is no longer the key that waits.
    network.invoke("enrol", "--renew", "witness", "--folder", str(folder), "--out", str(folder / "again.json"))
    assert "key-mismatch" in network.invoke("join", str(welcome), "--folder", str(folder), code=1)["error"]
    assert (folder / "secrets" / "witness.key").read_bytes() == before
    assert "no such witness key" in network.invoke("revoke", "yhdyspinta/kotka-1/witness+00000000", code=1)["error"]


def test_the_key_of_a_witness_is_shown_to_people(network: Network) -> None:
    network.joined()
    [key] = network.shown["nodes"][0]["witness"]
    result = run("registry", "show", str(network.authority))
    assert key.split("+")[1][:6] in "".join(result.stdout.split())


def test_a_root_that_is_not_the_one_that_was_told_is_not_believed(network: Network) -> None:
    request = network.enrol()["request"]
    welcome = network.invoke("add", request)["welcome"]
    folder = str(network.folder / "kotka")
    refusal = network.invoke("join", welcome, "--folder", folder, "--root-fingerprint", "ab" * 32, code=1)
    assert "do not go on" in refusal["remedy"]
    assert not (network.folder / "kotka" / "root.json").exists()


def test_a_request_in_the_name_of_a_listed_member_needs_its_key_or_a_check_of_who_asks(network: Network) -> None:
    network.joined()
    stranger = network.enrol("stranger", node="kotka-2")["request"]
    refusal = network.invoke("add", stranger, code=1)
    assert "--identity-checked" in refusal["remedy"]
    assert len(network.shown["nodes"]) == 1
    network.invoke("add", stranger, "--identity-checked")
    assert len(network.shown["nodes"]) == 2
    taken = network.enrol("third", member="FI-TEST/MUN/9000004-6")["request"]
    assert "belongs to" in network.invoke("add", taken, code=1)["error"]


def test_a_member_changes_its_keys_and_the_old_ones_stay_until_they_are_revoked(network: Network) -> None:
    folder = network.joined()
    before = (folder / "signing.pem").read_bytes(), (folder / "tls.pem").read_bytes()
    asked = network.invoke(
        "enrol", "--renew", "signing", "--renew", "tls", "--algorithm", "EdDSA", "--folder", str(folder),
        "--out", str(folder / "renewal.json"),
    )  # fmt: skip
    added = network.invoke("add", asked["request"])
    network.invoke("join", added["welcome"], "--folder", str(folder))
    assert (folder / "signing.pem").read_bytes() != before[0]
    assert (folder / "tls.pem").read_bytes() != before[1]
    assert not list(folder.glob("*.next"))
    [member] = network.shown["members"]
    assert [one["algorithm"] for one in member["signing"]] == ["ES256", "EdDSA"]
    assert len(network.shown["nodes"][0]["pins"]) == 2
    former = network.folder / "former.pem"
    for certificate in before:
        former.write_bytes(certificate)
        network.invoke("revoke", str(former))
    [member] = network.shown["members"]
    assert [one["algorithm"] for one in member["signing"]] == ["EdDSA"]
    assert len(network.shown["nodes"][0]["pins"]) == 1
    assert "no certificate" in network.invoke("revoke", str(former), code=1)["error"]


def test_a_node_and_a_member_are_revoked_with_all_that_is_theirs(network: Network) -> None:
    network.joined()
    assert network.invoke("revoke", "kotka-1")["changes"][0] == "- node kotka-1"
    assert network.shown["nodes"] == []
    assert f"- member {MEMBER}" in network.invoke("revoke", MEMBER)["changes"]
    assert network.shown["members"] == []
    assert "no member" in network.invoke("revoke", MEMBER, code=1)["error"]


def test_a_draft_changes_nothing_until_it_is_published(network: Network) -> None:
    request, version = network.enrol()["request"], network.version()
    network.invoke("add", request, "--draft")
    assert network.version() == version
    assert network.shown["members"] == []
    changes = network.invoke("diff", str(network.authority), code=1)["changes"]
    assert {"kind": "member", "name": MEMBER, "what": "added", "fields": []} in changes
    # The draft is plain files: what is wrong in them is told before anything is signed.
    path = network.authority / "draft" / "members.json"
    text = path.read_text()
    path.write_text(text.replace('"municipality"', '"king"'))
    assert "/members/0" in network.invoke("publish", code=1)["error"]
    path.write_text(text.replace('"municipality"', '"county"'))
    assert f"+ member {MEMBER}" in network.invoke("publish")["changes"]
    assert network.shown["members"][0]["roles"] == [{"role": "county"}]
    assert network.invoke("diff", str(network.authority))["changes"] == []


def test_the_keys_of_every_role_are_rotated_and_a_node_follows(network: Network) -> None:
    folder = network.joined()
    client = RegistryClient(network.authority / "registry", folder / "cache", (folder / "root.json").read_bytes())
    client.refresh(datetime.now(UTC))
    stick = ["--keys", str(network.folder / "stick")]
    assert "root" in network.invoke("rotate", "timestamp", code=3)["error"]
    for role in ("root", "targets", "members", "rulebook", "snapshot", "timestamp"):
        network.invoke("rotate", role, *stick)
        client.refresh(datetime.now(UTC))
        assert client.problem is None, role
    retired = {path.name for path in (network.folder / "stick" / "retired").iterdir()}
    assert retired == {"root-1.pem", "root-2.pem", "root-3.pem"}
    assert sorted(path.name for path in (network.folder / "stick").glob("*.pem")) == [
        "root-4.pem", "root-5.pem", "root-6.pem"
    ]  # fmt: skip
    network.invoke("rotate", "root", *stick, "--count", "5", "--threshold", "3")
    client.refresh(datetime.now(UTC))
    assert client.problem is None
    assert "is not a role" in network.invoke("rotate", "king", code=2)["error"]


def test_the_certificate_authority_is_rotated_and_the_former_is_revoked_later(network: Network) -> None:
    network.joined()
    [former] = network.shown["anchors"]
    network.invoke("rotate", "anchor")
    anchors = network.shown["anchors"]
    assert len(anchors) == 2
    assert anchors[1] == former
    network.invoke("revoke", former["thumbprint"])
    assert network.shown["anchors"] == anchors[:1]
    assert "last anchor" in network.invoke("revoke", anchors[0]["thumbprint"], code=1)["error"]


def test_the_rulebook_is_signed_by_another_authority_on_another_machine(tmp_path: Path) -> None:
    office = tmp_path / "lawyers"
    network = Network.begin(tmp_path, "--rulebook-keys", str(office))
    rulebook = tmp_path / "rulebook.yaml"
    rulebook.write_bytes(former_rulebook() + b"# Reviewed.\n")
    # Without the lawyers' key nobody else can publish a rulebook.
    assert "rulebook" in network.invoke("publish", "--rulebook", str(rulebook), code=3)["error"]
    part = tmp_path / "part.json"
    network.invoke("sign", "rulebook", "--file", str(rulebook), "--out", str(part), "--keys", str(office))
    assert network.invoke("publish", "--part", str(part))["changes"] == ["~ rulebook rulebook.yaml"]
    assert network.shown["roles"]["rulebook"]["version"] == 2
    # Signed once, published once.
    assert "signed anew" in network.invoke("publish", "--part", str(part), code=1)["remedy"]
    altered = json.loads(part.read_bytes())
    altered["files"]["rulebook.yaml"] += "# Slipped in.\n"
    part.write_text(json.dumps(altered))
    network.invoke("publish", "--part", str(part), code=1)
    assert network.shown["roles"]["rulebook"]["version"] == 2


def test_a_rulebook_with_faults_is_neither_signed_nor_published(network: Network) -> None:
    rulebook = network.folder / "rulebook.yaml"
    rulebook.write_text("purposes: [")
    assert "faults" in network.invoke("publish", "--rulebook", str(rulebook), code=1)["error"]
    part = str(network.folder / "part.json")
    assert "faults" in network.invoke("sign", "rulebook", "--file", str(rulebook), "--out", part, code=1)["error"]


def test_a_wrong_passphrase_is_told_and_not_repeated(network: Network) -> None:
    network.phrase.write_text("a wrong one")
    refusal = network.invoke("publish", code=3)
    assert "passphrase" in refusal["remedy"]
    assert "a wrong one" not in json.dumps(refusal)


def test_two_publications_are_compared(network: Network, tmp_path: Path) -> None:
    shutil.copytree(network.authority / "registry", tmp_path / "before")
    network.joined()
    changes = network.invoke("diff", str(tmp_path / "before"), str(network.authority), code=1)["changes"]
    assert {one["kind"] for one in changes} == {"member", "node", "signing certificate", "witness key"}
    assert not network.invoke("show", str(tmp_path / "before"))["verified"]
    assert network.invoke("show", str(network.authority), "--member", MEMBER)["members"][0]["id"] == MEMBER
    assert "no member" in network.invoke("show", str(network.authority), "--member", "FI-TEST/MUN/1", code=1)["error"]
    assert "--root" in network.invoke("show", "https://registry.example", code=3)["remedy"]


def test_a_folder_without_a_registry_is_told_apart_from_one_that_cannot_be_read(
    network: Network, tmp_path: Path
) -> None:
    empty = network.invoke("show", str(tmp_path / "nowhere"), code=1)
    assert f"{tmp_path / 'nowhere'} holds no registry: " in empty["error"]
    assert "registry init" in empty["remedy"]

    next((network.authority / "registry" / "metadata").glob("*.root.json")).write_text("{")
    damaged = network.invoke("show", str(network.authority / "registry"), code=1)
    assert "holds no registry that can be read" in damaged["error"]


def test_nothing_is_done_without_a_yes(network: Network) -> None:
    request, version = network.enrol()["request"], network.version()
    refusal = network.invoke("add", request, code=2, yes=False)
    assert "--yes" in refusal["remedy"]
    assert network.version() == version


def test_what_it_is_about_to_do_is_said_to_people_first(network: Network) -> None:
    request = network.enrol()["request"]
    arguments = ["--authority", str(network.authority), "--passphrase-file", str(network.phrase), "--yes"]
    result = run("registry", "add", request, *arguments)
    assert result.exit_code == 0
    said = " ".join(result.stderr.split())
    assert f"+ member {MEMBER}" in said
    assert "sign and publish it" in said
    assert "compared its fingerprint with the member" in said
    assert "the answer for the member" in " ".join(result.stdout.split())


@pytest.mark.parametrize(
    ("change", "place"),
    [
        (["--role", "king"], "king"),
        (["--node", "Not A Name"], "node"),
        (["--address", "http://kotka"], "https"),
        (["--algorithm", "RS256"], "RS256"),
    ],
    ids=["role", "node", "address", "algorithm"],
)
def test_a_request_that_would_be_refused_is_not_made(network: Network, change: list[str], place: str) -> None:
    described = {
        "--member": MEMBER, "--name": "Kotka", "--subsystem": "kotoutuminen", "--node": "kotka-1",
        "--address": "https://127.0.0.1:5500", "--folder": str(network.folder / "kotka"),
    }  # fmt: skip
    described[change[0]] = change[1]
    options = (part for pair in described.items() for part in pair)
    result = run("registry", "enrol", *options, "--yes", "--json")
    assert result.exit_code in {1, 2}
    assert place in json.loads(result.stdout)["error"]
    assert not (network.folder / "kotka" / "signing.key").exists()


def test_a_member_keeps_its_signing_key_in_a_token(network: Network, tokens: Tokens) -> None:
    pin = network.folder / "pin"
    pin.write_text(PIN)
    place = [
        "--pkcs11-module", str(tokens.module), "--pkcs11-token", "virasto", "--pkcs11-label", "kotka-signing",
        "--pkcs11-pin", str(pin),
    ]  # fmt: skip
    request = network.enrol("kotka", *place)["request"]
    added = network.invoke("add", request)
    folder = network.folder / "kotka"
    network.invoke("join", added["welcome"], "--folder", str(folder), *place)
    assert not (folder / "signing.key").exists()
    text = (folder / "node.toml").read_text()
    assert 'pkcs11_label = "kotka-signing"' in text
    opening = Opening()
    try:
        key = opening.signing(load(folder / "node.toml").signing)
        assert key.signer is not None
        assert len(key.signer.sign(b"x")) == 64
    finally:
        opening.close()


@pytest.fixture(autouse=True)
def _no_passphrase_around(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("YHDYSPINTA_REGISTRY_PASSPHRASE", raising=False)


def test_a_member_asks_once_for_all_and_the_authority_publishes_it_only_with_the_members_signature(
    network: Network,
) -> None:
    folder, other = network.joined(), network.joined("turku", member="FI-TEST/MUN/9000001-1", node="turku-1")
    said = ["--provision", "681/2023 86:1", "--purpose", "reception-to-municipality", "--provider", "reception-centre",
            "--category", "identity", "--category", "language", "--role", "municipality"]  # fmt: skip
    file = network.folder / "asked.json"

    def ask(of: Path, *more: str, code: int = 0) -> Any:
        config = ["--config", str(of / "node.toml"), "--out", str(file)]
        return network.invoke("ask", "kotka-86-1", *said, *config, *more, code=code)

    def take(*, code: int = 0) -> Any:
        place = ["--authority", str(network.authority), "--passphrase-file", str(network.phrase)]
        return network.invoke("take", str(file), *place, code=code)

    assert ask(folder)["member"] == MEMBER
    assert any("kotka-86-1" in change for change in take()["changes"])
    (listed,) = network.shown["standing_requests"]
    assert (listed["member"], listed["provision"], listed["last"]) == (MEMBER, "681/2023 86:1", None)

    forged = json.loads(file.read_bytes()) | {"categories": ["health-needs", "identity", "language"]}
    file.write_text(json.dumps(forged))
    assert "request-refused" in take(code=1)["error"]
    assert ask(other)["member"] == "FI-TEST/MUN/9000001-1"
    assert "request-refused" in take(code=1)["error"], "of a name that is another member's already"
    assert "request-malformed" in ask(folder, "--last", "2020-01-01", code=1)["error"]

    ask(folder, "--last", "2027-12-31")
    take()
    assert [asked["last"] for asked in network.shown["standing_requests"]] == ["2027-12-31"]
    network.invoke("revoke", "kotka-86-1")
    assert network.shown["standing_requests"] == []
