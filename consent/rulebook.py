"""The rulebook: purposes, data categories, flows, legal bases and prohibitions, with the dates between which each is
in force.

A rulebook is YAML that a lawyer can read. Loading it checks its form, that every name it uses exists, and that every
worked example in it comes out as written. What is wrong is told by line, with the nearest name that exists.
"""

from __future__ import annotations

import difflib
import hashlib
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import cache
from importlib.resources import files
from itertools import islice
from typing import Any, Final, Literal

import jsonschema_rs
from ruamel.yaml import YAML
from ruamel.yaml.composer import Composer, ComposerError
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.events import AliasEvent
from ruamel.yaml.nodes import MappingNode, SequenceNode
from ruamel.yaml.reader import ReaderError

from consent.conditions import CONDITIONS
from consent.request import SubjectFacts

ConsentRule = Literal["not-needed", "required", "refusable"]
Words = Mapping[str, str]
_MOST_NODES: Final = 30_000  # of a file with its aliases written out; the reference has about 8 000
_MOST_PATHS: Final = 200_000  # provider, requester and purpose, summed over the bases; the reference has about 200
_MOST_FAULTS: Final = 200
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


@dataclass(frozen=True, slots=True)
class Category:
    """A data category, or a part of one that the law gives on its own."""

    code: str
    title: Words
    class_: str
    parent: str | None = None
    parts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Statute:
    """The act that a basis stands on. A section is given only where it is sure."""

    name: str
    number: str
    section: str | None


@dataclass(frozen=True, slots=True)
class Basis:
    """A legal basis: who may give what to whom, for which purpose, about which persons, and what consent means for
    it.
    """

    id: str
    statute: Statute
    title: Words
    reviewed: bool
    starts: date | None
    ends: date | None
    purposes: frozenset[str]
    providers: frozenset[str]
    requesters: frozenset[str]
    permits: frozenset[str]
    categories: frozenset[str]
    conditions: tuple[str, ...]
    consent: ConsentRule
    emergency: bool
    obligations: frozenset[str]

    def in_force(self, day: date) -> bool:
        """Whether it is in force on a day (Finnish calendar)."""
        return (self.starts is None or self.starts <= day) and (self.ends is None or day <= self.ends)


@dataclass(frozen=True, slots=True)
class Prohibition:
    """What may not move, whatever else permits it: when all of `when` hold, unless one of `unless` does.

    A prohibition stops bases for emergencies as well, unless the rulebook says of it that it does not.
    """

    id: str
    title: Words
    starts: date | None
    ends: date | None
    purposes: frozenset[str]
    categories: frozenset[str]
    when: tuple[str, ...]
    unless: tuple[str, ...]
    stops_emergencies: bool = True

    def in_force(self, day: date) -> bool:
        """Whether it is in force on a day (Finnish calendar)."""
        return (self.starts is None or self.starts <= day) and (self.ends is None or day <= self.ends)


@dataclass(frozen=True, slots=True)
class Permit:
    """What a residence permit rests on. Before its first day and after its last it carries no basis."""

    code: str
    title: Words
    starts: date | None
    ends: date | None

    def in_force(self, day: date) -> bool:
        """Whether the law knows it on a day (Finnish calendar)."""
        return (self.starts is None or self.starts <= day) and (self.ends is None or day <= self.ends)


@dataclass(frozen=True, slots=True)
class FlowDelivery:
    """One recipient of a flow, by role, the roles that it may come from, and what is to reach it if the law lets it."""

    to_role: str
    purpose: str
    categories: frozenset[str]
    from_roles: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Flow:
    """A flow as the field knows it: its code and its name, what a handover of it plans, what is asked case by case."""

    code: str
    title: Words
    deliveries: tuple[FlowDelivery, ...]
    asked: tuple[FlowDelivery, ...] = ()


