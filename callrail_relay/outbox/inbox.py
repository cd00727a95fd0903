"""
The inbox: requests that were answered and are on disk, and that nobody has looked into yet.

A burst of webhooks costs one row each, in a table that has no index but its own order. What a text needs
besides, from its mapping to the indexes that people search by, is done behind the answer. Where only a few
come at a time it is done at once, in the same commit, and the inbox stays empty.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from callrail_relay.domain.submission import (
    Accepted,
    Mapped,
    Mapping,
    NewSubmission,
    RawSubmission,
    Repeated,
)
from callrail_relay.outbox.engine import OUT_OF_ORDER
from callrail_relay.outbox.intake import accept, insert_rows
from callrail_relay.outbox.tables import inbox, mapping_policies, microseconds, repeat_keys

FEW = 4
"""So many at a time are mapped at once; more are a burst, in which taking them all comes first."""

ReadMapping = Callable[[str], Mapping]
"""Makes the mapping of a policy that was stored as text."""


@dataclass(frozen=True, slots=True)
class Unmapped:
    """
    A request as it came in, and how it is to be mapped.
    """

    raw: RawSubmission
    mapping: Mapping


Arrival = NewSubmission | Unmapped
"""What is to be stored: mapped already, or not."""

Stored = list[Accepted] | Repeated | None
"""What became of it: its messages, None where they are in the inbox, Repeated where it is stored already."""


def store(connection: sa.Connection, now: datetime, batch: Sequence[Arrival]) -> list[Stored]:
    """
    Store all of *batch*, or nothing, and say what became of each.
    """
    repeated = _repeated(connection, batch)
    new = iter(
        _store_new(connection, now, [one for one, again in zip(batch, repeated, strict=True) if not again])
    )
    return [again or next(new) for again in repeated]


def _repeated(connection: sa.Connection, batch: Sequence[Arrival]) -> list[Repeated | None]:
    """
    Which of *batch* came before under the same key; the keys of the others are taken.

    Of two nodes that store the same request at once, the second waits for the first one's commit here. Keys
    are taken in one order, and before any account is locked, so that no two nodes wait for each other.
    """
    keys = [one.raw.repeat_key if isinstance(one, Unmapped) else None for one in batch]
    new = {
        key: one.raw.id
        for key, one in zip(reversed(keys), reversed(batch), strict=True)
        if key is not None and isinstance(one, Unmapped)
    }
    if not new:
        return [None] * len(batch)
    insert = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    rows = [{"digest": key, "submission_id": new[key]} for key in sorted(new)]
    connection.execute(insert(repeat_keys).on_conflict_do_nothing(), rows)
    known = {bytes(key): id_ for key, id_ in connection.execute(_OF_KEYS, {"keys": list(new)})}
    return [
        Repeated(known[key])
        if key is not None and isinstance(one, Unmapped) and known[key] != one.raw.id
        else None
        for key, one in zip(keys, batch, strict=True)
    ]


_OF_KEYS = sa.select(repeat_keys.c.digest, repeat_keys.c.submission_id).where(
    repeat_keys.c.digest.in_(sa.bindparam("keys", expanding=True))
)


def _store_new(
    connection: sa.Connection, now: datetime, batch: Sequence[Arrival]
) -> list[list[Accepted] | None]:
    """
    Nothing is mapped before what came earlier, so that texts to one person keep their order.
    """
    unmapped = [arrival for arrival in batch if isinstance(arrival, Unmapped)]
    waits = bool(unmapped) and (len(unmapped) > FEW or not is_empty(connection))
    if waits:
        put(connection, now, unmapped)
    mapped = [
        arrival.mapping(arrival.raw) if isinstance(arrival, Unmapped) else arrival
        for arrival in batch
        if not (waits and isinstance(arrival, Unmapped))
    ]
    accepted = iter(accept(connection, now, mapped) if mapped else ())
    return [None if waits and isinstance(arrival, Unmapped) else next(accepted) for arrival in batch]


def keep(connection: sa.Connection, now: datetime, arrival: Unmapped) -> Stored:
    """
    Store a request that cannot be stored otherwise as it is.
    """
    [again] = _repeated(connection, [arrival])
    if again is None:
        put(connection, now, [arrival])
    return again


def put(connection: sa.Connection, now: datetime, batch: Sequence[Unmapped]) -> None:
    """
    Store requests as they are, for ``map_portion`` to map in this order.

    The policy goes along: a request is mapped as the relay would have done it that took it, by whoever
    comes to it.
    """
    at = microseconds(now)
    ids = {text: _policy_id(text) for text in {one.mapping.policy for one in batch}}
    insert = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    policies = [{"id": id_, "document": text} for text, id_ in ids.items()]
    connection.execute(insert(mapping_policies).on_conflict_do_nothing(), policies)
    insert_rows(
        connection,
        inbox,
        [
            {
                "id": one.raw.id,
                "policy_id": ids[one.mapping.policy],
                "received_at": at,
                "content_type": one.raw.content_type,
                "query": one.raw.query,
                "body": one.raw.body,
            }
            for one in batch
        ],
    )


def is_empty(connection: sa.Connection) -> bool:
    return connection.execute(_ANY).first() is None


def map_portion(
    connection: sa.Connection, now: datetime, most: int, read_mapping: ReadMapping
) -> list[Mapped]:
    """
    Map the *most* oldest requests of the inbox, which leave it then; none where it is empty.

    Of several nodes one maps at a time: whoever comes second waits for the oldest row, and finds it gone.
    """
    return _map(connection, now, _take(connection, most, read_mapping))


def map_oldest(connection: sa.Connection, now: datetime, read_mapping: ReadMapping) -> list[Mapped]:
    """
    Map the oldest request alone; one whose messages cannot be stored is held with that as its reason.
    """
    taken = _take(connection, 1, read_mapping)
    if not taken:
        return []
    try:
        with connection.begin_nested():
            return _map(connection, now, taken)
    except OUT_OF_ORDER:
        raise
    except Exception as error:  # noqa: BLE001 - whatever it is, it must not keep back all that came after it
        [(seq, raw, mapping)] = taken
        return _finish(connection, now, [seq], [mapping.give_up(raw, error)])


_Taken = tuple[int, RawSubmission, Mapping]

_ANY = sa.select(inbox.c.seq).limit(1)
_OLDEST = (
    sa.select(inbox, mapping_policies.c.document)
    .join(mapping_policies, mapping_policies.c.id == inbox.c.policy_id)
    .order_by(inbox.c.seq)
    .limit(sa.bindparam("most"))
    .with_for_update(of=inbox)
)
_REMOVE = sa.delete(inbox).where(inbox.c.seq.in_(sa.bindparam("seqs", expanding=True)))


def _take(connection: sa.Connection, most: int, read_mapping: ReadMapping) -> list[_Taken]:
    mappings: dict[str, Mapping] = {}
    taken: list[_Taken] = []
    for row in connection.execute(_OLDEST, {"most": most}):
        if row.policy_id not in mappings:
            mappings[row.policy_id] = read_mapping(row.document)
        raw = RawSubmission(
            id=row.id,
            body=bytes(row.body),
            content_type=row.content_type,
            query=row.query,
            received_at=row.received_at,
        )
        taken.append((row.seq, raw, mappings[row.policy_id]))
    return taken


def _map(connection: sa.Connection, now: datetime, taken: Sequence[_Taken]) -> list[Mapped]:
    if not taken:
        return []
    return _finish(connection, now, [seq for seq, _, _ in taken], [mapping(raw) for _, raw, mapping in taken])


def _finish(
    connection: sa.Connection, now: datetime, seqs: Sequence[int], submissions: Sequence[NewSubmission]
) -> list[Mapped]:
    accepted = accept(connection, now, submissions)
    # By their numbers: one with a smaller number may have been committed by another node only now.
    connection.execute(_REMOVE, {"seqs": seqs})
    return [
        Mapped(submission_id=submission.id, accepted=tuple(one))
        for submission, one in zip(submissions, accepted, strict=True)
    ]


def _policy_id(document: str) -> str:
    return blake2b(document.encode(), digest_size=16).hexdigest()
