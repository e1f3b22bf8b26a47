"""Store metadata as a JSON object instead of a string that contains one, so that filters can read it"""

from __future__ import annotations

from alembic import op

from mindset.catalog.migrations.online import add_constraint

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("UPDATE revision SET metadata = (metadata #>> '{}')::jsonb WHERE jsonb_typeof(metadata) = 'string'")
    add_constraint("ck_revision_metadata_is_an_object", "revision", "CHECK (jsonb_typeof(metadata) = 'object')")


def downgrade() -> None:
    op.drop_constraint("metadata_is_an_object", "revision", type_="check")
    op.execute("UPDATE revision SET metadata = to_jsonb(metadata::text)")
