"""What people decide about texts, and remapping held texts."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from callrail_relay.domain import guards
from callrail_relay.domain.guards import GuardPolicy, Verdict, are_similar, similarity_words
from callrail_relay.domain.mapper import NewMessage
from callrail_relay.domain.message import ANONYMOUS, OPEN, RESENDABLE, Actor, Reason, Status, Verb
from callrail_relay.domain.opt_outs import PossibleOptOut
from callrail_relay.domain.outcome import OutcomeKind
from callrail_relay.domain.reconcile import AUDIT_AFTER
from callrail_relay.outbox.accept import ensure_account, mapped_columns, read_recent
from callrail_relay.outbox.columns import Condition
from callrail_relay.outbox.lookups import is_restored, requeue, settle_as_sent
from callrail_relay.outbox.opt_outs import ask_about, read_opt_outs, settle_possible_opt_out
from callrail_relay.outbox.rows import change_account, latest, look_at_all, message_status, write_account
from callrail_relay.outbox.shadow import lock_shadow, require_live
from callrail_relay.outbox.tables import accounts, attempts, decisions, is_open, messages, segments
from callrail_relay.outbox.transaction import Row, Transaction


def approve(tx: Transaction, message_id: str, actor: Actor = ANONYMOUS) -> bool:
    """
    Queue a held message despite the reasons it shows, to continue where it stopped; False if it isn't held.

    The store keeps the actor's delay: until it's over, the message can't be claimed, and can be undone.
    """
    row = _locked(tx, message_id, (Status.HELD,))
    if row is None:
        return False
    codes = [reason.code for reason in row.reasons]
    settled: PossibleOptOut | None = None
    if row.recipient is not None:
        # The reply that held it isn't an opt-out. A later one wasn't shown, and holds the next text.
        pair = (row.tracking_number, row.recipient)
        reply = read_opt_outs(tx, [row.recipient])[1].get(pair)
        if reply is not None and guards.maybe_opted_out(reply) in row.reasons:
            settle_possible_opt_out(tx, *pair)
            settled = reply
    _keep(tx, row, Verb.APPROVE, actor, settled)
    tx.change(
        messages,
        row.seq,
        status=message_status(tx, row.seq),
        approved=sorted({*row.approved, *codes}),
        # That it was sent twice is news, not a reason to hold it.
        reasons=[reason for reason in row.reasons if reason.code == "sent_twice"],
        not_before=tx.now + actor.delay,
        release_at=tx.now,  # its age counts from now: the person who wants it sent knows how old it is
    )
    return True


def held_alike(tx: Transaction, message_id: str) -> list[str]:
    """Return the ids of all messages held as one mass text with this one."""
    one = tx.execute(sa.select(messages).where(messages.c.id == message_id)).one_or_none()
    words = None if one is None or one.text is None else similarity_words(one.text, one.seller)
    if one is None or words is None:
        return []
    query = sa.select(messages).where(
        messages.c.account_id == one.account_id, messages.c.status == Status.HELD
    )
    return [
        row.id
        for row in tx.execute(query.order_by(messages.c.seq))
        if any(reason.code == "mass_text" for reason in row.reasons)
        and (other := similarity_words(row.text, row.seller)) is not None
        and are_similar(words, other)
        and is_restored(row.reasons) == is_restored(one.reasons)  # otherwise they're two questions
    ]


def resend(tx: Transaction, message_id: str, actor: Actor = ANONYMOUS) -> bool:
    """Queue an unknown, failed or cancelled message again; what was unknown is looked up once more later."""
    row = _locked(tx, message_id, RESENDABLE)
    if row is None or None in (row.text, row.recipient):
        # Its text may have been removed since the person saw it.
        return False
    _keep(tx, row, Verb.RESEND, actor)
    unknown = attempts.c.outcome == OutcomeKind.UNKNOWN
    _set_attempts(tx, row, unknown, next_lookup_at=tx.now + AUDIT_AFTER, blocks_until=None)
    requeue(tx, row)
    approved = sorted({*row.approved, "too_old"})
    tx.change(messages, row.seq, approved=approved, not_before=tx.now + actor.delay)
    return True


def mark_sent(tx: Transaction, message_id: str, actor: Actor = ANONYMOUS) -> bool:
    """Mark an unknown message as sent, on a person's word; the rest follows. False if it isn't unknown."""
    row = _locked(tx, message_id, (Status.UNKNOWN,))
    if row is None:
        return False
    _keep(tx, row, Verb.MARK_SENT, actor)
    # If it was sent again, only the last attempt counts as sent: it arrived once, not twice.
    latest_one = sa.select(sa.func.max(attempts.c.id)).group_by(segments.c.id)
    unknown = latest_one.join(segments, segments.c.id == attempts.c.segment_id).where(
        segments.c.message_seq == row.seq,
        segments.c.status == Status.UNKNOWN,
        attempts.c.outcome == OutcomeKind.UNKNOWN,
    )
    for attempt_id in tx.scalars(unknown).all():
        settle_as_sent(tx, attempt_id, "A person marked it as sent.")
    _set_attempts(tx, row, attempts.c.blocks_until.is_not(None), blocks_until=None)
    return True


def cancel(tx: Transaction, message_id: str, statuses: Iterable[Status], actor: Actor = ANONYMOUS) -> bool:
    """Cancel a message that has one of *statuses*; False if it has another one by now."""
    row = _locked(tx, message_id, statuses, in_shadow=True)
    if row is None:
        return False
    _keep(tx, row, Verb.CANCEL, actor)
    tx.change(messages, row.seq, status=Status.CANCELLED)
    _set_attempts(tx, row, attempts.c.blocks_until.is_not(None), blocks_until=None)
    return True


_AS_THEY_ARE = ("status", "approved", "text", "recipient", "segment_count")  # JSON has no instants or bytes


def undo(tx: Transaction, message_id: str, batch: str, actor: Actor = ANONYMOUS) -> bool:
    """Undo the last decision on a message if it's part of *batch*; False once something came of it."""
    lock_shadow(tx)  # before all other locks
    row = _locked(tx, message_id, (*OPEN, Status.CANCELLED), in_shadow=True)
    if row is None:
        return False
    of_message = decisions.c.message_seq == row.seq
    query = sa.select(decisions).where(of_message).order_by(decisions.c.id.desc()).limit(1)
    last = tx.execute(query).one_or_none()
    if last is None or last.batch != batch or last.before is None:
        return False
    claimed = sa.select(attempts.c.id).join(segments, segments.c.id == attempts.c.segment_id)
    since = claimed.where(segments.c.message_seq == row.seq, attempts.c.started_at >= last.decided_at)
    as_decided = (Status.CANCELLED,) if last.verb == Verb.CANCEL else OPEN
    if row.status not in as_decided or tx.scalar(since.limit(1)) is not None:
        return False
    before, statuses = dict(last.before), dict(_segments(tx, row))
    if before["status"] in OPEN:
        require_live(tx)
    then = dict(before.pop("segments"))
    may_be = (Status.QUEUED,) if last.verb == Verb.RESEND else ()
    # A segment that was found at CallRail meanwhile, or split again, must not look unsent.
    if then.keys() != statuses.keys() or any(statuses[id_] not in (then[id_], *may_be) for id_ in then):
        return False
    _keep(tx, row, Verb.UNDO, actor)
    for id_, status in then.items():
        tx.change(segments, id_, status=status)
    # Later texts to the person wait for the outcome again, and it's looked up as before.
    for id_, *instants in before.pop("attempts"):
        next_lookup_at, blocks_until = map(_instant, instants)
        tx.change(attempts, id_, next_lookup_at=next_lookup_at, blocks_until=blocks_until)
    if (reply := before.pop("reply")) is not None:
        # A newer one stays.
        asked = PossibleOptOut(words=reply[0], written_at=datetime.fromisoformat(reply[1]))
        ask_about(tx, row.tracking_number, row.recipient, asked)
    before["reasons"] = tuple(Reason(**reason) for reason in before["reasons"])
    before |= {name: _instant(before[name]) for name in ("not_before", "release_at")}
    before["fingerprint"] = before["fingerprint"] and bytes.fromhex(before["fingerprint"])
    tx.change(messages, row.seq, **before)
    return True


