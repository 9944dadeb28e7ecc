"""Decide for a case that is only put to us: a person of the imagination, or a real one whose facts the caller states.

Nobody is asked and nothing moves. What is decided is not stored; only that the consents of a real person were looked at
is on record, as every reading of them is.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Any, get_args, get_type_hints

from consent.checking.explaining import explain
from consent.deciding.decision import decide
from consent.deciding.examples import standing_requests
from consent.deciding.verdicts import Decision, legal_day
from consent.rules.law import FlowDelivery, Rulebook
from consent.rules.request import Emergency, Party, Request, SubjectFacts, Way
from consent.rules.standing import StandingRequest
from consent.words.consents import ConsentRecord, newest
from consent.words.reading import ConsentError
from gateway.exchange.deciding import party
from gateway.registry.read.standing import Standing
from gateway.wire.identifiers import IdentifierError, MemberId, SubsystemId
from gateway.wire.problems import ProblemError
from schemas.codes import code_system
from texts import LANGUAGES

_KINDS = {name: tuple(get_args(kind)) for name, kind in get_type_hints(SubjectFacts).items()}
MOST_CONSENTS = 100
#: Roles whose territory is counted in municipalities.
_OF_MUNICIPALITIES = frozenset({"municipality", "employment-authority"})


@dataclass(frozen=True, slots=True)
class Advice:
    """What would be decided for one provider, requester and purpose, with the paragraph in each language."""

    decision: Decision
    explanation: dict[str, str]


@dataclass(frozen=True, slots=True)
class Case:
    """A case as it was put: the document, at a moment, with the consents that stand if it is about a real person."""

    document: dict[str, Any]
    at: datetime
    standing: tuple[ConsentRecord, ...] = ()


def advise(standing: Standing, case: Case) -> list[Advice]:
    """Decide a case: for each recipient of its flow, or for its one purpose. Raises ProblemError `invalid-request`."""
    document, rulebook = case.document, standing.rulebook
    facts = _settled(_facts(document.get("facts"), rulebook), standing, case.at)
    consents = newest([*case.standing, *_consents(document.get("consents"), case.at)])
    stated = document.get("emergency")
    emergency = None if stated is None else Emergency(stated["justification"])
    found = []
    for part in _parts(rulebook, document):
        providers = _parties(standing, case, "provider", part.from_roles, facts)
        requesters = _parties(standing, case, "requester", {part.to_role}, facts)
        categories = _categories(rulebook, document.get("categories")) or part.categories
        best: Decision | None = None
        for provider in providers:
            for requester in requesters:
                request = Request(provider, requester, part.purpose, categories, facts, facts is not None, emergency)
                decision = decide(_sent(standing, request, case), rulebook, consents, case.at)
                if best is None or len(decision.permitted) > len(best.permitted):
                    best = decision
        if best is not None:
            found.append(Advice(best, {language: explain(best, rulebook, language) for language in LANGUAGES}))
    if not found:
        raise _wrong("/requester", "the flow has no such recipient", "leave the requester out, or name another role")
    return found


def _sent(standing: Standing, request: Request, case: Case) -> Request:
    """The request by the way that the case says; a handover under the recipient's standing requests, or, as `asked`
    supposes, under all that it could make.
    """
    if case.document.get("way") != Way.HANDOVER:
        return request
    provider, requester, purpose = request.provider, request.requester, request.purpose
    asked: Iterable[StandingRequest] = ()
    if case.document.get("asked"):
        asked = standing_requests(standing.rulebook, provider, requester, purpose, legal_day(case.at))
    elif requester.member:
        with contextlib.suppress(IdentifierError):
            asked = standing.registry.standing_requests(MemberId.parse(requester.member), case.at)
    return replace(request, way=Way.HANDOVER, standing=tuple(asked))


def _parts(rulebook: Rulebook, document: dict[str, Any]) -> Sequence[FlowDelivery]:
    code, purpose = document.get("flow"), document.get("purpose")
    if (code is None) == (purpose is None):
        raise _wrong("/flow", "say either the flow or the purpose", 'send {"flow": "F1"} or {"purpose": "…"}')
    if code is not None:
        flow = rulebook.flows.get(code) if isinstance(code, str) else None
        if flow is None:
            raise _wrong("/flow", "the rulebook has no such flow", "use one of: " + ", ".join(rulebook.flows))
        wanted, giving = _role(document.get("requester")), _role(document.get("provider"))
        return [
            part
            for part in (*flow.deliveries, *flow.asked)
            if (wanted is None or part.to_role == wanted) and (giving is None or giving in part.from_roles)
        ]
    if not isinstance(purpose, str) or purpose not in rulebook.purposes:
        raise _wrong("/purpose", "the rulebook has no such purpose", "use one of: " + ", ".join(rulebook.purposes))
    for name in ("provider", "requester"):
        if not isinstance(document.get(name), dict):
            raise _wrong(f"/{name}", "say who it is", '{"role": "municipality"} or {"subsystem": "…"}')
    every = frozenset(code for code, category in rulebook.categories.items() if category.parent is None)
    return [FlowDelivery(_role(document.get("requester")) or "", purpose, every, frozenset())]


def _role(stated: object) -> str | None:
    role = stated.get("role") if isinstance(stated, dict) else None
    return role if isinstance(role, str) else None


def _parties(
    standing: Standing,
    case: Case,
    name: str,
    roles: Sequence[str] | frozenset[str] | set[str],
    facts: SubjectFacts | None,
) -> list[Party]:
    """The party as the case states it under this name, in each role that it has; where it states none, one of each
    role where the person lives.
    """
    stated, pointer, at = case.document.get(name), f"/{name}", case.at
    if stated is None:
        return [_at_home(role, facts) for role in sorted(roles)]
    if not isinstance(stated, dict):
        raise _wrong(pointer, "an object is needed", '{"role": "municipality"} or {"subsystem": "…"}')
    if "subsystem" in stated:
        try:
            subsystem = SubsystemId.parse(str(stated["subsystem"]))
        except IdentifierError as error:
            raise _wrong(f"{pointer}/subsystem", str(error), "INSTANCE/CLASS/MEMBER/SUBSYSTEM") from None
        held = sorted(standing.registry.roles_of(subsystem, at))
        if not held:
            raise _wrong(f"{pointer}/subsystem", "the registry lists no role of it at that moment", "name a member")
        return [party(standing.registry, subsystem, role, at) for role in held]
    role = _role(stated)
    if role not in standing.rulebook.roles or role is None:
        remedy = "use one of: " + ", ".join(standing.rulebook.roles)
        raise _wrong(f"{pointer}/role", "the rulebook has no such role", remedy)
    if "municipalities" not in stated and "counties" not in stated:
        return [_at_home(role, facts)]
    territory = [_codes(stated.get(kind, []), f"{pointer}/{kind}") for kind in ("municipalities", "counties")]
    return [Party(role, str(stated.get("member", "")), *territory)]


def _at_home(role: str, facts: SubjectFacts | None) -> Party:
    """A party of this role that serves the place where the person lives or moves to."""
    if facts is None:
        return Party(role)
    municipalities = frozenset({facts.municipality} if facts.municipality and role in _OF_MUNICIPALITIES else ())
    if role != "county":
        return Party(role, "", municipalities)
    if facts.county is None and facts.municipality is not None:
        return Party(role, "", frozenset({facts.municipality}))  # it arranges social and health services itself
    return Party(role, "", frozenset(), frozenset({facts.county} if facts.county else ()))


def _categories(rulebook: Rulebook, stated: object) -> frozenset[str]:
    if stated is None:
        return frozenset()
    asked = _codes(stated, "/categories")
    unknown = sorted(asked - rulebook.categories.keys())
    if unknown:
        remedy = "use codes of: " + ", ".join(rulebook.categories)
        raise _wrong("/categories", "the rulebook has no such category", remedy)
    return asked


def _facts(stated: object, rulebook: Rulebook) -> SubjectFacts | None:
    if stated is None:
        return None
    if not isinstance(stated, dict):
        raise _wrong("/facts", "an object is needed", "send the facts by name")
    known = [field.name for field in fields(SubjectFacts)]
    for name, value in stated.items():
        if name not in known:
            raise _wrong(f"/facts/{name}", "there is no such fact", "use " + ", ".join(known))
        if type(value) not in _KINDS[name]:
            kinds = " or ".join(kind.__name__ for kind in _KINDS[name] if kind is not type(None))
            raise _wrong(f"/facts/{name}", f"a value of type {kinds} is needed", "leave it out if it is not known")
    ground = stated.get("permit_ground")
    if ground is not None and ground not in rulebook.permits:
        raise _wrong("/facts/permit_ground", "there is no such ground", "use one of: " + ", ".join(rulebook.permits))
    return SubjectFacts(**stated)


def _settled(facts: SubjectFacts | None, standing: Standing, at: datetime) -> SubjectFacts | None:
    """The facts with the municipality by the code of its day, as those of a record are, and with its county if none is
    stated.
    """
    if facts is None:
        return None
    permits = standing.rulebook.permits
    if facts.permit_ground is not None and facts.permit_ground not in permits:
        # A misspelt ground would read as "the law gives nothing".
        wrong = "the rulebook knows no such ground of a permit"
        raise _wrong("/facts/permit_ground", wrong, "use one of: " + ", ".join(permits))
    if facts.municipality is None:
        return facts
    municipality = code_system("municipality").current(facts.municipality, legal_day(at))
    county = facts.county or standing.registry.county_of(municipality, at)
    return replace(facts, municipality=municipality, county=county)


def _consents(stated: object, at: datetime) -> list[ConsentRecord]:
    if stated is None:
        return []
    if (
        not isinstance(stated, list)
        or len(stated) > MOST_CONSENTS
        or not all(isinstance(item, dict) for item in stated)
    ):
        raise _wrong(
            "/consents", f"a list of at most {MOST_CONSENTS} consents is needed", "send each as it is recorded"
        )
    found = []
    for index, consent in enumerate(stated):
        stamped = {**consent, "id": f"supposed-{index + 1}", "version": 1, "recorded_at": at.isoformat()}
        try:
            found.append(ConsentRecord.from_dict(stamped))
        except ConsentError as error:
            raise _wrong(f"/consents/{index}{error.pointer}", error.reason, "send it as it would be recorded") from None
    return found


def _codes(stated: object, pointer: str) -> frozenset[str]:
    if not isinstance(stated, list) or len(stated) > 400 or not all(isinstance(code, str) for code in stated):
        raise _wrong(pointer, "a list of codes is needed", 'send ["…"]')
    return frozenset(stated)


def _wrong(pointer: str, detail: str, remedy: str) -> ProblemError:
    return ProblemError("invalid-request", pointer=pointer, detail=detail, remedy=remedy)
