"""The rulebook of former networks, first form: tests that are not about the law itself run under it."""

from __future__ import annotations

from pathlib import Path

_FILE = Path(__file__).parent / "consent" / "recorded" / "fi-kotoutuminen-2026-11-27.yaml"


def former_rulebook() -> bytes:
    """The last rulebook of the first form that was published."""
    return _FILE.read_bytes()
