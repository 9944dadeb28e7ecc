"""What of a wheel was reviewed is what runs, and its digest tells all of it."""

from __future__ import annotations

import io
import py_compile
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from adapters.sdk import AdapterError, Limits
from adapters.sdk.versions import digest_of
from gateway.reading import process
from gateway.reading.editions import Edition, editions, tried
from gateway.reading.pool import Readers
from gateway.reading.wheels import opened
from tests.gateway.reading.wheels import SOURCE, packed, recorded, wheel

LIMITS = Limits(record_seconds=2.0, memory_mb=512)
POINTS = "harju-1.0.dist-info/entry_points.txt"
RECORD = "harju-1.0.dist-info/RECORD"
SAID = SOURCE.format(version="1.0", name="harju", copies=1)
OTHERWISE = SAID.replace('Text("Harju"', 'Text("Pahka"')


def beside(*paths: str) -> bytes:
    """The wheel of a package with further files."""
    return wheel("1.0", more={"harju.py": None, "harju/__init__.py": SAID, **dict.fromkeys(paths, "x")})


def altered(path: str, content: str | None) -> bytes:
    """The wheel with one file changed after it was packed, its RECORD left; None takes the file out."""
    files = {name: text.decode() for name, text in members(wheel("1.0", more={"harju.py": SAID})).items()}
    return packed([(name, text) for name, text in {**files, path: content}.items() if text is not None])


def members(data: bytes) -> Mapping[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def twice(path: str, other: str) -> bytes:
    """A wheel that holds two files of these names, both in its RECORD once."""
    files: list[tuple[str, str | bytes]] = [
        *((name, text) for name, text in members(beside()).items() if name != RECORD),
        (path, "reviewed"),
        (other, "runs"),
    ]
    return packed([*files, (RECORD, recorded(list(dict(files).items()), RECORD))])


def linked() -> bytes:
    out = io.BytesIO(wheel("1.0"))
    with zipfile.ZipFile(out, "a") as archive:
        link = zipfile.ZipInfo("harju.yaml")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    return out.getvalue()


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (beside("harju/__pycache__/__init__.cpython-311.pyc"), "harju/__pycache__/__init__.cpython-311.pyc .*compiled"),
        (beside("harju/__PyCache__/notes.txt"), "harju/__PyCache__/notes.txt .*compiled"),
        (beside("harju/codes.PYC"), "harju/codes.PYC .*compiled"),
        (beside("harju/codes.cpython-311-x86_64-linux-gnu.so"), "codes.cpython-311-x86_64-linux-gnu.so .*compiled"),
        (beside("harju/codes.zip"), "harju/codes.zip .*packed"),
        (beside("harju_more/__init__.py"), "brings harju_more beside harju;"),
        (beside("csv.py"), "brings csv.py beside harju;"),
        (beside("harju.py"), "brings harju.py beside harju;"),
        (beside("HARJU/mapping.yaml"), "HARJU/ and harju/, which some systems take for the same"),
        (beside("adapters.py"), "brings adapters.py, which would stand in for the node's own"),
        (beside("other-1.0.dist-info/METADATA"), "2 folders .dist-info"),
        (twice("harju/mapping.yaml", "harju/mapping.yaml"), "harju/mapping.yaml twice"),
        (twice("harju/mapping.yaml", "harju/Mapping.yaml"), "harju/Mapping.yaml and harju/mapping.yaml"),
        (twice("harju/y\u00f6.yaml", "harju/yo\u0308.yaml"), "harju/yo\u0308.yaml and harju/y\u00f6.yaml"),
        (twice("harju/codes", "harju/codes/x.yaml"), "harju/codes/ and harju/codes,"),
        (twice("harju/mapping.yaml", "./harju/mapping.yaml"), "'./harju/mapping.yaml' .*not written as a plain path"),
        (twice("harju/mapping.yaml", "harju//mapping.yaml"), "'harju//mapping.yaml' .*not written as a plain path"),
        (twice("harju/mapping.yaml", "harju\\mapping.yaml"), "outside of its folder"),
        (beside("harju/a\x1b[2Jb.yaml"), r"'harju/a\\x1b\[2Jb.yaml' .*not written as a plain path"),
        (linked(), "harju.yaml of the wheel is a link"),
        (altered("harju.py", OTHERWISE), "harju.py of the wheel is not the one of its RECORD"),
        (altered("harju.py", None), "harju.py stands in the wheel's RECORD and not in the wheel"),
        (altered(POINTS, f"{SAID}#"), f"{POINTS} of the wheel is not the one of its RECORD"),
        (altered("harju-1.0.dist-info/more", "x"), "dist-info/more stands in the wheel and not in its RECORD"),
        (altered(RECORD, None), f"lacks {RECORD}"),
        (altered(RECORD, "harju.py"), f"{RECORD} of the wheel cannot be read"),
        (altered(RECORD, "harju.py,,\nharju.py,,\n"), f"{RECORD} of the wheel names a file twice"),
        (wheel("1.0", more={"harju-1.0.dist-info/METADATA": None}), "lacks harju-1.0.dist-info/METADATA"),
        (
            wheel("1.0", more={POINTS: "[yhdyspinta.adapters]\nharju = koski:Harju\n"}),
            "brings harju.py beside koski.py",
        ),
        (wheel("1.0", more={POINTS: "[yhdyspinta.adapters]\nharju = adapters.canonical:X\n"}), "names adapters, which"),
        (wheel("1.0", more={"harju.py": None, "json.py": SAID, POINTS: POINTS}), "cannot be read"),
        (
            wheel("1.0", more={"harju.py": None, "j.py": "", POINTS: "[yhdyspinta.adapters]\nharju = json:Harju\n"}),
            "names json, which is not the adapter's own",
        ),
        (wheel("1.0", more={"harju.py": None, "harju/mapping.yaml": ""}), "lacks harju/__init__.py"),
    ],
    ids=range(33),
)
def test_wheel_in_which_something_else_could_run_is_refused_with_the_files_name(data: bytes, why: str) -> None:
    with pytest.raises(AdapterError, match=why):
        opened(data)


