"""The reference of the mapping language, made from the code that compiles and runs it, so that it cannot lag behind."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator
from typing import Any

from adapters import mapping
from adapters.mapping import _FORMATS
from adapters.sdk import Limits, Position
from adapters.texts import CODES, finding
from adapters.transforms import TRANSFORMS
from schemas.catalogue import catalogue
from schemas.codes import code_system, code_systems
from schemas.shape import OWN, Shape

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
    yield "| `mapping` | the adapter's name |"
    yield "| `version` | its version, a number of yours |"
    yield "| `source` | how the source is written, see below |"
    yield "| `tables` | code tables: `{NAME: {VALUE: code, …}}`, used as `code NAME` or `table NAME` |"
    yield "| `ignored` | fields that are left out on purpose; any other that is not mapped is reported |"
    yield "| `resources` | what is made: `Patient` first, then others; a list makes several of one kind |"
    yield ""
    yield from _sources()
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
    for name, (must, may) in _FORMATS.items():
        yield f"| `{name}` | {_names(must)} | {_names(may) or '–'} |"
    yield ""
    yield "| member | what it says |"
    yield "|---|---|"
    for name in sorted({one for must, may in _FORMATS.values() for one in must | may}):
        yield f"| `{name}` | {_SOURCE_MEMBERS.get(name, '')} |"
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
    yield "| `table TABLE` | The value of a table of the mapping, of any type. | | any | yes |"
    yield ""


def _codes() -> Iterator[str]:
    yield "## Code systems"
    yield ""
    yield "`as: code NAME` takes a field that holds codes of these; a table of the mapping's own gives codes of these."
    yield ""
    yield "| name | codes | some of them |"
    yield "|---|---|---|"
    for name in code_systems():
        codes = list(code_system(name).codes)
        yield f"| `{name}` | {len(codes)} | {', '.join(f'`{code}`' for code in codes[:4])}{' …' if codes[4:] else ''} |"
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
        return ", ".join(f"`{one}`" for one in sorted(shape.allowed))
    return " or ".join(sorted(shape.types))


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
