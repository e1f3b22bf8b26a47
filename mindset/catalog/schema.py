"""The tables of the catalog. Read this file as the design; Alembic compares it with the database.

The module is longer than 300 lines because all tables are listed in one place, with their relations."""

from __future__ import annotations

from sqlalchemy import (
    CheckConstraint,
    Column,
    Date,
    DateTime,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, BIGINT, BOOLEAN, JSONB

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

_now = text("now()")


def _time(name: str, *, required: bool = False) -> Column[object]:
    """A timestamp column; a required one defaults to the time of the insert."""
    return Column(name, DateTime(timezone=True), nullable=not required, server_default=_now if required else None)


# One row. Collections in Chroma and keys in Redis carry its id, so that installations can share these servers.
installation = Table(
    "installation",
    metadata,
    Column("singleton", BOOLEAN, primary_key=True, server_default=text("true")),
    Column("id", Text, nullable=False),
    # The database in which the row was written: in a copy of it, the row does not match.
    Column("system_identifier", Text, comment="of the server; null if the role was not allowed to read it"),
    Column("database_oid", BIGINT, nullable=False),
    _time("created_at", required=True),
    CheckConstraint("singleton", name="singleton"),
    CheckConstraint("id ~ '^[0-9a-f]{12}$'", name="id"),
)

knowledge_base = Table(
    "knowledge_base",
    metadata,
    Column("name", Text, primary_key=True),
    _time("created_at", required=True),
    # Cache keys contain it. A trigger on `document` increments it, so that no statement can forget to.
    Column(
        "rights_epoch", BIGINT, nullable=False, server_default=text("0"),
        comment="advances with every change of a document's rights and every take-down, in the same transaction",
    ),
)  # fmt: skip

# The current state of each URI. Rights (`acl`) and take-down apply from here, to every version at once.
document = Table(
    "document",
    metadata,
    Column("kb", Text, ForeignKey("knowledge_base.name"), nullable=False),
    Column("uri", Text, nullable=False),
    Column("content_hash", Text, comment="the current revision; null until the document was parsed once"),
    Column("etag", Text, nullable=False, comment="the source's change mark when it was last read"),
    Column("bytes_hash", Text, comment="hash of the bytes last read, so that a touched file is not parsed again"),
    Column("acl", ARRAY(Text), nullable=False),
    Column("has_own_acl", BOOLEAN, comment="false: `acl` is the knowledge base's; null: stored before 0008, not known"),
    _time("taken_down_at"),
    Column("taken_down_reason", Text),
    _time("removed_at"),
    _time("quarantined_at"),
    Column("quarantine_reason", Text),
    Column("placed_hash", Text, comment="the revision that its open placements were cut from"),
    Column("placed_chunking", Text, comment="fingerprint of the chunking that cut them"),
    PrimaryKeyConstraint("kb", "uri"),
    ForeignKeyConstraint(
        ["kb", "uri", "content_hash"],
        ["revision.kb", "revision.uri", "revision.content_hash"],
        name="fk_document_revision",
        deferrable=True,
        initially="DEFERRED",
        use_alter=True,
    ),
    CheckConstraint("cardinality(acl) > 0", name="acl_names_someone"),
    CheckConstraint("(quarantined_at IS NULL) = (quarantine_reason IS NULL)", name="quarantine_has_a_reason"),
)

# Documents whose current revision contains a text that the provider of the model rejects. They are in no version of the model.
embedding_rejection = Table(
    "embedding_rejection",
    metadata,
    Column("kb", Text, nullable=False),
    Column("uri", Text, nullable=False),
    Column("content_hash", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("chunking", Text, nullable=False),
    Column("reason", Text, nullable=False),
    _time("rejected_at", required=True),
    PrimaryKeyConstraint("kb", "uri"),
    ForeignKeyConstraint(["kb", "uri"], ["document.kb", "document.uri"], ondelete="CASCADE"),
)

revision = Table(
    "revision",
    metadata,
    Column("kb", Text, nullable=False),
    Column("uri", Text, nullable=False),
    Column("content_hash", Text, nullable=False),
    Column("media_type", Text, nullable=False),
    Column("title", Text, nullable=False),
    Column("metadata", JSONB, nullable=False),
    Column("text", Text, nullable=False),
    _time("fetched_at", required=True),
    PrimaryKeyConstraint("kb", "uri", "content_hash"),
    ForeignKeyConstraint(["kb", "uri"], ["document.kb", "document.uri"]),
    CheckConstraint("jsonb_typeof(metadata) = 'object'", name="metadata_is_an_object"),
)

chunk = Table(
    "chunk",
    metadata,
    Column("kb", Text, ForeignKey("knowledge_base.name"), nullable=False),
    Column("id", Text, nullable=False, comment="hash of context and text; also the key of its vectors"),
    Column("context", Text, nullable=False, comment="title and headings, embedded with the text"),
    Column("text", Text, nullable=False),
    PrimaryKeyConstraint("kb", "id"),
)

# A chunk occurs here in the versions v with valid_from <= v < valid_to; valid_to is null while it still occurs.
placement = Table(
    "placement",
    metadata,
    Column("kb", Text, nullable=False),
    Column("uri", Text, nullable=False),
    Column("ordinal", Integer, nullable=False),
    Column("valid_from", Integer, nullable=False),
    Column("valid_to", Integer),
    Column("chunk_id", Text, nullable=False),
    Column("content_hash", Text, nullable=False),
    Column("start", Integer, nullable=False),
    Column("end", Integer, nullable=False),
    Column("heading_path", ARRAY(Text), nullable=False),
    PrimaryKeyConstraint("kb", "uri", "ordinal", "valid_from"),
    ForeignKeyConstraint(["kb", "chunk_id"], ["chunk.kb", "chunk.id"]),
    ForeignKeyConstraint(
        ["kb", "uri", "content_hash"],
        ["revision.kb", "revision.uri", "revision.content_hash"],
        name="fk_placement_revision",
    ),
    ForeignKeyConstraint(["kb", "valid_from"], ["version.kb", "version.number"]),
    ForeignKeyConstraint(["kb", "valid_to"], ["version.kb", "version.number"]),
    CheckConstraint("valid_to IS NULL OR valid_from < valid_to", name="interval"),
    CheckConstraint('0 <= start AND start < "end"', name="offsets"),
    Index("ix_placement_chunk_id", "kb", "chunk_id"),
    # The placements that a version opened and closed: a nightly run reads only these.
    Index("ix_placement_valid_from", "kb", "valid_from"),
    Index("ix_placement_valid_to", "kb", "valid_to", postgresql_where=text("valid_to IS NOT NULL")),
    Index("ux_placement_open", "kb", "uri", "ordinal", unique=True, postgresql_where=text("valid_to IS NULL")),
)

# Vectors are little-endian float32 of Euclidean length 1. Each model has a partition, which is truncated when no version
# uses the model any more.
embedding = Table(
    "embedding",
    metadata,
    Column("model", Text, nullable=False),
    Column("chunk_id", Text, nullable=False),
    Column("vector", LargeBinary, nullable=False),
    PrimaryKeyConstraint("model", "chunk_id"),
    CheckConstraint("octet_length(vector) > 0 AND mod(octet_length(vector), 4) = 0", name="floats"),
    postgresql_partition_by="LIST (model)",
)

segment = Table(
    "segment",
    metadata,
    Column("id", BIGINT, Identity(always=True), primary_key=True),
    Column("kb", Text, ForeignKey("knowledge_base.name"), nullable=False),
    Column("model", Text, nullable=False),
    Column("dimension", Integer, nullable=False),
    Column("collection", Text, nullable=False, unique=True),
    Column("installation", Text, nullable=False, comment="id of the installation that created the collection"),
    Column("state", Text, nullable=False),
    Column("count", Integer),
    _time("created_at", required=True),
    CheckConstraint("state IN ('writing', 'sealed', 'dropped')", name="state"),
    CheckConstraint("state <> 'sealed' OR count IS NOT NULL", name="sealed_is_counted"),
)

segment_chunk = Table(
    "segment_chunk",
    metadata,
    Column("segment_id", BIGINT, ForeignKey("segment.id"), nullable=False),
    Column("chunk_id", Text, nullable=False),
    PrimaryKeyConstraint("segment_id", "chunk_id"),
)

# For full-text search: which chunks of a segment contain a word. Derived from the chunks' texts.
postings = Table(
    "postings",
    metadata,
    Column("segment_id", BIGINT, ForeignKey("segment.id"), nullable=False),
    Column("analysis", Text, nullable=False, comment="name of the analysis that split the texts into words"),
    Column("part", Integer, nullable=False),
    Column("data", LargeBinary, nullable=False, comment="the postings in NumPy's npz format, cut into parts"),
    PrimaryKeyConstraint("segment_id", "analysis", "part"),
)

version = Table(
    "version",
    metadata,
    Column("kb", Text, ForeignKey("knowledge_base.name"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("dimension", Integer, nullable=False),
    Column("chunking", Text, nullable=False),
    Column("ranking", JSONB, nullable=False, comment="the options that the order of its results depends on"),
    Column("documents", Integer),
    Column("chunks", Integer),
    Column("flow_run", Text),
    _time("created_at", required=True),
    _time("ready_at"),
    PrimaryKeyConstraint("kb", "number"),
    CheckConstraint("number > 0", name="number"),
    CheckConstraint("state IN ('building', 'ready', 'rejected', 'retired')", name="state"),
    CheckConstraint("state = 'building' OR ready_at IS NOT NULL", name="ready_has_a_time"),
    Index("ux_version_building", "kb", unique=True, postgresql_where=text("state = 'building'")),
)

# The current build of each knowledge base. Every write of a build checks its token, so that a run that was cut off cannot
# finish another run's build. Without a foreign key: the lock is acquired before the first ingestion.
build = Table(
    "build",
    metadata,
    Column("kb", Text, primary_key=True),
    Column("token", BIGINT, nullable=False, comment="increased by each build that acquires the build lock"),
    Column("holder", Text, nullable=False, comment="the flow run, or empty"),
    _time("started_at", required=True),
)

version_segment = Table(
    "version_segment",
    metadata,
    Column("kb", Text, nullable=False),
    Column("number", Integer, nullable=False),
    Column("segment_id", BIGINT, ForeignKey("segment.id"), nullable=False),
    PrimaryKeyConstraint("kb", "number", "segment_id"),
    ForeignKeyConstraint(["kb", "number"], ["version.kb", "version.number"]),
    Index("ix_version_segment_segment_id", "segment_id"),
)

evaluation = Table(
    "evaluation",
    metadata,
    Column("id", BIGINT, Identity(always=True), primary_key=True),
    Column("kb", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("baseline", Integer, comment="the version that was live and is compared with; null for the first"),
    Column("golden_set", Text, nullable=False, comment="fingerprint of its questions; empty where there is none"),
    Column("questions", Integer, nullable=False),
    Column("metrics", JSONB, nullable=False, comment="{slice: {metric: value}}, slice `all` among them"),
    Column("baseline_metrics", JSONB, nullable=False),
    Column("passed", BOOLEAN, nullable=False),
    Column("reasons", ARRAY(Text), nullable=False),
    _time("created_at", required=True),
    Column(
        "build", BIGINT, comment="token of the build that stored it; null: by an earlier release, and releases nothing"
    ),
    ForeignKeyConstraint(["kb", "version"], ["version.kb", "version.number"]),
    ForeignKeyConstraint(["kb", "baseline"], ["version.kb", "version.number"]),
    Index("ix_evaluation_kb_version", "kb", "version"),
)

evaluation_question = Table(
    "evaluation_question",
    metadata,
    Column("evaluation_id", BIGINT, ForeignKey("evaluation.id"), nullable=False),
    Column("question", Text, nullable=False),
    Column("slice", Text, nullable=False),
    Column("metrics", JSONB, nullable=False),
    Column("baseline_metrics", JSONB, nullable=False),
    PrimaryKeyConstraint("evaluation_id", "question"),
)

# The history of every channel. The row whose replaced_at is null is the channel's current release.
release = Table(
    "release",
    metadata,
    Column("id", BIGINT, Identity(always=True), primary_key=True),
    Column("kb", Text, nullable=False),
    Column("channel", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("replaces", Integer, comment="the version that was on the channel before"),
    Column("released_by", Text, nullable=False),
    Column("reason", Text, nullable=False),
    _time("released_at", required=True),
    _time("replaced_at"),
    ForeignKeyConstraint(["kb", "version"], ["version.kb", "version.number"]),
    CheckConstraint("channel IN ('live', 'canary')", name="channel"),
    CheckConstraint("replaced_at IS NULL OR released_at <= replaced_at", name="interval"),
    Index("ux_release_open", "kb", "channel", unique=True, postgresql_where=text("replaced_at IS NULL")),
    Index("ix_release_kb_channel_id", "kb", "channel", "id"),
)

answer_log = Table(
    "answer_log",
    metadata,
    Column("day", Date, nullable=False, server_default=text("CURRENT_DATE")),
    Column("id", Text, nullable=False),
    Column("kb", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("request_id", Text, nullable=False),
    Column("generator", Text, nullable=False),
    Column("chunk_ids", ARRAY(Text), nullable=False, comment="chunk ids, best first"),
    Column("supported", BOOLEAN, nullable=False),
    Column("degraded", ARRAY(Text), nullable=False),
    Column("duration_ms", Integer, nullable=False),
    _time("asked_at", required=True),
    Column("release_id", BIGINT, comment="null where a version was asked by number"),
    Column("caller", Text, nullable=False, server_default=""),
    Column("prompt_fingerprint", Text, comment="fingerprint of the prompt's words; null without a model"),
    Column("finish_reason", Text, nullable=False, server_default="stop"),
    Column("input_tokens", Integer, nullable=False, server_default=text("0")),
    Column("output_tokens", Integer, nullable=False, server_default=text("0")),
    Column("cached", BOOLEAN, nullable=False, server_default=text("false")),
    Column("trace_id", Text, comment="id of the trace, where one was sampled"),
    Column("question", Text, comment="only where the setting asks for it"),
    PrimaryKeyConstraint("day", "id"),
    postgresql_partition_by="RANGE (day)",
)

feedback = Table(
    "feedback",
    metadata,
    Column("id", BIGINT, Identity(always=True), primary_key=True),
    Column("kb", Text, nullable=False),
    Column("answer_id", Text, nullable=False),
    Column("rating", Text, nullable=False),
    Column("comment", Text),
    _time("created_at", required=True),
    Column("caller", Text, nullable=False, server_default=""),
    UniqueConstraint("answer_id", "caller", name="uq_feedback_answer_id"),
    CheckConstraint("rating IN ('good', 'bad')", name="rating"),
)

api_key = Table(
    "api_key",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("secret_hash", LargeBinary, nullable=False, comment="HMAC-SHA256 with the installation's pepper"),
    Column("scopes", ARRAY(Text), nullable=False),
    Column("principals", ARRAY(Text), nullable=False),
    _time("created_at", required=True),
    _time("expires_at"),
    _time("revoked_at"),
    _time("last_used_at"),
)

# Responses to requests that change something, so that a repeated request gets the same response.
idempotency = Table(
    "idempotency",
    metadata,
    Column("caller", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("request", Text, nullable=False, comment="fingerprint of what was asked under the key"),
    Column("response", JSONB, nullable=False),
    _time("created_at", required=True),
    PrimaryKeyConstraint("caller", "key"),
)

audit = Table(
    "audit",
    metadata,
    Column("id", BIGINT, Identity(always=True), primary_key=True),
    Column("kb", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("detail", JSONB, nullable=False),
    _time("at", required=True),
)

server_secret = Table(
    "server_secret",
    metadata,
    Column("name", Text, primary_key=True),
    Column("secret", LargeBinary, nullable=False),
    _time("created_at", required=True),
)
