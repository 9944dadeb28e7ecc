"""Turn what a declared form refuses into our problem: its place, the reason and the remedy, and never the value.

pydantic checks; this module alone says what it found. The pointer names members of the form and places in lists only: a
name that the caller made up may be anything, a person's identity code too, so it is not repeated.
"""

from __future__ import annotations

import difflib
import json
import re
import types
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticCustomError

from gateway.wire.problems import ProblemError

Form = TypeVar("Form", bound=BaseModel)
_FAULT = "yhdyspinta"
_SIMILAR = 0.6
_SURROGATE = re.compile("[\ud800-\udfff]")
#: What a name from outside is compared with at most: comparing costs the square of the length.
_LONGEST_COMPARED = 64

#: pydantic's types of error, in our words. In braces stand limits of the form, which pydantic gives; never the value.
_SAID = {
    "missing": "is missing",
    "string_type": "is to be a text",
    "string_too_short": "has at least {min_length} characters",
    "string_too_long": "has at most {max_length} characters",
    "string_pattern_mismatch": "holds a character, or has a form, that it may not have",
    "string_unicode": "is no text in UTF-8",
    "int_type": "is to be a whole number",
    "int_parsing": "is to be a whole number",
    "int_parsing_size": "is too large a number",
    "int_from_float": "is to be a whole number",
    "bool_type": "is to be true or false",
    "bool_parsing": "is to be true or false",
    "greater_than_equal": "is at least {ge}",
    "less_than_equal": "is at most {le}",
    "literal_error": "is one of {expected}",
    "enum": "is one of {expected}",
    "list_type": "is to be a list",
    "frozen_set_type": "is to be a list",
    "too_short": "has at least {min_length} items",
    "too_long": "has at most {max_length} items",
    "model_type": "is to be an object",
    "model_attributes_type": "is to be an object",
    "dict_type": "is to be an object",
    "date_type": "is to be a date",
    "date_parsing": "is to be a date",
    "date_from_datetime_parsing": "is to be a date",
    "date_from_datetime_inexact": "is to be a date",
}
_REMEDIES = {"date": "write it as in 2026-01-31", "missing": "add it"}
_DESCRIPTION = "see the interface description at /openapi.json"


def fault(code: str, detail: str, remedy: str, *, member: str = "") -> PydanticCustomError:
    """What a validator of ours raises: the problem's code and words, and the member below its own place, if any."""
    # pydantic would fill braces in a message; ours is taken from the context, as it stands.
    return PydanticCustomError(_FAULT, "refused", {"code": code, "detail": detail, "remedy": remedy, "member": member})


def problem_of(
    errors: Iterable[Any],
    form: type[BaseModel] | None = None,
    *,
    below: str = "",
    codes: Mapping[str, str] | None = None,
) -> ProblemError:
    """The first of pydantic's errors as a problem. `below` is where the form stands in what was sent.

    `codes` says with which code a form's own member is refused, under "" for all that are not named.
    """
    error = next(iter(errors))
    place, context = _parts(error), error.get("ctx") or {}
    if not place and error["type"] in ("model_type", "json_invalid"):
        return _no_json("the body is not a JSON object")
    codes = codes or {}
    code = codes.get(str(place[0]) if place else "", codes.get("", "invalid-request"))
    if error["type"] == _FAULT:
        if context["member"]:
            place = (*place, context["member"])
        own = context["code"]
        return ProblemError(
            code if own == "invalid-request" else own,
            pointer=_pointer(below, place),
            detail=context["detail"],
            remedy=context["remedy"],
        )
    if error["type"] == "extra_forbidden":
        parent = place[:-1]
        return unknown_name(str(place[-1]), _names(form, parent), _pointer(below, parent), code=code)
    said = _SAID.get(error["type"])
    detail = said.format_map(_Plain(context)) if said else f"is not of the right form ({error['type']})"
    remedy = next((text for kind, text in _REMEDIES.items() if str(error["type"]).startswith(kind)), _DESCRIPTION)
    pointer = _pointer(below, place)
    return ProblemError(code, pointer=pointer, detail=f"{pointer.lstrip('/') or 'the body'} {detail}", remedy=remedy)


