"""Which nodes serve a store on PostgreSQL, and when CallRail last answered for an account."""

import sqlalchemy as sa

from callrail_relay.outbox.migrations.op import Op


def upgrade(op: Op) -> None:
    op.create_table(
        "nodes",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("since", sa.BigInteger, nullable=False),
        sa.Column("seen_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_nodes"),
    )
    op.create_table(
        "contacts",
        sa.Column("account_id", sa.String(64), nullable=False),
        sa.Column("answered_at", sa.BigInteger),
        sa.Column("failed_at", sa.BigInteger),
        sa.PrimaryKeyConstraint("account_id", name="pk_contacts"),
    )
