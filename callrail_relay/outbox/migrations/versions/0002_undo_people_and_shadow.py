"""Decisions that can be undone, people who sign in to the dashboard, and shadow mode."""

import sqlalchemy as sa
from alembic import op

revision = "2"
down_revision = "1"

_SEQUENCE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_INSTANT = sa.BigInteger()


def upgrade() -> None:
    op.add_column("decisions", sa.Column("batch", sa.String(36)))
    op.add_column("decisions", sa.Column("before", sa.JSON))
    _partial_index("ix_decisions_batch", "decisions", "batch", "batch IS NOT NULL")
    op.create_table(
        "people",
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("password", sa.Text, nullable=False),
        sa.Column("stamp", sa.String(64), nullable=False),
        sa.Column("created_at", _INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_people"),
    )
    op.create_table(
        "shadow",
        sa.Column("id", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("mode", sa.String(8), nullable=False),
        sa.Column("since", _INSTANT, nullable=False),
        sa.Column("forward_to", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_shadow"),
    )
    op.create_table(
        "forwards",
        sa.Column("id", _SEQUENCE, autoincrement=True, nullable=False),
        sa.Column("submission_id", sa.String(36), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("received_at", _INSTANT, nullable=False),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.Column("lease_until", _INSTANT),
        sa.ForeignKeyConstraint(["submission_id"], ["submissions.id"], name="fk_forwards_submission_id"),
        sa.PrimaryKeyConstraint("id", name="pk_forwards"),
        sa.UniqueConstraint("submission_id", name="uq_forwards_submission_id"),
    )
    op.create_index("ix_forwards_received_at", "forwards", ["received_at"])
    _partial_index("ix_forwards_unfinished", "forwards", "id", "state IN ('waiting', 'passing')")


def _partial_index(name: str, table: str, column: str, where: str) -> None:
    condition = sa.text(where)
    op.create_index(name, table, [column], sqlite_where=condition, postgresql_where=condition)
