"""What the product promises to refuse and to survive has tests, and its guards have faults that are known."""

from __future__ import annotations

import ast
import re
import subprocess
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
PROMISES: list[dict[str, Any]] = tomllib.loads((ROOT / "docs" / "security-promises.toml").read_text("utf-8"))["promise"]
MUTANTS: list[dict[str, Any]] = tomllib.loads((ROOT / "tests" / "mutants" / "mutants.toml").read_text("utf-8"))[
    "mutant"
]

#: Promises that nothing shows yet. The set shrinks; a new promise comes with its test.
OPEN: frozenset[str] = frozenset()


@cache
def functions(path: str) -> frozenset[str]:
    """The names of the functions in a file of tests."""
    tree = ast.parse((ROOT / path).read_text("utf-8"))
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def is_there(test: str) -> bool:
    path, _, name = test.partition("::")
    return (ROOT / path).is_file() and (not name or name.partition("[")[0] in functions(path))


def test_every_promise_has_a_name_of_its_own_and_says_something() -> None:
    names = [promise["id"] for promise in PROMISES]

    assert len(set(names)) == len(names)
    assert [name for name in names if not re.fullmatch(r"[A-Z]+-[1-9][0-9]?", name)] == []
    assert [promise["id"] for promise in PROMISES if not promise["text"].endswith(".")] == []
    assert [promise["id"] for promise in PROMISES if promise.keys() - {"id", "text", "tests", "mutants"}] == []


@pytest.mark.parametrize("promise", PROMISES, ids=[promise["id"] for promise in PROMISES])
def test_every_promise_names_tests_that_are_there(promise: dict[str, Any]) -> None:
    assert [test for test in promise["tests"] if not is_there(test)] == []
    if promise["id"] in OPEN:
        assert promise["tests"] == [], "it has tests now: take it out of the open ones"
    else:
        assert promise["tests"], "a promise without a test is none"


def test_every_fault_names_a_test_that_is_there_and_promises_name_faults_that_are_there() -> None:
    faults = {Path(mutant["patch"]).stem for mutant in MUTANTS}
    named = {fault for promise in PROMISES for fault in promise.get("mutants", ())}

    assert [mutant["test"] for mutant in MUTANTS if not is_there(mutant["test"])] == []
    assert {path.stem for path in (ROOT / "tests" / "mutants").glob("*.patch")} == faults
    assert named <= faults
    assert [promise["id"] for promise in PROMISES if not promise.get("mutants")] == [], "no fault takes their guard out"


@pytest.mark.parametrize("mutant", MUTANTS, ids=[Path(mutant["patch"]).stem for mutant in MUTANTS])
def test_every_fault_can_still_be_put_in(mutant: dict[str, Any]) -> None:
    """Where a change moves a guard, its fault is made anew; else `make survive` would show nothing for it."""
    patch = ROOT / "tests" / "mutants" / mutant["patch"]

    tried = subprocess.run(
        ["patch", "-p1", "--dry-run", "--force", "-i", str(patch)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert tried.returncode == 0, tried.stdout
