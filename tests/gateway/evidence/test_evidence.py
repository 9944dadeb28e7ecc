"""Evidence of an exchange: exported by the command, checked by the command, by openssl and by a JOSE library."""

from __future__ import annotations

import asyncio
import io
import re
import shutil
import sqlite3
import sys
import zipfile
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, select, text
from typer.testing import CliRunner

from audit.log.entries import Entry
from audit.log.log import Log
from audit.log.waiting import Written
from audit.questions.archive import archive_month, prune
from audit.questions.subjects import Subjects
from audit.tree.checkpoint import LogSigner, VerifierKey
from audit.tree.tiles import WIDTH
from gateway.cli.main import app
from gateway.evidence import package
from gateway.evidence.verifying import verify
from gateway.keys import ring
from gateway.keys.errors import TrustError
from gateway.node.rotation import Beside, Succession
from gateway.node.wiring import log_of, log_signer, secret, utc_now
from gateway.settings import load
from gateway.storage import engine as storage
from gateway.storage.engine import writer
from gateway.storage.sealing import SealError, unseal
from gateway.storage.tables import bodies
from tests import parts
from tests.gateway.evidence.conftest import Exchanged, StampingAuthority
from tests.gateway.evidence.following import checked, command, exported, flipped, followed, run
from tests.gateway.running import Running, running
from tests.properties import examples

pytestmark = pytest.mark.xdist_group("evidence")
RUNNER = CliRunner()


def root(exchanged: Exchanged) -> Path:
    return exchanged.nodes.network.folder / "root.json"


@pytest.mark.parametrize("party", ["centre", "kotka"])
@pytest.mark.parametrize("which", ["query", "refused", "handover", "acceptance"])
def test_evidence_of_either_side_verifies_offline(
    exchanged: Exchanged, authority: StampingAuthority, tmp_path: Path, party: str, which: str
) -> None:
    message_id = getattr(exchanged, which)
    file = exported(exchanged, party, message_id, tmp_path / "evidence.zip")

    code, report = command(
        "verify", str(file), "--root", str(root(exchanged)), "--timestamp-authority", str(authority.root)
    )

    assert code == 0, report
    assert report["sound"]
    assert report["anchored"]
    codes = [one["code"] for one in report["findings"]]
    kept = [] if (which in {"acceptance", "refused"} and party == "centre") or which == "acceptance" else None
    if kept is None:
        assert "request-body" in codes
    else:
        assert not {"request-body", "response-body"} & set(codes)
    assert {"request", "response", "log", "timestamp"} <= set(codes)
    assert {one["message_id"] for one in report["entries"]} == {message_id}
    assert file.stat().st_mode & 0o077 == 0, "the file is for its owner only"
    record = exchanged.nodes.entries(party, type="export")[-1]
    assert record.detail["message"] == message_id
    assert record.detail["bodies"] == len([one for one in codes if one.endswith("-body")])


def test_a_refusal_that_was_signed_is_evidence_too(exchanged: Exchanged, tmp_path: Path) -> None:
    report = verify(*package.read(exported(exchanged, "kotka", exchanged.refused, tmp_path / "e.zip").read_bytes()))

    assert report.response is not None
    assert report.response.status == 404
    assert [one.reason for one in report.entries if one.outcome == "refused"] == ["not-available"]


def test_the_bodies_are_left_out_on_request(exchanged: Exchanged, tmp_path: Path) -> None:
    file = exported(exchanged, "centre", exchanged.query, tmp_path / "e.zip", "--no-bodies")

    evidence, files = package.read(file.read_bytes())

    assert evidence.bodies == {}
    assert b"not part of this package" in files["README.txt"]
    assert verify(evidence, files).sound
    assert exchanged.nodes.entries("centre", type="export")[-1].detail["bodies"] == 0


