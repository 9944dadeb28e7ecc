"""A secret is changed beside nodes that run: nobody is lost, wherever it is interrupted, and nobody is passed over."""

from __future__ import annotations

import base64
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Engine, select

from adapters.samples import write_samples
from audit.log.entries import Entry
from audit.log.log import Log
from audit.log.tables import entries, identifiers, subjects
from audit.questions.keys import SubjectKeys, key_id
from audit.questions.subjects import Subjects
from gateway.demo.network import Network, build
from gateway.keys import ring
from gateway.node.rotation import BATCH, Beside, Rotation, Secret, rewrap
from gateway.node.secret_files import fingerprint, lacks, prepare, verify
from gateway.node.secret_watch import SecretWatch
from gateway.node.wiring import NodeError, log_of, secrets_in
from gateway.settings import Settings, load
from gateway.storage import engine as storage
from gateway.storage.engine import writer
from gateway.storage.tables import secret_fingerprints
from schemas.identifiers import HETU
from tests.databases import migrate

PEOPLE = [(HETU, f"0101{number:02}-900P") for number in range(5)]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Network:
    """A demo network on disk, nothing of it running."""
    folder = tmp_path_factory.mktemp("node")
    write_samples(folder / "register", count=40)
    return build(folder / "network", datetime.now(UTC), folder / "register" / "reception-centre.csv")


class PowerCutError(Exception):
    """The process ends here."""


class Node:
    """The database and secrets of a node, with what a replica of it would keep in memory."""

    def __init__(self, settings: Settings, engine: Engine) -> None:
        self.settings, self.engine = settings, engine
        self.keys = SubjectKeys(self.ring("wrapping"), self.ring("index"))
        self.watch = SecretWatch(settings, engine, self.keys, now)
        self.subjects = Subjects.under(self.keys)

    def ring(self, name: str) -> tuple[bytes, ...]:
        return secrets_in(getattr(self.settings.secrets, f"{name}_key"))

    def find(self, people: list[tuple[str, str]]) -> list[str]:
        with self.engine.connect() as connection:
            found = [self.subjects.find(connection, *person) for person in people]
        return [subject.id for subject in found if subject is not None]

    def meet(self, people: list[tuple[str, str]]) -> list[str]:
        with writer(self.engine).begin() as connection:
            met = self.subjects.ensure(connection, people, now())
        return [known.subjects[0].id for known in met]

    def rotation(self, secret: Secret, log: Log, settle: Callable[[], None] = lambda: None) -> Rotation:
        return Rotation(secret, Beside(self.settings, self.engine, log, now, settle, "u" * 32))

    def entries(self) -> list[str | int | bool]:
        with self.engine.connect() as connection:
            found = [Entry.parse(body) for body in connection.scalars(select(entries.c.body).order_by(entries.c.idx))]
        return [entry.detail["change"] for entry in found if entry.type == "secret"]


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
def settings(built: Network, tmp_path: Path, database_url: str) -> Settings:
    found = load(built.parties["kotka"].config, {})
    names = ("wrapping_key", "index_key", "log_key", "witness_key", "token_key")
    files = found.secrets.model_copy(update={name: tmp_path / "secrets" / name for name in names})
    database = found.database.model_copy(update={"url": database_url})
    return found.model_copy(update={"secrets": files, "database": database})


@pytest.fixture
def node(settings: Settings, engine: Engine) -> Node:
    migrate(engine)
    prepare(settings, engine, now())
    return Node(settings, engine)


@pytest.fixture
def log(node: Node) -> Log:
    started = log_of(node.settings, node.engine)
    started.start()
    return started


