"""The tables, as Alembic compares them with the database. Read it as the design; every statement assumes it."""

from __future__ import annotations

from sqlalchemy import (
    CheckConstraint,
    Column,
    Computed,
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
from sqlalchemy.dialects.postgresql import ARRAY, BIGINT, BOOLEAN, JSONB, REGCONFIG, TSVECTOR

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
    """A moment; a required one is when the row was written unless said otherwise."""
    return Column(name, DateTime(timezone=True), nullable=not required, server_default=_now if required else None)


knowledge_base = Table(
    "knowledge_base",
    metadata,
    Column("name", Text, primary_key=True),
    _time("created_at", required=True),
    # A trigger on `document` advances it, so that no statement can forget to: caches are keyed by it.
    Column(
        "epoch", BIGINT, nullable=False, server_default=text("0"),
        comment="advances with every change of a document's rights and every take-down, in the same transaction",
    ),
)  # fmt: skip

# What stands at a URI now. Rights (`acl`) and take-down act from here, in every version at once.
document = Table(
    "document",
    metadata,
    Column("kb", Text, ForeignKey("knowledge_base.name"), nullable=False),
    Column("uri", Text, nullable=False),
    Column("content_hash", Text, comment="the current revision; null until the document was parsed once"),
    Column("etag", Text, nullable=False, comment="the source's change mark when it was last read"),
    Column("bytes_hash", Text, comment="hash of the bytes last read, so that a touched file is not parsed again"),
    Column("acl", ARRAY(Text), nullable=False),
    _time("taken_down_at"),
    Column("taken_down_reason", Text),
    _time("vanished_at"),
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
    Column("language", REGCONFIG, nullable=False),
    Column(
        "tsv",
        TSVECTOR,
        Computed("setweight(to_tsvector(language, context), 'B') || to_tsvector(language, text)", persisted=True),
    ),
    PrimaryKeyConstraint("kb", "id"),
    Index("ix_chunk_tsv", "tsv", postgresql_using="gin"),
)

# A chunk stands here in the versions since <= v < until; until is null while it goes on standing.
placement = Table(
    "placement",
    metadata,
    Column("kb", Text, nullable=False),
    Column("uri", Text, nullable=False),
    Column("ordinal", Integer, nullable=False),
    Column("since", Integer, nullable=False),
    Column("until", Integer),
    Column("chunk", Text, nullable=False),
    Column("content_hash", Text, nullable=False),
    Column("start", Integer, nullable=False),
    Column("end", Integer, nullable=False),
    Column("heading_path", ARRAY(Text), nullable=False),
    PrimaryKeyConstraint("kb", "uri", "ordinal", "since"),
    ForeignKeyConstraint(["kb", "chunk"], ["chunk.kb", "chunk.id"]),
    ForeignKeyConstraint(
        ["kb", "uri", "content_hash"],
        ["revision.kb", "revision.uri", "revision.content_hash"],
        name="fk_placement_revision",
    ),
    ForeignKeyConstraint(["kb", "since"], ["version.kb", "version.number"]),
    ForeignKeyConstraint(["kb", "until"], ["version.kb", "version.number"]),
    CheckConstraint("until IS NULL OR since < until", name="interval"),
    CheckConstraint('0 <= start AND start < "end"', name="offsets"),
    Index("ix_placement_chunk", "kb", "chunk"),
    # What a version opened and what it ended: a night looks at these alone.
    Index("ix_placement_since", "kb", "since"),
    Index("ix_placement_until", "kb", "until", postgresql_where=text("until IS NOT NULL")),
    Index("ux_placement_open", "kb", "uri", "ordinal", unique=True, postgresql_where=text("until IS NULL")),
)

# float32, little-endian, Euclidean length 1. A partition per model: leaving a model is emptying a partition.
embedding = Table(
    "embedding",
    metadata,
    Column("model", Text, nullable=False),
    Column("text_hash", Text, nullable=False),
    Column("vector", LargeBinary, nullable=False),
    PrimaryKeyConstraint("model", "text_hash"),
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
    Column("state", Text, nullable=False),
    Column("count", Integer),
    _time("created_at", required=True),
    CheckConstraint("state IN ('writing', 'sealed', 'dropped')", name="state"),
    CheckConstraint("state <> 'sealed' OR count IS NOT NULL", name="sealed_is_counted"),
)

segment_chunk = Table(
    "segment_chunk",
    metadata,
    Column("segment", BIGINT, ForeignKey("segment.id"), nullable=False),
    Column("chunk", Text, nullable=False),
    PrimaryKeyConstraint("segment", "chunk"),
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

version_segment = Table(
    "version_segment",
    metadata,
    Column("kb", Text, nullable=False),
    Column("number", Integer, nullable=False),
    Column("segment", BIGINT, ForeignKey("segment.id"), nullable=False),
    PrimaryKeyConstraint("kb", "number", "segment"),
    ForeignKeyConstraint(["kb", "number"], ["version.kb", "version.number"]),
    Index("ix_version_segment_segment", "segment"),
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
    ForeignKeyConstraint(["kb", "version"], ["version.kb", "version.number"]),
    ForeignKeyConstraint(["kb", "baseline"], ["version.kb", "version.number"]),
    Index("ix_evaluation_kb_version", "kb", "version"),
)

evaluation_question = Table(
    "evaluation_question",
    metadata,
    Column("evaluation", BIGINT, ForeignKey("evaluation.id"), nullable=False),
    Column("question", Text, nullable=False),
    Column("slice", Text, nullable=False),
    Column("metrics", JSONB, nullable=False),
    Column("baseline_metrics", JSONB, nullable=False),
    PrimaryKeyConstraint("evaluation", "question"),
)

# The history of every channel; the open row is what the channel serves.
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
    _time("since", required=True),
    _time("until"),
    ForeignKeyConstraint(["kb", "version"], ["version.kb", "version.number"]),
    CheckConstraint("channel IN ('live', 'canary')", name="channel"),
    CheckConstraint("until IS NULL OR since <= until", name="interval"),
    Index("ux_release_open", "kb", "channel", unique=True, postgresql_where=text("until IS NULL")),
    Index("ix_release_kb_channel_id", "kb", "channel", "id"),
)

answer_log = Table(
    "answer_log",
    metadata,
    Column("day", Date, nullable=False, server_default=text("CURRENT_DATE")),
    Column("id", Text, nullable=False),
    Column("kb", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("request", Text, nullable=False),
    Column("generator", Text, nullable=False),
    Column("passages", ARRAY(Text), nullable=False, comment="chunk ids, best first"),
    Column("supported", BOOLEAN, nullable=False),
    Column("degraded", ARRAY(Text), nullable=False),
    Column("milliseconds", Integer, nullable=False),
    _time("asked_at", required=True),
    Column("release", BIGINT, comment="null where a version was asked by number"),
    Column("caller", Text, nullable=False, server_default=""),
    Column("prompt", Text, comment="fingerprint of the prompt's words; null without a model"),
    Column("finish_reason", Text, nullable=False, server_default="stop"),
    Column("input_tokens", Integer, nullable=False, server_default=text("0")),
    Column("output_tokens", Integer, nullable=False, server_default=text("0")),
    Column("cached", BOOLEAN, nullable=False, server_default=text("false")),
    Column("trace", Text, comment="id of the trace, where one was sampled"),
    Column("question", Text, comment="only where the setting asks for it"),
    PrimaryKeyConstraint("day", "id"),
    postgresql_partition_by="RANGE (day)",
)

feedback = Table(
    "feedback",
    metadata,
    Column("id", BIGINT, Identity(always=True), primary_key=True),
    Column("kb", Text, nullable=False),
    Column("answer", Text, nullable=False),
    Column("verdict", Text, nullable=False),
    Column("comment", Text),
    _time("given_at", required=True),
    Column("caller", Text, nullable=False, server_default=""),
    UniqueConstraint("answer", "caller", name="uq_feedback_answer"),
    CheckConstraint("verdict IN ('good', 'bad')", name="verdict"),
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

# What became of a request that changes something, so that the same request sent again is told the same.
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
