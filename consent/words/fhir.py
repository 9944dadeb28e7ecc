"""Consents and refusals as HL7 FHIR R4 `Consent`, out and in.

Out gives a resource that any FHIR server takes; in reads what such a server sends, as far as it says what a consent
here says, and refuses the rest with the place of it. Words that FHIR has no codes for (roles, purposes, categories) are
codings of this product's own systems. Source: HL7 FHIR R4 (4.0.1), Consent.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from consent.words.consents import ConsentRecord, WordKind
from consent.words.givers import Giver
from consent.words.reading import ConsentError

PURPOSE = "urn:yhdyspinta:purpose"
CATEGORY = "urn:yhdyspinta:category"
ROLE = "urn:yhdyspinta:role"
MEMBER = "urn:yhdyspinta:member"
SUBSYSTEM = "urn:yhdyspinta:subsystem"
GIVER = "urn:yhdyspinta:extension:consent-giver"
DIGEST = "urn:yhdyspinta:extension:consent-evidence-digest"
KIND = "urn:yhdyspinta:extension:word-kind"
TARGET = "urn:yhdyspinta:extension:word-target"
ENDED_BY = "urn:yhdyspinta:extension:word-ended-by"
ERROR = "urn:yhdyspinta:extension:word-error"
WHOLE = "urn:yhdyspinta:extension:whole-permission"
ENDING = "urn:yhdyspinta:extension:word-ending"

_SCOPE = {"system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "patient-privacy"}
_KIND = {"system": "http://loinc.org", "code": "59284-0", "display": "Consent Document"}
_ACT = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
_RECIPIENT = {"system": "http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "code": "IRCP"}

#: What is read of a provision; what else may stand there narrows it, but for an extension, which changes nothing.
_READ_OF_PROVISION = frozenset({"id", "extension", "type", "period", "actor", "purpose", "class"})

_FOUND_OUT = {
    "able-to-decide": "able_to_decide",
    "personal-matters": "personal_matters",
    "weighty-reason": "weighty_reason",
}
_STATUS = {
    "active": ("active", "permit"),
    "refused": ("active", "deny"),
    "withdrawn": ("inactive", "permit"),
    "entered-in-error": ("entered-in-error", "permit"),
    "lapsed": ("inactive", "deny"),
}


def to_fhir(record: ConsentRecord, subject: tuple[str, str] | None = None) -> dict[str, Any]:
    """A record as a FHIR Consent. `subject` is the person's identifier, if the one who asks named it."""
    status, kind = _STATUS[record.status]
    # A reader who knows only FHIR must not take a prohibition that has ended for a permission of then.
    kind = "deny" if record.kind in {WordKind.PROHIBITION, WordKind.REPORT} else kind
    resource: dict[str, Any] = {
        "resourceType": "Consent",
        "id": record.id,
        "meta": {"versionId": str(record.version)},
        "language": record.language,
        "extension": [_giver(record.given_by)],
        "status": status,
        "scope": {"coding": [_SCOPE]},
        "category": [{"coding": [_KIND]}],
        "dateTime": record.recorded_at.isoformat(timespec="seconds"),
        "organization": [{"identifier": {"system": SUBSYSTEM, "value": record.recorded_by}}],
        "policyRule": {"coding": [{"system": _ACT, "code": "OPTOUT" if kind == "deny" else "OPTIN"}]},
        "provision": _provision(record, kind),
    }
    if subject is not None:
        resource["patient"] = {"identifier": {"system": subject[0], "value": subject[1]}}
    if record.evidence.form is not None:
        resource["sourceAttachment"] = {"title": record.evidence.form}
    if record.evidence.digest is not None:
        resource["extension"].append({"url": DIGEST, "valueString": record.evidence.digest})
    resource["extension"].append({"url": KIND, "valueCode": record.kind.value})
    if record.target is not None:
        resource["extension"].append({"url": TARGET, "valueString": str(record.target)})
    if record.ended_by is not None:
        resource["extension"].append({**_giver(record.ended_by), "url": ENDED_BY})
    if record.error is not None:
        resource["extension"].append({"url": ERROR, "valueCode": record.error.value})
    if (status, kind) == ("inactive", "deny"):
        resource["extension"].append({"url": ENDING, "valueCode": record.status.value})
    if record.is_whole:
        resource["extension"].append({"url": WHOLE, "valueBoolean": True})
    return resource


