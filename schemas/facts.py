"""Read from a record what a legal basis can depend on, and whom the record is about."""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from schemas.catalogue import SchemaFinding, finding
from schemas.identifiers import SubjectIdentifierError, born, canonical

EXTENSION = "urn:yhdyspinta:extension:"


@dataclass(frozen=True, slots=True)
class Identifier:
    """An identifier of a person: the system that gave it, and its value."""

    system: str
    value: str


@dataclass(frozen=True, slots=True)
class Period:
    """Days from the first to the last, both counted; open where there is none."""

    first: date | None
    last: date | None

    def covers(self, day: date) -> bool:
        """Whether a day is one of them."""
        return (self.first is None or self.first <= day) and (self.last is None or day <= self.last)


@dataclass(frozen=True, slots=True)
class BundleFacts:
    """What the record states about the person; None where it does not."""

    permit_ground: str | None = None
    permit_granted: bool | None = None
    #: The days on which the person may have been born: several where the record tells a year or a month alone.
    born: Period | None = None
    municipality: str | None = None
    unaccompanied: bool | None = None
    has_guardian: bool | None = None
    has_representative: bool | None = None
    vulnerable: bool | None = None
    safety_prohibition: bool | None = None
    named_recipient: str | None = None
    moves_independently: bool | None = None
    family_size: int | None = None
    first_permit: date | None = None
    assessment_due: bool | None = None
    county_takes_part: bool | None = None
    directed: bool | None = None
    trafficking_victim: bool | None = None
    cannot_permit: bool | None = None
    evident_need: bool | None = None
    childs_interest: bool | None = None
    client_of_social_care: bool | None = None
    integration_plans: tuple[Period, ...] = ()
    #: When the person gets social assistance otherwise than for a short time, and the home-care allowance.
    social_assistance: Period | None = None
    home_care_allowance: Period | None = None
    deceased: bool | None = None
    deceased_on: date | None = None

    def has_died(self, day: date) -> bool | None:
        """Whether the person is dead on a day. One whose day of death is not said is, on every day."""
        return self.deceased_on <= day if self.deceased_on is not None else self.deceased


def subject(bundle: Mapping[str, Any]) -> Mapping[str, Any]:
    """The person whom a valid record is about: its first resource."""
    person: Mapping[str, Any] = bundle["entry"][0]["resource"]
    return person


def identifiers(bundle: Mapping[str, Any]) -> tuple[Identifier, ...]:
    """The identifiers of the person in their one notation, in the order of the record.

    For a record that `check_single_subject` has found nothing in.
    """
    return tuple(
        Identifier(*canonical(given["system"], given["value"])) for given in subject(bundle).get("identifier", ())
    )


def contradicts_identity_code(bundle: Mapping[str, Any]) -> bool:
    """Whether a valid record states a day of birth or a sex that its Finnish personal identity code denies.

    Two persons' data may then be mixed in it.
    """
    person = subject(bundle)
    birth, gender = person.get("birthDate"), person.get("gender")
    for identifier in identifiers(bundle):
        day = born(identifier.system, identifier.value)
        if day is None:
            continue
        if birth and not day.isoformat().startswith(birth):  # a year or a month agrees with each of its days
            return True
        number = identifier.value[7:10]
        if gender in ("male", "female") and number.isdigit() and (int(number) % 2 == 1) != (gender == "male"):
            return True
    return False


def read_facts(bundle: Mapping[str, Any]) -> BundleFacts:
    """Read the facts of a valid record."""
    person = subject(bundle)
    stated = dict(_stated(person.get("extension", ())))
    return BundleFacts(
        permit_ground=stated.get("residence-permit/ground"),
        permit_granted=stated.get("residence-permit/granted"),
        born=days_of(person["birthDate"]) if person.get("birthDate") else None,
        municipality=stated.get("move/municipality"),
        unaccompanied=stated.get("guardianship/unaccompanied"),
        has_guardian=stated.get("guardianship/guardian"),
        has_representative=stated.get("guardianship/representative"),
        vulnerable=stated.get("vulnerability/fact"),
        safety_prohibition=stated.get("safety-prohibition/active"),
        named_recipient=stated.get("safety-prohibition/named-recipient"),
        moves_independently=stated.get("move/independent"),
        family_size=stated.get("family/size"),
        # The day of the decision on the permit stands for that of the first one, where the record has no other.
        first_permit=_day(stated.get("residence-permit/first") or stated.get("residence-permit/decided")),
        assessment_due=stated.get("integration/assessment-due"),
        county_takes_part=stated.get("integration/county-takes-part"),
        directed=stated.get("move/directed"),
        trafficking_victim=_trafficked(stated),
        cannot_permit=stated.get("guardianship/cannot-permit"),
        evident_need=stated.get("integration/evident-need"),
        childs_interest=stated.get("integration/childs-interest"),
        client_of_social_care=stated.get("integration/client-of-social-care"),
        integration_plans=tuple(_integration_plans(bundle)),
        social_assistance=_benefit(stated, "lasting-social-assistance"),
        home_care_allowance=_benefit(stated, "home-care-allowance"),
        deceased=person.get("deceasedBoolean"),
        deceased_on=_day(person.get("deceasedDateTime")),
    )


