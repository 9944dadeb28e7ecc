"""Escapes in HL7 messages: what is one is decoded, what is none stays, and nothing is dropped."""

from __future__ import annotations

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.hl7_escapes import unescaped
from adapters.hl7_messages import _escaped
from adapters.sdk import UNREADABLE
from tests.adapters.reading import convert, only, refusals


def message(
    health: str = "", street: str = "Hiekkatie 1", prohibition: str = "", charset: str = "UNICODE UTF-8"
) -> bytes:
    lines = [
        f"MSH|^~\\&|ASIAKASTIETO|ALUE|||20261124080000+0200||REF^I12^REF_I12|1|P|2.5.1|||||FIN|{charset}",
        f"PID|1||A-77^^^MIGRI^PI||Lokivuoto^Etu||19920101|M|||{street}^^Kotka^^48100",
        "OBX|1|ST|LUPA||asylum-granted||||||F",
        f"OBX|2|ST|TERVEYS||{health}||||||F" if health else "",
        prohibition,
    ]
    return "\r".join(line for line in lines if line).encode() + b"\r"


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (
            r"HIV-hoito, ks. K:\hoito\Lokivuoto_Etu.pdf, lue heti",
            r"HIV-hoito, ks. K:\hoito\Lokivuoto_Etu.pdf, lue heti",
        ),
        (r"Hiekkatie 12\B 3", r"Hiekkatie 12\B 3"),
        (r"a\Q\b", r"a\Q\b"),
        (r"\Zabc\ x", r"\Zabc\ x"),
        (r"\\", r"\\"),
        ("\\", "\\"),
        (r"x\F\y\S\z\T\Å\R\ä\E\ö", r"x|y^z&Å~ä" + "\\ö"),
        (r"\H\tärkeä\N\ asia", "tärkeä asia"),
        (r"J\XC3A4\rvi", "Järvi"),
        (r"J\XE4\rvi", UNREADABLE),
        (r"\C2842\x", UNREADABLE),
        (r"\M244242\x", UNREADABLE),
        (r"rivi\.br\toinen", "rivi\ntoinen"),
        (r"a\.sp2\b\.in+4\c\.fi\d", "a\n\nb    cd"),
        (r"\.br999999999\x", r"\.br999999999\x"),
        (r"\Xzz\ \X4\ ", r"\Xzz\ \X4\ "),
        (r"polku\F\E\Fx", r"polku|E" + "\\Fx"),
    ],
)
def test_an_escape_is_decoded_and_what_is_none_is_kept(written: str, meant: object) -> None:
    assert unescaped(written, "utf-8") == meant


def test_bytes_are_read_in_the_character_set_of_the_message() -> None:
    assert unescaped(r"J\XE4\rvi", "iso-8859-1") == "Järvi"


@given(st.text())
def test_what_was_escaped_is_read_back(text: str) -> None:
    assert unescaped(_escaped(text), "utf-8") == text


@given(st.text(st.sampled_from("\\FSTRHNXCMZ.br2 äa"), max_size=30))
def test_letters_that_are_no_part_of_an_escape_are_never_lost(text: str) -> None:
    made = unescaped(text, "utf-8")

    assert made is UNREADABLE or str(made).count("ä") >= text.count("ä")


def test_a_path_in_a_note_arrives_whole_and_is_logged_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    note = r"HIV-hoito, ks. K:\hoito\Lokivuoto_Etu.pdf, lue heti"

    with caplog.at_level(logging.DEBUG):
        bundle = only(convert("county-hl7", message(note, r"Hiekkatie 12\B 3")))

    notes = [one["resource"].get("valueString") for one in bundle["entry"]]
    assert note in notes
    assert bundle["entry"][0]["resource"]["address"][0]["line"] == [r"Hiekkatie 12\B 3"]
    assert caplog.records == []


@pytest.mark.parametrize("escape", [r"\C2842\x", r"\XFF\x"])
def test_an_escape_that_cannot_be_decoded_stops_the_record_at_its_field(escape: str) -> None:
    (mapped,) = convert("county-hl7", message(escape))

    assert mapped.bundle is None
    assert [(one.code, one.position.column) for one in refusals([mapped])] == [("unreadable", "OBX[2]/5.1")]


@pytest.mark.parametrize(
    ("name", "code"),
    [("turvakielto", "code-unknown"), (" TURVAKIELTO", "code-unknown"), (r"TURVA\C2842\KIELTO", "unreadable")],
)
def test_a_prohibition_whose_name_is_nearly_right_stops_the_record(name: str, code: str) -> None:
    (mapped,) = convert("county-hl7", message(prohibition=f"OBX|3|ST|{name}||K||||||F"))

    assert mapped.bundle is None
    assert [(one.code, one.position.column) for one in refusals([mapped])] == [(code, "OBX[2]")]
