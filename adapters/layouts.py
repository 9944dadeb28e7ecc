"""How the records lie in a file: what stands above the header and below the last row, which names the columns have,
where in an envelope the records are, and which rows belong together.

Nothing of it is guessed here: a mapping says it under `layout`, and `adapter new` writes there what it has found.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Group:
    """Rows that belong together, as long as they stand together: those with the same value in `by`.

    Of a group the rows but one are a list of objects in the field `into`: all rows of the group but a record's own, or
    with `first` those after the first, which alone is a record.
    """

    by: str
    into: str
    first: bool = False


@dataclass(frozen=True, slots=True)
class Join:
    """Another sheet, or another file, whose rows have, in `on`, the key of a record: they are a list of objects in the
    field `into`. `layout` is how those rows lie there.
    """

    sheet: str
    on: str
    into: str
    file: str
    layout: Layout


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the records of a file are.

    `header` is the row of the header, counted from 1, or 0 if there is none; `columns` are names by position, in place
    of the header's. A row whose first text begins with one of `footer` is no record; with `is_counted` the number in
    one that begins with the first of them is the number of records, and must be there. `widths` are those of columns
    without a delimiter. `records` is the path of the list in a JSON document, `total` that of the number of the records
    of all pages. `namespaces` are those of XML, by their prefixes. `persons` are the beginnings of the columns of each
    person of a row, and `common` the other columns that are said of all of them. `file` is the pattern of the records'
    file where several come together, of which `joins` name the others.
    """

    header: int = 1
    columns: tuple[str, ...] = ()
    footer: tuple[str, ...] = ()
    is_counted: bool = False
    widths: tuple[int, ...] = ()
    records: tuple[str, ...] = ()
    total: str = ""
    namespaces: Mapping[str, str] = field(default_factory=dict)
    persons: tuple[str, ...] = ()
    common: tuple[str, ...] = ()
    group: Group | None = None
    joins: tuple[Join, ...] = ()
    file: str = ""

    def is_footer(self, cells: Sequence[Any]) -> bool:
        """Whether a row stands below the records and sums them up."""
        first = next((str(cell).strip() for cell in cells if str(cell).strip()), "")
        return bool(self.footer) and first.startswith(self.footer)

    def counts(self, cells: Sequence[Any]) -> bool:
        """Whether a row below the records is the one that counts them: the first of `footer`."""
        first = next((str(cell).strip() for cell in cells if str(cell).strip()), "")
        return self.is_counted and first.startswith(self.footer[:1])

    def made(self) -> tuple[str, ...]:
        """The fields that no column has: the layout makes them."""
        return (*([self.group.into] if self.group else ()), *(join.into for join in self.joins))

    def is_moved(self, header: Sequence[str]) -> bool:
        """Whether a column that the header names alone stands elsewhere than where `columns` have that name: then the
        export has changed, and by their places its columns are other ones.
        """
        names = [tidied(name) for name in header]
        places = {name: at for at, name in enumerate(self.columns)}
        return any(name in places and places[name] != at for at, name in enumerate(names) if names.count(name) == 1)

    def named(self, header: Sequence[str]) -> list[str]:
        """The names of the columns: those of the header, tidied, or those that the layout gives them."""
        if self.columns:
            return list(self.columns)
        names = [tidied(name) for name in header]
        while names and not names[-1]:  # each line ends with a delimiter
            names.pop()
        return names


PLAIN = Layout()

#: What `layout` may say, by format.
MEMBERS: Mapping[str, frozenset[str]] = {
    "csv": frozenset({"file", "join", "header", "columns", "footer", "counted", "group", "persons", "common"}),
    "fixed": frozenset(
        {"file", "join", "header", "columns", "widths", "footer", "counted", "group", "persons", "common"}
    ),
    "xlsx": frozenset({"header", "columns", "footer", "counted", "group", "persons", "common", "join"}),
    "json": frozenset({"records", "total"}),
    "xml": frozenset({"namespaces"}),
    "hl7": frozenset(),
}

#: What `join` may say of how the rows lie in the other sheet or file.
_OF_ROWS = frozenset({"header", "columns", "widths", "footer", "counted"})


class LayoutError(ValueError):
    """A layout that cannot be: the member that is wrong, and how to write it."""

    def __init__(self, member: str, message: str, remedy: str) -> None:
        super().__init__(message)
        self.member = member
        self.remedy = remedy


def tidied(name: str) -> str:
    """A column's name as it is compared: a Mac writes `ä` as two characters, a spreadsheet breaks lines."""
    return " ".join(unicodedata.normalize("NFC", name).split())


