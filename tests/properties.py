"""How many examples a property is tried with: as many as it says, or the profile's share of them."""

from __future__ import annotations

from typing import Any

from hypothesis import settings

_LONG = 100


def examples(count: int, **others: Any) -> settings:
    """Settings for `count` examples in the profile `long`; under another its share, and never fewer than five."""
    share = settings.default.max_examples / _LONG  # type: ignore[union-attr]
    return settings(max_examples=max(5, round(count * share)), **others)
