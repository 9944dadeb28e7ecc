"""The tables of the audit log, and the triggers that make the database refuse to change what was recorded.

Times are integers, microseconds since the epoch in UTC. `entries.body` holds the canonical JSON; the other columns and
the rows of `facets` repeat parts of it for search, and the full check compares them with it. The tree stands as
complete tiles of 256 hashes (`tiles`), written once; the leaves of the last, incomplete tile are those of `entries`.
`head` is one row: the size, the frontier and the signed checkpoint, locked by whoever appends.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    DDL,
    BigInteger,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    event,
)

metadata = MetaData()

_Index64 = BigInteger().with_variant(Integer(), "sqlite")  # INTEGER PRIMARY KEY is SQLite's own row number

entries = Table(
    "audit_entries",
    metadata,
    Column("idx", _Index64, primary_key=True, autoincrement=False),
    Column("leaf", LargeBinary, nullable=False),
    Column("seal", LargeBinary, nullable=False),  # of leaf and index, so that rows that changed places are told apart
    Column("recorded", BigInteger, nullable=False),
    Column("id", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("subject", Text),
    Column("recipient", Text),
    Column("source", Text),
    Column("service", Text),
    Column("client", Text),
    Column("user_id", Text),
    Column("message_id", Text),
    Column("purpose", Text),
    Column("rulebook", Text),
    Column("reason", Text),
    Column("case_key", Text),
    Column("previous", Text),
    Column("body", Text, nullable=False),
)

FACETS: Final = {"basis": 1, "permitted": 2, "withheld": 3, "consent": 4, "member": 5, "refused": 6, "status": 7}
"""Kinds of facet: what an entry may have several of, each a row of `facets`.

