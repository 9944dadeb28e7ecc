"""Several secrets of one kind, each with its state: a secret is changed while nodes run."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_COLUMNS = ("name", "fingerprint", "at")


def upgrade() -> None:
    """Apply. A replica of the former version goes on with it, until the first secret is changed."""
    connection = op.get_bind()
    known = connection.execute(sa.text("SELECT name, fingerprint, at FROM secret_fingerprints")).all()
    op.drop_table("secret_fingerprints")
    made = op.create_table(
        "secret_fingerprints",
        sa.Column("name", sa.String(16), nullable=False),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(8), nullable=False, server_default="current"),
        sa.PrimaryKeyConstraint("name", "fingerprint"),
    )
    if known:
        op.bulk_insert(made, [dict(zip(_COLUMNS, row, strict=True)) for row in known])
