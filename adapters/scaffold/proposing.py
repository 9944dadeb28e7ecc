"""Write down, in the mapping language, what was recognised: a mapping that compiles and reads the sample.

Each place of the canonical record that a concept goes to stands here once, in the order in which a reader expects it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from importlib.resources import files

from adapters.scaffold.recognising import DATES, Recognised, Recognition, plain, takes
from adapters.scaffold.sniffing import Sample
from adapters.tables import folded, named
from schemas.codes import code_systems

_PLAIN = re.compile(r"[A-Za-zÅÄÖåäö_][A-Za-z0-9ÅÄÖåäö_/-]*\Z")
_RESERVED = frozenset({"yes", "no", "true", "false", "on", "off", "null", "y", "n"})

#: How a concept's value is taken, unless its values ask for a table.
_TRANSFORMS: Mapping[str, str] = {
    "identity-code": "hetu",
    "given-names": "words",
    "birth-date": "fi-date",
    "phone": "phone",
    "email": "email",
    "postal-code": "postal-code",
    "interpreter": "yes-no",
    "citizenship": "country",
    "permit-date": "fi-date",
    "move-date": "fi-date",
    "independent-move": "yes-no",
    "safety-prohibition": "yes-no",
    "family-size": "number",
    "unaccompanied": "yes-no",
    "vulnerable": "yes-no",
    "income": "number",
}
#: The tables' names in the mapping, by concept.
_TABLES: Mapping[str, str] = {
    "gender": "gender",
    "language": "language",
    "citizenship": "country",
    "permit-ground": "permit",
    "municipality": "municipality",
    "safety-recipient": "recipient",
    "housing": "housing",
    "schooling": "schooling",
    "vulnerability-ground": "ground",
    "service-needs": "need",
    "urgency": "urgency",
}


#: Concepts whose values stand in the schema itself, and in no code system.
_ALLOWED = frozenset({"gender", "urgency", "housing", "schooling"})


def transform_for(concept: str, kind: str) -> str:
    """How a concept's value is taken while its values are not looked at."""
    if concept in _TRANSFORMS:
        return _TRANSFORMS[concept]
    if concept not in _TABLES:
        return ""
    return f"table {_TABLES[concept]}" if concept in _ALLOWED else f"code {kind}"


def mapping_of(name: str, sample: Sample, found: Recognition) -> str:
    """The text of the mapping file."""
    if sample.source["format"] == "hl7":
        return messages_mapping(name, sample)
    return _Proposal(name, sample, found).text()


def messages_mapping(name: str, sample: Sample) -> str:
    """The mapping of messages: what the standard fixes of a person, with what is the system's own left to fill in."""
    text = (files("adapters.scaffold") / "hl7.yaml").read_text(encoding="utf-8")
    kinds = _flow(list(sample.source["messages"]))
    return text.replace("NAME", name).replace("[MESSAGES]", kinds)


