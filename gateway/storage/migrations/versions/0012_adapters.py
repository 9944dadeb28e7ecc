"""Versions of adapters that were taken into use, and which version made what."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply. A replica of the former version goes on with the adapters that are installed beside it."""
    op.create_table(
        "adapter_versions",
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("declared", sa.String(64), nullable=False),
        sa.Column("wheel", sa.LargeBinary(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", "digest"),
    )
    op.create_table(
        "adapter_uses",
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("entry", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("name", "number"),
    )
    with op.batch_alter_table("sources") as table:
        table.add_column(sa.Column("adapter", sa.String(64), nullable=False, server_default=""))
    with op.batch_alter_table("handovers") as table:
        table.add_column(sa.Column("adapter", sa.String(200), nullable=True))