def layout_of(stated: Mapping[str, Any]) -> Layout:
    """The layout that a mapping states. Raises LayoutError."""
    header = stated.get("header", 1)
    if not isinstance(header, int) or isinstance(header, bool) or header < 0:
        raise LayoutError("header", "`header` is the number of a row", "write header: 3, or header: 0 if there is none")
    columns = _texts(stated, "columns")
    if len(set(columns)) != len(columns):
        raise LayoutError("columns", "a column's name stands there twice", "give every column a name of its own")
    if header == 0 and not columns:
        raise LayoutError("header", "without a header the columns need names", "write columns: [NAME, NAME]")
    widths = stated.get("widths", [])
    if not isinstance(widths, list) or not all(isinstance(width, int) and width > 0 for width in widths):
        raise LayoutError("widths", "`widths` are numbers of characters", "write widths: [8, 11, 30]")
    namespaces = stated.get("namespaces", {})
    if not isinstance(namespaces, dict) or not all(isinstance(name, str) for name in namespaces.values()):
        raise LayoutError("namespaces", "`namespaces` are names by prefix", 'write namespaces: {m: "urn:…"}')
    return Layout(
        header=header,
        columns=columns,
        footer=_texts(stated, "footer"),
        is_counted=bool(stated.get("counted", False)),
        widths=tuple(widths),
        records=tuple(step for step in str(stated.get("records", "")).split("/") if step),
        total=str(stated.get("total", "")),
        namespaces={uri: prefix for prefix, uri in namespaces.items()},
        persons=_texts(stated, "persons"),
        common=_texts(stated, "common"),
        group=_group(stated.get("group")),
        joins=_joins(stated),
        file=str(stated.get("file", "")),
    )


def _texts(stated: Mapping[str, Any], member: str) -> tuple[str, ...]:
    found = stated.get(member, [])
    if not isinstance(found, list) or not all(isinstance(text, str) and text for text in found):
        raise LayoutError(member, f"`{member}` is a list of texts", f"write {member}: [TEXT, TEXT]")
    return tuple(found)


def _group(stated: Any) -> Group | None:
    if stated is None:
        return None
    if not isinstance(stated, dict) or not {"by", "into"} <= set(stated) <= {"by", "into", "records"}:
        raise LayoutError("group", "`group` says by which column, and into which field", "write {by: CASE, into: ROWS}")
    kept = stated.get("records", "each")
    if kept not in ("each", "first"):
        raise LayoutError("group", f"there is no `records: {kept}`", "write records: each, or records: first")
    return Group(str(stated["by"]), str(stated["into"]), kept == "first")


def _joins(stated: Mapping[str, Any]) -> tuple[Join, ...]:
    found = tuple(_join(other) for other in stated.get("join", ()))
    is_drop = any(join.file for join in found)
    if is_drop != bool(stated.get("file")) or (is_drop and any(join.sheet for join in found)):
        raise LayoutError(
            "file" if not is_drop else "join",
            "files that come together have a pattern each",
            'write file: "persons-*.csv", join: [{file: "needs-*.csv", on: KEY, into: NEEDS}]',
        )
    patterns = [str(stated.get("file", "")), *(join.file for join in found if join.file)]
    if len({pattern.count("*") for pattern in patterns}) != 1 or len({*patterns}) != len(patterns):
        raise LayoutError("join", "what `*` stands for is the same in all names", "give each pattern as many `*`")
    return found


def _join(stated: Any) -> Join:
    if not isinstance(stated, dict) or set(stated) - _OF_ROWS not in ({"sheet", "on", "into"}, {"file", "on", "into"}):
        raise LayoutError(
            "join", "`join` says which sheet or file, on which column, into which field", "see the reference"
        )
    layout = layout_of({name: said for name, said in stated.items() if name in _OF_ROWS})
    return Join(
        str(stated.get("sheet", "")), str(stated["on"]), str(stated["into"]), str(stated.get("file", "")), layout
    )


def parted(
    fields: Mapping[str, Any], prefixes: Sequence[str], common: Collection[str]
) -> Iterator[tuple[int, dict[str, Any]]]:
    """The persons of a row: of each its number, and its columns without their beginning beside those of the row.
    What no beginning tells to be somebody's is the first person's, and of the others only what is `common`.

    A person of whom nothing is said is none.
    """
    shared = {name: value for name, value in fields.items() if not name.startswith(tuple(prefixes))}
    for number, prefix in enumerate(prefixes, 1):
        if number > 1:
            # Whose they are nobody has said: the needs of the first are not those of the family.
            shared = {name: value if name in common else "" for name, value in shared.items()}
        own = {name.removeprefix(prefix): value for name, value in fields.items() if name.startswith(prefix)}
        if any(value is not None and str(value).strip() for value in own.values()):
            yield number, {**shared, **own}


def own_name(name: str, prefixes: Sequence[str]) -> str:
    """A column's name without the beginning that tells whose it is."""
    return next((name.removeprefix(prefix) for prefix in prefixes if name.startswith(prefix)), name)
