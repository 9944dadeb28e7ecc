"""Where the console keeps who is signed in, and the one-time links that have not been used yet.

Neither table holds a secret that opens anything: tokens stand as their SHA-256.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, LargeBinary, MetaData, Table, Text

metadata = MetaData()

sessions = Table(
    "console_sessions",
    metadata,
    Column("token", LargeBinary, primary_key=True),  # SHA-256 of the cookie
    Column("user_id", Text, nullable=False),  # pseudonym, as entries name it
    Column("name", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("member", Text),
    Column("created", BigInteger, nullable=False),
    Column("seen", BigInteger, nullable=False),
)

links = Table(
    "console_links",
    metadata,
    Column("token", LargeBinary, primary_key=True),
    Column("name", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("member", Text),
    Column("expires", BigInteger, nullable=False),
)
