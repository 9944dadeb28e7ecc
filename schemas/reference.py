"""A second opinion: the verdict of the reference library of JSON Schema on what a faster one has judged.

Too slow for the path of a request, and not loaded there: who connects a system asks it, and the tests do.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import jsonschema
from jsonschema.validators import extend

from schemas.catalogue import catalogue, with_codes


def _ecma_pattern(_: Any, pattern: str, instance: Any, __: Any) -> Iterator[jsonschema.ValidationError]:
    # JSON Schema's patterns are ECMA-262's, where $ is the very end; Python's also stops before a last line feed.
    if isinstance(instance, str) and re.search(pattern.replace("$", r"\Z"), instance) is None:
        yield jsonschema.ValidationError("the value has another form than is asked for here")


_REFERENCE: Any = extend(jsonschema.Draft202012Validator, {"pattern": _ecma_pattern})  # type: ignore[no-untyped-call]


@cache
def _validator(kind: str) -> Any:
    shipped = catalogue().resources.get(kind) or catalogue().apart[kind]
    return _REFERENCE(with_codes(shipped.schema), format_checker=jsonschema.FormatChecker(formats=["date"]))


def is_valid(resource: Mapping[str, Any]) -> bool:
    """Whether the published schema of its type takes a resource; one of an unknown type it never takes."""
    kind = resource.get("resourceType")
    if not isinstance(kind, str) or kind not in {*catalogue().resources, *catalogue().apart}:
        return False
    return bool(_validator(kind).is_valid(resource))
