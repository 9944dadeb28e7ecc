"""A package that was altered deceives neither who follows its README to the letter nor who runs the command."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from audit.tree.checkpoint import LogSigner, parse_checkpoint
from gateway.evidence import package, readme
from tests import parts
from tests.gateway.evidence.following import checked, flipped, followed

pytestmark = pytest.mark.xdist_group("evidence")
Files = dict[str, bytes]


def unpacked(files: Mapping[str, bytes], folder: Path) -> Path:
    for name, content in files.items():
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
    return folder


def is_noticed_by_hand(files: Mapping[str, bytes], folder: Path) -> bool:
    parts.tool("openssl", "Install openssl 3.")
    return not all(ended_well for ended_well, _ in followed(unpacked(files, folder)))


def answer_and_its_digest(files: Files) -> Files:
    body = files["bodies/response"].replace(b"Patient", b"Pat1ent", 1)
    was, now = (base64.b64encode(sha256(text).digest()) for text in (files["bodies/response"], body))
    claims = files["check/response.claims.json"].replace(was, now)
    assert claims != files["check/response.claims.json"]
    return {"bodies/response": body, "check/response.claims.json": claims}


def purpose_for_reading(files: Files) -> Files:
    return {"check/request.claims.json": files["check/request.claims.json"].replace(b"need", b"meed")}


def entry_for_reading(files: Files) -> Files:
    return {"log/entry-1.json": files["log/entry-1.json"].replace(b"requested", b"refused")}


def log_of_another_key(files: Files) -> Files:
    checkpoint = parse_checkpoint(files["log/checkpoint.txt"].decode())
    key = Ed25519PrivateKey.from_private_bytes(bytes(32))
    signer = LogSigner(key, checkpoint.origin)
    forged = signer.sign(checkpoint.size + 4, bytes(32))
    return {
        "log/key.pem": key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        "log/checkpoint.txt": forged.note.encode(),
        "check/checkpoint.text": forged.text.encode(),
        "check/checkpoint.signature": forged.signatures[0].signature,
    }


def log_of_another_key_everywhere(files: Files) -> Files:
    """A log of one's own throughout, which agrees with itself: only the registry does not list its key."""
    signer = LogSigner(Ed25519PrivateKey.from_private_bytes(bytes(32)), "yhdyspinta/kotka.demo")
    export = orjson.loads(files["log/export.json"])
    checkpoint = parse_checkpoint(export["checkpoint"])
    again = signer.sign(checkpoint.size, checkpoint.root)
    export |= {"log_key": str(signer.verifier), "checkpoint": again.note}
    changed = log_of_another_key(files)
    return changed | {
        "log/export.json": orjson.dumps(export, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS),
        "log/checkpoint.txt": again.note.encode(),
        "log/key.txt": f"{signer.verifier}\n".encode(),
        "check/checkpoint.text": again.text.encode(),
        "check/checkpoint.signature": again.signatures[0].signature,
    }


FORGERIES: dict[str, Callable[[Files], Files]] = {
    "the answer, and its digest for reading": answer_and_its_digest,
    "the purpose for reading": purpose_for_reading,
    "an entry for reading": entry_for_reading,
    "the log for reading, of another key and size": log_of_another_key,
    "the whole log, of another key": log_of_another_key_everywhere,
}


@pytest.mark.parametrize("forge", FORGERIES.values(), ids=FORGERIES)
def test_forgery_is_noticed_by_hand_and_by_the_command(
    sound: Files, tmp_path: Path, forge: Callable[[Files], Files]
) -> None:
    changed = forge(sound)
    assert any(sound[name] != content for name, content in changed.items()), "the test alters something"

    forged = sound | changed

    assert is_noticed_by_hand(forged, tmp_path)
    assert not checked(forged).sound


def test_untouched_package_holds_by_hand_and_by_the_command(sound: Files, tmp_path: Path) -> None:
    assert not is_noticed_by_hand(sound, tmp_path)
    assert checked(sound).sound


