"""What an account sent lately, in place of a digest of each text's wording."""

from callrail_relay.outbox.migrations.op import Op


def upgrade(op: Op) -> None:
    op.drop_index("ix_messages_wording")
    op.execute("ALTER TABLE messages DROP COLUMN wording")
    op.create_index("ix_messages_account", "messages", ["account_id", "received_at"])
