"""Who gives a person's word: who may permit in whose name, and whose prohibition is the person's own.

Whoever may not speak for the person can give no permission and no consent. A prohibition is taken from anybody all the
same: from whoever may not speak for the person it is a report. To end one opens data, and asks what a permission asks.
Source: Act 703/2023, sections 50, 51 and 58; Act 442/1999, section 29; Act 417/2007, section 20; Act 681/2023,
section 38.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Any, Final

from consent.words.reading import ConsentError, answer_of, code_of, day_of, iso
from consent.words.targets import LISTENERS, Sector, Target

ADULT: Final = 18
OWN_OPINION: Final = 12
"""From this age on a child's own opinion is asked for, unless the child was found unable to form one."""


class GiverKind(StrEnum):
    """In what capacity somebody speaks."""

    SELF = "self"
    GUARDIAN = "guardian"
    REPRESENTATIVE = "representative"
    OTHER = "other"


class Opinion(StrEnum):
    """What a minor thinks of what is said in the minor's name."""

    AGREES = "agrees"
    DISAGREES = "disagrees"


@dataclass(frozen=True, slots=True)
class Giver:
    """Who gave a word, and what was found out about whether they may.

    `able_to_decide` says whether a professional found the person able to decide the matter, `personal_matters` whether
    a court has let an adult's guardian decide in personal matters, `weighty_reason` whether a weighty reason was found
    for a minor's prohibition in social care, which is not clearly against the minor's interest.
    """

    kind: GiverKind
    mandate_until: date | None = None
    minor_opinion: Opinion | None = None
    able_to_decide: bool | None = None
    personal_matters: bool | None = None
    weighty_reason: bool | None = None

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "kind": self.kind.value,
            "mandate_until": iso(self.mandate_until),
            "minor_opinion": self.minor_opinion and self.minor_opinion.value,
            "able_to_decide": self.able_to_decide,
            "personal_matters": self.personal_matters,
            "weighty_reason": self.weighty_reason,
        }

    @classmethod
    def of_word(cls, stated: object, *, is_forbidding: bool) -> Giver:
        """Read who says a word. Raises ConsentError.

        A prohibition that tells nobody is taken as the person's own, which holds most and longest.
        """
        if is_forbidding and (stated is None or (isinstance(stated, Mapping) and stated.get("kind") is None)):
            stated = {**(stated or {}), "kind": GiverKind.SELF}
        return cls.read(stated)

    @classmethod
    def read(cls, stated: object) -> Giver:
        """Read what `to_dict` wrote, or what stands in a form. Raises ConsentError."""
        # In whose name somebody speaks is never guessed: a neighbour's word would open the person's data.
        if stated is None:
            raise ConsentError(
                "/given_by", "who gives it is not said: self, or guardian or representative who speaks for the person"
            )
        if not isinstance(stated, Mapping):
            raise ConsentError("/given_by", 'write {"kind": "self"}')
        opinion = stated.get("minor_opinion")
        return cls(
            code_of(GiverKind, stated.get("kind"), "/given_by/kind"),
            day_of(stated.get("mandate_until"), "/given_by/mandate_until"),
            None if opinion is None else code_of(Opinion, opinion, "/given_by/minor_opinion"),
            *(
                answer_of(stated.get(name), f"/given_by/{name}")
                for name in ("able_to_decide", "personal_matters", "weighty_reason")
            ),
        )


@dataclass(frozen=True, slots=True)
class Person:
    """What is known of the person whose word it is, on the day on which it is taken."""

    age: int | None
    is_unaccompanied: bool | None
    day: date

    @property
    def is_adult(self) -> bool | None:
        """None where the age is not known."""
        return None if self.age is None else self.age >= ADULT


def years(born: date, on: date) -> int:
    """The full years from one day to another: the age of who was born on the first."""
    return on.year - born.year - ((on.month, on.day) < (born.month, born.day))


def check_permits(giver: Giver, person: Person, *, is_permission: bool) -> None:
    """Whether a permission or consent may be given so. Raises ConsentError, which says what is missing."""
    if giver.kind is GiverKind.OTHER:
        raise ConsentError(
            "/given_by/kind", "only the person, or who may speak for the person by law, permits anything"
        )
    if giver.kind is GiverKind.SELF:
        _check_alone(giver, person, is_permission=is_permission)
        return
    if giver.kind is GiverKind.REPRESENTATIVE and giver.mandate_until is None:
        raise ConsentError("/given_by/mandate_until", "a representative's mandate has an end")
    if person.is_adult is None and giver.kind is GiverKind.GUARDIAN and not giver.personal_matters:
        raise ConsentError("/subject_age", "say the person's age: what a guardian may decide depends on it")
    if person.is_adult is False:
        _check_for_minor(giver, person, is_permission=is_permission)
    elif person.is_adult or giver.kind is GiverKind.GUARDIAN:
        _check_for_adult(giver)


