"""Records the outcomes of attempts, and settles those that no process finished."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import islice
from random import Random
from typing import Any

import sqlalchemy as sa

from callrail_relay.domain.account import Account
from callrail_relay.domain.events import AttemptFinished, Event, LateResult, MessageEvent, SentTwice
from callrail_relay.domain.message import Reason, Status
from callrail_relay.domain.opt_outs import Origin
from callrail_relay.domain.outcome import NotSent, Outcome, OutcomeKind, Rejected, Sent, Unknown, Usage
from callrail_relay.domain.reconcile import LookupPolicy
from callrail_relay.domain.retry import Consequence, decide
from callrail_relay.domain.segmentation import split_text
from callrail_relay.outbox.budget import used, windows_since
from callrail_relay.outbox.columns import Condition
from callrail_relay.outbox.inbound import after_outcome, place_replies
from callrail_relay.outbox.lookups import flagged_twice, settle_as_sent
from callrail_relay.outbox.opt_outs import add_opt_out
from callrail_relay.outbox.rows import account_values, from_row, lock_accounts_of, look_at_all, status_of
from callrail_relay.outbox.tables import (
    accounts,
    attempts,
    callrail_texts,
    is_open,
    is_released_by_itself,
    messages,
    segments,
)
from callrail_relay.outbox.transaction import Row, Transaction

Values = dict[str, object]
AT_ONCE = 500  # attempts to settle at a time
STOPPED = "the relay stopped, or lost its connection, while the text was being sent."


def record(
    tx: Transaction, outcomes: Mapping[int, Outcome], *, random: Random, lookups: LookupPolicy | None = None
) -> tuple[list[Event], bool]:
    """
    Settle attempts, each once: outcome, segment, message and account change together. Return the events, and
    whether an account may have something to send next.

    One that is settled already, for example because its lease ran out, isn't settled again: a late result
    only shows that an unknown text was sent, and changes nothing else.
    """
    results: dict[int, list[Event]] = {}
    is_due = False
    # Some at a time, since databases limit the parameters of a statement.
    while left := dict(islice((one for one in outcomes.items() if one[0] not in results), AT_ONCE)):
        batch = _Batch(tx, random, lookups)
        messages_seen = set[int]()
        for known in _read_known(tx, left):
            # What one outcome of a message changes may decide what another one means.
            if known.message_seq not in messages_seen:
                messages_seen.add(known.message_seq)
                batch.add(known, left[known.attempt_id])
        results |= batch.write()
        is_due = is_due or bool(batch.due)
    return [event for id_ in outcomes for event in results[id_]], is_due


def _read_known(tx: Transaction, outcomes: Mapping[int, Outcome]) -> list[Row]:
    """Read what is known about these attempts, in their order, with their accounts locked."""
    lock_accounts_of(tx, outcomes)
    asked = {
        "attempt_ids": [*outcomes],
        "conversation_ids": [one.conversation_id for one in outcomes.values() if isinstance(one, Sent)],
        **windows_since(tx.now),
    }
    found = {row.attempt_id: row for row in tx.execute(_KNOWN, asked)}
    return [found[id_] for id_ in outcomes]


def _known() -> sa.Select[Any]:
    """Attempts with segment, message and account, and everything that may change what an outcome means."""
    of_conversation = callrail_texts.c.conversation_id.in_(sa.bindparam("conversation_ids", expanding=True))
    this, before, in_flight = (attempts.alias(name) for name in ("this", "before", "in_flight"))
    other, waiting = segments.alias("other"), messages.alias("waiting")
    others = sa.select(sa.func.aggregate_strings(other.c.status, " "))
    same_message = other.c.message_seq == segments.c.message_seq, other.c.id != segments.c.id
    was_sent, arrived = before.c.outcome == OutcomeKind.SENT, other.c.status == Status.SENT
    of_account = waiting.c.account_id == accounts.c.id
    is_in_flight = sa.exists().where(
        in_flight.c.account_id == waiting.c.account_id,
        in_flight.c.finished_at.is_(None),
        in_flight.c.message_seq == waiting.c.seq,
    )

    def whether(label: str, *which: Condition) -> sa.Label[bool]:
        return sa.exists().where(*which).label(label)

    return (
        sa.select(
            accounts,
            this.c.id.label("attempt_id"),
            *(this.c[name] for name in _OF_ATTEMPT),
            segments.c.position,
            segments.c.content,
            messages.c.id.label("message_id"),
            *(messages.c[name] for name in _OF_MESSAGE),
            used("since_hour").label("hour_used"),
            used("since_day").label("day_used"),
            # An earlier attempt at the segment arrived.
            whether("sent_before", before.c.segment_id == segments.c.id, was_sent),
            # The longer segment that it's a piece of arrived, or one of its pieces did.
            whether("whole_arrived", other.c.id == segments.c.replaces, arrived),
            whether("piece_arrived", *same_message, other.c.replaces == segments.c.id, arrived),
            # The statuses of the message's other segments.
            sa.func.coalesce(others.where(*same_message).scalar_subquery(), "").label("others"),
            # Replies in the conversation of one of these outcomes wait for its person to be known.
            whether("is_awaited", of_conversation, callrail_texts.c.recipient.is_(None)),
            # CallRail's webhook reported a text that is linked to this attempt.
            whether("is_reported", callrail_texts.c.attempt_id == this.c.id),
            # Another message of the account waits, and no outcome of it will make the account due.
            sa.or_(
                sa.exists().where(of_account, is_open(waiting), ~is_in_flight),
                sa.exists().where(of_account, is_released_by_itself(waiting)),
            ).label("others_wait"),
        )
        .select_from(this)
        .join(segments, segments.c.id == this.c.segment_id)
        .join(messages, messages.c.seq == segments.c.message_seq)
        .join(accounts, accounts.c.id == this.c.account_id)
        .where(this.c.id.in_(sa.bindparam("attempt_ids", expanding=True)))
    )


_OF_ATTEMPT = ("account_id", "segment_id", "message_seq", "finished_at", "outcome")
_OF_MESSAGE = ("tracking_number", "recipient", "reasons", "cut_to", "sent_at", "conversation_id", "thread_id")
_KNOWN = _known()
_END_SEGMENTS = (
    sa.update(segments)
    .where(segments.c.message_seq == sa.bindparam("of"), segments.c.status == Status.QUEUED)
    .values(status=Status.CANCELLED)
)


@dataclass(slots=True)
class _Batch:
    """The outcomes that one transaction records: decided one after the other, then written together."""

    tx: Transaction
    random: Random
    lookups: LookupPolicy | None
    _accounts: dict[str, Account] = field(default_factory=dict)
    due: set[str] = field(default_factory=set)  # accounts that may have something to send next
    _freed: Counter[str] = field(default_factory=Counter)  # attempts that used no budget after all
    _changes: dict[sa.Table, list[Values]] = field(default_factory=lambda: defaultdict(list))
    _failed: list[Values] = field(default_factory=list)  # messages whose other segments aren't sent
    _decided: list[tuple[Row, Outcome, Consequence, Account]] = field(default_factory=list)
    _late: list[tuple[Row, Outcome]] = field(default_factory=list)
    _events: dict[int, list[Event]] = field(default_factory=dict)  # by attempt

    def add(self, known: Row, outcome: Outcome) -> None:
        """Decide what follows from an outcome, given those that were added before."""
        id_ = known.account_id
        before = self._accounts.setdefault(id_, from_row(Account, known))
        if known.finished_at is not None:
            self._late.append((known, outcome))
            self.due.add(id_)
            return
        consequence = decide(
            outcome,
            message_id=known.message_id,
            content=known.content,
            account=before,
            now=self.tx.now,
            random=self.random,
        )
        if known.sent_before:
            # An earlier attempt turned out to have arrived while this one was in flight: that's enough.
            consequence = replace(consequence, segment=Status.SENT, cut_to=None, reasons=())
        elif not isinstance(outcome, Sent) and known.whole_arrived:
            consequence = replace(consequence, segment=Status.CANCELLED, cut_to=None, reasons=())
        self._freed[id_] += not consequence.costs_budget
        consequence = replace(consequence, account=self._corrected(known, outcome, consequence))
        self._accounts[id_] = consequence.account
        others = known.others.split()
        # A segment that was refused for its length is replaced by shorter ones.
        own = [consequence.segment] if consequence.cut_to is None else [Status.CANCELLED, Status.QUEUED]
        status = status_of((*own, *others))
        if known.others_wait or known.is_reported or status in (Status.QUEUED, Status.SENDING):
            self.due.add(id_)
        twice = isinstance(outcome, Sent) and (
            known.sent_before or known.whole_arrived or known.piece_arrived
        )
        self._decided.append((known, outcome, consequence, before))
        finished = AttemptFinished(
            message_id=known.message_id,
            account_id=id_,
            position=known.position,
            outcome=outcome.kind,
            http_status=outcome.http_status,
            status=status,
        )
        self._events[known.attempt_id] = [finished]
        if twice:
            self._events[known.attempt_id].append(SentTwice(message_id=known.message_id))
        self._changes[attempts].append(self._attempt(known, outcome, consequence))
        self._changes[segments].append({"of": known.segment_id, "status": own[0]})
        self._changes[messages].append(self._message(known, outcome, consequence, status, twice=twice))
        if status is Status.FAILED and Status.QUEUED in others:
            self._failed.append({"of": known.message_seq})

    def _corrected(self, known: Row, outcome: Outcome, consequence: Consequence) -> Account:
        """Return the account after the consequence, corrected by CallRail's headers about its limits."""
        account = consequence.account
        if isinstance(outcome, Sent) and known.cut_to is not None:
            # The shorter segment passed and the longer one didn't, so the length was the reason.
            account = replace(account, max_characters=known.cut_to)
        usage = getattr(outcome, "usage", Usage())
        if usage == Usage():
            return account
        freed = self._freed[account.id]
        return account.corrected(
            usage, hour_used=known.hour_used - freed, day_used=known.day_used - freed, now=self.tx.now
        )

    def _attempt(self, known: Row, outcome: Outcome, consequence: Consequence) -> Values:
        # Later texts to the person wait while it's unknown.
        waits = self.lookups if isinstance(outcome, Unknown) else None
        return {
            "of": known.attempt_id,
            "finished_at": self.tx.now,
            # CallRail may have counted it at the very end, so our window begins there.
            "counted_at": self.tx.now if consequence.costs_budget else None,
            "outcome": outcome.kind,
            "http_status": outcome.http_status,
            "detail": outcome.detail,
            "next_lookup_at": waits and self.tx.now + waits.ladder[0],
            "blocks_until": waits and waits.blocks_until(self.tx.now),
        }

    def _message(
        self, known: Row, outcome: Outcome, consequence: Consequence, status: Status, *, twice: bool
    ) -> Values:
        reasons = known.reasons
        if consequence.reasons:
            kept = [one for one in (consequence.segment, *known.others.split()) if one != Status.CANCELLED]
            counts = {"sent": kept.count(Status.SENT), "segments": len(kept)}
            # Only part of the message was sent.
            incomplete = () if len(kept) == 1 else (Reason("incomplete", counts),)
            reasons = (*reasons, *consequence.reasons, *incomplete)
        conversation = outcome if isinstance(outcome, Sent) else known
        return {
            "of": known.message_seq,
            "status": status,
            "reasons": flagged_twice(reasons) if twice else reasons,
            "cut_to": consequence.cut_to or known.cut_to,
            "sent_at": self.tx.now if status is Status.SENT else known.sent_at,
            "conversation_id": conversation.conversation_id,
            "thread_id": conversation.thread_id,
        }

    def write(self) -> dict[int, list[Event]]:
        """Write what was decided, then what follows from it elsewhere; return the events of each attempt."""
        tx = self.tx
        for table, changes in self._changes.items():
            tx.change_each(table, changes)
        if self._failed:
            tx.execute(_END_SEGMENTS, self._failed)
        written = [
            {**account_values(one), "due_at": tx.now if id_ in self.due else None, "closed_until": None}
            for id_, one in self._accounts.items()
        ]
        tx.change_each(accounts, written)
        for known, outcome, consequence, before in self._decided:
            news = self._follow(known, outcome, consequence)
            self._events[known.attempt_id] += [*news, *consequence.account.news(before)]
        for known, outcome in self._late:
            self._events[known.attempt_id] = [*self._settle_late(known, outcome)]
        return self._events

    def _follow(self, known: Row, outcome: Outcome, consequence: Consequence) -> list[MessageEvent]:
        """Apply what an outcome changes beside its own segment, message and account."""
        tx = self.tx
        if consequence.cut_to is not None:
            _recut(tx, known, consequence.cut_to)
        if known.is_awaited and isinstance(outcome, Sent):
            place_replies(tx, known.message_seq)
        if consequence.opts_out:
            detail = outcome.detail if isinstance(outcome, Rejected) else ""
            words = f"CallRail said: {detail}"
            add_opt_out(tx, known.tracking_number, known.recipient, words, Origin.REFUSAL)
        return after_outcome(tx, known.attempt_id, outcome) if known.is_reported else []

    def _settle_late(self, known: Row, outcome: Outcome) -> list[MessageEvent]:
        """Use the result of an attempt that was already given up."""
        if not isinstance(outcome, Sent) or known.outcome != OutcomeKind.UNKNOWN:
            return [LateResult(message_id=known.message_id, outcome=outcome.kind)]
        detail = "CallRail's answer came late: it accepted the text."
        conversation = {"conversation_id": outcome.conversation_id, "thread_id": outcome.thread_id}
        self.tx.change(messages, known.message_seq, **conversation)
        return settle_as_sent(self.tx, known.attempt_id, detail)


