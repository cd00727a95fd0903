"""Who opted out of texts from which tracking number, and who may have."""

from collections.abc import Collection, Sequence
from dataclasses import asdict
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from callrail_relay.domain.opt_outs import OptOut, Origin, PossibleOptOut
from callrail_relay.outbox.claim import look_at_all
from callrail_relay.outbox.tables import (
    Instant,
    accounts,
    accounts_in_order,
    attempts,
    is_open,
    messages,
    opt_outs,
    possible_opt_outs,
)


def add_opt_out(
    connection: sa.Connection,
    now: datetime,
    tracking_number: str,
    recipient: str,
    reason: str,
    origin: Origin = Origin.BY_HAND,
) -> None:
    """
    Opt a person out of texts from this tracking number; once is enough.

    What waits for them will be held, and what waits behind it may be sent: so their accounts are looked at.
    """
    settle_possible_opt_out(connection, tracking_number, recipient)
    connection.execute(_LOOK_AT, {"of_number": tracking_number, "of_person": recipient, "now": now})
    entry = OptOut(
        tracking_number=tracking_number, recipient=recipient, reason=reason, created_at=now, origin=origin
    )
    _insert(connection, [entry])


_LOOK_AT = (
    sa.update(accounts)
    .where(
        accounts_in_order(
            accounts.c.id.in_(
                sa.select(messages.c.account_id).where(
                    messages.c.tracking_number == sa.bindparam("of_number"),
                    messages.c.recipient == sa.bindparam("of_person"),
                    is_open(),
                )
            )
        )
    )
    .values(due_at=sa.bindparam("now", type_=Instant), closed_until=None)
)


def add_opt_outs(connection: sa.Connection, now: datetime, entries: Sequence[OptOut]) -> int:
    """The same for all *entries*, with the instants they bring; returns how many were not there before."""
    look_at_all(connection, now)
    # In portions, since databases limit the number of parameters of one statement.
    added = sum(_insert(connection, entries[start : start + 500]) for start in range(0, len(entries), 500))
    connection.execute(_SETTLE_ALL)
    return added


def _insert(connection: sa.Connection, entries: Sequence[OptOut]) -> int:
    """Add those that are not there yet; returns how many those were."""
    insert = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    added = insert(opt_outs).values([asdict(one) for one in entries]).on_conflict_do_nothing()
    return len(connection.execute(added.returning(opt_outs.c.recipient)).all())


def new_numbers(connection: sa.Connection, now: datetime, tracking_numbers: Collection[str]) -> list[str]:
    """Those that nothing was sent from, and no one opted out of: they came to ours after the opt-outs did."""
    return [
        number
        for number in tracking_numbers
        if not connection.scalar(
            sa.select(
                sa.exists().where(attempts.c.tracking_number == number)
                | sa.exists().where(opt_outs.c.tracking_number == number)
            )
        )
    ]


def copy_opt_outs(
    connection: sa.Connection, now: datetime, tracking_number: str, known: Collection[str]
) -> None:
    """Opt those who opted out of all *known* numbers out of another that was not known then."""
    if not known:
        return
    of_all = (
        sa.select(opt_outs.c.recipient)
        .where(opt_outs.c.tracking_number.in_(known))
        .group_by(opt_outs.c.recipient)
        .having(sa.func.count() == len(known))
    )
    entries = sa.select(
        sa.literal(tracking_number),
        opt_outs.c.recipient,
        opt_outs.c.reason,
        opt_outs.c.created_at,
        opt_outs.c.origin,
    ).where(opt_outs.c.tracking_number == min(known), opt_outs.c.recipient.in_(of_all))
    insert = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    columns = ("tracking_number", "recipient", "reason", "created_at", "origin")
    connection.execute(insert(opt_outs).from_select(columns, entries).on_conflict_do_nothing())


def remove_opt_out(
    connection: sa.Connection, now: datetime, recipient: str, tracking_number: str | None
) -> int:
    """Remove a person's opt-outs, of one tracking number or all; returns how many those were."""
    query = sa.delete(opt_outs).where(opt_outs.c.recipient == recipient)
    if tracking_number is not None:
        query = query.where(opt_outs.c.tracking_number == tracking_number)
    return connection.execute(query).rowcount


def is_opted_out(connection: sa.Connection, now: datetime, tracking_number: str, recipient: str) -> bool:
    """Whether a person opted out of texts from this tracking number."""
    pair = {"tracking_number": tracking_number, "recipient": recipient}
    return connection.execute(_OPTED_OUT, pair).first() is not None


_OPTED_OUT = sa.select(opt_outs.c.recipient).where(
    opt_outs.c.tracking_number == sa.bindparam("tracking_number"),
    opt_outs.c.recipient == sa.bindparam("recipient"),
)


def ask_about(connection: sa.Connection, tracking_number: str, recipient: str, reply: PossibleOptOut) -> bool:
    """
    Have the owner asked whether *reply* asks for no more texts; False if the person opted out anyway.

    Of several such replies the latest is asked about.
    """
    pair = {"tracking_number": tracking_number, "recipient": recipient}
    if connection.execute(_OPTED_OUT, pair).first() is not None:
        return False
    insert = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    asked = insert(possible_opt_outs).values(words=reply.words, written_at=reply.written_at, **pair)
    connection.execute(
        asked.on_conflict_do_update(
            index_elements=[possible_opt_outs.c.tracking_number, possible_opt_outs.c.recipient],
            set_={"words": asked.excluded.words, "written_at": asked.excluded.written_at},
            where=possible_opt_outs.c.written_at < asked.excluded.written_at,
        )
    )
    return True


def read_possible_opt_outs(
    connection: sa.Connection, recipients: Sequence[str]
) -> dict[tuple[str, str], PossibleOptOut]:
    """The replies that the owner has to read, by tracking number and person."""
    rows = connection.execute(_POSSIBLE, {"recipients": list(recipients)})
    return {
        (row.tracking_number, row.recipient): PossibleOptOut(words=row.words, written_at=row.written_at)
        for row in rows
    }


_POSSIBLE = sa.select(possible_opt_outs).where(
    possible_opt_outs.c.recipient.in_(sa.bindparam("recipients", expanding=True))
)


def settle_possible_opt_out(
    connection: sa.Connection, tracking_number: str, recipient: str, *, until: datetime | None = None
) -> None:
    """Ask no more about what a person replied, up to *until* if it is given."""
    which = sa.delete(possible_opt_outs).where(
        possible_opt_outs.c.tracking_number == tracking_number, possible_opt_outs.c.recipient == recipient
    )
    connection.execute(which if until is None else which.where(possible_opt_outs.c.written_at <= until))


_SETTLE_ALL = sa.delete(possible_opt_outs).where(
    sa.exists().where(
        opt_outs.c.tracking_number == possible_opt_outs.c.tracking_number,
        opt_outs.c.recipient == possible_opt_outs.c.recipient,
    )
)


def list_opt_outs(connection: sa.Connection, now: datetime, limit: int | None = None) -> list[OptOut]:
    """All opt-outs, or the newest *limit* of them, newest first."""
    order = (opt_outs.c.created_at.desc(), opt_outs.c.recipient, opt_outs.c.tracking_number)
    rows = connection.execute(sa.select(opt_outs).order_by(*order).limit(limit)).mappings()
    return [OptOut(**{**row, "origin": Origin(row["origin"])}) for row in rows]
