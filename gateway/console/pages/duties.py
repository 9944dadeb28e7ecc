"""The console's pages of tasks: what is late and what is to be done, one task, and how it ended."""

from __future__ import annotations

from typing import Any, Final

from audit.log.entries import ZONE
from gateway.console.office import Answer, Ask, Moved, NotHereError, Page, Shown, Visit
from gateway.desk.questions.duties import Due, DueTasks, EndTask, Opened, OpenTask
from gateway.desk.roles import REGISTRAR
from gateway.obligations.acts import OUTCOMES, Channel
from gateway.wire.problems import ProblemError

_FIELDS: Final = ("outcome", "day", "channel", "language", "remark", "until")
_WRONG: Final = frozenset({"/outcome", "/day", "/channel", "/language", "/remark", "/is_safe", "/until"})


def tasks(_visit: Visit) -> Answer:
    """What is late, what is to be done, and what was done lately."""

    def shown(told: Due) -> Answer:
        return Shown("tasks.html", {"told": told})

    return Ask(DueTasks(), shown)


def task(visit: Visit) -> Answer:
    """One task, and the form that ends it."""
    identifier = visit.path["task"]

    def opened(told: Opened, wrong: str | None = None) -> Answer:
        values: dict[str, Any] = {
            "told": told,
            "outcomes": [code.value for code in OUTCOMES[told.task.kind]],
            "channels": [code.value for code in Channel],
            "given": visit.form,
            "wrong": wrong,
            "today": visit.now.astimezone(ZONE).date().isoformat(),
        }
        return Shown("task.html", values, status=400 if wrong else 200)

    def again(wrong: str) -> Answer:
        return Ask(OpenTask.of(task=identifier), lambda told: opened(told, wrong), (ProblemError,), _nothing)

    def refused(error: ProblemError) -> Answer:
        if error.code == "not-found":
            raise NotHereError
        pointer = error.pointer or ""
        return again(f"tasks.wrong-{pointer[1:]}" if pointer in _WRONG else "tasks.wrong")

    if visit.method != "POST":
        return Ask(OpenTask.of(task=identifier), opened, (ProblemError,), _nothing)
    said = {name: visit.form.get(name, "").strip() or None for name in _FIELDS}
    try:
        question = EndTask.of(task=identifier, is_safe=bool(visit.form.get("is_safe")), **said)
    except ProblemError as error:
        return refused(error)
    return Ask(question, lambda _done: Moved("/tasks"), (ProblemError,), refused)


def _nothing(_error: ProblemError) -> Answer:
    raise NotHereError


PAGES = (
    Page("/tasks", "tasks", tasks, DueTasks.roles, group="people", rank=35),
    Page("/tasks/{task}", "task", task, REGISTRAR, ("GET", "POST")),
)
