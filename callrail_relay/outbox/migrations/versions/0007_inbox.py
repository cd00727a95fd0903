"""The inbox of requests that are answered and not mapped yet, with the policies that they are mapped by."""

import sqlalchemy as sa

from callrail_relay.outbox.migrations.op import Op


def upgrade(op: Op) -> None:
    op.create_table(
        "mapping_policies",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("document", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_mapping_policies"),
    )
    op.create_table(
        "inbox",
        sa.Column(
            "seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False, autoincrement=True
        ),
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("policy_id", sa.String(32), nullable=False),
        sa.Column("received_at", sa.BigInteger, nullable=False),
        sa.Column("content_type", sa.Text),
        sa.Column("query", sa.Text),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_inbox"),
        sa.ForeignKeyConstraint(["policy_id"], ["mapping_policies.id"], name="fk_inbox_policy_id"),
    )
