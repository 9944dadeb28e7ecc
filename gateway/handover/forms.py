"""The forms of orders for handovers, of arrivals and acceptances, and of their answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal

from fastapi import Header, Query
from pydantic import AfterValidator, Field

from adapters.sdk import Mapped
from consent.deciding.verdicts import Decision
from gateway.handover.accept import Item
from gateway.handover.changes import Taken
from gateway.handover.contact import LONGEST, Contact
from gateway.handover.plan import Plan, Planned
from gateway.handover.states import ArrivalState
from gateway.sources.reports import words_of
from gateway.web.forms import CaseReference, Moment, ProblemForm, Shape, Shown, Subject, User
from gateway.web.validation import fault
from gateway.wire.problems import ProblemError

LONGEST_KEY = 255

IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=LONGEST_KEY,
        pattern=r"^[\x20-\x7e]+$",
        description="a key of its own for each request, such as a UUID",
    ),
]
HandoverFilter = Annotated[
    Literal["planned", "completed", "stopped", "overdue"] | None, Query(description="only those in this state")
]
ArrivalFilter = Annotated[ArrivalState | None, Query(description="only those in this state")]
After = Annotated[
    str, Query(max_length=64, pattern=r"^[\x21-\x7e]*$", description="`next` of the former answer, or an item's id")
]
Limit = Annotated[int, Query(ge=1, le=1000, description="how many at most")]
FlowCode = Annotated[str, Query(min_length=1, max_length=64, pattern=r"^[\x21-\x7e]+$", description="of the rulebook")]
AdapterName = Annotated[str, Query(max_length=64, pattern=r"^[\x21-\x7e]*$", description="the format of the records")]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What an order says beside its records, in its address and its headers."""

    flow: FlowCode = "F1"
    adapter: AdapterName = ""
    not_before: Moment | None = None
    case: CaseReference = None
    user: User = None
    key: IdempotencyKey = None


class PositionForm(Shown):
    """Where a record stands in what was sent."""

    file: str | None
    row: int | None


class PermittedForm(Shown):
    """A category that may go."""

    category: str
    basis: str
    consent: str | None


class UnmetForm(Shown):
    """A category that may not go, and what would have made it permitted."""

    category: str
    code: str
    nearest_basis: str | None
    unmet: str | None


class PlannedForm(Shown):
    """One recipient of a handover; the last three are there if there was somebody to decide about."""

    id: str
    role: str
    recipient: str | None
    purpose: str
    state: str
    problem: str | None
    permitted: list[PermittedForm] | None = None
    withheld: list[UnmetForm] | None = None
    obligations: list[str] | None = None


class PlanForm(Shown):
    """A handover as it was planned; `existing` if the same had been ordered before."""

    record: PositionForm
    id: str
    state: str
    existing: bool
    deliveries: list[PlannedForm]


class FindingForm(Shown):
    """What was wrong with a record, or worth knowing."""

    severity: str
    code: str
    file: str | None
    row: int | None
    column: str | int | None
    target: str | None
    message: dict[str, str]
    hint: dict[str, str]


class ChangeForm(Shown):
    """A record that the register has taken back: deliveries that were stopped, and that have left already."""

    record: PositionForm
    change: str
    stopped: int
    gone: int


class OrderedForm(Shown):
    """What became of the records that were sent: `read` is the sum of the three that follow."""

    read: int
    handed_over: int
    changed: int
    rejected: int
    handovers: list[PlanForm]
    changes: list[ChangeForm]
    findings: list[FindingForm]


class UnorderedForm(ProblemForm):
    """Why nothing was handed over; if records were read, what became of them."""

    read: int | None = None
    rejected: int | None = None
    findings: list[FindingForm] | None = None


class DeliveryForm(Shown):
    """One delivery of a handover, as it stands."""

    id: str
    kind: str
    role: str
    service: str | None
    purpose: str
    state: str
    attempts: int
    due: str | None
    problem: str | None
    receipt: str | None
    contact: dict[str, str] | None


class HandoverForm(Shown):
    """One handover, as it stands."""

    id: str
    flow: str
    state: str
    created: str
    changed: str
    adapter: str | None = None
    deliveries: list[DeliveryForm]


class HandoverList(Shown):
    """Handovers in the order in which they were taken; `next` goes on after them."""

    handovers: list[HandoverForm]
    next: str


class ItemForm(Shown):
    """One arrival."""

    id: str
    kind: str
    handover: str | None
    sender: str
    flow: str
    purpose: str
    categories: list[str]
    state: str
    received: str
    contact: dict[str, str] | None
    retain_until: str | None = Field(None, description="the last day on which what it brought is kept")

    @classmethod
    def of(cls, item: Item) -> ItemForm:
        """An arrival as it is shown."""
        return cls(**_item(item))


