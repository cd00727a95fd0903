"""Whose word an opt-out is, conversations found by their id, and looking for replies."""

import sqlalchemy as sa

from callrail_relay.outbox.migrations.op import Op

SEQUENCE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
INSTANT = sa.BigInteger()


def upgrade(op: Op) -> None:
    op.add_column(
        "suppressions", sa.Column("origin", sa.String(16), nullable=False, server_default="by hand")
    )
    # Until now only people and CallRail's refusals put anybody there.
    op.execute("UPDATE suppressions SET origin = 'refusal' WHERE reason LIKE 'CallRail said: %'")
    op.create_index(
        "ix_messages_conversation_id",
        "messages",
        ["conversation_id"],
        where="conversation_id IS NOT NULL",
    )
    op.create_index(
        "ix_callrail_texts_attempt_id",
        "callrail_texts",
        ["attempt_id"],
        unique=True,
        where="attempt_id IS NOT NULL",
    )
    op.create_table(
        "polls",
        sa.Column("id", SEQUENCE, autoincrement=True, nullable=False),
        sa.Column("account_id", sa.String(64), nullable=False),
        sa.Column("company_id", sa.String(64), nullable=False),
        sa.Column("began_at", INSTANT, nullable=False),
        sa.Column("lease_until", INSTANT, nullable=False),
        sa.Column("finished_at", INSTANT),
        sa.Column("requests", sa.Integer, nullable=False, server_default="0"),
        sa.PrimaryKeyConstraint("id", name="pk_polls"),
    )
    op.create_index("ix_polls_company", "polls", ["account_id", "company_id", "began_at"])
