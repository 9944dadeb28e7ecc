"""`yhdyspinta audit` as an operator meets it: exit codes, JSON for scripts, words for people."""

from __future__ import annotations

import base64
import json
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import Result
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Connection, Engine, func, select
from typer.testing import CliRunner

from audit.log.entries import Agents, Categories, Entry
from audit.log.log import Log
from audit.log.tables import entries, identifiers
from audit.log.tables import subjects as subjects_table
from audit.log.waiting import Written
from audit.questions.query import Filters, walk
from audit.questions.subjects import Subjects
from audit.tree.checkpoint import Checkpoint, LogSigner
from audit.tree.proofs import export_proofs
from gateway.cli.main import app
from gateway.storage import engine as storage
from schemas.identifiers import HETU, MIGRI_CUSTOMER
from tests.databases import migrate
from tests.people import joined

NODE = "kotka-1"
MEMBER = "FI-DEMO/MUN/0000001-2"
ORIGIN = f"yhdyspinta/{NODE}"
KEY = b"\x05" * 32
SIGNER = LogSigner(Ed25519PrivateKey.from_private_bytes(KEY), ORIGIN)
START = datetime(2026, 10, 1, 8, 0, tzinfo=UTC)
SETTINGS = """
[node]
id = "kotka-1"
subsystems = ["FI-DEMO/MUN/0000001-2/kotoutuminen"]
[database]
url = "sqlite:///node.db"
[registry]
source = "registry"
root = "root.json"
[listen]
peers = "127.0.0.1:0"
clients = "127.0.0.1:0"
local = "127.0.0.1:0"
[tls.peers]
certificate = "tls.pem"
key = "tls.key"
[signing]
certificate = "signing.pem"
key = "signing.key"
"""
Invoke = Callable[..., Result]


def entry(at: datetime, **fields: object) -> Entry:
    return Entry(
        "query",
        "success",
        at,
        agents=Agents(client="casework", user="u-1", node=NODE, recipient="FI-DEMO/MUN/0000001-2/kotoutuminen"),
        source="FI-DEMO/GOV/0000000-0/vastaanotto",
        purpose="service-need-lookup",
        bases=("basis-1",),
        **{"categories": Categories(("identity",)), **fields},  # type: ignore[arg-type]
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A node's folder: settings, keys, and a log of 600 entries with a checkpoint every two minutes."""
    (tmp_path / "node.toml").write_text(SETTINGS)
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "log.key").write_bytes(base64.b64encode(KEY))
    (tmp_path / "secrets" / "wrapping.key").write_bytes(base64.b64encode(b"\x01" * 32))
    (tmp_path / "secrets" / "index.key").write_bytes(base64.b64encode(b"\x02" * 32))
    return tmp_path


@pytest.fixture
def engine(folder: Path) -> Engine:
    engine = storage.create(f"sqlite:///{folder / 'node.db'}")
    migrate(engine)
    return engine


@pytest.fixture
def given(engine: Engine) -> list[Checkpoint]:
    now = START
    log = Log(engine, SIGNER, origin=ORIGIN, clock=lambda: now)
    log.start()
    given = []
    for _ in range(6):
        now += timedelta(minutes=2)
        given.append(log.append_blocking([entry(now) for _ in range(100)]).checkpoint)
    log.close()
    return given


@pytest.fixture
def invoke(folder: Path) -> Invoke:
    def run(*arguments: str, **options: str) -> Result:
        return CliRunner().invoke(app, ["audit", *arguments], **options)  # type: ignore[arg-type]

    return run


