"""Requests are mapped before they are stored, so the tables of requests that wait to be mapped are gone."""

import sqlalchemy as sa

from callrail_relay.errors import Unavailable
from callrail_relay.outbox.migrations.op import Op


def upgrade(op: Op) -> None:
    if op.scalar(sa.text("SELECT count(*) FROM inbox")):
        raise Unavailable(
            "The database holds requests that the former version accepted and didn't finish storing. Run "
            "`callrail-relay status` once with that version, then install this one again."
        )
    op.execute("DROP TABLE inbox")
    op.execute("DROP TABLE mapping_policies")
