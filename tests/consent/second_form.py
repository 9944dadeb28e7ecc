"""Small rulebooks of the second form, and the reference, for tests."""

from __future__ import annotations

import hashlib
from datetime import UTC, date, datetime, time
from functools import cache
from typing import Any

from consent.deciding.examples import decide_case
from consent.deciding.verdicts import Decision
from consent.rulebook import checked, reference_rulebook
from consent.rules.document import Document, read
from consent.rules.law import Act, Basis, Category, Mode, Permit, Prohibition, Rulebook, Source, Word
from consent.rules.provisions import Provision
from consent.rules.request import Party, Request, SubjectFacts, Way
from consent.rules.standing import StandingRequest
from consent.words.consents import ConsentRecord

WORDS = {"fi": "x", "sv": "x", "en": "x"}
AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
ACT = Act("1/2020", WORDS)
CENTRE, TOWN = Party("centre", "FI/GOV/1"), Party("town", "FI/MUN/1", frozenset({"285"}))
FACTS = SubjectFacts(permit_ground="asylum", permit_granted=True, age=30, municipality="285", safety_prohibition=False)


@cache
def document() -> Document:
    return read(reference_rulebook(), "reference")


@cache
def reference() -> Rulebook:
    return checked(document(), "sha-256:" + hashlib.sha256(reference_rulebook()).hexdigest(), "reference")


def source(section: str = "1", moment: int | None = 1) -> Source:
    return Source(Provision("1/2020", section, moment), ACT)


def basis(id_: str = "b", **fields: Any) -> Basis:
    given = {
        "title": WORDS,
        "reviewed": False,
        "starts": None,
        "ends": None,
        "purposes": frozenset({"p"}),
        "providers": frozenset({"centre"}),
        "requesters": frozenset({"town"}),
        "permits": frozenset(),
        "categories": frozenset({"health"}),
        "conditions": (),
        "word": Word.SHOWN,
        "emergency": False,
        "obligations": frozenset({"minimise"}),
        "source": source(),
        "mode": Mode.RIGHT_TO_GET,
        "gives": WORDS,
    }
    return Basis(id=id_, **{**given, **fields})


def prohibition(id_: str, bases: set[str], when: str, **fields: Any) -> Prohibition:
    given = {
        "title": WORDS,
        "starts": None,
        "ends": None,
        "purposes": frozenset(),
        "categories": frozenset({"health"}),
        "when": (when,),
        "unless": (),
        "source": source("9"),
    }
    return Prohibition(id=id_, bases=frozenset(bases), **{**given, **fields})


def book(*bases: Basis, prohibitions: tuple[Prohibition, ...] = ()) -> Rulebook:
    return Rulebook(
        name="small",
        version="1",
        status="draft",
        digest="sha-256:small",
        source="small",
        purposes={"p": WORDS},
        roles={"centre": WORDS, "town": WORDS},
        permits={code: Permit(code, WORDS, None, None) for code in ("asylum", "pending")},
        categories={
            "health": Category("health", WORDS, "special"),
            "contact": Category("contact", WORDS, "confidential", None, ("contact/address",)),
            "contact/address": Category("contact/address", WORDS, "confidential", "contact"),
        },
        flows={},
        bases=(),
        prohibitions=prohibitions,
        gaps=(),
        parties={},
        cases={},
        examples=(),
        form=2,
        acts={"1/2020": ACT},
    ).with_bases(bases)


def ask(**fields: Any) -> Request:
    given = {
        "provider": CENTRE,
        "requester": TOWN,
        "purpose": "p",
        "categories": frozenset({"health"}),
        "facts": FACTS,
    }
    return Request(**{**given, **fields})


def handover(*standing: StandingRequest, **fields: Any) -> Request:
    return ask(way=Way.HANDOVER, standing=standing, **fields)


def standing(**fields: Any) -> StandingRequest:
    given = {
        "id": "sr-1",
        "member": TOWN.member,
        "role": "town",
        "providers": frozenset({"centre"}),
        "provision": Provision("1/2020", "1", 1),
        "purpose": "p",
        "categories": frozenset({"health"}),
        "first": date(2025, 1, 1),
    }
    return StandingRequest(**{**given, **fields})


def word(kind: str, status: str = "active", **fields: Any) -> ConsentRecord:
    return ConsentRecord.from_dict(
        {
            "id": f"w-{kind}-{status}",
            "version": 1,
            "subject": "s",
            "recorded_by": "t",
            "recorded_at": AT.isoformat(),
            "given_by": {"kind": "self"},
            "status": status,
            "kind": kind,
            "purposes": ["p"],
            "recipients": ["town"],
            "categories": ["health"],
            **fields,
        }
    )


def decided(case: str, provider: str, requester: str, purpose: str, on: str = "2026-03-01", **how: Any) -> Decision:
    """Decide for one of the reference's persons; `way="handover"`, `asked=True`, `emergency=True`, `categories`."""
    rulebook = reference()
    how["way"] = Way(how.get("way", "query"))
    return decide_case(
        rulebook,
        rulebook.cases[case],
        provider=provider,
        requester=requester,
        purpose=purpose,
        on=date.fromisoformat(on),
        **how,
    )


def sections(decision: Decision, category: str) -> set[str]:
    """The provisions by which a category moves."""
    rulebook = reference()
    found = set()
    for permitted in decision.permitted:
        if rulebook.covers(frozenset({category}), permitted.category):
            carrying = rulebook.basis(permitted.basis)
            assert carrying is not None
            assert carrying.source is not None
            found.add(str(carrying.source.provision))
    return found


def why(decision: Decision, category: str) -> str | None:
    """The reason for which a category is withheld."""
    return next((held.code for held in decision.withheld if held.category == category), None)


def noon(day: str) -> datetime:
    return datetime.combine(date.fromisoformat(day), time(12), UTC)
