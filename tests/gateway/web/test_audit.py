"""The officer's interface and the person's own view of a running node, asked as a system of the organisation would."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from typer.testing import CliRunner

from audit.tree.checkpoint import VerifierKey, verify_checkpoint
from audit.tree.merkle import leaf_hash, verify_inclusion
from audit.tree.verify import verify_export
from gateway.cli.main import app
from gateway.demo.network import Network
from schemas.identifiers import HETU
from tests.gateway.running import Running, running

USER = {"Yhdyspinta-User": "officer-1"}


def prepare(network: Network) -> None:
    """Kotka's system may read the log; the centre's may not."""
    config = network.parties["kotka"].config
    rights = '\n[clients.rights]\nactions = ["query", "consent", "audit"]\n'
    unusual = "\n[audit.unusual]\nbulk_lookups_per_hour = 9\ndenied_per_hour = 9\nnight_lookups = 1000\n"
    config.write_text(config.read_text("utf-8") + rights + unusual, "utf-8")


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A centre and a municipality; the municipality has asked about one person, once under a case, and once in vain."""
    with running(tmp_path_factory.mktemp("audit"), prepare=prepare) as found:

        async def ask() -> None:
            async with found.client("kotka") as session:
                for changes, expected in (
                    ({}, 200),
                    ({"case": "KOTKA-2026-17", "user": "caseworker-12"}, 200),
                    ({"subject": {"system": HETU, "value": "010190-900P"}}, 404),
                ):
                    async with session.post("/v1/queries", json=found.question(**changes)) as answer:
                        assert answer.status == expected, await answer.text()

        asyncio.run(ask())
        yield found


def call(
    nodes: Running, method: str, path: str, document: Any = None, *, party: str = "kotka", headers: Any = USER
) -> tuple[int, Any, str]:
    """One call of a party's system to its node: status, body (parsed if it is JSON), content type."""

    async def story() -> tuple[int, Any, str]:
        async with (
            nodes.client(party) as session,
            session.request(method, path, json=document, headers=headers) as answer,
        ):
            data, kind = await answer.read(), answer.headers.get("Content-Type", "")
            return answer.status, json.loads(data) if "json" in kind and "nd" not in kind else data, kind

    return asyncio.run(story())


def person(nodes: Running) -> dict[str, str]:
    return {"system": HETU, "value": nodes.people[1]}


def test_answer_names_its_adapter_and_the_adapters_are_told_alike_by_interface_and_command(nodes: Running) -> None:
    status, told, _ = call(nodes, "GET", "/v1/audit/adapters")
    command = ["audit", "adapters", "--config", str(nodes.party("kotka").config), "--json"]
    beside = CliRunner().invoke(app, command)
    drawn = CliRunner().invoke(app, command[:-1], env={"COLUMNS": "200"})

    assert (status, json.loads(beside.stdout)) == (200, told)
    used = {adapter["name"]: adapter for adapter in told["adapters"]}
    made = used["reception-centre-csv"]
    assert made["is_installed"]
    assert made["digest"][:12] in drawn.stdout
    answers = [entry for entry in nodes.entries("centre", type="query") if entry.outcome in ("success", "partial")]
    mark = f"reception-centre-csv {made['declared']} {made['digest'][:12]}"
    assert {entry.detail["adapter"] for entry in answers} == {mark}
    questions = [entry.detail["question"] for entry in nodes.entries("kotka", type="console-read")]
    assert questions[-3:] == ["adapters"] * 3


def test_person_is_found_and_each_reading_is_an_entry(nodes: Running) -> None:
    before = len(nodes.entries("kotka", type="console-read"))
    status, body, _ = call(
        nodes, "POST", "/v1/audit/search", {"question": "disclosures", "person": person(nodes), "order": "oldest"}
    )
    assert status == 200, body
    assert [item["entry"]["outcome"] for item in body["found"]] == ["success", "success"]
    assert body["next"] is None
    reads = nodes.entries("kotka", type="console-read")
    assert len(reads) == before + 1
    # An answer is filed under whom it names, too; who was looked for is who had been asked about.
    asked = {entry.id: entry.subject for entry in nodes.entries("kotka", type="query", outcome="requested")}
    assert reads[-1].subject == asked[body["found"][0]["entry"]["previous"]]
    assert reads[-1].agents.client == "kotka-system"
    assert reads[-1].agents.user is not None
    assert "officer-1" not in reads[-1].canonical().decode()
    assert nodes.people[1] not in reads[-1].canonical().decode()


