"""What the officer's interface answers, as its description states it: forms made from `answers.toml`."""

from __future__ import annotations

import tomllib
from importlib.resources import files
from typing import Any, Final

from pydantic import BaseModel, create_model

from audit.questions.damage import Finding
from audit.questions.report import Extract, RecordOfProcessing
from audit.questions.reviews import Review
from gateway.web.forms import Shown

_PLAIN: Final = {"text": str, "number": int, "truth": bool, "any": Any}
_VALUES: Final = {kind.__name__: kind for kind in (Review, Finding, Extract, RecordOfProcessing)}


def _read() -> dict[str, type[Any]]:
    found: dict[str, type[Any]] = dict(_VALUES)
    for name, members in tomllib.loads((files("gateway.desk") / "answers.toml").read_text("utf-8")).items():
        fields: dict[str, Any] = {
            member.rstrip("?"): (_type(written, found), None if member.endswith("?") else ...)
            for member, written in members.items()
            if member != "says"
        }
        made: type[BaseModel] = create_model(f"{name}Answer", __base__=Shown, __doc__=members["says"], **fields)
        found[name] = made
    return found


def _type(written: str, found: dict[str, type[Any]]) -> Any:
    if written.endswith("?"):
        return _type(written[:-1], found) | None
    if written.startswith("["):
        return list[_type(written[1:-1], found)]  # type: ignore[misc]  # a type that is known where this runs
    if written.startswith("{"):
        return dict[str, _type(written[1:-1], found)]  # type: ignore[misc]
    return _PLAIN.get(written) or found[written]


ANSWERS: Final = _read()
"""Forms by name; those of values that are answered as they stand are the values' own."""