def tamper(folder: Path, *statements: str) -> None:
    with sqlite3.connect(folder / "node.db") as connection:
        for (trigger,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            connection.execute(f"DROP TRIGGER {trigger}")
        for statement in statements:
            connection.execute(statement)


def test_check_of_a_whole_log_ends_with_0(folder: Path, given: list[Checkpoint], invoke: Invoke) -> None:
    told = invoke("check", "--config", str(folder / "node.toml"), "--json")
    assert told.exit_code == 0, told.output
    document = json.loads(told.stdout)
    assert (document["sound"], document["size"], document["findings"]) == (True, 600, [])
    assert base64.b64decode(document["root"]) == given[-1].root
    assert "none altered" in invoke("check", "--config", str(folder / "node.toml")).stdout


def test_check_of_the_newest_entries_reads_no_others(folder: Path, given: list[Checkpoint], invoke: Invoke) -> None:
    tamper(folder, "UPDATE audit_entries SET body = replace(body, 'u-1', 'u-2') WHERE idx IN (10, 520)")
    told = invoke("check", "--config", str(folder / "node.toml"), "--newest", "100", "--json")
    assert told.exit_code == 1
    document = json.loads(told.stdout)
    assert [one["index"] for one in document["findings"]] == [520]
    assert 100 <= document["checked"] < 600
    assert invoke("check", "--config", str(folder / "node.toml"), "--newest", "0").exit_code == 2


def test_check_ends_with_1_and_names_the_first_affected_entry(
    folder: Path, given: list[Checkpoint], invoke: Invoke
) -> None:
    tamper(folder, "UPDATE audit_entries SET body = replace(body, 'u-1', 'u-2') WHERE idx IN (321, 455)")
    told = invoke("check", "--config", str(folder / "node.toml"), "--json")
    assert told.exit_code == 1
    first = json.loads(told.stdout)["findings"][0]
    assert (first["kind"], first["index"]) == ("altered", 321)
    said = invoke("check", "--config", str(folder / "node.toml"))
    assert said.exit_code == 1
    assert "first affected record is 322 (altered)" in said.stdout


def test_check_holds_the_log_against_checkpoints_of_others(
    folder: Path, given: list[Checkpoint], invoke: Invoke
) -> None:
    beyond = SIGNER.sign(700, b"\x01" * 32)
    seen = folder / "seen.txt"
    seen.write_text(given[0].note + "\n" + given[3].note + beyond.note)
    told = invoke("check", "--config", str(folder / "node.toml"), "--seen", str(seen), "--json")
    assert told.exit_code == 1
    (finding,) = json.loads(told.stdout)["findings"]
    assert (finding["kind"], finding["index"], finding["through"]) == ("truncated", 600, 699)
    listed = folder / "seen.json"
    listed.write_text(json.dumps([{"note": given[2].note}]))
    assert invoke("check", "--config", str(folder / "node.toml"), "--seen", str(listed)).exit_code == 0


def test_check_needs_the_verifier_key_once_the_key_is_lost(
    folder: Path, given: list[Checkpoint], invoke: Invoke
) -> None:
    (folder / "secrets" / "log.key").unlink()
    told = invoke("check", "--config", str(folder / "node.toml"), "--json")
    assert told.exit_code == 2
    assert "--log-key" in json.loads(told.stdout)["remedy"]
    assert not (folder / "secrets" / "log.key").exists(), "a check makes no keys"
    key = str(SIGNER.verifier)
    assert invoke("check", "--config", str(folder / "node.toml"), "--log-key", key).exit_code == 0
    (folder / "log.pub").write_text(key + "\n")
    public = str(folder / "log.pub")
    assert invoke("check", "--config", str(folder / "node.toml"), "--log-key", public).exit_code == 0


def test_check_with_another_key_says_that_the_log_did_not_sign(
    folder: Path, given: list[Checkpoint], invoke: Invoke
) -> None:
    (folder / "secrets" / "log.key").write_bytes(base64.b64encode(b"\x06" * 32))
    told = invoke("check", "--config", str(folder / "node.toml"), "--json")
    assert told.exit_code == 1
    assert json.loads(told.stdout)["findings"][0]["kind"] == "head"


def test_check_without_a_database_ends_with_3_and_makes_none(folder: Path, invoke: Invoke) -> None:
    told = invoke("check", "--config", str(folder / "node.toml"), "--json")
    assert told.exit_code == 3
    assert json.loads(told.stdout)["exit_code"] == 3
    assert not (folder / "node.db").exists()
    (folder / "node.db").write_bytes(b"this is no database, it is a text that says so, and it is long enough" * 20)
    assert invoke("check", "--config", str(folder / "node.toml")).exit_code == 3


def test_check_with_settings_that_are_wrong_ends_with_2(folder: Path, invoke: Invoke) -> None:
    (folder / "node.toml").write_text("[node]\n")
    told = invoke("check", "--config", str(folder / "node.toml"), "--json")
    assert told.exit_code == 2
    assert json.loads(told.stdout)["problems"]


def test_export_is_verified_without_node_and_database(
    folder: Path, engine: Engine, given: list[Checkpoint], invoke: Invoke
) -> None:
    with engine.connect() as connection:
        whole = export_proofs(connection, dict.fromkeys([0, 321]), log_key=SIGNER.verifier, earlier=[given[0].note])
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "proof.json").write_bytes(whole)
    told = invoke("verify", str(elsewhere / "proof.json"), "--log-key", str(SIGNER.verifier), "--json")
    assert told.exit_code == 0, told.output
    document = json.loads(told.stdout)
    assert (document["sound"], document["trusted"]) == (True, True)
    assert [item["index"] for item in document["entries"]] == [0, 321]
    assert [item["size"] for item in document["earlier"]] == [100]
    said = invoke("verify", str(elsewhere / "proof.json"))
    assert said.exit_code == 0
    assert "taken from the file itself" in said.stdout.replace("\n", " ")

    (elsewhere / "proof.json").write_bytes(whole.replace(b"u-1", b"u-2", 1))
    told = invoke("verify", str(elsewhere / "proof.json"), "--json")
    assert told.exit_code == 1
    assert [item["index"] for item in json.loads(told.stdout)["problems"]] == [0]


