"""The first tables: submissions, messages, segments, attempts, accounts, suppressions, probe."""

import sqlalchemy as sa

from callrail_relay.outbox.migrations.op import Op

SEQUENCE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
INSTANT = sa.BigInteger()


def upgrade(op: Op) -> None:
    _create_submissions(op)
    _create_messages(op)
    _create_segments(op)
    _create_attempts(op)
    _create_accounts(op)
    op.create_table(
        "suppressions",
        sa.Column("tracking_number", sa.String(16), nullable=False),
        sa.Column("recipient", sa.String(16), nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("tracking_number", "recipient", name="pk_suppressions"),
    )
    op.create_table(
        "probe",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("written_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_probe"),
    )


def _create_submissions(op: Op) -> None:
    op.create_table(
        "submissions",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("source", sa.String(16), nullable=False),
        sa.Column("received_at", INSTANT, nullable=False),
        sa.Column("content_type", sa.Text),
        sa.Column("query", sa.Text),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_submissions"),
    )


def _create_messages(op: Op) -> None:
    op.create_table(
        "messages",
        sa.Column("seq", SEQUENCE, autoincrement=True, nullable=False),
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("submission_id", sa.String(36), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("source", sa.String(16), nullable=False),
        sa.Column("received_at", INSTANT, nullable=False),
        sa.Column("not_before", INSTANT, nullable=False),
        sa.Column("recipient", sa.String(16)),
        sa.Column("text", sa.Text),
        sa.Column("account_id", sa.String(64)),
        sa.Column("company_id", sa.String(64)),
        sa.Column("tracking_number", sa.String(16)),
        sa.Column("fingerprint", sa.LargeBinary(16)),
        sa.Column("segment_count", sa.Integer, nullable=False),
        sa.Column("cut_to", sa.Integer),
        sa.Column("reasons", sa.JSON, nullable=False),
        sa.Column("approved", sa.JSON, nullable=False),
        sa.Column("opportunity_id", sa.Text),
        sa.Column("sender_id", sa.Text),
        sa.Column("seller_id", sa.Text),
        sa.Column("seller", sa.Text),
        sa.Column("team_id", sa.Text),
        sa.Column("sent_at", INSTANT),
        sa.Column("conversation_id", sa.Text),
        sa.Column("thread_id", sa.Text),
        sa.PrimaryKeyConstraint("seq", name="pk_messages"),
        sa.UniqueConstraint("id", name="uq_messages_id"),
        sa.ForeignKeyConstraint(["submission_id"], ["submissions.id"], name="fk_messages_submission_id"),
    )
    op.create_index("ix_messages_submission_id", "messages", ["submission_id"])
    op.create_index("ix_messages_fingerprint", "messages", ["fingerprint"])
    op.create_index("ix_messages_status_seq", "messages", ["status", "seq"])
    op.create_index("ix_messages_recipient_seq", "messages", ["recipient", "seq"])
    op.create_index(
        "ix_messages_open", "messages", ["account_id", "seq"], where="status IN ('queued', 'sending')"
    )
    op.create_index(
        "ix_messages_open_key",
        "messages",
        ["tracking_number", "recipient", "seq"],
        where="status IN ('queued', 'sending')",
    )


def _create_segments(op: Op) -> None:
    op.create_table(
        "segments",
        sa.Column("id", SEQUENCE, autoincrement=True, nullable=False),
        sa.Column("message_seq", SEQUENCE, nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("content", sa.Text, nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_segments"),
        sa.UniqueConstraint("message_seq", "position", name="uq_segments_message_seq_position"),
        sa.ForeignKeyConstraint(["message_seq"], ["messages.seq"], name="fk_segments_message_seq"),
    )


def _create_attempts(op: Op) -> None:
    op.create_table(
        "attempts",
        sa.Column("id", SEQUENCE, autoincrement=True, nullable=False),
        sa.Column("segment_id", SEQUENCE, nullable=False),
        sa.Column("message_seq", SEQUENCE, nullable=False),
        sa.Column("account_id", sa.String(64), nullable=False),
        sa.Column("tracking_number", sa.String(16), nullable=False),
        sa.Column("recipient", sa.String(16), nullable=False),
        sa.Column("node", sa.String(64), nullable=False),
        sa.Column("started_at", INSTANT, nullable=False),
        sa.Column("lease_until", INSTANT, nullable=False),
        sa.Column("finished_at", INSTANT),
        sa.Column("counted_at", INSTANT),
        sa.Column("outcome", sa.String(16)),
        sa.Column("http_status", sa.Integer),
        sa.Column("detail", sa.Text),
        sa.PrimaryKeyConstraint("id", name="pk_attempts"),
        sa.ForeignKeyConstraint(["segment_id"], ["segments.id"], name="fk_attempts_segment_id"),
        sa.ForeignKeyConstraint(["message_seq"], ["messages.seq"], name="fk_attempts_message_seq"),
    )
    op.create_index("ix_attempts_segment_id", "attempts", ["segment_id"])
    op.create_index("ix_attempts_key", "attempts", ["tracking_number", "recipient", "finished_at"])
    op.create_index(
        "ix_attempts_budget",
        "attempts",
        ["account_id", "counted_at"],
        where="counted_at IS NOT NULL",
    )
    op.create_index(
        "ix_attempts_in_flight",
        "attempts",
        ["account_id", "lease_until"],
        where="finished_at IS NULL",
    )


def _create_accounts(op: Op) -> None:
    op.create_table(
        "accounts",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("paused_since", INSTANT),
        sa.Column("paused_reason", sa.Text),
        sa.Column("wait_until", INSTANT),
        sa.Column("wait_reason", sa.Text),
        sa.Column("strikes", sa.Integer, nullable=False, server_default="0"),
        sa.Column("hour_allowed", sa.Integer),
        sa.Column("day_allowed", sa.Integer),
        sa.Column("hour_excess", sa.Integer, nullable=False, server_default="0"),
        sa.Column("day_excess", sa.Integer, nullable=False, server_default="0"),
        sa.Column("excess_at", INSTANT),
        sa.Column("max_characters", sa.Integer),
        sa.PrimaryKeyConstraint("id", name="pk_accounts"),
    )
