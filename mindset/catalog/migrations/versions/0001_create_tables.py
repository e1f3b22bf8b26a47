"""Create the tables of the first release

The module is longer than 300 lines because it creates all tables. It never changes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "answer_log",
        sa.Column("day", sa.Date(), server_default=sa.text("CURRENT_DATE"), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("kb", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("request", sa.Text(), nullable=False),
        sa.Column("generator", sa.Text(), nullable=False),
        sa.Column("passages", postgresql.ARRAY(sa.Text()), nullable=False, comment="chunk ids, best first"),
        sa.Column("supported", sa.BOOLEAN(), nullable=False),
        sa.Column("degraded", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("milliseconds", sa.Integer(), nullable=False),
        sa.Column("asked_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("day", "id", name=op.f("pk_answer_log")),
        postgresql_partition_by="RANGE (day)",
    )
    op.create_table(
        "api_key",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column(
            "secret_hash", sa.LargeBinary(), nullable=False, comment="HMAC-SHA256 with the installation's pepper"
        ),
        sa.Column("scopes", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("principals", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_key")),
    )
    op.create_table(
        "audit",
        sa.Column("id", sa.BIGINT(), sa.Identity(always=True), nullable=False),
        sa.Column("kb", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("detail", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit")),
    )
    op.create_table(
        "embedding",
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("text_hash", sa.Text(), nullable=False),
        sa.Column("vector", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint(
            "octet_length(vector) > 0 AND mod(octet_length(vector), 4) = 0", name=op.f("ck_embedding_floats")
        ),
        sa.PrimaryKeyConstraint("model", "text_hash", name=op.f("pk_embedding")),
        postgresql_partition_by="LIST (model)",
    )
    op.create_table(
        "feedback",
        sa.Column("id", sa.BIGINT(), sa.Identity(always=True), nullable=False),
        sa.Column("kb", sa.Text(), nullable=False),
        sa.Column("answer", sa.Text(), nullable=False),
        sa.Column("verdict", sa.Text(), nullable=False),
        sa.Column("comment", sa.Text(), nullable=True),
        sa.Column("given_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("verdict IN ('good', 'bad')", name=op.f("ck_feedback_verdict")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_feedback")),
    )
    op.create_table(
        "knowledge_base",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_knowledge_base")),
    )
    op.create_table(
        "chunk",
        sa.Column("kb", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False, comment="hash of context and text; also the key of its vectors"),
        sa.Column("context", sa.Text(), nullable=False, comment="title and headings, embedded with the text"),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("language", postgresql.REGCONFIG(), nullable=False),
        sa.Column(
            "tsv",
            postgresql.TSVECTOR(),
            sa.Computed(
                "setweight(to_tsvector(language, context), 'B') || to_tsvector(language, text)", persisted=True
            ),
            nullable=True,
        ),
        sa.ForeignKeyConstraint(["kb"], ["knowledge_base.name"], name=op.f("fk_chunk_kb")),
        sa.PrimaryKeyConstraint("kb", "id", name=op.f("pk_chunk")),
    )
    op.create_index("ix_chunk_tsv", "chunk", ["tsv"], unique=False, postgresql_using="gin")
    op.create_table(
        "document",
        sa.Column("kb", sa.Text(), nullable=False),
        sa.Column("uri", sa.Text(), nullable=False),
        sa.Column(
            "content_hash",
            sa.Text(),
            nullable=True,
            comment="the current revision; null until the document was parsed once",
        ),
        sa.Column("etag", sa.Text(), nullable=False, comment="the source's change mark when it was last read"),
        sa.Column(
            "bytes_hash",
            sa.Text(),
            nullable=True,
            comment="hash of the bytes last read, so that a touched file is not parsed again",
        ),
        sa.Column("acl", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("taken_down_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("taken_down_reason", sa.Text(), nullable=True),
        sa.Column("vanished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("quarantined_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("quarantine_reason", sa.Text(), nullable=True),
        sa.Column(
            "placed_hash", sa.Text(), nullable=True, comment="the revision that its open placements were cut from"
        ),
        sa.Column("placed_chunking", sa.Text(), nullable=True, comment="fingerprint of the chunking that cut them"),
        sa.CheckConstraint(
            "(quarantined_at IS NULL) = (quarantine_reason IS NULL)", name=op.f("ck_document_quarantine_has_a_reason")
        ),
        sa.CheckConstraint("cardinality(acl) > 0", name=op.f("ck_document_acl_names_someone")),
        sa.ForeignKeyConstraint(["kb"], ["knowledge_base.name"], name=op.f("fk_document_kb")),
        sa.PrimaryKeyConstraint("kb", "uri", name=op.f("pk_document")),
    )
    op.create_table(
        "segment",
        sa.Column("id", sa.BIGINT(), sa.Identity(always=True), nullable=False),
        sa.Column("kb", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("dimension", sa.Integer(), nullable=False),
        sa.Column("collection", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=True),
        sa.Column("digest", sa.Text(), nullable=True, comment="hash of its sorted chunk ids"),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "state <> 'sealed' OR (count IS NOT NULL AND digest IS NOT NULL)", name=op.f("ck_segment_sealed_is_counted")
        ),
        sa.CheckConstraint("state IN ('writing', 'sealed', 'dropped')", name=op.f("ck_segment_state")),
        sa.ForeignKeyConstraint(["kb"], ["knowledge_base.name"], name=op.f("fk_segment_kb")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_segment")),
        sa.UniqueConstraint("collection"),
    )
    op.create_table(
        "version",
        sa.Column("kb", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("dimension", sa.Integer(), nullable=False),
        sa.Column("chunking", sa.Text(), nullable=False),
        sa.Column("documents", sa.Integer(), nullable=True),
        sa.Column("chunks", sa.Integer(), nullable=True),
        sa.Column("flow_run", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("ready_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("state = 'building' OR ready_at IS NOT NULL", name=op.f("ck_version_ready_has_a_time")),
        sa.CheckConstraint("state IN ('building', 'ready', 'rejected', 'retired')", name=op.f("ck_version_state")),
        sa.CheckConstraint("number > 0", name=op.f("ck_version_number")),
        sa.ForeignKeyConstraint(["kb"], ["knowledge_base.name"], name=op.f("fk_version_kb")),
        sa.PrimaryKeyConstraint("kb", "number", name=op.f("pk_version")),
    )
    op.create_index(
        "ux_version_building", "version", ["kb"], unique=True, postgresql_where=sa.text("state = 'building'")
    )
    op.create_table(
        "evaluation",
        sa.Column("id", sa.BIGINT(), sa.Identity(always=True), nullable=False),
        sa.Column("kb", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column(
            "baseline",
            sa.Integer(),
            nullable=True,
            comment="the version that was live and is compared with; null for the first",
        ),
        sa.Column(
            "golden_set", sa.Text(), nullable=False, comment="fingerprint of its questions; empty where there is none"
        ),
        sa.Column("questions", sa.Integer(), nullable=False),
        sa.Column(
            "metrics",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="{slice: {metric: value}}, slice `all` among them",
        ),
        sa.Column("baseline_metrics", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("passed", sa.BOOLEAN(), nullable=False),
        sa.Column("reasons", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["kb", "baseline"], ["version.kb", "version.number"], name=op.f("fk_evaluation_kb_baseline")
        ),
        sa.ForeignKeyConstraint(
            ["kb", "version"], ["version.kb", "version.number"], name=op.f("fk_evaluation_kb_version")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_evaluation")),
    )
    op.create_index("ix_evaluation_kb_version", "evaluation", ["kb", "version"], unique=False)
    op.create_table(
        "release",
        sa.Column("id", sa.BIGINT(), sa.Identity(always=True), nullable=False),
        sa.Column("kb", sa.Text(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("replaces", sa.Integer(), nullable=True, comment="the version that was on the channel before"),
        sa.Column("released_by", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("channel IN ('live', 'canary')", name=op.f("ck_release_channel")),
        sa.CheckConstraint("until IS NULL OR since <= until", name=op.f("ck_release_interval")),
        sa.ForeignKeyConstraint(
            ["kb", "version"], ["version.kb", "version.number"], name=op.f("fk_release_kb_version")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_release")),
    )
    op.create_index("ix_release_kb_channel_id", "release", ["kb", "channel", "id"], unique=False)
    op.create_index(
        "ux_release_open", "release", ["kb", "channel"], unique=True, postgresql_where=sa.text("until IS NULL")
    )
    op.create_table(
        "revision",
        sa.Column("kb", sa.Text(), nullable=False),
        sa.Column("uri", sa.Text(), nullable=False),
        sa.Column("content_hash", sa.Text(), nullable=False),
        sa.Column("media_type", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("metadata", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("fetched_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["kb", "uri"], ["document.kb", "document.uri"], name=op.f("fk_revision_kb_uri")),
        sa.PrimaryKeyConstraint("kb", "uri", "content_hash", name=op.f("pk_revision")),
    )
    op.create_table(
        "segment_chunk",
        sa.Column("segment", sa.BIGINT(), nullable=False),
        sa.Column("chunk", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["segment"], ["segment.id"], name=op.f("fk_segment_chunk_segment")),
        sa.PrimaryKeyConstraint("segment", "chunk", name=op.f("pk_segment_chunk")),
    )
    op.create_table(
        "version_segment",
        sa.Column("kb", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("segment", sa.BIGINT(), nullable=False),
        sa.ForeignKeyConstraint(
            ["kb", "number"], ["version.kb", "version.number"], name=op.f("fk_version_segment_kb_number")
        ),
        sa.ForeignKeyConstraint(["segment"], ["segment.id"], name=op.f("fk_version_segment_segment")),
        sa.PrimaryKeyConstraint("kb", "number", "segment", name=op.f("pk_version_segment")),
    )
    op.create_index("ix_version_segment_segment", "version_segment", ["segment"], unique=False)
    op.create_table(
        "evaluation_question",
        sa.Column("evaluation", sa.BIGINT(), nullable=False),
        sa.Column("question", sa.Text(), nullable=False),
        sa.Column("slice", sa.Text(), nullable=False),
        sa.Column("metrics", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("baseline_metrics", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.ForeignKeyConstraint(["evaluation"], ["evaluation.id"], name=op.f("fk_evaluation_question_evaluation")),
        sa.PrimaryKeyConstraint("evaluation", "question", name=op.f("pk_evaluation_question")),
    )
    op.create_table(
        "placement",
        sa.Column("kb", sa.Text(), nullable=False),
        sa.Column("uri", sa.Text(), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("since", sa.Integer(), nullable=False),
        sa.Column("until", sa.Integer(), nullable=True),
        sa.Column("chunk", sa.Text(), nullable=False),
        sa.Column("content_hash", sa.Text(), nullable=False),
        sa.Column("start", sa.Integer(), nullable=False),
        sa.Column("end", sa.Integer(), nullable=False),
        sa.Column("heading_path", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.CheckConstraint('0 <= start AND start < "end"', name=op.f("ck_placement_offsets")),
        sa.CheckConstraint("until IS NULL OR since < until", name=op.f("ck_placement_interval")),
        sa.ForeignKeyConstraint(["kb", "chunk"], ["chunk.kb", "chunk.id"], name=op.f("fk_placement_kb_chunk")),
        sa.ForeignKeyConstraint(["kb", "since"], ["version.kb", "version.number"], name=op.f("fk_placement_kb_since")),
        sa.ForeignKeyConstraint(["kb", "until"], ["version.kb", "version.number"], name=op.f("fk_placement_kb_until")),
        sa.ForeignKeyConstraint(
            ["kb", "uri", "content_hash"],
            ["revision.kb", "revision.uri", "revision.content_hash"],
            name="fk_placement_revision",
        ),
        sa.PrimaryKeyConstraint("kb", "uri", "ordinal", "since", name=op.f("pk_placement")),
    )
    op.create_index("ix_placement_chunk", "placement", ["kb", "chunk"], unique=False)
    op.create_index(
        "ux_placement_open",
        "placement",
        ["kb", "uri", "ordinal"],
        unique=True,
        postgresql_where=sa.text("until IS NULL"),
    )
    # A document names its current revision, and a revision its document: within one transaction, in either order.
    op.create_foreign_key(
        "fk_document_revision",
        "document",
        "revision",
        ["kb", "uri", "content_hash"],
        ["kb", "uri", "content_hash"],
        deferrable=True,
        initially="DEFERRED",
    )
    # Answers of days that have no partition of their own yet; `maintain` makes those of the days ahead.
    # How rare words are comes from Postgres's statistics: 10 words a unit of the target.
    op.execute("ALTER TABLE chunk ALTER COLUMN tsv SET STATISTICS 500")
    # Ranking reads a row's tsv once a word of the question: out of line, each would be a look-up of its own.
    op.execute("ALTER TABLE chunk SET (toast_tuple_target = 8160)")
    op.execute("CREATE TABLE answer_log_p_default PARTITION OF answer_log DEFAULT")


def downgrade() -> None:
    op.drop_constraint("fk_document_revision", "document")
    op.drop_index("ux_placement_open", table_name="placement", postgresql_where=sa.text("until IS NULL"))
    op.drop_index("ix_placement_chunk", table_name="placement")
    op.drop_table("placement")
    op.drop_table("evaluation_question")
    op.drop_index("ix_version_segment_segment", table_name="version_segment")
    op.drop_table("version_segment")
    op.drop_table("segment_chunk")
    op.drop_table("revision")
    op.drop_index("ux_release_open", table_name="release", postgresql_where=sa.text("until IS NULL"))
    op.drop_index("ix_release_kb_channel_id", table_name="release")
    op.drop_table("release")
    op.drop_index("ix_evaluation_kb_version", table_name="evaluation")
    op.drop_table("evaluation")
    op.drop_index("ux_version_building", table_name="version", postgresql_where=sa.text("state = 'building'"))
    op.drop_table("version")
    op.drop_table("segment")
    op.drop_table("document")
    op.drop_index("ix_chunk_tsv", table_name="chunk", postgresql_using="gin")
    op.drop_table("chunk")
    op.drop_table("knowledge_base")
    op.drop_table("feedback")
    op.drop_table("embedding")
    op.drop_table("audit")
    op.drop_table("api_key")
    op.drop_table("answer_log")
