"""Stores submissions, and decides what happens to each of their messages."""

from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial

import sqlalchemy as sa

from callrail_relay.domain import guards
from callrail_relay.domain.guards import similarity_words
from callrail_relay.domain.mapper import Accepted, NewMessage, NewSubmission
from callrail_relay.domain.message import Source, Status
from callrail_relay.domain.opt_outs import PossibleOptOut
from callrail_relay.domain.shadow import PassOn
from callrail_relay.outbox import shadow
from callrail_relay.outbox.columns import EPOCH, NOW, Instant
from callrail_relay.outbox.opt_outs import read_opt_outs
from callrail_relay.outbox.rows import portions
from callrail_relay.outbox.tables import accounts, accounts_in_order, messages, repeat_keys, submissions
from callrail_relay.outbox.transaction import Transaction

KEY_LASTS = timedelta(hours=24)  # later, the same key is taken for a fixed header, not for a repeat


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What became of a submission. A ping has no messages; a repeated one has the first one's id."""

    submission_id: str
    accepted: Sequence[Accepted] = ()
    in_shadow: bool = False
    pass_on: PassOn | None = None  # the request, if it's to be passed on to the old URL at once


def store(tx: Transaction, awaited: Callable[[], Sequence[NewSubmission]]) -> list[Receipt]:
    """
    Store the submissions that weren't stored before under the same key, all or none of them.

    *awaited* is called once the mode is locked. It returns the submissions whose senders are still waiting:
    the others were told that theirs isn't stored, and may have been passed on before the mode changed.
    """
    mode = shadow.lock_shadow(tx)
    batch = awaited()
    ids = _first_ids(tx, batch)
    new = [one for one, id_ in zip(batch, ids, strict=True) if one.id == id_]
    accepted = _accept(tx, new, in_shadow=mode.is_on)
    passing: list[PassOn | None] = [None] * len(new)
    if mode.is_on and mode.forward_to is not None:
        passing = shadow.add(tx, new, mode.forward_to)
    stored = (
        Receipt(submission_id=one.id, accepted=texts, in_shadow=mode.is_on, pass_on=pass_on)
        for one, texts, pass_on in zip(new, accepted, passing, strict=True)
    )
    return [
        next(stored) if one.id == id_ else Receipt(submission_id=id_)
        for one, id_ in zip(batch, ids, strict=True)
    ]


def _first_ids(tx: Transaction, batch: Sequence[NewSubmission]) -> list[str]:
    """
    Return by what id each was first stored under its key; claim the keys of those that are new.

    If two nodes store the same request at once, the second one waits here until the first commits. Keys are
    claimed in one order and before any account is locked, so nodes can't deadlock.
    """
    new = {one.repeat_key: one.id for one in reversed(batch) if one.repeat_key is not None}
    if not new:
        return [one.id for one in batch]
    rows = [{"digest": key, "submission_id": new[key]} for key in sorted(new)]
    tx.execute(tx.insert_into(repeat_keys).on_conflict_do_nothing(), rows)
    known = {}
    for key, id_, received_at in tx.execute(_OF_KEYS, {"keys": list(new)}).all():
        is_old = received_at is not None and received_at <= tx.now - KEY_LASTS
        known[key] = _take_over(tx, key, id_, new[key]) if is_old else id_
    return [one.id if one.repeat_key is None else known[one.repeat_key] for one in batch]


def _take_over(tx: Transaction, key: bytes, old: str, new: str) -> str:
    """Give an expired key to the submission *new* and return its owner: another node may have been first."""
    of_key = repeat_keys.c.digest == key
    change = sa.update(repeat_keys).where(of_key, repeat_keys.c.submission_id == old)
    if tx.execute(change.values(submission_id=new)).rowcount:
        return new
    owner: str = tx.execute(sa.select(repeat_keys.c.submission_id).where(of_key)).scalar_one()
    return owner


_OF_KEYS = (
    sa.select(repeat_keys.c.digest, repeat_keys.c.submission_id, submissions.c.received_at)
    .join_from(repeat_keys, submissions, submissions.c.id == repeat_keys.c.submission_id, isouter=True)
    .where(repeat_keys.c.digest.in_(sa.bindparam("keys", expanding=True)))
)


def accept(tx: Transaction, batch: Sequence[NewSubmission]) -> list[list[Accepted]]:
    """
    Store all of *batch*, or none of it. Each text is compared with earlier ones of the batch and the store.

    In shadow mode nothing may be queued, except a replayed text that a person wants sent all the same.
    """
    in_shadow = shadow.lock_shadow(tx).is_on
    decided = _accept(tx, batch)
    for submission, accepted in zip(batch, decided, strict=True) if in_shadow else ():
        if any(
            one.status is Status.QUEUED and not (submission.source is Source.REPLAY and message.approved)
            for message, one in zip(submission.messages, accepted, strict=True)
        ):
            shadow.require_live(tx)
    return decided


