"""The log goes on under another key: nobody is left behind, and what was signed before holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Engine, select

from adapters.samples import write_samples
from audit.log.entries import Entry, EntryType, Outcome
from audit.log.log import Log, LogAlteredError
from audit.log.tables import entries
from audit.questions.check import check
from audit.questions.checks import Others
from audit.questions.keys import SubjectKeys
from audit.tree import proofs
from audit.tree.checkpoint import (
    Checkpoint,
    Former,
    LogSigner,
    NoteError,
    VerifierKey,
    succeeding,
    verify_checkpoint,
    verify_vouched,
)
from audit.tree.verify import verify_export
from gateway.demo.network import Network, build
from gateway.keys import log_keys, ring
from gateway.node import hold
from gateway.node.rotation import Beside, Succession
from gateway.node.secret_files import prepare
from gateway.node.secret_watch import SecretWatch
from gateway.node.wiring import NodeError, log_of, log_signer, secrets_in
from gateway.settings import Settings, load
from gateway.storage import schema

OLD, NEW = (Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32) for number in (1, 2))
NAME = "yhdyspinta/kotka-1"
ROOT = b"\x07" * 32


class PowerCutError(Exception):
    """The process ends here."""


def now() -> datetime:
    return datetime.now(UTC)


def test_a_checkpoint_of_the_change_is_good_for_whoever_knows_either_key() -> None:
    both = LogSigner(OLD, NAME, coming=NEW).sign(5, ROOT).note

    for key in (OLD, NEW):
        assert verify_checkpoint(both, LogSigner(key, NAME).verifier)[0].size == 5


def test_a_former_key_counts_up_to_where_it_handed_the_log_on_and_no_further() -> None:
    former = LogSigner(OLD, NAME)
    last = LogSigner(OLD, NAME, coming=NEW).sign(5, ROOT).note
    key = succeeding(LogSigner(NEW, NAME).verifier, [Former(former.verifier, last)])

    for size in (4, 5):
        assert verify_checkpoint(former.sign(size, ROOT).note, key)[0].size == size
    with pytest.raises(NoteError):
        verify_checkpoint(former.sign(6, ROOT).note, key)
    with pytest.raises(NoteError):
        verify_checkpoint(former.sign(4, ROOT).note, LogSigner(NEW, NAME).verifier)


def test_a_key_that_handed_the_log_on_to_nobody_is_none_of_its_keys() -> None:
    alone = Former(LogSigner(OLD, NAME).verifier, LogSigner(OLD, NAME).sign(5, ROOT).note)

    with pytest.raises(NoteError):
        succeeding(LogSigner(NEW, NAME).verifier, [alone])


def test_a_key_that_did_not_hand_the_log_on_itself_is_none_of_its_keys() -> None:
    """Else whoever has the key of today could make any other one speak for the time before."""
    claimed = Former(LogSigner(OLD, NAME).verifier, LogSigner(NEW, NAME).sign(5, ROOT).note)

    with pytest.raises(NoteError):
        succeeding(LogSigner(NEW, NAME).verifier, [claimed])


def test_what_a_key_handed_on_before_is_no_word_of_its_follower() -> None:
    former = LogSigner(OLD, NAME)
    handed_on = Former(former.verifier, LogSigner(OLD, NAME, coming=NEW).sign(5, ROOT).note)
    key = succeeding(LogSigner(NEW, NAME).verifier, [handed_on])

    with pytest.raises(NoteError):
        succeeding(key, [Former(former.verifier, former.sign(4, ROOT).note)])


def test_what_a_log_vouches_for_is_no_checkpoint_of_it() -> None:
    with pytest.raises(NoteError):
        LogSigner(OLD, NAME).vouch(Checkpoint(NAME, 1, ROOT))


def test_a_checkpoint_of_a_log_vouches_for_nothing() -> None:
    log = LogSigner(OLD, NAME)
    signed = log.sign(1, ROOT)

    with pytest.raises(NoteError):
        verify_vouched(log.verifier, signed, signed.signatures[0].signature)


def key_file(folder: Path, *keys: Ed25519PrivateKey) -> Path:
    ring.replace(folder / "log.key", [key.private_bytes_raw() for key in keys])
    return folder / "log.key"


def test_a_log_has_one_key_or_two_while_it_changes(tmp_path: Path) -> None:
    assert log_keys.signer(key_file(tmp_path, OLD), NAME).coming is None
    assert log_keys.signer(key_file(tmp_path, OLD, NEW), NAME).coming is not None
    with pytest.raises(ring.RingError):
        log_keys.signer(key_file(tmp_path, OLD, NEW, Ed25519PrivateKey.generate()), NAME)


def test_former_keys_count_as_they_were_kept_and_the_one_that_signs_is_none_of_them(tmp_path: Path) -> None:
    """Where a change was cut off just before its end, the key that still signs stands among them already."""
    both = LogSigner(OLD, NAME, coming=NEW)
    former = Former(LogSigner(OLD, NAME).verifier, both.sign(5, ROOT).note)
    path = key_file(tmp_path, OLD, NEW)
    log_keys.keep_former(log_keys.former_file(path), [former])
    assert log_keys.signer(path, NAME).verifier.former == ()

    assert log_keys.signer(key_file(tmp_path, NEW), NAME).verifier.former == (former,)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b'[{"key": "x"}]', b'[{"key": "x", "checkpoint": "y"}]', None],
    ids=["empty", "no JSON", "half", "no key", "handed on by nobody"],
)
def test_a_file_that_does_not_tell_the_former_keys_ends_the_start(tmp_path: Path, content: bytes | None) -> None:
    """A node that passed it over would take what its log signed before for a stranger's."""
    path = key_file(tmp_path, NEW)
    alone = Former(LogSigner(OLD, NAME).verifier, LogSigner(OLD, NAME).sign(5, ROOT).note)
    log_keys.keep_former(log_keys.former_file(path), [alone])
    if content is not None:
        log_keys.former_file(path).write_bytes(content)

    with pytest.raises(ring.RingError):
        log_keys.signer(path, NAME)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Network:
    """A demo network on disk, nothing of it running."""
    folder = tmp_path_factory.mktemp("node")
    write_samples(folder / "register", count=40)
    return build(folder / "network", now(), folder / "register" / "reception-centre.csv")


