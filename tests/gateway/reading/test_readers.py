"""Foreign bytes are read by processes that have nothing, and that harm nobody but the input which killed them."""

from __future__ import annotations

import asyncio
import io
import json
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from adapters.samples import write_samples
from adapters.sdk import UNREADABLE, AdapterError, Limits, Mapped, Position, Record, load
from gateway.reading.editions import AtWork
from gateway.reading.pool import IN_A_ROW, INPUTS, LIFE_SECONDS, Poison, Readers
from gateway.reading.readers import Reading, RemoteAdapter
from gateway.wire.problems import ProblemError
from tests import parts
from tests.waiting import until

HOSTILE = """
import os, signal, socket, subprocess, sys, time
from adapters.sdk import Finding, Limits, Manifest, Mapped, Position, Text

TEXT = Text("x", "x", "x")

class Hostile:
    manifest = Manifest("hostile", TEXT, ("text/plain",))

    def convert(self, stream, limits):
        for line in stream.read().decode().splitlines():
            what, *where = line.split()
            if what == "opens":
                yield Mapped(self.opens(*where), {}, {}, (), Position())
            else:
                self.findings = ()
                yield Mapped(str(getattr(self, what)()), {}, {}, self.findings, Position())

    def opens(self, path, mode):
        try:
            with open(path, mode):
                return "opened"
        except Exception as error:
            return type(error).__name__

    def well(self):
        return "well"

    def loops(self):
        while True:
            pass

    def eats(self):
        held = []
        while True:
            held.append(bytearray(1 << 20))

    def eats_in_silence(self):
        try:
            self.eats()
        except MemoryError:
            os.abort()

    def aborts(self):
        os.abort()

    def ends(self):
        os._exit(0)

    def closes(self):
        os.closerange(0, 1 << 16)  # the channel may have any number
        time.sleep(3600)

    def names(self):
        place = Position("010190-999X.xlsx", 3, "Käynnit Virtanen_010190-999X")
        self.findings = (Finding("warning", "not-read", place, None, TEXT, TEXT),)
        return "names"

    def raises(self):
        raise ValueError("010190-900P")

    def connects(self):
        try:
            socket.create_connection(("127.0.0.1", 9))
        except Exception as error:
            return type(error).__name__

    def runs(self):
        try:
            subprocess.run(["/bin/true"])
        except Exception as error:
            return type(error).__name__

    def writes(self):
        # A file that outgrows its limit ends the process, unless it asks not to be.
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        try:
            with open("/tmp/written", "w") as file:
                file.write("x")
        except Exception as error:
            return type(error).__name__

    def knows(self):
        others = {name for name in sys.modules if name.split(".")[0] in ("gateway", "consent", "audit")}
        kinds = {os.readlink(f"/proc/self/fd/{fd}").split(":")[0] for fd in range(64)
                 if os.path.lexists(f"/proc/self/fd/{fd}")}
        return sorted(os.environ), sorted(others), sorted(kinds)

    def lies(self):
        import adapters.serving
        adapters.serving._mapped = lambda mapped: b'{"key": 1, "bundle": "no", "findings": [], "position": ["", 0, ""]}'
        return "lies"
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An adapter that does harm, installed as any other is."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "hostile.py").write_text(HOSTILE)
    about = folder / "hostile-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: hostile\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[yhdyspinta.adapters]\nhostile = hostile:Hostile\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield folder


LIMITS = Limits(record_seconds=1.0, memory_mb=512)


@pytest.fixture
def reading(installed: Path) -> Iterator[Reading]:
    made = Reading(LIMITS)
    made.start()
    yield made
    made.close()


def converted(reading: Reading, text: str, work: str = "clients", name: str = "hostile") -> list[Mapped]:
    return list(reading.adapters(work).load(name).convert(io.BytesIO(text.encode()), LIMITS))


def remote(reading: Reading) -> RemoteAdapter:
    adapter = reading.adapters("clients").load("hostile")
    assert isinstance(adapter, RemoteAdapter)
    return adapter


def refused(found: list[Mapped]) -> tuple[str, str]:
    """The code of the one finding, and the limit that it names."""
    (rejected,) = [mapped for mapped in found if mapped.bundle is None]
    (finding,) = rejected.findings
    limit = next(name for name in ("record_seconds", "memory_mb") if name in finding.message.en)
    return finding.code, limit


@pytest.mark.parametrize(
    ("harm", "limit"),
    [
        ("loops", "record_seconds"),
        ("eats", "memory_mb"),
        ("eats_in_silence", "memory_mb"),
        ("aborts", "memory_mb"),
        ("ends", "memory_mb"),
        ("closes", "memory_mb"),
        ("raises", "memory_mb"),
        ("lies", "memory_mb"),
    ],
)
def test_input_that_harms_its_reader_is_refused_and_the_next_is_read(reading: Reading, harm: str, limit: str) -> None:
    found = converted(reading, f"well\n{harm}\nwell")

    assert refused(found) == ("limit-exceeded", limit)
    assert "010190" not in str(found)
    assert [mapped.key for mapped in converted(reading, "well")] == ["well"]


@pytest.mark.parametrize(
    ("harm", "limit"),
    [
        ("loops", "record_seconds"),
        ("eats", "memory_mb"),
        ("eats_in_silence", "memory_mb"),
        ("aborts", "memory_mb"),
        ("closes", "memory_mb"),
        ("raises", "memory_mb"),
        ("lies", "memory_mb"),
    ],
)
async def test_input_that_harms_its_reader_harms_nobody_on_the_event_loop(
    reading: Reading, harm: str, limit: str
) -> None:
    adapter = remote(reading)
    before = len(reading.editions._poison)

    assert refused(await adapter.convert_soon(f"well\n{harm}\nwell".encode(), LIMITS)) == ("limit-exceeded", limit)

    assert len(reading.editions._poison) == before + 1
    assert [mapped.key for mapped in await adapter.convert_soon(b"well\nwell", LIMITS)] == ["well", "well"]


def test_what_a_source_calls_by_a_persons_number_is_told_without_it(reading: Reading) -> None:
    ((told,),) = (mapped.findings for mapped in converted(reading, "names"))

    assert told.position == Position("….xlsx", 3, "Käynnit …")


async def test_many_are_read_on_the_event_loop_by_few_readers(reading: Reading) -> None:
    adapter = remote(reading)
    counts = [number % 5 + 1 for number in range(60)]

    found = await asyncio.gather(*(adapter.convert_soon(b"well\n" * count, LIMITS) for count in counts))

    assert [len(mapped) for mapped in found] == counts
    assert len(reading.editions._pools["clients"]._idle) <= 2


async def test_whoever_stops_waiting_on_the_event_loop_leaves_nothing_for_the_next(reading: Reading) -> None:
    adapter = remote(reading)
    waiting = asyncio.create_task(adapter.convert_soon(b"well\nwell\nloops", LIMITS))
    pool = reading.editions._pools["clients"]
    await until(lambda: waiting.done() or (not pool._idle and pool.is_confined is not None))
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting

    found = [await adapter.convert_soon(b"well", LIMITS) for _ in range(3)]
    many = await adapter.convert_soon(b"well\n" * 5_000, LIMITS)
    after = await adapter.convert_soon(b"well", LIMITS)

    assert [len(mapped) for mapped in found] == [1, 1, 1]
    assert 2 <= len(many) < 5_000
    assert len(after) == 1
    assert pool.killed == 0


def test_input_that_killed_a_reader_is_refused_unread_for_an_hour(reading: Reading) -> None:
    pool = reading.editions._pools.setdefault("clients", Readers(1, 512))
    converted(reading, "aborts")
    killed = reading.condition()["pools"]["clients"]["killed"]

    again = converted(reading, "aborts")

    assert refused(again) == ("limit-exceeded", "memory_mb")
    assert reading.condition()["pools"]["clients"]["killed"] == killed
    now = [0.0]
    poison = Poison(lambda: now[0])
    poison.remember(b"x", "memory_mb")
    assert poison.limit(b"x") == "memory_mb"
    now[0] = 3600.0
    assert poison.limit(b"x") is None
    assert pool is not None


def test_source_whose_inputs_kill_three_readers_in_a_row_rests_and_others_do_not(reading: Reading) -> None:
    for number in range(IN_A_ROW):
        converted(reading, f"aborts {number}", work="source a")

    with pytest.raises(ProblemError) as resting:
        converted(reading, "well", work="source a")

    assert resting.value.code == "busy"
    assert [mapped.key for mapped in converted(reading, "well", work="source b")] == ["well"]


def test_reader_has_no_environment_no_file_no_network_and_nothing_of_the_node(reading: Reading) -> None:
    keys = [mapped.key for mapped in converted(reading, "knows\nconnects\nruns\nwrites")]

    environment, others, kinds = eval(keys[0])
    assert [name for name in environment if name != "LC_CTYPE"] == []
    assert others == []
    assert set(kinds) <= {"/dev/null", "socket", "/proc/self/fd"} | {
        kind for kind in kinds if kind.startswith("/proc/")
    }
    assert keys[1:3] == ["PermissionError", "PermissionError"]
    assert keys[3] in {"OSError", "PermissionError"}, "by its size, or by the kernel's word about files"
    assert reading.condition()["pools"]["clients"]["confined"]


def test_reader_opens_no_file_but_those_of_the_program_itself(reading: Reading, tmp_path: Path) -> None:
    converted(reading, "well")
    is_shut = reading.condition()["pools"]["clients"]["files_shut"]
    parts.require("Landlock", is_shut, "The kernel is to be 5.13 or newer, with Landlock among its security modules.")
    secret, new = tmp_path / "index.key", tmp_path / "new"
    secret.write_bytes(b"x")

    tried = [f"opens {secret} r", f"opens {secret} a", f"opens {new} w", "opens /etc/passwd r", f"opens {__file__} a"]
    found = [mapped.key for mapped in converted(reading, "\n".join([*tried, f"opens {json.__file__} r"]))]

    assert found[:-1] == ["PermissionError"] * len(tried)
    assert found[-1] == "opened", "a module of the library, which may be needed late"
    assert not new.exists()


def test_reader_is_replaced_after_its_inputs(reading: Reading) -> None:
    adapter = reading.adapters("clients", 1).load("hostile")
    list(adapter.convert(io.BytesIO(b"well"), LIMITS))
    pool = reading.editions._pools["clients"]
    first = pool._idle[0].pid

    for _ in range(INPUTS):
        list(adapter.convert(io.BytesIO(b"well"), LIMITS))

    assert [reader.pid for reader in pool._idle] != [first]
    assert pool.killed == 0


def test_reader_is_replaced_when_it_has_lived_long_enough(reading: Reading) -> None:
    now = [0.0]
    adapter = reading.adapters("clients", 1).load("hostile")
    pool = reading.editions._pools["clients"] = Readers(1, LIMITS.memory_mb, clock=lambda: now[0])
    at_work = AtWork(reading.editions.at_work("hostile", "clients", 1).edition, pool)
    adapter = RemoteAdapter(lambda: at_work, "clients")
    list(adapter.convert(io.BytesIO(b"well"), LIMITS))
    first = pool._idle[0].pid

    now[0] = LIFE_SECONDS - 1
    list(adapter.convert(io.BytesIO(b"well"), LIMITS))
    assert [reader.pid for reader in pool._idle] == [first]

    now[0] = LIFE_SECONDS
    list(adapter.convert(io.BytesIO(b"well"), LIMITS))
    assert pool._idle == []


@pytest.mark.parametrize("lines", [3, 20_000], ids=["few", "many"])
def test_whoever_has_seen_enough_leaves_nothing_for_the_next(reading: Reading, lines: int) -> None:
    adapter = reading.adapters("clients", 1).load("hostile")
    records = adapter.convert(io.BytesIO(b"well\n" * lines), LIMITS)
    assert next(records).key == "well"
    records.close()  # type: ignore[attr-defined]

    assert len(converted(reading, "well\nwell")) == 2
    assert len(reading.editions._poison) == 0


def test_pool_without_a_free_reader_says_that_it_is_busy(reading: Reading, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.reading.pool.WAIT_SECONDS", 0.01)
    adapter = reading.adapters("clients", 1).load("hostile")
    records = adapter.convert(io.BytesIO(b"well\nwell"), LIMITS)
    next(records)

    with pytest.raises(ProblemError) as busy:
        converted(reading, "well")

    assert (busy.value.code, busy.value.retry_after) == ("busy", 1)


def test_reader_that_does_not_come_up_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.reading.process._PROGRAM", "import sys; sys.exit(3)  # {path} {arguments}")
    with pytest.raises(ProblemError) as down:
        Readers(1, 512).start()

    assert down.value.code == "readers-down"


def test_workbook_whose_last_cell_is_far_away_is_refused_and_nothing_else_suffers(reading: Reading) -> None:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as book:
        book.writestr("[Content_Types].xml", TYPES)
        book.writestr("_rels/.rels", RELATIONS.format(kind="officeDocument", target="xl/workbook.xml"))
        book.writestr("xl/_rels/workbook.xml.rels", RELATIONS.format(kind="worksheet", target="worksheets/sheet1.xml"))
        book.writestr("xl/workbook.xml", BOOK)
        book.writestr("xl/worksheets/sheet1.xml", SHEET)
    assert len(target.getvalue()) < 5_000
    adapter = reading.adapters("clients").load("municipality-xlsx")

    found = list(adapter.convert(io.BytesIO(target.getvalue()), Limits()))

    assert [finding.code for mapped in found for finding in mapped.findings] == ["limit-exceeded"]
    assert [mapped.key for mapped in converted(reading, "well")] == ["well"]


MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
PACKAGE = "http://schemas.openxmlformats.org/package/2006"
TYPES = (
    f'<Types xmlns="{PACKAGE}/content-types"><Default Extension="xml" ContentType="application/xml"/>'
    '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
    '<Override PartName="/xl/workbook.xml" '
    'ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml"/>'
    '<Override PartName="/xl/worksheets/sheet1.xml" '
    'ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.worksheet+xml"/></Types>'
)
RELATIONS = (
    f'<Relationships xmlns="{PACKAGE}/relationships"><Relationship Id="rId1" Type="{OFFICE}/{{kind}}" '
    'Target="{target}"/></Relationships>'
)
BOOK = (
    f'<workbook xmlns="{MAIN}" xmlns:r="{OFFICE}"><sheets><sheet name="Lomake" sheetId="1" r:id="rId1"/></sheets>'
    "</workbook>"
)
SHEET = (
    f'<worksheet xmlns="{MAIN}"><sheetData><row r="1"><c r="A1" t="inlineStr"><is><t>x</t></is></c></row>'
    '<row r="1048576"><c r="XFD1048576" t="inlineStr"><is><t>x</t></is></c></row></sheetData></worksheet>'
)


# -- the same as without -----------------------------------------------------------------------------------------


def without_origin(found: Iterator[Mapped]) -> list[Mapped]:
    """What a node uses of a record: where each value came from is for tools."""
    return [replace(mapped, provenance={}, made_by="") for mapped in found]


def test_every_sample_is_read_as_it_is_without_readers(reading: Reading, tmp_path: Path) -> None:
    write_samples(tmp_path, count=40)
    by_suffix = {".csv": "reception-centre-csv", ".xml": "reception-centre-xml", ".xlsx": "municipality-xlsx",
                 ".hl7": "county-hl7"}  # fmt: skip
    compared = 0
    for path in tmp_path.rglob("*"):
        names = [by_suffix[path.suffix]] if path.suffix in by_suffix else []
        names = ["municipality-json", "county-json", "fhir-r4", "canonical"] if path.suffix == ".json" else names
        for name in names:
            data = path.read_bytes()
            far = without_origin(reading.adapters("clients").load(name).convert(io.BytesIO(data), Limits()))
            near = without_origin(load(name).convert(io.BytesIO(data), Limits()))
            assert far == near, (name, path.name)
            compared += len(far)
    assert compared > 100


def test_row_of_a_database_is_mapped_and_a_bundle_is_written_as_without_readers(
    reading: Reading, tmp_path: Path
) -> None:
    write_samples(tmp_path, count=40)
    data = next(tmp_path.rglob("*.csv")).read_bytes()
    near, far = load("reception-centre-csv"), reading.adapters("clients").load("reception-centre-csv")
    rows = [record for record in near.read(io.BytesIO(data), Limits()) if isinstance(record, Record)]
    first, name = rows[0], next(iter(rows[0].fields))
    broken = Record("k", {**first.fields, name: UNREADABLE}, Position("f", 3, "c"))

    for record in (*rows, broken):
        assert without_origin(iter([far.to_canonical(record)])) == without_origin(iter([near.to_canonical(record)]))

    bundle = next(mapped.bundle for mapped in near.convert(io.BytesIO(data), Limits()) if mapped.bundle is not None)
    writer = reading.adapters("clients").load("fhir-r4")
    assert writer.from_canonical(bundle) == load("fhir-r4").from_canonical(bundle)
    with pytest.raises(AdapterError):
        far.read(io.BytesIO(data), Limits())


def test_manifests_and_columns_are_those_of_the_adapters(reading: Reading) -> None:
    adapters = reading.adapters("clients")
    for manifest in adapters.available():
        if manifest.name == "hostile":
            continue
        near, far = load(manifest.name), adapters.load(manifest.name)
        assert far.manifest == near.manifest
        assert isinstance(far, RemoteAdapter)
        mapping = getattr(near, "mapping", None)
        if mapping is None:
            assert far.mapping is None
        else:
            assert far.mapping is not None
            assert (far.mapping.fields, far.mapping.optional) == (mapping.fields, mapping.optional)
    with pytest.raises(AdapterError):
        adapters.load("nothing")
