"""Copying a SQLite store beside a running relay, and holding back what such a copy can't know about."""

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import sqlalchemy as sa

from callrail_relay.domain.message import Reason, Status, instant
from callrail_relay.domain.outcome import OutcomeKind
from callrail_relay.domain.segmentation import split_text
from callrail_relay.errors import Unavailable
from callrail_relay.outbox.engine import BUSY_TIMEOUT, empty_log, open_engine, translated
from callrail_relay.outbox.lookups import FORMER_RELAY
from callrail_relay.outbox.rows import Row, change, read_account, write_segments
from callrail_relay.outbox.schema import migrate
from callrail_relay.outbox.tables import attempts, messages, segments

NOT_FINAL = (Status.HELD, Status.QUEUED, Status.SENDING, Status.UNKNOWN)
# What doesn't hold any more: a restored text is not sent by itself, and its outcome is looked up anew.
_OVER = ("restored", "quiet_hours", "unknown")


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    name: str  # of the backup
    made_at: datetime
    max_characters: int  # by which its texts were cut


def copy_file(source: Path, target: Path) -> None:
    """Copy a SQLite store as it is at one instant, while others write to it. Raises Unavailable."""
    try:
        with (
            closing(sqlite3.connect(source, timeout=BUSY_TIMEOUT)) as store,
            closing(sqlite3.connect(target)) as copy,
        ):
            store.backup(copy)
    except sqlite3.Error as error:
        raise Unavailable(f"The store {source} can't be copied to {target} ({error}).") from error


def is_sound(store: Path) -> bool:
    """Whether a file is a SQLite database without damage."""
    try:
        with closing(sqlite3.connect(store)) as connection:
            return bool(connection.execute("PRAGMA quick_check").fetchone() == ("ok",))
    except sqlite3.Error:
        return False


def prepare(store: Path, origin: Origin, now: datetime) -> int:
    """Bring the tables of a copied store up to date, and hold back its texts; returns how many."""
    engine = open_engine(f"sqlite:///{store}")
    try:
        with translated(engine):
            migrate(engine)
            with engine.connect().execution_options(writes=True) as connection, connection.begin():
                held = hold_back(connection, now, origin)
            empty_log(engine)  # the file alone is moved to its place
            return held
    finally:
        engine.dispose()


def hold_back(connection: sa.Connection, now: datetime, origin: Origin) -> int:
    """
    Hold all texts that may have been sent since, and have them looked up; returns how many.

    For each segment there is an attempt of the former relay, made at any time between the backup and now.
    """
    ended = {"outcome": OutcomeKind.UNKNOWN, "finished_at": now}
    detail = "The backup was made while the text was on its way."
    open_ones = sa.update(attempts).where(attempts.c.finished_at.is_(None))
    connection.execute(open_ones.values(**ended, detail=detail))
    rows = connection.execute(
        sa.select(messages).where(messages.c.status.in_(NOT_FINAL)).order_by(messages.c.seq)
    ).all()
    for row in rows:
        # Later texts to the person need not wait: nothing that is looked up here goes on by itself.
        unknown = (attempts.c.message_seq == row.seq, attempts.c.outcome == OutcomeKind.UNKNOWN)
        looked_up = {"next_lookup_at": now, "look_until": None, "blocks_until": None}
        connection.execute(sa.update(attempts).where(*unknown).values(**looked_up))
        is_asked = bool(row.recipient and row.account_id and (row.text or "").strip())
        if is_asked:
            _add_attempts(connection, row, origin, now)
        made = {"backup": origin.name, "made_at": instant(origin.made_at)}
        restored = Reason("restored", made | ({"problem": "checking"} if is_asked else {}))
        reasons = [restored, *(reason for reason in row.reasons if reason.code not in _OVER)]
        change(connection, messages, row.seq, status=Status.HELD, reasons=reasons, release_at=None)
    return len(rows)


def _add_attempts(connection: sa.Connection, row: Row, origin: Origin, now: datetime) -> None:
    """Add an attempt of the former relay for each segment that CallRail may have by now."""
    of_message = segments.c.message_seq == row.seq
    if connection.execute(sa.select(segments.c.id).where(of_message).limit(1)).first() is None:
        cut_to = read_account(connection, row.account_id).max_characters or origin.max_characters
        pieces = split_text(row.text, max_characters=min(cut_to, origin.max_characters))
        write_segments(connection, row.seq, list(enumerate(pieces, start=1)))
    waiting = (of_message, segments.c.status.not_in([Status.SENT, Status.CANCELLED]))
    connection.execute(sa.update(segments).where(*waiting).values(status=Status.QUEUED))
    common = {name: getattr(row, name) for name in ("account_id", "tracking_number", "recipient")}
    common |= {"message_seq": row.seq, "node": FORMER_RELAY, "outcome": OutcomeKind.UNKNOWN}
    common |= {"started_at": origin.made_at, "lease_until": now, "finished_at": now, "next_lookup_at": now}
    common["detail"] = "The relay that made the backup may have sent it since."
    ids = connection.scalars(sa.select(segments.c.id).where(*waiting).order_by(segments.c.position)).all()
    if ids:
        connection.execute(sa.insert(attempts), [{**common, "segment_id": id_} for id_ in ids])
