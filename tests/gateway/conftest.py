"""Fixtures that the gateway's tests share."""

from __future__ import annotations

from tests.gateway.tokens import tokens

__all__ = ["tokens"]