@pytest.mark.parametrize("content", [None, b"", b"{}", b'{"format":"something else"}', b"\xff\xfe"])
def test_what_is_no_export_ends_with_2(folder: Path, invoke: Invoke, content: bytes | None) -> None:
    if content is not None:
        (folder / "proof.json").write_bytes(content)
    told = invoke("verify", str(folder / "proof.json"), "--json")
    assert told.exit_code == 2
    assert "error" in json.loads(told.stdout)


def test_key_that_is_none_ends_with_2(folder: Path, invoke: Invoke) -> None:
    (folder / "proof.json").write_bytes(b"{}")
    assert invoke("verify", str(folder / "proof.json"), "--log-key", "name+beef+AAAA").exit_code == 2


# -- the officer's questions -------------------------------------------------------------------------------------------

HETU_CODE = "010190-900P"


@pytest.fixture
def person(engine: Engine, given: list[Checkpoint]) -> str:
    """A person of the log, known by identity code and customer number: two disclosures and one refusal."""
    now = datetime.now(UTC)
    subjects = Subjects(b"\x01" * 32, b"\x02" * 32, members=(MEMBER,))
    log = Log(engine, SIGNER, origin=ORIGIN, clock=lambda: now)
    log.start()

    def unit(connection: Connection) -> Written[str]:
        subject = joined(connection, subjects, [(HETU, HETU_CODE), (MIGRI_CUSTOMER, "7000001")], now)
        case = subjects.case("KOTKA-2026-17")
        given = entry(now, subject=subject.pseudonym, categories=Categories(("identity", "housing"), ("health-needs",)))
        again = entry(now, subject=subject.pseudonym, case=case, categories=Categories(("identity",)))
        refused = replace(entry(now, subject=subject.pseudonym, reason="not-permitted"), outcome="refused")
        return Written(subject.pseudonym, (given, again, refused))

    pseudonym = log.commit_blocking(unit).value
    log.close()
    return pseudonym


