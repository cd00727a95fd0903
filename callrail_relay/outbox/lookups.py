"""Settles unknown outcomes by what CallRail's conversations show."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from callrail_relay.domain import reconcile
from callrail_relay.domain.events import MessageEvent, OutcomeFound, SentTwice
from callrail_relay.domain.message import Reason, Status
from callrail_relay.domain.outcome import OutcomeKind
from callrail_relay.outbox.columns import NOW
from callrail_relay.outbox.rows import change_account, has_requests, latest, message_status, of_pair, route_of
from callrail_relay.outbox.tables import attempts, evidence, messages, segments
from callrail_relay.outbox.transaction import Row, Transaction

NO_REQUESTS_RETRY = timedelta(seconds=60)
# The node of an attempt that another relay may have made any time between its start and end: what comes from
# a backup may have been sent since.
FORMER_RELAY = "former relay"


def claim_lookup(
    tx: Transaction, policy: reconcile.LookupPolicy, begun: reconcile.DueLookup | None = None
) -> reconcile.DueLookup | None:
    """
    Claim the look-up that has been due longest, but first *begun*, whose result couldn't be stored.

    No other process takes it during its lease. None if none is due, or no requests are left for it.
    """
    with_room = [
        account_id
        for account_id in tx.scalars(_DUE_ACCOUNTS, {"now": tx.now})
        if account_id in policy.accounts and has_requests(tx, account_id, policy.requests_per_hour)
    ]
    if not with_room:
        return None
    free = sa.or_(attempts.c.look_until.is_(None), attempts.c.look_until <= tx.now)
    order: list[sa.ColumnElement[Any]] = [attempts.c.next_lookup_at]
    if begun is not None:
        ours = sa.and_(attempts.c.id == begun.attempt_id, attempts.c.look_until == begun.lease_until)
        free = sa.or_(free, ours)
        order.insert(0, attempts.c.id != begun.attempt_id)
    query = sa.select(attempts).where(
        attempts.c.next_lookup_at <= tx.now, free, attempts.c.account_id.in_(with_room)
    )
    query = query.order_by(*order).limit(1).with_for_update(skip_locked=True)
    attempt = tx.execute(query).first()
    if attempt is None:
        return None
    lease_until = tx.now + policy.lease
    tx.change(attempts, attempt.id, look_until=lease_until)
    message = tx.row_of(messages, attempt.message_seq)
    return reconcile.DueLookup(
        attempt_id=attempt.id,
        message_id=message.id,
        route=route_of(message),
        recipient=attempt.recipient,
        started_at=attempt.started_at,
        conversation_id=message.conversation_id or known_conversation(tx, attempt),
        lease_until=lease_until,
    )


_DUE_ACCOUNTS = sa.select(attempts.c.account_id).where(attempts.c.next_lookup_at <= NOW).distinct()
# After its lease, another process may take a look-up: the one that began it may have died.
_FREE_AT = sa.case((attempts.c.look_until > NOW, attempts.c.look_until), else_=attempts.c.next_lookup_at)
_FREE_ATS = (
    sa.select(attempts.c.account_id, sa.func.min(_FREE_AT).label("free_at"))
    .where(attempts.c.next_lookup_at.is_not(None))
    .group_by(attempts.c.account_id)
)


def known_conversation(tx: Transaction, attempt: Row) -> str | None:
    """Return the conversation of the latest text to the same person from the same number."""
    to_them = of_pair(messages, attempt.tracking_number, attempt.recipient)
    known = messages.c.conversation_id.is_not(None)
    id_: str | None = tx.scalar(latest(messages.c.conversation_id, *to_them, known))
    return id_


def next_lookup(tx: Transaction, policy: reconcile.LookupPolicy) -> datetime | None:
    """Return when the next look-up may be claimed; one in progress, when its lease ends. None without any."""
    free_ats = [
        # If the hour's requests are used up, ask again in a while, not all the time.
        tx.now + NO_REQUESTS_RETRY
        if row.free_at <= tx.now and not has_requests(tx, row.account_id, policy.requests_per_hour)
        else row.free_at
        for row in tx.execute(_FREE_ATS, {"now": tx.now})
        if row.account_id in policy.accounts
    ]
    return min(free_ats, default=None)


def record_lookup(
    tx: Transaction, due: reconcile.DueLookup, lookup: reconcile.Lookup, policy: reconcile.LookupPolicy
) -> list[MessageEvent]:
    """
    Settle what the conversation proves, for this attempt and for others to the same person.

    An attempt that isn't found is looked up again by the ladder, then left to a person or, if the policy says
    so, sent once more. If CallRail can't be read, it's looked up again later, for a day. One that was settled
    meanwhile stays as it is.
    """
    change_account(tx, due.route.account_id)
    attempt = tx.row_of(attempts, due.attempt_id)
    seen, requests = len(lookup.texts), lookup.requests
    detail = f"Checked with CallRail: outgoing texts there: {seen}, requests made: {requests}."
    _note(tx, attempt, lookup.fault or detail, requests)
    if attempt.outcome != OutcomeKind.UNKNOWN:
        return []
    if lookup.fault is not None:
        _not_read(tx, attempt, policy)
        return []
    # Every attempt to the same person that could be a text found here, from any number of the company:
    # CallRail keeps them in one conversation, and doesn't say which number sent which. One in flight counts
    # as certain, so that an older one can't take its text.
    query = SENDINGS.where(
        messages.c.company_id == due.route.company_id,
        messages.c.recipient == due.recipient,
        attempts.c.started_at.between(*reconcile.reach(due.started_at, lookup.texts, _until(attempt))),
    )
    found = reconcile.match([sending_of(row) for row in tx.execute(query)], lookup.texts)
    news: list[MessageEvent] = []
    for sending, text in found.matches:
        detail = f"Found in CallRail's conversation, written at {text.created_at:%Y-%m-%dT%H:%M:%SZ}."
        news += settle_as_sent(tx, sending.attempt_id, detail)
        if sending.until is not None:  # it used budget when it was sent, by whichever relay
            tx.change(attempts, sending.attempt_id, counted_at=text.created_at)
    if attempt.id not in {sending.attempt_id for sending, _ in found.matches}:
        news += _not_found(tx, attempt, policy, like_it=found.unclear.get(attempt.id, 0))
    return news


def _not_read(tx: Transaction, attempt: Row, policy: reconcile.LookupPolicy) -> None:
    next_lookup_at = policy.next_look(attempt.finished_at, answered=False, now=tx.now)
    if next_lookup_at is None and attempt.node == FORMER_RELAY:
        next_lookup_at = tx.now + reconcile.RETRY_LATER
    tx.change(attempts, attempt.id, next_lookup_at=next_lookup_at, look_until=None)
    if next_lookup_at is None and _is_open_question(tx, attempt):
        _leave_to_a_person(tx, attempt, problem="not_asked")


def _note(tx: Transaction, attempt: Row, detail: str, requests: int = 0) -> None:
    learnt = {"attempt_id": attempt.id, "account_id": attempt.account_id, "noted_at": tx.now}
    tx.execute(sa.insert(evidence).values(learnt | {"detail": detail, "requests": requests}))


# Attempts that may have arrived.
_ARRIVED = attempts.c.outcome.in_([OutcomeKind.SENT, OutcomeKind.UNKNOWN])
SENDINGS = (
    sa.select(attempts, segments.c.content, messages.c.conversation_id)
    .join(segments, segments.c.id == attempts.c.segment_id)
    .join(messages, messages.c.seq == segments.c.message_seq)
    .where(sa.or_(_ARRIVED, attempts.c.outcome.is_(None)))
)


def sending_of(row: Row) -> reconcile.Sending:
    """Return an attempt of SENDINGS."""
    certain = row.outcome != OutcomeKind.UNKNOWN
    known = {"content": row.content, "started_at": row.started_at, "until": _until(row)}
    return reconcile.Sending(attempt_id=row.id, certain=certain, **known)


def _until(attempt: Row) -> datetime | None:
    """Return when another relay's attempt began at the latest; None for ours, whose start is known."""
    return attempt.finished_at if attempt.node == FORMER_RELAY else None


