"""Add the rights epoch, the cost and caller of answers, and idempotency keys"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

# A statement's trigger, so that a night that narrows a hundred thousand documents advances the epoch once.
_ADVANCE = """
CREATE FUNCTION advance_epoch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  UPDATE knowledge_base SET epoch = epoch + 1 WHERE name IN (
    SELECT n.kb FROM before o JOIN after n ON n.kb = o.kb AND n.uri = o.uri
    WHERE n.acl IS DISTINCT FROM o.acl OR n.taken_down_at IS DISTINCT FROM o.taken_down_at);
  RETURN NULL;
END $$
"""
_TRIGGER = """
CREATE TRIGGER document_rights_advance_the_epoch AFTER UPDATE ON document
REFERENCING OLD TABLE AS before NEW TABLE AS after FOR EACH STATEMENT EXECUTE FUNCTION advance_epoch()
"""


def upgrade() -> None:
    op.add_column(
        "knowledge_base",
        sa.Column(
            "epoch", sa.BIGINT(), server_default=sa.text("0"), nullable=False,
            comment="advances with every change of a document's rights and every take-down, in the same transaction",
        ),
    )  # fmt: skip
    op.execute(_ADVANCE)
    op.execute(_TRIGGER)

    op.add_column("answer_log", sa.Column("release", sa.BIGINT(), comment="null where a version was asked by number"))
    op.add_column("answer_log", sa.Column("caller", sa.Text(), server_default=sa.text("''"), nullable=False))
    op.add_column(
        "answer_log", sa.Column("prompt", sa.Text(), comment="fingerprint of the prompt's words; null without a model")
    )
    op.add_column("answer_log", sa.Column("finish_reason", sa.Text(), server_default=sa.text("'stop'"), nullable=False))
    op.add_column("answer_log", sa.Column("input_tokens", sa.Integer(), server_default=sa.text("0"), nullable=False))
    op.add_column("answer_log", sa.Column("output_tokens", sa.Integer(), server_default=sa.text("0"), nullable=False))
    op.add_column("answer_log", sa.Column("cached", sa.BOOLEAN(), server_default=sa.text("false"), nullable=False))
    op.add_column("answer_log", sa.Column("trace", sa.Text(), comment="id of the trace, where one was sampled"))
    op.add_column("answer_log", sa.Column("question", sa.Text(), comment="only where the setting asks for it"))

    op.add_column("feedback", sa.Column("caller", sa.Text(), server_default=sa.text("''"), nullable=False))
    op.create_unique_constraint("uq_feedback_answer", "feedback", ["answer", "caller"])

    op.create_table(
        "idempotency",
        sa.Column("caller", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("request", sa.Text(), nullable=False, comment="fingerprint of what was asked under the key"),
        sa.Column("response", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("caller", "key", name=op.f("pk_idempotency")),
    )


def downgrade() -> None:
    op.drop_table("idempotency")
    op.drop_constraint("uq_feedback_answer", "feedback")
    op.drop_column("feedback", "caller")
    for column in (
        "question", "trace", "cached", "output_tokens", "input_tokens", "finish_reason", "prompt", "caller", "release",
    ):  # fmt: skip
        op.drop_column("answer_log", column)
    op.execute("DROP TRIGGER document_rights_advance_the_epoch ON document")
    op.execute("DROP FUNCTION advance_epoch()")
    op.drop_column("knowledge_base", "epoch")
