"""Resources out of thin air: whatever a canonical schema allows, and that with one thing spoilt.

They are drawn from a seed, not choice by choice: a resource has hundreds of choices, and a seed is enough to see one
again.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from functools import cache
from random import Random
from typing import Any

from hypothesis import strategies as st

from schemas.catalogue import ResourceSchema, catalogue
from schemas.codes import code_system

#: What is put in place of a good value, or beside it, to see whether both validators notice.
ALIEN: tuple[Any, ...] = (
    None,
    True,
    0,
    -1,
    1.0,
    1.5,
    10**20,
    "",
    " ",
    "\n",
    "2026-02-30",
    "2026-2-3",
    "2026-02-03\n",
    "\u0661",
    "Aä",
    "A" * 5000,
    "patient-1\n",
    "Patient/patient-1 ",
    [],
    {},
    [[]],
    {"reference": "Patient/patient-9"},
)

_FITTING = [
    "patient-1",
    "service-request-12",
    "010190-900A",
    "A1",
    "DEMO-1001",
    "FI/GOV/9999901-1/register",
    "9999901-1",
    "48100",
    "1990",
    "1990-05",
    "1988-02-29",
    "FI",
    "J45.9",
    "F43",
    "0f8fad5b-d9cb-469f-a165-70867728950e",
    "2026-11-24T08:00:00Z",
    "2026-11-24T08:00:00.125+02:00",
]


def _dashed(kind: str) -> str:
    return re.sub("(?<!^)(?=[A-Z])", "-", kind).lower()


_FITTING += [f"{kind}/{_dashed(kind)}-{number}" for kind in catalogue().resources for number in (1, 27)]
_FITTING += [f"{_dashed(kind)}-{number}" for kind in (*catalogue().resources, *catalogue().apart) for number in (1, 27)]


@cache
def _matching(pattern: str) -> list[str]:
    found = [one for one in _FITTING if re.search(pattern.replace("$", r"\Z"), one)]
    assert found, pattern
    return found


def value(schema: Mapping[str, Any], draw: Random) -> Any:
    """What one place of a canonical schema allows."""
    if "const" in schema:
        return schema["const"]
    if "anyOf" in schema:
        return value(draw.choice(schema["anyOf"]), draw)
    if "x-codes" in schema:
        return draw.choice(list(code_system(schema["x-codes"]).codes))
    if "enum" in schema:
        return draw.choice(schema["enum"])
    match schema["type"]:
        case "object":
            return _object(schema, draw)
        case "array":
            least = schema.get("minItems", 0)
            most = max(least, min(3, schema.get("maxItems", 3)))
            return [value(schema["items"], draw) for _ in range(draw.randint(least, most))]
        case "boolean":
            return draw.random() < 0.5
        case "integer":
            return draw.choice(
                [schema["minimum"], schema["maximum"], draw.randint(schema["minimum"], schema["maximum"])]
            )
        case "number":
            return draw.choice([0, 12.5, schema["maximum"]])
    if schema.get("format") == "date":
        return (date(1900, 1, 1) + timedelta(days=draw.randrange(100_000))).isoformat()
    if schema.get("pattern", "\\S") != "\\S":
        return draw.choice(_matching(schema["pattern"]))
    return draw.choice(["x", "Äijälä Östen", "<b>ä</b>", "a" * schema["maxLength"]])


def _object(schema: Mapping[str, Any], draw: Random) -> dict[str, Any]:
    members: Mapping[str, Any] = schema["properties"]
    taken = set(schema.get("required", ()))
    others = [name for name in members if name not in taken]
    choices = [name for name in others if name.startswith("value") and name != "value"]
    if choices and (schema.get("minProperties") or draw.random() < 0.7):
        taken.add(draw.choice(choices))  # of FHIR's value[x], one
    taken.update(name for name in others if name not in choices and draw.random() < 0.5)
    died = sorted(name for name in taken if name.startswith("deceased"))
    taken.difference_update(died[1:])  # of FHIR's deceased[x], one
    if not taken:
        taken.add(draw.choice(list(members)))
    return {name: value(member, draw) for name, member in members.items() if name in taken}


def every() -> dict[str, ResourceSchema]:
    """All resource schemas by type."""
    return {**catalogue().resources, **catalogue().apart}


def resources(kind: str) -> st.SearchStrategy[dict[str, Any]]:
    """A valid resource of a kind."""
    schema = every()[kind].schema
    return st.integers(0, 2**32).map(lambda seed: value(schema, Random(seed)))


def spoilt(kind: str) -> st.SearchStrategy[dict[str, Any]]:
    """A resource with one value replaced, removed, doubled or smuggled in. It may still be valid."""
    schema = every()[kind].schema
    return st.integers(0, 2**32).map(lambda seed: _spoil(value(schema, Random(seed)), Random(seed + 1)))


def _spoil(made: dict[str, Any], draw: Random) -> dict[str, Any]:
    holder, key = draw.choice(list(_places(made)))
    match draw.choice(["replace", "replace", "remove", "add", "double"]):
        case "replace":
            holder[key] = copy.deepcopy(draw.choice(ALIEN))
        case "remove":
            del holder[key]
        case "add" if isinstance(holder, dict):
            name = draw.choice(["text", "contained", "modifierExtension", "_id", "value", "display", "valueString"])
            holder[name] = copy.deepcopy(draw.choice(ALIEN))
        case _:
            if isinstance(holder, list):
                holder.extend(copy.deepcopy(holder) * draw.randint(1, 8))
            else:
                holder[key] = [holder[key], copy.deepcopy(holder[key])]
    return made


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(value, dict | list):
        for key, member in value.items() if isinstance(value, dict) else enumerate(value):
            if key != "resourceType":
                yield value, key
            yield from _places(member)
