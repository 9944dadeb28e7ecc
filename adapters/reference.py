"""The reference of the mapping language, made from the code that compiles and runs it, so that it cannot lag behind."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator
from typing import Any

from adapters import mapping
from adapters.compiling import VALUE_MEMBERS
from adapters.layouts import MEMBERS as LAYOUT
from adapters.mapping import FORMATS
from adapters.mapping import MEMBERS as FILE
from adapters.protecting import DECLARED, table
from adapters.sdk import Limits, Position
from adapters.texts import CODES, finding
from adapters.transforms import TRANSFORMS
from schemas.catalogue import catalogue
from schemas.codes import code_system, code_systems
from schemas.shape import OWN, Shape

_FILE_MEMBERS = {
    "mapping": "the adapter's name",
    "version": "its version, a number of yours",
    "source": "how the source is written, see below",
    "tables": "code tables: `{NAME: {VALUE: code, …}}`, used as `code NAME` or `table NAME`",
    "ignored": "fields that are left out on purpose; any other that is not mapped is reported",
    "status": "the field that says whether the register still stands by a record, with its values, see above",
    "cannot-say": "the protecting facts that the source cannot know: "
    + ", ".join(f"`{name}`" for name in sorted(DECLARED)),
    "resources": "what is made: `Patient` first, then others; a list makes several of one kind",
}

_VALUE_MEMBERS = {
    "from": "the field; of a part that `each` makes `.` or `./NAME`",
    "as": "the transform, see below; without it the text as it is",
    "required": "`true`: a record without it is rejected",
    "optional": "`true`: a file may be without the field, and that is no finding",
    "or": "`reject`: a value that cannot be taken stops the record, where it would cost itself alone",
    "default": "what stands for an empty field, except of facts that protect or permit",
    "each": "one item for each part of a field, see above",
    "when": "it is made only where these fields have one of these values",
    "unless": "it is made only where these fields have none of these values",
}

_SOURCE_MEMBERS = {
    "encoding": "the encodings to try in turn; the first that the file can be read in is taken",
    "delimiter": "the character between two columns",
    "key": "the field that tells records apart; the same twice in a file is a finding",
    "record": "the element that is a record",
    "root": "the element around all records, for writing",
    "nested": "`true`: objects within objects are laid flat, and a field is named by its path, `asiakas/nimi`",
    "sheet": "the sheet that holds the records; its first row is the header",
    "messages": "the types of message that are read, such as `REF^I12`",
    "repeating": "the segments of which a record may hold several",
    "layout": "where the records are in the file, see below",
}

_LAYOUT_MEMBERS = {
    "header": "the row of the header, counted from 1; 0: there is none, and `columns` names them",
    "columns": "the names of the columns by their position, in place of those of the header; where the header "
    "has one of these names elsewhere, nothing is read",
    "footer": "a row whose first text begins with one of these is no record",
    "counted": "`true`: the number in the row that begins with the first of `footer` is the number of records; "
    "another number, or no such row, is an error",
    "widths": "how many characters each column takes",
    "group": "`{by: FIELD, into: NAME}`: rows of one value that stand together see each other as the list `NAME`; "
    "`records: first` makes one record of them, the others being the list",
    "persons": "the beginnings of the columns of each person of a row: each becomes a record of its own",
    "common": "with `persons`: columns without such a beginning that are said of everybody; any other is the first's",
    "join": "`[{sheet: NAME, on: FIELD, into: NAME}]`: the rows of another sheet that have the record's key, as a "
    'list; `{file: "needs-*.csv", on: …}` those of another file that comes with it in a ZIP archive. '
    "Where the rows lie otherwise there than below a header in row 1: `header`, `columns`, `widths`, `footer`, "
    "`counted` beside them; each file of fixed width has its own `columns` and `widths`",
    "file": "of several files in a ZIP archive the one of the records: `persons-*.csv`. What `*` stands for is the "
    "same in all their names; a part that is missing, there twice, of another day or not to be read stops all",
    "records": "the path of the list in the document: `data/asiakkaat`",
    "total": "the member beside the list, or its path, that counts the records; another number, or none, is an error",
    "namespaces": '`{PREFIX: "URI"}`: names are written with that prefix, or with none for `""`',
}


#: A code system with more codes than this is shown by some of them.
_ALL_SHOWN = 40
#: The forms of texts, in words.
_FORMS = {
    "^[12][0-9]{3}-[0-9]{2}-[0-9]{2}$": "a day: `2026-11-24`",
    "^[12][0-9]{3}(-(0[1-9]|1[0-2])(-[0-9]{2})?)?$": "a day, a month or a year: `2026-11-24`, `2026-11`, `2026`",
    "^[0-9]{5}$": "five digits",
    "^[A-Z]{2}$": "two capitals",
}


def reference() -> str:
    """The reference as Markdown."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield "# Reference of the mapping language"
    yield ""
    yield "This page is made from the code: `yhdyspinta adapter reference > docs/adapters/reference.md`."
    yield ""
    yield from (inspect.getdoc(mapping) or "").splitlines()
    yield ""
    yield "## The file"
    yield ""
    yield "| member | what it says |"
    yield "|---|---|"
    for name in FILE:
        yield f"| `{name}` | {_FILE_MEMBERS[name]} |"
    yield ""
    yield "Of a value that comes from a field it says:"
    yield ""
    yield "| member | what it says |"
    yield "|---|---|"
    for name in VALUE_MEMBERS:
        yield f"| `{name}` | {_VALUE_MEMBERS[name]} |"
    yield ""
    yield from _sources()
    yield from _layouts()
    yield from _rules()
    yield from _transforms()
    yield from _codes()
    yield from _elements()
    yield from _findings()
    yield from _limits()


