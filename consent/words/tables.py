"""Where consent records are kept: every version of every record, and a counter of changes for each person."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, MetaData, String, Table, Text

metadata = MetaData()

consents = Table(
    "consents",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("subject", String(64), nullable=False),
    Column("status", String(20), nullable=False),
    Column("kind", String(12), nullable=False, server_default="consent"),  # permission, consent, prohibition, report
    Column("target", Text),  # what a prohibition or permission is aimed at, where the law lets it be narrower
    Column("recorded_at", BigInteger, nullable=False),
    Column("current", Integer, nullable=False),  # 1 for the newest version, else 0
    Column("document", Text, nullable=False),
    Index("consents_of_subject", "subject", "current"),
)

epochs = Table(
    "consent_epochs",
    metadata,
    Column("subject", String(64), primary_key=True),
    Column("epoch", BigInteger, nullable=False),
)
