"""The kit's own reading of the protocol, its profile and its commands, without any node."""

from __future__ import annotations

import ast
import base64
import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gateway.cli.main import app
from gateway.conformance.case import Group, Role, rows
from gateway.conformance.catalogue import cases, chosen
from gateway.conformance.message import MessageError, digest, take_apart, uuid7
from gateway.conformance.persons import Person
from gateway.conformance.profile import ProfileError, load
from gateway.conformance.wire import without_secrets

ROOT = Path(__file__).parents[2]
VECTORS = ROOT / "tests" / "vectors" / "protocol"
KEYS = json.loads((VECTORS / "keys.json").read_text("utf-8"))
REQUESTS = json.loads((VECTORS / "requests.json").read_text("utf-8"))["cases"]
#: What a reader who knows no registry and no clock must refuse by itself.
UNREADABLE = {
    "message-not-compact",
    "message-not-base64url",
    "message-not-utf8",
    "message-not-json",
    "message-member-repeated",
    "message-number-refused",
    "message-text-refused",
    "message-too-deep",
}
CERTIFICATES = {key["thumbprint"]: base64.b64decode(key["certificate"]) for key in KEYS["listed"]}


def _message(case: dict[str, object]) -> str:
    text = str(case["message"])
    if "repeat" in case:
        character, count = case["repeat"]  # type: ignore[misc]
        return str(character) * int(count)
    return text


@pytest.mark.parametrize(
    "case", [case for case in REQUESTS if case["result"] == "accepted"], ids=lambda case: case["name"]
)
def test_the_kit_reads_published_messages_and_their_signatures(case: dict[str, str]) -> None:
    opened = take_apart(_message(case))

    assert opened.verifies(CERTIFICATES[opened.header["x5t#S256"]])
    assert opened.claims["dig"] == digest(base64.b64decode(case["body"]))


@pytest.mark.parametrize(
    "case", [case for case in REQUESTS if case["result"] in UNREADABLE], ids=lambda case: case["name"]
)
def test_the_kit_refuses_published_messages_that_cannot_be_read_strictly(case: dict[str, str]) -> None:
    with pytest.raises(MessageError):
        take_apart(_message(case))


@pytest.mark.parametrize(
    "case", [case for case in REQUESTS if case["result"] == "signature-invalid"], ids=lambda case: case["name"]
)
def test_the_kit_sees_signatures_that_do_not_hold(case: dict[str, str]) -> None:
    opened = take_apart(_message(case))

    assert not any(opened.verifies(certificate) for certificate in CERTIFICATES.values())


def test_the_kit_imports_nothing_else_of_the_house() -> None:
    own = ("gateway", "consent", "adapters", "audit", "schemas", "texts", "bench", "tests")
    imported = {
        name
        for file in (ROOT / "gateway" / "conformance").glob("*.py")
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }

    assert "gateway.conformance.message" in imported
    assert [name for name in imported if name.split(".")[0] in own and not name.startswith("gateway.conformance")] == []


def test_ids_are_of_version_7_and_identity_codes_of_the_900_series_with_their_check_character() -> None:
    from schemas.identifiers import HETU

    people = [Person.make() for _ in range(200)]

    assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", uuid7())
    for person in people:
        digits = person.code[:6] + person.code[7:10]
        assert person.code[7] == "9"
        assert "0123456789ABCDEFHJKLMNPRSTUVWXY"[int(digits) % 31] == person.code[10]
        assert person.misspelt["value"] != person.code
        assert person.subject["system"] == HETU
    assert len({person.code for person in people}) > 150


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("Authorization: Bearer abcdefgh.ijkl", "abcdefgh"),
        ("grant_type=x&client_assertion=eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJ4In0.c2ln", "eyJpc3MiOiJ4In0"),
        ('{"access_token": "eyJ0b2tlbiI6MX0", "expires_in": 300}', "eyJ0b2tlbiI6MX0"),
        ("Message: " + "eyJhbGciOiJFUzI1NiIsInR5cCI6.eyJpc3MiOiJGSS1ERU1PL0dPViJ9.c2lnbmF0dXJl", "c2lnbmF0dXJl"),
    ],
)  # fmt: skip
def test_nothing_secret_is_shown(text: str, secret: str) -> None:
    assert secret not in without_secrets(text)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("[sending", "is not TOML"),
        ("[sendings]", "sendings"),
        ('[sending]\nauthority = "a.pem"', "sending"),
        ("patience_seconds = 'long'", "patience_seconds"),
        ("[query]\nservice = 5", "query.service"),
        ("[handover]\nflow = 'F1'\nmunicipality = '285'\nrole = 'x'\nconsented_category = 'y'", "consent_purposes"),
        ("[node]\nid = 'x'\naddress = 'https://x'\nanchors = 'nowhere.pem'", "nowhere.pem"),
    ],
)
def test_a_profile_that_cannot_be_used_is_refused_with_its_place(tmp_path: Path, text: str, place: str) -> None:
    path = tmp_path / "profile.toml"
    path.write_text(text)

    with pytest.raises(ProfileError, match=re.escape(place)):
        load(path)


