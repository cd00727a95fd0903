"""Webhook secrets that ended for every node, and the secret by which a relay proves that it is itself."""

import sqlalchemy as sa

from callrail_relay.outbox.migrations.op import Op


def upgrade(op: Op) -> None:
    op.create_table(
        "ended_tokens",
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("ends_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_ended_tokens"),
    )
    op.create_table(
        "relay_secret",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("value", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_relay_secret"),
    )
