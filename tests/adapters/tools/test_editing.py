"""One click writes the mapping file: the change and nothing else, comments and order as they were, back by undo."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapters.scaffold.placing import places
from adapters.scaffold.writing import new
from adapters.workbench.editing import Edit, EditError, EditKind, edited
from adapters.workbench.looking import Bench
from tests.adapters.tools.samples import abbreviated_finnish

TEXT = """# By hand.
mapping: harju   # a name
version: 1
source: {format: csv, delimiter: ";", key: Asnro}  # as exported
ignored:
  - Muokkaaja   # bookkeeping
  - "Yes"

tables:
  need: {extends: service-need, asunto: housing}
  gender:
    M: male

resources:
  Patient:
    identifier:
      migri-customer: {from: Asnro, required: true}
    # the day
    birthDate: {from: "Synt.aika", as: fi-date}
    extension:
      move: {municipality: {from: Kunta, as: code municipality}}
# Left for you.
"""


def lines(before: str, after: str) -> tuple[list[str], list[str]]:
    """Lines that went, and lines that came."""
    old, new_ = before.splitlines(), after.splitlines()
    return [line for line in old if line not in new_], [line for line in new_ if line not in old]


@pytest.mark.parametrize(
    ("edit", "went", "came"),
    [
        (Edit(EditKind.IGNORE, "Huone"), [], ["  - Huone"]),
        (Edit(EditKind.IGNORE, "No: 5"), [], ['  - "No: 5"']),
        (
            Edit(EditKind.CANNOT_SAY, "safety-prohibition"),
            [],
            ["cannot-say: [safety-prohibition]"],
        ),
        (
            Edit(EditKind.CODE, "harrastus", table="need", code="settling-in"),
            ["  need: {extends: service-need, asunto: housing}"],
            ["  need: {extends: service-need, asunto: housing, harrastus: settling-in}"],
        ),
        (Edit(EditKind.CODE, "N", table="gender", code="female"), [], ['    "N": female']),
        (
            Edit(EditKind.CODE, "saame", table="language", code="se"),
            [],
            ["  language: {extends: language, saame: se}"],
        ),
        (
            Edit(EditKind.MAP, "SP", path=("gender",), transform="table gender"),
            [],
            ["    gender: {from: SP, as: table gender}"],
        ),
        (
            Edit(EditKind.MAP, "Muuttopvm", path=("extension", "move", "date"), transform="fi-date"),
            ["      move: {municipality: {from: Kunta, as: code municipality}}"],
            ["      move: {municipality: {from: Kunta, as: code municipality}, date: {from: Muuttopvm, as: fi-date}}"],
        ),
        (
            Edit(EditKind.MAP, "Snimi", path=("name", 0, "family")),
            [],
            ["    name: [{family: {from: Snimi}}]"],
        ),
        (
            Edit(EditKind.MAP, "Kieli", path=("communication", 0, "language"), beside={"preferred": True}),
            [],
            ["    communication: [{language: {from: Kieli}, preferred: true}]"],
        ),
        (
            Edit(
                EditKind.MAP,
                "Avun tarve",
                path=("code",),
                transform="code service-need",
                resource="ServiceRequest",
                by="/",
            ),
            [],
            ['  ServiceRequest: {each: {split: Avun tarve, by: "/"}, code: {from: ".", as: code need}}'],
        ),
        (
            Edit(EditKind.MAP, "Turva", path=("extension", "safety-prohibition", "active"), transform="yes-no"),
            [],
            ["      safety-prohibition: {active: {from: Turva, as: yes-no}}"],
        ),
    ],
    ids=range(12),
)
def test_change_is_written_where_a_hand_would_and_nothing_else_is(edit: Edit, went: list[str], came: list[str]) -> None:
    after = edited(TEXT, edit)

    assert lines(TEXT, after) == (went, came)
    assert after.count("#") == TEXT.count("#")


@pytest.mark.parametrize(
    ("held", "written"),
    [
        ("", "    telecom: [{system: phone, value: {from: Puh, as: phone}}]"),
        ("telecom: []", "    telecom: [{system: phone, value: {from: Puh, as: phone}}]"),
        (
            "telecom: [{system: email, value: {from: S}}]",
            "    telecom: [{system: email, value: {from: S}}, {system: phone, value: {from: Puh, as: phone}}]",
        ),
        (
            "telecom:\n      - system: phone\n        value: {from: Kotipuh}  # at home",
            "      - {system: phone, value: {from: Puh, as: phone}}",
        ),
        ("telecom:\n    - {system: phone, value: {from: K}}", "    - {system: phone, value: {from: Puh, as: phone}}"),
    ],
    ids=["none", "an empty list", "in one line", "in blocks", "not indented"],
)
def test_telephone_is_written_behind_what_else_reaches_the_person(held: str, written: str) -> None:
    text = TEXT.replace("    # the day\n", f"    {held}\n    # the day\n" if held else "    # the day\n")
    place = next(place for place in places() if place.concept == "phone")

    after = edited(text, Edit(EditKind.MAP, "Puh", path=place.path, transform=place.transform, beside=place.beside))

    assert lines(text, after)[1] == [written]
    assert after.count("#") == text.count("#")


@pytest.mark.parametrize(
    ("held", "concept", "written"),
    [
        ("", "street", "    address: [{line: [{from: X}]}]"),
        ("", "postal-code", "    address: [{postalCode: {from: X, as: postal-code}}]"),
        (
            "address: [{line: [{from: Katu}]}]",
            "city",
            "    address: [{line: [{from: Katu}], city: {from: X}}]",
        ),
        ("address:\n      - city: {from: K}", "street", "        line: [{from: X}]"),
        ("address: [{line: [{from: Katu}]}]", "street", "edit-there"),
        ("address: []", "street", "    address: [{line: [{from: X}]}]"),
        ("address: {city: {from: K}}", "street", "edit-other"),
        ("telecom: {from: X}", "phone", "edit-other"),
    ],
    ids=range(8),
)
def test_parts_of_an_address_come_together_in_one(held: str, concept: str, written: str) -> None:
    text = TEXT.replace("    # the day\n", f"    {held}\n    # the day\n" if held else "    # the day\n")
    place = next(place for place in places() if place.concept == concept)
    edit = Edit(EditKind.MAP, "X", path=place.path, transform=place.transform, beside=place.beside)

    if written.startswith("edit-"):
        with pytest.raises(EditError, match=written):
            edited(text, edit)
    else:
        assert lines(text, edited(text, edit))[1] == [written]


SHARED = TEXT.replace("ignored:\n", "optional: &names\n  - Huone\nignored: *names\nx-old:\n").replace(
    "gender:\n    M: male", "gender: &sex\n    M: male\n  other: *sex"
)


@pytest.mark.parametrize(
    "edit",
    [
        Edit(EditKind.IGNORE, "Muu"),
        Edit(EditKind.CODE, "N", table="gender", code="female"),
        Edit(EditKind.CODE, "N", table="other", code="female"),
    ],
)
def test_click_at_what_an_anchor_shares_changes_nothing_elsewhere_and_is_refused(edit: Edit) -> None:
    with pytest.raises(EditError) as caught:
        edited(SHARED, edit)

    assert caught.value.code == "edit-shared"


def test_mapping_with_anchors_is_changed_where_nothing_is_shared() -> None:
    alone = SHARED.replace("ignored: *names\n", "").replace("optional: &names", "ignored: &names")

    assert lines(alone, edited(alone, Edit(EditKind.IGNORE, "Muu")))[1] == ["  - Muu"]
    after = edited(SHARED, Edit(EditKind.CODE, "harrastus", table="need", code="settling-in"))

    assert lines(SHARED, after)[1] == ["  need: {extends: service-need, asunto: housing, harrastus: settling-in}"]


def test_what_a_merge_has_brought_is_there_already() -> None:
    text = TEXT.replace("  gender:\n    M: male", "  gender: &sex {M: male}\n  other: {<<: *sex, X: other}")

    with pytest.raises(EditError) as caught:
        edited(text, Edit(EditKind.CODE, "M", table="other", code="female"))

    assert caught.value.code == "edit-there"
    assert "N: female" in edited(text, Edit(EditKind.CODE, "N", table="other", code="female")).replace('"', "")


@pytest.mark.parametrize("told", ["&a [*a]", "&a [x,x,x,x,x,x,x,x,x]"])
def test_anchors_without_end_are_refused(told: str) -> None:
    letters = "bcdefg"
    within = "".join(
        f"{name}: &{name} [{', '.join([f'*{former}'] * 9)}]\n"
        for former, name in zip("a" + letters, letters, strict=False)
    )
    text = TEXT + f"a: {told}\n" + (within if "x" in told else "")

    with pytest.raises(EditError) as caught:
        edited(text, Edit(EditKind.IGNORE, "Huone"))

    assert caught.value.code == "edit-other"


def test_list_in_one_line_grows_in_it_and_a_first_table_stands_before_the_resources() -> None:
    text = "mapping: x\nsource: {format: csv}\nignored: []\nresources:\n  Patient:\n    gender: {from: A}"

    assert "ignored: [B]\n" in edited(text, Edit(EditKind.IGNORE, "B"))
    twice = edited(edited(text, Edit(EditKind.IGNORE, "B")), Edit(EditKind.IGNORE, "C c"))
    assert 'ignored: [B, "C c"]\n' in twice
    tabled = edited(text, Edit(EditKind.CODE, "x", table="language", code="fi"))
    assert "tables:\n  language: {extends: language, x: fi}\n\nresources:" in tabled
    mapped = edited(text, Edit(EditKind.MAP, "S", path=("birthDate",), transform="fi-date"))
    assert mapped.endswith("    gender: {from: A}\n    birthDate: {from: S, as: fi-date}\n")


@pytest.mark.parametrize("name", ["[{family: {from: S}}]", "\n      - family: {from: S}\n        text: {from: T}"])
def test_part_of_a_name_is_put_beside_the_other_however_the_list_is_written(name: str) -> None:
    text = f"source: {{}}\nresources:\n  Patient:\n    name: {name}\n    gender: {{from: A}}\n"
    given = Edit(EditKind.MAP, "E", path=("name", 0, "given"), transform="words")

    after = edited(text, given)

    assert "given: {from: E, as: words}" in after
    assert after.endswith("\n    gender: {from: A}\n")
    with pytest.raises(EditError, match="edit-there"):
        edited(after, given)


@pytest.mark.parametrize(
    ("text", "edit", "code"),
    [
        (TEXT, Edit(EditKind.IGNORE, "Muokkaaja"), "edit-there"),
        (TEXT, Edit(EditKind.CODE, "asunto", table="need", code="education"), "edit-there"),
        (TEXT, Edit(EditKind.MAP, "X", path=("birthDate",)), "edit-there"),
        (TEXT, Edit(EditKind.MAP, "X", path=("birthDate", "from", "y")), "edit-other"),
        (TEXT, Edit(EditKind.MAP, "X", path=("birthDate", 0, "y")), "edit-other"),
        ("resources: {Patient: {name: []}}", Edit(EditKind.MAP, "X", path=("name", 1, "family")), "edit-other"),
        (
            "resources: {ServiceRequest: {}}",
            Edit(EditKind.MAP, "X", path=("c",), resource="ServiceRequest"),
            "edit-there",
        ),
        (TEXT, Edit(EditKind.MAP, "X"), "edit-other"),
        ("ignored: [", Edit(EditKind.IGNORE, "X"), "edit-broken"),
        ("- a", Edit(EditKind.IGNORE, "X"), "edit-broken"),
        ("ignored: x\nsource: {}\n", Edit(EditKind.IGNORE, "X"), "edit-other"),
        ("mapping: x\n", Edit(EditKind.IGNORE, "X"), "edit-other"),
        # As text it would be an empty name between two commas; and a name of the list below, for the first one's last
        # item ends where that list begins.
        ("ignored: [A, ]\nsource: {}\n", Edit(EditKind.IGNORE, "X"), "edit-other"),
        ("ignored:\n  - |\n    A\ncannot-say:\n  - B\nsource: {}\n", Edit(EditKind.IGNORE, "X"), "edit-other"),
    ],
)
def test_what_cannot_be_written_is_refused(text: str, edit: Edit, code: str) -> None:
    with pytest.raises(EditError) as refused:
        edited(text, edit)
    assert refused.value.code == code


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    unseen = abbreviated_finnish()
    (tmp_path / unseen.file).write_bytes(unseen.data)
    return Bench(new(unseen.name, tmp_path / unseen.file, tmp_path).folder)


def test_file_that_changed_meanwhile_is_left_and_undo_brings_the_former_text(bench: Bench) -> None:
    path = bench.folder / "itaraja" / "mapping.yaml"
    before = path.read_bytes()
    seen = bench.look().desk
    assert seen is not None
    assert not seen.may_undo
    bench.edit(Edit(EditKind.IGNORE, "Kenkäkoko"), seen.digest)
    after = path.read_bytes()
    assert after != before

    with pytest.raises(EditError, match="edit-changed"):
        bench.edit(Edit(EditKind.CANNOT_SAY, "safety-prohibition"), seen.digest)
    path.write_bytes(after + b"# mine\n")
    with pytest.raises(EditError, match="edit-changed"):
        bench.undo()
    assert path.read_bytes() == after + b"# mine\n"
    path.write_bytes(after)
    bench.undo()
    assert path.read_bytes() == before
    with pytest.raises(EditError, match="edit-none"):
        bench.undo()


def test_change_that_would_not_compile_is_not_written(bench: Bench) -> None:
    path = bench.folder / "itaraja" / "mapping.yaml"
    before = path.read_bytes()
    desk = bench.look().desk
    assert desk is not None

    with pytest.raises(EditError) as refused:
        bench.edit(Edit(EditKind.MAP, "Kenkäkoko", path=("noSuch",)), desk.digest)

    assert refused.value.code == "edit-fault"
    assert "noSuch" in refused.value.told
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir() if file.name.startswith(".")] == []


def test_findings_are_told_by_code_and_columns_are_proposed_anew(bench: Bench) -> None:
    sample = next((bench.folder / "samples").iterdir())
    text = sample.read_bytes().decode("utf-16")
    rows = [line.split("\t") for line in text.splitlines()]
    rows = [[*row, "Turvakielto" if number == 0 else "E"] for number, row in enumerate(rows)]
    sample.write_bytes("\r\n".join("\t".join(row) for row in rows).encode("utf-16"))

    look = bench.look()

    assert look.desk is not None
    assert look.desk.proposed["Turvakielto"] == "safety-prohibition"
    (told,) = [told for told in look.told if told.finding.position.column == "Turvakielto"]
    assert len(told.numbers) == len(rows) - 1
    assert all(record.key for record in look.records)
    place = next(place for place in places() if place.concept == "safety-prohibition")
    bench.edit(Edit(EditKind.MAP, "Turvakielto", path=place.path, transform=place.transform), look.desk.digest)
    again = bench.look()
    assert again.fault is None
    assert [cell.state for cell in again.cells if cell.column == "Turvakielto"] == ["taken"]
