"""Each invariant of the reference has a guard: with the guard taken out it is broken by a case that `explain` takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from consent.checking.explaining import explain
from consent.checking.invariants import prove
from consent.checking.stating import load_invariants, reference_invariants
from consent.deciding.supposed import Supposed
from consent.rules.law import Basis, Mode, Rulebook, Word
from tests.consent.second_form import reference
from texts import LANGUAGES

Change = Callable[[Basis], Basis | None]
INVARIANTS = load_invariants(reference_invariants(), reference())


def without(*conditions: str) -> Change:
    """The basis without some of its conditions."""
    return lambda basis: replace(basis, conditions=tuple(name for name in basis.conditions if name not in conditions))


def with_(*categories: str) -> Change:
    """The basis with more categories."""
    return lambda basis: replace(basis, categories=basis.categories | set(categories))


def to(*roles: str) -> Change:
    """The basis with more recipients."""
    return lambda basis: replace(basis, requesters=basis.requesters | set(roles))


def as_(**fields: Any) -> Change:
    """The basis with other fields."""
    return lambda basis: replace(basis, **fields)


def gone(_basis: Basis) -> None:
    """No such basis."""


SHOWN = as_(word=Word.SHOWN, mode=Mode.DUTY)

GUARDS: list[tuple[str, str, Change]] = [
    ("no-health-to-a-municipality-without-consent", "assessment-municipality", with_("health-needs")),
    ("no-health-to-a-municipality-without-consent", "municipality-consent", SHOWN),
    ("health-to-a-county-by-permission-or-by-a-named-exception", "patient-permission", SHOWN),
    ("a-prohibition-stops-what-goes-by-word", "patient-agreed", SHOWN),
    ("an-emergency-is-stopped-by-no-permit-status", "emergency", as_(conditions=("permit-granted",))),
    ("an-emergency-passes-a-safety-prohibition", "emergency", gone),
    ("no-integration-data-without-a-permit", "assessment-municipality-others", without("permit-granted")),
    ("nobody-is-sent-what-they-have-not-asked-for", "assessment-municipality", as_(mode=Mode.DUTY)),
    ("on-request-only-is-never-sent", "benefits-advice", as_(mode=Mode.RIGHT_TO_GET)),
    ("no-address-without-knowing-of-a-safety-prohibition", "placement-municipality", as_(id="not-named")),
    ("no-protected-address-outside-the-administration", "training", as_(id="not-named")),
    ("child-protection-to-authorities-of-child-welfare-only", "assessment-municipality", with_("child-protection")),
    ("no-care-content-for-compensation", "compensation-county", with_("health-needs")),
    ("a-county-of-elsewhere-gets-nothing-by-law", "placement-county", without("requester-is-county-of-residence")),
    ("a-child-welfare-notice-is-stopped-by-nothing", "child-welfare-notice-2023", as_(conditions=("permit-granted",))),
    ("a-representative-hears-of-minors-only", "representation", without("subject-is-minor")),
    ("no-county-in-aland", "compensation-county", without("residence-outside-aland")),
    ("no-county-in-aland", "authority-consent", without("residence-outside-aland")),
    ("the-dead-are-let-rest", "patient-permission", as_(id="not-named")),
    ("immigration-administration-hears-nothing-of-care", "immigration-authorities", with_("social-needs")),
    ("health-to-providers-and-the-municipality-only", "patient-permission", to("representative")),
    ("a-municipality-of-elsewhere-gets-nothing", "reception-2023-municipality",
     without("requester-is-municipality-of-residence")),
    ("of-an-applicant-nothing-by-the-integration-acts", "steering", without("permit-granted")),
    ("the-ground-of-vulnerability-is-not-for-the-municipality", "placement-municipality", with_("vulnerability")),
    ("social-needs-to-a-municipality-by-consent", "assessment-together-municipality", with_("social-needs")),
    ("means-of-support-in-the-early-stage-only", "integration-2023-municipality", with_("finances")),
    ("from-county-to-county-not-against-a-prohibition", "social-care-permission", SHOWN),
    ("what-is-sensitive-reaches-a-county-unasked-by-named-provisions", "county-consent", SHOWN),
    ("by-direction-a-county-hears-of-evident-needs", "placement-county", with_("social-needs")),
    ("by-direction-a-county-hears-of-evident-needs", "placement-county-health", without("evident-need")),
    ("an-employment-authority-of-elsewhere-gets-nothing", "plan-revision-employment",
     without("requester-is-municipality-of-residence")),
    ("an-employment-authority-of-elsewhere-gets-nothing", "assessment-together-employment",
     without("requester-is-municipality-of-residence")),
    ("care-is-secured-where-something-asks-for-it", "social-care-despite-prohibition-child",
     without("childs-interest")),
    ("a-consent-is-no-permission", "patient-permission", as_(word=Word.CONSENT)),
    ("a-mover-is-told-of-by-consent-only", "onward-move-contact", as_(word=Word.SHOWN, mode=Mode.RIGHT_TO_GET)),
    ("a-mover-is-told-of-by-consent-only", "contact-by-consent", as_(word=Word.PERMISSION)),
    ("compensation-counts-persons-only", "compensation-municipality", with_("contact")),
    ("benefits-hear-that-a-plan-is-and-no-more", "plan-made-notice", with_("residence-permit")),
    ("a-producer-gets-what-its-list-names", "training", with_("family")),
    ("only-an-appointed-representative", "reception-representative-2023", without("representative-appointed")),
    ("nobody-is-passed-over-unasked", "social-care-despite-prohibition-child", as_(word=Word.SHOWN)),
    ("a-former-municipality-tells-no-county", "placement-county-from-municipality",
     without("provider-is-of-residence")),
    ("support-ends-with-the-age-that-the-act-sets", "minor-services-municipality", without("under-23")),
    ("an-emergency-gives-what-help-needs", "emergency", with_("housing")),
    ("nothing-is-older-than-the-act", "integration-2011-municipality", as_(starts=None)),
    ("the-representative-of-an-applicant-hears", "reception-representative-2011", gone),
    ("the-municipalitys-own-question-is-answered", "assessment-municipality",
     as_(word=Word.CONSENT, mode=Mode.BY_WORD)),
    ("a-duty-waits-for-nobodys-request", "immigration-service-duty", as_(mode=Mode.RIGHT_TO_GET)),
]  # fmt: skip


def unguarded(name: str, change: Change) -> Rulebook:
    """The reference with one basis changed, or without it."""
    bases = []
    for basis in reference().bases:
        changed = change(basis) if basis.id == name else basis
        if changed is not None:
            bases.append(changed)
    assert bases != list(reference().bases), name
    return reference().with_bases(bases)


@pytest.mark.parametrize(("name", "basis", "change"), GUARDS, ids=[f"{name} {basis}" for name, basis, _ in GUARDS])
def test_invariant_whose_guard_is_taken_out_is_broken_by_a_case_that_is_explained(
    name: str, basis: str, change: Change
) -> None:
    rulebook = unguarded(basis, change)
    (stated,) = (invariant for invariant in INVARIANTS if invariant.id == name)

    (proof,) = prove(rulebook, [stated])

    assert proof.counterexample is not None
    again = Supposed.from_json(proof.counterexample.supposed.to_json())
    decision = again.decision(rulebook)
    assert (proof.counterexample.category in decision.permitted_categories) is not stated.always
    assert all(explain(decision, rulebook, language) for language in LANGUAGES)


def test_every_invariant_has_its_guard_here() -> None:
    assert {name for name, _, _ in GUARDS} == {invariant.id for invariant in INVARIANTS}
