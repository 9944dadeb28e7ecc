"""Tasks that come with data, the day on which data ends, what may not go on, and words by which answers came."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    with op.batch_alter_table("arrival_words") as table:
        table.add_column(sa.Column("sender", sa.String(1300), nullable=True))
        table.add_column(sa.Column("subject", sa.String(64), nullable=True))
    with op.batch_alter_table("inbox") as table:
        table.add_column(sa.Column("retain_until", sa.String(10), nullable=True))
    op.create_index("inbox_retain_until", "inbox", ["retain_until"], unique=False)
    op.create_table(
        "tasks",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(24), nullable=False),
        sa.Column("reference", sa.String(64), nullable=False),
        sa.Column("member", sa.String(300), nullable=False),
        sa.Column("subject", sa.String(64), nullable=False),
        sa.Column("message", sa.String(64), nullable=False),
        sa.Column("party", sa.String(1300), nullable=False),
        sa.Column("purpose", sa.String(64), nullable=False),
        sa.Column("categories", sa.Text(), nullable=False),
        sa.Column("bases", sa.Text(), nullable=False),
        sa.Column("care", sa.String(128), nullable=False),
        sa.Column("due", sa.String(10), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("outcome", sa.String(32), nullable=True),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("changed", sa.BigInteger(), nullable=False),
        sa.Column("entry", sa.String(64), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=True),
        sa.Column("proof", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("kind", "reference", name="tasks_once"),
    )
    op.create_index("tasks_due", "tasks", ["state", "due"], unique=False)
    op.create_index(op.f("ix_tasks_subject"), "tasks", ["subject"], unique=False)
    op.create_table(
        "restrictions",
        sa.Column("message", sa.String(64), nullable=False),
        sa.Column("subject", sa.String(64), nullable=False),
        sa.Column("category", sa.String(300), nullable=False),
        sa.Column("sender", sa.String(1300), nullable=False),
        sa.Column("basis", sa.String(128), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("message", "subject", "category"),
    )
    op.create_index(op.f("ix_restrictions_subject"), "restrictions", ["subject"], unique=False)
