"""An operator who writes settings is told everything that is wrong with them at once, each with its line."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.cli.settings_reference import reference
from gateway.settings import Settings, load
from gateway.settings.environment import PREFIX, REGISTRY_VARIABLE, lay_over
from gateway.settings.problems import SettingsError
from tests.properties import examples

GOOD = """\
[node]
id = "kotka.demo"
subsystems = ["FI-DEMO/MUN/9000003-8/kotoutuminen"]

[registry]
source = "registry"
root = "root.json"

[listen]
peers = "127.0.0.1:8443"
clients = "[::1]:8444"
local = "127.0.0.1:8445"

[tls]
client_authorities = ["clients.pem"]

[tls.peers]
certificate = "tls.pem"
key = "tls.key"

[signing]
certificate = "signing.pem"
pkcs11_module = "/usr/lib/softhsm/libsofthsm2.so"
pkcs11_token = "node"
pkcs11_label = "signing"
pkcs11_pin = "pin"

[[clients]]
name = "one"
subsystem = "FI-DEMO/MUN/9000003-8/kotoutuminen"

[[clients]]
name = "two"
subsystem = "FI-DEMO/MUN/9000003-8/kotoutuminen"
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "node.toml"
    path.write_text(text, encoding="utf-8")
    return path


def problems(folder: Path, text: str, environment: dict[str, str] | None = None) -> list[tuple[int | None, str, str]]:
    with pytest.raises(SettingsError) as caught:
        load(written(folder, text), environment or {})
    return [(one.line, one.key, one.message) for one in caught.value.problems]


def test_settings_are_read_with_paths_from_the_files_own_folder(tmp_path: Path) -> None:
    settings = load(written(tmp_path, GOOD), {})

    assert isinstance(settings, Settings)
    assert settings.registry.root == tmp_path / "root.json"
    assert settings.registry.source == str(tmp_path / "registry")
    assert settings.database.url == f"sqlite:///{tmp_path / 'node.db'}"
    assert settings.tls.client_authorities == [tmp_path / "clients.pem"]
    assert (settings.listen.clients.host, settings.listen.clients.port) == ("::1", 8444)
    assert [client.name for client in settings.clients] == ["one", "two"]


def test_environment_lies_over_the_file(tmp_path: Path) -> None:
    environment = {
        "YHDYSPINTA_DATABASE__URL": "postgresql+psycopg://node@db/node",
        "YHDYSPINTA_LIMITS__IN_FLIGHT": "64",
        "PATH": "/bin",
    }

    settings = load(written(tmp_path, GOOD), environment)

    assert settings.database.url == "postgresql+psycopg://node@db/node"
    assert settings.limits.in_flight == 64


def test_two_members_with_one_signing_key_are_refused(tmp_path: Path) -> None:
    """What the key signs would be either's word."""
    other = '"FI-DEMO/GOV/9000001-1/vastaanotto"'
    text = GOOD.replace('kotoutuminen"]', f'kotoutuminen", {other}]')

    ((_, _, message),) = problems(tmp_path, text)

    assert "FI-DEMO/GOV/9000001-1 has no signing key of its own" in message
    signing = '[members.signing]\ncertificate = "other.pem"\nkey = "other.key"\npassphrase = "passphrase"\n'
    own = f'\n[[members]]\nid = "FI-DEMO/GOV/9000001-1"\ncontroller = "Vastaanotto"\n{signing}'
    both = load(written(tmp_path, text + own), {})
    assert list(both.signing_keys) == ["FI-DEMO/MUN/9000003-8", "FI-DEMO/GOV/9000001-1"]
    assert both.signing_keys["FI-DEMO/GOV/9000001-1"].key == tmp_path / "other.key"
    ours = GOOD[GOOD.index("[signing]") : GOOD.index("[[clients]]")]
    for wrong, told in (
        (own.replace(signing, ours.replace("[signing]", "[members.signing]")), "would sign with one key"),
        (own + own.replace("other", "third"), "stands there twice"),
        (own.replace("GOV/9000001-1", "GOV/9000009-9"), "has no signing key of its own"),
        (own + own.replace("GOV/9000001-1", "GOV/9000009-9"), "has none of node.subsystems"),
        (
            own + '\n[console.openid]\nissuer = "https://id.example"\nclient_id = "c"\nroles = {officer = ["dpo"]}\n',
            "each has its own officer",
        ),
    ):
        ((_, _, message),) = problems(tmp_path, text + wrong)
        assert told in message
    of_one = GOOD.replace('kotoutuminen"]', 'kotoutuminen", "FI-DEMO/MUN/9000003-8/other"]')
    assert len(load(written(tmp_path, of_one), {}).node.subsystems) == 2


