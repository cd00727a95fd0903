"""The tables of the outbox, the same on SQLite and PostgreSQL."""

from typing import Any

import sqlalchemy as sa

from callrail_relay.domain.alerts import Level
from callrail_relay.domain.inbound import Direction
from callrail_relay.domain.message import Source, Status, Verb
from callrail_relay.domain.opt_outs import Origin
from callrail_relay.domain.outcome import OutcomeKind
from callrail_relay.domain.shadow import Mode, State
from callrail_relay.outbox.columns import (
    Code,
    Codes,
    Condition,
    Instant,
    Sequence,
    StoredReason,
    StoredReasons,
)

_NAME = "%(table_name)s_%(column_0_N_name)s"
metadata = sa.MetaData(
    naming_convention={"pk": "pk_%(table_name)s"} | {kind: f"{kind}_{_NAME}" for kind in ("ix", "uq", "fk")}
)


def _table(name: str, *columns: sa.Column[Any] | sa.UniqueConstraint) -> sa.Table:
    return sa.Table(name, metadata, *columns)


def _index(
    table: sa.Table, name: str, columns: str, *, where: Condition | None = None, unique: bool = False
) -> None:
    """Create an index on these columns; with *where*, only of rows for which it's true."""
    of = (table.c[column] for column in columns.split())
    full_name = f"ix_{table.name}_{name}"
    sa.Index(full_name, *of, unique=unique, sqlite_where=where, postgresql_where=where)


submissions = _table(
    "submissions",
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("source", Code(Source), nullable=False),
    sa.Column("received_at", Instant, nullable=False),
    sa.Column("content_type", sa.Text),
    sa.Column("query", sa.Text),
    sa.Column("body", sa.LargeBinary, nullable=False),
    sa.Column("retired_at", Instant),  # when its body, and the personal data in its messages, was removed
)
_index(submissions, "kept", "received_at", where=submissions.c.retired_at.is_(None))
_index(submissions, "source", "source received_at")

# Requests that their senders marked with a key, as a digest of both: one that comes again isn't stored again.
# The row is there before the submission's.
repeat_keys = _table(
    "repeat_keys",
    sa.Column("digest", sa.LargeBinary(16), primary_key=True),
    sa.Column("submission_id", sa.String(36), nullable=False, index=True),
)

messages = _table(
    "messages",
    sa.Column("seq", Sequence, primary_key=True, autoincrement=True),  # order of arrival, kept when sending
    sa.Column("id", sa.String(36), nullable=False, unique=True),
    sa.Column("submission_id", sa.ForeignKey("submissions.id"), nullable=False, index=True),
    sa.Column("status", Code(Status), nullable=False),
    sa.Column("source", Code(Source), nullable=False),
    sa.Column("received_at", Instant, nullable=False),
    sa.Column("not_before", Instant, nullable=False),
    sa.Column("recipient", sa.String(16)),
    sa.Column("text", sa.Text),
    sa.Column("account_id", sa.String(64)),
    sa.Column("company_id", sa.String(64)),
    sa.Column("tracking_number", sa.String(16)),
    sa.Column("fingerprint", sa.LargeBinary(16), index=True),  # of number, person and text, to find it again
    # How many segments it will have; they're made when it's first claimed.
    sa.Column("segment_count", sa.Integer, nullable=False),
    sa.Column("cut_to", sa.Integer),  # the length to split to, if CallRail refused a longer segment
    sa.Column("release_at", Instant),  # when it is, or was, queued again; null if it waits for a person
    sa.Column("reasons", StoredReasons, nullable=False),
    sa.Column("approved", Codes, nullable=False),  # codes of the reasons that a person overrode
    sa.Column("opportunity_id", sa.Text),
    sa.Column("sender_id", sa.Text),
    sa.Column("seller_id", sa.Text),
    sa.Column("seller", sa.Text),
    sa.Column("team_id", sa.Text),
    sa.Column("sent_at", Instant),
    sa.Column("conversation_id", sa.Text),
    sa.Column("thread_id", sa.Text),
)


def is_open(table: sa.FromClause = messages) -> Condition:
    """Whether a message is queued or being sent, written exactly as in the partial indexes."""
    return table.c.status.in_([Status.QUEUED, Status.SENDING])


