"""What holds for the tests themselves: how busy a machine is decides none, and all tell in one way what is missing."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
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


# -- sizes -------------------------------------------------------------------------------------------------------------

PRODUCT = ("gateway", "audit", "consent", "adapters", "schemas", "texts")
LINES, LENGTH, PARAMETERS, ROOM = 450, 60, 5, 5000

#: Functions over five parameters that docs/adr/0009-sizes.md names, with its reasons. At most ten.
NAMED = frozenset(
    {
        "consent/deciding/examples.py: decide_case",
        "gateway/wire/problems.py: __init__",
        "gateway/web/listeners.py: __init__",
    }
)

#: Rooms with pieces that are still too large, and how many they may have: files, functions, functions with too many
#: parameters, loops over `one`. The numbers only go down; a room that has none left leaves the table.
LATER: Mapping[str, tuple[int, int, int, int]] = {}

Found = tuple[list[str], list[str], list[str], list[str]]


def is_command(node: ast.FunctionDef | ast.AsyncFunctionDef, tree: ast.Module) -> bool:
    """Whether its parameters are the options of a command: decorated as one, or listed in its module's COMMANDS."""
    if any(re.match(r"\w*app\.(command|callback)\b", ast.unparse(decorator)) for decorator in node.decorator_list):
        return True
    return any(
        isinstance(statement, ast.Assign)
        and ast.unparse(statement.targets[0]) == "COMMANDS"
        and isinstance(statement.value, ast.Tuple)
        and node.name in {ast.unparse(name) for name in statement.value.elts}
        for statement in tree.body
    )


def parameters(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """How many there are besides `self` or `cls`."""
    given = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    return len([parameter for parameter in given if parameter.arg not in {"self", "cls"}])


def too_large(path: str, source: str) -> Found:
    """Files, functions, signatures and loops of a module that are beyond what the house allows."""
    tree = ast.parse(source)
    files = [path] if source.count("\n") > LINES else []
    functions, signatures, loops = [], [], []
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            name = f"{path}: {node.name}"
            if (node.end_lineno or 0) - node.lineno + 1 > LENGTH:
                functions.append(name)
            if parameters(node) > PARAMETERS and name not in NAMED and not is_command(node, tree):
                signatures.append(name)
        looping = isinstance(node, ast.For | ast.AsyncFor | ast.comprehension)
        if looping and ast.unparse(node.target) in {"one", "each", "it"}:
            loops.append(f"{path}: {ast.unparse(node.target)} in {ast.unparse(node.iter)}")
    return files, functions, signatures, loops


def rooms() -> Iterator[tuple[str, Found]]:
    """Each room with what is too large in it."""
    found: dict[str, Found] = {}
    for path in sorted(file for top in PRODUCT for file in (ROOT / top).rglob("*.py")):
        parts = path.relative_to(ROOT).parts
        if "migrations" in parts:
            continue
        depth = 3 if parts[:2] == ("gateway", "registry") else 2
        room = found.setdefault("/".join(parts[: min(depth, len(parts) - 1)]), ([], [], [], []))
        for gathered, more in zip(room, too_large("/".join(parts), path.read_text("utf-8")), strict=True):
            gathered += more
    yield from found.items()


ROOMS = dict(rooms())


@pytest.mark.parametrize("room", ROOMS)
def test_files_functions_and_signatures_are_no_larger_than_the_house_allows(room: str) -> None:
    allowed = LATER.get(room, (0, 0, 0, 0))
    beyond = [found for found, most in zip(ROOMS[room], allowed, strict=True) if len(found) > most]

    assert beyond == [], "cut it, or give what travels together a name"


def test_no_room_of_the_node_is_too_large_to_be_known() -> None:
    lines: dict[str, int] = {}
    for path in (ROOT / "gateway").rglob("*.py"):
        room, *inside = path.relative_to(ROOT / "gateway").parts
        lines[room] = lines.get(room, 0) + ("migrations" not in inside) * path.read_text("utf-8").count("\n")

    assert [room for room, count in lines.items() if count >= ROOM] == []


def test_rooms_that_have_nothing_too_large_left_leave_the_table() -> None:
    assert [room for room in LATER if room not in ROOMS or not any(ROOMS[room])] == []
    assert len(NAMED) <= 10


def test_signatures_that_the_decision_names_are_in_the_house_and_too_long() -> None:
    text = (ROOT / "docs/adr/0009-sizes.md").read_text("utf-8")

    for name in NAMED:
        path, _, function = name.partition(": ")
        assert f"`{function}` in `{path}`" in text
        nodes = ast.walk(ast.parse((ROOT / path).read_text("utf-8")))
        assert any(
            isinstance(node, ast.FunctionDef) and node.name == function and parameters(node) > PARAMETERS
            for node in nodes
        )


@pytest.mark.parametrize(
    ("source", "index"),
    [
        ("x = 1\n" * 451, 0),
        ("def f():\n" + "    x = 1\n" * 60, 1),
        ("def f(a, b, c, d, e, g): ...", 2),
        ("class C:\n    def f(self, a, b, c, d, e, *, g): ...", 2),
        ("for one in range(3): print(one)", 3),
        ("x = [each for each in range(3)]", 3),
    ],
)
def test_what_is_too_large_is_seen(source: str, index: int) -> None:
    assert [len(found) for found in too_large("x.py", source)] == [int(place == index) for place in range(4)]


@pytest.mark.parametrize(
    "source",
    [
        "class C:\n    def f(self, a, b, c, d, e): ...",
        "@app.command()\ndef f(a, b, c, d, e, g): ...",
        "def f(a, b, c, d, e, g): ...\nCOMMANDS = (f,)",
    ],
)
def test_what_is_within_the_limits_is_left_alone(source: str) -> None:
    assert too_large("x.py", source) == ([], [], [], [])


# -- merges ------------------------------------------------------------------------------------------------------------

MARKER = re.compile(rb"^([<=>|])\1{6}(?: .*)?\r?$", re.MULTILINE)
TOPS = (*PRODUCT, "tests", "docs", "docker", "scripts", "bench", ".github", ".ci")


def kept() -> Iterator[Path]:
    """The files of this tree, but for what tools make beside them."""
    tops = (path for path in ROOT.iterdir() if path.name in TOPS or path.is_file())
    for top in tops:
        for path in [top] if top.is_file() else top.rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                yield path


def test_no_file_holds_the_marks_of_an_unfinished_merge() -> None:
    assert [str(path.relative_to(ROOT)) for path in kept() if MARKER.search(path.read_bytes())] == []


@pytest.mark.parametrize("line", ["<<<<<<< HEAD", "=======", ">>>>>>> main", "||||||| 29baf96", "=======\r"])
def test_the_marks_of_a_merge_are_seen(line: str) -> None:
    assert MARKER.search(f"before\n{line}\nafter\n".encode())
    assert not MARKER.search(f"before\n{line[0] * 8}\n {line}\n".encode())