def test_lists_and_tables_of_lists_are_given_by_the_environment(tmp_path: Path) -> None:
    environment = {
        "YHDYSPINTA_NODE__SUBSYSTEMS": '["FI-DEMO/MUN/9000003-8/a", "FI-DEMO/MUN/9000003-8/b"]',
        "YHDYSPINTA_AUDIT__READERS": '["kotka-1"]',
        "YHDYSPINTA_LISTEN__PEERS": "[::1]:8443",
        "YHDYSPINTA_CLIENTS__1__NAME": "renamed",
    }
    before = load(written(tmp_path, GOOD), {})

    settings = load(written(tmp_path, GOOD), environment)

    assert settings.node.subsystems == ["FI-DEMO/MUN/9000003-8/a", "FI-DEMO/MUN/9000003-8/b"]
    assert settings.audit.readers == ["kotka-1"]
    assert str(settings.listen.peers) == "::1:8443"
    assert [client.name for client in settings.clients] == [before.clients[0].name, "renamed"]


def test_tables_that_the_file_lacks_are_made_in_the_order_of_their_numbers() -> None:
    document: dict[str, object] = {}
    environment = {f"YHDYSPINTA_CLIENTS__{number}__NAME": f"c{number}" for number in range(11, -1, -1)}

    assert lay_over(document, environment) == []

    assert document == {"clients": [{"name": f"c{number}"} for number in range(12)]}


@pytest.mark.parametrize(
    ("variable", "says"),
    [
        ("YHDYSPINTA_NODE__ID__X", "node.id is a value and no table"),
        ("YHDYSPINTA_NODE__ID__X__Y", "node.id is a value and no table; nothing can stand below it"),
        ("YHDYSPINTA_CLIENTS__NAME", "clients is a list of tables; give the number of one, from 0"),
        ("YHDYSPINTA_CLIENTS__FIRST__NAME", "clients is a list of tables; give the number of one, from 0 to 2"),
        ("YHDYSPINTA_CLIENTS__7__NAME", "clients has 2 tables; the next one is 2"),
        ("YHDYSPINTA_CLIENTS__" + "9" * 5000 + "__NAME", "clients has 2 tables"),
        ("YHDYSPINTA_CLIENTS__0", "give the number of one"),
        ("YHDYSPINTA_TLS__PEERS", "tls.peers is a table; name a key of it"),
        ("YHDYSPINTA_NODE__SUBSYSTEMS__0", "node.subsystems is a list of values"),
        ("YHDYSPINTA_NODE__SUBSYSTEMS", 'is a list; write it as ["a", "b"]'),
        ("YHDYSPINTA_NODE__", "is not a setting"),
        ("YHDYSPINTA___", "is not a setting"),
    ],
    ids=lambda value: value[:40],
)
def test_variable_that_does_not_fit_is_told_and_its_value_is_not(tmp_path: Path, variable: str, says: str) -> None:
    with pytest.raises(SettingsError) as refused:
        load(written(tmp_path, GOOD), {variable: "s3cret"})

    assert says in str(refused.value)
    assert "s3cret" not in str(refused.value)


# Lists that Python refuses to make, by their depth and by the length of a number; and bytes that are no text.
HOPELESS = ("[" * 5000, "[" + "9" * 5000 + "]", "[\udcff]")


@pytest.mark.parametrize("value", HOPELESS, ids=["deep", "long", "no text"])
@pytest.mark.parametrize("variable", ["NODE__SUBSYSTEMS", "LIMITS__IN_FLIGHT"])
def test_list_that_cannot_be_made_is_a_fault_of_its_variable(tmp_path: Path, variable: str, value: str) -> None:
    with pytest.raises(SettingsError) as refused:
        load(written(tmp_path, GOOD), {f"YHDYSPINTA_{variable}": value})

    assert variable.lower().replace("__", ".") in str(refused.value)


@examples(200)
@given(
    st.dictionaries(
        st.lists(st.sampled_from(["NODE", "ID", "CLIENTS", "0", "1", "2", "NAME", "TLS", "PEERS", "²", ""]), min_size=2)
        .map("__".join)
        .map(PREFIX.__add__),
        st.sampled_from(["b", "[", "[1]", '["a"]', "[{}]", "[[1]]", "[\n]", "", *HOPELESS]),
    )
)
def test_no_environment_breaks_the_reading(environment: dict[str, str]) -> None:
    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(SettingsError):
        load(written(Path(folder), GOOD), environment)


