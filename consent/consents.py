"""Consents and refusals: who allowed or forbade what, for which purpose and recipient, and in whose name.

A record is FHIR Consent in its content. It is never changed: each change is a new version of it. It speaks of the
person by an opaque id only. A consent is specific (purposes, recipients and categories are named); a refusal may be
general. Source: GDPR art. 7 and 9(2)(a); HL7 FHIR R4 Consent.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any, Literal, get_args

Status = Literal["active", "refused", "withdrawn", "entered-in-error"]
WordKind = Literal["permission", "consent", "prohibition", "report"]
GiverKind = Literal["self", "guardian", "representative"]
Opinion = Literal["agrees", "disagrees"]

#: Languages that forms offer: those of the people concerned, and the national languages (ISO 639-1, -3). A consent is
#: explained in whatever language the person understands: any well-formed tag is taken.
LANGUAGES = frozenset({"uk", "ru", "ar", "prs", "ps", "so", "ckb", "ti", "fr", "sw", "en", "fi", "sv"})
#: RFC 5646, 2.1: language, extended language, script, region, variants, extensions, private use; or private use alone.
_TAG = re.compile(
    r"(?:(?:[a-z]{2,3}(?:-[a-z]{3}){0,3}|[a-z]{4,8})(?:-[a-z]{4})?(?:-(?:[a-z]{2}|[0-9]{3}))?"
    r"(?:-(?:[a-z0-9]{5,8}|[0-9][a-z0-9]{3}))*(?:-[0-9a-wy-z](?:-[a-z0-9]{2,8})+)*(?:-x(?:-[a-z0-9]{1,8})+)?"
    r"|x(?:-[a-z0-9]{1,8})+)\Z",
    re.IGNORECASE | re.ASCII,
)
_LONGEST_TAG = 35  # RFC 5646, 4.4.1: what no reader may cut off
ADULT = 18
OWN_OPINION = 15


class ConsentError(ValueError):
    """A consent record that cannot be taken: which member of it, and why."""

    def __init__(self, pointer: str, message: str) -> None:
        super().__init__(f"{pointer}: {message}")
        self.pointer = pointer
        self.reason = message


@dataclass(frozen=True, slots=True)
class Giver:
    """Who gave it. A representative has a mandate that ends; a minor of 15 or over is heard besides."""

    kind: GiverKind = "self"
    mandate_until: date | None = None
    minor_opinion: Opinion | None = None


@dataclass(frozen=True, slots=True)
class Evidence:
    """The form that was signed: its id, and the digest of its image."""

    form: str | None = None
    digest: str | None = None


@dataclass(frozen=True, slots=True)
class ConsentRecord:
    """One version of a consent or refusal. Empty purposes or recipients of a refusal mean all of them.

    `kind` is what was said, and stays when it ends; `target` what it is aimed at, where that is narrower than all.
    """

    id: str
    version: int
    status: Status
    subject: str
    given_by: Giver
    purposes: frozenset[str]
    recipients: frozenset[str]
    categories: frozenset[str]
    starts: date | None
    ends: date | None
    language: str
    evidence: Evidence
    recorded_by: str
    recorded_at: datetime
    kind: WordKind = "consent"
    target: str | None = None

    def in_force(self, day: date) -> bool:
        """Whether it stands on a day: the days of its period count, and those of the giver's mandate."""
        if self.starts is not None and day < self.starts:
            return False
        if self.ends is not None and day > self.ends:
            return False
        mandate = self.given_by.mandate_until
        return mandate is None or day <= mandate or self.status == "refused"

    def meant_for(self, purpose: str, role: str, member: str) -> bool:
        """Whether it speaks of this purpose and of this recipient, by role or by member. A consent names both."""
        if self.status != "refused" and not (self.purposes and self.recipients):
            return False
        if self.purposes and purpose not in self.purposes:
            return False
        if not self.recipients or role in self.recipients or member in self.recipients:
            return True
        # A refusal that names one system of an organisation is meant for the organisation: it may only protect.
        return self.status == "refused" and any(named.startswith(f"{member}/") for named in self.recipients)

    def withdrawn(self, at: datetime, by: str) -> ConsentRecord:
        """The next version of it, withdrawn."""
        return self.ended("withdrawn", at, by)

    def ended(self, status: Literal["withdrawn", "entered-in-error"], at: datetime, by: str) -> ConsentRecord:
        """The next version of it, which does not stand any more."""
        return replace(self, version=self.version + 1, status=status, recorded_at=at, recorded_by=by)

    def to_dict(self) -> dict[str, Any]:
        """The record as JSON values."""
        return {
            "id": self.id,
            "version": self.version,
            "status": self.status,
            "kind": self.kind,
            "target": self.target,
            "subject": self.subject,
            "given_by": {
                "kind": self.given_by.kind,
                "mandate_until": _day(self.given_by.mandate_until),
                "minor_opinion": self.given_by.minor_opinion,
            },
            "purposes": sorted(self.purposes),
            "recipients": sorted(self.recipients),
            "categories": sorted(self.categories),
            "starts": _day(self.starts),
            "ends": _day(self.ends),
            "language": self.language,
            "evidence": {"form": self.evidence.form, "digest": self.evidence.digest},
            "recorded_by": self.recorded_by,
            "recorded_at": self.recorded_at.isoformat(),
        }

    def to_wire(self) -> dict[str, Any]:
        """What a recipient is told of a consent that carries a delivery: what was consented to, not who the person
        is.
        """
        document = self.to_dict()
        del document["subject"], document["evidence"]
        return document

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> ConsentRecord:
        """Read what `to_dict` or `to_wire` wrote. Raises ConsentError."""
        return cls._read(
            document,
            id=str(document.get("id", "")),
            version=int(document.get("version", 1)),
            subject=str(document.get("subject", "")),
            recorded_by=str(document.get("recorded_by", "")),
            recorded_at=_moment(document.get("recorded_at")),
        )

    @classmethod
    def from_form(
        cls,
        document: Mapping[str, Any],
        *,
        id: str,  # noqa: A002
        subject: str,
        recorded_by: str,
        recorded_at: datetime,
        born: date | None = None,
    ) -> ConsentRecord:
        """Read a new consent or refusal as a client records it. Raises ConsentError, which names the member.

        `born` is the person's day of birth if it is known; else the form may say `subject_age`. Whoever speaks for a
        minor does so until the day before the minor turns 18, whatever the mandate says.
        """
        record = cls._read(
            document, id=id, version=1, subject=subject, recorded_by=recorded_by, recorded_at=recorded_at
        )
        if record.status not in {"active", "refused"}:
            raise ConsentError("/status", "a new record is active or refused")
        if record.status == "active" and not (record.purposes and record.recipients):
            raise ConsentError("/purposes", "a consent names its purposes and its recipients")
        age = _years(born, recorded_at.date()) if born is not None else document.get("subject_age")
        if age is not None and (not isinstance(age, int) or isinstance(age, bool) or not 0 <= age <= 130):
            raise ConsentError("/subject_age", "write the age in years")
        _check_giver(record, age, document.get("subject_unaccompanied"))
        if born is None or age is None or age >= ADULT or record.given_by.kind == "self":
            return record
        last = _birthday(born, ADULT) - timedelta(days=1)
        until = min(record.given_by.mandate_until or last, last)
        return replace(record, given_by=replace(record.given_by, mandate_until=until))

    @classmethod
    def _read(
        cls,
        document: Mapping[str, Any],
        *,
        id: str,  # noqa: A002
        version: int,
        subject: str,
        recorded_by: str,
        recorded_at: datetime,
    ) -> ConsentRecord:
        status = document.get("status", "active")
        if status not in get_args(Status):
            raise ConsentError("/status", f"use one of {', '.join(get_args(Status))}")
        giver = document.get("given_by") or {}
        if not isinstance(giver, Mapping):
            raise ConsentError("/given_by", 'write {"kind": "self"}')
        kind, opinion = giver.get("kind", "self"), giver.get("minor_opinion")
        if kind not in get_args(GiverKind):
            raise ConsentError("/given_by/kind", f"use one of {', '.join(get_args(GiverKind))}")
        if opinion is not None and opinion not in get_args(Opinion):
            raise ConsentError("/given_by/minor_opinion", f"use one of {', '.join(get_args(Opinion))}")
        mandate = _date(giver.get("mandate_until"), "/given_by/mandate_until")
        if kind == "representative" and mandate is None:
            raise ConsentError("/given_by/mandate_until", "a representative's mandate has an end")
        categories = _codes(document.get("categories"), "/categories")
        if not categories:
            raise ConsentError("/categories", "name at least one data category")
        language = document.get("language", "fi")
        if not isinstance(language, str) or len(language) > _LONGEST_TAG or _TAG.match(language) is None:
            raise ConsentError("/language", "write a language tag (BCP 47), such as uk, prs or zh-Hant-TW")
        evidence = document.get("evidence") or {}
        if not isinstance(evidence, Mapping):
            raise ConsentError("/evidence", 'write {"form": …, "digest": …}')
        starts, ends = _date(document.get("starts"), "/starts"), _date(document.get("ends"), "/ends")
        if starts is not None and ends is not None and ends < starts:
            raise ConsentError("/ends", "the period ends before it starts")
        return cls(
            id=id,
            version=version,
            status=status,
            subject=subject,
            given_by=Giver(kind, mandate, opinion),
            purposes=_codes(document.get("purposes"), "/purposes"),
            recipients=_codes(document.get("recipients"), "/recipients"),
            categories=categories,
            starts=starts,
            ends=ends,
            language=language,
            evidence=Evidence(_short(evidence.get("form")), _short(evidence.get("digest"))),
            recorded_by=recorded_by,
            recorded_at=recorded_at,
            kind=_kind(document, status),
            target=_short(document.get("target")),
        )


