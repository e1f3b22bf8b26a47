"""Fence builds with a token, and quarantine documents whose texts a provider rejects"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "build",
        sa.Column("kb", sa.Text(), nullable=False),
        sa.Column("token", sa.BIGINT(), nullable=False, comment="increased by each build that acquires the build lock"),
        sa.Column("holder", sa.Text(), nullable=False, comment="the flow run, or empty"),
        sa.Column("started_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("kb", name=op.f("pk_build")),
    )
    op.add_column(
        "evaluation",
        sa.Column(
            "build",
            sa.BIGINT(),
            comment="token of the build that stored it; null: by an earlier release, and releases nothing",
        ),
    )
    op.create_table(
        "embedding_rejection",
        sa.Column("kb", sa.Text(), nullable=False),
        sa.Column("uri", sa.Text(), nullable=False),
        sa.Column("content_hash", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("chunking", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("rejected_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("kb", "uri", name=op.f("pk_embedding_rejection")),
        sa.ForeignKeyConstraint(
            ["kb", "uri"],
            ["document.kb", "document.uri"],
            name=op.f("fk_embedding_rejection_kb_uri"),
            ondelete="CASCADE",
        ),
    )


def downgrade() -> None:
    op.drop_table("embedding_rejection")
    op.drop_column("evaluation", "build")
    op.drop_table("build")