class ItemList(Shown):
    """Arrivals in the order in which they came; `next` goes on after them."""

    items: list[ItemForm]
    next: str


class OpenedForm(ItemForm):
    """One arrival with its content."""

    content: dict[str, Any]


def _line(value: str) -> str:
    if not value.isprintable():
        raise fault(
            "invalid-request", "a contact's member is one line of text", "leave control characters and line breaks out"
        )
    return value


def _named(value: str) -> str:
    if not value.strip():
        raise fault(
            "invalid-request",
            "an acceptance names who is responsible from now on",
            'send {"contact": {"name": "…", "phone": "…"}}; a team and its number will do',
        )
    return value


_Line = Annotated[str, Field(max_length=LONGEST), AfterValidator(_line)]


class ContactForm(Shape):
    """Who is responsible from now on. Nothing about the person whom the arrival is about."""

    name: Annotated[_Line, AfterValidator(_named)]
    organisation: _Line | None = None
    role: _Line | None = None
    phone: _Line | None = None
    email: _Line | None = None

    def contact(self) -> Contact:
        """The same as it is kept and sent."""
        return self.model_dump(exclude_none=True)


class AcceptanceForm(Shape):
    """An acceptance; `person` is who the arrival is about in the caller's own register."""

    contact: ContactForm
    person: Subject | None = None


#: What became of a record: its plan, what was done with a change, the problem that stopped it, or None where it could
#: not be read.
Became = Plan | Taken | ProblemError | None


def ordered(
    plans: Sequence[tuple[Mapped, Became]],
) -> dict[str, Any]:
    """What became of each record."""
    taken = [(mapped, plan) for mapped, plan in plans if isinstance(plan, Plan)]
    changes = [(mapped, change) for mapped, change in plans if isinstance(change, Taken)]
    return {
        "read": len(plans),
        "handed_over": len(taken),
        "changed": len(changes),
        "rejected": len(plans) - len(taken) - len(changes),
        "handovers": [{"record": _position(mapped), **_plan(plan)} for mapped, plan in taken],
        "changes": [
            {"record": _position(mapped), "change": mapped.change.kind.value, **asdict(change)}
            for mapped, change in changes
            if mapped.change is not None
        ],
        "findings": [
            *(finding.to_dict() for mapped, _ in plans for finding in mapped.findings),
            *(_refused(mapped, problem) for mapped, problem in plans if isinstance(problem, ProblemError)),
        ],
    }


def opened(item: Item, content: dict[str, Any]) -> dict[str, Any]:
    """An arrival with its content."""
    return {**_item(item), "content": content}


def _plan(plan: Plan) -> dict[str, Any]:
    return {
        "id": plan.id,
        "state": plan.state,
        "existing": plan.existing,
        "deliveries": [_planned(delivery) for delivery in plan.deliveries],
    }


def _planned(delivery: Planned) -> dict[str, Any]:
    return {
        "id": delivery.id,
        "role": delivery.role,
        "recipient": str(delivery.service.id.subsystem) if delivery.service else None,
        "purpose": delivery.purpose,
        "state": delivery.state,
        "problem": delivery.problem,
        **(_decided(delivery.decision) if delivery.decision is not None else {}),
    }


def _decided(decision: Decision) -> dict[str, Any]:
    """What may go and on which basis, what may not and what would have made it permitted."""
    return {
        "permitted": [
            {"category": permitted.category, "basis": permitted.basis, "consent": permitted.consent_id}
            for permitted in decision.permitted
        ],
        "withheld": [
            {
                "category": withheld.category,
                "code": withheld.code,
                "nearest_basis": withheld.nearest_basis,
                "unmet": withheld.unmet,
            }
            for withheld in decision.withheld
        ],
        "obligations": list(decision.obligations),
    }


def _position(mapped: Mapped) -> dict[str, Any]:
    position = mapped.position
    return {"file": position.file, "row": position.row}


def _refused(mapped: Mapped, problem: ProblemError) -> dict[str, Any]:
    return {
        "severity": "error",
        "code": problem.code,
        **_position(mapped),
        "column": None,
        "target": problem.pointer,
        **words_of(problem.code, problem),
    }


def _item(item: Item) -> dict[str, Any]:
    return {
        "id": item.id,
        "kind": item.kind,
        "handover": item.handover,
        "sender": item.sender,
        "flow": item.flow,
        "purpose": item.purpose,
        "categories": list(item.categories),
        "state": item.state,
        "received": item.received.isoformat(),
        "contact": item.contact,
        "retain_until": item.retain_until,
    }
