"""The workbench's words in Finnish, Swedish and English."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib.resources import files
from typing import Any

from ruamel.yaml import YAML

LANGUAGES = ("fi", "sv", "en")


@cache
def _texts() -> Any:
    return YAML(typ="safe", pure=True).load((files("adapters.workbench") / "texts.yaml").read_text(encoding="utf-8"))


def words(language: str) -> Callable[..., str]:
    """A function that gives a text by its name, in a language, with values put in."""

    def text(name: str, **values: object) -> str:
        return str(_texts()[name][language]).format(**values)

    return text


def why(code: str, language: str) -> str:
    """Why a recipient does not get something, in a few words."""
    found = _texts()["why"].get(code)
    return str(found[language]) if found else code
