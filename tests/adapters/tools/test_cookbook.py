"""Every case of the cookbook, run: the sample becomes the result, with these findings and no other."""

from __future__ import annotations

import io
import json
import sys
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from adapters import layouts, mapping
from adapters.compiling import VALUE_MEMBERS
from adapters.mapped import MappedAdapter
from adapters.protecting import DECLARED, table
from adapters.reference import reference
from adapters.sdk import Limits, Manifest, Text
from adapters.sdk.testing import CHECKS, open_folder
from adapters.texts import CODES
from adapters.transforms import TRANSFORMS
from schemas.catalogue import catalogue
from schemas.codes import code_systems
from tests.adapters.tools.documents import DOCS, Block, blocks

CASES: dict[str, dict[str, Block]] = defaultdict(dict)
for block in blocks(DOCS / "cookbook.md"):
    CASES[block.heading][block.about or ("python" if block.language == "python" else block.language)] = block


def at(bundle: Any, pointer: str) -> Any:
    for step in pointer.strip("/").split("/"):
        bundle = bundle[int(step)] if isinstance(bundle, list) else bundle[step]
    return bundle


def test_there_are_ten_cases() -> None:
    assert [one.split(".")[0] for one in CASES] == [str(number) for number in range(1, 11)]


@pytest.mark.parametrize("heading", CASES, ids=lambda heading: heading.split(".")[0])
def test_the_case_becomes_what_it_says(heading: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case = CASES[heading]
    sample = next(case[one] for one in ("csv", "json", "xml") if one in case)
    package = tmp_path / "cookbook_case"
    package.mkdir()
    (package / "__init__.py").write_text(case["python"].text if "python" in case else "", encoding="utf-8")
    (package / "mapping.yaml").write_text(case["yaml"].text, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    sys.modules.pop("cookbook_case", None)
    import cookbook_case  # type: ignore[import-not-found]

    made = getattr(cookbook_case, "Adapter", MappedAdapter)
    manifest = Manifest("case", Text("t", "t", "t"), ("text/plain",))
    functions = getattr(cookbook_case, "FUNCTIONS", {})
    adapter = made(manifest, "cookbook_case", "mapping.yaml", functions=functions)

    results = {one.key: one for one in adapter.convert(io.BytesIO(sample.text.encode("iso-8859-1")), Limits())}

    wanted = json.loads(case["result"].text)
    assert set(results) == set(wanted)
    for key, values in wanted.items():
        bundle = results[key].bundle
        if values is None:
            assert bundle is None
            continue
        assert bundle is not None, results[key].findings
        assert catalogue().validate_bundle(bundle) == []
        assert {pointer: at(bundle, pointer) for pointer in values} == values
    told = [
        f"{found.position.row} {found.position.column} {found.code}"
        for one in results.values()
        for found in one.findings
    ]
    assert told == (case["findings"].text.splitlines() if "findings" in case else [])
    for one in functions.values():
        given, made_of = one.example
        assert one.forward(given) == made_of


def test_the_reference_is_what_the_code_says() -> None:
    written = (DOCS / "reference.md").read_text("utf-8")

    assert written == reference(), "run: yhdyspinta adapter reference > docs/adapters/reference.md"


def registries() -> dict[str, Iterable[str]]:
    """All that the code knows by name, by what it is."""
    must_and_may = [member for names in mapping.FORMATS.values() for members in names for member in members]
    return {
        "member of the file": mapping.MEMBERS,
        "member of a value": VALUE_MEMBERS,
        "format": mapping.FORMATS,
        "member of a source": must_and_may,
        "member of a layout": [name for names in layouts.MEMBERS.values() for name in names],
        "transform": TRANSFORMS,
        "code system": code_systems(),
        "finding": CODES,
        "protecting fact": DECLARED,
        "limit": [name for name in Limits.__slots__ if name != "clock"],
    }


@pytest.mark.parametrize("kind", registries())
def test_the_reference_tells_of_all_that_the_code_knows(kind: str) -> None:
    rows = [line for line in (DOCS / "reference.md").read_text("utf-8").splitlines() if line.startswith("|")]

    untold = [name for name in registries()[kind] if not any(f"`{name}`" in row for row in rows)]

    assert untold == []


def test_the_reference_tells_of_every_resource_and_every_rule_of_doubt() -> None:
    lines = (DOCS / "reference.md").read_text("utf-8").splitlines()

    assert [name for name in catalogue().resources if f"### {name}" not in lines] == []
    assert [row for row in table() if f"| {' | '.join(row)} |" not in lines] == []


def test_the_page_tells_of_every_check_that_an_adapter_must_pass() -> None:
    checks = (DOCS / "README.md").read_text("utf-8")

    assert [check.name for check in CHECKS if f"**{check.name}**" not in checks] == []


def test_the_example_passes_what_every_adapter_must_hold() -> None:
    package = open_folder(DOCS / "example")

    assert {check.name: check.faults(package) for check in CHECKS if check.applies(package)} == {
        check.name: [] for check in CHECKS if check.applies(package)
    }


def test_the_settings_of_every_source_in_the_documentation_are_settings(tmp_path: Path) -> None:
    import tomllib

    from pydantic import TypeAdapter

    from gateway.settings.sources import SourceSettings

    shown = [one.text for one in blocks(DOCS / "sources.md") if one.language == "toml"]
    read: Any = TypeAdapter(SourceSettings)

    kinds = [read.validate_python(tomllib.loads(text)["sources"][0]).kind for text in shown]

    # Each kind that there is, as the settings' own description tells them.
    known = read.json_schema()["discriminator"]["mapping"]
    assert set(kinds) == set(known)