def send_after(tx: Transaction, batch: str, delay: timedelta) -> None:
    """Shorten the wait of what one click decided, so that it's sent *delay* from now."""
    its_own = sa.select(decisions.c.message_seq).where(decisions.c.batch == batch)
    waits = (messages.c.seq.in_(its_own), is_open(), messages.c.not_before > tx.now + delay)
    look_at_all(tx, accounts.c.id.in_(sa.select(messages.c.account_id).where(*waits)))
    tx.execute(sa.update(messages).where(*waits).values(not_before=tx.now + delay))


def ids_of_batch(tx: Transaction, batch: str) -> list[str]:
    """Return the ids of the messages that one click decided."""
    query = sa.select(messages.c.id).join(decisions, decisions.c.message_seq == messages.c.seq)
    return list(tx.scalars(query.where(decisions.c.batch == batch).order_by(messages.c.seq)))


def _locked(
    tx: Transaction,
    message_id: str,
    statuses: Iterable[Status],
    *,
    in_shadow: bool = False,  # True: also in shadow mode
) -> Row | None:
    """Lock a message that has one of *statuses*, its account first. Raises NotAllowed in shadow mode."""
    if not in_shadow:
        require_live(tx)
    account_id = tx.scalar(sa.select(messages.c.account_id).where(messages.c.id == message_id))
    if account_id is not None:
        change_account(tx, account_id)
    query = sa.select(messages).where(messages.c.id == message_id, messages.c.status.in_(tuple(statuses)))
    return tx.execute(query.with_for_update()).one_or_none()


