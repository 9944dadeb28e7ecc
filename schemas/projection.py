"""Minimise a record: keep what is permitted, drop everything else, and list what was dropped.

What is kept is built anew from the compiled schema; a member that the schema does not know is never copied, so
nothing can travel in a narrative, an unknown extension or a contained resource. A resource of which only the form
remains is dropped, and so is each reference to it. Pure.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from schemas.catalogue import ResourceSchema, catalogue
from schemas.categories import CATEGORIES, PARTS, STRUCTURE, permits
from schemas.codes import code_system
from schemas.shape import OWN, Shape

#: The category of what the schema does not know. Nothing permits it.
UNKNOWN = "unknown"

_GONE: Any = object()
_NOTHING: tuple[Any, bool] = (_GONE, False)

#: A place in a record: the place above it and the step from there. It is written out only for what is dropped.
_Place = tuple[Any, str | int] | None


@dataclass(frozen=True, slots=True)
class Withheld:
    """Something that was dropped: where it stood (JSON Pointer) and its category. Never its value."""

    pointer: str
    category: str


@dataclass(frozen=True, slots=True)
class Projection:
    """A minimised record, and the categories and parts that it still holds."""

    bundle: dict[str, Any]
    kept: frozenset[str]
    _dropped: tuple[tuple[_Place, str], ...] = field(repr=False)

    @property
    def withheld(self) -> tuple[Withheld, ...]:
        """What was dropped; the places are written out when somebody asks."""
        return tuple(Withheld(_pointer(place), category) for place, category in self._dropped)


@dataclass(slots=True)
class _Walk:
    allowed: frozenset[str]
    own: str = UNKNOWN
    dropped: list[tuple[_Place, str]] = field(default_factory=list)
    kept: set[str] = field(default_factory=set)
    references: list[Any] = field(default_factory=list)

    def drop(self, place: _Place, category: str) -> tuple[Any, bool]:
        self.dropped.append((place, category))
        return _NOTHING

    def refuse(self, place: _Place, value: Mapping[str, Any], known: Collection[str]) -> None:
        """List the members that the frame of a record does not have."""
        for name in value:
            if name not in known:
                self.drop((place, name), UNKNOWN)


_EVERY = CATEGORIES | PARTS.keys()
_FRAME = frozenset({"resourceType", "type", "entry"})
_ENTRY = frozenset({"resource"})


def project(bundle: Mapping[str, Any], permitted: Collection[str]) -> Projection:
    """The part of a record that these categories let through; the person's resource stays, if only as a form."""
    walk = _Walk(frozenset(category for category in _EVERY if permits(permitted, category)))
    walk.refuse(None, bundle, _FRAME)
    resources: list[dict[str, Any]] = []
    for index, entry in enumerate(bundle.get("entry", ())):
        at: _Place = ((None, "entry"), index)
        walk.refuse(at, entry, _ENTRY)
        resource = entry.get("resource")
        kind = resource.get("resourceType") if isinstance(resource, dict) else None
        schema = catalogue().resources.get(kind) if isinstance(kind, str) else None
        if schema is None or not isinstance(resource, dict):
            walk.drop((at, "resource"), UNKNOWN)
            continue
        walk.own = own_category(schema, resource)
        value, content = _keep(resource, schema.shape, walk, at, "resource")
        if value is not _GONE and (content or (index == 0 and kind == "Patient")):
            resources.append(value)
    result = {
        "resourceType": "Bundle",
        "type": "collection",
        "entry": [{"resource": resource} for resource in _standing(resources, walk.references)],
    }
    return Projection(result, frozenset(walk.kept), tuple(walk.dropped))


def _standing(resources: list[dict[str, Any]], references: list[Any]) -> list[dict[str, Any]]:
    """The resources whose references all lead somewhere; one that lost what its schema requires goes with it."""
    while True:
        names = {f"{resource['resourceType']}/{resource.get('id')}" for resource in resources}
        if all(isinstance(reference, str) and reference in names for reference in references):
            return resources
        sound = [_without_dangling(resource, names) for resource in resources]
        required = [catalogue().resources[resource["resourceType"]].shape.required for resource in resources]
        whole = [
            after
            for before, after, must in zip(resources, sound, required, strict=True)
            if not any(name in before and name not in after for name in must)
        ]
        if len(whole) == len(resources):
            return whole
        resources = whole


def categories_in(bundle: Mapping[str, Any]) -> frozenset[str]:
    """The categories and parts that a record holds; `unknown` if it holds something that the schema does not know."""
    found: set[str] = set()
    for entry in bundle.get("entry", ()):
        resource = entry.get("resource")
        kind = resource.get("resourceType") if isinstance(resource, dict) else None
        schema = catalogue().resources.get(kind) if isinstance(kind, str) else None
        if schema is None:
            found.add(UNKNOWN)
        else:
            _hold(resource, schema.shape, own_category(schema, resource), found)
    return frozenset(found)


def own_category(schema: ResourceSchema, resource: Mapping[str, Any]) -> str:
    """The category of a resource whose code decides it; `unknown` if the code is not one of its system."""
    if schema.by_code is None:
        return UNKNOWN
    value: Any = resource
    for step in schema.by_code.steps:
        try:
            value = value[step]
        except (KeyError, IndexError, TypeError):
            return UNKNOWN
    coding = code_system(schema.by_code.codes).lookup(value) if isinstance(value, str) else None
    return coding.category if coding is not None and coding.category is not None else UNKNOWN