def _check_alone(giver: Giver, person: Person, *, is_permission: bool) -> None:
    if giver.able_to_decide is False:
        raise ConsentError(
            "/given_by", "whoever cannot understand the matter does not permit it: say who speaks for them"
        )
    if person.is_adult is False and not (is_permission and giver.able_to_decide):
        raise ConsentError(
            "/given_by",
            "a minor's consent is given by the guardian or the representative; a permission also by a minor who was "
            "found able to decide (able_to_decide)",
        )


def _check_for_minor(giver: Giver, person: Person, *, is_permission: bool) -> None:
    if person.is_unaccompanied and giver.kind is not GiverKind.REPRESENTATIVE:
        raise ConsentError("/given_by/kind", "for an unaccompanied minor the representative consents")
    if giver.able_to_decide is False:
        return
    if is_permission and giver.able_to_decide:
        raise ConsentError("/given_by", "a minor who was found able to decide gives the permission, and nobody else")
    # Nobody found the minor unable to decide: then a "no" of theirs counts, or it would be overheard.
    if giver.minor_opinion is Opinion.DISAGREES:
        raise ConsentError(
            "/given_by/minor_opinion",
            "the minor disagrees: record the minor's own prohibition, or say that they were found unable to decide",
        )
    if person.age is not None and person.age >= OWN_OPINION and giver.minor_opinion is None:
        raise ConsentError(
            "/given_by/minor_opinion",
            f"a minor of {OWN_OPINION} or over is heard: agrees or disagrees, or able_to_decide false",
        )


def _check_for_adult(giver: Giver) -> None:
    if giver.mandate_until is None:
        raise ConsentError("/given_by/mandate_until", "who speaks for an adult has a mandate with an end")
    if not giver.personal_matters:
        raise ConsentError(
            "/given_by/personal_matters", "in personal matters an adult's guardian speaks only if a court has said so"
        )
    if giver.able_to_decide is not False:
        raise ConsentError(
            "/given_by/able_to_decide",
            "an adult who understands the matter decides: say false if that was found not so",
        )


def check_lifts(giver: Giver, forbade: Giver, target: Target | None, person: Person) -> None:
    """Whether a prohibition may be taken back so: by who may give the permission that it frees. Raises ConsentError.

    `forbade` is who said it. What is not known of the person counts in favour of the prohibition.
    """
    if person.age is None:
        # A permission is held against the age again at each decision; what has ended is never looked at again.
        raise ConsentError("/subject_age", "say the person's age: who may take a prohibition back depends on it")
    check_permits(giver, person, is_permission=True)
    if giver.mandate_until is not None and giver.mandate_until < person.day:
        raise ConsentError("/given_by/mandate_until", "the mandate has ended")
    if giver.kind is GiverKind.SELF:
        return
    if target is not None and target.kind in LISTENERS and target.kind.value == giver.kind.value:
        raise ConsentError("/given_by/kind", "whom a prohibition keeps from hearing does not take it back")
    if person.is_adult:
        return
    # What was found when it was said is not undone by the one whom it stops saying otherwise now.
    if forbade.able_to_decide:
        raise ConsentError("/given_by/kind", "a minor who was found able to decide takes it back, and nobody else")
    if forbade.kind is GiverKind.SELF and giver.able_to_decide is not False and giver.minor_opinion is None:
        raise ConsentError("/given_by/minor_opinion", "the minor forbade it: ask what the minor thinks now")


def is_own(giver: Giver, person: Person, target: Target | None) -> bool:
    """Whether a prohibition is the person's own, by whoever lawfully says it: in force at once, no report.

    What is not known of the person counts in favour of the prohibition.
    """
    if giver.kind is GiverKind.SELF:
        return target is None or target.kind not in LISTENERS or _may_exclude(giver, person, target)
    if giver.kind is GiverKind.OTHER or (giver.mandate_until is not None and giver.mandate_until < person.day):
        return False
    if giver.kind is GiverKind.REPRESENTATIVE and giver.mandate_until is None:
        return False
    if person.is_adult:
        return giver.personal_matters is True and giver.able_to_decide is False
    # A minor who is able to decide forbids for themselves; for one who came alone the representative speaks.
    unaccompanied = person.is_unaccompanied is True and giver.kind is GiverKind.GUARDIAN
    return not unaccompanied and giver.able_to_decide is not True


def _may_exclude(giver: Giver, person: Person, target: Target) -> bool:
    """Whether a person may forbid that a guardian or representative hears."""
    if person.is_adult:
        return True
    if giver.able_to_decide is not True:
        return False
    return target.sector is Sector.HEALTH or giver.weighty_reason is True
