"""The forms of consents and refusals, of cases that are put for a decision, and of their answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Annotated, Any, Literal, get_type_hints

from pydantic import Field, create_model

from consent.rules.request import SubjectFacts
from consent.words.consents import ConsentRecord, ErrorReason, WordKind, WordStatus
from consent.words.forms import Row, column_of
from consent.words.givers import Giver, GiverKind, Opinion
from consent.words.targets import Sector, TargetKind
from gateway.consents.endings import TakenBack
from gateway.consents.record import Recorded
from gateway.exchange.advising import MOST_CONSENTS, Advice
from gateway.registry.read.standing import Standing
from gateway.web.forms import Breaking, Code, Codes, Line, Moment, ProblemForm, Shape, Shown, Subject
from gateway.wire.problems import ProblemError

_Long = Annotated[str, Field(max_length=1300, pattern=r"^[^\x00]*$")]
_Short = Annotated[str, Field(max_length=200, pattern=r"^[^\x00]*$")]

Age = Annotated[int, Field(ge=0, le=130)]

#: How the members of a consent are refused; whom it is about is asked alike at every door.
CODES = {"": "consent-invalid", "subject": "invalid-request"}


class _FoundOutForm(Shape):
    mandate_until: date | None = None
    minor_opinion: Opinion | None = None
    able_to_decide: bool | None = Field(None, description="whether the person was found able to decide the matter")
    personal_matters: bool | None = Field(None, description="whether a court lets an adult's guardian decide in them")
    weighty_reason: bool | None = Field(None, description="found for a minor's prohibition in social care")


class GiverForm(_FoundOutForm):
    """Who gave it."""

    kind: GiverKind


class WordGiverForm(_FoundOutForm):
    """Who gives it."""

    kind: GiverKind | None = Field(
        None, description="needed of a permission or consent; a prohibition without it is taken as the person's own"
    )


def giver_of(form: GiverForm) -> Giver:
    """The same for the rest of the house."""
    return Giver.read(form.model_dump(mode="json"))


class EndingForm(Shape):
    """Who takes a prohibition back. What ends a permission or consent needs none of it."""

    subject: Subject | None = Field(None, description="needed of a prohibition: whose it is")
    given_by: GiverForm | None = Field(None, description="needed of a prohibition: by the rules of a permission")
    subject_age: Age | None = Field(None, description="if no identity code tells it")
    subject_unaccompanied: bool | None = None
    reason: ErrorReason | None = Field(None, description="needed of a prohibition that was entered in error, only")

    def said(self) -> TakenBack:
        """Who takes it back, as far as that is said."""
        giver = None if self.given_by is None else giver_of(self.given_by)
        about = None if self.subject is None else self.subject.locator
        return TakenBack(giver, about, self.subject_age, self.subject_unaccompanied is True, self.reason)


class TargetForm(Shape):
    """What a prohibition or permission is aimed at, where that is narrower than all of the person's data."""

    kind: TargetKind
    code: Annotated[str, Field(max_length=300, pattern=r"^[^\x00-\x1f\x7f]*$")] = ""
    sector: Sector | None = None


class EvidenceForm(Shape):
    """The form that was signed: its id, and the digest of its image."""

    form: _Short | None = None
    digest: _Short | None = None


class _Words(Shape):
    kind: WordKind | None = Field(None, description="what was said; a report is what a prohibition may become")
    whole: bool | None = Field(None, description="of a permission: for all data, cut by prohibitions")
    target: TargetForm | _Short | None = Field(None, description="all, if it is left out")
    given_by: WordGiverForm | None = Field(None, description="needed of a permission or consent")
    purposes: Codes | None = None
    recipients: Codes | None = Field(None, description="roles, members or subsystems")
    categories: Codes | None = None
    starts: date | None = None
    ends: date | None = None
    language: str | None = Field(None, min_length=1, max_length=35, description="BCP 47")
    evidence: EvidenceForm | None = None

    def said(self) -> dict[str, Any]:
        """What was said, as the rest of the house reads it."""
        return self.model_dump(mode="json", exclude={"subject"}, exclude_none=True)


class ConsentForm(_Words):
    """A new consent or refusal."""

    subject: Subject
    status: Literal["active", "refused"] | None = Field(None, description="follows from the kind, and else is active")
    subject_age: Age | None = Field(None, description="if no identity code tells it")
    subject_unaccompanied: bool | None = None


class SearchForm(Shape):
    """Whose consents are looked for."""

    subject: Subject


class SupposedForm(_Words):
    """A consent in a case that is only put: of a new one, or one that `GET /v1/consents/{id}` gave."""

    status: WordStatus | None = None
    origin: Literal["upgrade"] | None = None
    id: Line | None = None
    version: int | None = Field(None, ge=1, le=2**31 - 1)
    recorded_by: _Long | None = None
    recorded_at: Moment | None = None
    subject_age: Age | None = None
    subject_unaccompanied: bool | None = None
    ended_by: GiverForm | None = None
    error: ErrorReason | None = None


class PartyForm(Shape):
    """A side of a case: a role, perhaps with the territory that it serves, or a subsystem of the registry."""

    role: Code | None = None
    subsystem: _Long | None = None
    member: _Long | None = None
    municipalities: Annotated[list[Code], Field(max_length=400)] | None = None
    counties: Annotated[list[Code], Field(max_length=400)] | None = None


def _fact(hint: Any) -> Any:
    return (Line | None if hint == str | None else hint, None)


_FACTS: dict[str, Any] = {name: _fact(hint) for name, hint in get_type_hints(SubjectFacts).items()}
FactsForm = create_model(
    "FactsForm", __base__=Shape, __doc__="What is known of the person; what is left out is not known.", **_FACTS
)