def _keep(value: Any, shape: Shape, walk: _Walk, above: _Place, step: str | int) -> tuple[Any, bool]:
    """What is kept of the value at a place, and whether it is more than form."""
    kind = shape.kind
    if kind == "value":
        if isinstance(value, dict | list):
            return walk.drop((above, step), UNKNOWN)
        category = shape.category
        if category == STRUCTURE:
            # Where only form may stand, anything else is content in disguise.
            return (value, False) if shape.is_form(value) else walk.drop((above, step), UNKNOWN)
        if category == OWN:
            category = walk.own
            if category == STRUCTURE:
                return walk.drop((above, step), UNKNOWN)
        if category in walk.allowed:
            walk.kept.add(category)
            return value, True
        return walk.drop((above, step), category)
    if kind == "choice":
        option = _option(value, shape)
        if option is None:
            return walk.drop((above, step), UNKNOWN)
        shape, kind = option, option.kind
    if kind == "object" and isinstance(value, dict):
        return _keep_object(value, shape, walk, (above, step))
    if kind == "array" and isinstance(value, list):
        return _keep_array(value, shape.item, walk, (above, step))
    return walk.drop((above, step), UNKNOWN)


def _keep_array(value: list[Any], shape: Shape | None, walk: _Walk, at: _Place) -> tuple[Any, bool]:
    assert shape is not None
    kept, content = [], False
    for index, item in enumerate(value):
        result, full = _keep(item, shape, walk, at, index)
        if result is not _GONE and (full or shape.carries_nothing):
            kept.append(result)
            content = content or full
    return (kept, content) if kept else _NOTHING


def _keep_object(value: dict[str, Any], shape: Shape, walk: _Walk, at: _Place) -> tuple[Any, bool]:
    kept: dict[str, Any] = {}
    content = False
    members = shape.members
    for name, member in value.items():
        inner = members.get(name)
        if inner is None:
            walk.drop((at, name), UNKNOWN)
            continue
        if inner.kind == "value" and type(member) is str:
            # Nearly all that is kept is such a text: asking each would cost a call.
            category = walk.own if inner.category == OWN else inner.category
            if category in walk.allowed:
                walk.kept.add(category)
                kept[name], content = member, True
                continue
            if inner.category == STRUCTURE and inner.is_form(member):
                kept[name] = member
                continue
        result, full = _keep(member, inner, walk, at, name)
        if result is not _GONE:
            kept[name] = result
            content = content or full
    if not content and "resourceType" not in members and not (kept and shape.carries_nothing):
        return _NOTHING
    if "reference" in kept:
        walk.references.append(kept["reference"])
    return kept, content


def _pointer(place: _Place) -> str:
    steps: list[str] = []
    while place is not None:
        place, step = place
        steps.append(str(step).replace("~", "~0").replace("/", "~1"))
    return "/" + "/".join(reversed(steps))


def _option(value: Any, shape: Shape) -> Shape | None:
    told = value.get(shape.key) if isinstance(value, dict) else None
    return shape.options.get(told) if isinstance(told, str) else None


def _hold(value: Any, shape: Shape, own: str, found: set[str]) -> None:
    """Add the categories that the value at a place holds."""
    kind = shape.kind
    if kind == "choice":
        option = _option(value, shape)
        if option is None:
            found.add(UNKNOWN)
            return
        shape, kind = option, option.kind
    if kind == "object" and isinstance(value, dict):
        _hold_members(value, shape, own, found)
    elif kind == "array" and isinstance(value, list):
        assert shape.item is not None
        for item in value:
            _hold(item, shape.item, own, found)
    elif kind != "value" or isinstance(value, dict | list):
        found.add(UNKNOWN)
    elif shape.category != STRUCTURE:
        found.add(own if shape.category == OWN else shape.category)
    elif not shape.is_form(value):
        found.add(UNKNOWN)


def _hold_members(value: dict[str, Any], shape: Shape, own: str, found: set[str]) -> None:
    members = shape.members
    for name, member in value.items():
        inner = members.get(name)
        if inner is None:
            found.add(UNKNOWN)
        elif inner.kind != "value" or type(member) is not str:
            _hold(member, inner, own, found)
        # Nearly all are such texts: asking each as above would cost a call.
        elif inner.category != STRUCTURE:
            found.add(own if inner.category == OWN else inner.category)
        elif not inner.is_form(member):
            found.add(UNKNOWN)


def _without_dangling(value: Any, names: Collection[str]) -> Any:
    """The value without references to what is not there, and without what is empty for it; _GONE if nothing is left."""
    if isinstance(value, dict):
        if isinstance(value.get("reference"), str):
            return value if value["reference"] in names else _GONE
        members = {name: _without_dangling(member, names) for name, member in value.items()}
        left = {name: member for name, member in members.items() if member is not _GONE}
        return left if left or not value else _GONE
    if isinstance(value, list):
        items = [kept for kept in (_without_dangling(item, names) for item in value) if kept is not _GONE]
        return items if items or not value else _GONE
    return value