def form_of(resource: Mapping[str, Any]) -> dict[str, Any]:
    """A FHIR Consent as the form that `ConsentRecord.from_form` reads; its `subject` names the person.

    Raises ConsentError with the place in the resource.
    """
    if resource.get("resourceType") != "Consent":
        raise ConsentError("/resourceType", "send a FHIR R4 Consent")
    provision = _object(resource.get("provision"), "/provision")
    if provision.get("provision"):
        raise ConsentError("/provision/provision", "exceptions within a consent are not taken: send a record for each")
    status = _status(resource, provision)
    if status == "active":
        _check_narrowed(resource, provision)
    form: dict[str, Any] = {
        "status": status,
        "purposes": list(_codes(provision.get("purpose"), PURPOSE, "/provision/purpose")),
        "recipients": list(_recipients(provision.get("actor"))),
        "categories": list(_codes(provision.get("class"), CATEGORY, "/provision/class")),
        "language": resource.get("language", "fi"),
        "given_by": _given_by(resource.get("extension")),
        "subject": _subject(resource.get("patient"), is_needed=status != "refused"),
    }
    period = _object(provision.get("period", {}), "/provision/period")
    for ours, theirs in (("starts", "start"), ("ends", "end")):
        if period.get(theirs) is not None:
            form[ours] = str(period[theirs])[:10]
    attachment = _object(resource.get("sourceAttachment", {}), "/sourceAttachment")
    extensions = {extension.get("url"): extension for extension in _list(resource.get("extension"), "/extension")}
    form["evidence"] = {"form": attachment.get("title"), "digest": extensions.get(DIGEST, {}).get("valueString")}
    for name, url, value in (("kind", KIND, "valueCode"), ("target", TARGET, "valueString")):
        if url in extensions:
            form[name] = extensions[url].get(value)
    if form.get("kind") == WordKind.REPORT or form["status"] == "refused":
        # What is refused or rejected is a prohibition; whether it is a report, is found out anew from who gave it.
        form.pop("kind", None)
    form["whole"] = extensions.get(WHOLE, {}).get("valueBoolean") is True
    return form


def _giver(given: Giver) -> dict[str, Any]:
    parts: list[dict[str, Any]] = [{"url": "kind", "valueCode": given.kind.value}]
    if given.mandate_until is not None:
        parts.append({"url": "mandate-until", "valueDate": given.mandate_until.isoformat()})
    if given.minor_opinion is not None:
        parts.append({"url": "minor-opinion", "valueCode": given.minor_opinion.value})
    for url, name in _FOUND_OUT.items():
        answer = getattr(given, name)
        if answer is not None:
            parts.append({"url": url, "valueBoolean": answer})
    return {"url": GIVER, "extension": parts}


def _provision(record: ConsentRecord, kind: str) -> dict[str, Any]:
    provision: dict[str, Any] = {"type": kind}
    period = {
        name: day.isoformat() for name, day in (("start", record.starts), ("end", record.ends)) if day is not None
    }
    if period:
        provision["period"] = period
    if record.recipients:
        provision["actor"] = [
            {
                "role": {"coding": [_RECIPIENT]},
                "reference": {"identifier": {"system": MEMBER if "/" in recipient else ROLE, "value": recipient}},
            }
            for recipient in sorted(record.recipients)
        ]
    if record.purposes:
        provision["purpose"] = [{"system": PURPOSE, "code": purpose} for purpose in sorted(record.purposes)]
    if record.categories:
        provision["class"] = [{"system": CATEGORY, "code": category} for category in sorted(record.categories)]
    return provision


def _status(resource: Mapping[str, Any], provision: Mapping[str, Any]) -> str:
    status, kind = resource.get("status"), provision.get("type")
    if status == "rejected":
        return "refused"
    if status == "entered-in-error" and kind == "deny":
        return "entered-in-error"
    if status == "inactive" and kind == "deny":
        given = (extension for extension in _list(resource.get("extension"), "/extension"))
        ending = next((extension.get("valueCode") for extension in given if extension.get("url") == ENDING), "lapsed")
        return "withdrawn" if ending == "withdrawn" else "lapsed"
    for ours, (theirs, type_) in _STATUS.items():
        if status == theirs and kind == type_:
            return ours
    if status in {"active", "inactive"} and kind not in {"permit", "deny"}:
        raise ConsentError("/provision/type", "say permit or deny")
    raise ConsentError("/status", "use active or rejected; drafts and proposals are not consents")