@pytest.fixture
def reads(engine: Engine) -> Callable[[], list[Entry]]:
    """What the log says about reading it."""

    def found() -> list[Entry]:
        with engine.connect() as connection:
            return [
                item.entry for item in walk(connection, Filters(types=("console-read", "export", "key"))) if item.entry
            ]

    return found


@pytest.fixture
def ask(folder: Path, invoke: Invoke) -> Invoke:
    return lambda command, *rest, **options: invoke(command, *rest, "--config", str(folder / "node.toml"), **options)


@pytest.mark.parametrize(("system", "value"), [("hetu", HETU_CODE), ("migri", "7000001"), ("hetu", HETU_CODE.lower())])
def test_person_is_found_by_each_identifier_and_the_reading_is_on_record(
    ask: Invoke, person: str, reads: Callable[[], list[Entry]], system: str, value: str
) -> None:
    told = ask("search", "disclosures", "--person", "--system", system, "--json", input=f"{value}\n")
    assert told.exit_code == 0, told.output
    found = json.loads(told.stdout)["found"]
    assert [item["index"] for item in found] == [601, 600]
    (read,) = reads()
    assert (read.type, read.outcome) == ("console-read", "success")
    # On record under the identifier that was looked for; the person is found under each.
    assert (read.subject == person) == (system == "hetu")
    assert read.subject is not None
    assert (read.agents.client, read.detail["question"]) == ("command-line", "disclosures")
    assert read.agents.user is not None
    assert value not in read.canonical().decode()


def test_search_for_nobody_finds_nothing_and_is_on_record_too(
    ask: Invoke, person: str, reads: Callable[[], list[Entry]]
) -> None:
    told = ask("search", "person", "--person", "--json", input="010190-901R\n")
    assert told.exit_code == 1
    assert json.loads(told.stdout)["found"] == []
    assert [(one.outcome, one.subject) for one in reads()] == [("not-found", None)]


def test_pages_follow_each_other_without_gap(ask: Invoke, given: list[Checkpoint]) -> None:
    indexes: list[int] = []
    after: list[str] = []
    for _ in range(7):
        told = ask("search", "--where", "purpose=service-need-lookup", "--limit", "100", "--oldest", "--json", *after)
        page = json.loads(told.stdout)
        indexes += [item["index"] for item in page["found"]]
        if page["next"] is None:
            break
        after = ["--after", page["next"]]
    assert indexes == list(range(600))


def test_search_in_words_and_by_case(ask: Invoke, person: str) -> None:
    told = ask("search", "--case", "KOTKA-2026-17")
    assert told.exit_code == 0
    assert "identity" in told.stdout
    told = ask("timeline", "--case", "KOTKA-2026-17", "--json")
    story = [(item["index"], item["entry"]["type"]) for item in json.loads(told.stdout)["found"]]
    assert story == [(601, "query"), (603, "console-read")], "that somebody read of the case belongs to it"
    assert ask("timeline", "--case", "KOTKA-2026-18").exit_code == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ("search", "no-such-question"),
        ("search", "person"),
        ("search", "--where", "colour=red"),
        ("search", "--where", "type=gossip"),
        ("search", "--where", "purpose=a", "--where", "purpose=b"),
        ("search", "--after", "not-a-cursor"),
        ("search", "--from", "2026-10-02", "--to", "2026-10-01"),
        ("timeline",),
        ("timeline", "--entry", "a", "--case", "b"),
    ],
)
def test_questions_that_make_no_sense_end_with_2_and_are_not_recorded(
    ask: Invoke, given: list[Checkpoint], reads: Callable[[], list[Entry]], arguments: tuple[str, ...]
) -> None:
    told = ask(*arguments, "--json")
    assert told.exit_code == 2, told.output
    assert json.loads(told.stdout)["error"]
    assert reads() == []


