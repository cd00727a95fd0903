"""The tables as 0.2.0 made them. They never change, so that the migrations from there can be tried."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from alembic.migration import MigrationContext
from alembic.operations import Operations

SEQUENCE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
INSTANT = sa.BigInteger()

OPEN = "status IN ('queued', 'sending')"

# SQLite has a trigger for each row, PostgreSQL one for each statement: there, changing one row many times in
# one transaction would take longer each time.
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
    ("update", "REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows", f"{_NEW} UNION ALL {_OLD}"),
    ("delete", "REFERENCING OLD TABLE AS old_rows", _OLD),
)


def create(connection: sa.Connection) -> None:
    """Make an empty database one of 0.2.0."""
    with Operations.context(MigrationContext.configure(connection)):
        _create_all()
    connection.exec_driver_sql("CREATE TABLE alembic_version (version_num VARCHAR(32) PRIMARY KEY)")
    connection.exec_driver_sql("INSERT INTO alembic_version VALUES ('1')")


def _create_all() -> None:
    _create_tables_that_stand_alone()
    _create_submissions_and_messages()
    _create_segments_and_attempts()
    _create_triggers()


def _create_tables_that_stand_alone() -> None:
    op.create_table(
        "accounts",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("paused_since", INSTANT),
        sa.Column("paused_reason", sa.Text),
        sa.Column("wait_until", INSTANT),
        sa.Column("wait_reason", sa.Text),
        sa.Column("strikes", sa.Integer, server_default="0", nullable=False),
        sa.Column("hour_allowed", sa.Integer),
        sa.Column("day_allowed", sa.Integer),
        sa.Column("hour_excess", sa.Integer, server_default="0", nullable=False),
        sa.Column("day_excess", sa.Integer, server_default="0", nullable=False),
        sa.Column("excess_at", INSTANT),
        sa.Column("max_characters", sa.Integer),
        sa.Column("firewalled", sa.JSON),
        sa.Column("due_at", INSTANT),
        sa.Column("closed_until", INSTANT),
        sa.PrimaryKeyConstraint("id", name="pk_accounts"),
    )
    _index("ix_accounts_due", "accounts", ["due_at", "id"])
    op.create_table(
        "contacts",
        sa.Column("account_id", sa.String(64), nullable=False),
        sa.Column("answered_at", INSTANT),
        sa.Column("failed_at", INSTANT),
        sa.PrimaryKeyConstraint("account_id", name="pk_contacts"),
    )
    op.create_table(
        "ended_tokens",
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("ends_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_ended_tokens"),
    )
    op.create_table(
        "incidents",
        sa.Column("key", sa.String(160), nullable=False),
        sa.Column("level", sa.String(16), nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("opened_at", INSTANT, nullable=False),
        sa.Column("telling_until", INSTANT),
        sa.Column("told_at", INSTANT),
        sa.PrimaryKeyConstraint("key", name="pk_incidents"),
    )
    op.create_table(
        "nodes",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("since", INSTANT, nullable=False),
        sa.Column("seen_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_nodes"),
    )
    op.create_table(
        "numbers",
        sa.Column("tracking_number", sa.String(16), nullable=False),
        sa.Column("account_id", sa.String(64), nullable=False),
        sa.Column("company_id", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("tracking_number", name="pk_numbers"),
    )
    op.create_table(
        "polls",
        sa.Column("id", SEQUENCE, autoincrement=True, nullable=False),
        sa.Column("account_id", sa.String(64), nullable=False),
        sa.Column("company_id", sa.String(64), nullable=False),
        sa.Column("began_at", INSTANT, nullable=False),
        sa.Column("lease_until", INSTANT, nullable=False),
        sa.Column("finished_at", INSTANT),
        sa.Column("requests", sa.Integer, server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_polls"),
    )
    _index("ix_polls_company", "polls", ["account_id", "company_id", "began_at"])
    op.create_table(
        "possible_opt_outs",
        sa.Column("tracking_number", sa.String(16), nullable=False),
        sa.Column("recipient", sa.String(16), nullable=False),
        sa.Column("words", sa.Text, nullable=False),
        sa.Column("written_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("tracking_number", "recipient", name="pk_possible_opt_outs"),
    )
    op.create_table(
        "probe",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("written_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_probe"),
    )
    op.create_table(
        "relay_secret",
        sa.Column("id", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("value", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_relay_secret"),
    )
    op.create_table(
        "repeat_keys",
        sa.Column("digest", sa.LargeBinary(16), nullable=False),
        sa.Column("submission_id", sa.String(36), nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_repeat_keys"),
    )
    _index("ix_repeat_keys_submission_id", "repeat_keys", ["submission_id"])
    op.create_table(
        "suppressions",
        sa.Column("tracking_number", sa.String(16), nullable=False),
        sa.Column("recipient", sa.String(16), nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("origin", sa.String(16), server_default="by hand", nullable=False),
        sa.PrimaryKeyConstraint("tracking_number", "recipient", name="pk_suppressions"),
    )
    op.create_table(
        "tallies",
        sa.Column("account_id", sa.String(64), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("messages", sa.BigInteger, nullable=False),
        sa.Column("segments", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("account_id", "status", name="pk_tallies"),
    )


def _create_submissions_and_messages() -> None:
    op.create_table(
        "submissions",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("source", sa.String(16), nullable=False),
        sa.Column("received_at", INSTANT, nullable=False),
        sa.Column("content_type", sa.Text),
        sa.Column("query", sa.Text),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("retired_at", INSTANT),
        sa.PrimaryKeyConstraint("id", name="pk_submissions"),
    )
    _index("ix_submissions_kept", "submissions", ["received_at"], where="retired_at IS NULL")
    _index("ix_submissions_source", "submissions", ["source", "received_at"])
    op.create_table(
        "messages",
        sa.Column("seq", SEQUENCE, autoincrement=True, nullable=False),
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("submission_id", sa.String(36), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("source", sa.String(16), nullable=False),
        sa.Column("received_at", INSTANT, nullable=False),
        sa.Column("not_before", INSTANT, nullable=False),
        sa.Column("recipient", sa.String(16)),
        sa.Column("text", sa.Text),
        sa.Column("account_id", sa.String(64)),
        sa.Column("company_id", sa.String(64)),
        sa.Column("tracking_number", sa.String(16)),
        sa.Column("fingerprint", sa.LargeBinary(16)),
        sa.Column("segment_count", sa.Integer, nullable=False),
        sa.Column("cut_to", sa.Integer),
        sa.Column("release_at", INSTANT),
        sa.Column("reasons", sa.JSON, nullable=False),
        sa.Column("approved", sa.JSON, nullable=False),
        sa.Column("opportunity_id", sa.Text),
        sa.Column("sender_id", sa.Text),
        sa.Column("seller_id", sa.Text),
        sa.Column("seller", sa.Text),
        sa.Column("team_id", sa.Text),
        sa.Column("sent_at", INSTANT),
        sa.Column("conversation_id", sa.Text),
        sa.Column("thread_id", sa.Text),
        sa.ForeignKeyConstraint(["submission_id"], ["submissions.id"], name="fk_messages_submission_id"),
        sa.PrimaryKeyConstraint("seq", name="pk_messages"),
        sa.UniqueConstraint("id", name="uq_messages_id"),
    )
    _index("ix_messages_account", "messages", ["account_id", "received_at"])
    _index(
        "ix_messages_conversation_id", "messages", ["conversation_id"], where="conversation_id IS NOT NULL"
    )
    _index("ix_messages_cut_anew", "messages", ["account_id"], where="cut_to IS NOT NULL")
    _index("ix_messages_due", "messages", ["account_id", "not_before"], where=OPEN)
    _index("ix_messages_fingerprint", "messages", ["fingerprint"])
    _index("ix_messages_open", "messages", ["account_id", "status", "seq"], where=OPEN)
    _index("ix_messages_open_key", "messages", ["tracking_number", "recipient", "seq"], where=OPEN)
    _index(
        "ix_messages_opportunity_id",
        "messages",
        ["opportunity_id", "seq"],
        where="opportunity_id IS NOT NULL",
    )
    _index("ix_messages_received_at", "messages", ["received_at", "seq", "status"])
    _index("ix_messages_recipient_seq", "messages", ["recipient", "seq"])
    _index(
        "ix_messages_release",
        "messages",
        ["account_id", "release_at"],
        where="status = 'held' AND release_at IS NOT NULL",
    )
    _index("ix_messages_sender_id", "messages", ["sender_id", "seq"], where="sender_id IS NOT NULL")
    _index("ix_messages_status_seq", "messages", ["status", "seq"])
    _index("ix_messages_submission_id", "messages", ["submission_id"])
    op.create_table(
        "decisions",
        sa.Column("id", SEQUENCE, autoincrement=True, nullable=False),
        sa.Column("message_seq", SEQUENCE, nullable=False),
        sa.Column("decided_at", INSTANT, nullable=False),
        sa.Column("verb", sa.String(16), nullable=False),
        sa.Column("person", sa.Text, nullable=False),
        sa.Column("note", sa.Text),
        sa.Column("reasons", sa.JSON, nullable=False),
        sa.ForeignKeyConstraint(["message_seq"], ["messages.seq"], name="fk_decisions_message_seq"),
        sa.PrimaryKeyConstraint("id", name="pk_decisions"),
    )
    _index("ix_decisions_message_seq", "decisions", ["message_seq"])


def _create_segments_and_attempts() -> None:
    op.create_table(
        "segments",
        sa.Column("id", SEQUENCE, autoincrement=True, nullable=False),
        sa.Column("message_seq", SEQUENCE, nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("content", sa.Text, nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("replaces", SEQUENCE),
        sa.ForeignKeyConstraint(["message_seq"], ["messages.seq"], name="fk_segments_message_seq"),
        sa.ForeignKeyConstraint(["replaces"], ["segments.id"], name="fk_segments_replaces"),
        sa.PrimaryKeyConstraint("id", name="pk_segments"),
        sa.UniqueConstraint("message_seq", "position", name="uq_segments_message_seq_position"),
    )
    op.create_table(
        "attempts",
        sa.Column("id", SEQUENCE, autoincrement=True, nullable=False),
        sa.Column("segment_id", SEQUENCE, nullable=False),
        sa.Column("message_seq", SEQUENCE, nullable=False),
        sa.Column("account_id", sa.String(64), nullable=False),
        sa.Column("tracking_number", sa.String(16), nullable=False),
        sa.Column("recipient", sa.String(16), nullable=False),
        sa.Column("node", sa.String(64), nullable=False),
        sa.Column("started_at", INSTANT, nullable=False),
        sa.Column("lease_until", INSTANT, nullable=False),
        sa.Column("finished_at", INSTANT),
        sa.Column("counted_at", INSTANT),
        sa.Column("outcome", sa.String(16)),
        sa.Column("http_status", sa.Integer),
        sa.Column("detail", sa.Text),
        sa.Column("next_lookup_at", INSTANT),
        sa.Column("look_until", INSTANT),
        sa.Column("looks", sa.Integer, server_default="0", nullable=False),
        sa.Column("blocks_until", INSTANT),
        sa.ForeignKeyConstraint(["message_seq"], ["messages.seq"], name="fk_attempts_message_seq"),
        sa.ForeignKeyConstraint(["segment_id"], ["segments.id"], name="fk_attempts_segment_id"),
        sa.PrimaryKeyConstraint("id", name="pk_attempts"),
    )
    _index(
        "ix_attempts_blocks",
        "attempts",
        ["tracking_number", "recipient", "blocks_until"],
        where="blocks_until IS NOT NULL",
    )
    _index("ix_attempts_budget", "attempts", ["account_id", "counted_at"], where="counted_at IS NOT NULL")
    _index("ix_attempts_in_flight", "attempts", ["account_id", "lease_until"], where="finished_at IS NULL")
    _index("ix_attempts_key", "attempts", ["tracking_number", "recipient", "finished_at"])
    _index("ix_attempts_next_lookup_at", "attempts", ["next_lookup_at"], where="next_lookup_at IS NOT NULL")
    _index("ix_attempts_segment_id", "attempts", ["segment_id"])
    _index("ix_attempts_waits", "attempts", ["account_id", "blocks_until"], where="blocks_until IS NOT NULL")
    op.create_table(
        "callrail_texts",
        sa.Column("resource_id", sa.String(64), nullable=False),
        sa.Column("direction", sa.String(4), nullable=False),
        sa.Column("written_at", INSTANT, nullable=False),
        sa.Column("received_at", INSTANT, nullable=False),
        sa.Column("account_id", sa.String(64)),
        sa.Column("company_id", sa.String(64)),
        sa.Column("tracking_number", sa.String(16)),
        sa.Column("recipient", sa.String(16)),
        sa.Column("conversation_id", sa.Text),
        sa.Column("thread_id", sa.Text),
        sa.Column("content", sa.Text),
        sa.Column("attempt_id", SEQUENCE),
        sa.Column("forward_at", INSTANT),
        sa.Column("forward_tries", sa.Integer, server_default="0", nullable=False),
        sa.ForeignKeyConstraint(["attempt_id"], ["attempts.id"], name="fk_callrail_texts_attempt_id"),
        sa.PrimaryKeyConstraint("resource_id", name="pk_callrail_texts"),
    )
    _index(
        "ix_callrail_texts_attempt_id",
        "callrail_texts",
        ["attempt_id"],
        unique=True,
        where="attempt_id IS NOT NULL",
    )
    _index(
        "ix_callrail_texts_budget",
        "callrail_texts",
        ["account_id", "written_at"],
        where="direction = 'out' AND attempt_id IS NULL",
    )
    _index("ix_callrail_texts_conversation_id", "callrail_texts", ["conversation_id"])
    _index("ix_callrail_texts_forward", "callrail_texts", ["forward_at"], where="forward_at IS NOT NULL")
    _index("ix_callrail_texts_person", "callrail_texts", ["tracking_number", "recipient", "written_at"])
    _index("ix_callrail_texts_received_at", "callrail_texts", ["received_at"])
    op.create_table(
        "evidence",
        sa.Column("id", SEQUENCE, autoincrement=True, nullable=False),
        sa.Column("attempt_id", SEQUENCE, nullable=False),
        sa.Column("account_id", sa.String(64), nullable=False),
        sa.Column("noted_at", INSTANT, nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("requests", sa.Integer, server_default="0", nullable=False),
        sa.ForeignKeyConstraint(["attempt_id"], ["attempts.id"], name="fk_evidence_attempt_id"),
        sa.PrimaryKeyConstraint("id", name="pk_evidence"),
    )
    _index("ix_evidence_attempt_id", "evidence", ["attempt_id"])
    _index("ix_evidence_requests", "evidence", ["account_id", "noted_at"])


def _index(
    name: str, table: str, columns: Sequence[str], *, unique: bool = False, where: str | None = None
) -> None:
    condition = None if where is None else sa.text(where)
    op.create_index(name, table, columns, unique=unique, sqlite_where=condition, postgresql_where=condition)


def _create_triggers() -> None:
    if op.get_bind().dialect.name == "sqlite":
        for trigger in SQLITE_TRIGGERS:
            op.execute(trigger)
        return
    for event, references, rows in POSTGRESQL_TRIGGERS:
        body = _POSTGRESQL_ADD.format(rows=rows)
        op.execute(
            f"CREATE FUNCTION tally_{event}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} END $$"
        )
        op.execute(
            f"CREATE TRIGGER tally_{event} AFTER {event.upper()} ON messages {references}"
            f" FOR EACH STATEMENT EXECUTE FUNCTION tally_{event}()"
        )
