"""Runs migrations on the connection that `gateway.storage.schema` hands over."""

from __future__ import annotations

from alembic import context

from gateway.storage.schema import METADATA

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=list(METADATA), transaction_per_migration=False)
with context.begin_transaction():
    context.run_migrations()