@pytest.mark.parametrize("party", ["centre", "kotka"])
def test_the_readme_is_followed_literally_with_openssl_and_a_jose_library(
    exchanged: Exchanged, authority: StampingAuthority, tmp_path: Path, party: str
) -> None:
    parts.tool("openssl", "Install openssl 3.")
    file = exported(exchanged, party, exchanged.query, tmp_path / "e.zip")
    folder = tmp_path / "unpacked"
    with zipfile.ZipFile(file) as archive:
        archive.extractall(folder)
    readme = (folder / "README.txt").read_text()

    seen = followed(folder)
    assert all(ended_well for ended_well, _ in seen)

    text = "\n".join(said for _, said in seen)
    # The municipality signs with Ed25519, the centre with P-256; the log with Ed25519.
    assert text.count("Verified OK") == 1
    assert text.count("Signature Verified Successfully") == 2
    assert text.count(".pem: OK") == 2
    evidence, files = package.read(file.read_bytes())
    report = verify(evidence, files)
    assert report.request is not None
    assert report.response is not None
    for claim in (f'"dig":"{report.request.digest}"', f'"dig":"{report.response.digest}"'):
        assert claim in text, "what openssl computes is what was signed"
    assert f'"req":"{report.response.request}"' in text
    assert f'"pur":"{report.request.purpose}"' in text, "a person reads what was signed"

    (check,) = re.findall(r"^    > python3 (\S+)$", readme, re.MULTILINE)
    _, printed = run(f"{sys.executable} {check}", folder)
    assert "request.jws is signed for FI-DEMO/MUN/9000003-8/kotoutuminen" in printed
    assert "response.jws is signed for FI-DEMO/GOV/9000001-1/vastaanotto/palvelutarve" in printed

    assert (folder / "timestamp" / "authority.pem").read_bytes() == authority.root.read_bytes()
    assert "Verification: OK" in text


def test_without_a_root_of_ones_own_the_report_says_so(exchanged: Exchanged, tmp_path: Path) -> None:
    file = exported(exchanged, "kotka", exchanged.query, tmp_path / "e.zip")

    result = RUNNER.invoke(app, ["evidence", "verify", str(file)])

    assert result.exit_code == 0
    assert "root was taken from the package itself" in result.stdout.replace("\n", " ")


def test_the_root_of_another_network_does_not_vouch(exchanged: Exchanged, tmp_path: Path) -> None:
    from gateway.registry.read.entries import Content
    from gateway.registry.run.authority import Authority
    from texts import Text

    other = Authority(tmp_path / "other", b"passphrase")
    other.create(Content("FI-OTHER", Text("a", "b", "c"), rulebook=b"rules: []\n"), datetime.now(UTC))
    file = exported(exchanged, "kotka", exchanged.query, tmp_path / "e.zip")

    report = verify(*package.read(file.read_bytes()), root=other.publisher.root())

    assert [(finding.code, finding.holds) for finding in report.findings] == [
        ("request", False),
        ("registry", True),
        ("files", True),
    ]


def other_signature(jws: bytes) -> bytes:
    head, claims, signature = jws.split(b".")
    return b".".join((head, claims, signature[:20][::-1] + signature[20:]))


def without_entry(export: bytes) -> bytes:
    document = orjson.loads(export)
    return orjson.dumps(document | {"entries": document["entries"][:1]})


def about_another(export: bytes) -> bytes:
    document = orjson.loads(export)
    for item in document["entries"]:
        item["entry"] = item["entry"].replace("success", "partial")
    return orjson.dumps(document)


ALTERED: dict[str, tuple[str, Any, str]] = {
    "the request's signature": ("request.jws", other_signature, "request"),
    "the response's signature": ("response.jws", other_signature, "response"),
    "the response of another exchange": ("response.jws", "request.jws", "response"),
    "the request's body": ("bodies/request", lambda body: flipped(body, 3), "request-body"),
    "the response's body": ("bodies/response", lambda body: body + b" ", "response-body"),
    "the bodies swapped": ("bodies/response", "bodies/request", "response-body"),
    "the log's entry": ("log/export.json", about_another, "log"),
    "the log without the answer": ("log/export.json", without_entry, "log"),
    "the log's export is no JSON": ("log/export.json", lambda _: b"{", "log"),
    "a member's certificate in the registry": (
        "registry/*/targets/members.json", lambda data: flipped(data, 700), "request",
    ),
    "the registry's timestamp": (
        "registry/*/metadata/timestamp.json", lambda data: data.replace(b'"version":', b'"version": 1'), "request",
    ),
    "the registry's delegation": (
        "registry/*/metadata/targets.json", lambda data: data.replace(b'"threshold":1', b'"threshold":2'), "request",
    ),
    "the time stamp": ("timestamp/checkpoint.tsr", lambda data: flipped(data, len(data) - 5), "timestamp"),
}  # fmt: skip


@pytest.mark.parametrize("name", ALTERED)
def test_what_was_altered_is_named(sound: dict[str, bytes], name: str) -> None:
    pattern, change, code = ALTERED[name]
    place = next(one for one in sound if re.fullmatch(pattern.replace("*", "[0-9]+"), one))
    content = sound[change] if isinstance(change, str) else change(sound[place])
    assert content != sound[place], "the test alters something"

    report = checked(sound | {place: content})

    assert not report.sound
    assert code in [one.code for one in report.findings if not one.holds]


