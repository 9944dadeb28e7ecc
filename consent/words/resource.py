"""What a FHIR R4 Consent that permits may hold, and who gives it.

A permit is read whole or not at all: what stands in it and is not read here might narrow it or make it void. So the
members that are known are a closed list, at each depth, and whoever gives it is said, never supposed. Of a deny the
same may be left out: it then forbids more. Source: HL7 FHIR R4 (4.0.1), Consent, Reference, Identifier, Narrative.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, Final
from zoneinfo import ZoneInfo

from consent.words.givers import GiverKind
from consent.words.reading import ConsentError

GIVER: Final = "urn:yhdyspinta:extension:consent-giver"
DIGEST: Final = "urn:yhdyspinta:extension:consent-evidence-digest"
KIND: Final = "urn:yhdyspinta:extension:word-kind"
TARGET: Final = "urn:yhdyspinta:extension:word-target"
WHOLE: Final = "urn:yhdyspinta:extension:whole-permission"

ACT: Final = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
SCOPE: Final = {"system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "patient-privacy"}
DOCUMENT: Final = {"system": "http://loinc.org", "code": "59284-0", "display": "Consent Document"}
RECIPIENT: Final = {"system": "http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "code": "IRCP"}

FOUND_OUT: Final = MappingProxyType(
    {
        "able-to-decide": "able_to_decide",
        "personal-matters": "personal_matters",
        "weighty-reason": "weighty_reason",
    }
)
_PARTS = {
    "kind": "valueCode",
    "mandate-until": "valueDate",
    "minor-opinion": "valueCode",
    **dict.fromkeys(FOUND_OUT, "valueBoolean"),
}
_EXTENSIONS = {
    GIVER: "extension",
    DIGEST: "valueString",
    KIND: "valueCode",
    TARGET: "valueString",
    WHOLE: "valueBoolean",
}
_KINDS_OF_VALUE = {"valueBoolean": bool, "extension": list}

_CODING = frozenset({"system", "version", "code", "display", "userSelected"})
_REFERENCE = frozenset({"reference", "type", "identifier", "display"})
_IDENTIFIER = frozenset({"use", "system", "value"})
#: What is known of a permit, by place; `id` may stand everywhere. A place that is not here holds no members.
_KNOWN: Final = {
    "": frozenset(
        [
            "resourceType",
            "meta",
            "language",
            "text",
            "extension",
            "identifier",
            "status",
            "scope",
            "category",
            "patient",
            "dateTime",
            "performer",
            "organization",
            "sourceAttachment",
            "policyRule",
            "verification",
            "provision",
        ]
    ),
    "/meta": frozenset({"versionId", "lastUpdated", "source", "profile"}),
    "/text": frozenset({"status", "div"}),
    "/extension": frozenset({"url", *_EXTENSIONS.values()}),
    "/extension/extension": frozenset({"url", *_PARTS.values()}),
    "/identifier": _IDENTIFIER,
    **dict.fromkeys(("/scope", "/category", "/policyRule", "/provision/actor/role"), frozenset({"coding"})),
    **dict.fromkeys(
        ("/scope/coding", "/category/coding", "/policyRule/coding", "/provision/actor/role/coding"), _CODING
    ),
    **dict.fromkeys(("/provision/purpose", "/provision/class"), _CODING),
    **{
        place + below: known
        for place in ("/patient", "/performer", "/organization", "/verification/verifiedWith")
        for below, known in (("", _REFERENCE), ("/identifier", _IDENTIFIER))
    },
    "/provision/actor/reference": _REFERENCE,
    "/provision/actor/reference/identifier": _IDENTIFIER,
    "/sourceAttachment": frozenset({"title", "contentType", "language", "size", "hash", "creation"}),
    "/verification": frozenset({"verified", "verifiedWith", "verificationDate"}),
    "/provision": frozenset({"type", "period", "actor", "purpose", "class"}),
    "/provision/period": frozenset({"start", "end"}),
    "/provision/actor": frozenset({"role", "reference"}),
}
#: Names of FHIR that are not taken: they may be told. Any other name may be anything, a person's identity code too.
_NAMES: Final = frozenset(
    [
        "modifierExtension",
        "implicitRules",
        "contained",
        "extension",
        "security",
        "tag",
        "policy",
        "sourceReference",
        "data",
        "dataPeriod",
        "action",
        "securityLabel",
        "code",
        "provision",
        "text",
        "coding",
        "url",
        "period",
        "assigner",
        "type",
        "uri",
    ]
)
#: What each coding of a concept is to be, and whether one has to stand there.
_CONCEPTS: Final = (
    (
        "/scope",
        frozenset({(SCOPE["system"], SCOPE["code"])}),
        True,
        "this is read as a privacy consent: patient-privacy",
    ),
    (
        "/category",
        frozenset({("http://loinc.org", "59284-0"), ("http://loinc.org", "64292-6"), (ACT, "IDSCL")}),
        False,
        "a consent to disclose is 59284-0 or 64292-6 (LOINC) or IDSCL (v3-ActCode)",
    ),
    ("/policyRule", frozenset({(ACT, "OPTIN")}), False, "the one policy that permits is OPTIN (v3-ActCode)"),
)
_IN_USE: Final = frozenset({None, "usual", "official", "secondary"})
_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}\Z")
_MOMENT: Final = re.compile(
    r"([0-9]{4})(?:-([0-9]{2}))?\Z|[0-9]{4}-[0-9]{2}-[0-9]{2}(?:T[0-9:.]+(?:Z|[+-][0-9:]{5}))?\Z"
)
_PATIENT: Final = re.compile(r"(?:.*/)?Patient/[A-Za-z0-9.-]{1,64}(?:/_history/[A-Za-z0-9.-]{1,64})?\Z|urn:uuid:.+\Z")
_HELSINKI: Final = ZoneInfo("Europe/Helsinki")
_APART: Final = timedelta(minutes=5)
"""By how much the clock of the system that sends may be ahead."""


def check_permit(resource: Mapping[str, Any], now: datetime) -> None:
    """Whether all that stands in a permit is known, and says no less than is read of it. Raises ConsentError."""
    _check_known(resource, "", "")
    values_of(resource.get("extension"), "/extension", _EXTENSIONS)
    for place, wanted, is_needed, reason in _CONCEPTS:
        stated = resource.get(place[1:])
        for concept, pointer in _each(stated, place) if isinstance(stated, list) else ((stated, place),):
            _check_concept(concept, pointer, wanted, reason, is_needed=is_needed)
    narrative = resource.get("text")
    if narrative is not None and object_of(narrative, "/text").get("status") != "generated":
        raise ConsentError("/text/status", "a narrative that says more than the members is not read: leave it out")
    _check_past(resource.get("dateTime"), "/dateTime", now)
    for index, verification in enumerate(list_of(resource.get("verification"), "/verification")):
        if verification.get("verified") is not True:
            raise ConsentError(f"/verification/{index}/verified", "it was not verified with the person")
        _check_past(verification.get("verificationDate"), f"/verification/{index}/verificationDate", now)
    _check_provision(object_of(resource.get("provision"), "/provision"))
    _check_in_use(resource.get("patient"), "/patient")


def giver_of_permit(resource: Mapping[str, Any]) -> dict[str, Any]:
    """Who gives a permit: whom it names as performer, or by the extension for who speaks for the person.

    Raises ConsentError where nobody is named, or where two places name different people.
    """
    patient = object_of(resource.get("patient"), "/patient")
    reference = patient.get("reference")
    if reference is not None and not (isinstance(reference, str) and _PATIENT.match(reference)):
        raise ConsentError("/patient/reference", "a consent is about a Patient")
    stated = stated_giver(resource.get("extension"))
    performers = list(_each(resource.get("performer"), "/performer"))
    verifiers = [
        (verification["verifiedWith"], f"/verification/{index}/verifiedWith")
        for index, verification in enumerate(list_of(resource.get("verification"), "/verification"))
        if verification.get("verifiedWith") is not None
    ]
    if stated is None and not performers:
        raise ConsentError(
            "/performer", f"who gives it is not said: name the patient, or who speaks for them by {GIVER}"
        )
    if stated is None or stated["kind"] == GiverKind.SELF:
        for party, place in (*performers, *verifiers):
            if not is_patient(party, patient):
                raise ConsentError(
                    place, f"this is not shown to be the patient: who speaks for the patient by law is named by {GIVER}"
                )
        return stated or {"kind": GiverKind.SELF.value}
    if performers and all(is_patient(party, patient) for party, _ in performers):
        raise ConsentError("/performer", f"the patient is named here, and somebody else by {GIVER}")
    return stated


def is_patient(party: object, patient: Mapping[str, Any]) -> bool:
    """Whether a reference is shown to be to the patient: by all that it and the patient name."""
    if not isinstance(party, Mapping) or party.get("type") not in (None, "Patient"):
        return False
    reference, identifier = party.get("reference"), party.get("identifier")
    shown = []
    if reference is not None:
        known = patient.get("reference")
        if not isinstance(reference, str) or _PATIENT.match(reference) is None or known not in (None, reference):
            return False
        shown.append(known == reference)
    if identifier is not None:
        named, known = _named(identifier), _named(patient.get("identifier"))
        if named is None or named != known:
            return False
        shown.append(True)
    return any(shown)


def stated_giver(extensions: object) -> dict[str, Any] | None:
    """Who the extension says gives it, None where there is none. Raises ConsentError."""
    found: dict[str, Any] | None = None
    for index, extension in enumerate(list_of(extensions, "/extension")):
        if extension.get("url") != GIVER:
            continue
        place = f"/extension/{index}"
        if found is not None:
            raise ConsentError(place, "who gives it is said twice")
        parts = values_of(extension.get("extension"), f"{place}/extension", _PARTS)
        if extension.keys() - {"id"} != {"url", "extension"} or "kind" not in parts:
            raise ConsentError(f"{place}/extension", "say who gives it: a part kind with a valueCode")
        found = {
            "kind": parts["kind"],
            "mandate_until": parts.get("mandate-until"),
            "minor_opinion": parts.get("minor-opinion"),
            **{name: parts.get(url) for url, name in FOUND_OUT.items()},
        }
    return found


def values_of(extensions: object, pointer: str, known: Mapping[str, str]) -> dict[str, Any]:
    """The values of extensions, each of a known name, with the one value that it has, and once. Raises ConsentError."""
    found: dict[str, Any] = {}
    for index, extension in enumerate(list_of(extensions, pointer)):
        url, place = extension.get("url"), f"{pointer}/{index}"
        member = known.get(url) if isinstance(url, str) else None
        if not isinstance(url, str) or member is None:
            raise ConsentError(f"{place}/url", f"no such extension is read in a permit: {', '.join(known)}")
        if url in found:
            raise ConsentError(place, f"{url} stands twice")
        value = extension.get(member)
        if extension.keys() - {"id"} != {"url", member} or type(value) is not _KINDS_OF_VALUE.get(member, str):
            raise ConsentError(place, f"{url} has a {member}, and nothing else")
        found[url] = value
    return found


def codings(concept: object, pointer: str) -> list[Mapping[str, Any]]:
    """The codings of a concept. Raises ConsentError."""
    return [] if concept is None else list_of(object_of(concept, pointer).get("coding"), f"{pointer}/coding")


def object_of(value: object, pointer: str) -> Mapping[str, Any]:
    """An object. Raises ConsentError."""
    if not isinstance(value, Mapping):
        raise ConsentError(pointer, "an object is needed here")
    return value


def list_of(value: object, pointer: str) -> list[Mapping[str, Any]]:
    """A list of objects; empty where nothing stands. Raises ConsentError."""
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(item, Mapping) for item in value):
        raise ConsentError(pointer, "a list of objects is needed here")
    return value


def _check_known(value: object, place: str, pointer: str) -> None:
    if isinstance(value, list):
        for index, item in enumerate(value):
            _check_known(item, place, f"{pointer}/{index}")
    elif isinstance(value, Mapping):
        known = _KNOWN.get(place, frozenset())
        for name, inner in value.items():
            if name != "id" and name not in known:
                is_told = name in _NAMES or name.removeprefix("_") in known
                raise ConsentError(
                    f"{pointer}/{name}" if is_told else pointer,
                    "what stands here is not read, and might narrow the consent or make it void: leave it out"
                    + ("" if is_told or not known else f" (read here: {', '.join(sorted(known))})"),
                )
            _check_known(inner, f"{place}/{name}", f"{pointer}/{name}")


def _check_concept(
    concept: object, pointer: str, wanted: frozenset[tuple[str, str]], reason: str, *, is_needed: bool
) -> None:
    stated = codings(concept, pointer)
    if not stated and (is_needed or concept is not None):
        raise ConsentError(pointer, reason)
    for index, coding in enumerate(stated):
        if (coding.get("system"), coding.get("code")) not in wanted:
            raise ConsentError(f"{pointer}/coding/{index}", reason)


def _check_provision(provision: Mapping[str, Any]) -> None:
    period = provision.get("period")
    for name, value in object_of({} if period is None else period, "/provision/period").items():
        if name != "id" and value is not None and not (isinstance(value, str) and _DAY.match(value)):
            raise ConsentError(f"/provision/period/{name}", "write a day, as in 2026-01-31: a time of day is not kept")
    role = frozenset({(RECIPIENT["system"], RECIPIENT["code"])})
    for actor, pointer in _each(provision.get("actor"), "/provision/actor"):
        _check_concept(actor.get("role"), f"{pointer}/role", role, "name the recipient as IRCP", is_needed=True)
        _check_in_use(actor.get("reference"), f"{pointer}/reference")


def _check_in_use(party: object, pointer: str) -> None:
    identifier = party.get("identifier") if isinstance(party, Mapping) else None
    if isinstance(identifier, Mapping) and identifier.get("use") not in _IN_USE:
        raise ConsentError(f"{pointer}/identifier/use", "an identifier that is not in use names nobody")


def _check_past(value: object, pointer: str, now: datetime) -> None:
    """Whether a time, or the day, month or year of it, has come."""
    if value is None:
        return
    try:
        if not isinstance(value, str) or (matched := _MOMENT.match(value)) is None:
            raise ValueError(value)
        whole = f"{value}-01-01"[:10] if matched[1] else value
        moment = datetime.fromisoformat(whole)
    except ValueError:
        raise ConsentError(pointer, "write a time, as in 2026-01-31T12:00:00+02:00") from None
    if (moment if moment.tzinfo else moment.replace(tzinfo=_HELSINKI)) > now + _APART:
        raise ConsentError(pointer, "it is of a time that has not come")


def _each(value: object, pointer: str) -> Iterable[tuple[Mapping[str, Any], str]]:
    return ((item, f"{pointer}/{index}") for index, item in enumerate(list_of(value, pointer)))


def _named(identifier: object) -> tuple[str, str] | None:
    if not isinstance(identifier, Mapping) or identifier.get("use") not in _IN_USE:
        return None
    system, value = identifier.get("system"), identifier.get("value")
    return (system.strip(), value.strip().upper()) if isinstance(system, str) and isinstance(value, str) else None