@dataclass(frozen=True, slots=True)
class Gap:
    """Why something that a flow asks for is given by no basis. An empty set means: all of them."""

    id: str
    reason: Words
    starts: date | None
    ends: date | None
    purposes: frozenset[str]
    providers: frozenset[str]
    requesters: frozenset[str]
    permits: frozenset[str]
    categories: frozenset[str]


@dataclass(frozen=True, slots=True)
class Case:
    """A person of a worked example."""

    id: str
    title: Words
    facts: SubjectFacts
    consents: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Example:
    """A worked example of a basis: who asks what about which case on which day, and what must come out."""

    basis: str
    case: str
    provider: str
    requester: str
    purpose: str
    on: date
    permitted: frozenset[str]
    withheld: frozenset[str]
    emergency: bool


@dataclass(frozen=True, slots=True)
class Rulebook:
    """A rulebook that has been checked."""

    name: str
    version: str
    status: str
    digest: str
    source: str
    purposes: Mapping[str, Words]
    roles: Mapping[str, Words]
    permits: Mapping[str, Permit]
    categories: Mapping[str, Category]
    flows: Mapping[str, Flow]
    bases: tuple[Basis, ...]
    prohibitions: tuple[Prohibition, ...]
    gaps: tuple[Gap, ...]
    parties: Mapping[str, Mapping[str, Any]]
    cases: Mapping[str, Case]
    examples: tuple[Example, ...]
    _index: Mapping[tuple[str, str, str], tuple[Basis, ...]] = field(repr=False, compare=False)

    def bases_for(self, provider: str, requester: str, purpose: str) -> tuple[Basis, ...]:
        """The bases between two roles for a purpose, whatever their dates: first those that need no consent, then those
        that a refusal stops, those that a consent carries, those for emergencies; each in the rulebook's order.
        """
        return self._index.get((provider, requester, purpose), ())

    def basis(self, identifier: str) -> Basis | None:
        """A basis by its id."""
        return next((basis for basis in self.bases if basis.id == identifier), None)

    def covers(self, categories: frozenset[str], category: str) -> bool:
        """Whether a set of categories holds this one, or the one that it is a part of."""
        if category in categories:
            return True
        known = self.categories.get(category)
        return known is not None and known.parent in categories

    def touches(self, categories: frozenset[str], category: str) -> bool:
        """Whether a refusal or prohibition of these categories stops this one: also when one is a part of it."""
        if self.covers(categories, category):
            return True
        known = self.categories.get(category)
        return known is not None and any(part in categories for part in known.parts)


def reference_rulebook() -> bytes:
    """The Finnish reference rulebook that is shipped. No lawyer of a member has signed it off: it says so itself."""
    return (files("consent") / "reference" / "fi-kotoutuminen.yaml").read_bytes()


def load(data: bytes, *, source: str = "rulebook") -> Rulebook:
    """Read and check a rulebook. Raises RulebookError with the line of everything that is wrong, up to 200 things.

    Any bytes may be given: what a text can make of itself (aliases in aliases, depth, products) is bounded.
    """
    document = _plain(data, source)
    found = list(islice(_form(document), _MOST_FAULTS))
    if not found:
        found = list(islice(_names(document), _MOST_FAULTS))
    if found:
        lines = _Lines(data)
        raise RulebookError(source, [Fault(lines.of(pointer), pointer, *words) for pointer, *words in found])
    rulebook = _build(document, "sha-256:" + hashlib.sha256(data).hexdigest(), source)
    wrong = list(islice(_examples_gone_wrong(rulebook, document), _MOST_FAULTS))
    if wrong:
        lines = _Lines(data)
        raise RulebookError(source, [Fault(lines.of(pointer), pointer, *words) for pointer, *words in wrong])
    return rulebook


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


def _plain(data: bytes, source: str) -> Any:
    """The document in the kinds of value that JSON has, days as text. Raises RulebookError."""
    yaml = YAML(typ="safe", pure=True)
    yaml.Composer = _Bounded
    yaml.max_depth = _DEEPEST
    try:
        whole = json.dumps(yaml.load(io.BytesIO(data)), default=str, ensure_ascii=False, allow_nan=False)
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
        raise RulebookError(source, [Fault(1, "", "it holds a key, a number or a day that no rulebook has")]) from None
    if not isinstance(document, dict):
        raise RulebookError(source, [Fault(1, "", "this is not a rulebook", "see consent/rulebook.schema.json")])
    return document


