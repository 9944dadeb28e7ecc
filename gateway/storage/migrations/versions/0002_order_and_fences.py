"""Number arrivals and handovers in the order of their commits, fence leases, remember requests, seal contacts."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

NUMBERED = ("handovers", "inbox")
# Rows are inserted in units of the log, which run one at a time under the lock on its head, so the next number is
# also the next to be committed: a sequence would not promise that. Nothing is ever deleted from these tables, so no
# number comes twice. It is done by the database, so that rows of a replica of the former version are numbered too.
POSTGRESQL = """
CREATE FUNCTION number_row() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  EXECUTE format('SELECT coalesce(max(number), 0) + 1 FROM %I.%I', TG_TABLE_SCHEMA, TG_TABLE_NAME) INTO NEW.number;
  RETURN NEW;
END $$
"""


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "requests",
        sa.Column("client", sa.String(length=128), nullable=False),
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("client", "key"),
    )
    op.add_column("deliveries", sa.Column("token", sa.BigInteger(), server_default="0", nullable=False))
    op.add_column("deliveries", sa.Column("case_reference", sa.String(length=64), nullable=True))
    op.add_column("deliveries", sa.Column("contact_sealed", sa.LargeBinary(), nullable=True))
    op.execute(
        "UPDATE deliveries SET case_reference ="
        " (SELECT h.case_reference FROM handovers h WHERE h.id = deliveries.handover)"
    )
    op.add_column("handovers", sa.Column("number", sa.BigInteger(), nullable=True))
    naming = {"uq": "%(table_name)s_%(column_0_N_name)s_key"}  # what PostgreSQL called it; SQLite gave it no name
    with op.batch_alter_table("inbox", naming_convention=naming) as inbox:
        inbox.add_column(sa.Column("number", sa.BigInteger(), nullable=True))
        inbox.add_column(sa.Column("case_reference", sa.String(length=64), nullable=True))
        inbox.add_column(sa.Column("contact_sealed", sa.LargeBinary(), nullable=True))
        inbox.drop_constraint("inbox_sender_delivery_key", type_="unique")
        inbox.create_unique_constraint("inbox_arrival", ["delivery", "sender", "recipient"])
    for table in NUMBERED:
        # Clients hold ids as their cursors, so the old rows keep the order of their ids.
        op.execute(
            f"UPDATE {table} SET number = ordered.place FROM"  # noqa: S608
            f" (SELECT id, row_number() OVER (ORDER BY id) AS place FROM {table}) AS ordered"
            f" WHERE ordered.id = {table}.id"
        )
        op.create_index(f"{table}_number", table, ["number"], unique=True)
    _number_from_now_on(op.get_bind().dialect.name)


def _number_from_now_on(dialect: str) -> None:
    if dialect == "postgresql":
        op.execute(sa.text(POSTGRESQL))
    for table in NUMBERED:
        if dialect == "postgresql":
            op.execute(
                f"CREATE TRIGGER {table}_numbered BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION number_row()"
            )
        else:
            op.execute(
                f"CREATE TRIGGER {table}_numbered AFTER INSERT ON {table} BEGIN"  # noqa: S608
                f" UPDATE {table} SET number = (SELECT coalesce(max(number), 0) + 1 FROM {table})"
                " WHERE rowid = NEW.rowid; END"
            )
