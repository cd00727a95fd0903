"""Requests that their senders marked with a key, so that one that is repeated is not stored twice."""

import sqlalchemy as sa

from callrail_relay.outbox.migrations.op import Op


def upgrade(op: Op) -> None:
    op.create_table(
        "repeat_keys",
        sa.Column("digest", sa.LargeBinary(16), nullable=False),
        sa.Column("submission_id", sa.String(36), nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_repeat_keys"),
    )
    op.create_index("ix_repeat_keys_submission_id", "repeat_keys", ["submission_id"])
