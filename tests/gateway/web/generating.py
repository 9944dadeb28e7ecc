"""Requests made from a face's description: some that fit it, some that nearly do, some that are anything."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

DrawFn = Callable[[SearchStrategy[Any]], Any]

#: Texts at the edges of what databases, JSON and URLs take.
AWKWARD = (
    "", " ", "\0", "a\0b", "\n", "'", '"; DROP TABLE x', "%", "\\", "\u2028", "\ufeff", "ä" * 65, "x" * 65, "x" * 257,
    "x" * 1301, "x" * 70_000, "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00", "2026-02-30", "-1", "0",
    str(2**63), "1e9", "NaN", "null", "../..", "\U0001f600", "١", "０１０１９０-900P",
)  # fmt: skip
NUMBERS = (0, -1, 1, 2**31, 2**31 - 1, -(2**31), 2**63, 2**63 - 1, 10**30, 0.5, -0.0, 1e308)
ANYTHING: SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.sampled_from(NUMBERS) | st.sampled_from(AWKWARD) | st.text(max_size=8),
    lambda deeper: (
        st.lists(deeper, max_size=3) | st.dictionaries(st.sampled_from(AWKWARD) | st.text(max_size=5), deeper)
    ),
    max_leaves=6,
)


class Making:
    """Makes values of the forms of one description. `samples` are good ones, by the name of a member or form."""

    def __init__(self, document: Mapping[str, Any], samples: Mapping[str, Sequence[Any]]) -> None:
        self._forms = document["components"]["schemas"]
        self._samples = samples

    def value(self, draw: DrawFn, schema: Mapping[str, Any], name: str, wild: int) -> Any:
        """A value of the schema; with a chance of one in `wild` at each place, anything instead."""
        if draw(st.integers(1, wild)) == 1:
            return draw(ANYTHING)
        reference = schema.get("$ref", "").rpartition("/")[2]
        known = self._samples.get(name) or self._samples.get(reference)
        if known and draw(st.integers(0, 4)):
            return draw(st.sampled_from(list(known)))
        if reference:
            return self.value(draw, self._forms[reference], name, wild)
        for several in ("anyOf", "oneOf", "allOf"):
            if several in schema:
                return self.value(draw, draw(st.sampled_from(schema[several])), name, wild)
        if "enum" in schema or "const" in schema:
            return draw(st.sampled_from(schema.get("enum") or [schema["const"]]))
        return self._plain(draw, schema, name, wild)

    def _plain(self, draw: DrawFn, schema: Mapping[str, Any], name: str, wild: int) -> Any:
        kind = schema.get("type")
        if kind == "object":
            members: dict[str, Any] = {}
            if "properties" not in schema and "{}" in self._samples:
                (known,) = self._samples["{}"]
                chosen = draw(st.sets(st.sampled_from(sorted(known)), max_size=6))
                return {member: draw(st.sampled_from(known[member]) | ANYTHING) for member in sorted(chosen)}
            for member, inner in schema.get("properties", {}).items():
                if member in schema.get("required", ()) or draw(st.booleans()):
                    members[member] = self.value(draw, inner, member, wild)
            return members
        if kind == "array":
            most = min(schema.get("maxItems", 3), 3)
            count = draw(st.integers(min(schema.get("minItems", 0), most), most))
            return [self.value(draw, schema.get("items", {}), name, wild) for _ in range(count)]
        if kind == "integer":
            return draw(st.integers(schema.get("minimum", -5), schema.get("maximum", 2**40)))
        if kind == "boolean":
            return draw(st.booleans())
        if kind == "null":
            return None
        if kind == "string":
            dated = {"date": "2026-01-31", "date-time": "2026-01-31T12:00:00Z"}.get(schema.get("format", ""))
            return dated or draw(st.sampled_from(AWKWARD) | st.text(max_size=12))
        return draw(ANYTHING)


def request(
    draw: DrawFn, document: Mapping[str, Any], path: str, method: str, samples: Mapping[str, Sequence[Any]]
) -> tuple[str, dict[str, str], bytes]:
    """An address, headers and a body for one operation of the description."""
    making = Making(document, samples)
    operation = document["paths"][path][method]
    wild = draw(st.sampled_from([4, 12, 1000]))
    address, query, headers = path, [], {}
    for parameter in operation.get("parameters", ()):
        if parameter["in"] != "path" and not parameter.get("required") and draw(st.booleans()):
            continue
        text = _text(making.value(draw, parameter["schema"], parameter["name"], wild))
        if parameter["in"] == "path":
            address = address.replace(f"{{{parameter['name']}}}", quote(text, safe="") or "%20")
        elif parameter["in"] == "query":
            query.append((parameter["name"], text))
        else:
            headers[parameter["name"]] = "".join(mark for mark in text if mark.isprintable() and ord(mark) < 256)[:2000]
    if draw(st.integers(0, 9)) == 0:
        query.append((draw(st.sampled_from(AWKWARD)), "x"))
    body = b""
    if "requestBody" in operation:
        content = operation["requestBody"]["content"]
        kind = draw(st.sampled_from(sorted(content)))
        headers["Content-Type"] = (
            kind if draw(st.integers(0, 9)) else draw(st.sampled_from(("", "text/plain", "a/b;c")))
        )
        body = _body(draw, making, content[kind].get("schema", {}), kind, wild)
    return address[:7000] + (f"?{urlencode(query)}"[:900] if query else ""), headers, body


def _body(draw: DrawFn, making: Making, schema: Mapping[str, Any], kind: str, wild: int) -> bytes:
    if draw(st.integers(0, 9)) == 0:
        return draw(st.binary(max_size=64) | st.sampled_from([b'{"a": 1, "a": 2}', b"[" * 5000, b"\xff\xfe{}"]))
    samples = making._samples.get(kind)
    if samples:
        return mutated(draw, draw(st.sampled_from(list(samples))))
    value = making.value(draw, schema, "", wild)
    if kind == "application/x-www-form-urlencoded":
        pairs = value.items() if isinstance(value, dict) else [("x", value)]
        return urlencode([(str(name), _text(member)) for name, member in pairs], errors="replace").encode()
    return json.dumps(value).encode()


def mutated(draw: DrawFn, sample: bytes) -> bytes:
    """A sample, perhaps cut, with a piece of it put elsewhere or a few bytes changed."""
    at = draw(st.integers(0, len(sample)))
    change = draw(st.sampled_from(["as it is", "cut", "bytes", "twice"]))
    if change == "cut":
        return sample[:at]
    if change == "bytes":
        return sample[:at] + draw(st.binary(max_size=4)) + sample[at + draw(st.integers(0, 4)) :]
    return sample[:at] + sample[at // 2 :] if change == "twice" else sample


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text.encode("utf-8", "replace").decode()
