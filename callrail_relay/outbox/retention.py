"""
Removes personal data from texts that ended long ago: words, phone numbers, names and raw bodies.

Ids, instants, outcomes and opt-outs stay, and so does what is queued, held or unknown, however old it is.
"""

from datetime import datetime

import sqlalchemy as sa

from callrail_relay.domain.message import ENDED
from callrail_relay.domain.opt_outs import Origin
from callrail_relay.outbox.tables import (
    attempts,
    callrail_texts,
    decisions,
    forwards,
    is_unfinished,
    messages,
    opt_outs,
    possible_opt_outs,
    repeat_keys,
    segments,
    submissions,
)
from callrail_relay.outbox.transaction import Transaction

# The reason of an opt-out, once the words of the reply are removed.
WITHOUT_WORDS = "The person replied that they don't want texts."


def retire(tx: Transaction, before: datetime, most: int) -> int:
    """Remove it from at most *most* submissions and CallRail texts older than *before*; return how many."""
    return _retire_submissions(tx, before, most) + _remove_reported(tx, before, most)


def _retire_submissions(tx: Transaction, before: datetime, most: int) -> int:
    tried_since = sa.exists().where(
        segments.c.message_seq == messages.c.seq,
        attempts.c.segment_id == segments.c.id,
        attempts.c.started_at >= before,
    )
    # What was sent or failed just now is kept, however old it is: a person may have to see it.
    goes_on = sa.exists().where(
        messages.c.submission_id == submissions.c.id, sa.or_(messages.c.status.not_in(ENDED), tried_since)
    )
    waits = sa.exists().where(forwards.c.submission_id == submissions.c.id, is_unfinished())
    due = sa.select(submissions.c.id).order_by(submissions.c.received_at).limit(most)
    due = due.where(submissions.c.retired_at.is_(None), submissions.c.received_at < before, ~goes_on, ~waits)
    ids = tx.scalars(due.with_for_update(skip_locked=True, of=submissions)).all()
    if not ids:
        return 0
    # Whatever their status: the index by status covers nearly all messages.
    of_them = sa.select(messages).where(messages.c.submission_id.in_(ids)).order_by(messages.c.seq)
    locked = tx.execute(of_them.with_for_update()).all()
    # Asked again with the rows locked: a text that is resent meanwhile keeps its words.
    ids = tx.scalars(sa.select(submissions.c.id).where(submissions.c.id.in_(ids), ~goes_on)).all()
    rows = [row for row in locked if row.submission_id in ids]
    nothing = {"recipient": None, "text": None, "seller": None, "fingerprint": None}
    for row in rows:
        # Some show what a person typed.
        kept = [reason.without_typed() for reason in row.reasons]
        tx.change(messages, row.seq, reasons=kept, **nothing)
    seqs = [row.seq for row in rows]
    of_these = segments.c.message_seq.in_(seqs)
    of_attempts = attempts.c.segment_id.in_(sa.select(segments.c.id).where(of_these))
    tx.execute(sa.update(attempts).where(of_attempts).values(recipient=""))
    tx.execute(sa.update(segments).where(of_these).values(content=""))
    of_decisions = sa.update(decisions).where(decisions.c.message_seq.in_(seqs))
    tx.execute(of_decisions.values(note=None, before=sa.null()))
    tx.execute(sa.delete(repeat_keys).where(repeat_keys.c.submission_id.in_(ids)))
    retired = {"body": b"", "query": None, "retired_at": tx.now}
    tx.execute(sa.update(submissions).where(submissions.c.id.in_(ids)).values(retired))
    return len(ids)


def _remove_reported(tx: Transaction, before: datetime, most: int) -> int:
    """Remove texts that CallRail reported before *before*; those still to be forwarded stay."""
    table = callrail_texts.c
    due = sa.select(table.resource_id).where(table.received_at < before, table.forward_at.is_(None))
    ids = tx.scalars(due.order_by(table.received_at).limit(most)).all()
    # It stays known that a person has to decide about it.
    old = sa.and_(possible_opt_outs.c.written_at < before, possible_opt_outs.c.words != "")
    tx.execute(sa.update(possible_opt_outs).where(old).values(words=""))
    quoted = sa.and_(
        opt_outs.c.origin.in_([Origin.REPLY, Origin.WORDS]),
        opt_outs.c.created_at < before,
        opt_outs.c.reason != WITHOUT_WORDS,
    )
    tx.execute(sa.update(opt_outs).where(quoted).values(reason=WITHOUT_WORDS))
    if ids:
        tx.execute(sa.delete(callrail_texts).where(callrail_texts.c.resource_id.in_(ids)))
    return len(ids)
