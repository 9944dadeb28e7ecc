"""Fixtures that the gateway's tests share."""

from __future__ import annotations

from tests.databases import database_url, engine, postgresql_server, postgresql_url
from tests.gateway.tokens import tokens

__all__ = ["database_url", "engine", "postgresql_server", "postgresql_url", "tokens"]