_index(messages, "open", "account_id status seq", where=is_open())
_index(messages, "due", "account_id not_before", where=is_open())
_index(messages, "open_key", "tracking_number recipient seq", where=is_open())
_index(messages, "cut_anew", "account_id", where=messages.c.cut_to.is_not(None))
_index(messages, "status_seq", "status seq")
_index(messages, "recipient_seq", "recipient seq")
# An account's recent texts, to find mass texts.
_index(messages, "account", "account_id received_at")
# For the dashboard: texts by day, opportunity and sender.
_index(messages, "received_at", "received_at seq status")
for _name in ("opportunity_id", "sender_id"):
    _index(messages, _name, f"{_name} seq", where=messages.c[_name].is_not(None))
# CallRail's webhooks may mask phone numbers; then the conversation tells whose they are.
_index(messages, "conversation_id", "conversation_id", where=messages.c.conversation_id.is_not(None))


def accounts_in_order(*which: Condition) -> Condition:
    """Match these accounts in a statement that writes them: locked in one order, against deadlocks."""
    return accounts.c.id.in_(sa.select(accounts.c.id).where(*which).order_by(accounts.c.id).with_for_update())


def is_released_by_itself(table: sa.FromClause = messages) -> Condition:
    """Whether a message is held until an instant, written exactly as in the partial index."""
    return sa.and_(table.c.status == Status.HELD, table.c.release_at.is_not(None))


_index(messages, "release", "account_id release_at", where=is_released_by_itself())

# How many messages, and segments of them, each account has per status. Triggers keep the counts, so nothing
# that grows has to be counted. Messages without an account count under "".
tallies = _table(
    "tallies",
    sa.Column("account_id", sa.String(64), primary_key=True),
    sa.Column("status", Code(Status), primary_key=True),
    sa.Column("messages", sa.BigInteger, nullable=False),
    sa.Column("segments", sa.BigInteger, nullable=False),
)

# A person's decision about a message: what, who, why, and which reasons it overrode.
decisions = _table(
    "decisions",
    sa.Column("id", Sequence, primary_key=True, autoincrement=True),
    sa.Column("message_seq", sa.ForeignKey("messages.seq"), nullable=False, index=True),
    sa.Column("decided_at", Instant, nullable=False),
    sa.Column("verb", Code(Verb), nullable=False),
    sa.Column("person", sa.Text, nullable=False),
    sa.Column("note", sa.Text),
    sa.Column("reasons", Codes, nullable=False),
    sa.Column("batch", sa.String(36)),  # of everything that one click decided
    sa.Column("before", sa.JSON),  # the message as it was, for undo; of an edited one also its words
)
_index(decisions, "batch", "batch", where=decisions.c.batch.is_not(None))

segments = _table(
    "segments",
    sa.Column("id", Sequence, primary_key=True, autoincrement=True),
    sa.Column("message_seq", sa.ForeignKey("messages.seq"), nullable=False),
    sa.Column("position", sa.Integer, nullable=False),
    sa.Column("content", sa.Text, nullable=False),
    sa.Column("status", Code(Status), nullable=False),
    sa.Column("replaces", sa.ForeignKey("segments.id")),  # the longer one, refused, that this is a piece of
    sa.UniqueConstraint("message_seq", "position"),
)

attempts = _table(
    "attempts",
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
    sa.Column("counted_at", Instant),  # from when it counts in the budget; null if it doesn't
    sa.Column("outcome", Code(OutcomeKind)),
    sa.Column("http_status", sa.Integer),
    sa.Column("detail", sa.Text),
    # Of an unknown outcome: when to look it up next, how often that was answered, and until when later texts
    # to the same person wait for it.
    sa.Column("next_lookup_at", Instant),
    sa.Column("look_until", Instant),  # during a look-up: when another process may take it over
    sa.Column("looks", sa.Integer, nullable=False, server_default="0"),
    sa.Column("blocks_until", Instant),
)
_index(attempts, "budget", "account_id counted_at", where=attempts.c.counted_at.is_not(None))
_index(attempts, "key", "tracking_number recipient finished_at")
_index(attempts, "in_flight", "account_id lease_until", where=attempts.c.finished_at.is_(None))
_index(attempts, "next_lookup_at", "next_lookup_at", where=attempts.c.next_lookup_at.is_not(None))
_blocks = attempts.c.blocks_until.is_not(None)
_index(attempts, "blocks", "tracking_number recipient blocks_until", where=_blocks)
_index(attempts, "waits", "account_id blocks_until", where=_blocks)

