"""Questions about consents, withdrawals, patterns, emergencies and counts at the command line, on both databases."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from sqlalchemy import Connection, Engine, select
from typer.testing import CliRunner

from audit.log.entries import Agents, Categories, Entry
from audit.log.log import Log
from audit.log.tables import reviews
from audit.log.waiting import Written
from audit.questions.query import Filters, walk
from audit.questions.subjects import Subjects
from gateway.cli.main import app
from gateway.terminal.output import console
from schemas.identifiers import HETU, MIGRI_CUSTOMER
from tests.databases import migrate
from tests.former import former_rulebook
from tests.gateway.cli.test_audit import KEY, NODE, ORIGIN, SETTINGS, SIGNER
from tests.people import joined

EVENING = datetime(2026, 9, 1, 15, 0, tzinfo=UTC)
NIGHT = datetime(2026, 9, 1, 21, 0, tzinfo=UTC)  # midnight in Finland
ANNA, BORIS, NOBODY = "010190-900P", "020290-9016", "010190-901R"
MEMBER = "FI-DEMO/MUN/0000001-2"
KOTKA = "FI-DEMO/MUN/0000001-2/kotoutuminen"
CENTRE = "FI-DEMO/GOV/0000000-0/vastaanotto"
Ask = Callable[..., Result]


@dataclass(frozen=True, slots=True)
class Told:
    """A node's log in which an officer's questions have answers: the entries by name, and pseudonyms of persons."""

    entries: Mapping[str, Entry]
    places: Mapping[str, int]
    anna: str
    boris: str
    append: Callable[[Entry], int]


def entry(kind: str, at: datetime, subject: str, **changes: Any) -> Entry:
    made = Entry(
        kind,
        "success",
        at,
        agents=Agents(client="casework", user="u-1", node=NODE, recipient=KOTKA),
        source=CENTRE,
        subject=subject,
        purpose="service-need-lookup",
        categories=Categories(("identity", "housing")),
        bases=("basis-1",),
    )
    return replace(made, **changes)


@pytest.fixture
def folder(tmp_path: Path, database_url: str) -> Path:
    (tmp_path / "node.toml").write_text(SETTINGS.replace("sqlite:///node.db", database_url))
    (tmp_path / "secrets").mkdir()
    for name, key in (("log", KEY), ("wrapping", b"\x01" * 32), ("index", b"\x02" * 32)):
        (tmp_path / "secrets" / f"{name}.key").write_bytes(base64.b64encode(key))
    return tmp_path


@pytest.fixture
def told(engine: Engine, folder: Path) -> Told:
    """Anna consents, data goes out, she withdraws; Boris' data goes out in an emergency; u-2 asks at night."""
    migrate(engine)
    subjects = Subjects(b"\x01" * 32, b"\x02" * 32, members=(MEMBER,))
    log = Log(engine, SIGNER, origin=ORIGIN, clock=lambda: EVENING)
    log.start()

    def unit(connection: Connection) -> Written[tuple[str, str]]:
        anna = joined(connection, subjects, [(HETU, ANNA), (MIGRI_CUSTOMER, "7000001")], EVENING)
        boris = joined(connection, subjects, [(HETU, BORIS)], EVENING)
        return Written((anna.pseudonym, boris.pseudonym), ())

    anna, boris = log.commit_blocking(unit).value
    minute = timedelta(minutes=1)

    def consent(number: int, version: int, status: str, kind: str = "consent") -> Entry:
        detail: dict[str, str | int | bool] = {"status": status, "version": version}
        agents = Agents(client="reception", node=NODE)
        return entry(
            kind, EVENING + number * minute, anna, agents=agents, consents=(("c-1", version),), detail=detail, bases=()
        )

    made = {
        "given": consent(0, 1, "active"),
        "under": entry("query", EVENING + minute, anna, consents=(("c-1", 1),)),
        "next-day": entry("query", NIGHT + minute, anna, consents=(("c-1", 1),)),
        "ended": replace(consent(2, 2, "withdrawn"), recorded=NIGHT + 2 * minute),
        "refused": replace(
            consent(3, 1, "refused", "refusal"), recorded=NIGHT + 3 * minute, consents=(("c-2", 1),), source=CENTRE
        ),
        "emergency": entry("break-glass", NIGHT + 4 * minute, boris, reason="life-in-danger"),
        **{
            f"night-{number}": entry(
                "query",
                NIGHT + (5 + number) * minute,
                boris,
                outcome="refused",
                reason="not-permitted",
                categories=Categories(),
                agents=Agents(client="casework", user="u-2", node=NODE, recipient=KOTKA),
            )
            for number in range(5)
        },
    }
    indexes = log.append_blocking(list(made.values())).indexes
    log.close()

    def append(more: Entry) -> int:
        again = Log(engine, SIGNER, origin=ORIGIN, clock=lambda: EVENING)
        again.start()
        place = again.append_blocking([more]).indexes[0]
        again.close()
        return place

    return Told(made, dict(zip(made, indexes, strict=True)), anna, boris, append)


