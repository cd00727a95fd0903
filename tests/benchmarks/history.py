"""A store with a past: many texts that were sent long ago, written by bulk SQL."""

import sqlite3
import time
from itertools import islice
from pathlib import Path

from callrail_relay.domain.phone import normalize
from tests.benchmarks.servers import ACCOUNT
from tests.benchmarks.texts import body, people, text

DAY = 86_400_000_000
FIRST = 9_000_000
"""Numbers of the old texts, above all of those that are measured."""

_SUBMISSION = "INSERT INTO submissions (id, source, received_at, content_type, body) VALUES (?, ?, ?, ?, ?)"
_MESSAGE = """
INSERT INTO messages (seq, id, submission_id, status, source, received_at, not_before, recipient, text,
    account_id, company_id, tracking_number, fingerprint, segment_count, reasons, approved,
    sender_id, team_id, sent_at, conversation_id)
VALUES (?, ?, ?, ?, 'webhook', ?, ?, ?, ?, ?, 'COM00000000000000000000000000000001', ?, ?, 1, '[]', '[]',
    '789', '42', ?, ?)
"""
_SEGMENT = "INSERT INTO segments (id, message_seq, position, content, status) VALUES (?, ?, 1, ?, 'sent')"
_ATTEMPT = """
INSERT INTO attempts (segment_id, message_seq, account_id, tracking_number, recipient, node, started_at,
    lease_until, finished_at, counted_at, outcome, http_status, detail)
VALUES (?, ?, ?, ?, ?, 'old', ?, ?, ?, ?, 'Sent', 200, '')
"""
PORTION = 20_000
_BODY = body(FIRST, people()[:1])


def fill(store: Path, *, sent: int, queued: int = 0) -> None:
    """
    Add *sent* texts of the last three years, none of the last two days, and *queued* ones that wait now.
    """
    now = time.time_ns() // 1000
    persons = [normalize(digits) for digits in people()]
    connection = sqlite3.connect(store, isolation_level=None)
    connection.execute("PRAGMA synchronous=OFF")
    connection.execute("PRAGMA cache_size=-500000")
    first = (connection.execute("SELECT max(seq) FROM messages").fetchone()[0] or 0) + 1
    numbers = iter(range(sent + queued))
    while portion := list(islice(numbers, PORTION)):
        rows = [_text(first + number, number, sent, now, persons) for number in portion]
        connection.execute("BEGIN")
        connection.executemany(_SUBMISSION, [row[0] for row in rows])
        connection.executemany(_MESSAGE, [row[1] for row in rows])
        connection.executemany(_SEGMENT, [row[2] for row in rows if row[2]])
        connection.executemany(_ATTEMPT, [row[3] for row in rows if row[3]])
        connection.execute("COMMIT")
    connection.execute("INSERT INTO accounts (id) VALUES (?) ON CONFLICT DO NOTHING", (ACCOUNT,))
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


def _text(
    seq: int, number: int, sent: int, now: int, persons: list[str]
) -> tuple[tuple[object, ...], tuple[object, ...], tuple[object, ...], tuple[object, ...]]:
    """The rows of one text in its tables; no segment and no attempt where it waits."""
    old = number < sent
    at = now - 2 * DAY - (sent - number) * (1093 * DAY // max(sent, 1)) if old else now
    person = persons[number % len(persons)]
    words = text(FIRST + number)
    # As UUIDs of version 7 do, these grow with time.
    id_ = f"{at // 1000:012x}"
    id_ = f"{id_[:8]}-{id_[8:]}-7000-8000-{seq:012x}"
    tracking = "+12025550133"
    mark = (
        number.to_bytes(16, "big") if not old else (number * 0x9E3779B97F4A7C15 % 2**128).to_bytes(16, "big")
    )
    message = (
        *(seq, id_, id_, "sent" if old else "queued", at, at, person, words, ACCOUNT, tracking, mark),
        *((at, "c0nv1") if old else (None, None)),
    )
    submission = (id_, "webhook", at, "application/json", _BODY)
    if not old:
        return submission, message, (), ()
    attempt = (seq, seq, ACCOUNT, tracking, person, at, at, at, at)
    return submission, message, (seq, seq, words), attempt
