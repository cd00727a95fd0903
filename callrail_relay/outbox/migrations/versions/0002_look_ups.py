"""Looking up unknown outcomes: when to look next, and the evidence that was found."""

import sqlalchemy as sa

from callrail_relay.outbox.migrations.op import Op

SEQUENCE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
INSTANT = sa.BigInteger()


def upgrade(op: Op) -> None:
    op.add_column("attempts", sa.Column("look_at", INSTANT))
    op.add_column("attempts", sa.Column("look_until", INSTANT))
    op.add_column("attempts", sa.Column("looks", sa.Integer, nullable=False, server_default="0"))
    op.add_column("attempts", sa.Column("blocks_until", INSTANT))
    op.create_index("ix_attempts_look_at", "attempts", ["look_at"], where="look_at IS NOT NULL")
    op.create_index(
        "ix_attempts_blocks",
        "attempts",
        ["tracking_number", "recipient", "blocks_until"],
        where="blocks_until IS NOT NULL",
    )
    op.create_table(
        "evidence",
        sa.Column("id", SEQUENCE, autoincrement=True, nullable=False),
        sa.Column("attempt_id", SEQUENCE, nullable=False),
        sa.Column("account_id", sa.String(64), nullable=False),
        sa.Column("noted_at", INSTANT, nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("requests", sa.Integer, nullable=False, server_default="0"),
        sa.PrimaryKeyConstraint("id", name="pk_evidence"),
        sa.ForeignKeyConstraint(["attempt_id"], ["attempts.id"], name="fk_evidence_attempt_id"),
    )
    op.create_index("ix_evidence_attempt_id", "evidence", ["attempt_id"])
    op.create_index("ix_evidence_requests", "evidence", ["account_id", "noted_at"])
