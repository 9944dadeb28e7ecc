"""Rulebooks that somebody might propose, made of the reference."""

from __future__ import annotations

import io
import json
from typing import Any

from ruamel.yaml import YAML

from tests.former import former_rulebook


def without(category: str) -> str:
    """The reference, but no basis that gives more gives a category, and no example says so. JSON, which is YAML too."""
    document: Any = YAML(typ="safe", pure=True).load(io.BytesIO(former_rulebook()))
    for basis in document["bases"]:
        if basis["categories"] == [category]:
            continue
        basis["categories"] = [one for one in basis["categories"] if one != category]
        for example in basis["examples"]:
            if "permitted" in example:
                example["permitted"] = [one for one in example["permitted"] if one != category]
    return json.dumps(document, default=str)