def test_time_stamp_over_another_checkpoint_is_named(
    exchanged: Exchanged, sound: dict[str, bytes], tmp_path: Path
) -> None:
    later = package.read(exported(exchanged, "kotka", exchanged.query, tmp_path / "e.zip").read_bytes())[1]

    report = checked(sound | {"timestamp/export.json": later["log/export.json"]})

    assert "timestamp" in [finding.code for finding in report.findings if not finding.holds]


def zipped(*files: tuple[str, bytes]) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files:
            archive.writestr(name, content)
    return target.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no zip",
        zipped(),
        zipped((package.MANIFEST, b"{}")),
        zipped((package.MANIFEST, b'{"format": "something/9"}')),
        zipped(("../../escape", b"x")),
        zipped(("/etc/passwd", b"x")),
        zipped(("a" * 3000, b"x")),
        zipped(*((f"f{number}", b"") for number in range(package.COUNT_LIMIT + 1))),
        zipped(("bomb", bytes(package.FILE_LIMIT + 1))),
    ],
    ids=["empty", "no zip", "no files", "no format", "other format", "climbs out", "absolute", "long name", "many",
         "bomb"],
)  # fmt: skip
def test_a_file_that_is_no_evidence_is_refused_before_it_is_unpacked(data: bytes) -> None:
    with pytest.raises(TrustError) as refused:
        package.read(data)

    assert refused.value.code == "evidence-malformed"


def commented(data: bytes) -> bytes:
    target = io.BytesIO(data)
    with zipfile.ZipFile(target, "a") as archive:
        archive.comment = b"the amount was 12 000"
    return target.getvalue()


def remarked(data: bytes) -> bytes:
    """The same files, one of them with a remark of its own."""
    target = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(target, "w") as archive:
        for number, entry in enumerate(source.infolist()):
            info = zipfile.ZipInfo(entry.filename)
            info.comment = b"" if number else b"a remark"
            archive.writestr(info, source.read(entry))
    return target.getvalue()


def extended(data: bytes) -> bytes:
    """The same files, one of them with a field that nobody reads."""
    target = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(target, "w") as archive:
        for number, entry in enumerate(source.infolist()):
            info = zipfile.ZipInfo(entry.filename)
            info.extra = b"" if number else b"\x99\x99\x04\x00more"
            archive.writestr(info, source.read(entry))
    return target.getvalue()


@pytest.mark.parametrize(
    "changed",
    [commented, remarked, extended, lambda data: b"<html>" + data, lambda data: data + b"</html>"],
    ids=["comment", "comment of a file", "field of a file", "bytes before", "bytes behind"],
)
def test_a_package_that_holds_more_than_its_files_is_refused(
    exchanged: Exchanged, tmp_path: Path, changed: Callable[[bytes], bytes]
) -> None:
    data = exported(exchanged, "kotka", exchanged.query, tmp_path / "evidence.zip").read_bytes()
    assert package.read(data)

    with pytest.raises(TrustError) as refused:
        package.read(changed(data))

    assert refused.value.code == "evidence-malformed"


def test_what_cannot_be_exported_is_said(exchanged: Exchanged, tmp_path: Path) -> None:
    config = str(exchanged.nodes.party("kotka").config)
    there = tmp_path / "there.zip"
    there.write_bytes(b"mine")

    unknown = command("export", "01890000-0000-7000-8000-000000000000", "-o", str(tmp_path / "n.zip"), "-c", config)
    taken = command("export", exchanged.query, "-o", str(there), "-c", config)

    assert unknown[0] == 1
    assert "no signed message" in unknown[1]["error"]
    assert taken[0] == 2
    assert there.read_bytes() == b"mine"
    assert not (tmp_path / "n.zip").exists()


