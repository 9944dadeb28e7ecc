"""The console's pages of standing requests: what stands, the form that makes one by a right, and the one that ends."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any, Final

import orjson

from audit.log.entries import ZONE
from consent.rules.provisions import Provision
from gateway.asking.requests import Right
from gateway.console.office import Answer, Ask, Moved, NotHereError, Page, Sent, Shown, Visit, here
from gateway.desk.questions.requests import Asked, EndRequest, MakeRequest, Requests
from gateway.desk.roles import EVERYONE, REGISTRAR
from gateway.wire.problems import ProblemError

_WRONG: Final = frozenset(
    {"/id", "/role", "/providers", "/provision", "/purpose", "/categories", "/conditions", "/first", "/last"}
)


def requests(visit: Visit) -> Answer:
    """What the organisation asks once for all, what is asked of it, and by which rights it could ask."""

    def shown(told: Asked) -> Answer:
        return Shown("requests.html", _values(visit, told))

    return Ask(Requests(), shown)


def make(visit: Visit) -> Answer:
    """The form of a request by one right; what is sent is signed."""
    asked_by = (visit.form if visit.method == "POST" else visit.query).get("right", "")

    def shown(told: Asked, wrong: str | None = None) -> Answer:
        found = here(next((right for right in told.rights if f"{right.basis.id}/{right.role}" == asked_by), None))
        values: dict[str, Any] = {
            "right": found,
            "key": asked_by,
            "cited": _cited(visit, [found])[asked_by],
            "wrong": wrong,
            "given": visit.form,
            "today": visit.now.astimezone(ZONE).date().isoformat(),
        }
        return Shown("request.html", values, status=400 if wrong else 200)

    def opened(told: Asked) -> Answer:
        found = here(next((right for right in told.rights if f"{right.basis.id}/{right.role}" == asked_by), None))
        if visit.method != "POST":
            return shown(told)

        def refused(error: ProblemError) -> Answer:
            pointer = error.pointer or ""
            return shown(told, f"requests.wrong-{pointer[1:]}" if pointer in _WRONG else "requests.wrong")

        try:
            question = MakeRequest.of(**_stated(found, visit.form))
        except ProblemError as error:
            return refused(error)
        return Ask(question, lambda _made: Moved("/requests"), (ProblemError,), refused)

    return Ask(Requests(), opened)


def end(visit: Visit) -> Answer:
    """Sign that a request ends with a day."""

    def shown(told: Asked) -> Answer:
        return Shown("requests.html", _values(visit, told) | {"wrong": "requests.wrong-last"}, status=400)

    def refused(_error: ProblemError) -> Answer:
        return Ask(Requests(), shown)

    try:
        question = EndRequest.of(id=visit.path["identifier"], last=visit.form.get("last"))
    except ProblemError as error:
        return refused(error)
    return Ask(question, lambda _ended: Moved("/requests"), (ProblemError,), refused)


def signed(visit: Visit) -> Answer:
    """The file that the authority publishes."""
    name = visit.path["identifier"]

    def given(told: Asked) -> Answer:
        found = next((listed for listed in told.ours if listed.request.id == name), None)
        if found is None:
            raise NotHereError
        body = orjson.dumps(found.request.to_dict(), option=orjson.OPT_INDENT_2)
        return Sent((body,), "application/json", f"{name}.request.json")

    return Ask(Requests(), given)


def _stated(right: Right, form: Mapping[str, str]) -> dict[str, Any]:
    def chosen(kind: str, known: Iterable[str]) -> list[str]:
        return [code for code in sorted(known) if form.get(f"{kind}:{code}")]

    return {
        "id": form.get("id", "").strip(),
        "role": right.role,
        "providers": chosen("provider", right.basis.providers),
        "provision": right.provision,
        "purpose": form.get("purpose", ""),
        "categories": chosen("category", right.basis.categories),
        "first": form.get("first", "") or None,
        "last": form.get("last", "") or None,
    }


def _values(visit: Visit, told: Asked) -> dict[str, Any]:
    return {"told": told, "cited": _cited(visit, told.rights), "cite": partial(_act_and_section, visit)}


def _act_and_section(visit: Visit, provision: Provision) -> str:
    """A provision with its act by name, as a reader of the language writes it."""
    standing = visit.office.desk.context.standing()
    act = standing.rulebook.acts.get(provision.act) if standing is not None else None
    said = provision.said(visit.language)
    return f"{provision.act}, {said}" if act is None else f"{act.name[visit.language]} ({act.number}), {said}"


def _cited(visit: Visit, rights: Iterable[Right]) -> dict[str, str]:
    """Each right as a reader of the language cites it, by its key in the form."""
    return {f"{right.basis.id}/{right.role}": right.basis.cited(visit.language) for right in rights}


PAGES = (
    Page("/requests", "requests", requests, EVERYONE, group="network", rank=25),
    Page("/requests/new", "request", make, REGISTRAR, ("GET", "POST")),
    Page("/requests/{identifier}/end", "request-end", end, REGISTRAR, ("POST",)),
    Page("/requests/{identifier}/file", "request-file", signed, EVERYONE),
)