@pytest.mark.parametrize("place", ["in the middle", "at the end"])
def test_flip_of_one_bit_in_any_file_for_people_is_noticed_by_hand(sound: Files, tmp_path: Path, place: str) -> None:
    for_people = [
        name
        for name in sound
        if name.startswith(("certificates/", "check/", "log/entry-", "log/checkpoint", "log/key", "bodies/"))
        or name.endswith((".jws", "/checkpoint.txt", ".proof"))
    ]
    assert len(for_people) > 20

    unnoticed = []
    for number, name in enumerate(for_people):
        at = len(sound[name]) // 2 if place == "in the middle" else len(sound[name]) - 1
        altered = sound | {name: flipped(sound[name], at)}
        if not is_noticed_by_hand(altered, tmp_path / str(number)):
            unnoticed.append(name)

    assert unnoticed == []


def test_flip_of_one_bit_in_any_derived_file_is_named_by_the_command(sound: Files) -> None:
    derived = [
        name
        for name in sound
        if name.startswith(("certificates/", "check/", "log/entry-", "log/checkpoint", "log/key"))
        or name in {"README.txt", "timestamp/checkpoint.txt"}
        or name.endswith(".proof")
    ]

    for name in derived:
        for at in {0, len(sound[name]) // 2, len(sound[name]) - 1}:
            (wrong,) = [
                finding for finding in checked(sound | {name: flipped(sound[name], at)}).findings if not finding.holds
            ]

            assert name in wrong.text


def signatures_of(data: bytes) -> list[str]:
    return [text for item in orjson.loads(data)["signatures"] for text in (item["sig"], item["keyid"])]


def test_signature_of_the_registry_that_is_spare_is_not_altered_unnoticed(sound: Files) -> None:
    metadata = [name for name in sound if "/metadata/" in name]
    assert any(len(signatures_of(sound[name])) > 4 for name in metadata), "the root has more than it needs"

    for name in metadata:
        for text in signatures_of(sound[name]):
            at = sound[name].index(text.encode())
            letter = next(place for place in range(at, at + len(text)) if sound[name][place : place + 1].isalpha())
            others = [
                flipped(sound[name], at),
                # The same number in a capital letter is another text.
                sound[name][:letter] + sound[name][letter : letter + 1].upper() + sound[name][letter + 1 :],
            ]
            for altered in others:
                report = checked(sound | {name: altered})

                assert not report.sound, name


@pytest.mark.parametrize(
    "name", ["bodies/response", "bodies/request", "log/entry-2.json", "log/entry-1.proof", "certificates/anchor-1.pem"]
)
def test_file_that_is_missing_is_noticed_by_hand_and_by_the_command(sound: Files, tmp_path: Path, name: str) -> None:
    rest = {other: content for other, content in sound.items() if other != name}

    assert is_noticed_by_hand(rest, tmp_path)
    report = checked(rest)

    assert not report.sound
    assert [finding.code for finding in report.findings if not finding.holds] == ["files"]


@pytest.mark.parametrize("name", ["bodies/other", "check/other.claims.json", "registry/77/targets/members.json"])
def test_file_in_excess_is_named(sound: Files, name: str) -> None:
    assert not checked(sound | {name: b"{}"}).sound


def test_package_of_the_earlier_form_is_verified_and_not_said_to_be_compared(sound: Files) -> None:
    manifest = sound[package.MANIFEST].replace(package.FORMAT.encode(), package.FORMER.encode())

    report = checked(sound | {package.MANIFEST: manifest, "check/request.claims.json": b"anything"})

    assert report.sound
    assert not report.compared
    assert "files" not in [finding.code for finding in report.findings]


def test_the_readme_is_that_of_its_form() -> None:
    """A package is compared with what this version writes: another wording needs another form, or old ones fail."""
    stamped = {"stamped": b"", "timestamp": b"", "authorities": b""}
    evidence = package.Evidence("1-2-3", "sent", "", 1, {1: {}}, b"", "", 1, bodies={"request": b""}, **stamped)
    signed = [readme.SignedPart("request", "ES256", 0, 1), readme.SignedPart("response", "EdDSA", 0, 1)]
    log = readme.SignedLog("yhdyspinta/a.example", "\u2014 yhdyspinta/a.example AAAAA", 2, 1)

    written = [
        readme.readme(evidence, signed, {1: 1}, log),
        readme.readme(replace(evidence, response=None, bodies={}, timestamp=None), signed[:1], {}, log),
    ]

    digest = sha256("".join(written).encode()).hexdigest()
    assert (package.FORMAT, digest) == (
        "yhdyspinta-evidence/2",
        "f4d2800646ed688111727d68864146a10060752bb26e40108de399ea048df78d",
    )