def _recipients(actors: object) -> Iterable[str]:
    for index, actor in enumerate(_list(actors, "/provision/actor")):
        reference = actor.get("reference")
        identifier = reference.get("identifier") if isinstance(reference, Mapping) else None
        if not isinstance(identifier, Mapping) or identifier.get("system") not in {ROLE, MEMBER}:
            raise ConsentError(
                f"/provision/actor/{index}/reference/identifier", f"name the recipient in {ROLE} or {MEMBER}"
            )
        yield str(identifier.get("value", ""))


def _codes(codings: object, system: str, pointer: str) -> Iterable[str]:
    for index, coding in enumerate(_list(codings, pointer)):
        if coding.get("system") != system or not isinstance(coding.get("code"), str):
            raise ConsentError(f"{pointer}/{index}", f"use a code of {system}")
        yield coding["code"]


def _given_by(extensions: object) -> dict[str, Any]:
    for index, extension in enumerate(_list(extensions, "/extension")):
        if extension.get("url") == GIVER:
            parts = {
                part.get("url"): part for part in _list(extension.get("extension"), f"/extension/{index}/extension")
            }
            return {
                "kind": parts.get("kind", {}).get("valueCode", "self"),
                "mandate_until": parts.get("mandate-until", {}).get("valueDate"),
                "minor_opinion": parts.get("minor-opinion", {}).get("valueCode"),
                **{name: parts.get(url, {}).get("valueBoolean") for url, name in _FOUND_OUT.items()},
            }
    return {"kind": "self"}


def _check_narrowed(resource: Mapping[str, Any], provision: Mapping[str, Any]) -> None:
    """Raises ConsentError where a permit says less than what is read of it: to leave that out would permit more.

    Of a deny the same may be left out: it then forbids more.
    """
    for place in _modified(resource, ""):
        raise ConsentError(place, "a consent that something modifies here is not taken: what it says would be lost")
    for name in sorted(set(provision) - _READ_OF_PROVISION):
        raise ConsentError(f"/provision/{name}", "this would narrow the consent and is not read here: leave it out")
    for index, coding in enumerate(_codings(resource.get("policyRule"), "/policyRule")):
        if coding.get("system") == _ACT and coding.get("code") != "OPTIN":
            raise ConsentError(f"/policyRule/coding/{index}", "a policy of opting out permits nothing: say OPTIN")
    for index, verification in enumerate(_list(resource.get("verification"), "/verification")):
        if verification.get("verified") is not True:
            raise ConsentError(f"/verification/{index}/verified", "it was not verified with the person")
    for index, actor in enumerate(_list(provision.get("actor"), "/provision/actor")):
        codings = _codings(actor.get("role"), f"/provision/actor/{index}/role")
        if codings and not any(coding.get("code") == _RECIPIENT["code"] for coding in codings):
            raise ConsentError(f"/provision/actor/{index}/role", "name the recipient as IRCP")


def _modified(value: object, place: str) -> Iterable[str]:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            if name in {"modifierExtension", "implicitRules"}:
                yield f"{place}/{name}"
            yield from _modified(inner, f"{place}/{name}")
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _modified(inner, f"{place}/{index}")


def _codings(concept: object, pointer: str) -> list[Mapping[str, Any]]:
    return [] if concept is None else _list(_object(concept, pointer).get("coding"), f"{pointer}/coding")


def _subject(patient: object, *, is_needed: bool) -> dict[str, Any] | None:
    identifier = patient.get("identifier") if isinstance(patient, Mapping) else None
    if not isinstance(identifier, Mapping):
        if not is_needed:
            return None  # a prohibition is kept, until somebody says whom it is about
        raise ConsentError("/patient/identifier", "name the person by an identifier with its system")
    return {"system": identifier.get("system"), "value": identifier.get("value")}


def _object(value: object, pointer: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ConsentError(pointer, "an object is needed here")
    return value


def _list(value: object, pointer: str) -> list[Mapping[str, Any]]:
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(item, Mapping) for item in value):
        raise ConsentError(pointer, "a list of objects is needed here")
    return value
