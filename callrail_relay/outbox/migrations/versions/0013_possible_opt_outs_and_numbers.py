"""Replies that may ask for no more texts, and numbers of the account that are not in the settings."""

import sqlalchemy as sa

from callrail_relay.outbox.migrations.op import Op


def upgrade(op: Op) -> None:
    op.create_table(
        "possible_opt_outs",
        sa.Column("tracking_number", sa.String(16), nullable=False),
        sa.Column("recipient", sa.String(16), nullable=False),
        sa.Column("words", sa.Text, nullable=False),
        sa.Column("written_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("tracking_number", "recipient", name="pk_possible_opt_outs"),
    )
    op.create_table(
        "numbers",
        sa.Column("tracking_number", sa.String(16), nullable=False),
        sa.Column("account_id", sa.String(64), nullable=False),
        sa.Column("company_id", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("tracking_number", name="pk_numbers"),
    )