def unknown_name(
    name: str, known: Sequence[str], pointer: str, *, kind: str = "member", code: str = "invalid-request"
) -> ProblemError:
    """A name that the form does not have, with the nearest that it has."""
    near = difflib.get_close_matches(name[:_LONGEST_COMPARED].lower(), known, 1, _SIMILAR)
    remedy = f"did you mean {near[0]}? " if near else ""
    listed = ", ".join(known) if known else "none"
    return ProblemError(
        code,
        pointer=pointer,
        detail=f"there is a {kind} here that this interface does not know",
        remedy=f"{remedy}known here: {listed}",
    )


def read(form: type[Form], body: bytes, **place: Any) -> Form:
    """A JSON body in its form. Raises ProblemError, `invalid-json` for what is no JSON that all parsers read alike."""
    plain_json(body)
    try:
        return form.model_validate_json(body, strict=True)
    except ValidationError as error:
        raise problem_of(error.errors(include_url=False, include_input=False), form, **place) from None


def plain_json(body: bytes) -> Any:
    """Parse JSON in which no name stands twice, no number is endless and each text is one. Raises ProblemError."""
    try:
        document = json.loads(body.decode("utf-8"), object_pairs_hook=_members, parse_constant=_no_number)
    except json.JSONDecodeError as error:
        raise _no_json(f"line {error.lineno}, column {error.colno}: this is not JSON") from None
    except UnicodeDecodeError:
        raise _no_json("this is not UTF-8") from None
    except RecursionError:
        raise _no_json("the JSON is nested too deep") from None
    except ValueError:
        raise _no_json("a number is too long") from None
    # It cannot stand in UTF-8 as it is: it comes by an escape only.
    if b"\\u" in body and holds(document, _SURROGATE):
        raise _no_json("a text holds half of a surrogate pair")
    return document


def holds(value: Any, pattern: re.Pattern[str]) -> bool:
    """Whether any text of a JSON value, a name too, holds what the pattern finds."""
    if isinstance(value, str):
        return pattern.search(value) is not None
    if isinstance(value, dict):
        return any(holds(name, pattern) or holds(member, pattern) for name, member in value.items())
    return isinstance(value, list) and any(holds(item, pattern) for item in value)


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    # Of two members of one name, two parsers may take different ones: what was checked would not be what is done.
    if len(members) != len(pairs):
        raise _no_json("a name stands twice in one object")
    return members


def _no_number(_text: str) -> Any:
    raise _no_json("NaN and Infinity are no JSON")


def _no_json(detail: str) -> ProblemError:
    return ProblemError("invalid-json", detail=detail, remedy="send one JSON object in UTF-8")


def _parts(error: Mapping[str, Any]) -> tuple[str | int, ...]:
    return tuple(error["loc"])


def _pointer(below: str, place: Sequence[str | int]) -> str:
    """RFC 6901."""
    return below + "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in place)


def _names(form: Any, place: Sequence[str | int]) -> list[str]:
    """The members that the form has at a place."""
    for part in place:
        if isinstance(part, str) and isinstance(form, type) and issubclass(form, BaseModel):
            field = form.model_fields.get(part)
            form = field.annotation if field is not None else None
        form = _model_in(form)
    form = _model_in(form)
    if form is None:
        return []
    return sorted(field.alias or name for name, field in form.model_fields.items())


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The one model that an annotation is made of, if there is one."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in (Union, types.UnionType, list, tuple, frozenset) or get_args(annotation):
        return next((found for part in get_args(annotation) if (found := _model_in(part)) is not None), None)
    return None


class _Plain(dict[str, Any]):
    def __missing__(self, name: str) -> str:
        return "?"
