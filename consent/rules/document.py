"""Read a YAML text into plain values, and find the line of a place in it. Any bytes may be given.

What a text can make of itself (aliases in aliases, depth, size) is bounded.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from ruamel.yaml import YAML
from ruamel.yaml.composer import Composer, ComposerError
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.events import AliasEvent
from ruamel.yaml.nodes import MappingNode, SequenceNode
from ruamel.yaml.reader import ReaderError

_MOST_NODES: Final = 60_000  # of a file with its aliases written out; the reference has about 20 000
_DEEPEST: Final = 24


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong with a rulebook: its line (from 1), where in the document, what, and how to mend it."""

    line: int
    pointer: str
    message: str
    remedy: str = ""


class RulebookError(ValueError):
    """A rulebook that cannot be used, with all that is wrong with it."""

    def __init__(self, source: str, faults: Iterable[Fault]) -> None:
        self.source = source
        self.faults = tuple(faults)
        super().__init__("\n".join(f"{source}:{fault.line}: {fault.pointer}: {fault.message}" for fault in self.faults))


class _Bounded(Composer):
    """Composes no more than is allowed, with every alias counted as large as what it stands for."""

    def __init__(self, loader: Any = None) -> None:
        super().__init__(loader=loader)
        self._count = 0
        self._sizes: dict[int, int] = {}

    def compose_node(self, parent: Any, index: Any) -> Any:
        """The next node. Raises ComposerError."""
        alias = self.parser.peek_event() if self.parser.check_event(AliasEvent) else None
        before = self._count
        node = super().compose_node(parent, index)
        if alias is None:
            self._count += 1
            self._sizes[id(node)] = self._count - before
        elif id(node) in self._sizes:
            self._count += self._sizes[id(node)]
        else:
            raise ComposerError(None, None, "an alias stands within what it stands for", alias.start_mark)
        if self._count > _MOST_NODES:
            raise ComposerError(None, None, "it holds more than a rulebook can", node.start_mark)
        return node


@dataclass(frozen=True, slots=True)
class Document:
    """A text that was read: its values in the kinds that JSON has, days as text, and where each stands."""

    values: dict[str, Any]
    _root: Any

    def line(self, pointer: str) -> int:
        """The line of a JSON Pointer, or of the nearest thing around it that is there."""
        node: Any = self._root
        line = 0
        for step in pointer.strip("/").split("/") if pointer else ():
            if isinstance(node, SequenceNode) and step.isdecimal() and int(step) < len(node.value):
                node = node.value[int(step)]
                line = node.start_mark.line
            elif isinstance(node, MappingNode):
                found = next(((key, value) for key, value in node.value if key.value == step), None)
                if found is None:
                    break
                line, node = found[0].start_mark.line, found[1]
            else:
                break
        return int(line) + 1


def read(data: bytes, source: str, what: str = "rulebook") -> Document:
    """Read a text, once. Raises RulebookError."""
    yaml = YAML(typ="safe", pure=True)
    yaml.Composer = _Bounded
    yaml.max_depth = _DEEPEST
    try:
        root = yaml.compose(io.BytesIO(data))
        values = yaml.constructor.construct_document(root) if root is not None else None
        whole = json.dumps(values, default=str, ensure_ascii=False, allow_nan=False)
        document = json.loads(whole.encode())
    except DuplicateKeyError as error:  # whose words quote what stands there
        mark = error.problem_mark or error.context_mark
        raise RulebookError(source, [Fault(_line(mark), "", "not YAML: a key stands twice")]) from None
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise RulebookError(source, [Fault(_line(mark), "", f"not YAML: {error.problem or error.context}")]) from None
    except (UnicodeError, ReaderError):
        raise RulebookError(source, [Fault(1, "", "not UTF-8 text", "save the file as UTF-8")]) from None
    except (ValueError, TypeError, OverflowError, RecursionError):
        raise RulebookError(source, [Fault(1, "", f"it holds a key, a number or a day that no {what} has")]) from None
    if not isinstance(document, dict):
        raise RulebookError(source, [Fault(1, "", f"this is not a {what}", "see docs/rulebook.md")])
    return Document(document, root)


def _line(mark: Any) -> int:
    return mark.line + 1 if mark is not None else 1