`refused` are the members of an entry that was refused or withheld; `status` is WITHDRAWN where a consent was withdrawn.
Both are few among many, and asked for often.
"""

WITHDRAWN: Final = "withdrawn"

facets = Table(
    "audit_facets",
    metadata,
    Column("kind", SmallInteger, nullable=False),
    Column("value", Text, nullable=False),
    Column("recorded", BigInteger, nullable=False),
    Column("idx", BigInteger, nullable=False),
    PrimaryKeyConstraint("kind", "value", "recorded", "idx"),
    sqlite_with_rowid=False,
)

Index("audit_entries_recorded", entries.c.recorded, entries.c.idx)
Index("audit_entries_id", entries.c.id)
for _column in ("type", "outcome"):
    Index(f"audit_entries_{_column}", entries.c[_column], entries.c.recorded, entries.c.idx)
for _column in ("subject", "recipient", "source", "user_id", "purpose", "rulebook", "reason", "case_key"):
    Index(
        f"audit_entries_{_column}",
        entries.c[_column],
        entries.c.recorded,
        entries.c.idx,
        sqlite_where=entries.c[_column].is_not(None),
        postgresql_where=entries.c[_column].is_not(None),
    )
for _column in ("message_id", "previous"):
    Index(
        f"audit_entries_{_column}",
        entries.c[_column],
        sqlite_where=entries.c[_column].is_not(None),
        postgresql_where=entries.c[_column].is_not(None),
    )

tiles = Table(
    "audit_tiles",
    metadata,
    Column("level", SmallInteger, nullable=False),
    Column("number", BigInteger, nullable=False),
    Column("root", LargeBinary, nullable=False),
    Column("hashes", LargeBinary, nullable=False),
    PrimaryKeyConstraint("level", "number"),
)

head = Table(
    "audit_head",
    metadata,
    Column("id", SmallInteger, primary_key=True, autoincrement=False),
    Column("origin", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("frontier", LargeBinary, nullable=False),
    Column("recorded", BigInteger, nullable=False),
    Column("kept", BigInteger, nullable=False),
    Column("note", Text, nullable=False),
)

checkpoints = Table(
    "audit_checkpoints",
    metadata,
    Column("size", _Index64, primary_key=True, autoincrement=False),
    Column("recorded", BigInteger, nullable=False, index=True),
    Column("note", Text, nullable=False),
)

cosignatures = Table(
    "audit_cosignatures",
    metadata,
    Column("size", BigInteger, nullable=False),
    Column("witness", Text, nullable=False),
    Column("timestamp", BigInteger, nullable=False),  # seconds, as the witness signed it
    Column("note", Text, nullable=False),  # the checkpoint with this cosignature
    PrimaryKeyConstraint("size", "witness", "timestamp"),
)

held = Table(
    "audit_held",
    metadata,
    Column("origin", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("root", LargeBinary, nullable=False),
    Column("note", Text, nullable=False),
    Column("received_from", Text, nullable=False),
    Column("received", BigInteger, nullable=False),
    Column("state", Text, nullable=False),  # unproven, proven, contradicted
    PrimaryKeyConstraint("origin", "size", "root"),
)

alarms = Table(
    "audit_alarms",
    metadata,
    Column("id", Text, primary_key=True),
    Column("origin", Text, nullable=False),
    Column("kind", Text, nullable=False),  # fork, rollback, inconsistent
    Column("first", Text, nullable=False),
    Column("second", Text, nullable=False),
    Column("found", BigInteger, nullable=False, index=True),
)

subjects = Table(
    "audit_subjects",
    metadata,
    Column("id", Text, primary_key=True),
    Column("pseudonym", Text, unique=True),
    Column("wrapped_key", LargeBinary),
    Column("same_as", Text, index=True),  # of a former version; what it said stands in `links` as unconfirmed
    Column("created", BigInteger, nullable=False),
    Column("destroyed", BigInteger),
    # 1 for whom only other organisations have named: nothing of ours depends on them
    Column("claimed", SmallInteger, nullable=False, server_default="0"),
)

identifiers = Table(
    "audit_identifiers",
    metadata,
    Column("blind", LargeBinary, primary_key=True),
    Column("subject", Text, nullable=False, index=True),
    Column("created", BigInteger, nullable=False),
    Column("member", Text),  # whose person it is; none where a former version wrote the row
    Column("system", Text),  # who gave the identifier; none where a former version wrote the row
    Column("notation", SmallInteger, nullable=False, server_default="1"),
    Column("index_key", Text),  # which key the blind index was made under
)

# What was said about which subjects are one person. Acts are added, never changed; `audit.questions.links` reads them.
links = Table(
    "audit_links",
    metadata,
    Column("id", Text, primary_key=True),
    Column("first", Text, nullable=False, index=True),
    Column("second", Text, nullable=False, index=True),
    Column("act", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("made_by", Text, nullable=False),
    Column("register", Text),
    Column("reason", Text),
)

# Under whose identifiers an item of another organisation is found; `claim` is the subject of that item alone.
claims = Table(
    "audit_claims",
    metadata,
    Column("claim", Text, nullable=False),
    Column("subject", Text, nullable=False, index=True),
    PrimaryKeyConstraint("claim", "subject"),
)

reviews = Table(
    "audit_reviews",
    metadata,
    Column("id", Text, primary_key=True),
    Column("kind", Text, nullable=False),  # break-glass, anomaly
    Column("entry", Text, nullable=False),
    Column("opened", BigInteger, nullable=False, index=True),
    Column("rule", Text, nullable=False),  # of the pattern; empty for an emergency access
    Column("explanation", Text, nullable=False),
    Column("signed_off", BigInteger),
    Column("signed_by", Text),
    Column("verdict", Text),
    Column("remark", Text),
    UniqueConstraint("entry", "rule"),
    Index("audit_reviews_open", "signed_off", "opened"),
)

archives = Table(
    "audit_archives",
    metadata,
    Column("first", _Index64, primary_key=True, autoincrement=False),
    Column("through", BigInteger, nullable=False),  # index after the last
    Column("month", Text, nullable=False),
    Column("folder", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("archived", BigInteger, nullable=False),
    Column("pruned", BigInteger),
)

flows = Table(
    "audit_flows",
    metadata,
    Column("day", Integer, nullable=False),  # of Finnish time; 1 is the first of January of the year 1
    Column("source", Text, nullable=False),
    Column("recipient", Text, nullable=False),
    Column("released", BigInteger, nullable=False),
    Column("refused", BigInteger, nullable=False),
    Column("fruitless", BigInteger, nullable=False),
    PrimaryKeyConstraint("day", "source", "recipient"),
    sqlite_with_rowid=False,
)

processing = Table(
    "audit_processing",
    metadata,
    Column("year", Integer, nullable=False),
    Column("purpose", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("recipient", Text, nullable=False),
    Column("released", BigInteger, nullable=False),
    Column("refused", BigInteger, nullable=False),
    Column("fruitless", BigInteger, nullable=False),
    PrimaryKeyConstraint("year", "purpose", "source", "recipient"),
    sqlite_with_rowid=False,
)

_NEVER_CHANGED = ("audit_entries", "audit_facets", "audit_tiles", "audit_checkpoints", "audit_cosignatures")
# Entries that stand in an archive may be removed from the database; nothing may ever be changed.
_ARCHIVED = "OLD.idx < (SELECT coalesce(max(through), 0) FROM audit_archives WHERE pruned IS NOT NULL)"
_REMOVABLE = ("audit_entries", "audit_facets")


def _triggers() -> dict[str, tuple[str, ...]]:
    refusal = "the audit log is append-only"
    sqlite: list[str] = []
    postgresql: list[str] = []
    for name, unless in (("audit_refuse", ""), ("audit_refuse_unarchived", f"IF {_ARCHIVED} THEN RETURN OLD; END IF;")):
        postgresql.append(
            f"CREATE OR REPLACE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS "
            f"$$ BEGIN {unless} RAISE EXCEPTION '{refusal}'; END $$"
        )
    for table in _NEVER_CHANGED:
        removable = table in _REMOVABLE
        when = f"WHEN NOT ({_ARCHIVED}) " if removable else ""
        abort = f"BEGIN SELECT RAISE(ABORT, '{refusal}'); END"
        sqlite.append(f"CREATE TRIGGER {table}_no_update BEFORE UPDATE ON {table} {abort}")
        sqlite.append(f"CREATE TRIGGER {table}_no_delete BEFORE DELETE ON {table} {when}{abort}")
        for name, action, scope, function in (
            ("update", "UPDATE", "ROW", "audit_refuse"),
            ("delete", "DELETE", "ROW", "audit_refuse_unarchived" if removable else "audit_refuse"),
            ("truncate", "TRUNCATE", "STATEMENT", "audit_refuse"),
        ):
            postgresql.append(
                f"CREATE TRIGGER {table}_no_{name} BEFORE {action} ON {table} "
                f"FOR EACH {scope} EXECUTE FUNCTION {function}()"
            )
    return {"sqlite": tuple(sqlite), "postgresql": tuple(postgresql)}


TRIGGER_DDL: Final = _triggers()
"""Statements by dialect that make the database refuse changes; `metadata.create_all` runs them, migrations must."""

for _dialect, _statements in TRIGGER_DDL.items():
    for _statement in _statements:
        for _table in (entries, facets, tiles, checkpoints, cosignatures):
            if _statement.startswith("CREATE OR REPLACE FUNCTION") or f" ON {_table.name} " in _statement:
                event.listen(
                    _table,
                    "after_create",
                    DDL(_statement).execute_if(dialect=_dialect),  # type: ignore[no-untyped-call]
                )
