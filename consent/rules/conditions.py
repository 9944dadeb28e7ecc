"""The closed vocabulary of conditions: named, pure questions about a request, answered yes, no or not known.

A rulebook may only use the conditions below. A new one is a function here with one line that says what it asks. What is
not known is taken to the safe side: a condition of a basis then does not hold, one of a prohibition does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from consent.rules.request import Request

#: Yes, no, or None where the facts do not tell.
Answer = bool | None

ADULT = 18
#: Codes of the municipalities of Åland, where health care is the landscape's and no county's (Statistics Finland).
ALAND: Final = frozenset(
    ("035", "043", "060", "062", "065", "076", "170", "295", "318", "417", "438", "478", "736", "766", "771", "941")
)


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition: its name in rulebooks, what it asks, and the fact that it needs."""

    name: str
    asks: str
    needs: str
    holds: Callable[[Request], Answer]


def _municipality_of_residence(request: Request) -> Answer:
    residence = request.stated.municipality
    return None if residence is None else residence in request.requester.municipalities


def _county_of_residence(request: Request) -> Answer:
    facts = request.stated
    if facts.county is not None:
        return facts.county in request.requester.counties
    if facts.municipality is None:
        return None
    # A municipality that belongs to no county arranges social and health services itself.
    return facts.municipality in request.requester.municipalities


def _outside_aland(request: Request) -> Answer:
    residence = request.stated.municipality
    return None if residence is None else residence not in ALAND


def _in_aland(request: Request) -> Answer:
    residence = request.stated.municipality
    return None if residence is None else residence in ALAND


def _named_recipient(request: Request) -> Answer:
    facts = request.stated
    if facts.named_recipient is None:
        return None if facts.safety_prohibition is None else False
    return facts.named_recipient in request.requester.municipalities


def _provider_of_residence(request: Request) -> Answer:
    facts, provider = request.stated, request.provider
    if facts.county is not None and provider.counties:
        return facts.county in provider.counties
    return None if facts.municipality is None else facts.municipality in provider.municipalities


def _under(years: int) -> Callable[[Request], Answer]:
    def holds(request: Request) -> Answer:
        answers = {age < years for age in request.stated.ages}
        return answers.pop() if len(answers) == 1 else None

    return holds


def _adult(request: Request) -> Answer:
    is_minor = _under(ADULT)(request)
    return None if is_minor is None else not is_minor


def _family(request: Request) -> Answer:
    return None if request.stated.family_size is None else request.stated.family_size > 1


def _directed(request: Request) -> Answer:
    """The definition has three ways: directed to a place, moved with the centre's help, or moved on one's own."""
    facts = request.stated
    if facts.directed or facts.moves_independently is not None:
        return True
    return facts.directed


def _assessment(request: Request) -> Answer:
    """The record's own word, else what follows from the days: within three years, or a victim of trafficking."""
    facts = request.stated
    if facts.assessment_due is not None:
        return facts.assessment_due
    return True if facts.trafficking_victim else facts.within_three_years


def _stated_assessment(request: Request) -> Answer:
    """The record's own word, or that the person is a victim of trafficking; that days have not passed is not enough."""
    facts = request.stated
    return facts.assessment_due if facts.assessment_due is not None else facts.trafficking_victim


def _provider_in_aland(request: Request) -> Answer:
    return not ALAND.isdisjoint(request.provider.municipalities)


def _deceased(request: Request) -> Answer:
    """A record states a death; of a person of whom it states none it is not doubted that they live."""
    return request.stated.deceased is True


def _fact(name: str) -> Callable[[Request], Answer]:
    return lambda request: getattr(request.stated, name)


def _not(name: str) -> Callable[[Request], Answer]:
    def holds(request: Request) -> Answer:
        stated = getattr(request.stated, name)
        return None if stated is None else not stated

    return holds


def _no_mark(request: Request) -> Answer:
    """With the record at hand a mark that it does not state is missing; before that nobody can say."""
    if request.stated.safety_prohibition is not None:
        return False
    return True if request.known else None


