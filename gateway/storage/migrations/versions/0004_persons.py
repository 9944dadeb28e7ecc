"""Persons as groups that are computed: acts of linking, claims of others, and kinds of words.

What a former version joined for good becomes a join that nobody has confirmed: the words that had vanished behind the
leading identifier are read again, and what only doubtful joins would let through waits until one is confirmed.
"""

from __future__ import annotations

from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    with op.batch_alter_table("audit_identifiers") as table:
        table.add_column(sa.Column("member", sa.Text(), nullable=True))
        table.add_column(sa.Column("system", sa.Text(), nullable=True))
        table.add_column(sa.Column("notation", sa.SmallInteger(), nullable=False, server_default="1"))
        table.add_column(sa.Column("index_key", sa.Text(), nullable=True))
    with op.batch_alter_table("audit_subjects") as table:
        table.add_column(sa.Column("claimed", sa.SmallInteger(), nullable=False, server_default="0"))
    op.create_table(
        "audit_links",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("first", sa.Text(), nullable=False),
        sa.Column("second", sa.Text(), nullable=False),
        sa.Column("act", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("made_by", sa.Text(), nullable=False),
        sa.Column("register", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_audit_links_first"), "audit_links", ["first"], unique=False)
    op.create_index(op.f("ix_audit_links_second"), "audit_links", ["second"], unique=False)
    op.create_table(
        "audit_claims",
        sa.Column("claim", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("claim", "subject"),
    )
    op.create_index(op.f("ix_audit_claims_subject"), "audit_claims", ["subject"], unique=False)
    _former_joins()
    op.create_table(
        "register_records",
        sa.Column("register", sa.String(300), nullable=False),
        sa.Column("record", sa.LargeBinary(), nullable=False),
        sa.Column("system", sa.String(300), nullable=False),
        sa.Column("subject", sa.String(64), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("register", "record", "system", "subject"),
    )
    op.create_table(
        "held_records",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("member", sa.String(300), nullable=False),
        sa.Column("register", sa.String(300), nullable=False),
        sa.Column("reason", sa.String(32), nullable=False),
        sa.Column("subject", sa.String(64), nullable=False),
        sa.Column("lead", sa.String(64), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("changed", sa.BigInteger(), nullable=False),
        sa.Column("settled_by", sa.String(128), nullable=True),
        sa.Column("owner", sa.String(128), nullable=True),
        sa.Column("entry", sa.String(64), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_held_records_subject"), "held_records", ["subject"], unique=False)
    op.create_index(op.f("ix_held_records_lead"), "held_records", ["lead"], unique=False)
    op.create_index("held_records_state", "held_records", ["state", "created"], unique=False)
    with op.batch_alter_table("consents") as table:
        table.add_column(sa.Column("kind", sa.String(12), nullable=False, server_default="consent"))
        table.add_column(sa.Column("target", sa.Text(), nullable=True))
    op.execute(
        "UPDATE consents SET kind = 'prohibition' WHERE id IN (SELECT id FROM consents WHERE status = 'refused')"
    )


def _former_joins() -> None:
    """Two subjects that were made one, and identifiers that were added to a subject: each is a doubtful join now."""
    at = int(datetime.now(UTC).timestamp() * 1_000_000)
    columns = "INSERT INTO audit_links (id, first, second, act, at, made_by, reason)"
    made = f"'joined', {at}, 'upgrade', 'joined-before'"
    # Of who was forgotten nothing is left that anybody could confirm.
    op.execute(
        f"{columns} SELECT 'same-' || id, same_as, id, {made} FROM audit_subjects "  # noqa: S608
        "WHERE same_as IS NOT NULL AND destroyed IS NULL"
    )
    op.execute(
        f"{columns} SELECT 'many-' || subject, subject, subject, {made} FROM audit_identifiers "  # noqa: S608
        "GROUP BY subject HAVING count(*) > 1"
    )