def settle_as_sent(tx: Transaction, attempt_id: int, detail: str) -> list[MessageEvent]:
    """
    Record that an unknown attempt arrived, and withdraw a resend that wasn't sent yet.

    If the resend was sent, the message is flagged as sent twice; if it was refused, the rest follows now.
    """
    attempt = tx.row_of(attempts, attempt_id)
    segment = tx.row_of(segments, attempt.segment_id)
    message = tx.row_of(messages, attempt.message_seq)
    over = {"next_lookup_at": None, "look_until": None, "blocks_until": None}
    tx.change(attempts, attempt_id, outcome=OutcomeKind.SENT, detail=detail, **over)
    _note(tx, attempt, detail)
    if segment.status != Status.SENDING:
        tx.change(segments, segment.id, status=Status.SENT)
        # If it was refused later and split, its pieces aren't needed.
        pieces = (segments.c.message_seq == segment.message_seq, segments.c.replaces == segment.id)
        waiting = sa.update(segments).where(*pieces, segments.c.status.not_in([Status.SENT, Status.SENDING]))
        tx.execute(waiting.values(status=Status.CANCELLED))
    if segment.status == Status.FAILED:
        _queue_again(tx, message.seq, (Status.CANCELLED,))
    status: Status = message.status
    if status is not Status.CANCELLED:
        status = message_status(tx, message.seq)
    reasons = message.reasons
    if message.status == Status.HELD and is_restored(reasons):
        # The rest of it waits for a person, too.
        status = Status.SENT if status is Status.SENT else Status.HELD
        reasons = [] if status is Status.SENT else reasons
    elif status not in (Status.UNKNOWN, Status.FAILED):
        # Nothing keeps it any longer, and its other segments follow.
        settled = ("unknown", "incomplete", "refused", "too_old")
        reasons = [reason for reason in reasons if reason.code not in settled]
    news: list[MessageEvent] = [OutcomeFound(message_id=message.id, status=status, detail=detail)]
    if _is_twice(tx, segment):
        reasons = flagged_twice(reasons)
        news.append(SentTwice(message_id=message.id))
    tx.change(
        messages,
        message.seq,
        status=status,
        reasons=reasons,
        sent_at=tx.now if status is Status.SENT else message.sent_at,
    )
    return news