def settle_abandoned(
    tx: Transaction, *, node: str | None = None, random: Random, lookups: LookupPolicy | None = None
) -> list[Event]:
    """Settle attempts whose lease ran out as unknown; with *node*, which is just starting, all of its own."""
    abandoned = attempts.c.lease_until <= tx.now
    if node is not None:
        look_at_all(tx)
        abandoned = sa.or_(abandoned, attempts.c.node == node)
    return _settle(tx, abandoned, Unknown(STOPPED, own_fault=True), random, lookups)


def settle_unsent(
    tx: Transaction, node: str, known: frozenset[int], outcome: NotSent, *, random: Random
) -> list[Event]:
    """Record *outcome* for every open attempt of *node* except the *known* ones."""
    return _settle(tx, sa.and_(attempts.c.node == node, attempts.c.id.not_in(known)), outcome, random)


def _settle(
    tx: Transaction, which: Condition, outcome: Outcome, random: Random, lookups: LookupPolicy | None = None
) -> list[Event]:
    """Record *outcome* for these open attempts; one that another node settles first has no event."""
    query = sa.select(attempts.c.id).where(attempts.c.finished_at.is_(None), which)
    # By account first: locks are taken in one order everywhere.
    open_ = tx.scalars(query.order_by(attempts.c.account_id, attempts.c.id)).all()
    news, _ = record(tx, dict.fromkeys(open_, outcome), random=random, lookups=lookups)
    return [event for event in news if not isinstance(event, LateResult)]


