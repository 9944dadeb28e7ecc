"""Write one change into a mapping file as a developer would by hand: the rest of the text stays to the letter.

A change is put in as text, where the parser says that its place is, and is then read back: what was written must
differ from what was there by this change and by nothing else. What cannot be written so is refused, never guessed.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

_PLAIN: Final = re.compile(r"[A-Za-zÅÄÖåäö_][A-Za-z0-9ÅÄÖåäö_/-]*\Z")
#: The resource that each mapping makes of a record.
PERSON: Final = "Patient"
#: In a path: a further item of a list.
FURTHER: Final = -1
#: A mapping has some thousands at most; anchors within anchors make any number of them.
_MOST_VALUES: Final = 100_000
_RESERVED: Final = frozenset({"yes", "no", "true", "false", "on", "off", "null", "y", "n"})


class EditError(Exception):
    """A change that cannot be written: a key of the workbench's words, and what the compiler says of it if it does."""

    def __init__(self, code: str, told: str = "") -> None:
        super().__init__(code)
        self.code = code
        self.told = told


class EditKind(StrEnum):
    """What can be changed by one click."""

    IGNORE = "ignore"
    CANNOT_SAY = "cannot-say"
    CODE = "code"
    MAP = "map"


@dataclass(frozen=True, slots=True)
class Edit:
    """A change: a name to add to a list, a value with its code to a table, a column to a place of a resource.

    A number in `path` is the place in a list, FURTHER that behind its last. `beside` is written with an object that is
    made for the column; of a resource that is not the person, one is made for each part of it, which `by` parts.
    """

    kind: EditKind
    name: str
    table: str = ""
    code: str = ""
    transform: str = ""
    path: tuple[str | int, ...] = ()
    beside: Mapping[str, Any] = field(default_factory=dict)
    resource: str = PERSON
    by: str | None = None


def edited(text: str, edit: Edit) -> str:
    """The mapping's text with the change. Raises EditError."""
    match edit.kind:
        case EditKind.IGNORE | EditKind.CANNOT_SAY:
            member = "ignored" if edit.kind is EditKind.IGNORE else "cannot-say"
            return _checked(text, _listed(text, member, edit.name), lambda held: _add(held, member, edit.name))
        case EditKind.CODE:
            return _coded(text, edit)
        case EditKind.MAP:
            if not edit.path:
                raise EditError("edit-other")
            taken = {"as": _own(text, edit.transform)} if edit.transform else {}
            if edit.resource != PERSON:
                parts = {"split": edit.name} | ({"by": edit.by} if edit.by is not None else {})
                each = {"each": parts, edit.path[-1]: {"from": "."} | taken}
                return _put(text, ("resources", edit.resource), each)
            return _put(text, ("resources", PERSON, *edit.path), {"from": edit.name} | taken, edit.beside)


def _own(text: str, transform: str) -> str:
    """The transform by the mapping's own table, where it has one that extends the code system."""
    kind, _, system = transform.partition(" ")
    tables = _member(_root(text), "tables")
    for name, table in tables.value if kind == "code" and isinstance(tables, MappingNode) else []:
        extended = _member(table, "extends")
        if isinstance(extended, ScalarNode) and extended.value == system:
            return f"{kind} {name.value}"
    return transform


def _add(held: Any, member: str, name: str) -> None:
    if name in held.get(member, []):
        raise EditError("edit-there")
    held.setdefault(member, []).append(name)


def _listed(text: str, member: str, name: str) -> str:
    root = _root(text)
    held = _member(root, member)
    if held is None:
        # Beside what says how the source lies: there a reader looks for it.
        return _inserted(text, _line_after(text, _key(root, "source")), f"{member}: [{word(name)}]\n")
    if not isinstance(held, SequenceNode):
        raise EditError("edit-other")
    return _appended(text, held, word(name))


def _appended(text: str, held: SequenceNode, written: str) -> str:
    """The text with a further item of a list."""
    if held.flow_style:
        return _inserted(text, held.end_mark.index - 1, (", " if held.value else "") + written)
    last = held.value[-1]
    # The list itself begins where its anchor stands, if it has one.
    indent = text[text.rfind("\n", 0, last.start_mark.index) + 1 : last.start_mark.index].partition("-")[0]
    return _inserted(text, _line_after(text, last), f"{indent}- {written}\n")


def _coded(text: str, edit: Edit) -> str:
    """A value's code in a table; a code system becomes a table of the mapping's own, which extends it."""
    root = _root(text)
    tables = _member(root, "tables")
    if tables is not None and _member(tables, edit.table) is not None:
        return _put(text, ("tables", edit.table, edit.name), edit.code)
    table = {"extends": edit.table, edit.name: edit.code}
    if tables is not None:
        return _put(text, ("tables", edit.table), table)
    lines = f"tables:\n  {word(edit.table)}: {flow(table)}\n\n"
    at = next(key.start_mark.index for key, _ in root.value if key.value == "resources")
    return _checked(text, _inserted(text, at, lines), lambda held: held.update(tables={edit.table: table}))