def _accept(
    tx: Transaction, batch: Sequence[NewSubmission], *, in_shadow: bool = False
) -> list[list[Accepted]]:
    _lock_accounts(tx, batch)
    facts = _read_facts(tx, batch)
    decided = [[_decide(tx.now, facts, text, one) for text in one.messages] for one in batch]
    if in_shadow:  # another system sends it; what would have held it is kept for comparison
        decided = [
            [replace(one, status=Status.SHADOW, verdict=guards.Verdict(one.verdict.holds)) for one in texts]
            for texts in decided
        ]
    _insert(tx, batch, decided, with_empty=in_shadow)
    return decided


def _lock_accounts(tx: Transaction, batch: Sequence[NewSubmission]) -> None:
    """Lock the accounts of *batch* and make them due, since they have new texts; add the missing ones."""
    routes = (message.draft.route for item in batch for message in item.messages)
    ids = {route.account_id for route in routes if route is not None}
    asked = {"account_ids": list(ids), "now": tx.now}
    if ids and (missing := ids - set(tx.scalars(_LOCK_ACCOUNTS, asked))):
        for account_id in sorted(missing):
            ensure_account(tx, account_id)
        # Once more, with the ones that were just added.
        tx.execute(_LOCK_ACCOUNTS, asked)


# A new text makes its account due now, or when the account opens again, unless it's due earlier.
_OPENS_AT = sa.case((accounts.c.closed_until > NOW, accounts.c.closed_until), else_=NOW)
_LOCK_ACCOUNTS = (
    sa.update(accounts)
    .where(accounts_in_order(accounts.c.id.in_(sa.bindparam("account_ids", expanding=True))))
    .values(due_at=sa.case((accounts.c.due_at < _OPENS_AT, accounts.c.due_at), else_=_OPENS_AT))
    .returning(accounts.c.id)
)


def ensure_account(tx: Transaction, account_id: str) -> None:
    """Add the account's row if it's missing. Safe when another node does the same."""
    tx.execute(tx.insert_into(accounts).values(id=account_id).on_conflict_do_nothing())


_Earlier = tuple[str, datetime]  # the id of a message, and when it came in


@dataclass(frozen=True, slots=True, kw_only=True)
class _Facts:
    """What is known about earlier texts, including the ones of this batch that are decided."""

    earlier: dict[bytes, _Earlier]  # the latest message per fingerprint
    recent: dict[str, deque[guards.RecentText]]  # what each account sent lately
    opted_out: set[tuple[str, str]]  # tracking number and person
    possible_opt_outs: dict[tuple[str, str], PossibleOptOut]


def _since(submission: NewSubmission, now: datetime) -> datetime:
    return guards.duplicates_since(now, submission.guards.duplicate_window, submission.woke_at)


def _read_facts(tx: Transaction, batch: Sequence[NewSubmission]) -> _Facts:
    """Read what must be known about earlier texts to decide about *batch*."""
    new = [message for submission in batch for message in submission.messages]
    recent = {one.fingerprint for one in new if one.fingerprint is not None and not one.skip_identical}
    ever = {one.fingerprint for one in new if one.fingerprint is not None and one.skip_identical}
    recipients = {one.draft.recipient for one in new if one.draft.recipient}
    slept = any(guards.is_after_sleep(tx.now, one.woke_at) for one in batch)
    just_before = EPOCH if slept else min((_since(one, tx.now) for one in batch), default=tx.now)
    earlier = _earlier(tx, recent - ever, just_before, unsent_at=tx.now if slept else None)
    compared = {
        message.draft.route.account_id
        for submission in batch
        if submission.guards.mass_text is not guards.Mode.OFF
        for message in submission.messages
        if message.draft.route is not None and message.draft.similarity_words() is not None
    }
    # Newest first; the oldest drop out, so a large batch costs no more than a small one.
    newest = partial(deque[guards.RecentText], maxlen=guards.RECENT_TEXTS)
    since = tx.now - guards.MASS_TEXT_WINDOW
    opted_out, possible = read_opt_outs(tx, recipients)
    return _Facts(
        earlier=earlier | _earlier(tx, ever, EPOCH),
        recent=defaultdict(newest, {one: newest(read_recent(tx, one, since)) for one in compared}),
        opted_out=opted_out,
        possible_opt_outs=possible,
    )


def read_recent(tx: Transaction, account_id: str, since: datetime) -> list[guards.RecentText]:
    """Return an account's texts since *since* that are long enough to compare, the newest RECENT_TEXTS."""
    rows = tx.execute(_RECENT, {"account_id": account_id, "since": since}).all()
    return [
        guards.RecentText(recipient, words)
        for recipient, text, seller in rows
        if (words := similarity_words(text, seller)) is not None
    ]


_RECENT = (
    sa.select(messages.c.recipient, messages.c.text, messages.c.seller)
    .where(
        messages.c.account_id == sa.bindparam("account_id"),
        messages.c.received_at > sa.bindparam("since", type_=Instant),
        messages.c.recipient.is_not(None),
        messages.c.text.is_not(None),
    )
    .order_by(messages.c.received_at.desc())
    .limit(sa.literal_column(str(guards.RECENT_TEXTS)))
)


