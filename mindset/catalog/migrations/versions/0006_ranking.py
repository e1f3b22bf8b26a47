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
    # All chunks of a knowledge base have the language of its last night.
    op.execute(
        sa.text(
            """UPDATE version v SET ranking = jsonb_build_object(
                 'analysis', 'words/1:' || coalesce(
                   (SELECT c.language::text FROM chunk c WHERE c.kb = v.kb AND c.language::text = ANY(:languages) LIMIT 1),
                   'simple'),
                 'candidates', 60,
                 'dense_weight', CASE WHEN v.model LIKE 'wordllama:%' THEN 0.3 ELSE 1.0 END,
                 'lexical_weight', 1.0,
                 'rerank', NULL)"""
        ).bindparams(languages=_LANGUAGES)
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
