"""What the officer's interface answers, as its description states it; a test holds the answers against it."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from audit.questions.damage import Finding
from audit.questions.reviews import Review
from gateway.web.forms import Shown

Texts = tuple[str, ...]


class Agents(Shown):
    """Who took part."""

    client: str = ""
    node: str = ""
    recipient: str = ""
    user: str = Field("", description="a pseudonym")


class Categories(Shown):
    """What was let through, and what was held back."""

    permitted: Texts = ()
    withheld: Texts = ()


class EntryForm(Shown):
    """One entry; members that say nothing are left out."""

    id: str
    recorded: str
    type: str
    outcome: str
    agents: Agents = Agents()
    categories: Categories = Categories()
    bases: Texts = ()
    consents: tuple[tuple[str, int], ...] = Field((), description="id and version")
    detail: dict[str, str | int | bool] = Field(default_factory=dict)
    source: str = ""
    service: str = ""
    subject: str = Field("", description="a pseudonym")
    purpose: str = ""
    rulebook: str = ""
    reason: str = ""
    case: str = Field("", description="a keyed hash")
    previous: str = Field("", description="the entry that this one follows from")
    message_id: str = ""
    trace_id: str = ""
    request_digest: str = ""
    response_digest: str = ""


class FoundForm(Shown):
    """An entry and its place, counted from 0."""

    index: int
    entry: EntryForm


class CourseForm(Shown):
    """Entries, oldest first."""

    found: list[FoundForm]


class PageForm(CourseForm):
    """Entries, and the cursor of the next page."""

    next: str | None


class DisclosedForm(FoundForm):
    """A disclosure under a consent, and the categories of it that the consent is about."""

    carried: Texts


class ConsentStoryForm(Shown):
    """One consent or refusal: the entries about itself, and what was disclosed under it."""

    consent: str
    history: list[FoundForm]
    disclosed: list[DisclosedForm]
    more: bool


class ConsentStories(Shown):
    """A person's consents and refusals."""

    consents: list[ConsentStoryForm]


class LatePair(Shown):
    """A withdrawal, and what left after it."""

    withdrawal: FoundForm
    release: FoundForm


class LateForm(Shown):
    """What left after a withdrawal: must be nothing."""

    holds: bool
    left: list[LatePair]


class PatternForm(Shown):
    """An unusual pattern, and what may explain it."""

    rule: str
    actor: str
    first: str
    last: str
    count: int
    threshold: int
    entries: Texts
    explanation: str


class PatternList(Shown):
    """Unusual patterns."""

    unusual: list[PatternForm]


class FlowForm(Shown):
    """How much went from whom to whom: disclosed, refused, and without result (not found, failed, stopped)."""

    source: str | None
    recipient: str | None
    released: int
    refused: int
    fruitless: int


class FlowList(Shown):
    """How much went from whom to whom."""

    flows: list[FlowForm]


class DayForm(Shown):
    """How many disclosures there were on a day of Finnish time."""

    date: str
    count: int


class DayList(Shown):
    """Disclosures by day."""

    days: list[DayForm]


class QueueForm(Shown):
    """What nobody has signed off: emergency accesses, and patterns."""

    found: list[FoundForm]
    patterns: list[Review]


class CheckForm(Shown):
    """What a check of the newest entries found."""

    sound: bool
    origin: str
    size: int
    since: int
    checked: int
    anchors: int
    root: str
    findings: list[Finding]


class CosignatureForm(Shown):
    """Who bears witness, when (seconds), to how many entries."""

    witness: str
    timestamp: int
    size: int


class EntryProofForm(Shown):
    """An entry with the path and the signatures that prove it."""

    index: int
    position: int
    entry: EntryForm
    canonical: str
    proof: Texts
    checkpoint: str
    since: str | None
    cosignatures: list[CosignatureForm]


class SealForm(Shown):
    """A checkpoint."""

    size: int
    root: str
    note: str


class UnchangedForm(Shown):
    """Whether the log of now continues an earlier checkpoint."""

    unchanged: bool
    problem: str | None
    earlier: SealForm
    now: SealForm
    proof: Texts


class DifferencesForm(Shown):
    """What becomes permitted or withheld, whether anybody asked or not."""

    points: int
    changes: list[dict[str, Any]]
    more: bool
    prohibitions: list[dict[str, str]]


class ChangeForm(Shown):
    """What a proposed rulebook would change."""

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
    differences: DifferencesForm | None


class Askable(Shown):
    """What can be asked."""

    questions: Texts
    filters: Texts
    formats: Texts


class ProofFileForm(Shown):
    """A file for `audit verify`."""

    checkpoint: str
    entries: list[dict[str, Any]]