def next_lease_end(tx: Transaction) -> datetime | None:
    """Return when the first attempt in flight, on any node, is to be given up; None if there is none."""
    query = sa.select(sa.func.min(attempts.c.lease_until)).where(attempts.c.finished_at.is_(None))
    end: datetime | None = tx.scalar(query)
    return end


def _recut(tx: Transaction, refused: Row, limit: int) -> None:
    """Split a segment that was refused for its length, and those after it, into shorter ones."""
    queued = (segments.c.message_seq == refused.message_seq, segments.c.status == Status.QUEUED)
    query = sa.select(segments.c.content).where(*queued).order_by(segments.c.position)
    later = tx.scalars(query).all()
    tx.execute(sa.delete(segments).where(*queued))
    its_own = split_text(refused.content, max_characters=limit)
    pieces = [*its_own, *(piece for content in later for piece in split_text(content, max_characters=limit))]
    rows = [
        {
            "message_seq": refused.message_seq,
            "position": refused.position + number,
            "content": content,
            "status": Status.QUEUED,
            "replaces": refused.segment_id if number <= len(its_own) else None,
        }
        for number, content in enumerate(pieces, start=1)
    ]
    tx.execute(sa.insert(segments), rows)
    tx.change(messages, refused.message_seq, segment_count=rows[-1]["position"])