@pytest.fixture
def settings(built: Network, tmp_path: Path, database_url: str) -> Settings:
    found = load(built.parties["kotka"].config, {})
    names = ("wrapping_key", "index_key", "log_key", "witness_key", "token_key")
    files = found.secrets.model_copy(update={name: tmp_path / "secrets" / name for name in names})
    database = found.database.model_copy(update={"url": database_url})
    return found.model_copy(update={"secrets": files, "database": database})


class Node:
    """A node that runs: its log, and what it looks at its secrets with."""

    def __init__(self, settings: Settings, engine: Engine) -> None:
        self.settings, self.engine = settings, engine
        self.log = log_of(settings, engine)
        self.log.start()
        secrets = settings.secrets
        keys = SubjectKeys(secrets_in(secrets.wrapping_key), secrets_in(secrets.index_key))
        self.watch = SecretWatch(settings, engine, keys, now, log=self.log)
        self.watch.look()

    @contextmanager
    def beside(self) -> Iterator[Node]:
        """Another process with the same database, as the command is."""
        command = Node(self.settings, self.engine)
        yield command
        command.log.close()

    def say(self) -> str:
        """Append something; the note of the log afterwards."""
        self.log.append_blocking((Entry(type=EntryType.MAINTENANCE, outcome=Outcome.SUCCESS, recorded=now()),))
        return self.log.latest().note

    def ask(self) -> VerifierKey:
        """Add the key that is to follow; its public half."""
        path = self.settings.secrets.log_key
        ring.replace(path, (*ring.read(path)[:1], ring.new()))
        coming = log_signer(self.settings).coming
        assert coming is not None
        return coming

    def succession(self, listed: VerifierKey, settle: Callable[[], object] = lambda: None) -> Succession:
        return Succession(Beside(self.settings, self.engine, self.log, now, settle, "u" * 32), str(listed))

    def changes(self) -> list[object]:
        with self.engine.connect() as connection:
            bodies = connection.scalars(select(entries.c.body).where(entries.c.type == EntryType.SECRET))
            return [Entry.parse(body).detail["change"] for body in bodies]


@pytest.fixture
def node(settings: Settings, engine: Engine) -> Node:
    schema.bring_up_to_date(engine)
    prepare(settings, engine, now())
    return Node(settings, engine)


