"""Tasks over HTTP: what is to be done and what is late, whom it is about, what the person is told, and that it was."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime
from typing import Any

from fastapi import APIRouter, Depends
from pydantic import Field
from sqlalchemy import Connection

from audit.log.entries import Entry
from audit.log.waiting import Written
from gateway.exchange.context import Exchange
from gateway.obligations.acts import Actor, Channel, Outcomes, Tasks
from gateway.obligations.notice import Translation, told
from gateway.obligations.tasks import TELLS, Kind, State, Task
from gateway.storage.engine import read
from gateway.web.authentication import Caller, Callers
from gateway.web.description import problems
from gateway.web.doors import Body, Door
from gateway.web.forms import Code, PathKey, Shape, Shown, User, user_needed
from gateway.wire.identifiers import MemberId, SubsystemId

_EXAMPLE = {"outcome": "told", "day": "2026-03-02", "channel": "meeting", "language": "ti"}


class OutcomeForm(Shape):
    """How a task ended."""

    outcome: Code = Field(description="of the task's `outcomes`")
    day: date = Field(description="on which it was done")
    channel: Channel | None = Field(None, description="how the person was reached")
    language: str | None = Field(None, min_length=1, max_length=35, pattern=r"^[A-Za-z0-9-]+$", description="BCP 47")
    remark: str | None = Field(None, max_length=2000, pattern=r"^[^\x00]*$", description="sealed with the proof")
    is_safe: bool = Field(False, description="a human has weighed how this person can be reached")
    until: date | None = Field(None, description="when to ask again, where the relationship goes on")


class TaskForm(Shown):
    """A task, without whom it is about."""

    id: str
    kind: Kind
    party: str = Field(description="from whom the data came, or to whom it is to go")
    purpose: str
    categories: list[str]
    bases: list[str]
    care: list[str] = Field(description="why a human chooses how the person is reached")
    due: date
    overdue: bool
    state: State
    outcome: str | None
    since: datetime

    @classmethod
    def of(cls, task: Task, **more: Any) -> TaskForm:
        """As it is shown."""
        return cls(
            id=task.id,
            kind=task.kind,
            party=task.party,
            purpose=task.purpose,
            categories=list(task.categories),
            bases=list(task.bases),
            care=list(task.care),
            due=task.due,
            overdue=task.is_overdue,
            state=task.state,
            outcome=task.outcome,
            since=task.created,
            **more,
        )


class TaskList(Shown):
    """What is to be done, what is due first before what is due later."""

    tasks: list[TaskForm]
    overdue: int


class OpenedForm(TaskForm):
    """A task with whom it is about, what the person is to be told, and what proves that it was done."""

    subject: list[dict[str, str]]
    notices: dict[str, str] = Field(description="what the person is to be told, in Finnish, Swedish and English")
    drafts: dict[str, str] = Field(
        description="drafts in other languages, not proof-read: only beside one of `notices`, with an interpreter"
    )
    language: str | None = Field(description="the person's, where the record says it")
    translation: Translation | None = Field(description="what there is in the person's language")
    proof: dict[str, Any] | None


def router(exchange: Exchange, callers: Callers) -> APIRouter:
    """Tasks. Everything needs the right `task`; to open and to end one also the person who does."""
    routes = APIRouter(tags=["tasks"])
    acts = tasks_of(exchange)
    let_in = Depends(Door(callers, "task"))
    ended = Depends(Body(OutcomeForm, exchange.limits.body_bytes, example=_EXAMPLE))

    async def write(act: Callable[[Connection], tuple[Task, Entry]]) -> OpenedForm:
        def writing(connection: Connection) -> Written[Task]:
            task, entry = act(connection)
            return Written(task, (entry,))

        task = (await exchange.log.commit(writing)).value
        return OpenedForm.of(task, **_about(exchange, task))  # type: ignore[return-value]

    @routes.get("/v1/tasks", summary="What people are to be told or asked, and what is to be deleted")
    async def listed(caller: Caller = let_in, everything: bool = False) -> TaskList:
        actor, now = _actor(exchange, caller, None), exchange.clock()
        found = await read(exchange.engine, lambda connection: acts.listed(connection, actor, now, is_all=everything))
        return TaskList(tasks=[TaskForm.of(task) for task in found], overdue=sum(task.is_overdue for task in found))

    @routes.post("/v1/tasks/{identifier}/opening", summary="One task with whom it is about; the reading is on record",
                 responses=problems("not-found"))  # fmt: skip
    async def opened(identifier: PathKey, caller: Caller = let_in, user: User = None) -> OpenedForm:
        actor = _named(exchange, caller, user)
        return await write(lambda connection: acts.open(connection, actor, identifier, exchange.clock()))

    @routes.post("/v1/tasks/{identifier}/outcome", status_code=201, summary="Say how a task ended, with proof",
                 responses=problems("not-found"))  # fmt: skip
    async def settle(
        identifier: PathKey, caller: Caller = let_in, user: User = None, form: OutcomeForm = ended
    ) -> OpenedForm:
        actor, said = _named(exchange, caller, user), Outcomes(**form.model_dump())
        return await write(lambda connection: acts.settle(connection, actor, identifier, said, exchange.clock()))

    return routes


def tasks_of(exchange: Exchange) -> Tasks:
    """The tasks of a node's members."""
    return Tasks(exchange.node, lambda member: exchange.subjects.of(str(member)))


def _about(exchange: Exchange, task: Task) -> dict[str, Any]:
    standing = exchange.standing_though_held(exchange.clock())
    texts = told(task, standing) if task.kind in TELLS else None
    return {
        "subject": [{"system": system, "value": value} for system, value in task.named],
        "notices": texts.reviewed if texts is not None else {},
        "drafts": texts.drafts if texts is not None else {},
        "language": task.language,
        "translation": texts.translation if texts is not None else None,
        "proof": task.proof,
    }


def _actor(exchange: Exchange, caller: Caller, user: str | None) -> Actor:
    subsystem: SubsystemId = caller.subsystem
    members: tuple[MemberId, ...] = (subsystem.member,)
    return Actor(caller.name, exchange.user_pseudonym(subsystem, user), members)


def _named(exchange: Exchange, caller: Caller, user: str | None) -> Actor:
    actor = _actor(exchange, caller, user)
    if actor.user is None:
        raise user_needed("a task is seen to by a person")
    return actor
