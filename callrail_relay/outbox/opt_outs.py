"""Who opted out of texts from which tracking number, who may have, and numbers not in the settings."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from callrail_relay.domain.inbound import InboundPolicy, Pair
from callrail_relay.domain.opt_outs import OptOut, Origin, PossibleOptOut
from callrail_relay.domain.routing import Route
from callrail_relay.outbox.rows import look_at_all, of_pair, portions, route_of
from callrail_relay.outbox.tables import (
    accounts,
    attempts,
    is_open,
    messages,
    numbers,
    opt_outs,
    possible_opt_outs,
)
from callrail_relay.outbox.transaction import Transaction


def add_opt_out(
    tx: Transaction,
    tracking_number: str,
    recipient: str,
    reason: str,
    origin: Origin = Origin.BY_HAND,
    *,
    at: datetime | None = None,
) -> None:
    """Opt a person out, once, and make their accounts due: what waits behind them may be sent."""
    settle_possible_opt_out(tx, tracking_number, recipient)
    waiting = sa.select(messages.c.account_id).where(
        *of_pair(messages, tracking_number, recipient), is_open()
    )
    look_at_all(tx, accounts.c.id.in_(waiting))
    entry = {"tracking_number": tracking_number, "recipient": recipient, "reason": reason}
    _insert(tx, [entry | {"created_at": at or tx.now, "origin": origin}])


def add_opt_outs(tx: Transaction, entries: Sequence[OptOut]) -> int:
    """Add *entries* with their own dates; return how many are new."""
    look_at_all(tx)
    added = sum(_insert(tx, portion) for portion in portions(asdict(one) for one in entries))
    asked = possible_opt_outs.c
    opted_out = sa.exists().where(*of_pair(opt_outs, asked.tracking_number, asked.recipient))
    tx.execute(sa.delete(possible_opt_outs).where(opted_out))
    return added


def _insert(tx: Transaction, entries: list[dict[str, object]]) -> int:
    """Add the ones that are missing; return how many."""
    new = tx.insert_into(opt_outs).on_conflict_do_nothing().returning(opt_outs.c.recipient)
    return len(tx.execute(new, entries).all())


def new_numbers(tx: Transaction, tracking_numbers: Collection[str]) -> list[str]:
    """Return the numbers that sent nothing and have no opt-outs: they were added after the opt-outs."""
    used = [sa.exists().where(table.c.tracking_number == sa.bindparam("n")) for table in (attempts, opt_outs)]
    query = sa.select(sa.or_(*used))
    return [number for number in tracking_numbers if not tx.scalar(query, {"n": number})]


def copy_opt_outs(tx: Transaction, tracking_number: str, known: Collection[str]) -> None:
    """Opt those who opted out of all *known* numbers out of a new one."""
    if not known:
        return
    of_all = sa.select(opt_outs.c.recipient).where(opt_outs.c.tracking_number.in_(known))
    of_all = of_all.group_by(opt_outs.c.recipient).having(sa.func.count() == len(known))
    columns = [column for column in opt_outs.c if column is not opt_outs.c.tracking_number]
    entries = sa.select(sa.literal(tracking_number), *columns).where(
        opt_outs.c.tracking_number == min(known), opt_outs.c.recipient.in_(of_all)
    )
    added = tx.insert_into(opt_outs).from_select([opt_outs.c.tracking_number, *columns], entries)
    tx.execute(added.on_conflict_do_nothing())


def remove_opt_out(tx: Transaction, recipient: str, tracking_number: str | None) -> int:
    """Remove a person's opt-outs, from one tracking number or all; return how many."""
    query = sa.delete(opt_outs).where(opt_outs.c.recipient == recipient)
    if tracking_number is not None:
        query = query.where(opt_outs.c.tracking_number == tracking_number)
    return tx.execute(query).rowcount