@pytest.mark.parametrize("stop", range(1, 6), ids=lambda number: f"interrupted {number}")
def test_change_that_is_interrupted_anywhere_goes_on_and_everything_that_was_signed_holds(
    node: Node, monkeypatch: pytest.MonkeyPatch, stop: int
) -> None:
    former, earlier = node.log.verifier, [node.say(), node.say()]
    hold.write(hold.path_of(node.settings), hold.Kept(earlier[-1]))
    coming = node.ask()
    node.watch.look()
    both = node.say()
    for key in (former, coming):
        verify_checkpoint(both, key)
    steps = [0]

    def step() -> None:
        steps[0] += 1
        if steps[0] == stop:
            raise PowerCutError

    def stepping(call: Callable[..., object]) -> Callable[..., object]:
        def stepped(*given: object) -> object:
            step()
            return call(*given)

        return stepped

    monkeypatch.setattr(ring, "replace", stepping(ring.replace))
    monkeypatch.setattr(log_keys, "keep_former", stepping(log_keys.keep_former))
    monkeypatch.setattr(Log, "commit_blocking", stepping(Log.commit_blocking))
    with suppress(PowerCutError):
        node.succession(coming, step).carry_out()
    was_interrupted, steps[0] = steps[0] == stop, 100
    assert was_interrupted == (stop <= 4)
    # A node that starts now, and one that has been running all the time, go on.
    node.say()
    node.log.close()
    node = Node(node.settings, node.engine)
    node.say()
    if was_interrupted:
        node.succession(coming).carry_out()
    node.watch.look()

    last = node.say()

    verify_checkpoint(last, coming)
    with pytest.raises(NoteError):
        verify_checkpoint(last, former)
    assert node.changes() == ["current"]
    assert len(secrets_in(node.settings.secrets.log_key)) == 1
    for note in (*earlier, both):
        verify_checkpoint(note, node.log.verifier)
    assert check(node.engine, log_key=node.log.verifier, others=Others((), tuple(earlier))).sound
    looked = hold.Hold(hold.path_of(node.settings), node.engine, node.log)
    looked.look()
    assert not looked.is_held
    node.log.close()


def test_a_file_of_proofs_says_by_what_keys_it_holds_and_is_verified_by_the_one_that_is_known(node: Node) -> None:
    former, before = node.log.verifier, node.say()
    coming = node.ask()
    node.watch.look()
    node.say()
    node.succession(coming).carry_out()
    node.watch.look()
    node.say()
    key = node.log.verifier

    with node.engine.connect() as connection:
        now_signed = proofs.export_proofs(connection, {0: None}, log_key=key, earlier=[before])
        then_signed = proofs.export_proofs(connection, {0: None}, log_key=key.former[0])

    report = verify_export(now_signed, log_key=VerifierKey.parse(str(key)))
    assert report.sound, report.problems
    assert report.trusted
    assert not verify_export(now_signed, log_key=former).sound
    assert verify_export(then_signed, log_key=former).sound
    node.log.close()


def test_a_key_that_the_registry_does_not_list_is_not_gone_over_to(node: Node) -> None:
    with pytest.raises(NodeError, match="no key that is to follow"):
        node.succession(node.log.verifier).carry_out()
    node.ask()

    with pytest.raises(NodeError, match="does not list the new key"):
        node.succession(node.log.verifier).carry_out()

    assert len(secrets_in(node.settings.secrets.log_key)) == 2
    assert node.changes() == []
    node.log.close()


def test_a_file_with_another_logs_key_changes_nothing_of_a_node_that_runs(node: Node) -> None:
    node.say()
    ring.replace(node.settings.secrets.log_key, (ring.new(),))

    node.watch.look()

    verify_checkpoint(node.say(), node.log.verifier)
    node.log.close()
    with pytest.raises(LogAlteredError):
        Node(node.settings, node.engine)


def test_a_node_that_still_signs_by_the_former_key_alone_holds_the_change_up(node: Node) -> None:
    coming = node.ask()

    with node.beside() as command, pytest.raises(NodeError, match="not signed by both keys"):
        command.succession(coming, settle=node.say).carry_out()

    assert node.changes() == ["joining"], "nothing is on record that was not done"
    assert len(ring.read(node.settings.secrets.log_key)) == 2
    node.watch.look()
    with node.beside() as command:
        command.succession(coming, settle=node.say).carry_out()
    assert node.changes() == ["joining", "joining", "current"]
    assert len(ring.read(node.settings.secrets.log_key)) == 1
    node.log.close()


def test_a_log_that_stands_still_changes_its_key(node: Node) -> None:
    node.say()
    coming = node.ask()

    with node.beside() as command:
        command.succession(coming).carry_out()

    assert node.changes() == ["joining", "current"]
    node.watch.look()
    assert verify_checkpoint(node.say(), node.log.verifier)
    node.log.close()
