"""Index the versions of placements, so that a night reads only what changed"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_placement_since", "placement", ["kb", "since"])
    op.create_index("ix_placement_until", "placement", ["kb", "until"], postgresql_where=sa.text("until IS NOT NULL"))

    # Unused: the members of a segment are compared instead.
    op.drop_constraint("ck_segment_sealed_is_counted", "segment")
    op.drop_column("segment", "digest")
    op.create_check_constraint("ck_segment_sealed_is_counted", "segment", "state <> 'sealed' OR count IS NOT NULL")


def downgrade() -> None:
    op.add_column("segment", sa.Column("digest", sa.Text(), comment="hash of its sorted chunk ids"))
    op.drop_index("ix_placement_until", table_name="placement")
    op.drop_index("ix_placement_since", table_name="placement")
