"""In which of our languages a caller is told what went wrong."""

from __future__ import annotations

from texts import LANGUAGES, OTHERWISE


def language_in(accepted: str, otherwise: str = OTHERWISE) -> str:
    """fi, sv or en: the first of them that an Accept-Language header names; `otherwise` if none is."""
    for part in accepted.split(","):
        tag = part.split(";")[0].strip().lower()[:2]
        if tag in LANGUAGES:
            return tag
    return otherwise
