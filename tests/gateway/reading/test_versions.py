"""Versions of adapters are taken into use and back on a node that runs; what was begun is finished as it was begun."""

from __future__ import annotations

import io
import os
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Engine, select, update

from adapters.sdk import AdapterError, Limits, load
from adapters.sdk.versions import Version, digest_of, version_of
from audit.log.entries import Entry
from audit.log.log import Log
from audit.log.tables import entries
from audit.log.waiting import Written
from audit.tree.checkpoint import LogSigner
from gateway.node.adapter_watch import AdapterWatch
from gateway.reading import shelf
from gateway.reading.editions import tried
from gateway.reading.readers import Reading
from gateway.reading.wheels import MOST_BYTES, MOST_FILES, is_universal, opened
from gateway.storage import schema
from gateway.storage.tables import adapter_uses, adapter_versions
from gateway.story import Story
from tests.gateway.reading.wheels import wheel

POINTS = "harju-1.0.dist-info/entry_points.txt"


def marked(data: bytes, at: int, value: int) -> bytes:
    """The wheel with one byte of its directory's first file changed: 8 is whether it is encrypted, 10 how packed."""
    changed = bytearray(data)
    changed[data.index(b"PK\x01\x02") + at] = value
    return bytes(changed)


LIMITS = Limits(record_seconds=2.0, memory_mb=512)
NOW = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)
STORY = Story(client="yhdyspinta adapter take", node="centre")


@dataclass
class Shelf:
    """A node's database and log, and how a version comes into it."""

    engine: Engine
    log: Log
    folder: Path

    def trial(self, data: bytes) -> Version:
        folder = self.folder / f"trial-{len(list(self.folder.iterdir()))}"
        found = opened(data)
        found.unpack(folder)
        return tried(folder, found.name, LIMITS).version

    def take(self, data: bytes) -> Version:
        version = self.trial(data)
        self.log.commit_blocking(partial(shelf.take, version=version, data=data, story=STORY, now=NOW))
        return version

    def back(self, name: str = "harju") -> Version:
        unit = partial(shelf.take_back, name=name, story=STORY, now=NOW)
        return self.log.commit_blocking(unit).value

    def entries(self) -> list[Entry]:
        with self.engine.connect() as connection:
            return [Entry.parse(body) for body in connection.scalars(select(entries.c.body).order_by(entries.c.idx))]


@pytest.fixture
def stock(engine: Engine, tmp_path: Path) -> Iterator[Shelf]:
    schema.bring_up_to_date(engine)
    origin = "yhdyspinta/centre.test"
    log = Log(engine, LogSigner(Ed25519PrivateKey.generate(), origin), origin=origin, clock=lambda: NOW)
    log.start()
    yield Shelf(engine, log, tmp_path)
    log.close()


@dataclass
class Replica:
    """What one process of a node has."""

    reading: Reading
    watch: AdapterWatch

    def made(self, text: str = "a", name: str = "harju") -> list[str]:
        adapter = self.reading.adapters("clients").load(name)
        return [mapped.key for mapped in adapter.convert(io.BytesIO(text.encode()), LIMITS)]


@pytest.fixture
def replicas(stock: Shelf) -> Iterator[Any]:
    made: list[Replica] = []

    def start() -> Replica:
        reading = Reading(LIMITS)
        reading.start()
        replica = Replica(reading, AdapterWatch(stock.engine, reading, LIMITS))
        reading.former = replica.watch.former
        made.append(replica)
        replica.watch.look()
        return replica

    yield start
    for replica in made:
        replica.reading.close()
        replica.watch.close()


def pids(replica: Replica) -> list[int]:
    return [reader.pid for pool in replica.reading.editions._apart.values() for reader in pool._idle]


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_version_is_taken_and_taken_back_on_replicas_that_run(stock: Shelf, replicas: Any) -> None:
    one, other = replicas(), replicas()
    with pytest.raises(AdapterError):
        one.made()

    first = stock.take(wheel("1.0"))
    for replica in (one, other):
        replica.watch.look()
    assert (one.made(), other.made()) == (["1.0:a"], ["1.0:a"])
    old = pids(one)
    assert old
    second = stock.take(wheel("2.0"))
    one.watch.look()
    assert (one.made(), other.made()) == (["2.0:a"], ["1.0:a"]), "the other has not looked yet"
    assert not any(is_running(pid) for pid in old), "the readers of the old version end"
    other.watch.look()
    assert other.made() == ["2.0:a"]

    assert stock.back() == first
    for replica in (one, other, replicas()):
        replica.watch.look()
        assert replica.made() == ["1.0:a"], "one that starts now agrees as well"
    assert stock.back() == second

    said = [entry.detail for entry in stock.entries()]
    assert [detail["version"] for detail in said] == [first.digest, second.digest, first.digest, second.digest]
    assert [detail["former"] for detail in said] == ["installed", first.digest, second.digest, first.digest]