def _trafficked(stated: Mapping[str, Any]) -> bool | None:
    """Whether the record says of a person that they are a victim of trafficking; that they are not, it does not say."""
    return (
        stated.get("vulnerability/ground") == "human-trafficking"
        or stated.get("residence-permit/ground") == "victim-continuous"
        or None
    )


def _benefit(stated: Mapping[str, Any], name: str) -> Period | None:
    """The days for which a benefit is paid; None where the record does not say from when."""
    first = _day(stated.get(f"benefits/{name}-from"))
    return Period(first, _day(stated.get(f"benefits/{name}-until"))) if first is not None else None


def _integration_plans(bundle: Mapping[str, Any]) -> Iterator[Period]:
    """The periods of the person's integration plans that stand: a draft, or one that was ended, is none."""
    for entry in bundle["entry"]:
        plan = entry["resource"]
        if plan["resourceType"] != "CarePlan" or plan.get("status") != "active":
            continue
        kinds = {coding.get("code") for kind in plan.get("category", ()) for coding in kind.get("coding", ())}
        if "integration-plan" in kinds:
            period = plan.get("period", {})
            yield Period(_day(period.get("start")), _day(period.get("end")))


def days_of(text: str) -> Period:
    """The first and the last day that a date of the schemas can mean: `1990`, `1990-05` or `1990-05-03`."""
    year, month, day = (int(part) for part in (*text.split("-"), "0", "0")[:3])
    first = date(year, month or 1, day or 1)
    last_month = month or 12
    return Period(first, date(year, last_month, day or monthrange(year, last_month)[1]))


def _day(text: str | None) -> date | None:
    return date.fromisoformat(text) if text else None


#: The parts of an extension that may be there more than once.
_REPEATING = frozenset({"child-age"})


def check_single_subject(bundle: Mapping[str, Any]) -> list[SchemaFinding]:
    """A record is about one person, who comes first, has identifiers that can be theirs, and each fact about whom is
    stated once, so that no reader can take another statement than the one that was decided on. For a bundle that has
    passed its schema.
    """
    entries = bundle["entry"]
    findings = []
    if entries[0]["resource"]["resourceType"] != "Patient":
        findings.append(finding("/entry/0/resource/resourceType", "subject-first"))
    findings += [
        finding(f"/entry/{index}/resource/resourceType", "one-subject")
        for index, entry in enumerate(entries)
        if index > 0 and entry["resource"]["resourceType"] == "Patient"
    ]
    if findings:
        return findings
    person = entries[0]["resource"]
    return [*_impossible(person), *(finding(pointer, "stated-twice") for pointer in _again(person))]


def _impossible(person: Mapping[str, Any]) -> Iterator[SchemaFinding]:
    """Identifiers that no person can have: decided on, they would find no consent or refusal of anybody."""
    for index, given in enumerate(person.get("identifier", ())):
        try:
            canonical(given["system"], given["value"])
        except SubjectIdentifierError as error:
            yield finding(f"/entry/0/resource/identifier/{index}/{error.member}", error.code)


def _again(person: Mapping[str, Any]) -> Iterator[str]:
    """Where an extension of the person, or a part of one, stands for the second time."""
    at = "/entry/0/resource/extension"
    met: set[str] = set()
    for index, extension in enumerate(person.get("extension", ())):
        if extension["url"] in met:
            yield f"{at}/{index}"
        met.add(extension["url"])
        met_within: set[str] = set()
        for number, part in enumerate(extension.get("extension", ())):
            if part["url"] in met_within and part["url"] not in _REPEATING:
                yield f"{at}/{index}/extension/{number}"
            met_within.add(part["url"])


def _stated(extensions: Any) -> Iterator[tuple[str, Any]]:
    for extension in extensions:
        name = extension["url"].removeprefix(EXTENSION)
        for part in extension.get("extension", ()):
            for key, value in part.items():
                if key.startswith("value"):
                    yield (
                        f"{name}/{part['url']}",
                        value["code"] if isinstance(value, dict) and "code" in value else value,
                    )
