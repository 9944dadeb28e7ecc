"""A published code is one that happens: the product raises it, a test meets it, and one that has left stays away."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import adapters
import audit
import consent
import gateway
import schemas
from gateway.wire.problem_table import TABLE, read
from texts import Text

PACKAGES = (gateway, audit, consent, adapters, schemas)
TESTS = Path(__file__).parents[2]

#: Calls whose first argument is the code of a problem that reaches a caller or the log.
RAISERS = {"ProblemError", "NothingTakenError", "SubjectIdentifierError", "_refuse"}
CODE = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
#: Tables of code by what somebody else (OpenSSL, the web framework) calls the same.
TRANSLATIONS = {"_BY_REASON", "_BY_VERIFICATION", "_BY_STATUS"}

PUBLISHED = [code for code, problem in TABLE.problems.items() if not problem.is_coming]
COMING = sorted(TABLE.problems.keys() - set(PUBLISHED))


def texts_in(tree: ast.AST) -> Iterator[str]:
    return (node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str))


def name_of(node: ast.AST) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


def codes_in(tree: ast.AST) -> Iterator[str]:
    """What a module raises, as text: first arguments of raisers, and what its translations lead to."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and node.args:
            if name_of(node.func) in RAISERS:
                yield from filter(CODE.fullmatch, texts_in(node.args[0]))
            elif isinstance(node.func, ast.Attribute) and name_of(node.func.value) in TRANSLATIONS:
                for default in node.args[1:]:
                    yield from texts_in(default)
        elif isinstance(node, ast.Assign) and any(name_of(target) in TRANSLATIONS for target in node.targets):
            assert isinstance(node.value, ast.Dict)
            for value in node.value.values:
                yield from texts_in(value)


@cache
def raised() -> frozenset[str]:
    modules = (module for package in PACKAGES for folder in package.__path__ for module in Path(folder).rglob("*.py"))
    return frozenset(code for module in modules for code in codes_in(ast.parse(module.read_text("utf-8"))))


@cache
def tested() -> frozenset[str]:
    """Every text of every test but those of the table itself, which meet all codes and none of them in earnest."""
    own = {Path(__file__), Path(__file__).with_name("test_problems.py")}
    modules = (module for module in TESTS.rglob("*.py") if module not in own)
    return frozenset(text for module in modules for text in texts_in(ast.parse(module.read_text("utf-8"))))


@pytest.mark.parametrize("code", PUBLISHED)
def test_every_published_code_is_raised_by_the_product_and_met_by_a_test(code: str) -> None:
    assert code in raised(), "nothing raises it: raise it, mark it `coming = true`, or let it depart for ever"
    assert code in tested(), "no test meets it: write one that makes the product raise it"


def test_every_code_that_the_product_raises_is_published() -> None:
    assert raised() & TABLE.departed == set(), "a code that has left is never used again"
    assert raised() & set(COMING) == set(), "it is raised now: take the mark `coming` away"
    assert raised() - TABLE.problems.keys() == set()


def test_a_code_is_only_held_for_later_while_nothing_else_says_it() -> None:
    assert COMING == [
        "case-mismatch",
        "checkpoint-conflict",
        "checkpoint-refused",
        "subject-mismatch",
    ]


def test_the_codes_that_have_left_are_all_still_listed() -> None:
    """This list only ever grows: a client may know any of them from before."""
    assert TABLE.departed >= {
        "category-not-declared",
        "conflict",
        "invalid-content",
        "not-acceptable",
        "nothing-due",
        "rulebook-invalid",
        "rulebook-mismatch",
        "security-server-unknown",
        "stopping",
        "subsystem-unknown",
    }


def test_the_docs_speak_of_no_code_that_is_not_sent() -> None:
    docs = [*(TESTS.parent / "docs").rglob("*.md"), TESTS.parent / "README.md"]
    spoken = {code for page in docs for code in re.findall(r"`([a-z0-9-]+)`", page.read_text("utf-8"))}

    assert "not-permitted" in spoken
    assert spoken & {*COMING, *TABLE.departed} == set()


GOOD = """
departed = ["gone"]
[types]
client = "Client.InvalidRequest"
[problems]
here = { status = 400, type = "client" }
"""
TITLES = dict.fromkeys(("here", "gone", "Here!"), Text("Yksi", "Ett", "One"))


@pytest.mark.parametrize(
    ("old", "new", "wrong"),
    [
        ("here =", 'here = { status = 400, type = "client" }\nhere =', "overwrite"),
        ("here =", "there =", "there: it has no title"),
        ("here =", "gone =", "gone: a code that has left"),
        ("here =", '"Here!" =', "Here!: a code is"),
        ("400", "200", "here: status"),
        ("400", "600", "here: status"),
        ("400", "true", "here: status"),
        ('type = "client"', 'type = "server"', "here: type"),
        ("status", "coming = 1, status", "here: coming"),
        ("status", "fi = 1, status", "here: fi"),
    ],
)
def test_a_table_that_breaks_a_rule_is_not_loaded(old: str, new: str, wrong: str) -> None:
    assert list(read(GOOD, TITLES).problems) == ["here"]

    with pytest.raises(ValueError, match=re.escape(wrong)) as caught:
        read(GOOD.replace(old, new, 1), TITLES)

    assert "problems.toml" in str(caught.value)