def _sources() -> Iterator[str]:
    yield "## Sources"
    yield ""
    yield "| format | must say | may say |"
    yield "|---|---|---|"
    for name, (must, may) in FORMATS.items():
        yield f"| `{name}` | {_names(must)} | {_names(may) or '–'} |"
    yield ""
    yield "| member | what it says |"
    yield "|---|---|"
    for name in sorted({member for must, may in FORMATS.values() for member in must | may}):
        yield f"| `{name}` | {_SOURCE_MEMBERS[name]} |"
    yield ""


def _layouts() -> Iterator[str]:
    yield "### Layout"
    yield ""
    yield "| member | formats | what it says |"
    yield "|---|---|---|"
    for name in sorted({name for members in LAYOUT.values() for name in members}):
        formats = ", ".join(f"`{form}`" for form, members in LAYOUT.items() if name in members)
        yield f"| `{name}` | {formats} | {_LAYOUT_MEMBERS[name]} |"
    yield ""
    yield "A first line `sep=;` is understood, lines without any text and a header that comes again are no records, and"
    yield "names of columns are compared without regard to how a letter with a mark is written."
    yield ""


def _rules() -> Iterator[str]:
    yield "## Four values"
    yield ""
    yield "A column that is not there, a cell that is empty, a cell that cannot be read (an error of a spreadsheet, a"
    yield "code that is in no table, a day that does not exist) and two places that disagree are four things. So is"
    yield "what a source takes back (deleted, posted to the wrong person)."
    yield ""
    yield "| fact | no such column | empty | unreadable | contradictory | taken back |"
    yield "|---|---|---|---|---|---|"
    for row in table():
        yield f"| {' | '.join(row)} |"
    yield ""
    yield "`or: reject` beside `from` makes a value that would cost itself stop the record."
    yield ""


def _transforms() -> Iterator[str]:
    yield "## Transforms"
    yield ""
    yield "`as: NAME` says how a field is taken; without it, `text`. With a way back it also writes the format."
    yield ""
    yield "| name | what it does | for example | gives | way back |"
    yield "|---|---|---|---|---|"
    for transform in TRANSFORMS.values():
        given, made = transform.example
        example = f"`{_cell(given)}` → `{_cell(made)}`"
        back = "yes" if transform.backward else "no"
        yield f"| `{transform.name}` | {transform.does} | {example} | {transform.gives or 'any'} | {back} |"
    yield "| `code TABLE` | The code of a table of the mapping or of a code system. | | string | yes |"
    yield "| `granted TABLE` | Whether a permit of that table was granted. | | boolean | no |"
    yield (
        "| `short-date YEAR` | A day whose year has two digits, in the hundred years that begin with YEAR. "
        "| of `short-date 1930` `5.2.29` → `2029-02-05`, `5.2.30` → `1930-02-05` | string | yes |"
    )
    yield "| `table TABLE` | The value of a table of the mapping, of any type. | | any | yes |"
    yield ""


