"""The messages that a firewall in front of CallRail refused in a row: three of them pause the account."""

import sqlalchemy as sa

from callrail_relay.outbox.migrations.op import Op


def upgrade(op: Op) -> None:
    op.add_column("accounts", sa.Column("firewalled", sa.JSON))
