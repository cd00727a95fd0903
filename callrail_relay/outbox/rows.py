"""Rows of the store as the values of ``domain``, and the small statements that several files share."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from callrail_relay.domain.account import DAY, HOUR, Account
from callrail_relay.domain.message import (
    Actor,
    Attempt,
    Decision,
    Evidence,
    Message,
    Segment,
    Source,
    Status,
    Verb,
)
from callrail_relay.domain.outcome import OutcomeKind
from callrail_relay.domain.routing import Route
from callrail_relay.outbox.tables import (
    Instant,
    accounts,
    accounts_in_order,
    attempts,
    callrail_texts,
    decisions,
    evidence,
    messages,
    polls,
    segments,
)

_ACCOUNT_FIELDS = tuple(field.name for field in fields(Account))

V = TypeVar("V")

Condition = sa.ColumnElement[bool]

Row = sa.Row[Any]


def insert_into(connection: sa.Connection, table: sa.Table) -> sqlite.Insert | postgresql.Insert:
    """Return an insert that takes ON CONFLICT, in the dialect of the database."""
    return sqlite.insert(table) if connection.dialect.name == "sqlite" else postgresql.insert(table)


def of_pair(table: sa.FromClause, tracking_number: object, recipient: object) -> tuple[Condition, Condition]:
    """Whether a row is about this person and this number of ours; either may be a column as well."""
    return table.c.tracking_number == tracking_number, table.c.recipient == recipient


def message_of(connection: sa.Connection, seq: int) -> Row:
    return connection.execute(sa.select(messages).where(messages.c.seq == seq)).one()


def latest(of: sa.Table | sa.Column[Any], *which: Condition) -> sa.Select[Any]:
    """Selects the latest message, or something of it, of those that fulfill this."""
    return sa.select(of).where(*which).order_by(messages.c.seq.desc()).limit(1)


def portions(values: Iterable[V]) -> Iterator[list[V]]:
    """In portions, since databases limit the number of parameters of one statement."""
    rest = iter(values)
    while portion := list(islice(rest, 500)):
        yield portion


def read_account(connection: sa.Connection, account_id: str) -> Account:
    """The account, in good standing if nothing is known of it."""
    row = connection.execute(_ACCOUNT, {"account_id": account_id}).one_or_none()
    return Account(id=account_id) if row is None else account_from_row(row)


def change_account(connection: sa.Connection, now: datetime, account_id: str) -> Account:
    """
    Lock and return the account, for a change of it or of its texts.

    Something may be sent because of the change, so the account is looked at next, after all that are due.
    """
    row = connection.execute(_CHANGE_ACCOUNT, {"of": account_id, "now": now}).one_or_none()
    return Account(id=account_id) if row is None else account_from_row(row)


def try_account(connection: sa.Connection, account_id: str, *, wait: bool) -> Account | None:
    """The account, locked until this transaction ends; None if another process has it and *wait* is False."""
    query = _LOCK_ACCOUNT if wait else _TRY_ACCOUNT
    row = connection.execute(query, {"account_id": account_id}).one_or_none()
    return None if row is None else account_from_row(row)


def change_account_of(connection: sa.Connection, now: datetime, attempt_id: int) -> Account:
    """As ``change_account``, for the account of an attempt."""
    row = connection.execute(_CHANGE_ACCOUNT_OF, {"attempt_id": attempt_id, "now": now}).one()
    return account_from_row(row)


def look_at_all(connection: sa.Connection, now: datetime, *which: sa.ColumnElement[bool]) -> None:
    """Have these accounts looked at, or every one: what was found before need not hold any more."""
    news = sa.update(accounts).where(accounts_in_order(*which))
    connection.execute(news.values(due_at=now, closed_until=None))


_ACCOUNT = sa.select(accounts).where(accounts.c.id == sa.bindparam("account_id"))
_LOCK_ACCOUNT = _ACCOUNT.with_for_update()
_TRY_ACCOUNT = _ACCOUNT.with_for_update(skip_locked=True)
_CHANGE = (
    sa.update(accounts)
    .values(due_at=sa.bindparam("now", type_=Instant), closed_until=None)
    .returning(accounts)
)
_CHANGE_ACCOUNT = _CHANGE.where(accounts.c.id == sa.bindparam("of"))
_CHANGE_ACCOUNT_OF = _CHANGE.where(
    accounts.c.id
    == sa.select(attempts.c.account_id).where(attempts.c.id == sa.bindparam("attempt_id")).scalar_subquery()
)


def account_from_row(row: Row) -> Account:
    known = {name: getattr(row, name) for name in _ACCOUNT_FIELDS}
    return Account(**known | {"firewalled": tuple(row.firewalled or ())})


def write_account(connection: sa.Connection, account: Account) -> None:
    values = {name: getattr(account, name) for name in _ACCOUNT_FIELDS if name != "id"}
    connection.execute(sa.update(accounts).where(accounts.c.id == account.id).values(values))


def route_from_row(row: Row) -> Route | None:
    if row.account_id is None:
        return None
    return Route(row.account_id, row.company_id, row.tracking_number)


def attempt_from_row(row: Row, evidence: tuple[Evidence, ...]) -> Attempt:
    return Attempt(
        started_at=row.started_at,
        finished_at=row.finished_at,
        outcome=None if row.outcome is None else OutcomeKind(row.outcome),
        http_status=row.http_status,
        detail=row.detail,
        look_at=row.look_at,
        evidence=evidence,
    )


def message_from_row(
    row: Row, segments: tuple[Segment, ...], decisions: tuple[Decision, ...], blocked_until: datetime | None
) -> Message:
    return Message(
        id=row.id,
        submission_id=row.submission_id,
        status=Status(row.status),
        source=Source(row.source),
        received_at=row.received_at,
        reasons=row.reasons,
        recipient=row.recipient,
        text=row.text,
        route=route_from_row(row),
        segments=segments,
        opportunity_id=row.opportunity_id,
        sender_id=row.sender_id,
        seller_id=row.seller_id,
        seller=row.seller,
        team_id=row.team_id,
        sent_at=row.sent_at,
        conversation_id=row.conversation_id,
        release_at=row.release_at if row.status == Status.HELD else None,
        decisions=decisions,
        blocked_until=blocked_until if row.status == Status.QUEUED else None,
    )


def set_message(connection: sa.Connection, seq: int, **values: object) -> None:
    connection.execute(sa.update(messages).where(messages.c.seq == seq).values(**values))


def set_segment(connection: sa.Connection, id_: int, **values: object) -> None:
    connection.execute(sa.update(segments).where(segments.c.id == id_).values(**values))


def set_attempt(connection: sa.Connection, id_: int, **values: object) -> None:
    connection.execute(sa.update(attempts).where(attempts.c.id == id_).values(**values))


def set_text(connection: sa.Connection, key: str, **values: object) -> None:
    """Change a stored text of CallRail's, which may be its id as well."""
    which = callrail_texts.c.resource_id == key
    connection.execute(sa.update(callrail_texts).where(which).values(values))