def test_an_exchange_whose_log_entries_were_archived_is_proven_with_the_archive(
    exchanged: Exchanged, tmp_path: Path
) -> None:
    copy = copied(exchanged.nodes.party("centre").folder, tmp_path / "centre")
    engine, log, log_key = opened_log(copy)
    fill = [Entry(type="registry", outcome="success", recorded=datetime.now(UTC)) for _ in range(WIDTH)]
    log.append_blocking(fill)
    log.close()
    with writer(engine).begin() as connection:
        archive_month(connection, tmp_path / "archive", "2026-11", range(WIDTH), now=datetime.now(UTC))
    prune(engine, tmp_path / "archive", "2026-11", log_key=log_key, now=datetime.now(UTC) + timedelta(days=2))
    engine.dispose()
    options = ["--output", str(tmp_path / "e.zip"), "--config", str(copy / "node.toml")]

    without = command("export", exchanged.query, *options)
    found = command("export", exchanged.query, *options, "--archive", str(tmp_path / "archive"))

    assert without[0] == 1
    assert "--archive" in without[1]["remedy"]
    assert found[0] == 0, found
    report = verify(*package.read((tmp_path / "e.zip").read_bytes()), root=root(exchanged).read_bytes())
    assert report.sound
    assert {one.message_id for one in report.entries} == {exchanged.query}


def test_what_came_of_an_exchange_later_does_not_make_its_evidence_doubtful(
    exchanged: Exchanged, tmp_path: Path
) -> None:
    copy = copied(exchanged.nodes.party("kotka").folder, tmp_path / "kotka")
    engine, log, _ = opened_log(copy, origin="yhdyspinta/kotka.demo")
    duty = Entry(type="obligation", outcome="requested", recorded=datetime.now(UTC), message_id=exchanged.query)
    log.append_blocking((duty,))
    log.close()
    engine.dispose()

    code, said = command(
        "export", exchanged.query, "--output", str(tmp_path / "e.zip"), "--config", str(copy / "node.toml")
    )

    assert code == 0, said
    report = verify(*package.read((tmp_path / "e.zip").read_bytes()), root=root(exchanged).read_bytes())
    assert report.sound, report
    assert "obligation" not in {entry.type for entry in report.entries}


def test_an_exchange_of_before_the_logs_key_changed_is_proven_by_the_key_that_was_listed_then(
    exchanged: Exchanged, authority: StampingAuthority, tmp_path: Path
) -> None:
    copy = copied(exchanged.nodes.party("centre").folder, tmp_path / "centre")
    settings = load(copy / "node.toml", {})
    path = settings.secrets.log_key
    ring.replace(path, (*ring.read(path), ring.new()))
    engine = storage.create(settings.database.url)
    log = log_of(settings, engine)
    log.start()
    coming = log_signer(settings).coming
    Succession(Beside(settings, engine, log, utc_now, lambda: None, "u" * 32), str(coming)).carry_out()
    log.sign_by(log_signer(settings))
    log.append_blocking((Entry(type="registry", outcome="success", recorded=utc_now()),))
    log.close()
    engine.dispose()

    code, said = command(
        "export", exchanged.query, "--output", str(tmp_path / "e.zip"), "--config", str(copy / "node.toml")
    )

    assert code == 0, said
    report = verify(
        *package.read((tmp_path / "e.zip").read_bytes()),
        root=root(exchanged).read_bytes(),
        timestamp_authorities=[authority.root.read_bytes()],
    )
    assert report.sound, report
    assert {"log", "timestamp"} <= {finding.code for finding in report.findings}


def copied(folder: Path, target: Path) -> Path:
    """A node's folder as a backup has it, its database in one piece."""
    shutil.copytree(folder, target, ignore=shutil.ignore_patterns("node.db*"))
    source, copy = sqlite3.connect(folder / "node.db"), sqlite3.connect(target / "node.db")
    source.backup(copy)
    source.close()
    copy.close()
    return target


def opened_log(
    folder: Path, url: str | None = None, origin: str = "yhdyspinta/centre.demo"
) -> tuple[Engine, Log, VerifierKey]:
    """A node's log, opened beside it as commands do."""
    key = Ed25519PrivateKey.from_private_bytes(secret(folder / "secrets" / "log.key"))
    signer = LogSigner(key, origin)
    engine = storage.create(url or f"sqlite:///{folder / 'node.db'}")
    log = Log(engine, signer, origin=signer.name, clock=lambda: datetime.now(UTC))
    log.start()
    return engine, log, signer.verifier


