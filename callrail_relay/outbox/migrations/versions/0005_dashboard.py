"""
Indexes that the dashboard reads by: the day, the opportunity and the sender of a text, and the newest reply.
"""

from callrail_relay.outbox.migrations.op import Op


def upgrade(op: Op) -> None:
    op.create_index("ix_messages_received_at", "messages", ["received_at", "seq", "status"])
    for column in ("opportunity_id", "sender_id"):
        op.create_index(
            f"ix_messages_{column}",
            "messages",
            [column, "seq"],
            where=f"{column} IS NOT NULL",
        )
    op.create_index("ix_callrail_texts_received_at", "callrail_texts", ["received_at"])
