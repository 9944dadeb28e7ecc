"""The registry on its way: published in a folder, fetched from there or from the web, believed only if it holds."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from securesystemslib.signer import CryptoSigner, Signer  # type: ignore[attr-defined]
from tuf.api.metadata import (  # type: ignore[attr-defined]
    Metadata,
    MetaFile,
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)

from gateway.keys.errors import TrustError
from gateway.registry.read import targets, writing
from gateway.registry.read.distribution import HttpFetcher, RegistryClient
from gateway.registry.read.entries import Content
from gateway.registry.read.roles import ROLES, Lifetimes
from gateway.registry.run.publishing import Publisher
from gateway.wire.signing import thumbprint
from tests.gateway.registry.conftest import KOTKA, NOW, Network, build, named, refused

NETWORK = build()
FILES = writing.write(NETWORK.content)
DAY = timedelta(days=1)
SOON = NOW + timedelta(hours=1)

Ring = dict[str, list[Signer]]


def new_ring() -> Ring:
    """Keys of every role, two of them for root."""
    return {role: [CryptoSigner.generate_ed25519() for _ in range(2 if role == "root" else 1)] for role in ROLES}


def files_of(content: Content | None = None, **changes: Any) -> dict[str, bytes]:
    return writing.write(replace(content or NETWORK.content, **changes))


class Publication:
    """A registry in a folder, with all its keys at hand."""

    def __init__(self, folder: Path, lifetimes: Lifetimes | None = None, thresholds: dict[str, int] | None = None):
        self.folder = folder
        self.ring = new_ring()
        self.publisher = Publisher(folder, lifetimes)
        self.publisher.create(FILES, self.ring, thresholds or {"root": 2}, NOW)
        self.root = self.publisher.root()

    def publish(self, now: datetime = SOON, **changes: Any) -> int:
        return self.publisher.publish(files_of(**changes), self.ring, now).version

    def metadata(self, name: str) -> Path:
        return self.folder / "metadata" / name

    def target(self, name: str) -> Path:
        [path] = (self.folder / "targets").glob(f"*.{name}")
        return path

    def client(self, cache: Path, source: str | Path | None = None, **options: Any) -> RegistryClient:
        return RegistryClient(source or self.folder, cache, self.root, **options)

    def copy(self, to: Path) -> Path:
        shutil.copytree(self.folder, to)
        return to

    def restore(self, copy: Path) -> None:
        shutil.rmtree(self.folder)
        shutil.copytree(copy, self.folder)


@pytest.fixture
def publication(tmp_path: Path) -> Publication:
    return Publication(tmp_path / "published")


@pytest.fixture
def client(publication: Publication, tmp_path: Path) -> RegistryClient:
    """A client that has fetched the first version."""
    client = publication.client(tmp_path / "cache")
    client.refresh(NOW)
    return client


def keeps_the_last(client: RegistryClient, code: str, now: datetime = SOON) -> None:
    """The refresh fails with that code, and the registry in use stays the one that was good."""
    before = client.registry
    assert before is not None
    assert client.refresh(now) is before
    assert client.problem is not None
    assert client.problem.code == code
    assert client.refreshed == NOW


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        return None


def serving(handler: Any) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=partial(server.serve_forever, poll_interval=0.01))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def web(publication: Publication) -> Iterator[str]:
    """The publication on a plain web server."""
    yield from serving(partial(_Quiet, directory=str(publication.folder)))


# --- From the authorities to a node -----------------------------------------------------------------------------------


def test_what_was_published_in_a_folder_is_what_a_node_gets(client: RegistryClient) -> None:
    registry = client.registry
    assert registry is not None
    assert registry.content == NETWORK.content
    assert registry.version == 1
    assert registry.expires == NOW + Lifetimes().timestamp
    assert client.current(NOW) is registry
    assert (client.problem, client.refreshed) == (None, NOW)


def test_what_was_published_is_what_a_node_gets_over_http(publication: Publication, web: str, tmp_path: Path) -> None:
    client = publication.client(tmp_path / "cache", web)
    assert client.refresh(NOW).content == NETWORK.content
    publication.publish(name=named("Uusi nimi"))
    assert client.refresh(SOON).content.name == named("Uusi nimi")
    assert client.problem is None


def test_a_new_publication_arrives_with_the_next_refresh(publication: Publication, client: RegistryClient) -> None:
    first, *others = NETWORK.content.members
    [revoked] = first.signing
    assert publication.publish(members=(replace(first, signing=()), *others)) == 2
    registry = client.refresh(SOON)
    assert registry.version == 2
    assert registry.signing_key(thumbprint(revoked.certificate)) is None
    assert client.refreshed == SOON


def test_a_registry_signed_anew_lives_longer_and_keeps_its_version(
    publication: Publication, client: RegistryClient
) -> None:
    before = client.registry
    assert before is not None
    later = NOW + DAY
    assert publication.publish(later) == 1
    after = client.refresh(later)
    assert (after.version, after.expires) == (1, later + Lifetimes().timestamp)
    assert after.member(KOTKA.member) is before.member(KOTKA.member)


def test_a_node_restarted_without_its_source_uses_what_it_has_kept(
    publication: Publication, client: RegistryClient, tmp_path: Path
) -> None:
    shutil.rmtree(publication.folder)
    restarted = publication.client(tmp_path / "cache")
    assert restarted.refresh(SOON).content == NETWORK.content
    assert restarted.problem is not None
    assert restarted.problem.code == "registry-unavailable"
    assert restarted.refreshed is None
    assert client.registry is not None


def test_a_node_restarted_after_root_changed_follows_the_roots_it_has_kept(
    publication: Publication, client: RegistryClient, tmp_path: Path
) -> None:
    publication.publisher.rotate("root", [CryptoSigner.generate_ed25519()], publication.ring, SOON, threshold=1)
    client.refresh(SOON)
    assert client.problem is None
    shutil.rmtree(publication.folder)
    assert publication.client(tmp_path / "cache").refresh(SOON).content == NETWORK.content


def test_a_node_that_stopped_amid_keeping_a_registry_forgets_nothing(
    publication: Publication, client: RegistryClient, tmp_path: Path
) -> None:
    old = publication.copy(tmp_path / "old")
    publication.publish(name=named("Uusi nimi"))
    assert client.refresh(SOON).version == 2
    shutil.rmtree(tmp_path / "cache" / "former")
    (tmp_path / "cache" / "current").rename(tmp_path / "cache" / "former")
    publication.restore(old)
    restarted = publication.client(tmp_path / "cache")
    assert restarted.refresh(SOON).version == 2
    assert restarted.problem is not None
    assert restarted.problem.code == "registry-rolled-back"


def test_a_command_beside_a_node_may_keep_the_registry_in_the_same_folder(
    publication: Publication, tmp_path: Path
) -> None:
    def refreshed(_: int) -> list[TrustError | None]:
        client = publication.client(tmp_path / "cache")
        return [(client.refresh(NOW), client.problem)[1] for _ in range(20)]

    with ThreadPoolExecutor(4) as threads:
        problems = [problem for found in threads.map(refreshed, range(4)) for problem in found]

    assert set(problems) == {None}


def test_a_node_restarted_without_its_source_refuses_what_has_expired(
    publication: Publication, client: RegistryClient, tmp_path: Path
) -> None:
    assert client.registry is not None
    shutil.rmtree(publication.folder)
    refused("registry-expired", lambda: publication.client(tmp_path / "cache").refresh(NOW + 3 * DAY))


def test_a_node_that_never_had_a_registry_says_why(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    publication = Publication(tmp_path / "published")
    client = publication.client(tmp_path / "cache", empty)
    refused("registry-unavailable", lambda: client.current(NOW))
    refused("registry-unavailable", lambda: client.refresh(NOW))
    refused("registry-unavailable", lambda: client.current(NOW))


def test_the_registry_of_another_instance_is_refused(publication: Publication, tmp_path: Path) -> None:
    assert publication.client(tmp_path / "one", instance="FI-DEMO").refresh(NOW)
    refused("registry-foreign", lambda: publication.client(tmp_path / "two", instance="FI-TEST").refresh(NOW))


def test_the_evidence_of_a_version_is_its_signed_metadata_and_its_files(
    publication: Publication, client: RegistryClient
) -> None:
    publication.publish(name=named("Uusi nimi"))
    client.refresh(SOON)
    first, second = client.vouched(1), client.vouched(2)
    assert client.vouched(3) == {}
    assert {name: data for name, data in first.items() if name.startswith("targets/")} == {
        f"targets/{name}": data for name, data in FILES.items()
    }
    assert first["targets/network.json"] != second["targets/network.json"]
    metadata = {name.removeprefix("metadata/") for name in first if name.startswith("metadata/")}
    assert {"timestamp.json", "snapshot.json", "targets.json", "members.json", "rulebook.json"} <= metadata
    assert any(name.endswith("root.json") for name in metadata)
    assert json.loads(first["metadata/snapshot.json"])["signed"]["version"] == 1


# --- Too late ---------------------------------------------------------------------------------------------------------


def test_a_frozen_mirror_is_used_until_what_it_serves_expires_and_no_longer(
    publication: Publication, client: RegistryClient
) -> None:
    end = NOW + Lifetimes().timestamp
    moment = timedelta(seconds=1)
    assert client.refresh(end - moment).version == 1
    assert client.current(end - moment)
    refused("registry-expired", lambda: client.current(end))
    refused("registry-expired", lambda: client.refresh(end))
    assert client.problem is not None
    assert client.problem.code == "registry-expired"
    publication.publish(end)
    assert client.refresh(end).version == 1
    assert client.problem is None


@pytest.mark.parametrize("role", ROLES)
def test_the_first_role_to_expire_ends_the_whole(tmp_path: Path, role: str) -> None:
    lifetimes = replace(Lifetimes(**dict.fromkeys(ROLES, 9 * DAY)), **{role: DAY})
    publication = Publication(tmp_path / "published", lifetimes)
    client = publication.client(tmp_path / "cache")
    assert client.refresh(NOW).expires == NOW + DAY
    refused("registry-expired", lambda: client.refresh(NOW + DAY))
    refused("registry-expired", lambda: publication.client(tmp_path / "other").refresh(NOW + DAY))


# --- Not what it claims to be -----------------------------------------------------------------------------------------


def test_an_older_registry_is_not_taken_for_the_newest(
    publication: Publication, client: RegistryClient, tmp_path: Path
) -> None:
    old = publication.copy(tmp_path / "old")
    publication.publish(name=named("Uusi nimi"))
    registry = client.refresh(SOON)
    publication.restore(old)
    assert client.refresh(SOON) is registry
    assert client.problem is not None
    assert client.problem.code == "registry-rolled-back"
    restarted = publication.client(tmp_path / "cache")
    assert restarted.refresh(SOON).version == 2


@pytest.mark.parametrize("role", ["members", "targets", "snapshot", "rulebook"])
def test_an_older_part_among_newer_ones_is_refused(
    publication: Publication, client: RegistryClient, tmp_path: Path, role: str
) -> None:
    old = publication.metadata(f"1.{role}.json").read_bytes()
    publication.publisher.publish(files_of(name=named("Uusi")), publication.ring, SOON, renew=True)
    publication.metadata(f"2.{role}.json").write_bytes(old)
    keeps_the_last(client, "registry-altered")
    refused("registry-altered", lambda: publication.client(tmp_path / "fresh").refresh(SOON))


@pytest.mark.parametrize("name", targets.FILES)
@pytest.mark.parametrize("alter", [lambda data: data[:-1] + b" ", lambda data: data + b" ", lambda data: data[:-1]])
def test_an_altered_file_is_refused(
    publication: Publication, client: RegistryClient, tmp_path: Path, name: str, alter: Callable[[bytes], bytes]
) -> None:
    path = publication.target(name)
    path.write_bytes(alter(path.read_bytes()))
    refused("registry-altered", lambda: publication.client(tmp_path / "fresh").refresh(SOON))
    # Who has it already does not fetch it again.
    assert client.refresh(SOON).content == NETWORK.content
    assert client.problem is None


def test_a_new_file_that_was_altered_leaves_the_last_good_registry(
    publication: Publication, client: RegistryClient
) -> None:
    before = {path.name for path in (publication.folder / "targets").iterdir()}
    publication.publish(name=named("Uusi nimi"))
    [path] = [path for path in (publication.folder / "targets").iterdir() if path.name not in before]
    path.write_bytes(path.read_bytes().replace(b"Uusi", b"Vale"))
    keeps_the_last(client, "registry-altered")


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets", "members", "rulebook"])
def test_metadata_that_was_altered_is_refused(publication: Publication, tmp_path: Path, role: str) -> None:
    path = publication.metadata("timestamp.json" if role == "timestamp" else f"1.{role}.json")
    document = json.loads(path.read_bytes())
    document["signed"]["expires"] = "2099-01-01T00:00:00Z"
    path.write_bytes(json.dumps(document).encode())
    with pytest.raises(TrustError) as refusal:
        publication.client(tmp_path / "cache").refresh(NOW)
    assert refusal.value.code in {"registry-unsigned", "registry-altered"}


def test_the_registry_of_somebody_elses_root_is_refused(
    publication: Publication, client: RegistryClient, tmp_path: Path
) -> None:
    impostor = Publication(tmp_path / "impostor")
    publication.restore(impostor.folder)
    keeps_the_last(client, "registry-unsigned")
    refused("registry-unsigned", lambda: publication.client(tmp_path / "fresh").refresh(SOON))


@pytest.mark.parametrize("role", [role for role in ROLES if role != "root"])
def test_a_role_that_signs_with_an_unknown_key_is_not_published_and_not_believed(
    publication: Publication, client: RegistryClient, tmp_path: Path, role: str
) -> None:
    before = sorted(path.name for path in publication.folder.rglob("*"))
    stranger = publication.ring | {role: [CryptoSigner.generate_ed25519()]}
    refused(
        "registry-unsigned",
        lambda: publication.publisher.publish(files_of(name=named("Uusi")), stranger, SOON, renew=True),
    )
    assert sorted(path.name for path in publication.folder.rglob("*")) == before
    forge(publication, stranger, role)
    keeps_the_last(client, "registry-unsigned")
    refused("registry-unsigned", lambda: publication.client(tmp_path / "fresh").refresh(SOON))


def forge(publication: Publication, ring: Ring, role: str, extra: dict[str, bytes] | None = None) -> None:
    """Write version 2 of a role, and of what must follow from it, without asking whether anyone would believe it."""

    def load(kind: Any, name: str) -> Any:
        return Metadata[kind].from_file(str(publication.metadata(name)))

    def sign(metadata: Any, name: str, by: str) -> bytes:
        metadata.signatures.clear()
        for signer in ring[by]:
            metadata.sign(signer, append=True)
        data: bytes = metadata.to_bytes()
        publication.metadata(name).write_bytes(data)
        return data

    snapshot, timestamp = load(Snapshot, "1.snapshot.json"), load(Timestamp, "timestamp.json")
    if role not in {"snapshot", "timestamp"}:
        changed = load(Targets, f"1.{role}.json")
        changed.signed.version = 2
        for name, data in (extra or {}).items():
            changed.signed.targets[name] = TargetFile.from_data(name, data, ["sha256"])
            path = publication.folder / "targets" / f"{changed.signed.targets[name].hashes['sha256']}.{name}"
            path.write_bytes(data)
        data = sign(changed, f"2.{role}.json", role)
        snapshot.signed.meta[f"{role}.json"] = MetaFile.from_data(2, data, ["sha256"])
    snapshot.signed.version = timestamp.signed.version = 2
    data = sign(snapshot, "2.snapshot.json", "snapshot")
    timestamp.signed.snapshot_meta = MetaFile.from_data(2, data, ["sha256"])
    sign(timestamp, "timestamp.json", "timestamp")


def test_the_members_authority_cannot_write_the_rulebook_or_the_anchors(
    publication: Publication, client: RegistryClient
) -> None:
    forge(publication, publication.ring, "members", {"rulebook.yaml": b"anything: goes\n", "network.json": b"{}"})
    registry = client.refresh(SOON)
    assert client.problem is None
    assert registry.version == 2
    assert registry.rulebook == NETWORK.content.rulebook
    assert registry.content == NETWORK.content


def test_signed_content_that_contradicts_itself_leaves_the_last_good_registry(
    publication: Publication, client: RegistryClient
) -> None:
    document = json.loads(FILES["members.json"])
    document["nodes"][1]["pins"] = document["nodes"][0]["pins"]
    forge(publication, publication.ring, "members", {"members.json": json.dumps(document).encode()})
    keeps_the_last(client, "certificate-claimed-twice")


@pytest.mark.parametrize("name", ["timestamp.json", "2.snapshot.json", "2.targets.json"])
@pytest.mark.parametrize("data", [b"", b"{", b"null", b"[]", b'{"signed":{}}', b"\xff\xfe"])
def test_metadata_that_is_none_leaves_the_last_good_registry(
    publication: Publication, client: RegistryClient, name: str, data: bytes
) -> None:
    publication.publish(name=named("Uusi nimi"))
    publication.metadata(name).write_bytes(data)
    before = client.registry
    assert client.refresh(SOON) is before
    assert client.problem is not None
    assert client.problem.code in {"registry-malformed", "registry-altered"}


@pytest.mark.parametrize("name", ["timestamp.json", "2.snapshot.json", "2.targets.json", "2.members.json"])
def test_a_half_copied_publication_leaves_the_last_good_registry(
    publication: Publication, client: RegistryClient, name: str
) -> None:
    publication.publisher.publish(files_of(name=named("Uusi nimi")), publication.ring, SOON, renew=True)
    publication.metadata(name).unlink()
    keeps_the_last(client, "registry-unavailable")
    refused("registry-malformed", publication.publish)


def test_a_publication_without_one_of_its_files_is_told_to_its_authorities(publication: Publication) -> None:
    publication.target("members.json").unlink()
    refused("registry-malformed", publication.publisher.files)


def test_a_kept_copy_that_was_altered_on_disk_is_not_believed(
    publication: Publication, client: RegistryClient, tmp_path: Path
) -> None:
    assert client.registry is not None
    [kept] = (tmp_path / "cache" / "targets").glob("*.members.json")
    original = kept.read_bytes()
    kept.write_bytes(original.replace(b"kotoutuminen", b"kotoutuminem"))
    hidden = publication.folder.rename(tmp_path / "hidden")
    refused("registry-unavailable", lambda: publication.client(tmp_path / "cache").refresh(SOON))
    hidden.rename(publication.folder)
    assert publication.client(tmp_path / "cache").refresh(SOON).content == NETWORK.content
    assert kept.read_bytes() == original


def test_a_kept_registry_of_another_root_is_not_believed(
    publication: Publication, client: RegistryClient, tmp_path: Path
) -> None:
    assert client.registry is not None
    impostor = Publication(tmp_path / "impostor")
    fooled = impostor.client(tmp_path / "planted")
    fooled.refresh(NOW)
    shutil.rmtree(publication.folder)
    refused("registry-unavailable", lambda: publication.client(tmp_path / "planted").refresh(SOON))


# --- Keys change ------------------------------------------------------------------------------------------------------


def test_root_keys_change_and_every_node_follows(
    publication: Publication, client: RegistryClient, tmp_path: Path
) -> None:
    ring = publication.ring
    for step in range(1, 4):
        successors: list[Signer] = [CryptoSigner.generate_ed25519() for _ in range(2)]
        publication.publisher.rotate("root", successors, ring, SOON)
        ring["root"] = successors
        if step == 2:
            assert client.refresh(SOON).version == 1
            assert client.problem is None
    assert sorted(path.name for path in (publication.folder / "metadata").glob("*.root.json")) == [
        f"{version}.root.json" for version in range(1, 5)
    ]
    for node in (client, publication.client(tmp_path / "late")):
        assert node.refresh(SOON).content == NETWORK.content
        assert node.problem is None
    joined = RegistryClient(publication.folder, tmp_path / "new", publication.publisher.root())
    assert joined.refresh(SOON).content == NETWORK.content


def test_a_root_that_its_predecessor_has_not_signed_is_not_published(publication: Publication) -> None:
    refused(
        "registry-unsigned",
        lambda: publication.publisher.rotate(
            "root", [CryptoSigner.generate_ed25519()], {**publication.ring, "root": []}, SOON, threshold=1
        ),
    )
    refused(
        "registry-unsigned",
        lambda: publication.publisher.rotate(
            "root",
            [CryptoSigner.generate_ed25519()],
            {**publication.ring, "root": publication.ring["root"][:1]},
            SOON,
            threshold=1,
        ),
    )
    assert not publication.metadata("2.root.json").exists()


@pytest.mark.parametrize("role", [role for role in ROLES if role != "root"])
def test_after_a_change_of_keys_the_old_ones_count_no_more(
    publication: Publication, client: RegistryClient, role: str
) -> None:
    old = dict(publication.ring)
    new: Sequence[Signer] = [CryptoSigner.generate_ed25519()]
    publication.publisher.rotate(role, new, publication.ring, SOON)
    assert client.refresh(SOON).content == NETWORK.content
    assert client.problem is None
    refused(
        "registry-unsigned",
        lambda: publication.publisher.publish(files_of(name=named("Uusi")), old, SOON, renew=True),
    )
    publication.ring[role] = list(new)
    publication.publish(name=named("Uusi"))
    assert client.refresh(SOON).content.name == named("Uusi")


def test_root_that_too_few_keys_have_signed_is_not_believed(
    publication: Publication, client: RegistryClient, tmp_path: Path
) -> None:
    """Whoever has one of its keys signs a root of their own; it is sound but for the signature that is lacking."""
    root = Metadata[Root].from_file(str(publication.metadata("1.root.json")))
    root.signed.version += 1
    root.signatures.clear()
    root.sign(publication.ring["root"][0])
    root.to_file(str(publication.metadata("2.root.json")))

    keeps_the_last(client, "registry-unsigned")
    refused("registry-unsigned", lambda: publication.client(tmp_path / "fresh").refresh(SOON))

    root.sign(publication.ring["root"][1], append=True)
    root.to_file(str(publication.metadata("2.root.json")))
    assert client.refresh(SOON).content == NETWORK.content
    assert client.problem is None


def test_fewer_signatures_than_the_threshold_publish_nothing(tmp_path: Path) -> None:
    publication = Publication(tmp_path / "published")
    roots = publication.ring["root"]
    refused(
        "registry-unsigned",
        lambda: publication.publisher.rotate("root", roots[:1], publication.ring | {"root": roots[:1]}, SOON),
    )
    publication.publisher.rotate("root", roots, publication.ring, SOON)
    client = publication.client(tmp_path / "cache")
    assert client.refresh(SOON).content == NETWORK.content


# --- Publishing -------------------------------------------------------------------------------------------------------


def test_only_what_changed_is_signed_and_only_its_keys_are_needed(publication: Publication) -> None:
    online = {role: publication.ring[role] for role in ("snapshot", "timestamp")}
    assert publication.publisher.publish(FILES, online, SOON).signed == ("timestamp",)
    problem = refused(
        "key-unreadable", lambda: publication.publisher.publish(files_of(rulebook=b"rules: [1]\n"), online, SOON)
    )
    assert "rulebook" in problem.detail
    published = publication.publisher.publish(
        files_of(rulebook=b"rules: [1]\n"), online | {"rulebook": publication.ring["rulebook"]}, SOON
    )
    assert published.signed == ("rulebook", "snapshot", "timestamp")
    assert published.version == 2


def test_what_has_lived_through_half_of_its_lifetime_is_signed_anew(publication: Publication) -> None:
    half = Lifetimes().snapshot / 2
    assert publication.publisher.publish(FILES, publication.ring, NOW + half).signed == ("timestamp",)
    later = NOW + half + timedelta(seconds=1)
    assert publication.publisher.publish(FILES, publication.ring, later).signed == ("snapshot", "timestamp")
    assert publication.publisher.expiries()["snapshot"] == (2, later + Lifetimes().snapshot)


def test_a_publication_can_be_read_back_by_its_authorities(publication: Publication) -> None:
    assert publication.publisher.files() == FILES
    assert set(publication.publisher.expiries()) == set(ROLES)
    assert publication.publisher.expiries()["root"] == (1, NOW + Lifetimes().root)
    assert publication.publisher.root() == publication.metadata("1.root.json").read_bytes()


def test_a_registry_is_begun_once(publication: Publication) -> None:
    refused("request-refused", lambda: publication.publisher.create(FILES, new_ring(), {}, NOW))
    assert publication.publisher.root() == publication.root


def test_nothing_is_published_from_a_folder_that_holds_no_registry(tmp_path: Path) -> None:
    publisher = Publisher(tmp_path / "empty")
    refused("registry-malformed", lambda: publisher.publish(FILES, new_ring(), NOW))
    refused("registry-malformed", publisher.files)


@pytest.mark.parametrize(
    ("name", "old", "new", "code"),
    [
        ("services.json", b'"inbox"', b'"mystery"', "registry-malformed"),
        ("services.json", b"FI-DEMO/MUN", b"FI-TEST/MUN", "registry-foreign"),
        ("members.json", b"FI-DEMO/MUN", b"FI-TEST/MUN", "registry-foreign"),
        ("members.json", b'"municipality"', b'"king"', "registry-malformed"),
        ("network.json", b'"FI-DEMO"', b"7", "registry-malformed"),
    ],
)
def test_content_that_does_not_hold_is_never_signed(
    publication: Publication, name: str, old: bytes, new: bytes, code: str
) -> None:
    assert old in FILES[name]
    before = {path: path.read_bytes() for path in publication.folder.rglob("*.json")}
    spoiled = FILES | {name: FILES[name].replace(old, new)}
    refused(code, lambda: publication.publisher.publish(spoiled, publication.ring, SOON))
    assert {path: path.read_bytes() for path in publication.folder.rglob("*.json")} == before


# --- Web servers and folders ------------------------------------------------------------------------------------------


def _answering(status: int, headers: dict[str, str], chunks: Callable[[], Iterator[bytes]]) -> type:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            try:
                for chunk in chunks():
                    self.wfile.write(chunk)
            except OSError:
                return

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            return None

    return Handler


def _nothing() -> Iterator[bytes]:
    return iter(())


def _endless() -> Iterator[bytes]:
    while True:
        yield b" " * 65_536


ELSEWHERE = {"Location": "http://127.0.0.1:1/", "Content-Length": "0"}


@pytest.mark.parametrize(
    ("handler", "code"),
    [
        (_answering(500, {"Content-Length": "0"}, _nothing), "registry-unavailable"),
        (_answering(404, {"Content-Length": "0"}, _nothing), "registry-unavailable"),
        (_answering(302, ELSEWHERE, _nothing), "registry-unavailable"),
        (_answering(200, {"Content-Length": "1000"}, _nothing), "registry-unavailable"),
        (_answering(200, {}, _endless), "registry-altered"),
    ],
    ids=["error", "nothing", "redirect", "broken off", "endless"],
)
def test_a_web_server_that_does_not_serve_leaves_the_last_good_registry(
    publication: Publication, client: RegistryClient, tmp_path: Path, handler: type, code: str
) -> None:
    assert client.registry is not None
    for address in serving(handler):
        restarted = publication.client(tmp_path / "cache", address)
        assert restarted.refresh(SOON).content == NETWORK.content
        assert restarted.problem is not None
        assert restarted.problem.code == code


def test_a_web_server_that_is_not_there_is_told(publication: Publication, tmp_path: Path) -> None:
    for address in serving(_Quiet):
        closed = address
    refused("registry-unavailable", lambda: publication.client(tmp_path / "cache", closed).refresh(NOW))


def test_the_registry_is_not_read_over_plain_http_from_another_machine(
    publication: Publication, tmp_path: Path
) -> None:
    for address in ("http://registry.example/", "http://192.0.2.1/", "ftp://127.0.0.1/", "http://127.0.0.1.example/"):
        client = publication.client(tmp_path / "cache", address, fetcher=HttpFetcher(timeout_seconds=0.5))
        detail = refused("registry-unavailable", lambda client=client: client.refresh(NOW)).detail  # type: ignore[misc]
        assert "https" in detail


def test_a_name_that_leads_out_of_the_folder_is_not_there(publication: Publication, tmp_path: Path) -> None:
    secret = tmp_path / "secret.json"
    publication.metadata("timestamp.json").rename(secret)
    publication.metadata("timestamp.json").symlink_to(secret)
    refused("registry-unavailable", lambda: publication.client(tmp_path / "cache").refresh(NOW))


def test_two_who_publish_at_once_lose_nothing(publication: Publication, tmp_path: Path) -> None:
    failures: list[BaseException] = []

    def work() -> None:
        try:
            for _ in range(5):
                Publisher(publication.folder).publish(FILES, publication.ring, SOON, renew=True)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert publication.client(tmp_path / "cache").refresh(SOON).version == 11


def test_a_network_of_one_is_published_like_any_other(tmp_path: Path) -> None:
    network: Network = NETWORK
    publication = Publication(tmp_path / "published")
    publication.publish(members=network.content.members[:1], nodes=(), services=(), municipalities=(), counties=())
    assert [one.id for one in publication.client(tmp_path / "cache").refresh(SOON).members()] == [
        network.content.members[0].id
    ]
