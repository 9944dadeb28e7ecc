"""A person's words: what they permit, consent to and forbid, for which purpose and recipient, and who said it.

A record is FHIR Consent in its content. It is never changed: each change is a new version of it. It speaks of the
person by an opaque id only. Each kind has a life of its own:

* a **permission** and a **prohibition** stand until they are taken back. A permission names its data, or is whole and
  cut by prohibitions; a prohibition means all that it does not narrow;
* a **consent** is for what its own words name: purposes, recipients, categories, and an end if it has one;
* a **report** is a prohibition that somebody told who may not speak for the person. It holds what rests on words for
  five working days, in which the person is asked, and is then confirmed or lapses.

Source: GDPR art. 7 and 9(2)(a); Act 703/2023, sections 51, 53-55, 58 and 59; HL7 FHIR R4 Consent.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Any, Final, Literal
from zoneinfo import ZoneInfo

from consent.words.givers import ADULT, Giver, GiverKind, Person, check_lifts, check_permits, is_own, years
from consent.words.reading import ConsentError, code_of, codes_of, day_of, iso, language_of, moment_of, text_of
from consent.words.targets import Target
from consent.words.workdays import after_working_days

REPORT_DAYS: Final = 5
"""For how many working days a report holds: until then the person can be asked."""
_HELSINKI: Final = ZoneInfo("Europe/Helsinki")

#: Languages that forms offer: those of the people concerned, and the national languages (ISO 639-1, -3). A consent is
#: explained in whatever language the person understands: any well-formed tag is taken.
LANGUAGES = frozenset({"uk", "ru", "ar", "prs", "ps", "so", "ckb", "ti", "fr", "sw", "en", "fi", "sv"})


class WordKind(StrEnum):
    """What was said."""

    PERMISSION = "permission"
    CONSENT = "consent"
    PROHIBITION = "prohibition"
    REPORT = "report"


class WordStatus(StrEnum):
    """Whether it stands: `active` permits, `refused` forbids, the others have ended."""

    ACTIVE = "active"
    REFUSED = "refused"
    WITHDRAWN = "withdrawn"
    ENTERED_IN_ERROR = "entered-in-error"
    LAPSED = "lapsed"  # of a report: nobody confirmed it


class ErrorReason(StrEnum):
    """Why a prohibition should never have been recorded."""

    WRONG_PERSON = "wrong-person"
    NEVER_SAID = "never-said"
    OTHER_WORDS = "other-words"  # something else was said
    RECORDED_TWICE = "recorded-twice"


Ending = Literal[WordStatus.WITHDRAWN, WordStatus.ENTERED_IN_ERROR, WordStatus.LAPSED]
FORBIDDING: Final = frozenset({WordKind.PROHIBITION, WordKind.REPORT})
_STANDING: Final = frozenset({WordStatus.ACTIVE, WordStatus.REFUSED})


@dataclass(frozen=True, slots=True)
class Evidence:
    """The form that was signed: its id, and the digest of its image."""

    form: str | None = None
    digest: str | None = None


@dataclass(frozen=True, slots=True)
class ConsentRecord:
    """One version of a word. What a prohibition or permission does not name, it means all of.

    `kind` is what was said, and stays when it ends; `target` what it is aimed at, where that is narrower than all;
    `origin` says that an upgrade wrote the version, and that nobody said anything anew. `given_by` is who said it, also
    after its end; `ended_by` who took it back and `error` why it was entered in error, where that was told.
    """

    id: str
    version: int
    status: WordStatus
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
    kind: WordKind = WordKind.CONSENT
    target: Target | None = None
    origin: Literal["upgrade"] | None = None
    ended_by: Giver | None = None
    error: ErrorReason | None = None

    def __post_init__(self) -> None:
        """A word that forbids is no consent, whatever the record of a former version left out."""
        if self.status == WordStatus.REFUSED and self.kind not in FORBIDDING:
            object.__setattr__(self, "kind", WordKind.PROHIBITION)

    @property
    def carries(self) -> bool:
        """Whether it is a permission or consent that stands."""
        return self.status == WordStatus.ACTIVE

    @property
    def forbids(self) -> bool:
        """Whether it is a prohibition or report that stands."""
        return self.status == WordStatus.REFUSED

    @property
    def stands(self) -> bool:
        """Whether it has not been ended; `in_force` says whether it stands on a day."""
        return self.status in _STANDING

    @property
    def is_whole(self) -> bool:
        """Whether it is a permission for all data, cut by prohibitions only."""
        return self.kind == WordKind.PERMISSION and not self.categories

    @property
    def names_all(self) -> bool:
        """Whether it is about every category: it names none, and may do so."""
        return not self.categories and self.kind != WordKind.CONSENT

    def in_force(self, day: date) -> bool:
        """Whether it stands on a day: the days of its period count, and those of the giver's mandate."""
        if self.starts is not None and day < self.starts:
            return False
        if self.ends is not None and day > self.ends:
            return False
        mandate = self.given_by.mandate_until
        return mandate is None or day <= mandate or self.forbids

    def meant_for(self, purpose: str, role: str, member: str) -> bool:
        """Whether it speaks of this purpose and of this recipient, by role or by member. A consent names both."""
        if self.kind == WordKind.CONSENT and not self.forbids and not (self.purposes and self.recipients):
            return False
        if self.purposes and purpose not in self.purposes:
            return False
        if not self.recipients or role in self.recipients or member in self.recipients:
            return True
        # A refusal that names one system of an organisation is meant for the organisation: it may only protect.
        return self.forbids and any(named.startswith(f"{member}/") for named in self.recipients)

    def aimed_at(self, holder: str, role: str) -> bool:
        """Whether it is about what this member holds, and who hears it in this role."""
        if self.target is None:
            return True
        # What cannot be told apart in a record is forbidden with the rest, and is not permitted with it.
        return self.target.is_aimed_at(holder, role) if self.forbids else self.target.is_all_of(holder)

    def may_carry(self, ages: Collection[int], is_unaccompanied: bool | None, day: date) -> bool:
        """Whether whoever gave it may give it for a person of each of these ages on this day. What is not known stops
        nothing.

        A minor who has come of age speaks for themselves from then on.
        """
        since = _full_years(self.recorded_at.astimezone(_HELSINKI).date(), day)
        looked_at = {max(age - since, 0) for age in ages}
        if self.given_by.kind is not GiverKind.SELF:
            looked_at |= {age for age in ages if age >= ADULT}
        try:
            for known in looked_at:
                person = Person(known, is_unaccompanied, day)
                check_permits(self.given_by, person, is_permission=self.kind is WordKind.PERMISSION)
        except ConsentError:
            return False
        return True

    def unless_lifted_in_vain(self, ages: Collection[int], is_unaccompanied: bool | None, day: date) -> ConsentRecord:
        """The same; a prohibition as it stood, if who took it back could not, by what is known now of the person.

        Under a number that tells no age, the age was only said when it was taken back. What is not known changes
        nothing; where an age leaves open which of two it was then, the one counts that let it end. Of several ages each
        must have let it end.
        """
        if self.kind not in FORBIDDING or self.stands or self.ended_by is None:
            return self
        if all(self._was_lifted(self.ended_by, age, is_unaccompanied, day) for age in ages):
            return self
        return replace(self, status=WordStatus.REFUSED)

    def _was_lifted(self, by: Giver, age: int, is_unaccompanied: bool | None, day: date) -> bool:
        ending = self.recorded_at.astimezone(_HELSINKI).date()
        then = max(age - _full_years(ending, day), 0)
        for known in {then, max(then - 1, 0)} if ending < day else {then}:
            try:
                check_lifts(by, self.given_by, self.target, Person(known, is_unaccompanied, ending))
            except ConsentError:
                continue
            return True
        return False

    def holds(self, word: ConsentRecord) -> bool:
        """Whether a report holds what a permission or consent would carry: never the person's own permission."""
        return word.kind != WordKind.PERMISSION or word.given_by.kind != GiverKind.SELF

    def ended(self, status: Ending, at: datetime, by: str) -> ConsentRecord:
        """The next version of it, which does not stand any more."""
        return replace(
            self, version=self.version + 1, status=WordStatus(status), recorded_at=at, recorded_by=by, origin=None
        )

    def taken_back_by(self, giver: Giver | None, error: ErrorReason | None = None) -> ConsentRecord:
        """The same version, which has ended, with who said so, as far as that was told."""
        return replace(self, ended_by=giver, error=error)

    def confirmed(self, giver: Giver, language: str, at: datetime, by: str) -> ConsentRecord:
        """The next version of a report: the person's own prohibition, which stands until it is taken back."""
        return replace(
            self,
            version=self.version + 1,
            kind=WordKind.PROHIBITION,
            given_by=giver,
            language=language,
            ends=None,
            recorded_at=at,
            recorded_by=by,
            origin=None,
        )

    def to_dict(self) -> dict[str, Any]:
        """The record as JSON values."""
        document = {
            "id": self.id,
            "version": self.version,
            "status": self.status,
            "kind": self.kind,
            "whole": self.is_whole,
            "target": None if self.target is None else self.target.to_dict(),
            "subject": self.subject,
            "given_by": self.given_by.to_dict(),
            "purposes": sorted(self.purposes),
            "recipients": sorted(self.recipients),
            "categories": sorted(self.categories),
            "starts": iso(self.starts),
            "ends": iso(self.ends),
            "language": self.language,
            "evidence": {"form": self.evidence.form, "digest": self.evidence.digest},
            "recorded_by": self.recorded_by,
            "recorded_at": self.recorded_at.isoformat(),
        }
        # Former versions have none of these, and keep the form, and so the digest, that they had.
        if self.origin is not None:
            document["origin"] = self.origin
        if self.ended_by is not None:
            document["ended_by"] = self.ended_by.to_dict()
        if self.error is not None:
            document["error"] = self.error.value
        return document

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
            Stamp(
                str(document.get("id", "")),
                str(document.get("subject", "")),
                str(document.get("recorded_by", "")),
                moment_of(document.get("recorded_at"), "/recorded_at"),
                int(document.get("version", 1)),
            ),
        )

    @classmethod
    def from_form(cls, document: Mapping[str, Any], stamp: Stamp, born: date | None = None) -> ConsentRecord:
        """Read a new word as a client records it. Raises ConsentError, which names the member.

        `born` is the person's day of birth if it is known; else the form may say `subject_age`. A prohibition is taken
        from anybody; from whoever may not speak for the person it becomes a report.
        """
        record = cls._read(document, stamp)
        day = stamp.recorded_at.astimezone(_HELSINKI).date()
        if not record.stands or document.get("kind") == WordKind.REPORT:
            raise ConsentError("/status", "a new record is active or refused")
        if document.get("kind") not in (None, record.kind):
            raise ConsentError("/status", "a prohibition is refused, a permission or consent active; or leave it out")
        age = document.get("subject_age")
        if age is not None and (not isinstance(age, int) or isinstance(age, bool) or not 0 <= age <= 130):
            raise ConsentError("/subject_age", "write the age in years")
        person = person_on(day, born, age, is_unaccompanied=document.get("subject_unaccompanied") is True)
        if record.forbids:
            own = is_own(record.given_by, person, record.target)
            return replace(
                record,
                kind=WordKind.PROHIBITION if own else WordKind.REPORT,
                # It stands from now until it is taken back, whatever period the form names.
                starts=None if record.starts is None or record.starts > day else record.starts,
                ends=None if own else after_working_days(day, REPORT_DAYS),
            )
        _check_shape(record, document, day)
        check_permits(record.given_by, person, is_permission=record.kind is WordKind.PERMISSION)
        return record if born is None else _until_adult(record, born, person)

    @classmethod
    def _read(cls, document: Mapping[str, Any], stamp: Stamp) -> ConsentRecord:
        status, kind = _said(document)
        categories = codes_of(document.get("categories"), "/categories")
        if not categories and kind not in FORBIDDING and not (kind is WordKind.PERMISSION and document.get("whole")):
            raise ConsentError("/categories", "name at least one data category")
        evidence = document.get("evidence") or {}
        if not isinstance(evidence, Mapping):
            raise ConsentError("/evidence", 'write {"form": …, "digest": …}')
        starts, ends = day_of(document.get("starts"), "/starts"), day_of(document.get("ends"), "/ends")
        if starts is not None and ends is not None and ends < starts:
            raise ConsentError("/ends", "the period ends before it starts")
        return cls(
            id=stamp.id,
            version=stamp.version,
            status=status,
            subject=stamp.subject,
            given_by=Giver.of_word(document.get("given_by"), is_forbidding=kind in FORBIDDING),
            purposes=codes_of(document.get("purposes"), "/purposes"),
            recipients=codes_of(document.get("recipients"), "/recipients"),
            categories=categories,
            starts=starts,
            ends=ends,
            language=language_of(document.get("language", "fi"), "/language"),
            evidence=Evidence(text_of(evidence.get("form")), text_of(evidence.get("digest"))),
            recorded_by=stamp.recorded_by,
            recorded_at=stamp.recorded_at,
            kind=kind,
            target=None if kind is WordKind.CONSENT else Target.read(document.get("target")),
            origin="upgrade" if document.get("origin") == "upgrade" else None,
            ended_by=None if document.get("ended_by") is None else Giver.read(document["ended_by"]),
            error=None if document.get("error") is None else code_of(ErrorReason, document["error"], "/error"),
        )


