"""Make a Rulebook of a document whose form and names have been checked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from typing import Any

from consent.rules.law import (
    Act,
    Basis,
    Bearer,
    Case,
    Category,
    Example,
    Flow,
    FlowDelivery,
    Gap,
    Mode,
    Obligation,
    Period,
    Permit,
    Prohibition,
    Rulebook,
    Source,
    Statute,
    Without,
    Word,
    Words,
)
from consent.rules.naming import EXAMPLE_SIDES, SIDES, day, gap_selectors, persons_of
from consent.rules.provisions import Provision
from consent.rules.request import SubjectFacts

#: What the first form called a word: whether a consent was needed.
_WORDS_OF_FORM_1 = {"not-needed": Word.SHOWN, "refusable": Word.REFUSABLE, "required": Word.CONSENT}


def build(document: Mapping[str, Any], digest: str, source: str) -> Rulebook:
    form = int(document.get("form", 1))
    acts = {number: _act(number, act) for number, act in document.get("acts", {}).items()}
    rulebook = Rulebook(
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
        bases=(),
        prohibitions=tuple(_prohibition(prohibition, acts) for prohibition in document["prohibitions"]),
        gaps=tuple(_gap(gap, form) for gap in document.get("gaps", ())),
        parties=document["parties"],
        cases={
            name: Case(name, case["title"], SubjectFacts(**case["facts"]), tuple(case.get("consents", ())))
            for name, case in document["cases"].items()
        },
        examples=tuple(_examples(document, form)),
        form=form,
        acts=acts,
        without=tuple(
            Without(Provision.parse(entry["provision"]), entry["reason"]) for entry in document.get("without", ())
        ),
        obligations={code: _obligation(code, entry) for code, entry in document.get("obligations", {}).items()},
        retention={code: _period(code, entry) for code, entry in document.get("retention", {}).items()},
    )
    return rulebook.with_bases(_basis(basis, form, acts) for basis in document["bases"])


def _act(number: str, document: Mapping[str, Any]) -> Act:
    return Act(number, document["name"], document.get("eli"), document.get("moments", {}))


def _source(document: Mapping[str, Any] | None, acts: Mapping[str, Act]) -> Source | None:
    if document is None:
        return None
    provision = Provision.parse(document["provision"])
    return Source(
        provision=provision,
        act=acts[provision.act],
        also=tuple(map(Provision.parse, document.get("also", ()))),
        amended_by=tuple(document.get("amended_by", ())),
        amended_unread=tuple(document.get("amended_unread", ())),
        read_on=day(document.get("read_on")),
        gdpr=tuple(document["gdpr"]),
    )


def _obligation(code: str, document: Mapping[str, Any]) -> Obligation:
    provision = document.get("provision")
    by_word = document.get("by_word", {})
    return Obligation(
        code,
        document["says"],
        Bearer(document["falls_on"]),
        Provision.parse(provision) if provision is not None else None,
        document.get("years"),
        Bearer(by_word["falls_on"]) if by_word else None,
        by_word.get("says"),
    )


def _period(code: str, document: Mapping[str, Any]) -> Period:
    provision = Provision.parse(document["provision"])
    return Period(code, document["says"], provision, document["years"], frozenset(document.get("but", ())))


def _gap(document: Mapping[str, Any], form: int) -> Gap:
    selected = [frozenset(document.get(name, ())) for name, _ in gap_selectors(form)]
    return Gap(document["id"], document["reason"], *_force(document.get("in_force", {})), *selected)


def _parts(document: Iterable[Mapping[str, Any]]) -> Iterator[FlowDelivery]:
    for part in document:
        for to in part["to"]:
            yield FlowDelivery(to, part["purpose"], frozenset(part["categories"]), frozenset(part["from"]))


def _force(document: Mapping[str, Any]) -> tuple[date | None, date | None]:
    return day(document.get("from")), day(document.get("to"))


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


def _basis(document: Mapping[str, Any], form: int, acts: Mapping[str, Act]) -> Basis:
    starts, ends = _force(document.get("in_force", {}))
    provider, requester = SIDES[form]
    statute = document.get("statute")
    return Basis(
        id=document["id"],
        title=document["title"],
        reviewed=document["reviewed"],
        starts=starts,
        ends=ends,
        purposes=frozenset(document["purposes"]),
        providers=frozenset(document[provider]),
        requesters=frozenset(document[requester]),
        permits=frozenset(persons_of(document, form)),
        categories=frozenset(document["categories"]),
        conditions=tuple(document.get("conditions", ())),
        word=_WORDS_OF_FORM_1[document["consent"]] if form == 1 else Word(document["word"]),
        emergency=document.get("emergency", False),
        obligations=frozenset(document.get("obligations", ())),
        statute=Statute(statute["name"], statute["number"], statute.get("section")) if statute is not None else None,
        source=_source(document.get("source"), acts),
        mode=Mode(document["mode"]) if "mode" in document else None,
        gives=document.get("gives"),
        doubt=document.get("doubt"),
        retention=document.get("retention"),
    )


def _prohibition(document: Mapping[str, Any], acts: Mapping[str, Act]) -> Prohibition:
    starts, ends = _force(document.get("in_force", {}))
    bases = document.get("bases")
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
        source=_source(document.get("source"), acts),
        bases=frozenset(bases) if bases is not None else None,
        obliges=frozenset(document.get("obliges", ())),
        code=document.get("code", "prohibited"),
    )


def _examples(document: Mapping[str, Any], form: int) -> Iterator[Example]:
    provider, requester = EXAMPLE_SIDES[form]
    for basis in document["bases"]:
        for example in basis["examples"]:
            yield Example(
                basis=basis["id"],
                case=example["case"],
                provider=example.get(provider, "centre"),
                requester=example[requester],
                purpose=example.get("purpose", basis["purposes"][0]),
                on=day(example["on"]) or date.min,
                permitted=frozenset(example.get("permitted", ())),
                withheld=frozenset(example.get("withheld", ())),
                emergency=bool(example.get("emergency", False)),
                mode=example.get("way", "query"),
                asked=bool(example.get("asked", False)),
            )