def _kind(document: Mapping[str, Any], status: Status) -> WordKind:
    """What was said: a record of a former version tells it by its status only."""
    kind: WordKind | None = document.get("kind")
    if kind is not None and kind not in get_args(WordKind):
        raise ConsentError("/kind", f"use one of {', '.join(get_args(WordKind))}")
    return kind or ("prohibition" if status == "refused" else "consent")


def newest(records: Iterable[ConsentRecord]) -> tuple[ConsentRecord, ...]:
    """Of each record its newest version, in the order given: an older one says nothing any more.

    Of two that claim the same version, the one that gives nothing stands.
    """
    found: dict[str, ConsentRecord] = {}
    for record in records:
        known = found.get(record.id)
        if known is None or (record.version, record.status != "active") > (known.version, known.status != "active"):
            found[record.id] = record
    return tuple(found.values())


def _check_giver(record: ConsentRecord, age: int | None, unaccompanied: object) -> None:
    """Who may consent for whom. A refusal is taken from anybody: it can only protect."""
    kind = record.given_by.kind
    if record.status != "active":
        return
    if age is None or age >= ADULT:
        if kind == "guardian" and age is not None and record.given_by.mandate_until is None:
            raise ConsentError("/given_by/mandate_until", "the guardian of an adult has a mandate with an end")
        return
    if kind == "self":
        raise ConsentError("/given_by", "a minor's consent is given by the guardian or the representative")
    if unaccompanied is True and kind != "representative":
        raise ConsentError("/given_by/kind", "for an unaccompanied minor the representative consents")
    if age >= OWN_OPINION and record.given_by.minor_opinion is None:
        raise ConsentError("/given_by/minor_opinion", "a minor of 15 or over is heard: agrees or disagrees")