@pytest.mark.parametrize(
    "variable",
    [
        "YHDYSPINTA_NODE",
        "YHDYSPINTA_RATES",
        "YHDYSPINTA_clients__0__name",
        "yhdyspinta_node__id",
        "Yhdyspinta_Node__Id",
    ],
)
@pytest.mark.parametrize("value", ["s3cret", ""])
def test_variable_that_is_meant_for_settings_and_reaches_none_is_refused(
    tmp_path: Path, variable: str, value: str
) -> None:
    with pytest.raises(SettingsError) as refused:
        load(
            written(tmp_path, GOOD),
            {variable: value, REGISTRY_VARIABLE: "of the registry's keys", "YHDYSPINTAX": "another's"},
        )

    (line,) = refused.value.lines()
    assert line.startswith(f"{variable}: is no setting; write YHDYSPINTA_<SECTION>__<KEY>")


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        ("NOSUCH__KEY", "1", ("nosuch", "is not a setting")),
        ("NODE__NOSUCH", "1", ("node.nosuch", "is not a setting")),
        ("CLIENTS__0__SECRET", "s3cret", ("clients.0.secret", "is not a setting")),
        ("AUDIT__COSIGN_SECONDS", "nan", ("audit.cosign_seconds", "less than or equal")),
        ("AUDIT__READERS", '["a", 1]', ("audit.readers.1", "valid string")),
        ("LISTEN__PEERS", "8443", ("listen.peers", "HOST:PORT")),
        ("SOURCES__0__KIND", "mllp", ("sources.0.name", "is missing")),
    ],
)
def test_what_a_variable_says_wrongly_is_told_with_its_name_and_no_line_of_the_file(
    tmp_path: Path, variable: str, value: str, told: tuple[str, str]
) -> None:
    name = f"YHDYSPINTA_{variable}"

    with pytest.raises(SettingsError) as refused:
        load(written(tmp_path, GOOD), {name: value, "YHDYSPINTA_LIMITS__QUEUE": "64"})

    key, message = told
    assert refused.value.lines()[0].startswith(f"{name}: {key}: ")
    assert message in refused.value.lines()[0]
    assert "s3cret" not in str(refused.value)


def test_what_the_file_says_wrongly_is_told_with_its_line_whatever_lies_over_the_table(tmp_path: Path) -> None:
    text = GOOD.replace('name = "two"', 'nome = "two"')

    found = load_refused(tmp_path, text, {"YHDYSPINTA_CLIENTS__1__IDENTITY": "claimed"})

    line = text.splitlines().index('nome = "two"') + 1
    assert (
        f"{tmp_path / 'node.toml'}:{line}: clients.1.nome: is not a setting; check the spelling or remove it" in found
    )
    assert not any(told.startswith("YHDYSPINTA_") for told in found)


def load_refused(folder: Path, text: str, environment: dict[str, str]) -> list[str]:
    with pytest.raises(SettingsError) as refused:
        load(written(folder, text), environment)
    return refused.value.lines()


def test_everything_that_is_wrong_is_told_at_once_with_its_line(tmp_path: Path) -> None:
    text = (
        GOOD.replace('clients = "[::1]:8444"', 'clients = "8444"')
        .replace('root = "root.json"\n', "")
        .replace('name = "two"', 'name = "two"\nrigths = {}')
        .replace('key = "tls.key"', 'key = "tls.key"\npkcs11_token = "node"')
    )

    found = problems(tmp_path, text)

    lines = text.splitlines()
    assert {key for _, key, _ in found} == {"registry.root", "listen.clients", "clients.1.rigths"}
    by_key = {key: (line, message) for line, key, message in found}
    assert by_key["registry.root"] == (lines.index("[registry]") + 1, "is missing; add it")
    line, message = by_key["listen.clients"]
    assert line == lines.index('clients = "8444"') + 1
    assert '"HOST:PORT"' in message
    assert by_key["clients.1.rigths"] == (
        lines.index("rigths = {}") + 1,
        "is not a setting; check the spelling or remove it",
    )


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (('key = "tls.key"', ""), "give either `key` (a file) or `pkcs11_module`"),
        (('pkcs11_pin = "pin"', ""), "needs pkcs11_module, pkcs11_token, pkcs11_label and pkcs11_pin"),
        (('peers = "127.0.0.1:8443"', 'peers = "127.0.0.1:99999"'), '"HOST:PORT"'),
        (('subsystems = ["FI-DEMO/MUN/9000003-8/kotoutuminen"]', "subsystems = []"), "at least 1 item"),
        (('name = "one"\nsubsystem = "FI-DEMO/MUN/9000003-8/', 'name = "one"\nsubsystem = "'), "INSTANCE/CLASS/MEMBER"),
    ],
    ids=["no-key", "half-a-token", "port", "no-subsystem", "half-an-id"],
)
def test_mistake_is_told_with_what_would_be_right(tmp_path: Path, change: tuple[str, str], told: str) -> None:
    [(line, _, message)] = problems(tmp_path, GOOD.replace(*change))

    assert line is not None
    assert told in message