def test_wheel_is_refused_without_the_number_that_a_file_is_called_by() -> None:
    with pytest.raises(AdapterError, match=r"^harju/samples/….zip of the wheel is compiled or packed"):
        opened(beside("harju/samples/010190-999X.zip"))


def test_reader_gets_of_what_is_for_installers_only_what_the_digest_tells(tmp_path: Path) -> None:
    opened(wheel("1.0", more={"harju-1.0.dist-info/licenses/LICENSE": "x"})).unpack(tmp_path)

    found = {file.relative_to(tmp_path).as_posix() for file in tmp_path.rglob("*") if file.is_file()}
    assert found == {"harju.py", "harju-1.0.dist-info/METADATA", POINTS}


def test_files_alike_that_another_maker_or_version_is_told_of_are_another_version(tmp_path: Path) -> None:
    made = (SAID + "\nclass Koski(Harju): pass\n").replace("Limits, ", "")

    def digest(name: str, more: Mapping[str, str]) -> str:
        opened(wheel("1.0", source=made, more=more)).unpack(tmp_path / name)
        return tried(tmp_path / name, "harju", LIMITS).version.digest

    maker = {POINTS: "[yhdyspinta.adapters]\nharju = harju:Koski\n"}
    version = {"harju-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: harju\nVersion: 1.1\n"}
    assert len({digest("first", {}), digest("maker", maker), digest("version", version)}) == 3


def compiled(folder: Path, place: str) -> Path:
    """Bytecode that says otherwise, beside a source, and that Python holds against nothing."""
    source = folder / "otherwise.py"
    source.write_text(OTHERWISE)
    cache = folder / place
    py_compile.compile(str(source), str(cache), invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
    source.unlink()
    return cache


CACHE = f"__pycache__/harju.{sys.implementation.cache_tag}.pyc"


def test_bytecode_that_appears_beside_the_source_does_not_run(tmp_path: Path) -> None:
    opened(wheel("1.0", more={"harju.py": SAID})).unpack(tmp_path)
    agreed_on = tried(tmp_path, "harju", LIMITS)

    compiled(tmp_path, CACHE)

    assert tried(tmp_path, "harju", LIMITS) == agreed_on
    assert agreed_on.manifest.title.fi == "Harju"


def test_bytecode_of_an_installed_adapter_does_not_run_and_its_digest_is_that_of_its_wheel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = wheel("1.0", more={"harju.py": SAID})
    site, folder = tmp_path / "site", tmp_path / "taken"
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        archive.extractall(site)
    compiled(site, CACHE)
    monkeypatch.syspath_prepend(str(site))
    readers = Readers(1, LIMITS.memory_mb)
    try:
        (found,) = readers.ask({"do": "list"}, b"", LIMITS, "start", editions)
    finally:
        readers.close()
    opened(data).unpack(folder)

    (installed,) = [edition for edition in found if edition.manifest.name == "harju"]
    assert installed.manifest.title.fi == "Harju"
    assert installed == Edition(installed.manifest, tried(folder, "harju", LIMITS).version)


def test_file_beside_bytecode_that_is_none_changes_the_digest(tmp_path: Path) -> None:
    (tmp_path / "__pycache__").mkdir()
    before = digest_of(tmp_path)
    for name in ("x.cpython-311.pyc", "x.cpython-311.pyc.140002"):
        (tmp_path / "__pycache__" / name).write_bytes(b"x")
    assert digest_of(tmp_path) == before

    (tmp_path / "__pycache__" / "codes.yaml").write_bytes(b"x")

    assert digest_of(tmp_path) != before


@pytest.mark.parametrize("source", ["while True: pass", "import time\ntime.sleep(10**6)"], ids=["works", "waits"])
def test_adapter_that_never_ends_loading_is_refused_with_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    opened(wheel("1.0", source=source)).unpack(tmp_path)
    monkeypatch.setattr(process, "LOAD_SECONDS", 5.0)
    monkeypatch.setattr(process, "STILL_SECONDS", 5.0)

    with pytest.raises(AdapterError, match="seconds of processor time to load, or stands still"):
        tried(tmp_path, "harju", LIMITS)