def test_pages_follow_each_other(nodes: Running) -> None:
    asked = {"filters": {"type": "query"}, "limit": 2, "order": "oldest"}
    _, first, _ = call(nodes, "POST", "/v1/audit/search", asked)
    _, second, _ = call(nodes, "POST", "/v1/audit/search", {**asked, "after": first["next"]})
    indexes = [item["index"] for item in first["found"] + second["found"]]
    assert indexes == sorted(set(indexes))
    assert len(indexes) == 4


def test_case_entry_and_reads_are_found(nodes: Running) -> None:
    status, body, _ = call(nodes, "POST", "/v1/audit/timeline", {"case": "KOTKA-2026-17"})
    assert status == 200
    story = [item["entry"]["outcome"] for item in body["found"] if item["entry"]["type"] == "query"]
    assert story == ["requested", "success"]
    first = body["found"][0]["entry"]["id"]
    _, chain, _ = call(nodes, "POST", "/v1/audit/timeline", {"entry": first})
    assert [item["entry"]["outcome"] for item in chain["found"]] == ["requested", "success"]
    _, body, _ = call(nodes, "POST", "/v1/audit/search", {"question": "reads"})
    assert {item["entry"]["type"] for item in body["found"]} <= {"console-read", "export"}
    assert body["found"]


def test_the_newest_entries_are_checked_on_request_and_the_check_is_on_record(nodes: Running) -> None:
    status, told, _ = call(nodes, "POST", "/v1/audit/check", {"newest": 100})
    assert (status, told["sound"], told["findings"]) == (200, True, [])
    assert told["origin"] == nodes.network.logs["kotka"]["origin"]
    assert told["since"] + told["checked"] == told["size"]
    assert told["anchors"] >= 1
    _, body, _ = call(nodes, "POST", "/v1/audit/search", {"question": "reads", "limit": 1})
    detail = body["found"][0]["entry"]["detail"]
    assert (detail["question"], detail["sound"]) == ("check", True)
    for wrong in (0, -1, 10_001, "all"):
        assert call(nodes, "POST", "/v1/audit/check", {"newest": wrong})[0] == 400


def test_proof_holds_against_the_key_that_the_registry_lists(nodes: Running) -> None:
    _, body, _ = call(nodes, "POST", "/v1/audit/search", {"limit": 1, "order": "oldest"})
    identifier = body["found"][0]["entry"]["id"]
    status, proof, _ = call(nodes, "GET", f"/v1/audit/entries/{identifier}/proof")
    assert status == 200
    key = VerifierKey.parse(nodes.network.logs["kotka"]["key"])
    checkpoint, _ = verify_checkpoint(proof["checkpoint"], key)
    path = [base64.b64decode(one) for one in proof["proof"]]
    verify_inclusion(leaf_hash(proof["canonical"].encode()), proof["index"], checkpoint.size, path, checkpoint.root)
    assert proof["position"] == proof["index"] + 1
    status, whole, _ = call(nodes, "POST", "/v1/audit/proofs", {"entries": [identifier, "1"]})
    assert status == 200
    report = verify_export(json.dumps(whole).encode(), log_key=key)
    assert report.sound
    assert len(report.entries) == 2
    status, told, _ = call(nodes, "POST", "/v1/audit/unchanged", {"checkpoint": proof["checkpoint"]})
    assert (status, told["unchanged"]) == (200, True)
    assert call(nodes, "GET", "/v1/audit/entries/no-such/proof")[0] == 404
    assert call(nodes, "POST", "/v1/audit/proofs", {"entries": ["no-such"]})[0] == 404