def _keep(tx: Transaction, row: Row, verb: Verb, actor: Actor, settled: PossibleOptOut | None = None) -> None:
    """Record who decided what about a message, and why; if it can be undone, also how it was before."""
    overridden = [reason.code for reason in row.reasons] if verb is Verb.APPROVE else []
    decided = {"message_seq": row.seq, "decided_at": tx.now, "verb": verb, "reasons": overridden}
    before: dict[str, object] | None = None
    if actor.batch is not None:
        of_message = sa.select(segments.c.id).where(segments.c.message_seq == row.seq)
        unknown = (attempts.c.segment_id.in_(of_message), attempts.c.outcome == OutcomeKind.UNKNOWN)
        before = {
            **{name: getattr(row, name) for name in _AS_THEY_ARE},
            "reasons": [reason.document() for reason in row.reasons],
            "not_before": _text(row.not_before),
            "release_at": _text(row.release_at),
            "fingerprint": row.fingerprint and row.fingerprint.hex(),
            "segments": _segments(tx, row),
            "attempts": [
                [one.id, _text(one.next_lookup_at), _text(one.blocks_until)]
                for one in tx.execute(sa.select(attempts).where(*unknown))
            ],
            "reply": settled and [settled.words, _text(settled.written_at)],
        }
    who = {"person": actor.name, "note": actor.note, "batch": actor.batch}
    tx.execute(sa.insert(decisions).values(decided | who | {"before": before or sa.null()}))


def _text(instant: datetime | None) -> str | None:
    return None if instant is None else instant.isoformat()


