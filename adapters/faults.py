"""What is wrong with a mapping file: where it stands, and what was meant."""

from __future__ import annotations

import difflib
from typing import Any, NoReturn

from ruamel.yaml.comments import CommentedMap, CommentedSeq


class MappingError(ValueError):
    """A mapping that cannot be compiled: the line and column (from 1), what is wrong, and how to mend it."""

    def __init__(self, source: str, line: int, column: int, message: str, remedy: str = "") -> None:
        self.line, self.column, self.message, self.remedy = line, column, message, remedy
        super().__init__(f"{source}:{line}:{column}: {message}" + (f" ({remedy})" if remedy else ""))


class Faults:
    """Raises the faults of one file, each with its place."""

    def __init__(self, source: str) -> None:
        self._source = source

    def fail(self, holder: Any, key: Any, message: str, remedy: str = "") -> NoReturn:
        """Raise MappingError for a member of an object or an item of a list; for the holder itself if `key` is None."""
        line, column = 0, 0
        try:
            if isinstance(holder, CommentedSeq):
                line, column = holder.lc.item(key)
            elif isinstance(holder, CommentedMap):
                line, column = holder.lc.key(key) if key is not None else (holder.lc.line, holder.lc.col)
        except (KeyError, AttributeError, TypeError):
            line, column = getattr(holder.lc, "line", 0) or 0, getattr(holder.lc, "col", 0) or 0
        raise MappingError(self._source, line + 1, column + 1, message, remedy)

    def object(self, holder: Any, key: Any, message: str = "", remedy: str = "") -> CommentedMap:
        """A member that is an object. Raises MappingError."""
        found = holder[key]
        if not isinstance(found, CommentedMap):
            self.fail(holder, key, message or f"`{key}` is an object", remedy or "write NAME: VALUE below it")
        return found


def near(name: Any, names: Any) -> str:
    """What may have been meant, or what there is."""
    found = difflib.get_close_matches(str(name), [str(known) for known in names], 1, 0.5)
    return f"did you mean {found[0]!r}?" if found else "one of: " + ", ".join(str(known) for known in names)
