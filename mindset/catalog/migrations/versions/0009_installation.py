"""Give the installation an id, and record it with each segment's collection"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "installation",
        sa.Column("singleton", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column(
            "system_identifier",
            sa.Text(),
            nullable=True,
            comment="of the server; null if the role was not allowed to read it",
        ),
        sa.Column("database_oid", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("singleton", name=op.f("ck_installation_singleton")),
        sa.CheckConstraint("id ~ '^[0-9a-f]{12}$'", name=op.f("ck_installation_id")),
        sa.PrimaryKeyConstraint("singleton", name=op.f("pk_installation")),
    )
    op.execute(
        """INSERT INTO installation (id, database_oid)
           SELECT left(replace(gen_random_uuid()::text, '-', ''), 12), oid FROM pg_database
           WHERE datname = current_database()"""
    )
    # Postgres checks the privilege even if the function is in a branch that is not taken, so this is a separate statement.
    readable = op.get_bind().scalar(sa.text("SELECT has_function_privilege('pg_control_system()', 'EXECUTE')"))
    if readable:
        op.execute(
            "UPDATE installation SET system_identifier = (SELECT system_identifier::text FROM pg_control_system())"
        )
    op.add_column(
        "segment",
        sa.Column(
            "installation", sa.Text(), nullable=True, comment="id of the installation that created the collection"
        ),
    )
    op.execute("UPDATE segment SET installation = (SELECT id FROM installation)")
    op.alter_column("segment", "installation", nullable=False)


def downgrade() -> None:
    op.drop_column("segment", "installation")
    op.drop_table("installation")