def test_first_version_is_taken_back_to_what_is_installed(stock: Shelf, replicas: Any) -> None:
    replica = replicas()
    stock.take(wheel("1.0"))
    replica.watch.look()
    assert replica.made() == ["1.0:a"]

    assert stock.back().digest == shelf.INSTALLED
    replica.watch.look()

    with pytest.raises(AdapterError, match="no adapter 'harju' is installed"):
        replica.made()
    with pytest.raises(AdapterError, match="none to take back"):
        stock.back("another")


def test_records_under_way_are_finished_by_the_version_that_began_them(stock: Shelf, replicas: Any) -> None:
    replica = replicas()
    first = stock.take(wheel("1.0"))
    replica.watch.look()
    adapters = replica.reading.adapters("source register", 1)
    under_way = adapters.load("harju").convert(io.BytesIO(b"line\n" * 40_000), LIMITS)
    assert next(under_way).made_by == first.mark
    with adapters.using("harju", "") as in_use:
        second = stock.take(wheel("2.0"))
        replica.watch.look()

        assert {mapped.key for mapped in under_way} == {"1.0:line"}
        held = list(in_use.adapter.convert(io.BytesIO(b"b"), LIMITS))
        assert [(mapped.key, mapped.made_by) for mapped in held] == [("1.0:b", first.mark)]
        (old,) = [pid for pid in pids(replica) if is_running(pid)]
        assert replica.made() == ["2.0:a"]
    assert not is_running(old)
    with adapters.using("harju", first.digest) as again:
        assert [mapped.key for mapped in again.adapter.convert(io.BytesIO(b"c"), LIMITS)] == ["1.0:c"]
    with adapters.using("harju", "0" * 64) as present:
        assert present.digest == second.digest


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"no archive", "no wheel"),
        (b"x" * (MOST_BYTES + 1), "the wheel has more than"),
        (marked(wheel("1.0"), 8, 1), "no wheel"),
        (marked(wheel("1.0"), 10, 99), "no wheel"),
        (wheel("1.0", more={f"{number}.py": "" for number in range(MOST_FILES + 1)}), "holds more than"),
        (wheel("1.0", more={"harju-1.0.dist-info/x": "x" * (MOST_BYTES + 1)}), "more than"),
        (wheel("1.0", more={"../outside.py": ""}), "outside"),
        (wheel("1.0", more={"/outside.py": ""}), "outside"),
        (wheel("1.0", more={"in\\outside.py": ""}), "outside"),
        (wheel("1.0", more={"C:/outside.py": ""}), "outside"),
        (wheel("1.0", more={"adapters/sdk/__init__.py": ""}), "stand in for the node's own"),
        (wheel("1.0", more={"texts/__init__.py": ""}), "stand in for the node's own"),
        (wheel("1.0", more={"late.pth": "import os"}), "stand in for the node's own"),
        (wheel("1.0", more={"harju-1.0.data/purelib/late.py": ""}), "stand in for the node's own"),
        (wheel("1.0", name="fhir-r4"), "comes with the node"),
        (wheel("1.0", name="Harju"), "small letters"),
        (wheel("1.0", more={"other.dist-info/entry_points.txt": ""}), "2 folders .dist-info"),
        (wheel("1.0", more={POINTS: "harju = harju:Harju"}), "cannot be read"),
        (
            wheel("1.0", more={POINTS: "[yhdyspinta.adapters]\nharju = harju:Harju\nkoski = harju:Harju\n"}),
            "2 adapters",
        ),
    ],
    ids=range(19),
)
def test_what_is_no_wheel_of_one_adapter_is_refused_before_anything_is_written(data: bytes, why: str) -> None:
    with pytest.raises(AdapterError, match=why):
        opened(data)


def test_a_wheel_brings_no_package_of_the_node() -> None:
    own = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text("utf-8"))

    for package in own["tool"]["importlinter"]["root_packages"]:
        with pytest.raises(AdapterError, match=f"brings {package}, which"):
            opened(wheel("1.0", more={f"{package}/__init__.py": ""}))


@pytest.mark.parametrize("source", ["raise ValueError", "import os; os._exit(1)", "class Harju:\n    pass"])
def test_bad_version_is_refused_before_it_is_in_use(tmp_path: Path, source: str) -> None:
    opened(wheel("1.0", source=source)).unpack(tmp_path)

    with pytest.raises(AdapterError, match="cannot be loaded"):
        tried(tmp_path, "harju", LIMITS)


def test_files_other_than_those_that_were_agreed_on_never_run(
    stock: Shelf, replicas: Any, caplog: pytest.LogCaptureFixture
) -> None:
    replica = replicas()
    stock.take(wheel("1.0"))
    replica.watch.look()
    second = stock.take(wheel("2.0"))
    with stock.engine.begin() as connection:
        connection.execute(
            update(adapter_versions).where(adapter_versions.c.digest == second.digest).values(wheel=wheel("6.6"))
        )

    for _ in range(2):
        replica.watch.look()

    assert replica.made() == ["1.0:a"], "the former one goes on"
    assert replica.watch.condition() == {"harju": second.digest[:12]}
    told = [record for record in caplog.records if record.getMessage() == "adapter-not-taken"]
    assert len(told) == 1, "it is not loaded again each second"
    stock.back()
    replica.watch.look()
    assert replica.watch.condition() == {}