# What was learned about an attempt after its outcome was recorded, and the requests that took.
evidence = _table(
    "evidence",
    sa.Column("id", Sequence, primary_key=True, autoincrement=True),
    sa.Column("attempt_id", sa.ForeignKey("attempts.id"), nullable=False, index=True),
    sa.Column("account_id", sa.String(64), nullable=False),
    sa.Column("noted_at", Instant, nullable=False),
    sa.Column("detail", sa.Text, nullable=False),
    sa.Column("requests", sa.Integer, nullable=False, server_default="0"),
)
_index(evidence, "requests", "account_id noted_at")

accounts = _table(
    "accounts",
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
    sa.Column("firewalled", Codes),  # ids of messages that a firewall refused in a row; null for none
    sa.Column("due_at", Instant),  # when to look for something to send; null if only news decides
    sa.Column("closed_until", Instant),  # until when nothing is sent: no budget, waiting, or paused
)
# In the order of their turns; all of them may be due at the same instant.
_index(accounts, "due", "due_at id")

opt_outs = _table(
    "suppressions",
    sa.Column("tracking_number", sa.String(16), primary_key=True),
    sa.Column("recipient", sa.String(16), primary_key=True),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("created_at", Instant, nullable=False),
    # Who added it: the person by a "reply", CallRail by a "refusal", or a user "by hand".
    sa.Column("origin", Code(Origin), nullable=False, server_default="by hand"),
)

# Replies that may be opt-outs: the next text to the person is held, and the owner decides.
possible_opt_outs = _table(
    "possible_opt_outs",
    sa.Column("tracking_number", sa.String(16), primary_key=True),
    sa.Column("recipient", sa.String(16), primary_key=True),
    sa.Column("words", sa.Text, nullable=False),
    sa.Column("written_at", Instant, nullable=False),
)

# Numbers named with `send --from` that aren't in the settings, as CallRail knows them.
numbers = _table(
    "numbers",
    sa.Column("tracking_number", sa.String(16), primary_key=True),
    sa.Column("account_id", sa.String(64), nullable=False),
    sa.Column("company_id", sa.String(64), nullable=False),
)

# One row, once shadow mode was used: who sends, since when, and where IF3 posted before.
shadow = _table(
    "shadow",
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("mode", Code(Mode, 8), nullable=False),
    sa.Column("since", Instant, nullable=False),
    sa.Column("forward_to", sa.Text, nullable=False),
)

# The requests that came in shadow mode, in order, and how far each was passed on to that URL.
forwards = _table(
    "forwards",
    sa.Column("id", Sequence, primary_key=True, autoincrement=True),
    sa.Column("submission_id", sa.ForeignKey("submissions.id"), nullable=False, unique=True),
    sa.Column("state", Code(State), nullable=False),
    sa.Column("received_at", Instant, nullable=False),
    sa.Column("tries", sa.Integer, nullable=False),
    sa.Column("lease_until", Instant),  # of a try in progress: when it counts as one that may have arrived
)


def is_unfinished(table: sa.FromClause = forwards) -> Condition:
    """Whether the end of a request isn't known yet, written exactly as in the partial index."""
    return table.c.state.in_([State.WAITING, State.PASSING])


_index(forwards, "unfinished", "id", where=is_unfinished())
_index(forwards, "received_at", "received_at")