@pytest.mark.parametrize("secret", list(Secret))
@pytest.mark.parametrize("stop", range(1, 10), ids=lambda number: f"interrupted {number}")
def test_change_that_is_interrupted_anywhere_goes_on_and_loses_nobody(
    node: Node, log: Log, monkeypatch: pytest.MonkeyPatch, secret: Secret, stop: int
) -> None:
    known = node.meet(PEOPLE)
    former = node.ring(secret)
    # Before each step that lasts, the power may go: the file is written, the database is written, nodes are waited for.
    steps = [0]

    def step() -> None:
        steps[0] += 1
        if steps[0] == stop:
            raise PowerCutError

    replace, commit = ring.replace, Log.commit_blocking

    def replacing(path: Path, keys: list[bytes]) -> None:
        step()
        replace(path, keys)

    def committing(self: Log, unit: object) -> object:
        step()
        return commit(self, unit)  # type: ignore[arg-type]

    monkeypatch.setattr(ring, "replace", replacing)
    monkeypatch.setattr(Log, "commit_blocking", committing)
    with suppress(PowerCutError):
        rotation = node.rotation(secret, log, step)
        rotation.prepare()
        rotation.carry_out()
    # A node that starts now, or that has been running all the time, finds everybody.
    prepare(node.settings, node.engine, now())
    assert node.watch.look() is None
    assert node.find(PEOPLE) == Node(node.settings, node.engine).find(PEOPLE) == known
    was_interrupted, steps[0] = steps[0] == stop, 100

    if was_interrupted:
        rotation = node.rotation(secret, log)
        rotation.prepare()
        rotation.carry_out()

    assert was_interrupted == (stop <= (8 if secret is Secret.WRAPPING else 5))
    assert node.watch.look() is None
    assert node.find(PEOPLE) == known
    assert node.ring(secret)[0] not in former
    assert len(node.ring(secret)) == (1 if secret is Secret.WRAPPING else 2)
    assert node.entries() == ["joining", "current", *(["gone"] if secret is Secret.WRAPPING else [])]
    verify(node.settings, node.engine, "wrapping_key", "index_key")
    log.close()


def test_rows_keep_the_index_key_of_their_writing_and_are_found_with_those_of_the_new_one(node: Node, log: Log) -> None:
    (first,) = node.ring("index")
    before = node.meet(PEOPLE[:2])
    case, user = node.subjects.case("KOTKA-1"), node.subjects.user("s", "u")

    rotation = node.rotation(Secret.INDEX, log)
    rotation.prepare()
    rotation.carry_out()
    node.watch.look()
    after = node.meet(PEOPLE[1:3])

    assert node.find(PEOPLE[:3]) == [before[0], *after]
    assert after[0] == before[1], "who was known under the former key is no new person"
    second = node.ring("index")[0]
    with node.engine.connect() as connection:
        rows = connection.execute(select(identifiers.c.subject, identifiers.c.index_key)).all()
    assert {(row.subject, row.index_key) for row in rows} == {
        *((subject, key_id(first)) for subject in before),
        *((subject, key_id(second)) for subject in after),
    }
    assert node.subjects.case("KOTKA-1") != case
    assert case in node.subjects.cases("KOTKA-1")
    assert user in node.subjects.users("s", "u")
    log.close()


def test_nothing_is_written_under_a_key_before_every_node_was_asked_for_it(node: Node, log: Log) -> None:
    (first,) = node.ring("index")
    written: list[str] = []

    def settle() -> None:
        # What a node that runs does in the time that it is given.
        node.watch.look()
        node.meet([PEOPLE[len(written)]])
        written.append(node.keys.index_key_id)

    rotation = node.rotation(Secret.INDEX, log, settle)
    rotation.prepare()
    node.watch.look()
    node.meet([PEOPLE[4]])
    rotation.carry_out()

    assert written == [key_id(first)]
    log.close()


