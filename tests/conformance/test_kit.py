"""The kit passes the real nodes, and each of its tests finds the target that is broken for it, as no other does."""

from __future__ import annotations

import json
import os
import re
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from consent.rulebook import reference_rulebook
from gateway.cli.main import app
from gateway.conformance.case import Case
from gateway.conformance.catalogue import cases
from gateway.conformance.demo import profile_of
from gateway.conformance.message import Signer, certificate_of
from gateway.conformance.profile import Profile, load
from gateway.conformance.running import Result, Verdict, run
from gateway.conformance.wire import Stranger
from gateway.demo.network import Network
from gateway.demo.tokens import let_in_by_token
from gateway.keys import certificates
from gateway.keys.keystore import write_private_key
from gateway.registry.run.authority import Authority
from tests.conformance.faults import CLIENT, INBOX, NODE, RECEIVING, SENDING
from tests.conformance.faults_node import node_faults
from tests.conformance.proxy import Fault, Proxy, server_context
from tests.gateway.running import Running, running

pytestmark = pytest.mark.xdist_group("conformance")
ROOT = Path(__file__).parents[2]
CASES = cases()
#: Tests that wait for a delivery: not run as neighbours.
SLOW = frozenset(
    {
        "CLI-11",
        "CLI-12",
        "CLI-26",
        "CLI-27",
        "CLI-29",
        "CLI-30",
        "CLI-31",
        "CLI-32",
        "CLI-51",
        "NODE-55",
        "NODE-57",
        "NODE-59",
    }
)
#: How many tests of the same group are run beside the one that must fail; `all` runs every quick test of the kit.
NEIGHBOURS = os.environ.get("CONFORMANCE_NEIGHBOURS", "6")


@dataclass
class Standing:
    """The nodes, the proxies before their faces, and what the kit needs to reach the proxies."""

    nodes: Running
    proxies: dict[str, Proxy]
    profile: Profile
    stranger: Stranger
    faults: dict[str, Fault]
    folder: Path

    def break_(self, fault: Fault | None) -> None:
        """Give the target a fault, or none."""
        notes: dict[str, object] = {}
        for proxy in self.proxies.values():
            proxy.fault = fault if fault is not None and proxy.name in fault.faces else None
            proxy.notes = notes
        notes["proxy"] = self.proxies[SENDING].upstream

    def failed(self, chosen: list[Case]) -> set[str]:
        """The ids of the tests that fail now."""
        results = run(self.profile, chosen, stranger=self.stranger)
        return {result.case.id for result in results if result.verdict is not Verdict.PASSED}


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standing]:
    folder = tmp_path_factory.mktemp("conformance")
    with running(
        folder, prepare=lambda network: let_in_by_token(network, "centre"), rulebook=reference_rulebook()
    ) as nodes:
        state = folder / "state.json"
        state.write_text(json.dumps(nodes.network.state()))
        (folder / "profile.toml").write_text(profile_of(state))
        stranger = Stranger.make()
        proxies = {name: _proxy(nodes, name, stranger) for name in (SENDING, RECEIVING, NODE, INBOX)}
        signers = {
            face: Signer.open(_identity(nodes.network, party)) for face, party in ((NODE, "centre"), (INBOX, "kotka"))
        }
        other = str(nodes.party("kymenlaakso").subsystem)
        profile = _through(load(folder / "profile.toml"), proxies)
        found = Standing(nodes, proxies, profile, stranger, CLIENT | node_faults(signers, other), folder)
        found.break_(None)
        yield found
        for proxy in proxies.values():
            proxy.close()


@pytest.fixture(scope="module")
def good(standing: Standing) -> list[Result]:
    """What the whole kit says of the nodes as they are, through proxies without a fault."""
    standing.break_(None)
    return run(standing.profile, CASES, stranger=standing.stranger)


def test_the_nodes_pass_the_kit(good: list[Result]) -> None:
    failed = {result.case.id: (result.expected, result.got) for result in good if result.verdict is not Verdict.PASSED}

    assert failed == {}