def test_proof_of_an_entry_goes_out_as_a_file_and_is_verified(
    ask: Invoke, invoke: Invoke, folder: Path, person: str, given: list[Checkpoint], reads: Callable[[], list[Entry]]
) -> None:
    first = json.loads(ask("search", "--limit", "1", "--oldest", "--json").stdout)["found"][0]["entry"]["id"]
    (folder / "earlier.txt").write_text(given[1].note)
    proof = str(folder / "proof.json")
    told = ask("prove", first, "601", "--output", proof, "--earlier", str(folder / "earlier.txt"), "--json")
    assert told.exit_code == 0, told.output
    assert json.loads(told.stdout)["entries"] == 2
    document = json.loads(invoke("verify", proof, "--log-key", str(SIGNER.verifier), "--json").stdout)
    assert document["sound"]
    assert [item["index"] for item in document["entries"]] == [0, 600]
    assert [item["size"] for item in document["earlier"]] == [200]
    assert ask("prove", "99999", "--json").exit_code == 1
    assert [(one.type, one.detail.get("entries")) for one in reads()][1:] == [("export", 2), ("export", 0)]


@pytest.mark.parametrize("form", ["csv", "jsonl", "fhir"])
def test_export_holds_every_entry_found(ask: Invoke, folder: Path, person: str, form: str) -> None:
    path = folder / f"export.{form}"
    told = ask("export", "person", "--person", "--format", form, "--output", str(path), input=HETU_CODE)
    assert told.exit_code == 0, told.output
    text = path.read_text()
    assert text.count(person) == 3
    if form == "fhir":
        assert len(json.loads(text)["entry"]) == 3
    else:
        assert len(text.splitlines()) == {"csv": 4, "jsonl": 3}[form]


@pytest.mark.parametrize("language", ["fi", "sv", "en"])
def test_extract_and_record_of_processing_are_printable_pages(
    ask: Invoke, folder: Path, person: str, language: str
) -> None:
    page = folder / "extract.html"
    told = ask("extract", "--language", language, "--output", str(page), input=HETU_CODE)
    assert told.exit_code == 0, told.output
    text = page.read_text()
    assert f'lang="{language}"' in text
    assert text.count("<tr>") == 2 + 1 + 1 + 1, "two disclosures and a refusal, each table with its heading"
    assert HETU_CODE not in text
    told = ask("report", str(datetime.now(UTC).year), "--language", language, "--json")
    assert told.exit_code == 0, told.output
    (line,) = [one for one in json.loads(told.stdout)["lines"] if one["activity"]["purpose"] == "service-need-lookup"]
    assert (line["recipients"][0]["released"], line["recipients"][0]["refused"]) == (602, 1)


def test_archived_month_stays_searchable_and_provable(
    ask: Invoke, invoke: Invoke, folder: Path, engine: Engine, given: list[Checkpoint]
) -> None:
    told = ask("archive", str(folder / "archive"), "--prune", "--json")
    assert told.exit_code == 0, told.output
    assert [(one["first"], one["through"]) for one in json.loads(told.stdout)] == [(0, 512)]
    with engine.connect() as connection:
        assert connection.scalar(select(func.min(entries.c.idx))) == 512
    told = ask("search", "--where", "basis=basis-1", "--oldest", "--limit", "1000", "--json")
    assert [item["index"] for item in json.loads(told.stdout)["found"]] == list(range(600))
    assert ask("prove", "17", "--output", str(folder / "proof.json")).exit_code == 0
    assert invoke("verify", str(folder / "proof.json"), "--log-key", str(SIGNER.verifier)).exit_code == 0
    assert ask("check").exit_code == 0
    (folder / "archive").rename(folder / "elsewhere")
    for command in (["search"], ["prove", "17"], ["days"]):
        told = ask(*command, "--json", input=HETU_CODE)
        assert told.exit_code == 2, "half an answer would look like a whole one"
        assert "2026-10" in json.loads(told.stdout)["error"]


