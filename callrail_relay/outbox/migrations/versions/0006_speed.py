"""
Indexes for what is asked at every text, tallies of the messages, so that nothing that grows is counted, and
when a submission was retired.
"""

import sqlalchemy as sa

from callrail_relay.outbox.migrations.op import Op

OPEN = "status IN ('queued', 'sending')"

# SQLite has a trigger for each row, PostgreSQL one for each statement: there, changing one row many times in
# one transaction would take longer each time. A step that makes the table anew drops its
# triggers, and has to make them again.
SQLITE_TRIGGERS = (
    """
    CREATE TRIGGER tally_insert AFTER INSERT ON messages BEGIN
        INSERT INTO tallies (account_id, status, messages, segments)
        VALUES (coalesce(NEW.account_id, ''), NEW.status, 1, NEW.segment_count)
        ON CONFLICT (account_id, status) DO UPDATE
        SET messages = messages + 1, segments = segments + excluded.segments;
    END
    """,
    """
    CREATE TRIGGER tally_update AFTER UPDATE OF status, account_id, segment_count ON messages
    WHEN NEW.status <> OLD.status OR NEW.account_id IS NOT OLD.account_id
        OR NEW.segment_count <> OLD.segment_count
    BEGIN
        UPDATE tallies SET messages = messages - 1, segments = segments - OLD.segment_count
        WHERE account_id = coalesce(OLD.account_id, '') AND status = OLD.status;
        INSERT INTO tallies (account_id, status, messages, segments)
        VALUES (coalesce(NEW.account_id, ''), NEW.status, 1, NEW.segment_count)
        ON CONFLICT (account_id, status) DO UPDATE
        SET messages = messages + 1, segments = segments + excluded.segments;
    END
    """,
    """
    CREATE TRIGGER tally_delete AFTER DELETE ON messages BEGIN
        UPDATE tallies SET messages = messages - 1, segments = segments - OLD.segment_count
        WHERE account_id = coalesce(OLD.account_id, '') AND status = OLD.status;
    END
    """,
)

_POSTGRESQL_ADD = """
    INSERT INTO tallies (account_id, status, messages, segments)
    SELECT coalesce(account_id, ''), status, sum(n), sum(n * segment_count) FROM ({rows}) AS changed
    GROUP BY 1, 2 HAVING sum(n) <> 0 OR sum(n * segment_count) <> 0 ORDER BY 1, 2
    ON CONFLICT (account_id, status) DO UPDATE
    SET messages = tallies.messages + excluded.messages, segments = tallies.segments + excluded.segments;
    RETURN NULL;
"""
_NEW = "SELECT account_id, status, segment_count, 1 AS n FROM new_rows"
_OLD = "SELECT account_id, status, segment_count, -1 AS n FROM old_rows"
POSTGRESQL_TRIGGERS = (
    ("insert", "REFERENCING NEW TABLE AS new_rows", _NEW),
    (
        "update",
        "REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows",
        f"{_NEW} UNION ALL {_OLD}",
    ),
    ("delete", "REFERENCING OLD TABLE AS old_rows", _OLD),
)


def upgrade(op: Op) -> None:
    op.add_column("submissions", sa.Column("retired_at", sa.BigInteger))
    op.create_index("ix_submissions_kept", "submissions", ["received_at"], where="retired_at IS NULL")
    op.drop_index("ix_messages_open")
    op.create_index("ix_messages_open", "messages", ["account_id", "status", "seq"], where=OPEN)
    op.create_index("ix_messages_due", "messages", ["account_id", "not_before"], where=OPEN)
    op.create_index("ix_messages_cut_anew", "messages", ["account_id"], where="cut_to IS NOT NULL")
    op.create_index(
        "ix_attempts_waits", "attempts", ["account_id", "blocks_until"], where="blocks_until IS NOT NULL"
    )
    op.create_table(
        "tallies",
        sa.Column("account_id", sa.String(64), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("messages", sa.BigInteger, nullable=False),
        sa.Column("segments", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("account_id", "status", name="pk_tallies"),
    )
    op.execute(
        "INSERT INTO tallies (account_id, status, messages, segments)"
        " SELECT coalesce(account_id, ''), status, count(*), sum(segment_count) FROM messages GROUP BY 1, 2"
    )
    if op.is_sqlite:
        for trigger in SQLITE_TRIGGERS:
            op.execute(trigger)
    else:
        for event, references, rows in POSTGRESQL_TRIGGERS:
            _create_postgresql_trigger(op, event, references, rows)


def _create_postgresql_trigger(op: Op, event: str, references: str, rows: str) -> None:
    body = _POSTGRESQL_ADD.format(rows=rows)
    op.execute(f"CREATE FUNCTION tally_{event}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} END $$")
    op.execute(
        f"CREATE TRIGGER tally_{event} AFTER {event.upper()} ON messages {references}"
        f" FOR EACH STATEMENT EXECUTE FUNCTION tally_{event}()"
    )
