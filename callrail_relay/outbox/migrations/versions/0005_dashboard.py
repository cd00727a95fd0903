"""
Indexes that the dashboard reads by: the day, the opportunity and the sender of a text, and the newest reply.
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_messages_received_at", "messages", ["received_at", "seq", "status"])
    for column in ("opportunity_id", "sender_id"):
        given = sa.text(f"{column} IS NOT NULL")
        op.create_index(
            f"ix_messages_{column}",
            "messages",
            [column, "seq"],
            sqlite_where=given,
            postgresql_where=given,
        )
    op.create_index("ix_callrail_texts_received_at", "callrail_texts", ["received_at"])