@pytest.mark.parametrize(
    ("form", "kind"),
    [("csv", "text/csv; charset=utf-8"), ("jsonl", "application/x-ndjson"), ("fhir", "application/fhir+json")],
)
def test_exports_stream_and_are_on_record(nodes: Running, form: str, kind: str) -> None:
    status, body, media = call(nodes, "POST", "/v1/audit/export", {"format": form, "filters": {"type": "query"}})
    assert (status, media) == (200, kind)
    expected = len(nodes.entries("kotka", type="query"))
    found = {
        "csv": lambda: len(body.decode().splitlines()) - 1,
        "jsonl": lambda: len(body.splitlines()),
        "fhir": lambda: len(body["entry"]),
    }[form]()
    assert found == expected
    assert nodes.entries("kotka", type="export")[-1].detail["format"] == form


def test_reports_come_as_json_and_as_pages_in_three_languages(nodes: Running) -> None:
    status, body, _ = call(nodes, "POST", "/v1/audit/extract", {"person": person(nodes), "language": "sv"})
    assert (status, body["language"], len(body["disclosures"])) == (200, "sv", 2)
    assert "Kotka" in body["disclosures"][0]["recipient"]
    for language in ("fi", "sv", "en"):
        headers = {**USER, "Accept": "text/html", "Accept-Language": language}
        status, page, kind = call(nodes, "POST", "/v1/audit/extract", {"person": person(nodes)}, headers=headers)
        assert (status, kind) == (200, "text/html; charset=utf-8")
        assert f'lang="{language}"'.encode() in page
        status, page, _ = call(nodes, "GET", "/v1/audit/processing/2026", headers=headers)
        assert status == 200
        assert f'lang="{language}"'.encode() in page
    _, record, _ = call(nodes, "GET", "/v1/audit/processing/2026", headers={"Accept-Language": "fi"})
    assert any(line["activity"]["bases"] for line in record["lines"])


def test_other_questions_answer(nodes: Running) -> None:
    window = {"from": "2026-01-01T00:00:00Z", "to": "2100-01-01T00:00:00Z"}
    assert call(nodes, "POST", "/v1/audit/consents", {"person": person(nodes)})[1] == {"consents": []}
    assert call(nodes, "POST", "/v1/audit/after-withdrawal", {})[1] == {"holds": True, "left": []}
    assert call(nodes, "POST", "/v1/audit/unusual", window)[1] == {"unusual": []}
    assert sum(one["released"] for one in call(nodes, "POST", "/v1/audit/flows", window)[1]["flows"]) >= 2
    assert [one["count"] for one in call(nodes, "POST", "/v1/audit/days", {"person": person(nodes)})[1]["days"]] == [2]
    assert call(nodes, "POST", "/v1/audit/unusual", {**window, "queue": True})[1] == {"unusual": []}
    assert call(nodes, "GET", "/v1/audit/unreviewed")[1] == {"found": [], "patterns": [], "justifications": {}}
    assert "disclosures" in call(nodes, "GET", "/v1/audit/questions")[1]["questions"]
    entry = call(nodes, "POST", "/v1/audit/search", {"limit": 1})[1]["found"][0]["entry"]["id"]
    assert call(nodes, "POST", f"/v1/audit/reviews/{entry}", {"verdict": "justified"})[0] == 400


