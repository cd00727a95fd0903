"""Guards, CallRail's own texts, people's decisions and incidents."""

import sqlalchemy as sa

from callrail_relay.outbox.migrations.op import Op

SEQUENCE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
INSTANT = sa.BigInteger()


def upgrade(op: Op) -> None:
    _extend_messages(op)
    _extend_segments(op)
    _create_decisions(op)
    _create_callrail_texts(op)
    op.create_table(
        "incidents",
        sa.Column("key", sa.String(160), nullable=False),
        sa.Column("level", sa.String(16), nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("opened_at", INSTANT, nullable=False),
        sa.Column("telling_until", INSTANT),
        sa.Column("told_at", INSTANT),
        sa.PrimaryKeyConstraint("key", name="pk_incidents"),
    )


def _extend_messages(op: Op) -> None:
    op.add_column("messages", sa.Column("wording", sa.BigInteger))
    op.add_column("messages", sa.Column("release_at", INSTANT))
    op.create_index(
        "ix_messages_wording",
        "messages",
        ["account_id", "wording", "received_at"],
        where="wording IS NOT NULL",
    )
    op.create_index(
        "ix_messages_release",
        "messages",
        ["account_id", "release_at"],
        where="status = 'held' AND release_at IS NOT NULL",
    )


def _extend_segments(op: Op) -> None:
    reference = "CONSTRAINT fk_segments_replaces REFERENCES segments (id)"
    if op.is_sqlite:
        op.execute(f"ALTER TABLE segments ADD COLUMN replaces INTEGER {reference}")
    else:
        op.execute(f"ALTER TABLE segments ADD COLUMN replaces BIGINT {reference}")


def _create_decisions(op: Op) -> None:
    op.create_table(
        "decisions",
        sa.Column("id", SEQUENCE, autoincrement=True, nullable=False),
        sa.Column("message_seq", SEQUENCE, nullable=False),
        sa.Column("decided_at", INSTANT, nullable=False),
        sa.Column("verb", sa.String(16), nullable=False),
        sa.Column("person", sa.Text, nullable=False),
        sa.Column("note", sa.Text),
        sa.Column("reasons", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_decisions"),
        sa.ForeignKeyConstraint(["message_seq"], ["messages.seq"], name="fk_decisions_message_seq"),
    )
    op.create_index("ix_decisions_message_seq", "decisions", ["message_seq"])


def _create_callrail_texts(op: Op) -> None:
    op.create_table(
        "callrail_texts",
        sa.Column("resource_id", sa.String(64), nullable=False),
        sa.Column("direction", sa.String(4), nullable=False),
        sa.Column("written_at", INSTANT, nullable=False),
        sa.Column("received_at", INSTANT, nullable=False),
        sa.Column("account_id", sa.String(64)),
        sa.Column("company_id", sa.String(64)),
        sa.Column("tracking_number", sa.String(16)),
        sa.Column("recipient", sa.String(16)),
        sa.Column("conversation_id", sa.Text),
        sa.Column("thread_id", sa.Text),
        sa.Column("content", sa.Text),
        sa.Column("attempt_id", SEQUENCE),
        sa.Column("forward_at", INSTANT),
        sa.Column("forward_tries", sa.Integer, nullable=False, server_default="0"),
        sa.PrimaryKeyConstraint("resource_id", name="pk_callrail_texts"),
        sa.ForeignKeyConstraint(["attempt_id"], ["attempts.id"], name="fk_callrail_texts_attempt_id"),
    )
    op.create_index(
        "ix_callrail_texts_person", "callrail_texts", ["tracking_number", "recipient", "written_at"]
    )
    op.create_index("ix_callrail_texts_conversation_id", "callrail_texts", ["conversation_id"])
    op.create_index(
        "ix_callrail_texts_budget",
        "callrail_texts",
        ["account_id", "written_at"],
        where="direction = 'out' AND attempt_id IS NULL",
    )
    op.create_index(
        "ix_callrail_texts_forward", "callrail_texts", ["forward_at"], where="forward_at IS NOT NULL"
    )
