"""The work on replies that nodes share: polling CallRail's conversations, and forwarding replies."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

import sqlalchemy as sa

from callrail_relay.domain.account import DAY
from callrail_relay.domain.inbound import LONGEST, Company, DuePoll, Forward, PollPolicy
from callrail_relay.outbox.accept import ensure_account
from callrail_relay.outbox.columns import ACCOUNT_ID, EPOCH
from callrail_relay.outbox.opt_outs import known_numbers
from callrail_relay.outbox.rows import change_account, from_row, has_requests, latest, of_pair
from callrail_relay.outbox.tables import callrail_texts, messages, polls
from callrail_relay.outbox.transaction import Row, Transaction


def claim_poll(tx: Transaction, company: Company, policy: PollPolicy) -> DuePoll | None:
    """Claim a company's poll if it's due; no other node does during its lease."""
    account_id, company_id = company
    ensure_account(tx, account_id)
    change_account(tx, account_id)
    # Asked again with the lock held: another node may have claimed it.
    if _due_at(tx, company, policy) > tx.now:
        return None
    if not has_requests(tx, account_id, policy.requests_per_hour, to_poll=True):
        return None
    polled_at = _polled_at(tx, company)
    since = policy.since(tx.now, polled_at)
    # The day's requests count, and the last poll that succeeded says where the next one starts.
    needless = polls.c.began_at < min(tx.now - DAY, max(polled_at or EPOCH, tx.now - LONGEST * 2))
    tx.execute(sa.delete(polls).where(*_OF_COMPANY, needless), _named(company))
    poll = sa.insert(polls).values(**_named(company), began_at=tx.now, lease_until=tx.now + policy.lease)
    id_ = tx.execute(poll.returning(polls.c.id)).scalar_one()
    return DuePoll(id=id_, account_id=account_id, company_id=company_id, since=since)


def due_polls(tx: Transaction, policy: PollPolicy) -> tuple[list[Company], datetime]:
    """Return the companies whose poll is due, and when the next poll is."""
    due_ats = {company: _due_at(tx, company, policy) for company in _companies(tx, policy)}
    due = [company for company, due_at in due_ats.items() if due_at <= tx.now]
    return due, max(tx.now, min(due_ats.values(), default=tx.now + policy.every))


def last_polls(tx: Transaction, policy: PollPolicy) -> Mapping[str, datetime]:
    """Return since when all companies of each account are polled, to the end; without those never polled."""
    polled: dict[str, list[datetime | None]] = {}
    for company in _companies(tx, policy):
        polled.setdefault(company[0], []).append(_polled_at(tx, company))
    return {
        account_id: min(instant for instant in instants if instant is not None)
        for account_id, instants in polled.items()
        if None not in instants
    }


def last_poll(tx: Transaction, policy: PollPolicy) -> datetime | None:
    """Return since when all accounts are polled; None if one never was."""
    polled = last_polls(tx, policy)
    return min(polled.values(), default=None) if policy.accounts <= polled.keys() else None


def end_poll(tx: Transaction, poll_id: int, requests: int, *, well: bool) -> None:
    """Record the end of a poll. If it didn't end *well*, the next one covers its time again."""
    ended = {"requests": requests, "lease_until": tx.now, "finished_at": tx.now if well else None}
    tx.execute(sa.update(polls).where(polls.c.id == poll_id).values(ended))


def _companies(tx: Transaction, policy: PollPolicy) -> Iterable[Company]:
    """Return the companies to poll, also those of remembered numbers."""
    known = known_numbers(tx, policy.accounts)
    return dict.fromkeys([*policy.companies, *((one.account_id, one.company_id) for one in known)])


def _due_at(tx: Transaction, company: Company, policy: PollPolicy) -> datetime:
    """Return when a company's next poll is due; EPOCH if none counts yet."""
    poll = tx.execute(_NEWEST, _named(company)).first()
    if poll is None or poll.began_at < (policy.not_before or EPOCH):
        return EPOCH
    pause = policy.every if poll.finished_at is not None else policy.retry or policy.every
    due_at: datetime = max(poll.began_at + pause, poll.lease_until)
    return due_at


def _polled_at(tx: Transaction, company: Company) -> datetime | None:
    """Return when the company's last successful poll began."""
    return tx.scalar(_POLLED_AT, _named(company))


def _named(company: Company) -> dict[str, str]:
    return dict(zip(("account_id", "company_id"), company, strict=True))


_OF_COMPANY = polls.c.account_id == ACCOUNT_ID, polls.c.company_id == sa.bindparam("company_id")
_NEWEST = sa.select(polls).where(*_OF_COMPANY).order_by(polls.c.began_at.desc(), polls.c.id.desc()).limit(1)
_ENDED_WELL = polls.c.finished_at.is_not(None)
_POLLED_AT: sa.Select[datetime] = sa.select(sa.func.max(polls.c.began_at)).where(*_OF_COMPANY, _ENDED_WELL)


def next_forward(tx: Transaction) -> datetime | None:
    """Return when the next reply is to be forwarded; None if there is none."""
    due: sa.Select[datetime] = sa.select(sa.func.min(callrail_texts.c.forward_at))
    return tx.scalar(due.where(callrail_texts.c.forward_at.is_not(None)))


def claim_forward(tx: Transaction, lease: timedelta) -> Forward | None:
    """Claim the reply that has waited longest, for the length of the lease; None if none is due."""
    query = sa.select(callrail_texts).where(callrail_texts.c.forward_at <= tx.now)
    query = query.order_by(callrail_texts.c.forward_at).limit(1).with_for_update(skip_locked=True)
    row = tx.execute(query).first()
    if row is None:
        return None
    tries = row.forward_tries + 1
    tx.change(callrail_texts, row.resource_id, forward_at=tx.now + lease, forward_tries=tries)
    # The latest text to the person from the number they wrote to names the opportunity in IF3.
    last = latest(messages, *of_pair(messages, row.tracking_number, row.recipient))
    message: Row | None = tx.execute(last).first()
    said = ("seller", "seller_id", "opportunity_id", "sender_id")
    by_if3 = {name: getattr(message, name, None) for name in said}
    return from_row(Forward, row, text=row.content or "", tries=tries, **by_if3)


def end_forward(tx: Transaction, resource_id: str, retry_at: datetime | None) -> None:
    """Record that a reply was forwarded or given up, or when to retry; with a new id it's forwarded again."""
    tx.change(callrail_texts, resource_id, forward_at=retry_at)
