"""Countries as FHIR mostly writes them, in two letters, and as the canonical record does, in three."""

from __future__ import annotations

from typing import Any

from adapters.transforms import TRANSFORMS, TransformError


def three_letters(value: Any) -> Any:
    """A citizenship whose country is written in two letters, as FHIR mostly does, in three."""
    if isinstance(value, list):
        return [three_letters(item) for item in value]
    if not isinstance(value, dict):
        return value
    code = value.get("code")
    if str(value.get("system", "")).startswith("urn:iso:std:iso:3166") and isinstance(code, str) and len(code) == 2:
        try:
            return {**value, "code": TRANSFORMS["country"].forward(code)}
        except TransformError:
            return value
    return {name: three_letters(member) for name, member in value.items()}