@dataclass(frozen=True, slots=True)
class Stamp:
    """What a record is filed by: its id, whose it is, who recorded it and when."""

    id: str
    subject: str
    recorded_by: str
    recorded_at: datetime
    version: int = 1


def _said(document: Mapping[str, Any]) -> tuple[WordStatus, WordKind]:
    """What was said and whether it stands. Each tells the other where it is left out, as former versions did."""
    named = document.get("kind")
    kind = None if named is None else code_of(WordKind, named, "/kind")
    stated = document.get("status")
    if stated is None:
        return (WordStatus.REFUSED if kind in FORBIDDING else WordStatus.ACTIVE), kind or WordKind.CONSENT
    status = code_of(WordStatus, stated, "/status")
    if kind is None:
        return status, WordKind.PROHIBITION if status is WordStatus.REFUSED else WordKind.CONSENT
    if status in _STANDING and (status is WordStatus.REFUSED) != (kind in FORBIDDING):
        # By former versions a record could say both: by its status it was decided on.
        kind = WordKind.PROHIBITION if status is WordStatus.REFUSED else WordKind.CONSENT
    return status, kind


def _check_shape(record: ConsentRecord, document: Mapping[str, Any], day: date) -> None:
    """What a permission or consent has to name. Raises ConsentError."""
    mandate = record.given_by.mandate_until
    if mandate is not None and mandate < day:
        raise ConsentError("/given_by/mandate_until", "the mandate is over: only who may speak today permits anything")
    if record.kind is WordKind.CONSENT:
        if not (record.purposes and record.recipients):
            raise ConsentError("/purposes", "a consent names its purposes and its recipients")
        if record.ends is not None and record.ends < day:
            raise ConsentError("/ends", "it has ended already: name a last day that is today or later, or leave it out")
        return
    if record.ends is not None:
        raise ConsentError("/ends", "a permission stands until it is taken back: leave the end out")
    if document.get("whole") and record.categories:
        raise ConsentError("/categories", "a whole permission names no category: a prohibition cuts it")


