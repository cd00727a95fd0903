"""
When each account is to be looked at next for something to send, so that a claim need not look at all of them.
"""

import sqlalchemy as sa

from callrail_relay.outbox.migrations.op import Op


def upgrade(op: Op) -> None:
    op.add_column("accounts", sa.Column("due_at", sa.BigInteger))
    op.add_column("accounts", sa.Column("closed_until", sa.BigInteger))
    op.create_index("ix_accounts_due", "accounts", ["due_at", "id"])
    op.execute("UPDATE accounts SET due_at = 0")
