"""What the officer's interface answers, as its description states it; the answers' `to_dict` are held against it."""

from __future__ import annotations

from typing import Any, NotRequired

from typing_extensions import TypedDict  # pydantic reads this one on every Python that we run on

Texts = list[str]


class AgentsShape(TypedDict, total=False):
    client: str
    node: str
    recipient: str
    user: str


class CategoriesShape(TypedDict, total=False):
    permitted: Texts
    withheld: Texts


class EntryShape(TypedDict):
    id: str
    recorded: str
    type: str
    outcome: str
    agents: NotRequired[AgentsShape]
    categories: NotRequired[CategoriesShape]
    bases: NotRequired[Texts]
    consents: NotRequired[list[tuple[str, int]]]
    detail: NotRequired[dict[str, str | int | bool]]
    case: NotRequired[str]
    message_id: NotRequired[str]
    previous: NotRequired[str]
    purpose: NotRequired[str]
    reason: NotRequired[str]
    request_digest: NotRequired[str]
    response_digest: NotRequired[str]
    rulebook: NotRequired[str]
    service: NotRequired[str]
    source: NotRequired[str]
    subject: NotRequired[str]
    trace_id: NotRequired[str]


class FoundShape(TypedDict):
    index: int
    entry: EntryShape


class DisclosedShape(FoundShape):
    carried: Texts


class CourseShape(TypedDict):
    found: list[FoundShape]


class PageShape(CourseShape):
    next: str | None


class ConsentShape(TypedDict):
    consent: str
    history: list[FoundShape]
    disclosed: list[DisclosedShape]
    more: bool


class ConsentsShape(TypedDict):
    consents: list[ConsentShape]


class PairShape(TypedDict):
    withdrawal: FoundShape
    release: FoundShape


class LateShape(TypedDict):
    holds: bool
    left: list[PairShape]


class PatternShape(TypedDict):
    rule: str
    actor: str
    first: str
    last: str
    count: int
    threshold: int
    entries: Texts
    explanation: str


class PatternsShape(TypedDict):
    unusual: list[PatternShape]


class FlowShape(TypedDict):
    source: str | None
    recipient: str | None
    released: int
    refused: int
    fruitless: int


class FlowsShape(TypedDict):
    flows: list[FlowShape]


class DayShape(TypedDict):
    date: str
    count: int


class DaysShape(TypedDict):
    days: list[DayShape]


class ReviewShape(TypedDict):
    id: str
    kind: str
    entry: str
    opened: str
    rule: str | None
    explanation: str
    signed_off: str | None
    signed_by: str | None
    verdict: str | None
    remark: str | None


class QueueShape(TypedDict):
    found: list[FoundShape]
    patterns: list[ReviewShape]


class FindingShape(TypedDict):
    kind: str
    index: int
    through: int
    entry: str | None
    explanation: str


class CheckShape(TypedDict):
    sound: bool
    origin: str
    size: int
    since: int
    checked: int
    anchors: int
    root: str
    findings: list[FindingShape]


class CosignatureShape(TypedDict):
    witness: str
    timestamp: int
    size: int


class ProofShape(TypedDict):
    index: int
    position: int
    entry: EntryShape
    canonical: str
    proof: Texts
    checkpoint: str
    since: str | None
    cosignatures: list[CosignatureShape]


class CheckpointShape(TypedDict):
    size: int
    root: str
    note: str


class UnchangedShape(TypedDict):
    unchanged: bool
    problem: str | None
    earlier: CheckpointShape
    now: CheckpointShape
    proof: Texts


class LineShape(TypedDict):
    at: str
    recipient: str
    source: str
    purpose: str
    categories: Texts
    bases: Texts
    result: str


class WordShape(TypedDict):
    at: str
    kind: str
    purpose: str
    withdrawn: bool


class ExtractShape(TypedDict):
    language: str
    controller: str
    start: str | None
    end: str
    made: str
    disclosures: list[LineShape]
    fruitless: list[LineShape]
    consents: list[WordShape]
    for_officer: bool
    hidden: int


class ControllerShape(TypedDict):
    name: str
    contact: str
    officer: str
    measures: Texts


class ActivityShape(TypedDict):
    purpose: str
    title: str
    bases: Texts
    categories: Texts
    subjects: str
    retention: str
    transfers: str


class RecipientShape(TypedDict):
    name: str
    released: int
    refused: int
    fruitless: int


class ProcessingLineShape(TypedDict):
    activity: ActivityShape
    categories: Texts
    recipients: list[RecipientShape]


class ProcessingShape(TypedDict):
    language: str
    year: int
    made: str
    controller: ControllerShape
    lines: list[ProcessingLineShape]


class DifferencesShape(TypedDict):
    points: int
    changes: list[dict[str, Any]]
    more: bool
    prohibitions: list[dict[str, str]]


class ChangeShape(TypedDict):
    old: str
    new: str
    recorded: int
    forgotten: int
    cut: bool
    otherwise: int
    by_purpose: dict[str, int]
    gained: dict[str, int]
    lost: dict[str, int]
    entries: Texts
    more: bool
    differences: DifferencesShape | None


class AskableShape(TypedDict):
    questions: Texts
    filters: Texts
    formats: Texts


class ProofFileShape(TypedDict):
    checkpoint: str
    entries: list[dict[str, Any]]