def _is_twice(tx: Transaction, segment: Row) -> bool:
    """Whether CallRail accepted a segment more than once, whole or in pieces."""
    sent = (attempts.c.segment_id == segment.id, attempts.c.outcome == OutcomeKind.SENT)
    # The longer one that it's a piece of, or one of its pieces.
    other = (
        segments.c.message_seq == segment.message_seq,
        segments.c.status == Status.SENT,
        sa.or_(segments.c.id == segment.replaces, segments.c.replaces == segment.id),
    )
    return tx.count(attempts, *sent) > 1 or tx.count(segments, *other) > 0


def flagged_twice(reasons: Iterable[Reason]) -> list[Reason]:
    """Return the reasons, with the news that CallRail accepted the text twice."""
    return [*(reason for reason in reasons if reason.code != "sent_twice"), Reason("sent_twice")]


def _not_found(
    tx: Transaction, attempt: Row, policy: reconcile.LookupPolicy, *, like_it: int
) -> list[MessageEvent]:
    if attempt.node == FORMER_RELAY:
        # Looked up once more when the ladder ends: CallRail may show a text late.
        policy = replace(policy, ladder=policy.ladder[-1:])
        _note_restored(tx, attempt, problem="not_shown")
    next_lookup_at = policy.next_look(attempt.finished_at, answered=True, now=tx.now)
    blocks_until = attempt.blocks_until if next_lookup_at is not None else None
    looked = {"next_lookup_at": next_lookup_at, "look_until": None, "looks": attempt.looks + 1}
    tx.change(attempts, attempt.id, blocks_until=blocks_until, **looked)
    if next_lookup_at is not None or not _is_open_question(tx, attempt):
        return []
    if policy.on_unknown is reconcile.OnUnknown.RESEND_ONCE and not like_it:
        resent = _resend_once(tx, attempt)
        if resent:
            return resent
    found = {"problem": "others_like_it", "count": like_it} if like_it else {"problem": "not_shown"}
    _leave_to_a_person(tx, attempt, **found)
    return []