def _until_adult(record: ConsentRecord, born: date, person: Person) -> ConsentRecord:
    """Whoever speaks for a minor does so until the day before the minor turns 18, whatever the mandate says."""
    giver = record.given_by
    if person.is_adult or giver.kind is GiverKind.SELF:
        return record
    last = _birthday(born, ADULT) - timedelta(days=1)
    return replace(record, given_by=replace(giver, mandate_until=min(giver.mandate_until or last, last)))


def newest(records: Iterable[ConsentRecord]) -> tuple[ConsentRecord, ...]:
    """Of each record its newest version, in the order given: an older one says nothing any more.

    Of two that claim the same version, the one that gives nothing stands.
    """
    found: dict[str, ConsentRecord] = {}
    for record in records:
        known = found.get(record.id)
        if known is None or (record.version, not record.carries) > (known.version, not known.carries):
            found[record.id] = record
    return tuple(found.values())


def person_on(day: date, born: date | None, age: int | None, *, is_unaccompanied: bool) -> Person:
    """What is known of a person on a day: a day of birth tells the age, whatever else is said of it."""
    return Person(age if born is None else years(born, day), is_unaccompanied, day)


def _full_years(since: date, on: date) -> int:
    return max(0, years(since, on))


def _birthday(born: date, age: int) -> date:
    try:
        return born.replace(year=born.year + age)
    except ValueError:  # born on the 29th of February
        return date(born.year + age, 3, 1)
