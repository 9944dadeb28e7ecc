"""Consents and refusals as HL7 FHIR R4 `Consent`, out and in.

Out gives a resource that any FHIR server takes; in reads what such a server sends, as far as it says what a consent
here says, and refuses the rest with the place of it. Words that FHIR has no codes for (roles, purposes, categories) are
codings of this product's own systems. Source: HL7 FHIR R4 (4.0.1), Consent.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from consent.words.consents import ConsentRecord, WordKind
from consent.words.givers import Giver, GiverKind
from consent.words.reading import ConsentError
from consent.words.resource import (
    ACT,
    DIGEST,
    DOCUMENT,
    FOUND_OUT,
    GIVER,
    KIND,
    RECIPIENT,
    SCOPE,
    TARGET,
    WHOLE,
    check_permit,
    giver_of_permit,
    is_patient,
    list_of,
    object_of,
    stated_giver,
)

PURPOSE = "urn:yhdyspinta:purpose"
CATEGORY = "urn:yhdyspinta:category"
ROLE = "urn:yhdyspinta:role"
MEMBER = "urn:yhdyspinta:member"
SUBSYSTEM = "urn:yhdyspinta:subsystem"
ENDED_BY = "urn:yhdyspinta:extension:word-ended-by"
ERROR = "urn:yhdyspinta:extension:word-error"
ENDING = "urn:yhdyspinta:extension:word-ending"

_STATUS = {
    "active": ("active", "permit"),
    "refused": ("active", "deny"),
    "withdrawn": ("inactive", "permit"),
    "entered-in-error": ("entered-in-error", "permit"),
    "lapsed": ("inactive", "deny"),
}
_IN_EXTENSIONS = frozenset({"given_by", "kind", "target", "whole"})
_PLACES = {
    "/subject": "/patient/identifier",
    "/purposes": "/provision/purpose",
    "/recipients": "/provision/actor",
    "/categories": "/provision/class",
    "/starts": "/provision/period/start",
    "/ends": "/provision/period/end",
    "/evidence/form": "/sourceAttachment/title",
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
        "scope": {"coding": [SCOPE]},
        "category": [{"coding": [DOCUMENT]}],
        "dateTime": record.recorded_at.isoformat(timespec="seconds"),
        "organization": [{"identifier": {"system": SUBSYSTEM, "value": record.recorded_by}}],
        "policyRule": {"coding": [{"system": ACT, "code": "OPTOUT" if kind == "deny" else "OPTIN"}]},
        "provision": _provision(record, kind),
    }
    if subject is not None:
        resource["patient"] = {"identifier": {"system": subject[0], "value": subject[1]}}
        if record.given_by.kind is GiverKind.SELF:
            resource["performer"] = [resource["patient"]]
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


def form_of(resource: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    """A FHIR Consent as the form that `ConsentRecord.from_form` reads; its `subject` names the person.

    Raises ConsentError with the place in the resource.
    """
    if resource.get("resourceType") != "Consent":
        raise ConsentError("/resourceType", "send a FHIR R4 Consent")
    provision = object_of(resource.get("provision"), "/provision")
    if provision.get("provision"):
        raise ConsentError("/provision/provision", "exceptions within a consent are not taken: send a record for each")
    status = _status(resource, provision)
    if status == "active":
        check_permit(resource, now)
    subject = _subject(resource.get("patient"), is_needed=status != "refused")
    form: dict[str, Any] = {
        "status": status,
        "purposes": list(_codes(provision.get("purpose"), PURPOSE, "/provision/purpose")),
        "recipients": list(_recipients(provision.get("actor"))),
        "categories": list(_codes(provision.get("class"), CATEGORY, "/provision/class")),
        "language": resource.get("language", "fi"),
        "given_by": giver_of_permit(resource) if status == "active" else _forbidding_giver(resource),
        "subject": subject,
    }
    period = object_of(provision.get("period", {}), "/provision/period")
    for ours, theirs in (("starts", "start"), ("ends", "end")):
        if period.get(theirs) is not None:
            form[ours] = str(period[theirs])[:10]
    attachment = object_of(resource.get("sourceAttachment", {}), "/sourceAttachment")
    extensions = _once(resource.get("extension"))
    form["evidence"] = {"form": attachment.get("title"), "digest": extensions.get(DIGEST, {}).get("valueString")}
    for name, url, value in (("kind", KIND, "valueCode"), ("target", TARGET, "valueString")):
        if url in extensions:
            form[name] = extensions[url].get(value)
    if form["status"] == "refused":
        # What is refused or rejected is a prohibition; whether it is a report, is found out anew from who gave it.
        form.pop("kind", None)
    form["whole"] = extensions.get(WHOLE, {}).get("valueBoolean") is True
    return form


def place_of(pointer: str) -> str:
    """Where in a FHIR Consent a member of the form stands."""
    if _IN_EXTENSIONS.intersection(pointer.split("/")[1:2]):
        return "/extension"
    for ours, theirs in _PLACES.items():
        if pointer == ours or pointer.startswith(f"{ours}/"):
            return theirs + pointer.removeprefix(ours)
    return pointer


def _giver(given: Giver) -> dict[str, Any]:
    parts: list[dict[str, Any]] = [{"url": "kind", "valueCode": given.kind.value}]
    if given.mandate_until is not None:
        parts.append({"url": "mandate-until", "valueDate": given.mandate_until.isoformat()})
    if given.minor_opinion is not None:
        parts.append({"url": "minor-opinion", "valueCode": given.minor_opinion.value})
    for url, name in FOUND_OUT.items():
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
                "role": {"coding": [RECIPIENT]},
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
        given = (extension for extension in list_of(resource.get("extension"), "/extension"))
        ending = next((extension.get("valueCode") for extension in given if extension.get("url") == ENDING), "lapsed")
        return "withdrawn" if ending == "withdrawn" else "lapsed"
    for ours, (theirs, type_) in _STATUS.items():
        if status == theirs and kind == type_:
            return ours
    if status in {"active", "inactive"} and kind not in {"permit", "deny"}:
        raise ConsentError("/provision/type", "say permit or deny")
    raise ConsentError("/status", "use active or rejected; drafts and proposals are not consents")


def _recipients(actors: object) -> Iterable[str]:
    for index, actor in enumerate(list_of(actors, "/provision/actor")):
        reference = actor.get("reference")
        identifier = reference.get("identifier") if isinstance(reference, Mapping) else None
        if not isinstance(identifier, Mapping) or identifier.get("system") not in {ROLE, MEMBER}:
            raise ConsentError(
                f"/provision/actor/{index}/reference/identifier", f"name the recipient in {ROLE} or {MEMBER}"
            )
        yield str(identifier.get("value", ""))


def _codes(codings: object, system: str, pointer: str) -> Iterable[str]:
    for index, coding in enumerate(list_of(codings, pointer)):
        if coding.get("system") != system or not isinstance(coding.get("code"), str):
            raise ConsentError(f"{pointer}/{index}", f"use a code of {system}")
        yield coding["code"]


def _forbidding_giver(resource: Mapping[str, Any]) -> dict[str, Any] | None:
    """Who forbids, as far as that is said: what is not clear holds as the person's own word."""
    try:
        stated = stated_giver(resource.get("extension"))
        performers = list_of(resource.get("performer"), "/performer")
    except ConsentError:
        return None
    patient = resource.get("patient")
    if stated is None and performers and isinstance(patient, Mapping):
        is_own = any(is_patient(performer, patient) for performer in performers)
        return {"kind": (GiverKind.SELF if is_own else GiverKind.OTHER).value}
    return stated


def _once(extensions: object) -> dict[str, Mapping[str, Any]]:
    """Extensions by name. One that stands twice says nothing: a prohibition is not narrowed by the last of them."""
    listed = list_of(extensions, "/extension")
    names = [str(extension.get("url")) for extension in listed]
    return {name: extension for name, extension in zip(names, listed, strict=True) if names.count(name) == 1}


def _subject(patient: object, *, is_needed: bool) -> dict[str, Any] | None:
    identifier = patient.get("identifier") if isinstance(patient, Mapping) else None
    if not isinstance(identifier, Mapping):
        if not is_needed:
            return None  # a prohibition is kept, until somebody says whom it is about
        raise ConsentError("/patient/identifier", "name the person by an identifier with its system")
    return {"system": identifier.get("system"), "value": identifier.get("value")}
