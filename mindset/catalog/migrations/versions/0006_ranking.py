"""Store ranking options with each version, and the postings of segments instead of text search vectors of chunks"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

# Languages that the words of version 1 of the analysis can be reduced to stems in; others are not reduced.
_LANGUAGES = [
    "arabic",
    "armenian",
    "basque",
    "catalan",
    "danish",
    "dutch",
    "english",
    "estonian",
    "finnish",
    "french",
    "german",
    "greek",
    "hindi",
    "hungarian",
    "indonesian",
    "irish",
    "italian",
    "lithuanian",
    "nepali",
    "norwegian",
    "portuguese",
    "romanian",
    "russian",
    "serbian",
    "spanish",
    "swedish",
    "tamil",
    "turkish",
    "yiddish",
]


def upgrade() -> None:
    # Read before anything is locked. All chunks of a knowledge base have the language of its last night.
    languages = op.get_bind().execute(
        sa.text("SELECT name, (SELECT c.language::text FROM chunk c WHERE c.kb = name LIMIT 1) FROM knowledge_base")
    ).fetchall()  # fmt: skip
    analyses = {kb: f"words/1:{language if language in _LANGUAGES else 'simple'}" for kb, language in languages}
    op.create_table(
        "postings",
        sa.Column("segment_id", sa.BigInteger(), nullable=False),
        sa.Column(
            "analysis", sa.Text(), nullable=False, comment="name of the analysis that split the texts into words"
        ),
        sa.Column("part", sa.Integer(), nullable=False),
        sa.Column(
            "data", sa.LargeBinary(), nullable=False, comment="the postings in NumPy's npz format, cut into parts"
        ),
        sa.ForeignKeyConstraint(["segment_id"], ["segment.id"], name=op.f("fk_postings_segment_id")),
        sa.PrimaryKeyConstraint("segment_id", "analysis", "part", name=op.f("pk_postings")),
    )
    # Compressing would take longer than reading.
    op.execute("ALTER TABLE postings ALTER COLUMN data SET STORAGE EXTERNAL")
    op.add_column(
        "version",
        sa.Column(
            "ranking", postgresql.JSONB(), nullable=True, comment="the options that the order of its results depends on"
        ),
    )
    for kb, analysis in analyses.items():
        op.execute(
            sa.text(
                """UPDATE version SET ranking = jsonb_build_object(
                     'analysis', CAST(:analysis AS text), 'candidates', 60,
                     'dense_weight', CASE WHEN model LIKE 'wordllama:%' THEN 0.3 ELSE 1.0 END,
                     'lexical_weight', 1.0, 'rerank', NULL)
                   WHERE kb = :kb"""
            ).bindparams(kb=kb, analysis=analysis)
        )
    op.alter_column("version", "ranking", nullable=False)
    op.drop_index("ix_chunk_tsv", table_name="chunk", postgresql_using="gin")
    op.drop_column("chunk", "tsv")
    op.drop_column("chunk", "language")


def downgrade() -> None:
    op.add_column("chunk", sa.Column("language", postgresql.REGCONFIG(), nullable=False, server_default="english"))
    op.alter_column("chunk", "language", server_default=None)
    op.execute(
        """ALTER TABLE chunk ADD COLUMN tsv tsvector GENERATED ALWAYS AS (
             setweight(to_tsvector(language, context), 'B') || to_tsvector(language, text)) STORED"""
    )
    op.execute("ALTER TABLE chunk ALTER COLUMN tsv SET STATISTICS 500")
    op.create_index("ix_chunk_tsv", "chunk", ["tsv"], unique=False, postgresql_using="gin")
    op.drop_column("version", "ranking")
    op.drop_table("postings")