def _codes() -> Iterator[str]:
    yield "## Code systems"
    yield ""
    yield "`as: code NAME` takes a field that holds codes of these; a table of the mapping's own gives codes of these."
    yield ""
    yield "Each takes the codes and their names in all three languages; `yhdyspinta adapter codes NAME` prints them."
    yield ""
    yield "| name | codes | which |"
    yield "|---|---|---|"
    for name in code_systems():
        codes = list(code_system(name).codes)
        shown = codes if len(codes) <= _ALL_SHOWN else codes[:4]
        told = ", ".join(f"`{code}`" for code in shown)
        yield f"| `{name}` | {len(codes)} | {told}{' …' if len(shown) < len(codes) else ''} |"
    yield ""


def _elements() -> Iterator[str]:
    yield "## Elements"
    yield ""
    yield "What a mapping can make, with the data category that decides who may get it."
    yield ""
    for name, schema in catalogue().resources.items():
        yield f"### {name}"
        yield ""
        yield f"{schema.schema.get('title', '')}."
        yield ""
        yield "| element | type | data category |"
        yield "|---|---|---|"
        for path, shape, required in _values(schema.shape, ""):
            category = "that of its code" if shape.category == OWN else shape.category
            if shape.constant is None and category != "structure":
                mark = " (required)" if required else ""
                yield f"| `{path}`{mark} | {_type(shape)} | {category} |"
        yield ""


def _values(shape: Shape, path: str, *, required: bool = False) -> Iterator[tuple[str, Shape, bool]]:
    """Every value of a shape as a mapping names it: what the schema fixes is left out."""
    if shape.kind == "value":
        yield path, shape, required
    elif shape.kind == "array":
        assert shape.item is not None
        yield from _values(shape.item, path, required=required)
    elif shape.kind == "choice":
        for constant, option in shape.options.items():
            end = constant.rsplit(":", 1)[-1].rsplit("/", 1)[-1]
            for name, member in option.members.items():
                if name != shape.key:
                    inner = (
                        f"{path}.{end}" if name.startswith(("value", "extension", "code")) else f"{path}.{end}.{name}"
                    )
                    yield from _values(member, inner, required=name in option.required and required)
    else:
        for name, member in shape.members.items():
            inner = path if name in {"coding"} else f"{path}.{name}" if path else name
            if name == "code" and "system" in shape.members:
                inner = path
            yield from _values(member, inner, required=name in shape.required and (required or not path))


def _type(shape: Shape) -> str:
    if shape.codes:
        return f"code of `{shape.codes}`"
    if shape.allowed:
        return ", ".join(f"`{value}`" for value in sorted(shape.allowed))
    written = _FORMS.get(shape.pattern.pattern) if shape.pattern is not None else None
    if shape.pattern is not None and written is None and shape.pattern.pattern != "\\S":
        written = "`" + shape.pattern.pattern.replace("|", "\\|") + "`"
    return " or ".join(sorted(shape.types)) + (f", {written}" if written else "")


def _findings() -> Iterator[str]:
    yield "## Findings"
    yield ""
    yield "A transform of your own raises `TransformError` with one of these codes."
    yield ""
    yield "| code | in Finnish | in Swedish | in English |"
    yield "|---|---|---|---|"
    for code in sorted(CODES):
        text = finding("error", code, Position()).message
        yield f"| `{code}` | {text.fi} | {text.sv} | {text.en} |"
    yield ""


def _limits() -> Iterator[str]:
    yield "## Limits"
    yield ""
    yield "| limit | unless said otherwise |"
    yield "|---|---|"
    limits = Limits()
    for name in Limits.__slots__:
        value: Any = getattr(limits, name)
        if isinstance(value, int | float):
            yield f"| `{name}` | {value:,} |".replace(",", " ")


def _names(names: frozenset[str]) -> str:
    return ", ".join(f"`{name}`" for name in sorted(names))


def _cell(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text.replace("|", "\\|")