def test_there_is_a_broken_target_for_each_test(standing: Standing) -> None:
    assert standing.faults.keys() == {case.id for case in CASES}
    assert len(CASES) >= 40


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_a_broken_target_fails_exactly_its_test(case: Case, standing: Standing, good: list[Result]) -> None:
    passing = {result.case.id for result in good if result.verdict is Verdict.PASSED}
    assert case.id in passing
    standing.break_(standing.faults[case.id])
    try:
        chosen = [case, *(entry for entry in _neighbours(case) if entry.id in passing)]

        assert standing.failed(chosen) == {case.id}
    finally:
        standing.break_(None)


def test_the_command_says_what_failed_why_and_by_which_section(standing: Standing) -> None:
    command = ["conformance", "run", "--profile", str(standing.folder / "profile.toml"), "--only", "CLI-1"]
    good_, alone = CliRunner().invoke(app, command), CliRunner().invoke(app, [*command, "--json"])
    # The same target, told to be another node than it is: its certificate and its answers are then wrong.
    wrong = (standing.folder / "profile.toml").read_text().replace('id = "centre.demo"', 'id = "kotka.demo"')
    (standing.folder / "wrong.toml").write_text(wrong)
    command = ["conformance", "run", "--profile", str(standing.folder / "wrong.toml"), "--only", "NODE-4"]
    bad, told = CliRunner().invoke(app, command), CliRunner().invoke(app, [*command, "--json"])

    assert (good_.exit_code, alone.exit_code) == (0, 0)
    assert "1 passed, 0 failed" in good_.output
    assert json.loads(alone.output)["counts"]["passed"] == 1
    assert (bad.exit_code, told.exit_code) == (1, 1)
    for text in ("✗ NODE-4", "expected:", "got:", "by: docs/protocol.md#tls", "→ POST /peer/v1/messages"):
        assert text in bad.output
    (result,) = json.loads(told.output)["results"]
    assert (result["verdict"], result["section"]) == ("failed", "docs/protocol.md#tls")
    assert result["exchanges"]
    assert standing.nodes.network.passphrase not in bad.output + told.output


def test_a_key_that_cannot_be_opened_is_the_profiles_fault_and_no_failure_of_the_target(standing: Standing) -> None:
    text = (standing.folder / "profile.toml").read_text()
    (standing.folder / "wrong-passphrase").write_text("another")
    right = json.dumps(str(standing.nodes.network.folder / "passphrase"))
    for name, changed in (
        ("other.toml", text.replace(right, json.dumps(str(standing.folder / "wrong-passphrase")))),
        ("none.toml", text.replace(f"passphrase_file = {right}\n", "")),
    ):
        (standing.folder / name).write_text(changed)

        done = CliRunner().invoke(app, ["conformance", "run", "--profile", str(standing.folder / name)])

        assert done.exit_code == 2
        assert "sending" in done.output


def test_a_service_that_the_profile_lacks_is_told_as_not_run(standing: Standing) -> None:
    assert standing.profile.node is not None
    lacking = replace(standing.profile, node=replace(standing.profile.node, services={}))

    (result,) = run(lacking, [case for case in CASES if case.id == "NODE-61"], stranger=standing.stranger)

    assert (result.verdict, result.missing) == (Verdict.NOT_RUN, ("service of the kind notice",))


def test_each_requirement_names_a_section_that_is_there() -> None:
    sections = {case.requirement.section for case in CASES}

    missing = [section for section in sections if section.partition("#")[2] not in _anchors(section.partition("#")[0])]

    assert missing == []


def _neighbours(case: Case) -> list[Case]:
    quick = [entry for entry in CASES if entry.id not in SLOW and entry.id != case.id]
    if NEIGHBOURS == "all":
        return quick
    near = [entry for entry in quick if (entry.role, entry.group) == (case.role, case.group)]
    place = CASES.index(case)
    return sorted(near, key=lambda entry: abs(CASES.index(entry) - place))[: int(NEIGHBOURS)]


def _anchors(page: str) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", (ROOT / page).read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


# -- the proxies -------------------------------------------------------------------------------------------------------


def _identity(network: Network, party: str, use: str = "signing"):  # type: ignore[no-untyped-def]
    from gateway.conformance.profile import Identity

    folder = network.parties[party].folder
    return Identity(folder / f"{use}.pem", folder / f"{use}.key", network.passphrase.encode())


