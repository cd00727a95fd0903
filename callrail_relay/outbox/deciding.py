"""Keeping what persons decided."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime

import sqlalchemy as sa

from callrail_relay.domain.message import Decision, Verb, Word
from callrail_relay.outbox.tables import decisions


def keep_decision(
    connection: sa.Connection,
    now: datetime,
    message_seq: int,
    verb: Verb,
    word: Word,
    overridden: Iterable[str] = (),
) -> None:
    """Keep who decided what on a message, and why."""
    connection.execute(
        sa.insert(decisions).values(
            message_seq=message_seq,
            decided_at=now,
            verb=verb,
            person=word.person,
            note=word.note,
            reasons=list(overridden),
        )
    )


def read_decisions(connection: sa.Connection, seqs: Sequence[int]) -> dict[int, list[Decision]]:
    """What was decided on each of these messages, oldest first."""
    found: dict[int, list[Decision]] = defaultdict(list)
    query = sa.select(decisions).where(decisions.c.message_seq.in_(seqs)).order_by(decisions.c.id)
    for row in connection.execute(query):
        found[row.message_seq].append(
            Decision(
                decided_at=row.decided_at,
                verb=Verb(row.verb),
                word=Word(person=row.person, note=row.note),
                overridden=tuple(row.reasons),
            )
        )
    return found
