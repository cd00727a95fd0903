"""Turns rows of the store into domain values, and holds small statements that several files share."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import islice
from typing import Any, TypeVar

import sqlalchemy as sa

from callrail_relay.domain.account import DAY, HOUR, Account
from callrail_relay.domain.message import Status
from callrail_relay.domain.routing import Route
from callrail_relay.outbox.columns import ACCOUNT_ID, NOW, Condition, Instant
from callrail_relay.outbox.tables import (
    accounts,
    accounts_in_order,
    attempts,
    evidence,
    is_open,
    is_released_by_itself,
    messages,
    polls,
    segments,
)
from callrail_relay.outbox.transaction import Row, Transaction, by_key

V = TypeVar("V")


def of_pair(table: sa.FromClause, tracking_number: object, recipient: object) -> tuple[Condition, Condition]:
    """Match rows about this person and this number of ours; either may be a column, too."""
    return table.c.tracking_number == tracking_number, table.c.recipient == recipient


def from_row(cls: type[V], row: Row, **values: object) -> V:
    """Build a value from the columns named like its fields, and from *values*."""
    names = cls.__dataclass_fields__  # type: ignore[attr-defined]  # inherited ones, too
    stored = {name: value for name, value in row._asdict().items() if name in names}
    return cls(**stored | values)


def route_of(row: Row) -> Route:
    return Route(row.account_id, row.company_id, row.tracking_number)


def latest(of: sa.Table | sa.Column[Any], *which: Condition) -> sa.Select[Any]:
    """Select the latest message that meets these conditions, or some of its columns."""
    return sa.select(of).where(*which).order_by(messages.c.seq.desc()).limit(1)


def number(table: sa.FromClause, *which: Condition) -> sa.ScalarSelect[int]:
    """SQL for how many rows of *table* meet these conditions."""
    return sa.select(sa.func.count()).select_from(table).where(*which).scalar_subquery()


def last_of(*instants: datetime | None) -> datetime | None:
    return max((instant for instant in instants if instant is not None), default=None)


def soonest(*instants: datetime | None) -> datetime | None:
    return min((instant for instant in instants if instant is not None), default=None)


def portions(values: Iterable[V]) -> Iterator[list[V]]:
    """Split *values*, since databases limit the parameters of a statement."""
    rest = iter(values)
    while portion := list(islice(rest, 500)):
        yield portion


def change_account(tx: Transaction, account_id: str) -> Account:
    """Lock the account, to change it or its texts; it comes due after all that are due already."""
    row = tx.execute(_CHANGE_ACCOUNT, {"of": account_id, "now": tx.now}).one_or_none()
    return Account(id=account_id) if row is None else from_row(Account, row)


def lock_account(tx: Transaction, account_id: str, *, wait: bool) -> bool:
    """Lock the account until the transaction ends; False if another process has it and *wait* is False."""
    query = _ACCOUNT.with_for_update(skip_locked=not wait)
    return tx.scalar(query, {"account_id": account_id}) is not None


def lock_accounts_of(tx: Transaction, attempt_ids: Iterable[int]) -> None:
    """Lock the accounts of attempts until the transaction ends; SQLite has one writer at a time anyway."""
    if not tx.is_sqlite:
        tx.execute(_LOCK_ACCOUNTS_OF, {"attempt_ids": [*attempt_ids]})


def look_at_all(tx: Transaction, *which: Condition) -> None:
    """
    Make these accounts due, or all of them: what was found before may no longer be true.

    Without conditions, accounts that are open and have nothing to send are skipped: that's most of them.
    """
    news = sa.update(accounts).where(accounts_in_order(*which or [_IS_BUSY]))
    tx.execute(news.values(due_at=tx.now, closed_until=None))


_IS_BUSY = sa.or_(
    accounts.c.closed_until.is_not(None),
    accounts.c.id.in_(sa.select(messages.c.account_id).where(is_open())),
    accounts.c.id.in_(sa.select(messages.c.account_id).where(is_released_by_itself())),
)


_ACCOUNT = sa.select(accounts).where(accounts.c.id == ACCOUNT_ID)
_CHANGE_ACCOUNT = by_key(accounts).values(due_at=NOW, closed_until=None).returning(accounts)
_OF_ATTEMPTS = attempts.c.id.in_(sa.bindparam("attempt_ids", expanding=True))
_LOCK_ACCOUNTS_OF = (
    sa.select(accounts.c.id)
    .where(accounts.c.id.in_(sa.select(attempts.c.account_id).where(_OF_ATTEMPTS)))
    .order_by(accounts.c.id)
    .with_for_update()
)
_FIELDS = tuple(Account.__annotations__)


def write_account(tx: Transaction, account: Account) -> None:
    tx.change_each(accounts, [account_values(account)])


def account_values(account: Account) -> dict[str, object]:
    """What to change in an account's row."""
    return {"of": account.id, **{name: getattr(account, name) for name in _FIELDS if name != "id"}}


def message_status(tx: Transaction, message_seq: int) -> Status:
    """Return the status that a message gets from its segments."""
    query = sa.select(segments.c.status).where(segments.c.message_seq == message_seq)
    return status_of(tx.scalars(query).all())


def status_of(segment_statuses: Iterable[str]) -> Status:
    """Return the status of a message whose segments have these; cancelled ones were replaced."""
    present = {Status(status) for status in segment_statuses} - {Status.CANCELLED}
    for status in (Status.FAILED, Status.UNKNOWN, Status.SENDING):
        if status in present:
            return status
    if present == {Status.SENT}:
        return Status.SENT
    # Partly sent, it's still being sent; with nothing sent, it waits for its turn as a whole.
    return Status.SENDING if Status.SENT in present else Status.QUEUED


def has_requests(tx: Transaction, account_id: str, per_hour: int, *, to_poll: bool = False) -> bool:
    """
    Whether an account may ask CallRail now: look-ups and polls share *per_hour*, and ten times that per day.

    Polls use three quarters at most, so look-ups always have room. CallRail's general limits have the same
    ratio: 1,000 and 10,000 (https://apidocs.callrail.com/#rate-limiting).
    """
    for length, limit in ((HOUR, per_hour), (DAY, per_hour * 10)):
        row = tx.execute(_REQUESTS, {"account_id": account_id, "since": tx.now - length}).one()
        looked_up, polled = (made or 0 for made in row)
        if looked_up + polled >= limit or (to_poll and polled >= limit * 3 / 4):
            return False
    return True


def _requests(at: sa.Column[datetime]) -> sa.ScalarSelect[int]:
    made = sa.select(sa.func.sum(at.table.c.requests)).where(at.table.c.account_id == ACCOUNT_ID)
    return made.where(at > sa.bindparam("since", type_=Instant)).scalar_subquery()


_REQUESTS = sa.select(_requests(evidence.c.noted_at), _requests(polls.c.began_at))


def note_requests(tx: Transaction, account_id: str, requests: int, purpose: str = "") -> None:
    """Count requests to CallRail; each page that was read for a *purpose* has one such row."""
    at = {"began_at": tx.now, "lease_until": tx.now, "finished_at": tx.now}
    noted = {"account_id": account_id, "company_id": purpose, "requests": requests, **at}
    tx.execute(sa.insert(polls).values(noted))


def pages_read(tx: Transaction, account_id: str, purpose: str) -> int:
    """Count the pages read for *purpose* in the last day: after that, they show other conversations."""
    of_purpose = (polls.c.account_id == account_id, polls.c.company_id == purpose)
    return tx.count(polls, *of_purpose, polls.c.began_at > tx.now - DAY)
