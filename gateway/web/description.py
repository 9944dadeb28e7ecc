"""The description of a face (OpenAPI 3.1), made from what its routes do: their doors, their forms, their problems.

FastAPI describes parameters and answers. Added here, from the same values that serve the requests, are bodies (which
are read after the caller is known, so FastAPI does not see them), who may call, and problems as they are answered.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute, iter_route_contexts
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from gateway.web.doors import CERTIFICATE_SCHEME, JSON, TOKEN_SCHEME, Body, Bytes, Form, Gate, Messages, dependencies
from gateway.web.forms import ProblemForm
from gateway.wire.problem_table import PROBLEMS
from gateway.wire.problems import CONTENT_TYPE

_REFERENCE = "#/components/schemas/{model}"
_SCHEMES = {
    CERTIFICATE_SCHEME: {"type": "mutualTLS", "description": "the certificate that settings or registry list"},
    TOKEN_SCHEME: {"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": "from /oauth/token"},
}

#: What any route may answer, and what any with a body, by the code of the problem.
ANYWHERE = (
    "invalid-request", "invalid-header", "invalid-target", "request-timeout", "target-too-long", "headers-too-large",
    "internal-error", "busy", "log-not-durable", "registry-unavailable", "registry-expired",
)  # fmt: skip
WITH_A_BODY = ("body-too-large", "unsupported-media-type", "unsupported-content-encoding")


def problems(*codes: str) -> dict[int | str, dict[str, Any]]:
    """For a route's `responses`: the problems of its own that it answers with."""
    found: dict[int | str, dict[str, Any]] = {}
    for code in codes:
        found.setdefault(PROBLEMS[code].status, {"codes": []})["codes"].append(code)
    return {status: {"description": ", ".join(told["codes"])} for status, told in found.items()}


def describe(app: FastAPI) -> None:
    """Let an application describe itself by what stands here."""

    def made() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app)
        return app.openapi_schema

    app.openapi = made  # type: ignore[method-assign]


def _document(app: FastAPI) -> dict[str, Any]:
    document = get_openapi(title=app.title, version=app.version, routes=app.routes)
    forms: set[type[BaseModel]] = {ProblemForm}
    for route in iter_route_contexts(app.routes):
        if isinstance(route.original_route, APIRoute) and route.include_in_schema:
            for method in route.methods or ():
                operation = document["paths"][route.path_format][method.lower()]
                forms |= _complete(operation, route.dependant)
    components = document.setdefault("components", {})
    _, defined = models_json_schema([(form, "validation") for form in forms], ref_template=_REFERENCE)
    components["schemas"] = components.get("schemas", {}) | defined.get("$defs", {})
    # FastAPI's own form of an answer to what does not fit: ours are problems.
    for unused in ("HTTPValidationError", "ValidationError"):
        components["schemas"].pop(unused, None)
    components["securitySchemes"] = _SCHEMES
    return document


def _complete(operation: dict[str, Any], dependant: Dependant) -> set[type[BaseModel]]:
    """Add to an operation what the values at its doors say; the forms that it refers to."""
    calls: list[object] = [below.call for below in dependencies(dependant)]
    codes = list(ANYWHERE)
    used: set[type[BaseModel]] = set()
    for call in calls:
        if isinstance(call, Gate):
            operation["security"] = [{scheme: []} for scheme in call.schemes]
            codes += call.codes
        elif isinstance(call, Body | Form):
            used.add(call.form)
            operation["requestBody"] = _body(call)
        elif isinstance(call, Messages):
            used.update(call.forms)
            kinds = [{"$ref": _REFERENCE.format(model=form.__name__)} for form in call.forms]
            operation["requestBody"] = {"required": True, "content": {JSON: {"schema": {"anyOf": kinds}}}}
        elif isinstance(call, Bytes):
            content: dict[str, Any] = {kind: {"schema": {"type": "string"}} for kind in call.media_types or ("*/*",)}
            operation["requestBody"] = {"required": True, "content": content}
    if "requestBody" in operation:
        codes += WITH_A_BODY
        if JSON in operation["requestBody"]["content"]:
            codes.append("invalid-json")
    _answers(operation["responses"], codes)
    return used


def _body(body: Body | Form) -> dict[str, Any]:
    content: dict[str, Any] = {"schema": {"$ref": _REFERENCE.format(model=body.form.__name__)}}
    if isinstance(body, Body) and body.example is not None:
        content["example"] = body.example
    is_needed = not isinstance(body, Body) or body.is_needed
    return {"required": is_needed, "content": dict.fromkeys(body.media_types, content)}


def _longer() -> list[dict[str, str]]:
    """Problems that tell of each part of what was sent too."""
    return [{"$ref": _REFERENCE.format(model=form.__name__)} for form in ProblemForm.__subclasses__()]


def _answers(responses: dict[str, Any], codes: Iterable[str]) -> None:
    """Problems as they are answered: each status with its codes, as `application/problem+json`."""
    if "HTTPValidationError" in str(responses.get("422")):
        del responses["422"]
    said: dict[str, list[str]] = {}
    for status, answer in responses.items():
        if status.isdigit() and status >= "400":
            said[status] = [name for name in answer["description"].split(", ") if name in PROBLEMS]
    for code in codes:
        said.setdefault(str(PROBLEMS[code].status), []).append(code)
    for status, named in said.items():
        told = "; ".join(f"`{code}`: {PROBLEMS[code].title.en}" for code in dict.fromkeys(named))
        content: dict[str, Any] = {CONTENT_TYPE: {"schema": {"$ref": _REFERENCE.format(model=ProblemForm.__name__)}}}
        of_the_route = dict(responses.get(status, {}).get("content", {}))
        if of_the_route.get(JSON, {}).get("schema") in _longer():
            content[CONTENT_TYPE] = of_the_route.pop(JSON)
        # What is left is of another protocol than ours, as at the token endpoint.
        responses[status] = {"description": told, "content": of_the_route | content}