@pytest.mark.parametrize(
    ("path", "document", "pointer"),
    [
        ("search", {"question": "gossip"}, "/question"),
        ("search", {"question": "person"}, "/person"),
        ("search", {"person": "someone"}, "/person"),
        ("search", {"filters": {"colour": "red"}}, "/filters"),
        ("search", {"filters": {"type": "gossip"}}, "/filters/type/0"),
        ("search", {"filters": []}, "/filters"),
        ("search", {"filters": {"purpose": 7}}, "/filters/purpose"),
        ("search", {"limit": 5000}, "/limit"),
        ("search", {"limit": "5"}, "/limit"),
        ("search", {"after": "x"}, None),
        ("search", {"from": "2026-01-01"}, "/from"),
        ("search", {"from": "2026-02-30T00:00:00Z"}, "/from"),
        ("search", {"order": "sideways"}, "/order"),
        ("timeline", {}, ""),
        ("export", {"format": "xls"}, "/format"),
        ("extract", {}, "/person"),
        ("unusual", {"from": "2026-01-01T00:00:00Z"}, "/from"),
        ("unchanged", {}, "/checkpoint"),
        ("unchanged", {"checkpoint": "a\nb"}, None),
        ("proofs", {"entries": 5}, "/entries"),
        ("rulebook-change", {}, "/rulebook"),
        ("rulebook-change", {"rulebook": 7}, "/rulebook"),
        ("rulebook-change", {"rulebook": "x" * 300_000}, "/rulebook"),
        ("rulebook-change", {"rulebook": "", "from": "2026-01-01"}, "/from"),
        ("rulebook-change", {"rulebook": "", "from": "2026-02-01T00:00:00Z", "to": "2026-01-01T00:00:00Z"}, "/to"),
    ],
)
def test_what_makes_no_sense_is_refused_with_its_place(
    nodes: Running, path: str, document: Any, pointer: str | None
) -> None:
    status, body, _ = call(nodes, "POST", f"/v1/audit/{path}", document)
    assert (status, body["code"]) == (400, "invalid-request"), body
    assert body.get("pointer") == pointer


def test_client_without_the_right_reads_nothing_and_the_attempt_is_on_record(nodes: Running) -> None:
    status, body, _ = call(nodes, "POST", "/v1/audit/search", {}, party="centre")
    assert (status, body["code"]) == (403, "client-not-permitted")
    assert nodes.refusals("centre")[-1] == "client-not-permitted"
    subsystem = nodes.party("centre").subsystem
    assert call(nodes, "GET", f"/r1/{subsystem}/findUsage/v2/heartbeat", party="centre")[0] == 403


# -- the person's own view ---------------------------------------------------------------------------------------------


def usage(nodes: Running, endpoint: str, headers: Any = None, **query: str) -> tuple[int, Any, str]:
    base = f"/r1/{nodes.party('kotka').subsystem}/findUsage/v2/{endpoint}"
    asked = "&".join(f"{name}={quote(value)}" for name, value in query.items())
    sent = {"X-Road-UserId": "EE60001019906", "X-Road-Client": "FI-DEMO/ORG/1/tracker"} if headers is None else headers
    return call(nodes, "GET", f"{base}?{asked}", headers=sent)


def test_person_sees_who_used_their_data_in_their_language(nodes: Running) -> None:
    status, body, _ = usage(nodes, "findUsage", userCode=nodes.people[1])
    assert status == 200, body
    assert body["totalUsages"] == 2
    times = [one["logtime"] for one in body["usages"]]
    assert times == sorted(times, reverse=True)
    first = body["usages"][0]
    assert set(first) == {"logtime", "action", "receiverCode", "receiverName", "receiverSystem"}
    assert first["receiverSystem"] == str(nodes.party("kotka").subsystem)
    assert first["receiverCode"] == first["receiverSystem"].split("/")[2]
    headers = {"X-Road-UserId": "EE60001019906", "Accept-Language": "fi"}
    _, finnish, _ = usage(nodes, "findUsage", headers, userCode=nodes.people[1])
    assert finnish["usages"][0]["action"] != first["action"]
    _, paged, _ = usage(nodes, "findUsage", userCode=nodes.people[1], offset="1", limit="1")
    assert (paged["totalUsages"], paged["usages"]) == (2, body["usages"][1:])
    _, nothing, _ = usage(nodes, "findUsage", userCode=nodes.people[1], periodEnd="2020-01-01T00:00:00+02:00")
    assert nothing == {"totalUsages": 0, "usages": []}
    reads = nodes.entries("kotka", type="console-read")
    assert [one.detail["question"] for one in reads[-4:]] == ["usages"] * 4


