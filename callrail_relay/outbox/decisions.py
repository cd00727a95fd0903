"""What people decide about texts, and mapping held texts again."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta

import sqlalchemy as sa

from callrail_relay.domain import guards
from callrail_relay.domain.guards import GuardPolicy, Verdict, are_similar, similarity_words
from callrail_relay.domain.mapper import NewMessage, StoredSubmission
from callrail_relay.domain.message import ANONYMOUS, Actor, Reason, Source, Status, Verb
from callrail_relay.domain.outcome import OutcomeKind
from callrail_relay.domain.reconcile import AUDIT_AFTER
from callrail_relay.outbox.accept import ensure_account, mapped_columns, read_recent
from callrail_relay.outbox.lookups import is_restored, requeue, settle_as_sent
from callrail_relay.outbox.opt_outs import is_opted_out, read_possible_opt_outs, settle_possible_opt_out
from callrail_relay.outbox.rows import (
    Row,
    change,
    change_account,
    from_row,
    latest,
    message_status,
    of_pair,
    write_account,
)
from callrail_relay.outbox.shadow import require_live
from callrail_relay.outbox.tables import (
    Condition,
    accounts,
    attempts,
    decisions,
    messages,
    opt_outs,
    segments,
    submissions,
)


def approve(connection: sa.Connection, now: datetime, message_id: str, actor: Actor = ANONYMOUS) -> bool:
    """Queue a held message, overriding the reasons it shows, to go on where it stopped; False if not held."""
    row = _decided(connection, now, message_id, (Status.HELD,), Verb.APPROVE, actor)
    if row is None:
        return False
    codes = [reason.code for reason in row.reasons]
    if row.recipient is not None:
        # The reply that held it is no opt-out; one that came later was not shown, and holds the next one.
        pair = (row.tracking_number, row.recipient)
        reply = read_possible_opt_outs(connection, [row.recipient]).get(pair)
        if reply is not None and guards.maybe_opted_out(reply) in row.reasons:
            settle_possible_opt_out(connection, *pair)
    change(
        connection,
        messages,
        row.seq,
        status=message_status(connection, row.seq),
        # The reason names the date of the backup, so the person knows how old its texts are.
        approved=sorted({*row.approved, *codes, *(["too_old"] if is_restored(row.reasons) else [])}),
        # That it was sent twice is news, and no reason to hold it.
        reasons=[reason for reason in row.reasons if reason.code == "sent_twice"],
        not_before=now,
        # A text that was kept for the night begins to age now.
        release_at=now if "quiet_hours" in codes else None,
    )
    return True


def held_alike(
    connection: sa.Connection, now: datetime, message_id: str, *, approvable: bool = False
) -> list[str]:
    """The ids of all held as one mass text with this one; *approvable* ones are to no one who opted out."""
    one = connection.execute(sa.select(messages).where(messages.c.id == message_id)).one_or_none()
    words = None if one is None or one.text is None else similarity_words(one.text, one.seller)
    if one is None or words is None:
        return []
    query = sa.select(messages).where(
        messages.c.account_id == one.account_id, messages.c.status == Status.HELD
    )
    if approvable:
        to_them = of_pair(opt_outs, messages.c.tracking_number, messages.c.recipient)
        query = query.where(~sa.exists().where(*to_them))
    return [
        row.id
        for row in connection.execute(query.order_by(messages.c.seq))
        if any(reason.code == "mass_text" for reason in row.reasons)
        and (other := similarity_words(row.text, row.seller)) is not None
        and are_similar(words, other)
        and is_restored(row.reasons) == is_restored(one.reasons)  # else they are two questions
    ]


def resend(connection: sa.Connection, now: datetime, message_id: str, actor: Actor = ANONYMOUS) -> bool:
    """Queue an unknown, failed or cancelled message again; what was unknown is looked up once more later."""
    ended = (Status.UNKNOWN, Status.FAILED, Status.CANCELLED)
    row = _decided(connection, now, message_id, ended, Verb.RESEND, actor)
    if row is None:
        return False
    unknown = attempts.c.outcome == OutcomeKind.UNKNOWN
    _set_attempts(connection, row, unknown, next_lookup_at=now + AUDIT_AFTER, blocks_until=None)
    change(connection, messages, row.seq, approved=sorted({*row.approved, "too_old"}))
    requeue(connection, now, row)
    return True


def mark_sent(connection: sa.Connection, now: datetime, message_id: str, actor: Actor = ANONYMOUS) -> bool:
    """Record that CallRail has an unknown message, as a person says; False if not. The rest follows."""
    row = _decided(connection, now, message_id, (Status.UNKNOWN,), Verb.MARK_SENT, actor)
    if row is None:
        return False
    # If it was sent again, only the last one counts as sent: it arrived, not twice.
    latest_one = sa.select(sa.func.max(attempts.c.id)).group_by(segments.c.id)
    unknown = latest_one.join(segments, segments.c.id == attempts.c.segment_id).where(
        segments.c.message_seq == row.seq,
        segments.c.status == Status.UNKNOWN,
        attempts.c.outcome == OutcomeKind.UNKNOWN,
    )
    for attempt_id in connection.scalars(unknown).all():
        settle_as_sent(connection, now, attempt_id, "A person says that it was sent.", timedelta())
    _set_attempts(connection, row, attempts.c.blocks_until.is_not(None), blocks_until=None)
    return True


def cancel(
    connection: sa.Connection,
    now: datetime,
    message_id: str,
    statuses: Iterable[Status],
    actor: Actor = ANONYMOUS,
) -> bool:
    """Cancel a message that has one of *statuses*; False if it has another by now."""
    row = _decided(connection, now, message_id, statuses, Verb.CANCEL, actor)
    if row is None:
        return False
    change(connection, messages, row.seq, status=Status.CANCELLED)
    _set_attempts(connection, row, attempts.c.blocks_until.is_not(None), blocks_until=None)
    return True


def _decided(
    connection: sa.Connection,
    now: datetime,
    message_id: str,
    statuses: Iterable[Status],
    verb: Verb,
    actor: Actor,
) -> Row | None:
    """Lock a message that has one of *statuses*, its account first, as everywhere; keep who decided what."""
    if verb is not Verb.CANCEL:
        require_live(connection)
    account_id = connection.scalar(sa.select(messages.c.account_id).where(messages.c.id == message_id))
    if account_id is not None:
        change_account(connection, now, account_id)
    query = sa.select(messages).where(messages.c.id == message_id, messages.c.status.in_(tuple(statuses)))
    row = connection.execute(query.with_for_update()).one_or_none()
    if row is None or (verb is Verb.RESEND and None in (row.text, row.recipient)):
        # Its words may have been removed since a person looked at it.
        return None
    _keep(connection, now, row, verb, actor)
    return row


def _keep(connection: sa.Connection, now: datetime, row: Row, verb: Verb, actor: Actor) -> None:
    """Keep who decided what on a message, and why."""
    overridden = [reason.code for reason in row.reasons] if verb is Verb.APPROVE else []
    decided = {"message_seq": row.seq, "decided_at": now, "verb": verb, "reasons": overridden}
    connection.execute(sa.insert(decisions).values(decided | {"person": actor.name, "note": actor.note}))


def _set_attempts(connection: sa.Connection, row: Row, which: Condition, **values: object) -> None:
    """Change such attempts of a message; through its segments, which are indexed."""
    of_message = sa.select(segments.c.id).where(segments.c.message_seq == row.seq)
    query = sa.update(attempts).where(attempts.c.segment_id.in_(of_message), which)
    connection.execute(query.values(**values))


def pause(connection: sa.Connection, now: datetime, account_id: str, reason: str) -> None:
    """Stop sending from an account until it is resumed."""
    ensure_account(connection, account_id)
    account = change_account(connection, now, account_id)
    write_account(connection, account.paused(now, Reason("by_hand", {"note": reason})))


def resume(connection: sa.Connection, now: datetime, account_id: str) -> None:
    """Let an account send again, and forget what made it wait."""
    ensure_account(connection, account_id)
    account = change_account(connection, now, account_id)
    write_account(connection, replace(account.resumed(), hour_excess=0, day_excess=0))


def known_accounts(connection: sa.Connection, _now: datetime) -> list[str]:
    """Every account that the store has seen, by id."""
    return list(connection.scalars(sa.select(accounts.c.id).order_by(accounts.c.id)))


def read_submission(connection: sa.Connection, now: datetime, submission_id: str) -> StoredSubmission:
    """A request as it came in; it never changes."""
    row = connection.execute(sa.select(submissions).where(submissions.c.id == submission_id)).one()
    query = sa.select(messages.c.id).where(messages.c.submission_id == submission_id).order_by(messages.c.seq)
    ids = tuple(connection.scalars(query))
    return from_row(StoredSubmission, row, source=Source(row.source), body=bytes(row.body), message_ids=ids)


def remap(
    connection: sa.Connection,
    now: datetime,
    remapped: NewMessage,
    policy: GuardPolicy,
    actor: Actor = ANONYMOUS,
) -> Status | None:
    """Replace a mapping that left something out, and ask the guards again; None if not held for that."""
    require_live(connection)
    route = remapped.draft.route
    if route is not None:
        # The account is locked, as when a text is stored: of two equal ones, each sees the other.
        ensure_account(connection, route.account_id)
        change_account(connection, now, route.account_id)
    left_out = sa.or_(*(messages.c[name].is_(None) for name in ("recipient", "text", "account_id")))
    query = sa.select(messages).where(messages.c.id == remapped.id, messages.c.status == Status.HELD)
    row = connection.execute(query.where(left_out).with_for_update()).one_or_none()
    if row is None:
        return None
    _keep(connection, now, row, Verb.REMAP, actor)
    verdict = _judged(connection, now, row, remapped, policy)
    if restored := tuple(reason for reason in row.reasons if reason.code == "restored"):
        verdict = replace(verdict, holds=(*restored, *verdict.holds), release_at=None)
    status = Status.HELD if verdict.holds else Status.QUEUED
    judged = {"status": status, "release_at": verdict.release_at, "reasons": verdict.reasons}
    change(connection, messages, row.seq, not_before=now, **judged, **mapped_columns(remapped))
    return status


def _judged(
    connection: sa.Connection, now: datetime, row: Row, remapped: NewMessage, policy: GuardPolicy
) -> Verdict:
    """What the guards say to a message that was mapped again."""
    draft = remapped.draft
    if draft.route is None or draft.recipient is None or draft.text is None:
        return remapped.verdict
    pair = (draft.route.tracking_number, draft.recipient)
    # The same text to the same person from just before, or from any time since.
    same_text = latest(
        messages.c.id,
        messages.c.fingerprint == remapped.fingerprint,
        messages.c.seq != row.seq,
        messages.c.received_at > row.received_at - policy.duplicate_window,
        messages.c.status != Status.CANCELLED,
    )
    recent = read_recent(connection, draft.route.account_id, now - guards.MASS_TEXT_WINDOW)
    around = guards.Circumstances(
        now=now,
        same_text=guards.repeated(connection.scalar(same_text) if remapped.fingerprint else None),
        people=guards.count_people(draft.recipient, draft.similarity_words(), recent),
        opted_out=is_opted_out(connection, now, *pair),
        possible_opt_out=read_possible_opt_outs(connection, [draft.recipient]).get(pair),
        waiting_since=row.received_at,
        recipient=draft.recipient,
    )
    return guards.judge(policy, around, verdict=remapped.verdict)
