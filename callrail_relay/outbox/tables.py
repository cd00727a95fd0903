"""
The tables of the outbox, the same for SQLite and PostgreSQL.

Instants are stored as microseconds since 1970 in UTC: one type that both databases compare and index alike.
"""

import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from callrail_relay.domain.message import Reason

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


def microseconds(instant: datetime) -> int:
    """An instant as it is stored."""
    return (instant - EPOCH) // MICROSECOND


class Instant(sa.types.TypeDecorator[datetime]):
    """An aware datetime, kept as whole microseconds since 1970."""

    impl = sa.BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, _dialect: sa.Dialect) -> int | None:
        return None if value is None else microseconds(value)

    def process_result_value(self, value: int | None, _dialect: sa.Dialect) -> datetime | None:
        return None if value is None else EPOCH + value * MICROSECOND


class StoredReason(sa.types.TypeDecorator[Reason]):
    """A reason, kept as JSON in a text."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: Reason | None, _dialect: sa.Dialect) -> str | None:
        return None if value is None else json.dumps(value.document())

    def process_result_value(self, value: str | None, _dialect: sa.Dialect) -> Reason | None:
        return None if value is None else Reason(**json.loads(value))


class StoredReasons(sa.types.TypeDecorator[tuple[Reason, ...]]):
    """Several of them."""

    impl = sa.JSON
    cache_ok = True

    def process_bind_param(self, value: Iterable[Reason] | None, _dialect: sa.Dialect) -> object:
        return [reason.document() for reason in value or ()]

    def process_result_value(
        self, value: Iterable[dict[str, Any]] | None, _dialect: sa.Dialect
    ) -> tuple[Reason, ...]:
        return tuple(Reason(**reason) for reason in value or ())


# SQLite numbers rows by itself only if the key is a plain INTEGER.
Sequence = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _index(
    name: str,
    *columns: sa.Column[Any],
    where: sa.ColumnElement[bool] | None = None,
    given: sa.Column[Any] | None = None,
    unique: bool = False,
) -> None:
    """Make an index: with *where* only of rows for which it is true, with *given* of rows that have it."""
    where = where if given is None else given.is_not(None)
    sa.Index(name, *columns, unique=unique, sqlite_where=where, postgresql_where=where)


submissions = sa.Table(
    "submissions",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("source", sa.String(16), nullable=False),
    sa.Column("received_at", Instant, nullable=False),
    sa.Column("content_type", sa.Text),
    sa.Column("query", sa.Text),
    sa.Column("body", sa.LargeBinary, nullable=False),
    # When its body, and what is personal in its messages, was removed.
    sa.Column("retired_at", Instant),
)
_kept = submissions.c.retired_at.is_(None)
_index("ix_submissions_kept", submissions.c.received_at, where=_kept)

# Requests that their senders marked with a key, as a digest of both: what comes again is not stored again.
# The row is there before the submission.
repeat_keys = sa.Table(
    "repeat_keys",
    metadata,
    sa.Column("digest", sa.LargeBinary(16), primary_key=True),
    sa.Column("submission_id", sa.String(36), nullable=False, index=True),
)

messages = sa.Table(
    "messages",
    metadata,
    # Arrival order: texts to one person are sent in it.
    sa.Column("seq", Sequence, primary_key=True, autoincrement=True),
    sa.Column("id", sa.String(36), nullable=False, unique=True),
    sa.Column("submission_id", sa.ForeignKey("submissions.id"), nullable=False, index=True),
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("source", sa.String(16), nullable=False),
    sa.Column("received_at", Instant, nullable=False),
    sa.Column("not_before", Instant, nullable=False),
    sa.Column("recipient", sa.String(16)),
    sa.Column("text", sa.Text),
    sa.Column("account_id", sa.String(64)),
    sa.Column("company_id", sa.String(64)),
    sa.Column("tracking_number", sa.String(16)),
    # Tracking number, recipient and text in one: finds the same text again.
    sa.Column("fingerprint", sa.LargeBinary(16), index=True),
    # How many segments it will have; the segments themselves are made when it is first claimed.
    sa.Column("segment_count", sa.Integer, nullable=False),
    # The length to cut to, if CallRail refused a longer segment.
    sa.Column("cut_to", sa.Integer),
    # When a held message is queued by itself, or was; null if it waits for a person.
    sa.Column("release_at", Instant),
    sa.Column("reasons", StoredReasons, nullable=False),
    # Codes of the reasons that a person overrode.
    sa.Column("approved", sa.JSON, nullable=False),
    sa.Column("opportunity_id", sa.Text),
    sa.Column("sender_id", sa.Text),
    sa.Column("seller_id", sa.Text),
    sa.Column("seller", sa.Text),
    sa.Column("team_id", sa.Text),
    sa.Column("sent_at", Instant),
    sa.Column("conversation_id", sa.Text),
    sa.Column("thread_id", sa.Text),
)


def is_open(table: sa.FromClause = messages) -> sa.ColumnElement[bool]:
    """
    Whether a message is queued or under way, in the very words of the partial indexes.

    A database that plans a statement before it sees the parameters could not use these indexes otherwise.
    """
    return table.c.status.in_([sa.literal_column("'queued'"), sa.literal_column("'sending'")])


_open = messages.c.status.in_(["queued", "sending"])
_index("ix_messages_open", messages.c.account_id, messages.c.status, messages.c.seq, where=_open)
_index("ix_messages_due", messages.c.account_id, messages.c.not_before, where=_open)
_index("ix_messages_open_key", messages.c.tracking_number, messages.c.recipient, messages.c.seq, where=_open)
_index("ix_messages_cut_anew", messages.c.account_id, given=messages.c.cut_to)
_index("ix_messages_status_seq", messages.c.status, messages.c.seq)
_index("ix_messages_recipient_seq", messages.c.recipient, messages.c.seq)
# CallRail's webhooks may mask phone numbers: the conversation tells whose they are.
_index("ix_messages_conversation_id", messages.c.conversation_id, given=messages.c.conversation_id)

# For the dashboard: texts by day, opportunity and sender.
_index("ix_messages_received_at", messages.c.received_at, messages.c.seq, messages.c.status)
for _column in (messages.c.opportunity_id, messages.c.sender_id):
    _index(f"ix_messages_{_column.name}", _column, messages.c.seq, given=_column)

# What an account sent lately, to find mass texts.
_index("ix_messages_account", messages.c.account_id, messages.c.received_at)


def accounts_in_order(*which: sa.ColumnElement[bool]) -> sa.ColumnElement[bool]:
    """Those accounts, for a statement that writes them: locked in one order, against deadlocks."""
    return accounts.c.id.in_(sa.select(accounts.c.id).where(*which).order_by(accounts.c.id).with_for_update())


def is_released_by_itself(table: sa.FromClause = messages) -> sa.ColumnElement[bool]:
    """Whether a message is held until an instant, in the very words of the partial index."""
    held = table.c.status == sa.literal_column("'held'")
    return sa.and_(held, table.c.release_at.is_not(None))


_released = sa.and_(messages.c.status == "held", messages.c.release_at.is_not(None))
_index("ix_messages_release", messages.c.account_id, messages.c.release_at, where=_released)

# How many messages each account has in each status, and how many segments those have. Triggers of the store
# keep it, so that nothing that grows has to be counted. Without an account the id is "".
tallies = sa.Table(
    "tallies",
    metadata,
    sa.Column("account_id", sa.String(64), primary_key=True),
    sa.Column("status", sa.String(16), primary_key=True),
    sa.Column("messages", sa.BigInteger, nullable=False),
    sa.Column("segments", sa.BigInteger, nullable=False),
)

# A person's word on a message: what, who, why, and which reasons it overrode.
decisions = sa.Table(
    "decisions",
    metadata,
    sa.Column("id", Sequence, primary_key=True, autoincrement=True),
    sa.Column("message_seq", sa.ForeignKey("messages.seq"), nullable=False, index=True),
    sa.Column("decided_at", Instant, nullable=False),
    sa.Column("verb", sa.String(16), nullable=False),
    sa.Column("person", sa.Text, nullable=False),
    sa.Column("note", sa.Text),
    sa.Column("reasons", sa.JSON, nullable=False),
)

segments = sa.Table(
    "segments",
    metadata,
    sa.Column("id", Sequence, primary_key=True, autoincrement=True),
    sa.Column("message_seq", sa.ForeignKey("messages.seq"), nullable=False),
    sa.Column("position", sa.Integer, nullable=False),
    sa.Column("content", sa.Text, nullable=False),
    sa.Column("status", sa.String(16), nullable=False),
    # The longer segment that CallRail refused, of which this is a piece.
    sa.Column("replaces", sa.ForeignKey("segments.id")),
    sa.UniqueConstraint("message_seq", "position"),
)

attempts = sa.Table(
    "attempts",
    metadata,
    sa.Column("id", Sequence, primary_key=True, autoincrement=True),
    sa.Column("segment_id", sa.ForeignKey("segments.id"), nullable=False, index=True),
    sa.Column("message_seq", sa.ForeignKey("messages.seq"), nullable=False),
    sa.Column("account_id", sa.String(64), nullable=False),
    sa.Column("tracking_number", sa.String(16), nullable=False),
    sa.Column("recipient", sa.String(16), nullable=False),
    sa.Column("node", sa.String(64), nullable=False),
    sa.Column("started_at", Instant, nullable=False),
    sa.Column("lease_until", Instant, nullable=False),
    sa.Column("finished_at", Instant),
    # The instant from which it counts in the budget's windows; null if it costs nothing.
    sa.Column("counted_at", Instant),
    sa.Column("outcome", sa.String(16)),
    sa.Column("http_status", sa.Integer),
    sa.Column("detail", sa.Text),
    # Of an unknown outcome: when to look it up next, how often that was answered, and until when later
    # texts to the same person wait for it.
    sa.Column("look_at", Instant),
    # While a process looks it up: when another one may take it over.
    sa.Column("look_until", Instant),
    sa.Column("looks", sa.Integer, nullable=False, server_default="0"),
    sa.Column("blocks_until", Instant),
)
_index("ix_attempts_budget", attempts.c.account_id, attempts.c.counted_at, given=attempts.c.counted_at)
_index("ix_attempts_key", attempts.c.tracking_number, attempts.c.recipient, attempts.c.finished_at)
_unfinished = attempts.c.finished_at.is_(None)
_index("ix_attempts_in_flight", attempts.c.account_id, attempts.c.lease_until, where=_unfinished)

_index("ix_attempts_look_at", attempts.c.look_at, given=attempts.c.look_at)
_index(
    "ix_attempts_blocks",
    attempts.c.tracking_number,
    attempts.c.recipient,
    attempts.c.blocks_until,
    given=attempts.c.blocks_until,
)

_index("ix_attempts_waits", attempts.c.account_id, attempts.c.blocks_until, given=attempts.c.blocks_until)

# What was learnt of an attempt after its outcome was recorded, and the requests that learning it took.
evidence = sa.Table(
    "evidence",
    metadata,
    sa.Column("id", Sequence, primary_key=True, autoincrement=True),
    sa.Column("attempt_id", sa.ForeignKey("attempts.id"), nullable=False, index=True),
    sa.Column("account_id", sa.String(64), nullable=False),
    sa.Column("noted_at", Instant, nullable=False),
    sa.Column("detail", sa.Text, nullable=False),
    sa.Column("requests", sa.Integer, nullable=False, server_default="0"),
)
_index("ix_evidence_requests", evidence.c.account_id, evidence.c.noted_at)

accounts = sa.Table(
    "accounts",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("paused_since", Instant),
    sa.Column("paused_reason", StoredReason),
    sa.Column("wait_until", Instant),
    sa.Column("wait_reason", StoredReason),
    sa.Column("strikes", sa.Integer, nullable=False, server_default="0"),
    sa.Column("hour_allowed", sa.Integer),
    sa.Column("day_allowed", sa.Integer),
    sa.Column("hour_excess", sa.Integer, nullable=False, server_default="0"),
    sa.Column("day_excess", sa.Integer, nullable=False, server_default="0"),
    sa.Column("excess_at", Instant),
    sa.Column("max_characters", sa.Integer),
    # The ids of messages that a firewall in front of CallRail refused in a row; null for none.
    sa.Column("firewalled", sa.JSON),
    # When to check next whether something may be sent; null if only news can change that.
    sa.Column("due_at", Instant),
    # Until when nothing is sent, whatever comes in: the budget is used, or the account waits or is paused.
    sa.Column("closed_until", Instant),
)
# In the order of their turns; all of them may be due at the same instant.
_index("ix_accounts_due", accounts.c.due_at, accounts.c.id)

opt_outs = sa.Table(
    "suppressions",
    metadata,
    sa.Column("tracking_number", sa.String(16), primary_key=True),
    sa.Column("recipient", sa.String(16), primary_key=True),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("created_at", Instant, nullable=False),
    # Who put it there: the person by a "reply", CallRail by a "refusal", or a user "by hand".
    sa.Column("origin", sa.String(16), nullable=False, server_default="by hand"),
)

# Replies that may ask for no more texts: the next text to the person is held, and the owner decides.
possible_opt_outs = sa.Table(
    "possible_opt_outs",
    metadata,
    sa.Column("tracking_number", sa.String(16), primary_key=True),
    sa.Column("recipient", sa.String(16), primary_key=True),
    sa.Column("words", sa.Text, nullable=False),
    sa.Column("written_at", Instant, nullable=False),
)

# Numbers that were named with `send --from` and are not in the settings, as CallRail knows them.
numbers = sa.Table(
    "numbers",
    metadata,
    sa.Column("tracking_number", sa.String(16), primary_key=True),
    sa.Column("account_id", sa.String(64), nullable=False),
    sa.Column("company_id", sa.String(64), nullable=False),
)

# What CallRail's webhooks, or its conversations, say that was written: replies, and texts that went out.
callrail_texts = sa.Table(
    "callrail_texts",
    metadata,
    # CallRail's own id of the text: a repeated webhook is known by it.
    sa.Column("resource_id", sa.String(64), primary_key=True),
    # "in" from the person, "out" to the person.
    sa.Column("direction", sa.String(4), nullable=False),
    sa.Column("written_at", Instant, nullable=False),
    sa.Column("received_at", Instant, nullable=False),
    sa.Column("account_id", sa.String(64)),
    sa.Column("company_id", sa.String(64)),
    # Null if CallRail masks a number and no conversation that is known here shows it.
    sa.Column("tracking_number", sa.String(16)),
    sa.Column("recipient", sa.String(16)),
    sa.Column("conversation_id", sa.Text),
    sa.Column("thread_id", sa.Text),
    sa.Column("content", sa.Text),
    # Of a text that went out: the attempt that it is; null if another program sent it, which costs budget.
    sa.Column("attempt_id", sa.ForeignKey("attempts.id")),
    # Of a reply: when it is passed on next; null if it was, or is not to be.
    sa.Column("forward_at", Instant),
    sa.Column("forward_tries", sa.Integer, nullable=False, server_default="0"),
)
_index(
    "ix_callrail_texts_person",
    callrail_texts.c.tracking_number,
    callrail_texts.c.recipient,
    callrail_texts.c.written_at,
)
_index("ix_callrail_texts_conversation_id", callrail_texts.c.conversation_id)
_index("ix_callrail_texts_received_at", callrail_texts.c.received_at)
_by_others = sa.and_(callrail_texts.c.direction == "out", callrail_texts.c.attempt_id.is_(None))
_index("ix_callrail_texts_budget", callrail_texts.c.account_id, callrail_texts.c.written_at, where=_by_others)
# No two texts are linked to one attempt.
_index(
    "ix_callrail_texts_attempt_id",
    callrail_texts.c.attempt_id,
    unique=True,
    given=callrail_texts.c.attempt_id,
)
_index("ix_callrail_texts_forward", callrail_texts.c.forward_at, given=callrail_texts.c.forward_at)

# Looking into CallRail's conversations for replies: one row for each look, which only one node takes.
polls = sa.Table(
    "polls",
    metadata,
    sa.Column("id", Sequence, primary_key=True, autoincrement=True),
    sa.Column("account_id", sa.String(64), nullable=False),
    sa.Column("company_id", sa.String(64), nullable=False),
    sa.Column("began_at", Instant, nullable=False),
    # Until when no other node takes it from the one that began it.
    sa.Column("lease_until", Instant, nullable=False),
    # When it succeeded; null if it did not, and the next poll covers what it should have.
    sa.Column("finished_at", Instant),
    sa.Column("requests", sa.Integer, nullable=False, server_default="0"),
)
_index("ix_polls_company", polls.c.account_id, polls.c.company_id, polls.c.began_at)

# What an alert was sent for and is not over; one row for all nodes.
incidents = sa.Table(
    "incidents",
    metadata,
    sa.Column("key", sa.String(160), primary_key=True),
    sa.Column("level", sa.String(16), nullable=False),
    sa.Column("detail", sa.Text, nullable=False),
    sa.Column("opened_at", Instant, nullable=False),
    # Until when one node has it in hand to tell people.
    sa.Column("telling_until", Instant),
    sa.Column("told_at", Instant),
)

# The nodes that serve this store, on PostgreSQL alone: on SQLite a lock beside the file tells.
nodes = sa.Table(
    "nodes",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("since", Instant, nullable=False),
    sa.Column("seen_at", Instant, nullable=False),
)

# When CallRail answered, and failed to answer, what it was asked only to learn whether it is there.
contacts = sa.Table(
    "contacts",
    metadata,
    sa.Column("account_id", sa.String(64), primary_key=True),
    sa.Column("answered_at", Instant),
    sa.Column("failed_at", Instant),
)

# One row that is written to learn whether the store can be written.
probe = sa.Table(
    "probe",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("written_at", Instant, nullable=False),
)

# Webhook secrets that no node takes any more from an instant on, by their SHA-256.
ended_tokens = sa.Table(
    "ended_tokens",
    metadata,
    sa.Column("digest", sa.String(64), primary_key=True),
    sa.Column("ends_at", Instant, nullable=False),
)

# One row: the secret under which all nodes of this store answer `/healthz?probe=`. It opens nothing,
# and a person who knows a webhook's URL cannot answer for the relay.
relay_secret = sa.Table(
    "relay_secret",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("value", sa.String(64), nullable=False),
)