def test_text_that_is_not_toml_is_told_with_its_line(tmp_path: Path) -> None:
    [(line, key, message)] = problems(tmp_path, GOOD.replace("[registry]", "[registry"))

    assert line == GOOD.splitlines().index("[registry]") + 1
    assert (key, message.startswith("is not TOML")) == ("file", True)


def test_file_that_is_not_there_or_not_utf8_is_told(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="there is no such file"):
        load(tmp_path / "absent.toml", {})
    (tmp_path / "latin.toml").write_bytes('[node]\nid = "ä"'.encode("latin-1"))
    with pytest.raises(SettingsError, match="is not UTF-8"):
        load(tmp_path / "latin.toml", {})


def test_command_prints_a_line_for_each_mistake_and_ends_with_2(tmp_path: Path) -> None:
    path = written(tmp_path, GOOD.replace('root = "root.json"\n', "").replace("id = ", "ident = "))

    done = subprocess.run(
        [sys.executable, "-m", "gateway", "node", "check", "--config", str(path)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 2
    assert f"{path}:1: node.id: is missing; add it" in done.stderr
    assert f"{path}:2: node.ident: is not a setting; check the spelling or remove it" in done.stderr
    assert "registry.root" in done.stderr
    assert done.stdout == ""


def test_every_setting_is_explained_and_the_page_of_settings_is_up_to_date() -> None:
    page = reference()

    rows = [line.split(" | ") for line in page.splitlines() if line.startswith("| `")]
    assert len(rows) > 80
    assert [row[0] for row in rows if row[-1].strip(" |") == ""] == []
    committed = Path(__file__).parents[2] / "docs" / "settings.md"
    assert committed.read_text("utf-8") == page + "\n", "run: yhdyspinta node settings > docs/settings.md"


def test_tables_are_headed_as_they_are_written_in_the_file() -> None:
    headings = [line.removeprefix("## `").rstrip("`") for line in reference().splitlines() if line.startswith("## `")]

    assert {"[[clients]]", "[clients.rights]", "[[services]]", "[node]"} <= set(headings)
    text = "\n".join(headings)
    # Each heading that is inside of a list stands after it, so that together they are TOML.
    assert tomllib.loads(text.replace("[clients.rights]", "[clients.rights]\nactions = []"))["clients"][0]["rights"]


@pytest.mark.parametrize(
    ("door", "told"),
    [
        ('listen = "0.0.0.0:2575"\nplain = true', "on 127.0.0.1 or ::1 only"),
        ('listen = "localhost:2575"\nplain = true', "on 127.0.0.1 or ::1 only"),
        ('listen = "127.0.0.1:2575"', "name the `[[clients]]` whose certificates may send"),
        ('listen = "127.0.0.1:2575"\nplain = true\nsenders = ["one"]', "without TLS nobody shows"),
        ('listen = "127.0.0.1:2575"\nsenders = ["three"]', "no `[[clients]]` is called three"),
    ],
)
def test_a_listener_for_messages_hears_nobody_whom_it_does_not_know(tmp_path: Path, door: str, told: str) -> None:
    source = '\n[[sources]]\nkind = "mllp"\nname = "ward"\nadapter = "county-hl7"\n'
    source += f'subsystem = "FI-DEMO/MUN/9000003-8/kotoutuminen"\n{door}\n'

    with pytest.raises(SettingsError) as refused:
        load(written(tmp_path, GOOD + source))

    assert told in str(refused.value)


def test_a_listener_for_messages_is_plain_on_loopback_or_names_its_senders(tmp_path: Path) -> None:
    source = '\n[[sources]]\nkind = "mllp"\nname = "{name}"\nadapter = "county-hl7"\nlisten = "[::1]:2575"\n'
    source += 'subsystem = "FI-DEMO/MUN/9000003-8/kotoutuminen"\n{door}\n'
    doors = source.format(name="a", door="plain = true") + source.format(name="b", door='senders = ["one"]')

    assert [found.name for found in load(written(tmp_path, GOOD + doors)).sources] == ["a", "b"]