def test_person_who_is_forgotten_is_found_by_no_query_and_every_proof_still_holds(
    ask: Invoke, invoke: Invoke, folder: Path, engine: Engine, person: str, reads: Callable[[], list[Entry]]
) -> None:
    proof = str(folder / "proof.json")
    assert ask("prove", "600", "601", "602", "--output", proof).exit_code == 0
    with engine.connect() as connection:
        secrets = [bytes(row) for row in connection.scalars(select(subjects_table.c.wrapped_key))]
        secrets += [bytes(row) for row in connection.scalars(select(identifiers.c.blind))]
    assert len(secrets) == 4

    assert ask("forget", "--json", input=HETU_CODE).exit_code == 2, "without --yes nothing is destroyed"
    told = ask("forget", "--yes", "--json", input=HETU_CODE)
    assert told.exit_code == 0, told.output
    assert json.loads(told.stdout) == {
        "keys_destroyed": 2,
        "tasks_ended": 0,
        "kept": {},
        "kept_under": [],
        "further_identifiers": 0,
        "undecided": False,
    }

    for command in (["search", "person", "--person"], ["search", "disclosures", "--person"], ["extract"]):
        for system, value in (("hetu", HETU_CODE), ("migri", "7000001")):
            assert ask(*command, "--system", system, "--json", input=value).exit_code == 1
    assert ask("forget", "--yes", input=HETU_CODE).exit_code == 1
    for by_case in (("timeline", "--case", "KOTKA-2026-17"), ("search", "--case", "KOTKA-2026-17")):
        told = ask(*by_case, "--json").stdout
        assert '"query"' not in told, "a case leads to nobody who was forgotten"
    assert invoke("verify", proof, "--log-key", str(SIGNER.verifier)).exit_code == 0
    assert ask("prove", "600", "--output", proof).exit_code == 0
    assert invoke("verify", proof, "--log-key", str(SIGNER.verifier)).exit_code == 0
    assert ask("check").exit_code == 0
    (destroyed, *_) = [one for one in reads() if one.type == "key"]
    assert (destroyed.subject, destroyed.detail["keys"]) == (None, 2)
    engine.dispose()
    for path in folder.glob("node.db*"):
        data = path.read_bytes()
        assert not [secret for secret in secrets if secret in data], f"{path.name} still holds what was destroyed"


def test_desk_refuses_without_the_nodes_secrets_and_makes_none(ask: Invoke, folder: Path, person: str) -> None:
    (folder / "secrets" / "index.key").unlink()
    told = ask("search", "--json")
    assert told.exit_code == 2
    assert not (folder / "secrets" / "index.key").exists()


def test_nothing_is_read_when_the_log_cannot_record_it(ask: Invoke, folder: Path, person: str) -> None:
    tamper(
        folder, "CREATE TRIGGER full_disk BEFORE INSERT ON audit_entries BEGIN SELECT RAISE(ABORT, 'disk full'); END"
    )
    told = ask("search", "person", "--person", "--json", input=HETU_CODE)
    assert told.exit_code == 3
    assert person not in told.stdout


def test_a_database_that_another_process_holds_is_told_to_be_busy_and_not_another_nodes(
    folder: Path, engine: Engine, given: list[Checkpoint], monkeypatch: pytest.MonkeyPatch
) -> None:
    # How long a command waits says how busy the disk is; that it says so is what is promised.
    monkeypatch.setattr(storage, "BUSY_TIMEOUT_MS", 20)
    order = ["audit", "unreviewed", "--config", str(folder / "node.toml"), "--json"]
    with storage.writer(engine).begin():
        answer = CliRunner().invoke(app, order)

    told = json.loads(answer.stdout)
    assert (answer.exit_code, told["remedy"]) == (3, "run the command again")
    assert "another process has held the database" in told["error"]
    assert CliRunner().invoke(app, order).exit_code != 3