@examples(60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_is_done_to_a_package_verification_answers_and_never_breaks(
    sound: dict[str, bytes], data: st.DataObject
) -> None:
    name = data.draw(st.sampled_from(sorted(sound)))
    content = sound[name]
    at = data.draw(st.integers(0, max(0, len(content) - 1)))
    change = data.draw(st.sampled_from(["flip", "cut", "drop", "double", "insert"]))
    bit = 1 << data.draw(st.integers(0, 7))
    altered = {
        "flip": content[:at] + bytes([content[at] ^ bit]) + content[at + 1 :],
        "cut": content[:at],
        "drop": b"",
        "double": content + content,
        "insert": content[:at] + b"{" + content[at:],
    }[change]
    codes = problems_of(sound | {name: altered})

    # What the registry signed is compared as The Update Framework does, which reads blanks as nothing.
    is_same = altered.strip() == content.strip() if name.startswith("registry/") else altered == content
    # Whoever gives no time stamp authority of their own believes the package's.
    if not is_same and name != "timestamp/authority.pem":
        assert codes, f"{name} was altered ({change}), and nothing was said"


def problems_of(files: Mapping[str, bytes]) -> list[str]:
    """What does not hold, or that the package cannot be read at all. Anything else that is raised is a fault."""
    try:
        return [one.code for one in checked(files).findings if not one.holds]
    except TrustError as refused:
        return [refused.code]


def test_after_a_persons_key_is_destroyed_bodies_are_gone_and_everything_else_verifies(
    exchanged: Exchanged, tmp_path: Path
) -> None:
    """The last test of the module: it destroys what the others export."""
    before = exported(exchanged, "centre", exchanged.query, tmp_path / "before.zip")
    assert set(package.read(before.read_bytes())[0].bodies) == {"request", "response"}
    (kept,) = exchanged.nodes.rows(
        "centre", select(bodies).where(bodies.c.message_id == exchanged.query, bodies.c.part == "response")
    )
    assert b"Patient" not in kept.sealed
    destroy(exchanged.nodes, kept.subject)

    after = exported(exchanged, "centre", exchanged.query, tmp_path / "after.zip")

    evidence, files = package.read(after.read_bytes())
    assert evidence.bodies == {}
    report = verify(evidence, files, root=root(exchanged).read_bytes())
    assert report.sound
    assert report.response is not None
    still = exchanged.nodes.rows("centre", select(bodies.c.sealed).where(bodies.c.message_id == exchanged.query))
    assert still, "the sealed bodies are noise, wherever they linger"
    with pytest.raises(SealError):
        unseal(bytes(32), f"bodies/{exchanged.query}/response", bytes(kept.sealed))
    assert verify(*package.read(before.read_bytes()), root=root(exchanged).read_bytes()).sound


def destroy(nodes: Running, subject: str) -> None:
    """What the officer's command does at the centre, beside the running node."""
    folder = nodes.party("centre").folder
    subjects = Subjects(secret(folder / "secrets" / "wrapping.key"), secret(folder / "secrets" / "index.key"))
    url = nodes.database.format(name="centre") if nodes.database else None
    engine, log, _ = opened_log(folder, url)

    def unit(connection: Connection) -> Written[None]:
        subjects.destroy(connection, subject, datetime.now(UTC))
        return Written(None, (Entry(type="key", outcome="success", recorded=datetime.now(UTC)),))

    log.commit_blocking(unit)
    log.close()
    engine.dispose()


def test_on_postgresql_bodies_are_sealed_proven_and_shredded_alike(postgresql_server: str, tmp_path: Path) -> None:
    admin = storage.create(postgresql_server).execution_options(isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        for name in ("centre", "kotka"):
            connection.execute(text(f"CREATE DATABASE evidence_{name}"))
    admin.dispose()
    url = storage.make_url(postgresql_server).set(database="evidence_NAME", drivername="postgresql+psycopg")
    database = url.render_as_string(hide_password=False).replace("NAME", "{name}")
    with running(tmp_path, database=database) as nodes:
        message_id = asyncio.run(asked(nodes))
        exchanged = Exchanged(nodes, message_id, "", "", "")
        before = exported(exchanged, "centre", message_id, tmp_path / "before.zip")
        (row, *_) = nodes.rows("centre", select(bodies.c.subject).where(bodies.c.message_id == message_id))

        destroy(nodes, row.subject)

        after = exported(exchanged, "centre", message_id, tmp_path / "after.zip")
        reports = [
            verify(*package.read(file.read_bytes()), root=root(exchanged).read_bytes()) for file in (before, after)
        ]
    codes = [{one.code for one in report.findings} for report in reports]
    assert all(report.sound for report in reports)
    assert codes[0] - codes[1] == {"request-body", "response-body"}


async def asked(nodes: Running) -> str:
    """The id of a query that was answered."""
    async with nodes.client("kotka") as session, session.post("/v1/queries", json=nodes.question()) as answer:
        assert answer.status == 200, await answer.text()
        return str((await answer.json())["message_id"])