def _is_open_question(tx: Transaction, attempt: Row) -> bool:
    """Whether a message is unknown because of this attempt's segment, and no later attempt settled it."""
    query = sa.select(segments.c.status, messages.c.status).where(
        segments.c.id == attempt.segment_id, messages.c.seq == segments.c.message_seq
    )
    return set(tx.execute(query).one()) == {Status.UNKNOWN}


def _leave_to_a_person(tx: Transaction, attempt: Row, **found: object) -> None:
    """Say in the message what was found, so that a person can decide."""
    message = tx.row_of(messages, attempt.message_seq)
    others = [one for one in message.reasons if one.code != "unknown"]
    tx.change(messages, message.seq, reasons=[Reason("unknown", found), *others])


def is_restored(reasons: Iterable[Reason]) -> bool:
    """Whether a message came from a backup, and has waited for a person since."""
    return any(reason.code == "restored" for reason in reasons)


def _note_restored(tx: Transaction, attempt: Row, **found: object) -> None:
    """Say in a message from a backup what was found."""
    message = tx.row_of(messages, attempt.message_seq)
    reasons = [
        Reason("restored", {**one.parameters, **found}) if one.code == "restored" else one
        for one in message.reasons
    ]
    tx.change(messages, message.seq, reasons=reasons)


def _resend_once(tx: Transaction, attempt: Row) -> list[MessageEvent]:
    """Queue the segment again, unless that was done before."""
    of_segment = (attempts.c.segment_id == attempt.segment_id, attempts.c.outcome == OutcomeKind.UNKNOWN)
    if tx.count(attempts, *of_segment) > 1:
        return []
    detail = "CallRail doesn't show it, so it is sent once more, as delivery.on_unknown says."
    _note(tx, attempt, detail)
    # Looked up once more later, to tell a person if the first one arrived after all.
    tx.change(attempts, attempt.id, next_lookup_at=tx.now + reconcile.AUDIT_AFTER)
    message = tx.row_of(messages, attempt.message_seq)
    status = requeue(tx, message)
    return [OutcomeFound(message_id=message.id, status=status, detail=detail)]


def requeue(tx: Transaction, message: Row) -> Status:
    """Queue the unknown, failed or cancelled segments of a message again."""
    _queue_again(tx, message.seq, (Status.UNKNOWN, Status.FAILED, Status.CANCELLED))
    status = message_status(tx, message.seq)
    reasons = [reason for reason in message.reasons if reason.code == "sent_twice"]
    tx.change(messages, message.seq, status=status, reasons=reasons)
    return status


def _queue_again(tx: Transaction, message_seq: int, statuses: Iterable[Status]) -> None:
    """Queue a message's segments in one of *statuses*, unless they were replaced, or their whole arrived."""
    piece, whole = segments.alias(), segments.alias()
    replaced = sa.exists().where(
        piece.c.message_seq == segments.c.message_seq, piece.c.replaces == segments.c.id
    )
    arrived = sa.exists().where(whole.c.id == segments.c.replaces, whole.c.status == Status.SENT)
    ended = (segments.c.message_seq == message_seq, segments.c.status.in_(tuple(statuses)))
    tx.execute(sa.update(segments).where(*ended, ~replaced, ~arrived).values(status=Status.QUEUED))
