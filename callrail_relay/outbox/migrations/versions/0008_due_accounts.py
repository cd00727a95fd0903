"""
When each account is to be looked at next for something to send, so that a claim need not look at all of them.
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("accounts", sa.Column("due_at", sa.BigInteger))
    op.add_column("accounts", sa.Column("closed_until", sa.BigInteger))
    op.create_index("ix_accounts_due_at", "accounts", ["due_at"])
    op.execute("UPDATE accounts SET due_at = 0")