def test_the_profile_of_the_guide_is_one(tmp_path: Path) -> None:
    guide = (ROOT / "docs" / "conformance.md").read_text("utf-8")
    (example,) = re.findall(r"```toml\n(.*?)```", guide, flags=re.DOTALL)
    # The three tables that the guide describes in words only.
    example = re.sub(r"^\[(receiving|inbox|other_member)\].*$", "", example, flags=re.MULTILINE)
    for name in re.findall(r'"([\w-]+\.(?:pem|key))"', example):
        (tmp_path / name).touch()
    (tmp_path / "passphrase").write_text("x")
    (tmp_path / "profile.toml").write_text(example)

    profile = load(tmp_path / "profile.toml")

    assert profile.has("tokens")
    assert profile.has("node")
    assert not profile.has("inbox")


def test_each_test_that_is_described_is_there() -> None:
    assert {entry.id for entry in cases()} == set(rows())


def test_tests_are_chosen_by_role_group_and_id() -> None:
    every = cases()

    assert {case.role for case in chosen(every, role=Role.NODE, groups=frozenset(), only=frozenset())} == {Role.NODE}
    signatures = chosen(every, role=None, groups=frozenset({"signatures"}), only=frozenset())
    assert {case.group for case in signatures} == {Group.SIGNATURES}
    assert [case.id for case in chosen(every, role=None, groups=frozenset(), only=frozenset({"CLI-7"}))] == ["CLI-7"]
    assert {case.group for case in every} == set(Group)


def _command(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["conformance", *arguments])
    return done.exit_code, done.output


def test_the_list_and_an_explanation_say_where_each_requirement_stands() -> None:
    code, listed = _command("list", "--json")
    explained = _command("explain", "cli-7")

    assert code == 0
    assert len(json.loads(listed)["tests"]) == len(cases())
    assert explained[0] == 0
    for text in ("CLI-7", "HS256", "docs/clients.md#who-you-are-certificate-or-token", "sending, tokens"):
        assert text in explained[1]


@pytest.mark.parametrize(
    "arguments",
    [
        ("explain", "CLI-700"),
        ("run", "--profile", "nowhere.toml"),
        ("run", "--profile", "nowhere.toml", "--only", "NODE-700"),
        ("run",),
        ("list", "--group", "no-such-group"),
        ("list", "--role", "node", "--group", "cursors"),
        ("profile", "--demo", "nowhere.json"),
    ],
    ids=" ".join,
)
def test_a_wrong_command_ends_with_2_and_says_why(arguments: tuple[str, ...]) -> None:
    code, said = _command(*arguments)

    assert code == 2
    assert said.strip()


def test_with_an_empty_profile_nothing_is_run_and_each_test_says_what_it_lacks(tmp_path: Path) -> None:
    (tmp_path / "profile.toml").write_text("")

    code, said = _command("run", "--profile", str(tmp_path / "profile.toml"), "--json")

    report = json.loads(said)
    assert code == 0
    assert report["counts"] == {"passed": 0, "failed": 0, "not-run": len(cases())}
    assert all(result["missing"] for result in report["results"])


def test_the_commands_of_the_guide_are_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    guide = (ROOT / "docs" / "conformance.md").read_text("utf-8")
    lines = [
        line.partition("#")[0].partition(">")[0].split()[2:]
        for block in re.findall(r"```bash\n(.*?)```", guide, flags=re.DOTALL)
        for line in block.splitlines()
        if line.startswith("yhdyspinta conformance ")
    ]
    (tmp_path / "profile.toml").write_text("")
    monkeypatch.chdir(tmp_path)

    ended = {" ".join(line): _command(*line)[0] for line in lines}

    assert len(ended) >= 6
    assert {line: code for line, code in ended.items() if code != 0} == {}