def test_period_and_heartbeat_tell_since_when_and_whether(nodes: Running) -> None:
    status, body, _ = usage(nodes, "usagePeriod")
    assert status == 200
    assert body["periodStart"].endswith("+00:00")
    assert usage(nodes, "heartbeat")[:2] == (200, {"status": "OK"})


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"userCode": "010190-900P", "limit": "1001"},
        {"userCode": "010190-900P", "limit": "0"},
        {"userCode": "010190-900P", "offset": "-1"},
        {"userCode": "010190-900P", "limit": "ten"},
        {"userCode": "010190-900P", "periodStart": "2026-01-01T00:00:00"},
        {"userCode": "010190-900P", "periodEnd": "yesterday"},
    ],
)
def test_usage_that_is_asked_wrongly_is_refused(nodes: Running, query: dict[str, str]) -> None:
    status, body, _ = usage(nodes, "findUsage", **query)
    assert (status, body["code"]) == (400, "invalid-request")


@pytest.mark.parametrize(
    ("value", "code"), [("010190-900A", "subject-check"), ("010190\u2010900P", "subject-form"), ("1", "subject-form")]
)
def test_usage_of_nobody_is_refused_with_its_place(nodes: Running, value: str, code: str) -> None:
    status, body, _ = usage(nodes, "findUsage", userCode=value)
    assert (status, body["code"], body["pointer"]) == (400, code, "/userCode")
    for path in ("search", "consents", "days", "extract"):
        person = {"system": HETU, "value": value}
        status, body, _ = call(nodes, "POST", f"/v1/audit/{path}", {"question": "person", "person": person})
        assert (status, body["code"], body["pointer"]) == (400, code, "/person/value"), path


def test_usage_needs_a_user_and_a_subsystem_of_this_node(nodes: Running) -> None:
    status, body, _ = usage(nodes, "findUsage", {"X-Road-Client": "FI-DEMO/ORG/1/tracker"}, userCode="1")
    assert (status, body["code"]) == (400, "invalid-request")
    path = f"/r1/{nodes.party('centre').subsystem}/findUsage/v2/findUsage?userCode=1"
    status, body, _ = call(nodes, "GET", path, headers={"X-Road-UserId": "x"})
    assert (status, body["code"]) == (404, "service-unknown")


def test_identifiers_are_in_no_log_line(nodes: Running) -> None:
    written = (nodes.party("kotka").folder / "node.log").read_text("utf-8", errors="replace")
    assert nodes.people[1] not in written
    assert "EE60001019906" not in written
    assert "officer-1" not in written


def test_patterns_of_one_entry_are_signed_off_each_by_its_rule(nodes: Running) -> None:
    for _ in range(9):
        not_permitted = nodes.question(categories=["health-needs"], user="caseworker-13")
        # Who asks is not told why there is nothing for them; the log is.
        assert call(nodes, "POST", "/v1/queries", not_permitted)[1]["code"] == "not-available"
    first = nodes.entries("kotka", type="query", outcome="refused")[-9]  # where both patterns begin
    window = {"from": first.recorded.isoformat(), "to": "2100-01-01T00:00:00Z"}
    assert call(nodes, "POST", "/v1/audit/unusual", {**window, "queue": True})[0] == 200
    patterns = call(nodes, "GET", "/v1/audit/unreviewed")[1]["patterns"]
    assert sorted(one["rule"] for one in patterns) == ["bulk-lookups", "repeated-denials"]
    assert {one["entry"] for one in patterns} == {first.id}
    path, verdict = f"/v1/audit/reviews/{first.id}", {"verdict": "explained", "remark": "a busy day"}

    for unclear in ({}, {"rule": "night-use"}):
        status, body, _ = call(nodes, "POST", path, verdict | unclear)
        assert (status, body["pointer"]) == (400, "/rule"), body
        assert "bulk-lookups, repeated-denials" in body["detail"]
    assert call(nodes, "POST", path, verdict | {"rule": 7})[1]["pointer"] == "/rule"
    status, body, _ = call(nodes, "POST", path, verdict | {"rule": "repeated-denials"})
    assert (status, body["rule"], body["verdict"]) == (201, "repeated-denials", "explained")
    status, body, _ = call(nodes, "POST", path, verdict)
    assert (status, body["rule"]) == (201, "bulk-lookups"), "the only one need not be named"
    assert call(nodes, "POST", path, verdict)[0] == 400, "nothing waits any more"
    assert [one.detail["rule"] for one in nodes.entries("kotka", type="decision", previous=first.id)] == [
        "repeated-denials",
        "bulk-lookups",
    ]
