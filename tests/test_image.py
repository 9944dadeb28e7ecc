"""The image of a node is built from all of the product's packages, and the build may see each of them."""

from __future__ import annotations

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["root_packages"])


def test_build_of_the_image_sees_and_copies_each_package() -> None:
    steps = [line.split() for line in (ROOT / "docker/Dockerfile").read_text().splitlines()]
    copied = {step[1] for step in steps if step[:1] == ["COPY"] and len(step) == 3}
    seen = {line.removeprefix("!") for line in (ROOT / ".dockerignore").read_text().split() if line.startswith("!")}

    assert copied >= PACKAGES, "packages that the image would lack"
    assert copied - {"./"} <= seen | {name for name in copied if "=" in name}, "files that the build may not see"