def _put(text: str, path: tuple[str | int, ...], value: Any, beside: Mapping[str, Any] | None = None) -> str:
    """Put a member where a path ends, with the objects and lists around it as far as they are lacking."""
    node: Node = _root(text)
    depth = 0
    while depth < len(path) and (inner := _member(node, path[depth])) is not None:
        node, depth = inner, depth + 1
    if depth == len(path):
        raise EditError("edit-there")
    key = path[depth]
    made = beside or {}
    for parent in reversed(path[depth + 1 :]):
        value = [value] if isinstance(parent, int) else dict(sorted({parent: value, **made}.items()))
        made = {}

    def change(held: Any) -> None:
        for parent in path[:depth]:
            held = held[parent]
        if isinstance(held, list):
            held.append(value)
            return
        if key in held:  # it came by a merge (`<<`), which the text does not show
            raise EditError("edit-there")
        held[key] = value

    if isinstance(node, SequenceNode) and key in (FURTHER, len(node.value)):
        return _checked(text, _appended(text, node, flow(value)), change)
    if not isinstance(node, MappingNode) or not isinstance(key, str) or depth == 0:
        raise EditError("edit-other")
    pair = f"{word(key)}: {flow(value)}"
    if node.flow_style:
        after = _inserted(text, node.end_mark.index - 1, (", " if node.value else "") + pair)
    else:
        column = node.value[0][0].start_mark.column
        after = _inserted(text, _line_after(text, node.value[-1][1]), " " * column + pair + "\n")
    return _checked(text, after, change)


def _root(text: str) -> MappingNode:
    try:
        root = YAML(typ="rt", pure=True).compose(io.StringIO(text))
    except YAMLError:
        raise EditError("edit-broken") from None
    if not isinstance(root, MappingNode):
        raise EditError("edit-broken")
    return root


def _member(node: Node, name: str | int) -> Node | None:
    if isinstance(name, int):
        is_there = isinstance(node, SequenceNode) and 0 <= name < len(node.value)
        return node.value[name] if is_there else None
    pairs = node.value if isinstance(node, MappingNode) else []
    return next((value for key, value in pairs if isinstance(key, ScalarNode) and key.value == name), None)


def _key(root: MappingNode, name: str) -> Node:
    found = _member(root, name)
    if found is None:
        raise EditError("edit-other")
    return found


def _line_after(text: str, node: Node) -> int:
    """Where the line after a node begins; its own comment stays with it."""
    end = node.end_mark.index
    if isinstance(node, MappingNode | SequenceNode) and not node.flow_style:
        # A block ends where the next thing begins, beyond blank lines and comments: what it holds last ends it.
        held = node.value[-1]
        return _line_after(text, held[1] if isinstance(node, MappingNode) else held)
    found = text.find("\n", end)
    return found + 1 if found >= 0 else len(text)


def _inserted(text: str, at: int, addition: str) -> str:
    if addition.endswith("\n") and at == len(text) and not text.endswith("\n"):
        addition = "\n" + addition
    return text[:at] + addition + text[at:]


def _checked(before: str, after: str, change: Callable[[Any], None]) -> str:
    """The text, if it says what was meant. Raises EditError."""
    held = _loaded(before)
    wanted, made = _apart(held), _loaded(after)
    change(wanted)
    if _apart(made) != wanted:
        # An anchor is read as one list in two places: who clicked at one of them has seen nothing of the other.
        change(held)
        raise EditError("edit-shared" if made == held else "edit-other")
    return after


def _apart(value: Any) -> Any:
    """The same, with nothing that stands in two places. Raises EditError."""
    left = iter(range(_MOST_VALUES))

    def copied(value: Any) -> Any:
        if next(left, None) is None:
            raise EditError("edit-other")
        if isinstance(value, dict):
            return {name: copied(member) for name, member in value.items()}
        return [copied(item) for item in value] if isinstance(value, list) else value

    try:
        return copied(value)
    except RecursionError:  # a list that holds itself
        raise EditError("edit-other") from None


def _loaded(text: str) -> Any:
    try:
        return YAML(typ="safe", pure=True).load(text)
    except YAMLError:
        raise EditError("edit-other") from None


def flow(value: Any) -> str:
    """A value as it is written in one line."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{word(str(name))}: {flow(member)}" for name, member in value.items()) + "}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "[" + ", ".join(flow(member) for member in value) + "]"
    return word(str(value), is_value=True)


def word(text: str, *, is_value: bool = False) -> str:
    """A YAML word: bare where nothing in it could be read as anything else."""
    if _PLAIN.match(text) and text.lower() not in _RESERVED:
        return text
    if is_value and re.fullmatch(r"[A-Za-z][A-Za-z0-9-]*(?: [A-Za-z][A-Za-z0-9-]*)+", text):
        return text  # the name of a transform and what it is told: `code permit`
    return json.dumps(text, ensure_ascii=False)
