"""Store whether a document's rights are its own or those of its knowledge base, and secrets that processes share"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Null, not false, for documents of today: theirs may be their own. The column is added without rewriting a row.
    op.add_column(
        "document",
        sa.Column(
            "has_own_acl", sa.Boolean(), nullable=True,
            comment="false: `acl` is the knowledge base's; null: stored before 0008, not known",
        ),
    )  # fmt: skip
    op.create_table(
        "server_secret",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("secret", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_server_secret")),
    )


def downgrade() -> None:
    op.drop_table("server_secret")
    op.drop_column("document", "has_own_acl")