@pytest.mark.parametrize("secret", [Secret.INDEX, Secret.WRAPPING])
def test_replica_that_lacks_the_new_key_is_held_and_does_not_start(
    node: Node, log: Log, tmp_path: Path, secret: Secret
) -> None:
    elsewhere = {name: tmp_path / f"replica-{name}" for name in ("wrapping_key", "index_key", "token_key", "log_key")}
    for name, path in elsewhere.items():
        path.write_bytes(getattr(node.settings.secrets, name).read_bytes())
    secrets = node.settings.secrets.model_copy(update=elsewhere)
    replica = Node(node.settings.model_copy(update={"secrets": secrets}), node.engine)
    assert replica.watch.look() is None
    held: list[str | None] = []

    rotation = node.rotation(secret, log, lambda: held.append(replica.watch.look()))
    rotation.prepare()
    rotation.carry_out()

    assert held[0] == f"replica-{secret.setting} lacks a key under which this database is written"
    with pytest.raises(NodeError, match=r"lacks a key|not the secret"):
        verify(replica.settings, node.engine, secret.setting)
    elsewhere[secret.setting].write_bytes(getattr(node.settings.secrets, secret.setting).read_bytes())
    assert replica.watch.look() is None
    assert node.watch.look() is None
    assert replica.meet(PEOPLE) == node.meet(PEOPLE)
    log.close()


def test_key_that_was_put_first_by_hand_is_refused(node: Node) -> None:
    path = node.settings.secrets.index_key
    ring.replace(path, (b"\x09" * 32, *node.ring("index")))

    with pytest.raises(NodeError, match="begins with a key that this database does not know"):
        prepare(node.settings, node.engine, now())
    assert node.watch.look() == "index_key begins with a key that this database does not know"


def test_keys_of_many_are_wrapped_anew_and_none_that_was_destroyed_comes_back(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = node.meet([(HETU, f"person {number}") for number in range(2 * BATCH + 3)])
    former, coming = node.ring("wrapping")[0], b"\x0b" * 32
    begun = storage.writer

    def destroying(engine: Engine) -> Engine:
        # Somebody is forgotten after their row was read and before it is written.
        monkeypatch.undo()
        with writer(engine).begin() as connection:
            node.subjects.destroy(connection, sorted(known)[0], now())
        return begun(engine)

    monkeypatch.setattr("gateway.node.rotation.writer", destroying)
    assert rewrap(node.engine, coming, [former]) == len(known) - 1
    assert rewrap(node.engine, coming, [former]) == 0

    with node.engine.connect() as connection:
        left = connection.scalars(select(subjects.c.wrapped_key).where(subjects.c.wrapped_key.is_not(None))).all()
    assert len(left) == len(known) - 1
    keys = SubjectKeys((coming,), node.ring("index"))
    assert len({keys.unwrap(bytes(wrapped)) for wrapped in left}) == len(left)


@pytest.mark.parametrize(
    "content",
    [b"", b"AAAA\n", base64.b64encode(b"\x01" * 32) * 2, 2 * (base64.b64encode(b"\x01" * 32) + b"\n"), b"\xff" * 44],
    ids=["empty", "short", "long", "twice the same", "no text"],
)
def test_file_that_holds_no_keys_is_refused_and_stops_no_node_that_runs(node: Node, content: bytes) -> None:
    node.watch.look()
    known = node.meet(PEOPLE)

    node.settings.secrets.index_key.write_bytes(content)

    with pytest.raises(NodeError, match="does not hold 32 bytes"):
        secrets_in(node.settings.secrets.index_key)
    assert node.watch.look() is None
    assert node.find(PEOPLE) == known


def test_database_knows_nothing_of_the_keys_but_their_fingerprints(node: Node, log: Log) -> None:
    rotation = node.rotation(Secret.INDEX, log)
    rotation.prepare()
    rotation.carry_out()

    with node.engine.connect() as connection:
        rows = connection.execute(select(secret_fingerprints).where(secret_fingerprints.c.name == "index_key")).all()
    assert {row.fingerprint: row.state for row in rows} == {
        fingerprint("index_key", key): state
        for key, state in zip(node.ring("index"), ("current", "former"), strict=True)
    }
    assert lacks("index_key", node.ring("index"), ()) is None
    log.close()
