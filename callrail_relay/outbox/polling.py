"""Sharing the looks for replies among all nodes: each is made by one of them."""

from datetime import datetime

import sqlalchemy as sa

from callrail_relay.domain.inbound import LONGEST, Company, DuePoll, PollPolicy
from callrail_relay.outbox.accept import ensure_account
from callrail_relay.outbox.numbers import with_known_companies
from callrail_relay.outbox.requests import requests_used
from callrail_relay.outbox.rows import change_account
from callrail_relay.outbox.tables import polls


def claim_poll(connection: sa.Connection, now: datetime, policy: PollPolicy) -> DuePoll | None:
    """Take a look that is due; nobody else takes it while its lease lasts. None where none is."""
    policy = with_known_companies(connection, now, policy)
    for company in policy.companies:
        account_id, company_id = company
        due_at = _due_at(connection, company, policy)
        if due_at is not None and due_at > now:
            continue
        ensure_account(connection, account_id)
        change_account(connection, now, account_id)
        # Another node may have taken it while this one waited for the lock.
        due_at = _due_at(connection, company, policy)
        if due_at is not None and due_at > now:
            continue
        if requests_used(connection, now, account_id) >= policy.requests_per_hour:
            continue
        since = policy.since(now, _covered(connection, company))
        _forget(connection, now, company)
        id_ = connection.execute(
            sa.insert(polls)
            .values(
                account_id=account_id, company_id=company_id, began_at=now, lease_until=now + policy.lease
            )
            .returning(polls.c.id)
        ).scalar_one()
        return DuePoll(id=id_, account_id=account_id, company_id=company_id, since=since)
    return None


def next_poll(connection: sa.Connection, now: datetime, policy: PollPolicy) -> datetime:
    """When the next look is due."""
    policy = with_known_companies(connection, now, policy)
    due_ats = [_due_at(connection, company, policy) or now for company in policy.companies]
    return min(due_ats, default=now + policy.every)


def last_poll(connection: sa.Connection, _now: datetime, policy: PollPolicy) -> datetime | None:
    """Return since when all companies have been looked at well; None while one never was."""
    covered = [_covered(connection, company) for company in policy.companies]
    return min((one for one in covered if one is not None), default=None) if all(covered) else None


def end_poll(connection: sa.Connection, now: datetime, poll_id: int, requests: int, *, well: bool) -> None:
    """Note what a look took; what one that did not end *well* should have covered is covered by the next."""
    connection.execute(
        sa.update(polls)
        .where(polls.c.id == poll_id)
        .values(requests=requests, lease_until=now, finished_at=now if well else None)
    )


def _due_at(connection: sa.Connection, company: Company, policy: PollPolicy) -> datetime | None:
    """When the next look at a company is due; None where there was none yet."""
    latest = connection.execute(
        sa.select(polls.c.began_at, polls.c.lease_until)
        .where(*_of(company))
        .order_by(polls.c.began_at.desc(), polls.c.id.desc())
        .limit(1)
    ).first()
    if latest is None:
        return None
    due_at: datetime = max(latest.began_at + policy.every, latest.lease_until)
    return due_at


def _covered(connection: sa.Connection, company: Company) -> datetime | None:
    """When the last look that ended well began."""
    covered: datetime | None = connection.scalar(
        sa.select(sa.func.max(polls.c.began_at)).where(*_of(company), polls.c.finished_at.is_not(None))
    )
    return covered


def _forget(connection: sa.Connection, now: datetime, company: Company) -> None:
    """Leave out looks that are so old that nothing follows from them."""
    connection.execute(sa.delete(polls).where(*_of(company), polls.c.began_at < now - LONGEST * 2))


def _of(company: Company) -> tuple[sa.ColumnElement[bool], ...]:
    return polls.c.account_id == company[0], polls.c.company_id == company[1]
