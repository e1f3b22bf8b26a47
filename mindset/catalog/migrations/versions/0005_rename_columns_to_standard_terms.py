"""Rename columns to standard terms: one name per concept"""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

# Renaming changes the system tables only: no row is rewritten, whatever a table's size.
_COLUMNS = [
    ("placement", "since", "valid_from"),
    ("placement", "until", "valid_to"),
    ("placement", "chunk", "chunk_id"),
    ("segment_chunk", "segment", "segment_id"),
    ("segment_chunk", "chunk", "chunk_id"),
    ("embedding", "text_hash", "chunk_id"),
    ("version_segment", "segment", "segment_id"),
    ("evaluation_question", "evaluation", "evaluation_id"),
    ("document", "vanished_at", "removed_at"),
    ("knowledge_base", "epoch", "rights_epoch"),
    ("release", "since", "released_at"),
    ("release", "until", "replaced_at"),
    ("feedback", "answer", "answer_id"),
    ("feedback", "verdict", "rating"),
    ("feedback", "given_at", "created_at"),
    ("answer_log", "request", "request_id"),
    ("answer_log", "release", "release_id"),
    ("answer_log", "prompt", "prompt_fingerprint"),
    ("answer_log", "passages", "chunk_ids"),
    ("answer_log", "milliseconds", "duration_ms"),
    ("answer_log", "trace", "trace_id"),
]
_INDEXES = [
    ("ix_placement_chunk", "ix_placement_chunk_id"),
    ("ix_placement_since", "ix_placement_valid_from"),
    ("ix_placement_until", "ix_placement_valid_to"),
    ("ix_version_segment_segment", "ix_version_segment_segment_id"),
]
_CONSTRAINTS = [
    ("placement", "fk_placement_kb_chunk", "fk_placement_kb_chunk_id"),
    ("placement", "fk_placement_kb_since", "fk_placement_kb_valid_from"),
    ("placement", "fk_placement_kb_until", "fk_placement_kb_valid_to"),
    ("segment_chunk", "fk_segment_chunk_segment", "fk_segment_chunk_segment_id"),
    ("version_segment", "fk_version_segment_segment", "fk_version_segment_segment_id"),
    ("evaluation_question", "fk_evaluation_question_evaluation", "fk_evaluation_question_evaluation_id"),
    ("feedback", "ck_feedback_verdict", "ck_feedback_rating"),
    ("feedback", "uq_feedback_answer", "uq_feedback_answer_id"),
]

# A trigger function stores its text, so a renamed column does not reach it.
_ADVANCE_EPOCH = """
CREATE OR REPLACE FUNCTION advance_epoch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  UPDATE knowledge_base SET {column} = {column} + 1 WHERE name IN (
    SELECT n.kb FROM before o JOIN after n ON n.kb = o.kb AND n.uri = o.uri
    WHERE n.acl IS DISTINCT FROM o.acl OR n.taken_down_at IS DISTINCT FROM o.taken_down_at);
  RETURN NULL;
END $$
"""


def upgrade() -> None:
    for table, old, new in _COLUMNS:
        op.alter_column(table, old, new_column_name=new)
    for old, new in _INDEXES:
        op.execute(f"ALTER INDEX {old} RENAME TO {new}")
    for table, old, new in _CONSTRAINTS:
        op.execute(f"ALTER TABLE {table} RENAME CONSTRAINT {old} TO {new}")
    op.execute(_ADVANCE_EPOCH.format(column="rights_epoch"))


def downgrade() -> None:
    for table, old, new in _CONSTRAINTS:
        op.execute(f"ALTER TABLE {table} RENAME CONSTRAINT {new} TO {old}")
    for old, new in _INDEXES:
        op.execute(f"ALTER INDEX {new} RENAME TO {old}")
    for table, old, new in _COLUMNS:
        op.alter_column(table, new, new_column_name=old)
    op.execute(_ADVANCE_EPOCH.format(column="epoch"))