@pytest.fixture
def ask(folder: Path, told: Told) -> Ask:
    def run(command: str, *rest: str, **options: Any) -> Result:
        return CliRunner().invoke(app, ["audit", command, *rest, "--config", str(folder / "node.toml")], **options)

    return run


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal in which no name is broken over two lines."""
    monkeypatch.setattr(console, "width", 200)


@pytest.fixture
def record(engine: Engine, told: Told) -> Callable[[], list[Entry]]:
    """What was put on record since the story."""

    def found() -> list[Entry]:
        with engine.connect() as connection:
            return [one.entry for one in walk(connection, Filters()) if one.index > max(told.places.values())]

    return lambda: sorted(found(), key=lambda one: one.recorded)


def test_consents_are_told_with_their_history_and_what_was_disclosed_under_each(
    ask: Ask, told: Told, record: Callable[[], list[Entry]]
) -> None:
    answer = ask("consents", "--json", input=f"{ANNA}\n")
    assert answer.exit_code == 0, answer.output
    one, other = json.loads(answer.stdout)["consents"]
    assert (one["consent"], other["consent"], one["more"]) == ("c-1", "c-2", False)
    assert [item["index"] for item in one["history"]] == [told.places["given"], told.places["ended"]]
    assert [item["entry"]["id"] for item in one["disclosed"]] == [
        told.entries["under"].id,
        told.entries["next-day"].id,
    ]
    assert ([item["entry"]["type"] for item in other["history"]], other["disclosed"]) == (["refusal"], [])
    said = ask("consents", "--system", "migri", input="7000001\n").stdout
    assert "withdrawn" in said
    assert "disclosed under it" in said
    assert "Nothing was disclosed under it." in said
    assert ask("consents", "--json", input=NOBODY).exit_code == 1
    by_code, by_number, nobody = record()
    assert {(read.type, read.detail["question"]) for read in record()} == {("console-read", "consents")}
    assert [read.outcome for read in record()] == ["success", "success", "not-found"]
    assert (by_code.subject, nobody.subject) == (told.anna, None)
    assert by_number.subject not in (None, told.anna), "under the identifier that was looked for"
    assert all(ANNA not in one.canonical().decode() for one in record())


def test_exit_code_says_whether_nothing_left_after_a_withdrawal(
    ask: Ask, told: Told, record: Callable[[], list[Entry]]
) -> None:
    assert json.loads(ask("withdrawals", "--json").stdout) == {"holds": True, "left": []}
    holds = ask("withdrawals", "--person", input=ANNA)
    assert (holds.exit_code, holds.stdout.strip()) == (0, "✓ nothing left after a withdrawal")
    late = told.append(entry("query", NIGHT + timedelta(hours=2), told.anna, consents=(("c-1", 1),)))
    told.append(entry("query", NIGHT + timedelta(hours=2), told.anna, consents=(("c-1", 3),)))
    for arguments, typed in (((), ""), (("--person",), ANNA), (("--from", "2026-09-01T21:02:00"), "")):
        answer = ask("withdrawals", *arguments, "--json", input=typed)
        assert answer.exit_code == 1, answer.output
        document = json.loads(answer.stdout)
        assert document["holds"] is False
        assert [(one["withdrawal"]["index"], one["release"]["index"]) for one in document["left"]] == [
            (told.places["ended"], late)
        ]
    assert "c-1" in ask("withdrawals").stdout
    assert ask("withdrawals", "--person", input=BORIS).exit_code == 0
    assert ask("withdrawals", "--from", "2026-09-01T21:03:00").exit_code == 0
    assert {one.detail["question"] for one in record() if one.type == "console-read"} == {"after-withdrawal"}
    assert len([one for one in record() if one.type == "console-read"]) == 8


def test_unusual_patterns_are_explained_in_three_languages(
    ask: Ask, told: Told, record: Callable[[], list[Entry]]
) -> None:
    window = ("--from", "2026-09-01", "--to", "2026-09-02")
    said = set()
    for language in ("fi", "sv", "en"):
        answer = ask("unusual", *window, "--language", language, "--json")
        assert answer.exit_code == 0, answer.output
        document = json.loads(answer.stdout)
        assert (document["from"][:19], document["to"][:19]) == ("2026-09-01T00:00:00", "2026-09-02T00:00:00")
        assert [(one["rule"], one["actor"], one["count"]) for one in document["unusual"]] == [
            ("night-use", "u-2", 5),
            ("repeated-denials", "u-2", 5),
        ]
        first = document["unusual"][0]
        assert first["entries"] == [told.entries[f"night-{number}"].id for number in range(5)]
        said.add(first["explanation"])
    assert len(said) == 3
    words = ask("unusual", *window).stdout
    assert "night-use" in words
    assert "repeated-denials" in words
    assert ask("unusual", "--from", "2026-08-01", "--to", "2026-09-01").exit_code == 1
    assert [one.detail["shown"] for one in record()] == [2, 2, 2, 2, 0]


def test_emergency_waits_until_it_is_signed_off_once_and_with_reasons(
    ask: Ask, told: Told, engine: Engine, record: Callable[[], list[Entry]]
) -> None:
    answer = ask("unreviewed", "--json")
    assert answer.exit_code == 0, answer.output
    assert [item["index"] for item in json.loads(answer.stdout)["found"]] == [told.places["emergency"]]
    assert "sign-off" in ask("unreviewed").stdout
    place = str(told.places["emergency"] + 1)
    for arguments, reasons in (
        ((place, "--verdict", "justified"), " \n"),
        ((place, "--verdict", "justified"), "x" * 2_001),
        ((place, "--verdict", "fine"), "seen"),
        ((place,), "seen"),
    ):
        assert ask("sign-off", *arguments, input=reasons).exit_code == 2
    for other in (told.entries["under"].id, "no-such", "99999"):
        answer = ask("sign-off", other, "--verdict", "justified", "--json", input="seen")
        assert answer.exit_code == 1, answer.output
        assert json.loads(answer.stdout)["error"]

    answer = ask("sign-off", place, "--verdict", "justified", "--json", input="Asked the ward.\nAll was in order.\n")
    assert answer.exit_code == 0, answer.output
    done = json.loads(answer.stdout)
    emergency = told.entries["emergency"].id
    assert (done["entry"], done["verdict"]) == (emergency, "justified")
    (decision,) = [one for one in record() if one.type == "decision"]
    assert (decision.previous, decision.subject, decision.detail["verdict"]) == (emergency, told.boris, "justified")
    assert decision.agents.user == done["signed_by"]
    assert "ward" not in decision.canonical().decode()
    with engine.connect() as connection:
        assert connection.scalar(select(reviews.c.remark)) == "Asked the ward.\nAll was in order."
    again = ask("sign-off", emergency, "--verdict", "escalated", "--json", input="seen again")
    assert again.exit_code == 1
    nothing = ask("unreviewed")
    assert (nothing.exit_code, nothing.stdout.strip()) == (1, "✓ nothing waits for review")


def test_patterns_wait_once_they_were_put_into_the_queue_and_are_each_signed_off(
    ask: Ask, told: Told, record: Callable[[], list[Entry]]
) -> None:
    window = ("--from", "2026-09-01", "--to", "2026-09-02")
    assert ask("unusual", *window).exit_code == 0
    assert json.loads(ask("unreviewed", "--json").stdout)["patterns"] == [], "looking alone opens nothing"
    for _ in range(2):
        assert ask("unusual", *window, "--queue").exit_code == 0
    entry, rules = told.entries["night-0"].id, {"night-use", "repeated-denials"}
    patterns = json.loads(ask("unreviewed", "--json").stdout)["patterns"]
    assert {(one["entry"], one["rule"]) for one in patterns} == {(entry, rule) for rule in rules}
    words = ask("unreviewed").stdout
    assert "look-ups" in words
    assert "--rule" in words
    noticed = [one for one in record() if one.type == "anomaly"]
    assert {one.detail["rule"] for one in noticed} == rules
    assert {(one.previous, one.outcome) for one in noticed} == {(entry, "pending")}
    for unclear in ((), ("--rule", "bulk-lookups")):
        answer = ask("sign-off", entry, "--verdict", "explained", *unclear, "--json", input="They work at night.")
        assert answer.exit_code == 2, answer.output
        assert "night-use, repeated-denials" in json.loads(answer.stdout)["error"]
    chosen = ("--rule", "night-use")
    answer = ask("sign-off", entry, "--verdict", "explained", *chosen, "--json", input="They work at night.")
    assert answer.exit_code == 0, answer.output
    assert json.loads(answer.stdout)["rule"] == "night-use"
    (left,) = json.loads(ask("unreviewed", "--json").stdout)["patterns"]
    assert left["rule"] == "repeated-denials"
    assert ask("sign-off", entry, "--verdict", "escalated", input="Asked the unit.").exit_code == 0, (
        "it is the only one"
    )
    assert json.loads(ask("unreviewed", "--json").stdout)["patterns"] == []
    decisions = [one.detail for one in record() if one.type == "decision"]
    assert [(one["review"], one["rule"], one["verdict"]) for one in decisions] == [
        ("anomaly", "night-use", "explained"),
        ("anomaly", "repeated-denials", "escalated"),
    ]


def test_flows_count_what_went_from_whom_to_whom(ask: Ask, told: Told, record: Callable[[], list[Entry]]) -> None:
    answer = ask("flows", "--from", "2026-09-01", "--to", "2026-09-02", "--json")
    assert answer.exit_code == 0, answer.output
    assert json.loads(answer.stdout)["flows"] == [
        {"source": CENTRE, "recipient": KOTKA, "released": 3, "refused": 5, "fruitless": 0}
    ]
    told.append(entry("query", datetime.now(UTC) - timedelta(days=29), told.anna))
    said = ask("flows")
    assert said.exit_code == 0, "without a window it is the last thirty days"
    assert CENTRE in said.stdout
    assert ask("flows", "--from", "2020-01-01", "--to", "2020-02-01").exit_code == 1
    assert [one.outcome for one in record() if one.detail.get("question") == "flows"] == [
        "success",
        "success",
        "not-found",
    ]


def test_days_count_how_often_data_was_disclosed(ask: Ask, told: Told, record: Callable[[], list[Entry]]) -> None:
    answer = ask("days", "--json", input=ANNA)
    assert answer.exit_code == 0, answer.output
    assert json.loads(answer.stdout)["days"] == [
        {"date": "2026-09-01", "count": 1},
        {"date": "2026-09-02", "count": 1},
    ], "by Finnish days"
    late = ask("days", "--from", "2026-09-01T21:00:00", "--to", "2026-09-03", input=ANNA)
    assert late.exit_code == 0
    assert "2026-09-02" in late.stdout
    assert "2026-09-01" not in late.stdout
    assert ask("days", input=NOBODY).exit_code == 1
    assert [one.subject for one in record()] == [told.anna, told.anna, None]


@pytest.mark.parametrize(
    ("arguments", "typed"),
    [
        (("consents",), "\n"),
        (("days",), ""),
        (("days", "--from", "2026-10-02", "--to", "2026-10-01"), ANNA),
        (("withdrawals", "--person"), ""),
        (("flows", "--from", "2026-10-02", "--to", "2026-10-01"), ""),
        (("flows", "--from", "2999-01-01"), ""),
        (("unusual", "--from", "2026-10-01", "--to", "2026-10-01"), ""),
        (("sign-off", "1", "--verdict", "justified"), ""),
    ],
)
def test_questions_that_make_no_sense_end_with_2_and_are_not_recorded(
    ask: Ask, record: Callable[[], list[Entry]], arguments: tuple[str, ...], typed: str
) -> None:
    answer = ask(*arguments, "--json", input=typed)
    assert answer.exit_code == 2, answer.output
    assert json.loads(answer.stdout)["remedy"]
    assert record() == []


def test_without_the_database_every_question_ends_with_3(folder: Path) -> None:
    (folder / "node.toml").write_text(SETTINGS)
    for command, typed in (("consents", ANNA), ("withdrawals", ""), ("unreviewed", ""), ("flows", ""), ("days", ANNA)):
        answer = CliRunner().invoke(
            app, ["audit", command, "--config", str(folder / "node.toml"), "--json"], input=typed
        )
        assert answer.exit_code == 3, answer.output


@pytest.fixture
def rulebook(folder: Path, told: Told) -> Ask:
    def run(command: str, *rest: str) -> Result:
        order = ["rulebook", command, *rest, "--config", str(folder / "node.toml"), "--json"]
        return CliRunner().invoke(app, order)

    return run


def test_opening_decisions_by_command_is_on_record(
    rulebook: Ask, told: Told, tmp_path: Path, record: Callable[[], list[Entry]]
) -> None:
    book = tmp_path / "book.yaml"
    book.write_bytes(former_rulebook())
    for of in (told.entries["under"].id, str(told.places["under"] + 1), "no-such"):
        answer = rulebook("explain", "--entry", of)
        assert answer.exit_code == 2, "none is kept of it"
        assert "no decision is kept" in json.loads(answer.stdout)["error"]
    assert rulebook("replay", "--entry", told.entries["emergency"].id).exit_code == 0
    assert json.loads(rulebook("replay", "--since", "2026-09-01").stdout)["decisions"] == 0
    assert json.loads(rulebook("diff", str(book), str(book)).stdout)["exchanges"]["recorded"] == 0
    of_anna, of_boris = told.places["under"], told.places["emergency"]
    assert [(one.type, one.outcome, one.detail["question"], one.subject, one.detail.get("of")) for one in record()] == [
        ("console-read", "not-found", "explain", told.anna, of_anna),
        ("console-read", "not-found", "explain", told.anna, of_anna),
        ("console-read", "not-found", "explain", None, None),
        ("console-read", "not-found", "replay", told.boris, of_boris),
        ("console-read", "not-found", "replay", None, None),
        ("console-read", "not-found", "rulebook-change", None, None),
    ]


def test_no_decision_is_opened_where_the_log_cannot_be_written(
    rulebook: Ask, told: Told, folder: Path, tmp_path: Path, record: Callable[[], list[Entry]]
) -> None:
    book = tmp_path / "book.yaml"
    book.write_bytes(former_rulebook())
    key = folder / "secrets" / "log.key"
    orders = (("explain", "--entry", told.entries["under"].id), ("replay",), ("diff", str(book), str(book)))
    key.write_bytes(base64.b64encode(b"\x09" * 32))
    for order in orders:
        answer = rulebook(*order)
        assert answer.exit_code == 3, answer.output
        assert set(json.loads(answer.stdout)) == {"error", "remedy", "exit_code"}
    key.unlink()
    for order in orders:
        answer = rulebook(*order)
        assert answer.exit_code == 2, answer.output
        assert "run this where the node's secrets are" in json.loads(answer.stdout)["remedy"]
    assert record() == []


@pytest.mark.parametrize(
    "command",
    [
        ("search", "--person"),
        ("search", "disclosures", "--person"),
        ("export", "person", "--person"),
        ("extract",),
        ("consents",),
        ("withdrawals", "--person"),
        ("days",),
        ("forget", "--yes"),
    ],
    ids=" ".join,
)
@pytest.mark.parametrize(
    ("system", "typed", "said"),
    [
        ("hetu", "010190-99\n", "it is no personal identity code"),
        ("hetu", "010190-900A", "the check character of the personal identity code is wrong"),
        ("hetu", "310290-901X", "its day does not exist"),
        ("hetu", "010190\u2010900P", "looks like a hyphen"),
        ("migri", "70 00001", "a blank or a control character"),
        ("urn:example:passport", "P1", "no system of that name"),
        ("hetu", "\n", "no identifier was given"),
    ],
)
def test_person_who_cannot_be_is_refused_and_nothing_is_asked_or_put_on_record(
    ask: Ask, record: Callable[[], list[Entry]], command: tuple[str, ...], system: str, typed: str, said: str
) -> None:
    before = len(record())

    refused = ask(*command, "--system", system, input=typed)

    assert refused.exit_code == 2
    assert said in " ".join(refused.stderr.split())
    assert typed.strip() not in refused.output or not typed.strip()
    assert len(record()) == before
