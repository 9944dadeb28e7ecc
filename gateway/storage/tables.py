"""The node's own tables: messages held as evidence, replays, handovers, deliveries and the inbox.

Times are integers, microseconds since the epoch in UTC. What is personal (bundles, locators) stands only in columns
named `sealed`, encrypted under the key of its data subject; when that key is destroyed they are noise.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

metadata = MetaData()

replays = Table(
    "replays",
    metadata,
    Column("message_id", String(64), primary_key=True),
    Column("expires", BigInteger, nullable=False, index=True),
)

messages = Table(
    "messages",
    metadata,
    Column("message_id", String(64), primary_key=True),
    Column("direction", String(8), primary_key=True),  # "sent" or "received", seen from this node
    Column("peer", String(300), nullable=False),
    Column("service", String(1300), nullable=False),
    Column("request", Text, nullable=False),
    Column("response", Text),
    Column("registry_version", BigInteger, nullable=False),  # the registry that vouched for the request
    Column("response_registry_version", BigInteger),  # and the one that vouched for the response
    Column("entry", String(64), nullable=False),  # id of the log entry that speaks of it
    Column("at", BigInteger, nullable=False, index=True),
)

bodies = Table(
    "bodies",
    metadata,
    Column("message_id", String(64), primary_key=True),
    Column("part", String(8), primary_key=True),  # "request" or "response"
    Column("subject", String(64), nullable=False, index=True),
    Column("sealed", LargeBinary, nullable=False),
)

# What each decision was made of, beside the log entry that names it, and the rulebooks by which it was decided.
decisions = Table(
    "decisions",
    metadata,
    Column("entry", String(64), primary_key=True),
    Column("decision", String(64), nullable=False),
    Column("rulebook", String(80), nullable=False),
    Column("subject", String(64), nullable=False, index=True),
    Column("at", BigInteger, nullable=False, index=True),
    Column("sealed", LargeBinary, nullable=False),
)

rulebooks = Table(
    "rulebooks",
    metadata,
    Column("digest", String(80), primary_key=True),
    Column("text", LargeBinary, nullable=False),
    Column("at", BigInteger, nullable=False),
)

timestamps = Table(
    "timestamps",
    metadata,
    Column("size", BigInteger, primary_key=True),  # of the log at the checkpoint that was stamped
    Column("note", Text, nullable=False),
    Column("token", LargeBinary, nullable=False),  # RFC 3161 time stamp response over the note
    Column("at", BigInteger, nullable=False),
)

handovers = Table(
    "handovers",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("flow", String(8), nullable=False),
    Column("subject", String(64), nullable=False, index=True),
    Column("case_reference", String(64)),
    Column("client", String(128), nullable=False),
    Column("idempotency", String(128), nullable=False),
    Column("state", String(16), nullable=False),  # of `handover.states`
    Column("created", BigInteger, nullable=False),
    Column("changed", BigInteger, nullable=False),
    Column("entry", String(64), nullable=False),
    Column("sealed", LargeBinary),
    Column("number", BigInteger),  # the database's own, in the order of commits: see migration 0002
    Column("adapter", String(200)),  # the version of the adapter that made the record
    UniqueConstraint("client", "idempotency"),
    Index("handovers_state", "state", "created"),
    Index("handovers_number", "number", unique=True),
)

# What clients have asked under an idempotency key: keyed hashes of the key and of all that the request said.
requests = Table(
    "requests",
    metadata,
    Column("client", String(128), primary_key=True),
    Column("key", String(64), primary_key=True),
    Column("fingerprint", String(64), nullable=False),
    Column("at", BigInteger, nullable=False),
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("handover", String(64), ForeignKey("handovers.id"), index=True),
    Column("kind", String(16), nullable=False),  # of `handover.states`
    Column("service", String(1300), nullable=False),
    Column("consumer", String(1300), nullable=False),  # the subsystem that sends it
    Column("role", String(32), nullable=False),
    Column("purpose", String(64), nullable=False),
    Column("categories", Text, nullable=False),
    Column("subject", String(64), nullable=False, index=True),
    Column("state", String(16), nullable=False),  # of `handover.states`
    Column("attempts", Integer, nullable=False),
    Column("due", BigInteger, nullable=False),
    Column("lease", BigInteger, nullable=False),
    Column("token", BigInteger, nullable=False, server_default="0"),  # fence: what the holder of the lease presents
    Column("problem", String(64)),
    Column("receipt", String(64)),
    Column("contact", Text),  # as former versions wrote it; now in `contact_sealed`
    Column("created", BigInteger, nullable=False),
    Column("changed", BigInteger, nullable=False),
    Column("entry", String(64), nullable=False),
    Column("sealed", LargeBinary),
    Column("case_reference", String(64)),
    Column("contact_sealed", LargeBinary),
    Index("deliveries_due", "state", "due"),
)

inbox = Table(
    "inbox",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("delivery", String(64), nullable=False),
    Column("handover", String(64), nullable=False),
    Column("sender", String(1300), nullable=False),
    Column("recipient", String(1300), nullable=False),
    Column("kind", String(16), nullable=False),  # of `handover.states`
    Column("flow", String(8), nullable=False),
    Column("purpose", String(64), nullable=False),
    Column("categories", Text, nullable=False),
    Column("subject", String(64), nullable=False, index=True),
    Column("state", String(16), nullable=False),  # of `handover.states`
    Column("contact", Text),  # as former versions wrote it; now in `contact_sealed`
    Column("digest", String(128), nullable=False),
    Column("received", BigInteger, nullable=False),
    Column("changed", BigInteger, nullable=False),
    Column("entry", String(64), nullable=False),
    Column("sealed", LargeBinary),
    Column("number", BigInteger),  # the database's own, in the order of commits: see migration 0002
    Column("case_reference", String(64)),
    Column("contact_sealed", LargeBinary),
    Column("retain_until", String(10)),  # the last day on which its content is kept
    UniqueConstraint("delivery", "sender", "recipient", name="inbox_arrival"),
    Index("inbox_state", "recipient", "state", "received"),
    Index("inbox_number", "number", unique=True),
    Index("inbox_retain_until", "retain_until"),
)

disclosures = Table(
    "disclosures",
    metadata,
    Column("consent", String(64), primary_key=True),
    Column("recipient", String(1300), primary_key=True),
    Column("sender", String(1300), nullable=False),
    Column("subject", String(64), nullable=False, index=True),
    Column("at", BigInteger, nullable=False),
    Column("identifiers", LargeBinary, nullable=False),  # sealed: what the recipient knows the person by
)

# By which permission or consent each category of what arrived, or was answered, came: as its sender has said.
arrival_words = Table(
    "arrival_words",
    metadata,
    Column("arrival", String(64), primary_key=True),  # the message's id
    Column("category", String(300), primary_key=True),
    Column("kind", String(12), nullable=False),  # permission or consent
    Column("digest", String(64), nullable=False),  # of the sender's record; a withdrawal names the same
    Column("day", String(10), nullable=False),
    Column("giver", String(16), nullable=False),
    Column("section", String(300), nullable=False),
    Column("sender", String(1300)),  # of an answer, and under whom it is filed; a delivery's stand in the inbox
    Column("subject", String(64)),
    Index("arrival_words_digest", "digest"),
)

# What came with data and a human has to see to: `sealed` says whom it is about, `proof` what was done.
tasks = Table(
    "tasks",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("kind", String(24), nullable=False),  # of `obligations.tasks`
    Column("reference", String(64), nullable=False),  # the same duty is not made twice
    Column("member", String(300), nullable=False),
    Column("subject", String(64), nullable=False, index=True),
    Column("message", String(64), nullable=False),  # by which it came, or the handover's id
    Column("party", String(1300), nullable=False),  # from whom, or to whom
    Column("purpose", String(64), nullable=False),
    Column("categories", Text, nullable=False),
    Column("bases", Text, nullable=False),
    Column("care", String(128), nullable=False),  # why a human chooses how the person is reached
    Column("due", String(10), nullable=False),  # a day of the Finnish calendar
    Column("state", String(16), nullable=False),
    Column("outcome", String(32)),
    Column("created", BigInteger, nullable=False),
    Column("changed", BigInteger, nullable=False),
    Column("entry", String(64), nullable=False),
    Column("sealed", LargeBinary),
    Column("proof", LargeBinary),
    UniqueConstraint("kind", "reference", name="tasks_once"),
    Index("tasks_due", "state", "due"),
)

# What came under the condition that it is not disclosed onward, by the person whom it is about.
restrictions = Table(
    "restrictions",
    metadata,
    Column("message", String(64), primary_key=True),
    Column("subject", String(64), primary_key=True, index=True),
    Column("category", String(300), primary_key=True),
    Column("sender", String(1300), nullable=False),
    Column("basis", String(128), nullable=False),
    Column("at", BigInteger, nullable=False),
)

# What a register's record of one key has named, so that a register that names another value corrects itself.
register_records = Table(
    "register_records",
    metadata,
    Column("register", String(300), primary_key=True),
    Column("record", LargeBinary, primary_key=True),  # keyed hash of the register's own key
    Column("system", String(300), primary_key=True),
    Column("subject", String(64), primary_key=True),
    Column("at", BigInteger, nullable=False),
)

# Records that name identifiers of persons who are known apart: each waits for a human or for the source.
held_records = Table(
    "held_records",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("kind", String(16), nullable=False),  # handover or query
    Column("member", String(300), nullable=False),
    Column("register", String(300), nullable=False),
    Column("reason", String(32), nullable=False),
    Column("subject", String(64), nullable=False, index=True),  # of this item alone; its key seals the record
    # A keyed hash of what the register knows it by, never of whom it names; of a proposal the record that it is about.
    Column("lead", String(64), nullable=False, index=True),
    Column("state", String(16), nullable=False),  # of `person.held`
    Column("created", BigInteger, nullable=False),
    Column("changed", BigInteger, nullable=False),
    Column("settled_by", String(128)),
    Column("owner", String(128)),  # who proposed it, or has taken it on
    Column("entry", String(64), nullable=False),
    Column("sealed", LargeBinary),
    Index("held_records_state", "state", "created"),
)

# By what the database knows the secrets that it depends on: an HMAC under each, of a constant.
secret_fingerprints = Table(
    "secret_fingerprints",
    metadata,
    Column("name", String(16), primary_key=True),
    Column("fingerprint", String(64), primary_key=True),
    Column("at", BigInteger, nullable=False),
    Column("state", String(8), nullable=False, server_default="current"),  # of `node.secret_files`
)

# What a member of ours asks once for all, as it was signed last. No person is named in it.
standing_requests = Table(
    "standing_requests",
    metadata,
    Column("id", String(300), primary_key=True),
    Column("member", String(300), nullable=False, index=True),
    Column("document", Text, nullable=False),  # with the member's signature
    Column("state", String(16), nullable=False),  # of `asking.requests`, as it was seen last
    Column("created", BigInteger, nullable=False),
    Column("changed", BigInteger, nullable=False),
    Column("entry", String(64), nullable=False),
)

client_revocations = Table(
    "client_revocations",
    metadata,
    Column("revoked", String(128), primary_key=True),  # a certificate's thumbprint, or the name of a client
    Column("kind", String(16), primary_key=True),  # certificate or client
    Column("at", BigInteger, nullable=False),
    Column("entry", String(64), nullable=False),
)

sources = Table(
    "sources",
    metadata,
    Column("source", String(64), primary_key=True),
    Column("item", String(128), primary_key=True),  # a batch's digest; empty for the source's own position
    Column("position", Text, nullable=False),
    Column("records", BigInteger, nullable=False),
    Column("report", BigInteger, nullable=False),  # bytes
    Column("finished", Integer, nullable=False),
    Column("changed", BigInteger, nullable=False),
    # Digest of the version of the adapter that the batch was begun with; empty where it is not known.
    Column("adapter", String(64), nullable=False, server_default=""),
)

# Versions of adapters that were taken into use, and in which turn: the newest row of an adapter is what is in use.
adapter_versions = Table(
    "adapter_versions",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("digest", String(64), primary_key=True),
    Column("declared", String(64), nullable=False),
    Column("wheel", LargeBinary, nullable=False),
    Column("at", BigInteger, nullable=False),
)

adapter_uses = Table(
    "adapter_uses",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("digest", String(64), nullable=False),  # empty: what is installed beside the node
    Column("at", BigInteger, nullable=False),
    Column("entry", String(64), nullable=False),
)
