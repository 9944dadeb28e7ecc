"""Words of former versions in the kinds of today, without a will that nobody had; and the words that carried arrivals.

A former consent is a consent for what its own words name, and never a permission. A former refusal is a prohibition in
its widest reading: what it leaves open it means all of, and the end that it names falls away where it still stands.
That is a new version of it, since decisions were made on the former one.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_WORDS = sa.table(
    "consents",
    sa.column("id", sa.String),
    sa.column("version", sa.Integer),
    sa.column("subject", sa.String),
    sa.column("status", sa.String),
    sa.column("kind", sa.String),
    sa.column("target", sa.Text),
    sa.column("recorded_at", sa.BigInteger),
    sa.column("current", sa.Integer),
    sa.column("document", sa.Text),
)
_EPOCHS = sa.table("consent_epochs", sa.column("subject", sa.String), sa.column("epoch", sa.BigInteger))


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "arrival_words",
        sa.Column("arrival", sa.String(64), nullable=False),
        sa.Column("category", sa.String(300), nullable=False),
        sa.Column("kind", sa.String(12), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("day", sa.String(10), nullable=False),
        sa.Column("giver", sa.String(16), nullable=False),
        sa.Column("section", sa.String(300), nullable=False),
        sa.PrimaryKeyConstraint("arrival", "category"),
    )
    op.create_index("arrival_words_digest", "arrival_words", ["digest"], unique=False)
    # By what was said, never by the column's default: a refusal was no consent.
    op.execute(
        "UPDATE consents SET kind = 'prohibition' "
        "WHERE kind = 'consent' AND id IN (SELECT id FROM consents WHERE status = 'refused')"
    )
    connection, today = op.get_bind(), datetime.now(UTC).astimezone(ZoneInfo("Europe/Helsinki")).date().isoformat()
    standing = sa.select(_WORDS).where(_WORDS.c.current == 1, _WORDS.c.kind == "prohibition")
    for row in connection.execute(standing).all():
        document = json.loads(row.document)
        ends = document.get("ends")
        # What had ended by its own words has ended; taking it up again would be a will that nobody has now.
        if row.status == "refused" and ends is not None and ends >= today:
            _widen(connection, row, document)


def _widen(connection: sa.Connection, row: Any, document: dict[str, Any]) -> None:
    version = row.version + 1
    connection.execute(
        sa.update(_WORDS).where(_WORDS.c.id == row.id, _WORDS.c.version == row.version).values(current=0)
    )
    # Who recorded it and when stay: from when on it protects, and whose it is, has not changed.
    widened = {**document, "version": version, "kind": "prohibition", "ends": None, "origin": "upgrade"}
    connection.execute(
        sa.insert(_WORDS).values(
            id=row.id,
            version=version,
            subject=row.subject,
            status="refused",
            kind="prohibition",
            target=row.target,
            recorded_at=row.recorded_at,
            current=1,
            document=json.dumps(widened, sort_keys=True, ensure_ascii=False),
        )
    )
    connection.execute(sa.update(_EPOCHS).where(_EPOCHS.c.subject == row.subject).values(epoch=_EPOCHS.c.epoch + 1))
