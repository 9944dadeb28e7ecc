"""The rulebook: purposes, data categories, flows, legal bases and prohibitions, with the dates between which each is
in force.

A rulebook is YAML that a lawyer can read. Loading it checks its form, that every name it uses exists, and that every
worked example in it comes out as written. What is wrong is told by line, with the nearest name that exists. A basis
without a source does not load, unless it says of itself that it has none.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from functools import cache, lru_cache
from importlib.resources import files
from itertools import islice
from typing import Any, Final

import jsonschema_rs

from consent.rules.building import build
from consent.rules.document import Document, Fault, RulebookError, read
from consent.rules.law import (
    Rulebook,
)
from consent.rules.naming import Names

_MOST_FAULTS: Final = 200
_SCHEMAS: Final = {1: "rulebook-1.schema.json", 2: "rulebook.schema.json"}


def reference_rulebook() -> bytes:
    """The Finnish reference rulebook that is shipped. No lawyer of a member has signed it off: it says so itself."""
    return (files("consent") / "reference" / "fi-kotoutuminen.yaml").read_bytes()


def load(data: bytes, *, source: str = "rulebook") -> Rulebook:
    """Read and check a rulebook. Raises RulebookError with the line of everything that is wrong, up to 200 things.

    Any bytes may be given: what a text can make of itself (aliases in aliases, depth, products) is bounded. The last
    few texts that were read are not read again.
    """
    return _load(bytes(data), source)


@lru_cache(maxsize=8)
def _load(data: bytes, source: str) -> Rulebook:
    return checked(read(data, source), "sha-256:" + hashlib.sha256(data).hexdigest(), source)


def checked(document: Document, digest: str, source: str) -> Rulebook:
    """The rulebook of a text that was read, which `digest` names. Raises RulebookError."""
    found = list(islice(_form(document.values), _MOST_FAULTS))
    if not found:
        found = list(islice(Names(document.values).wrong(), _MOST_FAULTS))
    if found:
        raise _refused(source, document, found)
    rulebook = build(document.values, digest, source)
    wrong = list(islice(_examples_gone_wrong(rulebook, document.values), _MOST_FAULTS))
    if wrong:
        raise _refused(source, document, wrong)
    return rulebook


def _refused(source: str, document: Document, found: list[tuple[str, str, str]]) -> RulebookError:
    return RulebookError(source, [Fault(document.line(pointer), pointer, *words) for pointer, *words in found])


@cache
def _schema(form: int) -> Any:
    text = (files("consent") / _SCHEMAS[form]).read_text(encoding="utf-8")
    return jsonschema_rs.Draft202012Validator(json.loads(text))


def _form(document: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    form = document.get("form", 1)
    if form not in _SCHEMAS or isinstance(form, bool):
        yield "/form", "this program reads rulebooks of the forms 1 and 2", "write form: 2"
        return
    for error in _schema(form).iter_errors(document):
        pointer = "".join(f"/{step}" for step in error.instance_path)
        yield pointer, str(error.message), f"see consent/{_SCHEMAS[form]}"


def _examples_gone_wrong(rulebook: Rulebook, document: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    from consent.deciding.examples import outcome

    places = [
        f"/bases/{index}/examples/{place}"
        for index, basis in enumerate(document["bases"])
        for place, _ in enumerate(basis["examples"])
    ]
    for place, example in zip(places, rulebook.examples, strict=True):
        permitted = outcome(rulebook, example).permitted_categories
        missing = sorted(asked for asked in example.permitted if not rulebook.covers(permitted, asked))
        leaking = sorted(withheld for withheld in example.withheld if rulebook.covers(permitted, withheld))
        if missing:
            yield place, f"the example says permitted, the rules withhold: {', '.join(missing)}", "mend one of the two"
        if leaking:
            yield place, f"the example says withheld, the rules permit: {', '.join(leaking)}", "mend one of the two"
