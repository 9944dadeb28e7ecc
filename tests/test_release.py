"""The version that is written down is one version: in the project's settings and in the changelog."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_changelog_ends_at_the_version_of_the_project_or_has_none_yet() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    headings = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text("utf-8"), flags=re.MULTILINE)

    assert headings[0] == "Unreleased"
    released = headings[1:]
    assert all(re.fullmatch(r"\d+\.\d+\.\d+, \d{4}-\d\d-\d\d", heading) for heading in released)
    if released:
        assert released[0].split(",")[0] == version, "the newest release and the version of pyproject.toml differ"


def test_what_releasing_names_is_there() -> None:
    page = (ROOT / "docs" / "releasing.md").read_text("utf-8")
    makefile = (ROOT / "Makefile").read_text("utf-8")

    for target in re.findall(r"`make ([a-z]+)", page):
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target
    for path in re.findall(r"`(\.ci/run|scripts/[\w-]+|requirements\.lock|tests/[\w.]+)`", page):
        assert (ROOT / path).exists(), path
