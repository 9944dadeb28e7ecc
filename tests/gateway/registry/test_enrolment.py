"""Asking to be let in: a request proves whose keys it is about, and cannot be changed on its way."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import rfc8785
from cryptography.hazmat.primitives.asymmetric import ed25519
from hypothesis import given
from hypothesis import strategies as st

from audit.tree.checkpoint import KeyType, LogSigner, VerifierKey, WitnessSigner
from gateway.keys import certificates
from gateway.keys.errors import TrustError
from gateway.keys.keystore import FileKeyStore
from gateway.registry.read.entries import Asked, Content, Member, Node, RoleTerm, ServiceDescriptor, Subsystem
from gateway.registry.read.registry import Registry
from gateway.registry.read.roles import Lifetimes
from gateway.registry.run import changes
from gateway.registry.run.authority import Authority
from gateway.registry.run.enrolment import (
    LIMIT,
    SIGNING,
    TLS,
    TreeKeys,
    Welcome,
    hands_log_on,
    read_request,
    read_welcome,
    signed_by_member,
    write_request,
    write_welcome,
)
from gateway.registry.run.joining import (
    First,
    Kept,
    Listens,
    Making,
    TreeFiles,
    ask,
    ask_again,
    key_files,
    take_in,
    witness_file,
)
from tests.gateway.registry.conftest import INBOX, KOTKA, NOW, RECEPTION, build, named, refused
from tests.properties import examples

MEMBER = Member(KOTKA.member, named("Kotka"), (RoleTerm("municipality"),), (Subsystem(KOTKA, named("Kotka")),))
NODE = Node("kotka-1", KOTKA.member, "https://kotka.example:5500", frozenset(), frozenset({KOTKA.member}))
SERVICE = ServiceDescriptor(INBOX, "inbox", named("Saapuvat"))
PHRASE = b"a passphrase"


@pytest.fixture
def request_file(tmp_path: Path) -> bytes:
    return ask(tmp_path / "kotka", Asked(MEMBER, NODE, (SERVICE,)))


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    ours = Authority(tmp_path / "authority", PHRASE)
    ours.create(Content("FI-DEMO", named("Testiverkko"), rulebook=b"rules: []\n"), NOW)
    return ours


def changed(data: bytes, *path: str | int, value: Any) -> bytes:
    """The request with one thing changed."""
    document = json.loads(data)
    holder = document
    for step in path[:-1]:
        holder = holder[step]
    holder[path[-1]] = value
    return json.dumps(document).encode()


@pytest.mark.parametrize("algorithm", ["ES256", "EdDSA"])
def test_a_request_says_what_was_asked_and_holds_no_secret(tmp_path: Path, algorithm: Any) -> None:
    data = ask(tmp_path, Asked(MEMBER, NODE, (SERVICE,)), Making(algorithm))
    found = read_request(data)
    assert (found.member, found.services) == (MEMBER, (SERVICE,))
    assert found.node.log_origin == "yhdyspinta/kotka-1"
    [witness] = [VerifierKey.parse(key) for key in found.node.witness]
    assert (witness.name, witness.type) == ("yhdyspinta/kotka-1/witness", KeyType.COSIGNATURE_ML_DSA_44)
    assert b"PRIVATE" not in data
    assert (tmp_path / "passphrase").read_bytes().strip() not in data
    assert len(found.fingerprint.replace(" ", "")) == 64
    assert not signed_by_member(found, Registry(build().content, version=1, expires=NOW), NOW)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("request", "node", "address"), "https://thief.example:5500"),
        (("request", "member", "name", "fi"), "Toinen"),
        (("request", "member", "roles"), [{"role": "county"}]),
        (("request", "services"), []),
        (("signatures", "new"), "A" * 86 + "=="),
        (("signatures", "witness"), "A" * 64),
    ],
    ids=["address", "name", "roles", "services", "signature", "witness"],
)
def test_a_request_that_was_changed_on_its_way_is_refused(
    request_file: bytes, path: tuple[str, ...], value: Any
) -> None:
    refused("request-refused", lambda: read_request(changed(request_file, *path, value=value)))


def test_nobody_puts_another_key_under_a_request(request_file: bytes, tmp_path: Path) -> None:
    other = json.loads(ask(tmp_path / "thief", Asked(MEMBER, NODE)))
    theirs = other["request"]["requests"]
    refused("request-refused", lambda: read_request(changed(request_file, "request", "requests", value=theirs)))
    same = {"signing": theirs["tls"], "tls": theirs["tls"]}
    refused("request-refused", lambda: read_request(changed(request_file, "request", "requests", value=same)))


@pytest.mark.parametrize(
    ("path", "value", "code"),
    [
        (("format",), "yhdyspinta-enrolment/2", "request-malformed"),
        (("request",), None, "request-malformed"),
        (("request", "member", "id"), "nonsense", "request-malformed"),
        (("request", "member", "roles"), [{"role": "king"}], "request-malformed"),
        (("request", "node", "address"), "http://kotka", "request-malformed"),
        (("request", "node", "owner"), str(RECEPTION.member), "request-refused"),
        (("request", "node", "serves"), [str(RECEPTION.member)], "request-refused"),
        (("request", "requests"), {}, "request-refused"),
        (("request", "node", "log", "origin"), "yhdyspinta/vastaanotto-1", "request-refused"),
        (("request", "node", "witness"), [7], "request-malformed"),
        (("request", "requests", "tls"), "nonsense", "request-malformed"),
        (("request", "requests", "tls"), 7, "request-malformed"),
        (("request", "signed_by"), "A" * 43, "request-refused"),
        (("signatures",), {}, "request-refused"),
        (("signatures",), {"new": "?"}, "request-malformed"),
    ],
)
def test_what_is_no_request_is_refused(request_file: bytes, path: tuple[str, ...], value: Any, code: str) -> None:
    refused(code, lambda: read_request(changed(request_file, *path, value=value)))


@pytest.mark.parametrize("name", ["yhdyspinta/vastaanotto-1/witness", "yhdyspinta/kotka-1"])
def test_a_node_brings_a_witness_key_under_its_own_name_only(tmp_path: Path, name: str) -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    refused("request-refused", lambda: read_request(asked_with(key, WitnessSigner(key, name))))


def test_a_key_that_signs_checkpoints_is_no_witness_key() -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    name = "yhdyspinta/kotka-1/witness"
    theirs = str(LogSigner(key, name).verifier)
    data = changed(asked_with(key, WitnessSigner(key, name)), "request", "node", "witness", value=[theirs])
    refused("request-refused", lambda: read_request(data))


def test_nobody_brings_the_witness_key_of_another(request_file: bytes, tmp_path: Path) -> None:
    theirs = json.loads(ask(tmp_path / "other", Asked(MEMBER, NODE)))
    key = ed25519.Ed25519PrivateKey.generate()
    mine = asked_with(key, WitnessSigner(key, "yhdyspinta/kotka-1/witness"))
    assert read_request(mine).node.witness
    for signature in (theirs["signatures"]["witness"], ""):
        document = json.loads(mine)
        document["request"]["node"]["witness"] = theirs["request"]["node"]["witness"]
        signed = rfc8785.dumps(document["request"])
        document["signatures"] = {"new": base64.b64encode(key.sign(signed)).decode(), "witness": signature}
        problem = refused("request-refused", lambda document=document: read_request(json.dumps(document).encode()))
        assert "witness" in problem.detail


def asked_with(key: ed25519.Ed25519PrivateKey, witness: WitnessSigner) -> bytes:
    """A request whose signing key is this, with that witness."""
    requests = {SIGNING: certificates.request_signing(key, MEMBER.id)}
    return write_request(Asked(MEMBER, NODE), requests, new=key, present=None, trees=TreeKeys(witness))


def test_a_file_that_is_too_large_is_not_read() -> None:
    refused("request-malformed", lambda: read_request(b" " * (LIMIT + 1)))


DOCUMENT = {"format": "yhdyspinta-enrolment/1"}


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda one: st.lists(one) | st.dictionaries(
    st.sampled_from(["request", "signatures", "member", "node", "services", "requests", "signing", "tls", "id"]), one),
    max_leaves=12))  # fmt: skip
@examples(150)
def test_whatever_stands_in_a_request_it_is_read_or_refused_and_nothing_else(value: object) -> None:
    document = DOCUMENT | value if isinstance(value, dict) else DOCUMENT | {"request": value, "signatures": value}
    with pytest.raises(TrustError) as refusal:
        read_request(json.dumps(document).encode())
    assert refusal.value.code in {"request-malformed", "request-refused"}


def test_a_member_joins_and_changes_its_keys(tmp_path: Path, authority: Authority, request_file: bytes) -> None:
    folder = tmp_path / "kotka"
    request = read_request(request_file)
    admitted = authority.admit(authority.content(), request, NOW)
    authority.publish(admitted.content, NOW)
    welcome = authority.welcome(request, admitted, "https://registry.example")
    written = take_in(
        folder,
        read_welcome(write_welcome(welcome)),
        NOW,
        first=First((str(KOTKA),), Listens("127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3")),
    )
    assert {path.name for path in written} == {"signing.pem", "tls.pem", "root.json", "node.toml"}
    files = key_files(folder)
    signer = FileKeyStore.open(files[SIGNING].key, files[SIGNING].certificate, files[SIGNING].passphrase)

    again = read_request(ask_again({SIGNING: files[SIGNING], TLS: files[TLS]}, Asked(MEMBER, request.node), signer))
    registry = Registry(authority.content(), version=1, expires=NOW + timedelta(days=1))
    assert signed_by_member(again, registry, NOW)
    assert not signed_by_member(again, registry, NOW + timedelta(days=400))
    another = Registry(build().content, version=1, expires=NOW)
    assert not signed_by_member(again, another, NOW)
    admitted = authority.admit(authority.content(), again, NOW)
    [member] = admitted.content.members
    assert len(member.signing) == 2
    assert len(admitted.content.nodes[0].pins) == 2
    # The key in use is in use until its successor's certificate is there.
    assert FileKeyStore.open(files[SIGNING].key, files[SIGNING].certificate, files[SIGNING].passphrase)
    take_in(folder, authority.welcome(again, admitted, "unused"), NOW, kept=Kept(files=files))
    renewed = FileKeyStore.open(files[SIGNING].key, files[SIGNING].certificate, files[SIGNING].passphrase)
    assert renewed.certificate == admitted.signing
    assert admitted.content.nodes[0].witness == request.node.witness

    # And its key as a witness, of another kind: nothing else is asked for.
    place = witness_file(folder)
    before = place.read_bytes()
    wish = (place, KeyType.COSIGNATURE_ED25519)
    third = read_request(ask_again({}, Asked(MEMBER, admitted.content.nodes[0]), renewed, trees=TreeFiles(wish)))
    assert (third.signing, third.tls) == (None, None)
    assert signed_by_member(third, Registry(admitted.content, version=2, expires=NOW + timedelta(days=1)), NOW)
    admitted = authority.admit(admitted.content, third, NOW)
    assert admitted.content.nodes[0].witness == (*request.node.witness, *third.node.witness)
    assert len(admitted.content.members[0].signing) == 2
    assert place.read_bytes() == before
    listed = read_welcome(write_welcome(authority.welcome(third, admitted, "unused")))
    assert take_in(folder, listed, NOW, kept=Kept(files=files)) == [place]
    assert place.read_bytes() != before
    assert place.stat().st_mode & 0o077 == 0


def test_the_certificate_of_another_key_is_not_taken_in(
    tmp_path: Path, authority: Authority, request_file: bytes
) -> None:
    other = read_request(ask(tmp_path / "other", Asked(MEMBER, NODE)))
    admitted = authority.admit(authority.content(), other, NOW)
    welcome = authority.welcome(other, admitted, "x")
    listens = Listens("127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3")
    refused(
        "key-mismatch",
        lambda: take_in(tmp_path / "kotka", welcome, NOW, first=First((str(KOTKA),), listens)),
    )
    assert not (tmp_path / "kotka" / "signing.pem").exists()
    assert not (tmp_path / "kotka" / "node.toml").exists()


def test_keys_are_never_overwritten(tmp_path: Path, request_file: bytes) -> None:
    before = (tmp_path / "kotka" / "signing.key").read_bytes()
    refused("request-refused", lambda: ask(tmp_path / "kotka", Asked(MEMBER, NODE)))
    assert (tmp_path / "kotka" / "signing.key").read_bytes() == before


@pytest.mark.parametrize("data", [b"", b"{}", b'{"format": "yhdyspinta-welcome/1"}', b"[]"])
def test_what_is_no_welcome_is_refused(data: bytes) -> None:
    refused("request-malformed", lambda: read_welcome(data))


def test_a_welcome_reads_back_as_it_was_written() -> None:
    welcome = Welcome("FI-DEMO", KOTKA.member, "kotka-1", "https://r.example", b"{}", None, b"PEM")
    assert read_welcome(write_welcome(welcome)) == welcome


# --- What the authority writes ----------------------------------------------------------------------------------------

CONTENT = build().content


def test_a_listed_member_keeps_its_names_and_roles_when_it_asks_for_another_key() -> None:
    asks = Member(KOTKA.member, named("Another name"), (RoleTerm("county"),), (Subsystem(KOTKA, named("Uusi")),))
    found = changes.with_member(CONTENT, Asked(asks, CONTENT.nodes[1]), signing=None, pin="A" * 43)
    [member] = [one for one in found.members if one.id == KOTKA.member]
    assert (member.name, member.roles) == (CONTENT.members[1].name, CONTENT.members[1].roles)
    assert "A" * 43 in found.nodes[1].pins
    granted = changes.with_member(CONTENT, Asked(asks, CONTENT.nodes[1]), signing=None, pin=None, roles=("county",))
    assert [one for one in granted.members if one.id == KOTKA.member][0].roles == (RoleTerm("county"),)  # noqa: RUF015


def test_a_node_of_another_member_is_not_taken_over() -> None:
    mine = Node("vastaanotto-1", KOTKA.member, "https://thief.example", frozenset(), frozenset())
    refused("request-refused", lambda: changes.with_member(CONTENT, Asked(MEMBER, mine), signing=None, pin="A" * 43))


def test_a_member_that_is_taken_out_leaves_nothing_behind() -> None:
    found = changes.without_member(CONTENT, KOTKA.member)
    Registry(found, version=1, expires=NOW)
    assert str(KOTKA.member) not in repr(found)
    assert [one.id for one in found.nodes] == ["vastaanotto-1"]
    refused("request-refused", lambda: changes.without_member(found, KOTKA.member))


def test_the_witness_key_of_a_node_counts_under_its_own_name_and_goes_with_the_node() -> None:
    name = "yhdyspinta/kotka-1/witness"
    keys = (f"{name}+00000001+A", f"{name}+00000002+A", "yhdyspinta/vastaanotto-1/witness+00000003+A")
    nodes = tuple(replace(one, witness=keys) if one.id == "kotka-1" else one for one in CONTENT.nodes)
    content = replace(CONTENT, nodes=nodes)
    registry = Registry(content, version=1, expires=NOW)
    assert [one.key for one in registry.witnesses if one.name == name] == list(keys[:2])
    assert [registry.lists_witness(key) for key in keys] == [True, True, False]
    without = Registry(changes.without_witness(content, f"{name}+00000001"), version=1, expires=NOW)
    assert [without.lists_witness(key) for key in keys] == [False, True, False]
    gone = changes.without_node(content, "kotka-1")
    assert Registry(gone, version=1, expires=NOW).witnesses == CONTENT.witnesses
    assert {f"- witness key {changes.short(key)}" for key in keys} <= {
        str(one) for one in changes.differences(content, gone)
    }
    refused("request-refused", lambda: changes.without_witness(CONTENT, f"{name}+00000001"))


def test_differences_name_what_was_added_removed_and_changed() -> None:
    assert changes.differences(CONTENT, CONTENT) == ()
    gone = changes.without_member(CONTENT, KOTKA.member)
    one_way = {str(one) for one in changes.differences(CONTENT, gone)}
    other_way = {str(one) for one in changes.differences(gone, CONTENT)}
    assert f"- member {KOTKA.member}" in one_way
    assert "~ municipality 285: subsystem" in one_way & other_way
    assert {text.replace("- ", "+ ") for text in one_way} == other_way


def test_a_role_whose_keys_are_elsewhere_holds_up_nobody_while_it_is_good(tmp_path: Path) -> None:
    ours = Authority(tmp_path / "authority", PHRASE, lifetimes=Lifetimes(rulebook=timedelta(days=4)))
    office = tmp_path / "office"
    content = Content("FI-DEMO", named("Testiverkko"), rulebook=b"rules: []\n")
    ours.create(content, NOW, places={"rulebook": office})
    alone = Authority(tmp_path / "authority", PHRASE, lifetimes=Lifetimes(rulebook=timedelta(days=4)))
    later = NOW + timedelta(days=3)
    assert "rulebook" not in alone.publish(alone.content(), later).signed
    problem = refused("key-unreadable", lambda: alone.publish(alone.content(), NOW + timedelta(days=5)))
    assert "rulebook" in problem.detail
    both = Authority(tmp_path / "authority", PHRASE, lifetimes=Lifetimes(rulebook=timedelta(days=4)), keys=(office,))
    assert "rulebook" in both.publish(both.content(), later).signed


def test_a_part_that_needs_two_signatures_is_published_with_both_and_not_with_one(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    ours = Authority(tmp_path / "authority", PHRASE)
    content = Content("FI-DEMO", named("Testiverkko"), rulebook=b"rules: []\n")
    ours.create(content, NOW, places={"rulebook": one}, keys={"rulebook": 2}, thresholds={"rulebook": 2})
    two.mkdir()
    (one / "rulebook-2.pem").rename(two / "rulebook-2.pem")
    first, second = (Authority(tmp_path / "authority", PHRASE, keys=(folder,)) for folder in (one, two))
    files = {"rulebook.yaml": b"rules: [new]\n"}
    part = first.sign_part("rulebook", files, NOW)
    refused("registry-unsigned", lambda: first.publish(first.content(), NOW, parts=(part,)))
    both = second.sign_part("rulebook", {}, NOW, part)
    plain = Authority(tmp_path / "authority", PHRASE)
    assert "rulebook" in plain.publish(plain.content(), NOW, parts=(both,)).signed
    assert plain.content().rulebook == b"rules: [new]\n"
    refused("request-refused", lambda: plain.sign_part("targets", {}, NOW))
    refused("key-unreadable", lambda: plain.sign_part("rulebook", {}, NOW))


def test_the_key_of_a_log_is_followed_only_by_one_that_it_has_signed_over_to(
    tmp_path: Path, authority: Authority, request_file: bytes
) -> None:
    folder = tmp_path / "kotka"
    request = read_request(request_file)
    admitted = authority.admit(authority.content(), request, NOW)
    take_in(
        folder,
        authority.welcome(request, admitted, "unused"),
        NOW,
        first=First((str(KOTKA),), Listens("127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3")),
    )
    files, place = key_files(folder), folder / "secrets" / "log.key"
    signer = FileKeyStore.open(files[SIGNING].key, files[SIGNING].certificate, files[SIGNING].passphrase)
    registry = Registry(admitted.content, version=1, expires=NOW + timedelta(days=1))
    [node] = admitted.content.nodes

    document = json.loads(ask_again({}, Asked(MEMBER, node), signer, trees=TreeFiles(log=place)))

    asked = read_request(json.dumps(document).encode())
    assert asked.node.log_key not in (None, node.log_key)
    assert len(place.read_bytes().split()) == 2
    assert hands_log_on(asked, registry)
    # Asked again, it is the same key that waits.
    again = read_request(ask_again({}, Asked(MEMBER, node), signer, trees=TreeFiles(log=place)))
    assert again.node.log_key == asked.node.log_key
    # Whoever has the member's signing key alone hands no log on, and nobody asks for a key that another holds.
    for name in ("log-followed", "log"):
        changed = {**document, "signatures": {**document["signatures"], name: document["signatures"]["present"]}}
        if name == "log":
            refused("request-refused", lambda changed=changed: read_request(json.dumps(changed).encode()))
        else:
            assert not hands_log_on(read_request(json.dumps(changed).encode()), registry)