class CaseForm(Shape):
    """A case, real or supposed: by its flow, or by its purpose with both sides."""

    flow: Code | None = None
    purpose: Code | None = None
    provider: PartyForm | None = None
    requester: PartyForm | None = None
    categories: Annotated[list[Code], Field(max_length=400)] | None = None
    facts: FactsForm | None = None
    consents: Annotated[list[SupposedForm], Field(max_length=MOST_CONSENTS)] | None = None
    emergency: Breaking | None = None
    way: Literal["query", "handover"] | None = Field(None, description="a query, if it is left out")
    asked: bool | None = Field(None, description="suppose that the recipient has made every standing request it can")
    subject: Subject | None = Field(None, description="whose own consents count too")
    at: Moment | None = Field(None, description="now, if it is left out")

    def stated(self) -> dict[str, Any]:
        """The case as the rest of the house reads it."""
        return self.model_dump(mode="json", exclude={"subject", "at"}, exclude_none=True)


class RecordForm(Shown):
    """One version of a consent or refusal."""

    id: str
    version: int
    status: str
    kind: str
    whole: bool
    target: TargetForm | None
    given_by: GiverForm
    purposes: list[str]
    recipients: list[str]
    categories: list[str]
    starts: date | None
    ends: date | None
    language: str
    evidence: EvidenceForm
    recorded_by: str
    recorded_at: datetime
    origin: Literal["upgrade"] | None = Field(None, description="nobody said anything anew: an upgrade wrote it")
    ended_by: GiverForm | None = Field(None, description="of a prohibition that has ended: who took it back")
    error: ErrorReason | None = Field(None, description="of a prohibition that was entered in error: why")

    @classmethod
    def of(cls, record: ConsentRecord) -> dict[str, Any]:
        """A record as it is shown: without the id of its subject, which is of no use to anyone else."""
        document = record.to_dict()
        del document["subject"]
        return document


class RecordedForm(RecordForm):
    """What was recorded, and how many recipients are being told."""

    notices: int


class UnplacedForm(Shown):
    """A prohibition that is tied to nobody and protects nobody until somebody says whom it is about."""

    id: str
    status: Literal["not-placed"]
    pointer: str | None
    detail: str


class FoundForm(Shown):
    """The consents and refusals of a person that stand."""

    consents: list[RecordForm]


class HistoryForm(Shown):
    """All versions of one consent."""

    versions: list[RecordForm]


class BroughtForm(Shown):
    """One consent of a file; `known` if one that says the same was taken before, though it may have ended since."""

    row: int
    id: str
    known: bool


class WaitingRowForm(Shown):
    """A prohibition of a file that is tied to nobody, and the id under which it waits."""

    row: int
    id: str


class RowFindingForm(Shown):
    """What was wrong with a row."""

    row: int
    code: str
    pointer: str | None
    column: str
    message: str


class ImportedForm(Shown):
    """What became of the rows of a file."""

    read: int
    recorded: int
    known: int
    rejected: int
    consents: list[BroughtForm]
    not_placed: list[WaitingRowForm]
    findings: list[RowFindingForm]


class UnimportedForm(ProblemForm):
    """Why nothing was recorded; if rows were read, what became of them."""

    read: int | None = None
    known: int | None = None
    rejected: int | None = None
    not_placed: list[WaitingRowForm] | None = None
    findings: list[RowFindingForm] | None = None


class RulebookForm(Shown):
    """The rulebook by which it was decided."""

    name: str
    version: str
    status: str
    digest: str


class AdviceForm(Shown):
    """What would be decided for one recipient, and why, in each language."""

    decision: dict[str, Any]
    explanation: dict[str, str]


class AdvisedForm(Shown):
    """What would be decided for a case."""

    rulebook: RulebookForm
    decisions: list[AdviceForm]


@dataclass(frozen=True, slots=True)
class Unplaced:
    """A prohibition that is tied to nobody: the id under which it waits, and why."""

    id: str
    problem: ProblemError


def imported(rows: Sequence[Row], outcomes: Sequence[Recorded | Unplaced | ProblemError]) -> dict[str, Any]:
    """What became of the rows of a file."""
    pairs = list(zip(rows, outcomes, strict=True))
    stood = [(row, outcome) for row, outcome in pairs if isinstance(outcome, Recorded)]
    unplaced = [(row, outcome) for row, outcome in pairs if isinstance(outcome, Unplaced)]
    wrong = [(row, outcome) for row, outcome in pairs if isinstance(outcome, ProblemError)]
    told = [*wrong, *((row, outcome.problem) for row, outcome in unplaced)]
    return {
        "read": len(rows),
        "recorded": sum(not recorded.known for _, recorded in stood),
        "known": sum(recorded.known for _, recorded in stood),
        "rejected": len(wrong),
        "consents": [{"row": row.number, "id": found.record.id, "known": found.known} for row, found in stood],
        "not_placed": [{"row": row.number, "id": waits.id} for row, waits in unplaced],
        "findings": [
            {
                "row": row.number,
                "code": problem.code,
                "pointer": problem.pointer,
                "column": column_of(problem.pointer or ""),
                "message": problem.detail,
            }
            for row, problem in sorted(told, key=lambda pair: pair[0].number)
        ],
    }


def advised(standing: Standing, found: Sequence[Advice]) -> dict[str, Any]:
    """What would be decided for a case."""
    rulebook = standing.rulebook
    return {
        "rulebook": {
            "name": rulebook.name,
            "version": rulebook.version,
            "status": rulebook.status,
            "digest": rulebook.digest,
        },
        "decisions": [{"decision": item.decision.to_dict(), "explanation": item.explanation} for item in found],
    }
