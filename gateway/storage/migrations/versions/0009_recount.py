"""Count anew what went from whom to whom.

A former version counted notices as disclosures and what arrived as none, and what it counted was kept. Counts repeat
what the entries say, so they are emptied and the node makes them again, day by day. Of a year of which months were
archived and taken out of the database the entries are not all here: its counts stay as they were kept.
"""

from __future__ import annotations

from datetime import date

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    connection = op.get_bind()
    month = connection.scalar(sa.text("SELECT max(month) FROM audit_archives WHERE pruned IS NOT NULL"))
    year = 1 if month is None else int(month[:4]) + 1
    connection.execute(sa.text("DELETE FROM audit_flows WHERE day >= :day"), {"day": date(year, 1, 1).toordinal()})
    connection.execute(sa.text("DELETE FROM audit_processing WHERE year >= :year"), {"year": year})