def keep_decision(
    connection: sa.Connection,
    now: datetime,
    message_seq: int,
    verb: Verb,
    actor: Actor,
    overridden: Iterable[str] = (),
) -> None:
    """Keep who decided what on a message, and why."""
    decided = {"message_seq": message_seq, "decided_at": now, "verb": verb, "reasons": list(overridden)}
    connection.execute(sa.insert(decisions).values(decided | {"person": actor.name, "note": actor.note}))


def read_decisions(connection: sa.Connection, seqs: Sequence[int]) -> dict[int, list[Decision]]:
    """What was decided on each of these messages, oldest first."""
    found: dict[int, list[Decision]] = defaultdict(list)
    query = sa.select(decisions).where(decisions.c.message_seq.in_(seqs)).order_by(decisions.c.id)
    for row in connection.execute(query):
        found[row.message_seq].append(
            Decision(
                decided_at=row.decided_at,
                verb=Verb(row.verb),
                actor=Actor(name=row.person, note=row.note),
                overridden=tuple(row.reasons),
            )
        )
    return found


def message_status(connection: sa.Connection, message_seq: int) -> Status:
    """The status that the segments of a message give it."""
    query = sa.select(segments.c.status).where(segments.c.message_seq == message_seq)
    return status_of(connection.scalars(query).all())


def status_of(segment_statuses: Iterable[str]) -> Status:
    """The status of a message whose segments have these; cancelled ones were replaced by shorter ones."""
    present = {Status(status) for status in segment_statuses} - {Status.CANCELLED}
    for status in (Status.FAILED, Status.UNKNOWN, Status.SENDING):
        if status in present:
            return status
    if present == {Status.SENT}:
        return Status.SENT
    # With some segments gone it stays under way; with none gone it waits for its turn as a whole.
    return Status.SENDING if Status.SENT in present else Status.QUEUED


def write_segments(
    connection: sa.Connection,
    message_seq: int,
    pieces: list[tuple[int, str]],
    *,
    replaces: int | None = None,
    replacing: int = 0,
) -> None:
    """Add segments to send, each with its position; the first *replacing* replace another one."""
    rows = [
        {
            "message_seq": message_seq,
            "position": position,
            "content": content,
            "status": Status.QUEUED,
            "replaces": replaces if number < replacing else None,
        }
        for number, (position, content) in enumerate(pieces)
    ]
    connection.execute(sa.insert(segments), rows)
    set_message(connection, message_seq, segment_count=pieces[-1][0])


def has_requests(
    connection: sa.Connection, now: datetime, account_id: str, per_hour: int, *, to_poll: bool = False
) -> bool:
    """
    Whether an account may ask CallRail now: look-ups and polls share *per_hour*, and ten times that a day.

    Polls take three quarters at most, so that look-ups always have room. CallRail's general limits have the
    same ratio: 1,000 and 10,000 (https://apidocs.callrail.com/#rate-limiting).
    """

    def used(table: sa.Table, at: sa.Column[datetime], span: timedelta) -> int:
        requests = sa.select(sa.func.sum(table.c.requests))
        return connection.scalar(requests.where(table.c.account_id == account_id, at > now - span)) or 0

    for span, limit in ((HOUR, per_hour), (DAY, per_hour * 10)):
        looked_up, polled = used(evidence, evidence.c.noted_at, span), used(polls, polls.c.began_at, span)
        if looked_up + polled >= limit or (to_poll and polled >= limit * 3 / 4):
            return False
    return True


def mentions(connection: sa.Connection, word: str) -> sa.ColumnElement[bool]:
    """Whether a text, or the name of whom it goes to, contains *word*."""
    return sa.or_(contains(connection, messages.c.text, word), contains(connection, messages.c.seller, word))


def contains(connection: sa.Connection, column: sa.Column[str | None], words: str) -> sa.ColumnElement[bool]:
    """Whether *column* contains *words* in any case, which SQLite's LIKE ignores by itself, twice as fast."""
    pattern = "%" + "".join(f"/{letter}" if letter in "/%_" else letter for letter in words) + "%"
    if connection.dialect.name == "sqlite":
        return column.like(pattern, escape="/")
    return column.ilike(pattern, escape="/")