def _earlier(
    tx: Transaction, fingerprints: set[bytes], since: datetime, unsent_at: datetime | None = None
) -> dict[bytes, _Earlier]:
    """Find the latest message per fingerprint since *since*. Unsent ones count as of *unsent_at*."""
    found: dict[bytes, _Earlier] = {}
    for portion in portions(fingerprints):
        for row in tx.execute(_EARLIER, {"fingerprints": portion, "since": since}):
            at = row.received_at
            if unsent_at is not None:
                at = max(at, unsent_at if row.status in _ON_ITS_WAY else row.sent_at or at)
            if row.fingerprint not in found or at >= found[row.fingerprint][1]:
                found[row.fingerprint] = row.id, at
    return found


_ON_ITS_WAY = frozenset({Status.QUEUED, Status.SENDING, Status.UNKNOWN})
_EARLIER = (
    sa.select(
        messages.c.fingerprint, messages.c.id, messages.c.received_at, messages.c.sent_at, messages.c.status
    )
    .where(
        messages.c.fingerprint.in_(sa.bindparam("fingerprints", expanding=True)),
        messages.c.received_at > sa.bindparam("since", type_=Instant),
    )
    .order_by(messages.c.seq)
)


def _decide(now: datetime, facts: _Facts, message: NewMessage, submission: NewSubmission) -> Accepted:
    """Decide what happens to one message, and add it to *facts* for the ones after it."""
    earlier_id, came_at = facts.earlier.get(message.fingerprint or b"", (None, EPOCH))
    if message.skip_identical and earlier_id is not None:
        return Accepted(
            message_id=message.id, status=Status.CANCELLED, verdict=message.verdict, duplicate_of=earlier_id
        )
    verdict = message.verdict
    draft, route = message.draft, message.draft.route
    if route is not None and draft.recipient is not None:
        pair = (route.tracking_number, draft.recipient)
        words, recent = draft.similarity_words(), facts.recent[route.account_id]
        around = guards.Circumstances(
            now=now,
            same_text=guards.duplicate(
                earlier_id if came_at > _since(submission, now) else None,
                submission.guards.duplicate_window,
                after_sleep=guards.is_after_sleep(now, submission.woke_at),
            ),
            people=guards.count_people(draft.recipient, words, recent),
            opted_out=pair in facts.opted_out,
            possible_opt_out=facts.possible_opt_outs.get(pair),
            recipient=draft.recipient,
        )
        verdict = guards.judge(submission.guards, around, verdict=verdict, approved=message.approved)
        if words is not None:
            recent.appendleft(guards.RecentText(draft.recipient, words))
    if message.fingerprint is not None:
        facts.earlier[message.fingerprint] = (message.id, now)
    status = Status.HELD if verdict.holds else Status.QUEUED
    return Accepted(message_id=message.id, status=status, verdict=verdict)


def _insert(
    tx: Transaction, batch: Sequence[NewSubmission], decided: list[list[Accepted]], *, with_empty: bool
) -> None:
    """Insert what is new. A replay that brings nothing new leaves no row."""
    new_submissions: list[dict[str, object]] = []
    new_messages: list[dict[str, object]] = []
    for submission, accepted in zip(batch, decided, strict=True):
        kept = [
            {
                "id": message.id,
                "submission_id": submission.id,
                "status": one.status,
                "source": submission.source,
                "received_at": tx.now,
                "not_before": tx.now,
                "release_at": one.verdict.release_at,
                "reasons": one.verdict.reasons,
                "approved": list(message.approved),
                **mapped_columns(message),
            }
            for message, one in zip(submission.messages, accepted, strict=True)
            if one.duplicate_of is None
        ]
        if kept or with_empty:
            row = {name: getattr(submission, name) for name in _SUBMITTED}
            new_submissions.append(row | {"received_at": tx.now})
            new_messages += kept
    if new_submissions:
        tx.execute(_INSERT_SUBMISSIONS, new_submissions)
    if new_messages:
        tx.execute(_INSERT_MESSAGES, new_messages)


_INSERT_SUBMISSIONS, _INSERT_MESSAGES = sa.insert(submissions), sa.insert(messages)
_SUBMITTED = ("id", "source", "content_type", "query", "body")
_FROM_DRAFT = ("recipient", "text", "opportunity_id", "sender_id", "seller_id", "seller", "team_id")
_FROM_ROUTE = ("account_id", "company_id", "tracking_number")


def mapped_columns(message: NewMessage) -> dict[str, object]:
    """Return the columns of a message that come from its draft."""
    return {
        "fingerprint": message.fingerprint,
        "segment_count": message.segment_count,
        **{name: getattr(message.draft, name) for name in _FROM_DRAFT},
        **{name: getattr(message.draft.route, name, None) for name in _FROM_ROUTE},
    }
