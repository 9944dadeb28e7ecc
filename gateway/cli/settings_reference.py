"""The reference of all settings, made from the settings themselves, as Markdown."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from gateway.settings import Settings
from gateway.settings.environment import PREFIX, REGISTRY_VARIABLE

_HEAD = f"""# Settings of a node

One TOML file, and the environment over it: `{PREFIX}<SECTION>__<KEY>` lies over `[section] key`. A list
is written there as in the file, `["a", "b"]`; a number names a table of a list, from 0: `{PREFIX}CLIENTS__0__NAME` is
the name of the first of `[[clients]]`. Relative paths are relative to the file. Secrets are never settings: settings
name the files that hold them.
`yhdyspinta node check --config node.toml` tells everything that is wrong, by the line of the file or by the name of the
variable. A variable that begins with `{PREFIX}` and reaches no setting is an error, whatever its case; only
`{REGISTRY_VARIABLE}` is for other commands. Kubernetes makes such variables for a service that is called
`yhdyspinta`: set `enableServiceLinks: false` there. This page is what `yhdyspinta node settings` prints.
"""


def reference() -> str:
    """The whole page."""
    return "\n".join([_HEAD, *_sections(Settings, "")])


def _sections(model: type[BaseModel], path: str) -> Iterator[str]:
    nested: list[tuple[str, type[BaseModel]]] = []
    rows = []
    for name, field in model.model_fields.items():
        found = [kind for kind in _types(field.annotation) if isinstance(kind, type) and issubclass(kind, BaseModel)]
        inner = [item for item in found if item.__name__ != "Address"]
        if inner:
            many = typing.get_origin(field.annotation) is list
            nested += [(f"[{path}{name}]" if many else f"{path}{name}", argument) for argument in inner]
        else:
            rows.append(f"| `{name}` | {_kind(field)} | {_default(field)} | {field.description or ''} |")
    if path:
        yield f"\n## `[{path.removesuffix('.')}]`\n"
        if model.__doc__:
            yield " ".join(model.__doc__.split()) + "\n"
    if rows:
        yield "| key | kind | default | meaning |\n|---|---|---|---|"
        yield from rows
    for name, inner_model in nested:
        plain = name.strip("[]")
        # A table that may stand several times has two brackets; a table inside of it has one, and is of the last.
        heading, listed = f"\n## `[{plain}]`\n", f"\n## `[[{plain}]]`\n"
        for line in _sections(inner_model, f"{plain}."):
            yield listed if name.startswith("[") and line == heading else line


def _types(annotation: Any) -> Iterator[Any]:
    arguments = typing.get_args(annotation)
    if typing.get_origin(annotation) is typing.Annotated:
        arguments = arguments[:1]
    if not arguments or typing.get_origin(annotation) is Literal:
        yield annotation
    for argument in arguments:
        yield from _types(argument)


def _kind(field: FieldInfo) -> str:
    kinds = []
    for kind in _types(field.annotation):
        if kind is types.NoneType:
            continue
        if typing.get_origin(kind) is Literal:
            kinds.append(" or ".join(f"`{value}`" for value in typing.get_args(kind)))
        elif isinstance(kind, type):
            named = {Path: "path", str: "text", int: "whole number", float: "number", bool: "true or false"}
            kinds.append("HOST:PORT" if kind.__name__ == "Address" else named.get(kind, kind.__name__))
    origin = typing.get_origin(field.annotation)
    if origin is dict:
        return "table"
    return ("list of " if origin is list else "") + (" or ".join(dict.fromkeys(kinds)) or "table")


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "**needed**"
    value = field.get_default(call_default_factory=True)
    if value is None or value is PydanticUndefined:
        return ""
    if isinstance(value, list):
        return f"`[{', '.join(repr(item) for item in value)}]`".replace("'", '"')
    return f"`{value}`" if str(value) else ""
