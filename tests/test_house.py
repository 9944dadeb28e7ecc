"""What holds for the tests themselves: how busy a machine is decides none, and all tell in one way what is missing."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "tests").rglob("*.py"))
WAITING = {"wait", "join", "result", "get", "acquire"}


def is_call_of(node: ast.AST, *names: str) -> bool:
    """Whether it calls one of these, `module.name`."""
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and any(ast.unparse(node.func).endswith(name) for name in names)
    )


def is_number(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, (int, float)) and not isinstance(node.value, bool)


def limits(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Where something is given up by the clock: (line, how)."""
    for node in ast.walk(tree):
        if is_call_of(node, "asyncio.wait_for", "asyncio.timeout", ".settimeout"):
            yield node.lineno, ast.unparse(node)  # type: ignore[attr-defined]
        elif isinstance(node, ast.Attribute) and ast.unparse(node) == "pytest.mark.timeout":
            yield node.lineno, ast.unparse(node)
        elif isinstance(node, ast.Call):
            if any(keyword.arg in {"timeout", "total"} and is_number(keyword.value) for keyword in node.keywords):
                yield node.lineno, ast.unparse(node)
            name = node.func.attr if isinstance(node.func, ast.Attribute) else ""
            if name in WAITING and len(node.args) == 1 and is_number(node.args[0]):
                yield node.lineno, ast.unparse(node)
        elif isinstance(node, ast.Compare):
            hurries = isinstance(node.ops[0], (ast.Lt, ast.LtE, ast.Gt))
            if hurries and any(is_call_of(part, "time.monotonic", "().time") for part in ast.walk(node)):
                yield node.lineno, ast.unparse(node)


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_no_test_gives_up_by_the_clock(file: Path) -> None:
    found = [f"{line}: {how}" for line, how in limits(ast.parse(file.read_text("utf-8")))]

    assert found == [], "wait with tests/waiting.py, or leave the limit to pytest"


@pytest.mark.parametrize(
    "code",
    [
        "await asyncio.wait_for(task, 20)",
        "async with asyncio.timeout(30): pass",
        "subprocess.run(command, timeout=60)",
        "process.wait(20)",
        "raw.settimeout(10)",
        "assert time.monotonic() < end",
        "assert asyncio.get_running_loop().time() < deadline",
        "aiohttp.ClientTimeout(total=2)",
        "@pytest.mark.timeout(600)\ndef test(): pass",
    ],
)
def test_what_gives_up_by_the_clock_is_seen(code: str) -> None:
    assert list(limits(ast.parse(code)))


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_a_missing_part_is_told_by_the_one_helper_which_fails_in_ci(file: Path) -> None:
    if file.name == "parts.py":
        return
    calls = [node for node in ast.walk(ast.parse(file.read_text("utf-8"))) if isinstance(node, ast.Call)]

    assert [ast.unparse(call) for call in calls if is_call_of(call, "pytest.importorskip", "shutil.which")] == []


def test_a_missing_part_fails_in_ci_and_is_skipped_loudly_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    from tests import parts

    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="no-such-tool is not on this machine"):
        parts.tool("no-such-tool")
    with pytest.raises(pytest.fail.Exception, match="no_such_module"):
        parts.module("no_such_module")
    with pytest.raises(pytest.fail.Exception, match="apt-get install x"):
        parts.file("X", ("/no/such/file",), "apt-get install x")
    monkeypatch.delenv("CI")
    with pytest.raises(pytest.skip.Exception, match="this test did not run"):
        parts.tool("no-such-tool")


def test_log_entries_of_a_node_are_made_in_one_module() -> None:
    makers = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "gateway").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Entry"
    }

    assert makers == {"gateway/story.py"}
