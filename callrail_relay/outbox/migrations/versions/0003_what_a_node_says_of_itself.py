"""The version of each node, and when its computer slept last."""

import sqlalchemy as sa
from alembic import op

revision = "3"
down_revision = "2"


def upgrade() -> None:
    op.add_column("nodes", sa.Column("version", sa.Text))
    op.add_column("nodes", sa.Column("slept_seconds", sa.Integer))
    op.add_column("nodes", sa.Column("woke_at", sa.BigInteger))