def is_opted_out(tx: Transaction, tracking_number: str, recipient: str) -> bool:
    """Whether a person opted out of texts from this tracking number."""
    return tx.count(opt_outs, *of_pair(opt_outs, tracking_number, recipient)) > 0


def ask_about(tx: Transaction, tracking_number: str, recipient: str, reply: PossibleOptOut) -> bool:
    """Ask the owner about the latest such *reply*; False if the person has opted out anyway."""
    if is_opted_out(tx, tracking_number, recipient):
        return False
    pair = {"tracking_number": tracking_number, "recipient": recipient}
    is_newer = possible_opt_outs.c.written_at < reply.written_at
    tx.upsert(possible_opt_outs, pair, asdict(reply), where=is_newer)
    return True


def read_opt_outs(tx: Transaction, recipients: Iterable[str]) -> tuple[set[Pair], dict[Pair, PossibleOptOut]]:
    """Return who of these people opted out of which number, and the replies that the owner has to read."""
    opted_out: set[Pair] = set()
    possible: dict[Pair, PossibleOptOut] = {}
    for portion in portions(recipients):
        for row in tx.execute(_OPT_OUTS, {"recipients": portion}):
            pair = (row.tracking_number, row.recipient)
            if row.words is None:
                opted_out.add(pair)
            else:
                possible[pair] = PossibleOptOut(words=row.words, written_at=row.written_at)
    return opted_out, possible


def _of_recipients(table: sa.Table, *columns: sa.ColumnElement[Any]) -> sa.Select[Any]:
    those = table.c.recipient.in_(sa.bindparam("recipients", expanding=True))
    return sa.select(table.c.tracking_number, table.c.recipient, *columns).where(those)


_OPT_OUTS = sa.union_all(
    _of_recipients(possible_opt_outs, possible_opt_outs.c.words, possible_opt_outs.c.written_at),
    _of_recipients(opt_outs, sa.cast(None, sa.Text), sa.cast(None, sa.BigInteger)),
)


def settle_possible_opt_out(
    tx: Transaction, tracking_number: str, recipient: str, *, until: datetime | None = None
) -> None:
    """Stop asking about a person's replies, up to *until* if given."""
    which = sa.delete(possible_opt_outs).where(*of_pair(possible_opt_outs, tracking_number, recipient))
    tx.execute(which if until is None else which.where(possible_opt_outs.c.written_at <= until))


def list_opt_outs(tx: Transaction, limit: int | None = None) -> list[OptOut]:
    """Return all opt-outs, or the newest *limit*, newest first."""
    order = (opt_outs.c.created_at.desc(), opt_outs.c.recipient, opt_outs.c.tracking_number)
    rows = tx.execute(sa.select(opt_outs).order_by(*order).limit(limit))
    return [OptOut(**row) for row in rows.mappings()]


def remember_number(tx: Transaction, route: Route, known: Collection[str] = ()) -> None:
    """Remember a number of ours. Whoever opted out of all *known* ones is opted out of it, too."""
    found = {"account_id": route.account_id, "company_id": route.company_id}
    tx.upsert(numbers, {"tracking_number": route.tracking_number}, found)
    copy_opt_outs(tx, route.tracking_number, known)


def known_numbers(tx: Transaction, account_ids: Collection[str]) -> list[Route]:
    """Return the remembered numbers of these accounts."""
    query = sa.select(numbers).where(numbers.c.account_id.in_(account_ids))
    return [route_of(row) for row in tx.execute(query.order_by(numbers.c.tracking_number))]


def with_known_numbers(tx: Transaction, policy: InboundPolicy) -> InboundPolicy:
    """Return *policy*, with the remembered numbers."""
    known = known_numbers(tx, set(policy.accounts.values()))
    if not known:
        return policy
    return replace(
        policy,
        accounts={**{route.company_id: route.account_id for route in known}, **policy.accounts},
        tracking_numbers=policy.tracking_numbers | {route.tracking_number for route in known},
    )
