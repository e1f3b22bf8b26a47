"""Index the versions of placements, so that a night reads only what changed"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from mindset.catalog.migrations.online import create_index

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    create_index("ix_placement_since", "placement", "kb, since")
    create_index("ix_placement_until", "placement", "kb, until", where="until IS NOT NULL")

    # Unused: the members of a segment are compared instead.
    op.execute("ALTER TABLE segment DROP CONSTRAINT IF EXISTS ck_segment_sealed_is_counted")
    op.drop_column("segment", "digest")
    op.create_check_constraint("ck_segment_sealed_is_counted", "segment", "state <> 'sealed' OR count IS NOT NULL")


def downgrade() -> None:
    # The naming convention has added its prefix a second time.
    op.execute("ALTER TABLE segment DROP CONSTRAINT ck_segment_ck_segment_sealed_is_counted")
    op.add_column("segment", sa.Column("digest", sa.Text(), comment="hash of its sorted chunk ids"))
    op.drop_index("ix_placement_until", table_name="placement")
    op.drop_index("ix_placement_since", table_name="placement")