_ALL = (
    Condition(
        "requester-is-municipality-of-residence",
        "Does the requester act for the municipality where the person lives or moves to?",
        "municipality",
        _municipality_of_residence,
    ),
    Condition(
        "requester-is-county-of-residence",
        "Does the requester arrange social and health services where the person lives or moves to?",
        "municipality",
        _county_of_residence,
    ),
    Condition(
        "residence-outside-aland",
        "Does the person live in, or move to, a municipality outside Åland?",
        "municipality",
        _outside_aland,
    ),
    Condition(
        "residence-in-aland", "Does the person live in, or move to, a municipality of Åland?", "municipality", _in_aland
    ),
    Condition(
        "provider-is-of-residence",
        "Does the provider serve the place where the person lives or moves to?",
        "municipality",
        _provider_of_residence,
    ),
    Condition(
        "requester-is-named-recipient",
        "Is the requester the one municipality that a person under a safety prohibition has named?",
        "named_recipient",
        _named_recipient,
    ),
    Condition(
        "permit-granted",
        "Has the residence permit or protection been granted?",
        "permit_granted",
        _fact("permit_granted"),
    ),
    Condition("permit-not-granted", "Is a final permit missing?", "permit_granted", _not("permit_granted")),
    Condition("subject-is-minor", "Is the person under 18?", "age", _under(ADULT)),
    Condition("subject-is-adult", "Is the person 18 or over?", "age", _adult),
    Condition("under-21", "Is the person under 21?", "age", _under(21)),
    Condition("under-23", "Is the person under 23?", "age", _under(23)),
    Condition("under-25", "Is the person under 25?", "age", _under(25)),
    Condition(
        "unaccompanied", "Did the person come as a minor without a guardian?", "unaccompanied", _fact("unaccompanied")
    ),
    Condition("guardian-known", "Does the person have a guardian?", "has_guardian", _fact("has_guardian")),
    Condition(
        "representative-appointed",
        "Does the person have a representative?",
        "has_representative",
        _fact("has_representative"),
    ),
    Condition(
        "vulnerable", "Has the person been found to be in a vulnerable position?", "vulnerable", _fact("vulnerable")
    ),
    Condition(
        "safety-prohibition",
        "Is there a safety prohibition on the person's address?",
        "safety_prohibition",
        _fact("safety_prohibition"),
    ),
    Condition(
        "safety-mark-missing",
        "Does the record not say whether there is a safety prohibition?",
        "safety_prohibition",
        _no_mark,
    ),
    Condition(
        "moves-independently",
        "Does the person move without being directed to a municipal place?",
        "moves_independently",
        _fact("moves_independently"),
    ),
    Condition("has-family", "Does the person move with a family?", "family_size", _family),
    Condition(
        "plan-in-force", "Is an integration plan of the person in force?", "plan_in_force", _fact("plan_in_force")
    ),
    Condition(
        "within-three-years",
        "Have at most three years passed since the first residence permit?",
        "within_three_years",
        _fact("within_three_years"),
    ),
    Condition(
        "assessment-to-be-made",
        "Is an assessment of skills and integration service needs to be made of the person?",
        "within_three_years",
        _assessment,
    ),
    Condition(
        "assessment-stated",
        "Does the record say that an assessment is to be made, or is the person a victim of trafficking?",
        "assessment_due",
        _stated_assessment,
    ),
    Condition(
        "provider-in-aland",
        "Is the provider a municipality of Åland?",
        "municipality",
        _provider_in_aland,
    ),
    Condition("deceased", "Does the record say that the person has died?", "deceased", _deceased),
    Condition(
        "county-takes-part",
        "Does the county take part in the assessment or the plan?",
        "county_takes_part",
        _fact("county_takes_part"),
    ),
    Condition(
        "plan-made-in-time",
        "Was an integration plan made within three years of the first permit, or of a victim of trafficking?",
        "plan_made_in_time",
        _fact("plan_made_in_time"),
    ),
    Condition("plan-ended", "Has the integration plan ended?", "plan_ended", _fact("plan_ended")),
    Condition(
        "studies-continue",
        "Do studies of the person's own choice go on beyond the longest time of a plan?",
        "studies_continue",
        _fact("studies_continue"),
    ),
    Condition(
        "directed-to-municipality",
        "Was the person directed to a municipal place, or does the person move out with or without the centre's help?",
        "directed",
        _directed,
    ),
    Condition(
        "placed-in-municipality",
        "Did the placement authority direct the person to a municipal place?",
        "directed",
        _fact("directed"),
    ),
    Condition(
        "place-proposed",
        "Has the Immigration Service or the centre proposed that the person be directed to a place?",
        "place_proposed",
        _fact("place_proposed"),
    ),
    Condition(
        "trafficking-victim",
        "Is the person a victim of trafficking?",
        "trafficking_victim",
        _fact("trafficking_victim"),
    ),
    Condition(
        "gets-social-assistance",
        "Does the person get social assistance otherwise than for a short time?",
        "social_assistance",
        _fact("social_assistance"),
    ),
    Condition(
        "gets-home-care-allowance",
        "Does the person get the home-care allowance for a child?",
        "home_care_allowance",
        _fact("home_care_allowance"),
    ),
    Condition(
        "cannot-give-permission",
        "Can the person not weigh or give a permission, with nobody who could for them?",
        "cannot_permit",
        _fact("cannot_permit"),
    ),
    Condition(
        "evident-need",
        "Is the person in evident need of care, or of services of social and health care?",
        "evident_need",
        _fact("evident_need"),
    ),
    Condition(
        "childs-interest",
        "Has somebody found that the interest of a child needs the data?",
        "childs_interest",
        _fact("childs_interest"),
    ),
    Condition(
        "client-of-social-care",
        "Is there a client relationship with the social care that asks?",
        "client_of_social_care",
        _fact("client_of_social_care"),
    ),
    Condition("threatened", "Is there a serious threat to life, health or freedom?", "threatened", _fact("threatened")),
    Condition(
        "in-private-lodging", "Does the child live in private lodging?", "private_lodging", _fact("private_lodging")
    ),
    Condition(
        "sent-to-training",
        "Was the person sent to this training or service by the integration plan?",
        "sent_to_training",
        _fact("sent_to_training"),
    ),
    Condition(
        "costs-before-counties",
        "Did services of the years that the section names bring the municipality costs that can be compensated?",
        "costs_before_counties",
        _fact("costs_before_counties"),
    ),
    Condition(
        "lived-here-before",
        "Is the provider the person's former place of residence?",
        "lived_here_before",
        _fact("lived_here_before"),
    ),
)

CONDITIONS: Mapping[str, Condition] = MappingProxyType({condition.name: condition for condition in _ALL})