# Texts that CallRail's webhooks or conversations report: replies, and what was sent.
callrail_texts = _table(
    "callrail_texts",
    sa.Column("resource_id", sa.String(64), primary_key=True),  # CallRail's id, which identifies repeats
    sa.Column("direction", Code(Direction, 4), nullable=False),
    sa.Column("written_at", Instant, nullable=False),
    sa.Column("received_at", Instant, nullable=False, index=True),
    sa.Column("account_id", sa.String(64)),
    sa.Column("company_id", sa.String(64)),
    sa.Column("tracking_number", sa.String(16)),  # null if CallRail masks it and no conversation shows it
    sa.Column("recipient", sa.String(16)),
    sa.Column("conversation_id", sa.Text, index=True),
    sa.Column("thread_id", sa.Text),
    sa.Column("content", sa.Text),
    # Of a text that was sent: its attempt; null if another program sent it, which uses budget.
    sa.Column("attempt_id", sa.ForeignKey("attempts.id")),
    sa.Column("forward_at", Instant),  # of a reply: when to forward it next; null if it isn't to be
    sa.Column("forward_tries", sa.Integer, nullable=False, server_default="0"),
)
# Written exactly as in the partial index.
is_by_others = sa.and_(callrail_texts.c.direction == Direction.OUT, callrail_texts.c.attempt_id.is_(None))
_index(callrail_texts, "budget", "account_id written_at", where=is_by_others)
_index(callrail_texts, "person", "tracking_number recipient written_at")
# No attempt has two texts.
_index(
    callrail_texts, "attempt_id", "attempt_id", unique=True, where=callrail_texts.c.attempt_id.is_not(None)
)
_index(callrail_texts, "forward", "forward_at", where=callrail_texts.c.forward_at.is_not(None))

# Polls of CallRail's conversations for replies: one row per poll, which only one node makes.
polls = _table(
    "polls",
    sa.Column("id", Sequence, primary_key=True, autoincrement=True),
    sa.Column("account_id", sa.String(64), nullable=False),
    sa.Column("company_id", sa.String(64), nullable=False),
    sa.Column("began_at", Instant, nullable=False),
    sa.Column("lease_until", Instant, nullable=False),  # until when no other node takes it over
    sa.Column("finished_at", Instant),  # when it succeeded; if it didn't, the next poll covers its time
    sa.Column("requests", sa.Integer, nullable=False, server_default="0"),
)
_index(polls, "company", "account_id company_id began_at")

# Open incidents that an alert was sent for; one row for all nodes.
incidents = _table(
    "incidents",
    sa.Column("key", sa.String(160), primary_key=True),
    sa.Column("level", Code(Level), nullable=False),
    sa.Column("detail", sa.Text, nullable=False),
    sa.Column("opened_at", Instant, nullable=False),
    sa.Column("telling_until", Instant),  # until when one node is busy reporting it
    sa.Column("told_at", Instant),
)

# The nodes that serve this store, on PostgreSQL only: on SQLite, a lock beside the file tells.
nodes = _table(
    "nodes",
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("since", Instant, nullable=False),
    sa.Column("seen_at", Instant, nullable=False),
    sa.Column("version", sa.Text),
    sa.Column("slept_seconds", sa.Integer),
    sa.Column("woke_at", Instant),
)

# When CallRail answered, or failed to answer, requests made only to check that it does.
contacts = _table(
    "contacts",
    sa.Column("account_id", sa.String(64), primary_key=True),
    sa.Column("answered_at", Instant),
    sa.Column("failed_at", Instant),
)

# One row, written to check that the store can be written.
probe = _table(
    "probe", sa.Column("id", sa.Integer, primary_key=True), sa.Column("written_at", Instant, nullable=False)
)

# Webhook secrets that no node accepts from an instant on, as SHA-256.
ended_tokens = _table(
    "ended_tokens",
    sa.Column("digest", sa.String(64), primary_key=True),
    sa.Column("ends_at", Instant, nullable=False),
)

# One row: the secret by which all nodes of this store answer `/healthz?probe=`. It opens nothing, and whoever
# knows a webhook URL can't answer for the relay.
relay_secret = _table(
    "relay_secret",
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("value", sa.String(64), nullable=False),
)

# People who may use the dashboard. The empty key is for those who sign in by a link.
people = _table(
    "people",
    sa.Column("key", sa.Text, primary_key=True),  # the name, as names are compared
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("password", sa.Text, nullable=False),  # a hash; empty if there is none
    sa.Column("stamp", sa.String(64), nullable=False),  # what a session must carry
    sa.Column("created_at", Instant, nullable=False),
)