def _instant(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _segments(tx: Transaction, row: Row) -> list[list[Any]]:
    query = sa.select(segments.c.id, segments.c.status).where(segments.c.message_seq == row.seq)
    return [list(one) for one in tx.execute(query)]


def _set_attempts(tx: Transaction, row: Row, which: Condition, **values: object) -> None:
    """Change these attempts of a message, found through its segments, which have an index."""
    of_message = sa.select(segments.c.id).where(segments.c.message_seq == row.seq)
    query = sa.update(attempts).where(attempts.c.segment_id.in_(of_message), which)
    tx.execute(query.values(**values))


def pause(tx: Transaction, account_id: str, reason: str) -> None:
    """Stop sending from an account until it's resumed."""
    ensure_account(tx, account_id)
    account = change_account(tx, account_id)
    write_account(tx, account.paused(tx.now, Reason("by_hand", {"note": reason})))


def resume(tx: Transaction, account_id: str) -> None:
    """Let an account send again, and forget what made it wait."""
    ensure_account(tx, account_id)
    account = change_account(tx, account_id)
    write_account(tx, replace(account.resumed(), hour_excess=0, day_excess=0))


def known_accounts(tx: Transaction) -> list[str]:
    return list(tx.scalars(sa.select(accounts.c.id).order_by(accounts.c.id)))


def rewrite(
    tx: Transaction, new: NewMessage, policy: GuardPolicy, verb: Verb, actor: Actor = ANONYMOUS
) -> Status | None:
    """
    Rewrite a held message as the guards judge it now; one from a backup stays held.

    REMAP completes a message that the mapping left incomplete. EDIT gives one of which nothing was sent other
    words or another person: its age counts from now, and approvals don't. None if it has changed meanwhile.
    """
    require_live(tx)
    route = new.draft.route
    if route is not None:
        # The account is locked, as when a text is stored, so that each of two equal texts sees the other.
        ensure_account(tx, route.account_id)
        change_account(tx, route.account_id)
    query = sa.select(messages).where(messages.c.id == new.id, messages.c.status == Status.HELD)
    row = tx.execute(query.with_for_update()).one_or_none()
    if row is None:
        return None
    is_edit = verb is Verb.EDIT
    may_edit = row.account_id is not None and not _segments(tx, row)
    if not (may_edit if is_edit else None in (row.recipient, row.text, row.account_id)):
        return None
    _keep(tx, row, verb, actor)
    verdict = _judged(tx, row, new, policy, tx.now if is_edit else row.received_at)
    if restored := tuple(reason for reason in row.reasons if reason.code == "restored"):
        verdict = replace(verdict, holds=(*restored, *verdict.holds), release_at=None)
    status = Status.HELD if verdict.holds else Status.QUEUED
    judged = {"status": status, "reasons": verdict.reasons, "not_before": tx.now + actor.delay}
    aged_from = tx.now if is_edit else None
    judged["release_at"] = verdict.release_at if verdict.holds else aged_from
    if is_edit:
        judged["approved"] = []
    tx.change(messages, row.seq, **judged, **mapped_columns(new))
    return status


def _judged(
    tx: Transaction, row: Row, new: NewMessage, policy: GuardPolicy, waiting_since: datetime
) -> Verdict:
    """Return the guards' verdict on a rewritten message."""
    draft = new.draft
    if draft.route is None or draft.recipient is None or draft.text is None:
        return new.verdict
    pair = (draft.route.tracking_number, draft.recipient)
    # The same text to the same person, from just before or any time since.
    same_text = latest(
        messages.c.id,
        messages.c.fingerprint == new.fingerprint,
        messages.c.seq != row.seq,
        messages.c.received_at > row.received_at - policy.duplicate_window,
        messages.c.status != Status.CANCELLED,
    )
    opted_out, possible = read_opt_outs(tx, [draft.recipient])
    recent = read_recent(tx, draft.route.account_id, tx.now - guards.MASS_TEXT_WINDOW)
    around = guards.Circumstances(
        now=tx.now,
        same_text=guards.repeated(tx.scalar(same_text) if new.fingerprint else None),
        people=guards.count_people(draft.recipient, draft.similarity_words(), recent),
        opted_out=pair in opted_out,
        possible_opt_out=possible.get(pair),
        waiting_since=waiting_since,
        recipient=draft.recipient,
    )
    return guards.judge(policy, around, verdict=new.verdict)