def _proxy(nodes: Running, name: str, stranger: Stranger) -> Proxy:
    return _client_proxy(nodes, name, stranger) if name in {SENDING, RECEIVING} else _peer_proxy(nodes, name, stranger)


def _client_proxy(nodes: Running, name: str, stranger: Stranger) -> Proxy:
    party = nodes.party({SENDING: "centre", RECEIVING: "kotka"}[name])
    files = party.folder / "clients-tls.pem", party.folder / "clients-tls.key"
    authority = party.folder / "clients-authority.pem"
    contexts: dict[str, ssl.SSLContext] = {}

    def downstream(fault: str) -> ssl.SSLContext:
        if fault not in contexts:
            authorities = [authority, *([stranger.identity.certificate] if fault == "strangers" else [])]
            contexts[fault] = server_context(*files, nodes.network.passphrase, authorities)
            contexts[fault].verify_mode = ssl.CERT_OPTIONAL
        return contexts[fault]

    upstream = {shown: nodes.client_context(party.name, certificate=shown) for shown in (True, False)}
    return Proxy(name, party.clients, "localhost", downstream, lambda shown: upstream[shown is not None])


def _peer_proxy(nodes: Running, name: str, stranger: Stranger) -> Proxy:
    target, caller = {NODE: ("centre", "kotka"), INBOX: ("kotka", "centre")}[name]
    party = nodes.party(target)
    authority = nodes.network.folder / "authority" / "authority.pem"
    unlisted = _unlisted(nodes, target) if name == NODE else None
    contexts: dict[str, ssl.SSLContext] = {}

    def downstream(fault: str) -> ssl.SSLContext:
        if fault not in contexts:
            files = (
                unlisted if fault == "unlisted" and unlisted else (party.folder / "tls.pem", party.folder / "tls.key")
            )
            authorities = [authority, *([stranger.identity.certificate] if fault == "strangers" else [])]
            context = server_context(*files, nodes.network.passphrase, authorities)
            context.minimum_version = ssl.TLSVersion.TLSv1_2 if fault == "old" else ssl.TLSVersion.TLSv1_3
            context.verify_mode = ssl.CERT_OPTIONAL if fault == "nobody" else ssl.CERT_REQUIRED
            contexts[fault] = context
        return contexts[fault]

    other = certificate_of(nodes.party("kymenlaakso").folder / "tls.pem")
    upstream = {"other": nodes.peer_context("kymenlaakso"), "caller": nodes.peer_context(caller)}
    return Proxy(
        name,
        party.peers,
        party.node,
        downstream,
        lambda shown: upstream["other" if shown == other else "caller"],
    )


def _unlisted(nodes: Running, target: str) -> tuple[Path, Path]:
    """Another TLS certificate of the node, from the same anchor, that the registry does not pin."""
    party, network = nodes.party(target), nodes.network
    authority = Authority(network.folder / "authority", network.passphrase.encode())
    key = certificates.new_private_key("ES256")
    issued = authority.certify_tls(key.public_key(), party.member, party.node, datetime.now(UTC))
    files = network.folder / "unlisted.pem", network.folder / "unlisted.key"
    files[0].write_bytes(certificates.to_pem(issued))
    write_private_key(files[1], key, network.passphrase.encode())
    return files


def _through(profile: Profile, proxies: dict[str, Proxy]) -> Profile:
    assert profile.sending is not None
    assert profile.receiving is not None
    assert profile.node is not None
    assert profile.inbox is not None
    return replace(
        profile,
        # How busy this machine is decides nothing: a test that hangs is ended by pytest.
        patience=600.0,
        sending=replace(profile.sending, url=f"https://localhost:{proxies[SENDING].own_port}"),
        receiving=replace(profile.receiving, url=f"https://localhost:{proxies[RECEIVING].own_port}"),
        node=replace(profile.node, address=f"https://127.0.0.1:{proxies[NODE].own_port}"),
        inbox=replace(profile.inbox, address=f"https://127.0.0.1:{proxies[INBOX].own_port}"),
    )