def test_wheel_that_was_taken_under_the_digest_of_former_days_is_at_work_under_it(stock: Shelf, replicas: Any) -> None:
    replica = replicas()
    version = stock.take(wheel("1.0"))
    former = digest_of(next(stock.folder.glob("trial-*")) / "harju.py")
    with stock.engine.begin() as connection:
        for rows in (adapter_versions, adapter_uses):
            connection.execute(update(rows).where(rows.c.digest == version.digest).values(digest=former))

    replica.watch.look()

    adapter = replica.reading.adapters("clients").load("harju")
    (made,) = adapter.convert(io.BytesIO(b"a"), LIMITS)
    assert (made.key, made.made_by) == ("1.0:a", f"harju 1.0 {former[:12]}")
    assert replica.watch.condition() == {}


def test_version_that_is_taken_back_runs_as_it_was_agreed_on_or_not_at_all(stock: Shelf, replicas: Any) -> None:
    first = stock.take(wheel("1.0"))
    stock.take(wheel("2.0"))
    replica = replicas()
    with stock.engine.begin() as connection:
        connection.execute(
            update(adapter_versions).where(adapter_versions.c.digest == first.digest).values(wheel=wheel("6.6"))
        )

    stock.back()
    replica.watch.look()

    assert replica.made() == ["2.0:a"], "the one at work goes on"
    assert replica.watch.condition() == {"harju": first.digest[:12]}


def test_version_that_this_machine_had_no_room_for_is_taken_up_when_it_has(
    stock: Shelf, replicas: Any, caplog: pytest.LogCaptureFixture
) -> None:
    replica = replicas()
    version = stock.take(wheel("1.0"))
    folder, replica.watch._scratch.folder = replica.watch._scratch.folder, stock.folder / "no-folder"
    replica.watch._scratch.folder.write_text("")

    for _ in range(3):
        replica.watch.look()

    assert replica.watch.condition() == {"harju": version.digest[:12]}
    told = [record for record in caplog.records if record.getMessage() == "adapter-not-taken"]
    assert len(told) == 1, "it is told of once"
    replica.watch._scratch.folder = folder
    replica.watch.look()
    assert (replica.made(), replica.watch.condition()) == (["1.0:a"], {})


def test_folder_of_a_try_that_was_cut_off_is_made_anew(stock: Shelf, replicas: Any) -> None:
    replica = replicas()
    version = stock.take(wheel("1.0"))
    half = replica.watch._scratch.folder / version.digest
    half.mkdir()
    (half / "harju.py").write_text("raise ValueError  # half a file")
    (half / "left.py").write_text("")

    replica.watch.look()

    assert replica.made() == ["1.0:a"]


def test_taking_that_was_cut_off_has_changed_nothing(stock: Shelf) -> None:
    version = stock.trial(wheel("1.0"))

    def cut_off(connection: Any) -> Written[bool]:
        shelf.take(connection, version, wheel("1.0"), STORY, NOW)
        raise AdapterError("the power is gone")

    with pytest.raises(AdapterError):
        stock.log.commit_blocking(cut_off)

    assert shelf.in_use(stock.engine) == {}
    with stock.engine.connect() as connection:
        assert connection.execute(select(adapter_versions)).all() == []
    assert stock.take(wheel("1.0")) == version
    stock.take(wheel("1.0"))
    with stock.engine.connect() as connection:
        assert len(connection.execute(select(adapter_uses)).all()) == 1, "taken twice is taken once"


def test_digest_changes_with_each_file_and_with_nothing_else(tmp_path: Path) -> None:
    numbers = count()

    def digest(**files: str) -> str:
        folder = tmp_path / str(next(numbers))
        (folder / "__pycache__").mkdir(parents=True)
        (folder / "__pycache__" / "x.pyc").write_bytes(os.urandom(8))
        for name, text in files.items():
            (folder / name).write_text(text)
        return digest_of(folder)

    base = digest(a="1", b="2")
    assert digest(b="2", a="1") == base
    assert len({base, digest(a="1", b="3"), digest(a="1", c="2"), digest(a="1"), digest(a="1", b="2", c="")}) == 5


@pytest.mark.parametrize("name", ["canonical", "fhir-r4", "reception-centre-csv", "municipality-xlsx"])
def test_shipped_adapter_tells_its_version(name: str) -> None:
    version = version_of(name)

    mapping = getattr(load(name), "mapping", None)
    assert mapping is None or version.declared == str(mapping.version)
    assert version.declared
    assert version.mark == f"{name} {version.declared} {version.digest[:12]}"


def test_wheel_for_one_machine_is_none_for_all() -> None:
    assert is_universal("harju-1.0-py3-none-any.whl")
    assert not is_universal("harju-1.0-cp311-cp311-linux_x86_64.whl")