class _Proposal:
    def __init__(self, name: str, sample: Sample, found: Recognition) -> None:
        self._name = name
        self._sample = sample
        self._found = found
        self._by = {column.concept.name: column for column in found.recognised}

    def text(self) -> str:
        source = {**self._sample.source, "key": self._found.key}
        lines = [
            f"mapping: {self._name}",
            "version: 1",
            *(f"# {line}" for line in self._sample.evidence),
            f"source: {_flow(source)}",
        ]
        ignored = [column.column.name for column in self._found.recognised if column.concept.kind == "bookkeeping"]
        if ignored:
            lines.append(f"ignored: {_flow(ignored)}")
        unknown_facts = [fact for fact in ("safety-prohibition", "birth-date") if fact not in self._by]
        if unknown_facts:
            # Whoever knows the source says so, never this tool: a prohibition may stand in a column that it overlooks.
            lines.append(
                f"# No column was recognised for {', '.join(unknown_facts)}. Map it; only if the source cannot"
            )
            lines.append(f"# know it, say so, and who else knows it must be asked: cannot-say: {_flow(unknown_facts)}")
        lines += [*self._tables(), "", "resources:", "  Patient:", *self._patient()]
        for kind, items in (("RelatedPerson", self._related()), ("Observation", self._observations())):
            if items:
                lines += [f"  {kind}:", *(f"    - {item}" for item in items)]
        lines += self._needs()
        unknown = [column for column in self._found.recognised if column.unknown]
        if self._found.left or unknown:
            lines += [
                "",
                "# Left for you. Each is reported in the findings until it is mapped above or listed as ignored.",
            ]
            lines += [f"#   {item.column.name}: {item.reason}" for item in self._found.left]
            lines += [f"#   {column.column.name}: {column.unknown} values are in no table yet" for column in unknown]
        return "\n".join(lines) + "\n"

    def _tables(self) -> list[str]:
        lines = []
        for concept, table in _TABLES.items():
            one = self._by.get(concept)
            if one is not None and one.table and not self._plain_code(one):
                known = named(one.concept.kind) if one.concept.kind in code_systems() else {}
                # What the sample does not hold, the next file may: the list itself knows all its names.
                begins = f"extends: {one.concept.kind}, " if known else ""
                lines.append(f"  {table}: " + "{" + begins + _pairs(one.table).removeprefix("{"))
        return ["", "tables:", *lines] if lines else []

    def _plain_code(self, one: Recognised) -> bool:
        """Whether the values are the codes themselves, so that no table of the mapping's own is needed."""
        if one.unknown or one.concept.kind not in code_systems() or one.concept.name in _ALLOWED:
            return False
        known = named(one.concept.kind)
        return all(known.get(folded(value)) == code for value, code in one.table.items())

    def _from(self, concept: str, transform: str = "", *, required: bool = False) -> str | None:
        one = self._by.get(concept)
        if one is None:
            return None
        chosen = transform or self._transform(one)
        parts = [f"from: {_word(one.column.name)}"]
        if chosen:
            parts.append(f"as: {chosen}")
        if required and one.column.filled == self._sample.records:
            parts.append("required: true")
        return "{" + ", ".join(parts) + "}"

    def _transform(self, one: Recognised) -> str:
        table = _TABLES.get(one.concept.name)
        if (kind := one.concept.kind) in ("date", "birth"):
            return max(DATES, key=lambda name: sum(takes(name, value, kind) for value in one.column.held))
        if table is None:
            named = _TRANSFORMS.get(one.concept.name, "")
            is_english = named == "yes-no" and any(value.strip().upper() == "N" for value in one.column.held)
            return "y-n" if is_english else named
        if self._plain_code(one):
            return f"code {one.concept.kind}"
        return f"table {table}" if one.concept.name in _ALLOWED else f"code {table}"

    def _granted(self) -> str:
        permit = self._by.get("permit-ground")
        return "granted permit-ground" if permit is None or self._plain_code(permit) else "granted permit"

    def _patient(self) -> list[str]:
        lines: list[str] = []
        identifiers = [
            _line('"urn:oid:1.2.246.21"', self._from("identity-code")),
            _line("migri-customer", self._from("customer-number", required=True)),
            _line("local", self._from("local-key", required=True)),
        ]
        _block(lines, "identifier", identifiers)
        name = _inline(self._name_parts())
        if name:
            lines.append(f"    name: [{name}]")
        _put(lines, "gender", self._from("gender"))
        _put(lines, "birthDate", self._from("birth-date"))
        telecom = [
            f"{{system: {system}, value: {value}}}"
            for system in ("phone", "email")
            if (value := self._from(system)) is not None
        ]
        if telecom:
            lines += ["    telecom:", *(f"      - {entry}" for entry in telecom)]
        street = self._from("street")
        address = _inline(
            {
                "line": f"[{street}]" if street else None,
                "postalCode": self._from("postal-code"),
                "city": self._from("city"),
            }
        )
        if address:
            lines.append(f"    address: [{address}]")
        language = self._from("language")
        if language:
            lines.append(f"    communication: [{{language: {language}, preferred: true}}]")
        _block(lines, "extension", self._extensions())
        return lines

    def _name_parts(self) -> dict[str, str | None]:
        """A name from its columns, or from the one that holds all of it."""
        given, whole = self._by.get("given-names"), self._by.get("full-name")
        if given is not None or whole is None or "family-name" in self._by:
            # What is a list already has no words to part.
            is_list = given is not None and given.column.listed
            listed = f"[{{each: {{split: {_word(given.column.name)}}}, from: .}}]" if is_list and given else None
            return {"family": self._from("family-name"), "given": listed or self._from("given-names")}
        held = whole.column.held
        halves = [("family-before-comma", "given-after-comma")]
        if not plain(whole.column.name).startswith(("suku", "efter", "family", "last")):
            halves.append(("family-at-end", "given-before-family"))
        for family, rest in halves:
            if sum(takes(family, value) for value in held) >= 0.8 * len(held):
                return {"family": self._from("full-name", family), "given": self._from("full-name", rest)}
        return {}

    def _extensions(self) -> list[str | None]:
        citizenship = self._from("citizenship")
        permit = _inline(
            {
                "ground": self._from("permit-ground"),
                "granted": self._from("permit-ground", self._granted()),
                "decided": self._from("permit-date"),
            }
        )
        move = _inline(
            {
                "municipality": self._from("municipality"),
                "date": self._from("move-date"),
                "independent": self._from("independent-move"),
            }
        )
        safety = _inline(
            {"active": self._from("safety-prohibition"), "named-recipient": self._from("safety-recipient")}
        )
        vulnerable = _inline({"fact": self._from("vulnerable"), "ground": self._from("vulnerability-ground")})
        family = _inline({"size": self._from("family-size"), "child-age": self._each("child-ages", "number")})
        unaccompanied = _inline({"unaccompanied": self._from("unaccompanied")})
        return [
            _line("patient-interpreterRequired", self._from("interpreter")),
            _line("patient-citizenship", f"{{code: {citizenship}}}" if citizenship else None),
            _line("residence-permit", permit),
            _line("move", move),
            _line("safety-prohibition", safety),
            _line("vulnerability", vulnerable),
            _line("family", family),
            _line("guardianship", unaccompanied),
        ]

    def _related(self) -> list[str]:
        return [
            f"{{relationship: [{role}], name: [{{family: {name}}}]}}"
            for role in ("representative", "guardian")
            if (name := self._from(role)) is not None
        ]

    def _observations(self) -> list[str]:
        found = []
        for concept, code in (("housing", "housing-situation"), ("schooling", "schooling")):
            value = self._from(concept)
            if value:
                coding = f'{{system: "urn:yhdyspinta:codes:{code}", code: {value}}}'
                found.append(f"{{code: {code}, valueCodeableConcept: {{coding: [{coding}]}}}}")
        for concept, member in (
            ("occupation", "valueString"),
            ("income", "valueInteger"),
            ("child-protection", "valueString"),
            ("health", "valueString"),
        ):
            value = self._from(concept)
            if value:
                found.append(f"{{code: {concept}, {member}: {value}}}")
        return found

    def _each(self, concept: str, transform: str) -> str | None:
        one = self._by.get(concept)
        if one is None:
            return None
        by = f", by: {json.dumps(one.separator)}" if one.separator else ""
        return f"{{each: {{split: {_word(one.column.name)}{by}}}, from: ., as: {transform}}}"

    def _needs(self) -> list[str]:
        one = self._by.get("service-needs")
        if one is None:
            return []
        by = f", by: {json.dumps(one.separator)}" if one.separator else ""
        listed, _, member = one.column.name.partition("[]/")
        urgent = self._by.get("urgency")
        parent, slash, name = one.column.name.rpartition("/")
        if not member and slash and one.column.listed and urgent and urgent.column.name.startswith(f"{parent}/"):
            # The urgency is that of the need beside it: both are members of one of the elements that repeat.
            transform = self._transform(urgent)
            return [
                "  ServiceRequest:",
                f"    each: {{of: {_word(parent)}}}",
                f"    code: {{from: {_word(f'./{name}')}, as: {self._transform(one)}}}",
                f"    priority: {{from: {_word('./' + urgent.column.name[len(parent) + 1 :])}, as: {transform}}}",
            ]
        each = f"{{of: {_word(listed)}}}" if member else f"{{split: {_word(listed)}{by}}}"
        lines = [
            "  ServiceRequest:",
            f"    each: {each}",
            f"    code: {{from: {_word(f'./{member}') if member else '.'}, as: {self._transform(one)}}}",
        ]
        urgency = self._from("urgency")
        return [*lines, f"    priority: {urgency}"] if urgency else lines


def _line(name: str, value: str | None) -> str | None:
    return f"{name}: {value}" if value else None


def _put(lines: list[str], name: str, value: str | None) -> None:
    if value:
        lines.append(f"    {name}: {value}")


def _block(lines: list[str], name: str, inner: list[str | None]) -> None:
    held = [member for member in inner if member]
    if held:
        lines += [f"    {name}:", *(f"      {item}" for item in held)]


def _inline(members: Mapping[str, str | None]) -> str | None:
    held = [f"{name}: {value}" for name, value in members.items() if value]
    return "{" + ", ".join(held) + "}" if held else None


def _pairs(table: Mapping[str, str | bool]) -> str:
    return "{" + ", ".join(f"{_word(value)}: {_flow(code)}" for value, code in table.items()) + "}"


def _flow(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_word(str(name))}: {_flow(member)}" for name, member in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_flow(member) for member in value) + "]"
    return _word(str(value))


def _word(text: str) -> str:
    """A YAML word: bare where nothing in it could be read as anything else."""
    if _PLAIN.match(text) and text.lower() not in _RESERVED:
        return text
    return json.dumps(text, ensure_ascii=False)
