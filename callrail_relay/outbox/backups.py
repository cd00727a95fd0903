"""Copies a SQLite store beside a running relay, and holds the texts whose fate such a copy can't know."""

import sqlite3
from contextlib import closing
from datetime import datetime
from pathlib import Path

import sqlalchemy as sa

from callrail_relay.domain.message import Reason, Status, instant
from callrail_relay.domain.outcome import OutcomeKind
from callrail_relay.domain.segmentation import split_text
from callrail_relay.domain.shadow import State
from callrail_relay.errors import Unavailable
from callrail_relay.outbox import sentence
from callrail_relay.outbox.engine import BUSY_TIMEOUT, empty_log, open_engine, translated
from callrail_relay.outbox.lookups import FORMER_RELAY
from callrail_relay.outbox.schema import migrate
from callrail_relay.outbox.tables import accounts, attempts, forwards, is_unfinished, messages, segments
from callrail_relay.outbox.transaction import Row, Transaction

NOT_FINAL = (Status.HELD, Status.QUEUED, Status.SENDING, Status.UNKNOWN)
# No longer true in a restored store: it sends nothing by itself, and looks outcomes up again.
_OVER = ("restored", "quiet_hours", "unknown")


def copy_file(source: Path, target: Path) -> None:
    """Copy a SQLite store as of one instant, while others write to it. Raises Unavailable."""
    try:
        with (
            closing(sqlite3.connect(source, timeout=BUSY_TIMEOUT)) as store,
            closing(sqlite3.connect(target)) as copy,
        ):
            store.backup(copy)
            if copy.execute("PRAGMA quick_check").fetchone() != ("ok",):
                raise sqlite3.DatabaseError("it's damaged")  # SQLite copies it all the same
    except sqlite3.Error as error:
        raise Unavailable(sentence("not_copied", source=source, target=target, why=error)) from error


def prepare(store: Path, backup: str, made_at: datetime, now: datetime, max_characters: int) -> int:
    """Migrate a copied store, and hold its texts. Raises Unavailable."""
    engine = open_engine(f"sqlite:///{store}")
    try:
        with translated(engine):
            with engine.connect() as connection:
                if connection.exec_driver_sql("PRAGMA quick_check").scalar() != "ok":
                    raise Unavailable(sentence("damaged"))
            migrate(engine)
            with engine.connect().execution_options(writes=True) as connection, connection.begin():
                held = hold_back(Transaction(connection, now), backup, made_at, max_characters)
            empty_log(engine)  # only the main file is moved into place
            return held
    finally:
        engine.dispose()


def hold_back(tx: Transaction, backup: str, made_at: datetime, max_characters: int) -> int:
    """
    Hold all texts that may have been sent since *made_at*, and have them looked up; return how many.

    Each of their segments gets an attempt by the former relay, made any time between the backup and now.
    """
    unfinished = sa.update(attempts).where(attempts.c.finished_at.is_(None))
    detail = "The backup was made while the text was being sent."
    tx.execute(unfinished.values(outcome=OutcomeKind.UNKNOWN, finished_at=tx.now, detail=detail))
    # A request that waited for the old URL may have been passed on since then, and its texts sent.
    waited = sa.select(forwards.c.submission_id).where(is_unfinished(), forwards.c.state == State.WAITING)
    is_open = sa.or_(messages.c.status.in_(NOT_FINAL), messages.c.submission_id.in_(waited))
    rows = tx.execute(sa.select(messages).where(is_open).order_by(messages.c.seq)).all()
    over = sa.case((forwards.c.state == State.WAITING, State.HELD), else_=State.UNKNOWN)
    tx.execute(sa.update(forwards).where(is_unfinished()).values(state=over, lease_until=None))
    for row in rows:
        # Later texts to the person needn't wait: nothing that is looked up here is sent by itself.
        unknown = (attempts.c.message_seq == row.seq, attempts.c.outcome == OutcomeKind.UNKNOWN)
        looked_up = {"next_lookup_at": tx.now, "look_until": None, "blocks_until": None}
        tx.execute(sa.update(attempts).where(*unknown).values(**looked_up))
        parameters = {"backup": backup, "made_at": instant(made_at)}
        if row.recipient and row.account_id and (row.text or "").strip():
            _add_attempts(tx, row, made_at, max_characters)
            parameters["problem"] = "checking"
        others = (reason for reason in row.reasons if reason.code not in _OVER)
        reasons = [Reason("restored", parameters), *others]
        tx.change(messages, row.seq, status=Status.HELD, reasons=reasons, release_at=None)
    return len(rows)


def _add_attempts(tx: Transaction, row: Row, made_at: datetime, max_characters: int) -> None:
    """Add an attempt by the former relay for each segment that CallRail may have received."""
    of_message = segments.c.message_seq == row.seq
    if tx.execute(sa.select(segments.c.id).where(of_message).limit(1)).first() is None:
        of_account = sa.select(accounts.c.max_characters).where(accounts.c.id == row.account_id)
        limit = min(tx.scalar(of_account) or max_characters, max_characters)
        new = [
            {"message_seq": row.seq, "position": at, "content": one, "status": Status.QUEUED}
            for at, one in enumerate(split_text(row.text, max_characters=limit), start=1)
        ]
        tx.execute(sa.insert(segments), new)
        tx.change(messages, row.seq, segment_count=len(new))
    waiting = (of_message, segments.c.status.not_in([Status.SENT, Status.CANCELLED]))
    tx.execute(sa.update(segments).where(*waiting).values(status=Status.QUEUED))
    attempt = {name: getattr(row, name) for name in ("account_id", "tracking_number", "recipient")}
    attempt |= {"message_seq": row.seq, "node": FORMER_RELAY, "outcome": OutcomeKind.UNKNOWN}
    attempt |= {"started_at": made_at, "lease_until": tx.now, "finished_at": tx.now, "next_lookup_at": tx.now}
    attempt["detail"] = "The relay that made the backup may have sent it since."
    for id_ in tx.scalars(sa.select(segments.c.id).where(*waiting).order_by(segments.c.position)):
        tx.execute(sa.insert(attempts).values(segment_id=id_, **attempt))