def _line(mark: Any) -> int:
    return mark.line + 1 if mark is not None else 1


class _Lines:
    """Finds the line of a JSON Pointer, by composing the document once more, with positions."""

    def __init__(self, data: bytes) -> None:
        self._root = YAML(typ="safe", pure=True).compose(io.BytesIO(data))

    def of(self, pointer: str) -> int:
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


@cache
def _schema() -> Any:
    text = (files("consent") / "rulebook.schema.json").read_text(encoding="utf-8")
    return jsonschema_rs.Draft202012Validator(json.loads(text))


def _form(document: Any) -> Iterator[tuple[str, str, str]]:
    for error in _schema().iter_errors(document):
        pointer = "".join(f"/{step}" for step in error.instance_path)
        yield pointer, str(error.message), "see consent/rulebook.schema.json"


def _names(document: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    categories = set(document["categories"])
    for category in document["categories"].values():
        categories.update(category.get("parts", ()))
    known = {
        "purposes": set(document["purposes"]),
        "roles": set(document["roles"]),
        "categories": categories,
        "conditions": set(CONDITIONS),
        "cases": set(document["cases"]),
        "parties": set(document["parties"]),
        "permits": set(document["permits"]),
    }

    def each(pointer: str, names: Iterable[str], kind: str) -> Iterator[tuple[str, str, str]]:
        for index, name in enumerate(names):
            yield from one(f"{pointer}/{index}", name, kind)

    def one(pointer: str, name: str, kind: str) -> Iterator[tuple[str, str, str]]:
        if name not in known[kind]:
            near = difflib.get_close_matches(name, known[kind], 1)
            yield pointer, f"there is no {name!r} among the {kind}", f"did you mean {near[0]!r}?" if near else ""

    def dates(pointer: str, force: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
        for name in ("from", "to"):
            try:
                _day(force.get(name))
            except ValueError:
                yield f"{pointer}/{name}", f"{force[name]!r} is not a day of the calendar", "write YYYY-MM-DD"
                return
        if "from" in force and "to" in force and force["to"] < force["from"]:
            yield f"{pointer}/to", "it ends before it begins", "swap or mend the two days"

    for code, permit in document["permits"].items():
        yield from dates(f"/permits/{code}/in_force", permit.get("in_force", {}))
    for kind in ("bases", "prohibitions", "gaps"):
        for index, dated in enumerate(document.get(kind, ())):
            yield from dates(f"/{kind}/{index}/in_force", dated.get("in_force", {}))
    seen: set[str] = set()
    paths = 0
    for index, basis in enumerate(document["bases"]):
        at = f"/bases/{index}"
        paths += len(basis["providers"]) * len(basis["requesters"]) * len(basis["purposes"])
        if paths > _MOST_PATHS:
            yield at, "the bases speak of more roles and purposes than a rulebook can", "name fewer together"
            return
        if basis["id"] in seen:
            yield f"{at}/id", f"two bases have the id {basis['id']!r}", "give each basis an id of its own"
        seen.add(basis["id"])
        yield from each(f"{at}/purposes", basis["purposes"], "purposes")
        yield from each(f"{at}/providers", basis["providers"], "roles")
        yield from each(f"{at}/requesters", basis["requesters"], "roles")
        yield from each(f"{at}/categories", basis["categories"], "categories")
        yield from each(f"{at}/conditions", basis.get("conditions", ()), "conditions")
        yield from each(f"{at}/subjects/permit", basis.get("subjects", {}).get("permit", ()), "permits")
        for place, example in enumerate(basis["examples"]):
            yield from one(f"{at}/examples/{place}/case", example["case"], "cases")
            yield from one(f"{at}/examples/{place}/requester", example["requester"], "parties")
            if "provider" in example:
                yield from one(f"{at}/examples/{place}/provider", example["provider"], "parties")
            yield from each(f"{at}/examples/{place}/permitted", example.get("permitted", ()), "categories")
            yield from each(f"{at}/examples/{place}/withheld", example.get("withheld", ()), "categories")
    for index, prohibition in enumerate(document["prohibitions"]):
        at = f"/prohibitions/{index}"
        yield from each(f"{at}/categories", prohibition["categories"], "categories")
        yield from each(f"{at}/purposes", prohibition.get("purposes", ()), "purposes")
        yield from each(f"{at}/when", prohibition["when"], "conditions")
        yield from each(f"{at}/unless", prohibition.get("unless", ()), "conditions")
    for code, flow in document["flows"].items():
        for kind in ("deliveries", "asked"):
            for index, part in enumerate(flow.get(kind, ())):
                at = f"/flows/{code}/{kind}/{index}"
                yield from each(f"{at}/from", part["from"], "roles")
                yield from each(f"{at}/to", part["to"], "roles")
                yield from one(f"{at}/purpose", part["purpose"], "purposes")
                yield from each(f"{at}/categories", part["categories"], "categories")
    for index, gap in enumerate(document.get("gaps", ())):
        at = f"/gaps/{index}"
        for name, kind in _GAP_SELECTORS:
            yield from each(f"{at}/{name}", gap.get(name, ()), kind)
    for name, party in document["parties"].items():
        yield from one(f"/parties/{name}/role", party["role"], "roles")
    for name, case in document["cases"].items():
        at = f"/cases/{name}"
        if "permit_ground" in case["facts"]:
            yield from one(f"{at}/facts/permit_ground", case["facts"]["permit_ground"], "permits")
        for index, held in enumerate(case.get("consents", ())):
            yield from each(f"{at}/consents/{index}/purposes", held.get("purposes", ()), "purposes")
            yield from each(f"{at}/consents/{index}/categories", held.get("categories", ()), "categories")


_GAP_SELECTORS = (
    ("purposes", "purposes"),
    ("providers", "roles"),
    ("requesters", "roles"),
    ("permits", "permits"),
    ("categories", "categories"),
)

#: What a basis asks of the person, from the least to the most: of two that carry, the lighter is named.
_WEIGHT: Mapping[ConsentRule, int] = {"not-needed": 0, "refusable": 1, "required": 2}


def _build(document: Mapping[str, Any], digest: str, source: str) -> Rulebook:
    bases = tuple(_basis(basis) for basis in document["bases"])
    index: dict[tuple[str, str, str], list[Basis]] = {}
    for basis in bases:
        for provider in basis.providers:
            for requester in basis.requesters:
                for purpose in basis.purposes:
                    index.setdefault((provider, requester, purpose), []).append(basis)
    for carrying in index.values():
        carrying.sort(key=lambda one: (one.emergency, _WEIGHT[one.consent]))
    return Rulebook(
        name=document["rulebook"],
        version=str(document["version"]),
        status=document["status"],
        digest=digest,
        source=source,
        purposes=document["purposes"],
        roles=document["roles"],
        permits={
            code: Permit(code, _words(permit), *_force(permit.get("in_force", {})))
            for code, permit in document["permits"].items()
        },
        categories=_categories(document["categories"]),
        flows={
            code: Flow(code, flow["title"], *(tuple(_parts(flow.get(kind, ()))) for kind in ("deliveries", "asked")))
            for code, flow in document["flows"].items()
        },
        bases=bases,
        prohibitions=tuple(_prohibition(one) for one in document["prohibitions"]),
        gaps=tuple(_gap(gap) for gap in document.get("gaps", ())),
        parties=document["parties"],
        cases={
            name: Case(name, case["title"], SubjectFacts(**case["facts"]), tuple(case.get("consents", ())))
            for name, case in document["cases"].items()
        },
        examples=tuple(
            Example(
                basis=basis["id"],
                case=example["case"],
                provider=example.get("provider", "centre"),
                requester=example["requester"],
                purpose=example.get("purpose", basis["purposes"][0]),
                on=_day(example["on"]) or date.min,
                permitted=frozenset(example.get("permitted", ())),
                withheld=frozenset(example.get("withheld", ())),
                emergency=bool(example.get("emergency", False)),
            )
            for basis in document["bases"]
            for example in basis["examples"]
        ),
        _index={key: tuple(found) for key, found in index.items()},
    )


def _gap(document: Mapping[str, Any]) -> Gap:
    selected = [frozenset(document.get(name, ())) for name, _ in _GAP_SELECTORS]
    return Gap(document["id"], document["reason"], *_force(document.get("in_force", {})), *selected)


def _parts(document: Iterable[Mapping[str, Any]]) -> Iterator[FlowDelivery]:
    for part in document:
        for to in part["to"]:
            yield FlowDelivery(to, part["purpose"], frozenset(part["categories"]), frozenset(part["from"]))


def _force(document: Mapping[str, Any]) -> tuple[date | None, date | None]:
    return _day(document.get("from")), _day(document.get("to"))


def _categories(document: Mapping[str, Any]) -> dict[str, Category]:
    found: dict[str, Category] = {}
    for code, category in document.items():
        parts = category.get("parts", {})
        found[code] = Category(code, _words(category), category["class"], None, tuple(parts))
        for part, words in parts.items():
            found[part] = Category(part, _words(words), words.get("class", category["class"]), code)
    return found


def _words(document: Mapping[str, Any]) -> Words:
    return {language: document[language] for language in ("fi", "sv", "en")}


def _basis(document: Mapping[str, Any]) -> Basis:
    statute, (starts, ends) = document["statute"], _force(document.get("in_force", {}))
    return Basis(
        id=document["id"],
        statute=Statute(statute["name"], statute["number"], statute.get("section")),
        title=document["title"],
        reviewed=document["reviewed"],
        starts=starts,
        ends=ends,
        purposes=frozenset(document["purposes"]),
        providers=frozenset(document["providers"]),
        requesters=frozenset(document["requesters"]),
        permits=frozenset(document.get("subjects", {}).get("permit", ())),
        categories=frozenset(document["categories"]),
        conditions=tuple(document.get("conditions", ())),
        consent=document["consent"],
        emergency=document.get("emergency", False),
        obligations=frozenset(document.get("obligations", ())),
    )


def _prohibition(document: Mapping[str, Any]) -> Prohibition:
    starts, ends = _force(document.get("in_force", {}))
    return Prohibition(
        id=document["id"],
        title=document["title"],
        starts=starts,
        ends=ends,
        purposes=frozenset(document.get("purposes", ())),
        categories=frozenset(document["categories"]),
        when=tuple(document["when"]),
        unless=tuple(document.get("unless", ())),
        # What a rulebook does not say is what it has always meant: decisions made by it are made again as they were.
        stops_emergencies=document.get("stops_emergencies", True),
    )


def _day(value: Any) -> date | None:
    return date.fromisoformat(value) if isinstance(value, str) else value


def _examples_gone_wrong(rulebook: Rulebook, document: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    from consent.examples import outcome

    places = [
        f"/bases/{index}/examples/{place}"
        for index, basis in enumerate(document["bases"])
        for place, _ in enumerate(basis["examples"])
    ]
    for place, example in zip(places, rulebook.examples, strict=True):
        permitted = outcome(rulebook, example).permitted_categories
        missing = sorted(one for one in example.permitted if not rulebook.covers(permitted, one))
        leaking = sorted(withheld for withheld in example.withheld if rulebook.covers(permitted, withheld))
        if missing:
            yield place, f"the example says permitted, the rules withhold: {', '.join(missing)}", "mend one of the two"
        if leaking:
            yield place, f"the example says withheld, the rules permit: {', '.join(leaking)}", "mend one of the two"