def _years(born: date, on: date) -> int:
    return on.year - born.year - ((on.month, on.day) < (born.month, born.day))


def _birthday(born: date, age: int) -> date:
    try:
        return born.replace(year=born.year + age)
    except ValueError:  # born on the 29th of February
        return date(born.year + age, 3, 1)


def _codes(value: object, pointer: str) -> frozenset[str]:
    if value is None:
        return frozenset()
    if not isinstance(value, Iterable) or isinstance(value, str | bytes | Mapping):
        raise ConsentError(pointer, "write a list of codes")
    codes = list(value)
    if len(codes) > 128 or not all(isinstance(code, str) and 0 < len(code) <= 300 for code in codes):
        raise ConsentError(pointer, "write a list of at most 128 codes")
    return frozenset(codes)


def _short(value: object) -> str | None:
    return value[:200] if isinstance(value, str) else None


def _date(value: object, pointer: str) -> date | None:
    if value is None or isinstance(value, date):
        return value
    try:
        return date.fromisoformat(str(value))
    except ValueError:
        raise ConsentError(pointer, "write a date as YYYY-MM-DD") from None


def _moment(value: object) -> datetime:
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError:
        raise ConsentError("/recorded_at", "write a time in ISO 8601 with its zone") from None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _day(value: date | None) -> str | None:
    return value.isoformat() if value is not None else None
