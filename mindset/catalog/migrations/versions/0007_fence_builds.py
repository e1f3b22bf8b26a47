"""Fence builds with a token"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0005"
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


def downgrade() -> None:
    op.drop_table("build")
