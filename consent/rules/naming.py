"""Check that every name that a rulebook uses is one that it knows, and every day one of the calendar."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from typing import Any, Final

from consent.rules.conditions import CONDITIONS
from consent.rules.law import RETAIN
from consent.rules.provisions import Provision

Wrong = Iterator[tuple[str, str, str]]
_MOST_PATHS: Final = 200_000  # provider, requester and purpose, summed over the bases; the reference has about 2 000

#: What each form calls the two sides of a basis, of an example and of a gap, and whom a basis is about.
SIDES: Final = {1: ("providers", "requesters"), 2: ("from", "to")}
EXAMPLE_SIDES: Final = {1: ("provider", "requester"), 2: ("from", "to")}


def day(value: Any) -> date | None:
    """A day as a document has it. Raises ValueError."""
    return date.fromisoformat(value) if isinstance(value, str) else value


def gap_selectors(form: int) -> tuple[tuple[str, str], ...]:
    """What a gap names, and the kind of name that it is."""
    provider, requester = SIDES[form]
    return (
        ("purposes", "purposes"),
        (provider, "roles"),
        (requester, "roles"),
        ("permits", "permits"),
        ("categories", "categories"),
    )


def persons_of(basis: Mapping[str, Any], form: int) -> Iterable[str]:
    """The permit grounds of the persons whom a basis is about; none if it is about everybody."""
    named: Iterable[str] = basis.get("subjects", {}).get("permit", ()) if form == 1 else basis.get("persons", ())
    return named


class Names:
    """The names of one document, by kind."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = document
        self._form = int(document.get("form", 1))
        categories = set(document["categories"])
        for category in document["categories"].values():
            categories.update(category.get("parts", ()))
        self._known: dict[str, set[str]] = {
            "purposes": set(document["purposes"]),
            "roles": set(document["roles"]),
            "categories": categories,
            "conditions": set(CONDITIONS),
            "cases": set(document["cases"]),
            "parties": set(document["parties"]),
            "permits": set(document["permits"]),
            "bases": {basis["id"] for basis in document["bases"]},
            "acts": set(document.get("acts", ())),
            "obligations": set(document.get("obligations", ())),
            "retention": set(document.get("retention", ())),
        }

    def wrong(self) -> Wrong:
        """Everything that is wrong: where, what, and how to mend it."""
        yield from self._days()
        yield from self._bases()
        yield from self._prohibitions()
        yield from self._flows()
        yield from self._gaps()
        yield from self._people()
        for code, period in self._document.get("retention", {}).items():
            yield from self._provision(f"/retention/{code}/provision", period["provision"])
            yield from self._each(f"/retention/{code}/but", period.get("but", ()), "categories")
        for index, entry in enumerate(self._document.get("without", ())):
            yield from self._provision(f"/without/{index}/provision", entry["provision"])

    def _each(self, pointer: str, names: Iterable[str], kind: str) -> Wrong:
        for index, name in enumerate(names):
            yield from self._one(f"{pointer}/{index}", name, kind)

    def _one(self, pointer: str, name: str, kind: str) -> Wrong:
        if name not in self._known[kind]:
            near = difflib.get_close_matches(name, self._known[kind], 1)
            yield pointer, f"there is no {name!r} among the {kind}", f"did you mean {near[0]!r}?" if near else ""

    def _provision(self, pointer: str, text: str) -> Wrong:
        yield from self._one(pointer, Provision.parse(text).act, "acts")

    def _source(self, pointer: str, source: Mapping[str, Any]) -> Wrong:
        yield from self._provision(f"{pointer}/provision", source["provision"])
        for index, also in enumerate(source.get("also", ())):
            yield from self._provision(f"{pointer}/also/{index}", also)

    def _days(self) -> Wrong:
        document = self._document
        for code, permit in document["permits"].items():
            yield from _dates(f"/permits/{code}/in_force", permit.get("in_force", {}))
        for kind in ("bases", "prohibitions", "gaps"):
            for index, dated in enumerate(document.get(kind, ())):
                yield from _dates(f"/{kind}/{index}/in_force", dated.get("in_force", {}))

    def _bases(self) -> Wrong:
        provider, requester = SIDES[self._form]
        seen: set[str] = set()
        paths = 0
        for index, basis in enumerate(self._document["bases"]):
            at = f"/bases/{index}"
            paths += len(basis[provider]) * len(basis[requester]) * len(basis["purposes"])
            if paths > _MOST_PATHS:
                yield at, "the bases speak of more roles and purposes than a rulebook can", "name fewer together"
                return
            if basis["id"] in seen:
                yield f"{at}/id", f"two bases have the id {basis['id']!r}", "give each basis an id of its own"
            seen.add(basis["id"])
            yield from self._each(f"{at}/purposes", basis["purposes"], "purposes")
            yield from self._each(f"{at}/{provider}", basis[provider], "roles")
            yield from self._each(f"{at}/{requester}", basis[requester], "roles")
            yield from self._each(f"{at}/categories", basis["categories"], "categories")
            yield from self._each(f"{at}/conditions", basis.get("conditions", ()), "conditions")
            persons = f"{at}/subjects/permit" if self._form == 1 else f"{at}/persons"
            yield from self._each(persons, persons_of(basis, self._form), "permits")
            if self._form > 1:
                yield from self._each(f"{at}/obligations", basis.get("obligations", ()), "obligations")
                yield from self._retention(at, basis)
            if "source" in basis:
                yield from self._source(f"{at}/source", basis["source"])
            for place, example in enumerate(basis["examples"]):
                yield from self._example(f"{at}/examples/{place}", example)

    def _retention(self, at: str, basis: Mapping[str, Any]) -> Wrong:
        """A basis that ends what it brings says when, and one that says when ends it."""
        named, retained = basis.get("retention"), self._document.get("obligations", {}).get(RETAIN, {})
        if named is not None:
            yield from self._one(f"{at}/retention", named, "retention")
        ends = RETAIN in basis.get("obligations", ())
        if ends and named is None and "years" not in retained:
            yield f"{at}/obligations", "nothing says for how long it is kept", "name one of `retention` in the basis"
        if named is not None and not ends:
            yield f"{at}/retention", "the basis has no obligation to end it", f"add {RETAIN} to its obligations"

    def _example(self, at: str, example: Mapping[str, Any]) -> Wrong:
        provider, requester = EXAMPLE_SIDES[self._form]
        yield from self._one(f"{at}/case", example["case"], "cases")
        yield from self._one(f"{at}/{requester}", example[requester], "parties")
        if provider in example:
            yield from self._one(f"{at}/{provider}", example[provider], "parties")
        if "purpose" in example:
            yield from self._one(f"{at}/purpose", example["purpose"], "purposes")
        yield from self._each(f"{at}/permitted", example.get("permitted", ()), "categories")
        yield from self._each(f"{at}/withheld", example.get("withheld", ()), "categories")

    def _prohibitions(self) -> Wrong:
        for index, prohibition in enumerate(self._document["prohibitions"]):
            at = f"/prohibitions/{index}"
            yield from self._each(f"{at}/categories", prohibition["categories"], "categories")
            yield from self._each(f"{at}/purposes", prohibition.get("purposes", ()), "purposes")
            yield from self._each(f"{at}/when", prohibition["when"], "conditions")
            yield from self._each(f"{at}/unless", prohibition.get("unless", ()), "conditions")
            yield from self._each(f"{at}/bases", prohibition.get("bases", ()), "bases")
            yield from self._each(f"{at}/obliges", prohibition.get("obliges", ()), "obligations")
            if "source" in prohibition:
                yield from self._source(f"{at}/source", prohibition["source"])

    def _flows(self) -> Wrong:
        for code, flow in self._document["flows"].items():
            for kind in ("deliveries", "asked"):
                for index, part in enumerate(flow.get(kind, ())):
                    at = f"/flows/{code}/{kind}/{index}"
                    yield from self._each(f"{at}/from", part["from"], "roles")
                    yield from self._each(f"{at}/to", part["to"], "roles")
                    yield from self._one(f"{at}/purpose", part["purpose"], "purposes")
                    yield from self._each(f"{at}/categories", part["categories"], "categories")

    def _gaps(self) -> Wrong:
        for index, gap in enumerate(self._document.get("gaps", ())):
            for name, kind in gap_selectors(self._form):
                yield from self._each(f"/gaps/{index}/{name}", gap.get(name, ()), kind)

    def _people(self) -> Wrong:
        for name, party in self._document["parties"].items():
            yield from self._one(f"/parties/{name}/role", party["role"], "roles")
        for name, case in self._document["cases"].items():
            at = f"/cases/{name}"
            if "permit_ground" in case["facts"]:
                yield from self._one(f"{at}/facts/permit_ground", case["facts"]["permit_ground"], "permits")
            for index, held in enumerate(case.get("consents", ())):
                yield from self._each(f"{at}/consents/{index}/purposes", held.get("purposes", ()), "purposes")
                yield from self._each(f"{at}/consents/{index}/categories", held.get("categories", ()), "categories")


def _dates(pointer: str, force: Mapping[str, Any]) -> Wrong:
    for name in ("from", "to"):
        try:
            day(force.get(name))
        except ValueError:
            yield f"{pointer}/{name}", f"{force[name]!r} is not a day of the calendar", "write YYYY-MM-DD"
            return
    if "from" in force and "to" in force and force["to"] < force["from"]:
        yield f"{pointer}/to", "it ends before it begins", "swap or mend the two days"
