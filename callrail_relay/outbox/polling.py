"""When conversations are due to be read again, and replies that wait to be passed on."""

from datetime import datetime, timedelta

import sqlalchemy as sa

from callrail_relay.domain.inbound import LONGEST, Company, DuePoll, Forward, PollPolicy
from callrail_relay.outbox.accept import ensure_account
from callrail_relay.outbox.numbers import with_known_companies
from callrail_relay.outbox.rows import Row, change_account, requests_used
from callrail_relay.outbox.tables import callrail_texts, messages, polls


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


def next_forward(connection: sa.Connection, now: datetime) -> datetime | None:
    """When the next reply is to be passed on; None when none is."""
    query = sa.select(sa.func.min(callrail_texts.c.forward_at)).where(
        callrail_texts.c.forward_at.is_not(None)
    )
    due: datetime | None = connection.scalar(query)
    return due


def claim_forward(connection: sa.Connection, now: datetime, lease: timedelta) -> Forward | None:
    """
    Take the reply that has waited longest; None where none is due.

    Nobody else takes it while the lease lasts.
    """
    query = (
        sa.select(callrail_texts)
        .where(callrail_texts.c.forward_at <= now)
        .order_by(callrail_texts.c.forward_at)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    row = connection.execute(query).first()
    if row is None:
        return None
    connection.execute(
        sa.update(callrail_texts)
        .where(callrail_texts.c.resource_id == row.resource_id)
        .values(forward_at=now + lease, forward_tries=row.forward_tries + 1)
    )
    message = _last_message(connection, row)
    return Forward(
        resource_id=row.resource_id,
        text=row.content or "",
        written_at=row.written_at,
        received_at=row.received_at,
        tries=row.forward_tries + 1,
        tracking_number=row.tracking_number,
        recipient=row.recipient,
        seller=message and message.seller,
        seller_id=message and message.seller_id,
        opportunity_id=message and message.opportunity_id,
        sender_id=message and message.sender_id,
    )


def _last_message(connection: sa.Connection, text: Row) -> Row | None:
    """
    The latest text to the person from the number that they wrote to, which names the opportunity in IF3.
    """
    query = (
        sa.select(messages)
        .where(
            messages.c.recipient == text.recipient,
            messages.c.tracking_number == text.tracking_number,
        )
        .order_by(messages.c.seq.desc())
        .limit(1)
    )
    return connection.execute(query).first()


def end_forward(
    connection: sa.Connection, now: datetime, resource_id: str, retry_at: datetime | None
) -> None:
    """
    Note that a reply was passed on, or is given up, or when it is tried again.

    A webhook may have given it its own id meanwhile: then it is passed on once more when the lease is over.
    """
    connection.execute(
        sa.update(callrail_texts)
        .where(callrail_texts.c.resource_id == resource_id)
        .values(forward_at=retry_at)
    )
