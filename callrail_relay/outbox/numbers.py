"""
Numbers of our accounts that are not in the settings: named with `send --from`, looked up and remembered.
"""

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime

import sqlalchemy as sa

from callrail_relay.domain.inbound import InboundPolicy, PollPolicy
from callrail_relay.domain.routing import Route
from callrail_relay.outbox.opt_outs import copy_opt_outs
from callrail_relay.outbox.rows import insert_into
from callrail_relay.outbox.tables import numbers


def remember_number(
    connection: sa.Connection, now: datetime, route: Route, known: Collection[str] = ()
) -> None:
    """
    Keep the company and account of a number.

    A person who opted out of all *known* numbers of ours is not texted from this one, either.
    """
    found = insert_into(connection, numbers).values(
        tracking_number=route.tracking_number, account_id=route.account_id, company_id=route.company_id
    )
    connection.execute(
        found.on_conflict_do_update(
            index_elements=[numbers.c.tracking_number],
            set_={"account_id": found.excluded.account_id, "company_id": found.excluded.company_id},
        )
    )
    copy_opt_outs(connection, now, route.tracking_number, known)


def known_numbers(connection: sa.Connection, now: datetime, account_ids: Collection[str]) -> list[Route]:
    """The remembered numbers of these accounts."""
    rows = connection.execute(_KNOWN, {"account_ids": list(account_ids)})
    return [Route(row.account_id, row.company_id, row.tracking_number) for row in rows]


_KNOWN = (
    sa.select(numbers)
    .where(numbers.c.account_id.in_(sa.bindparam("account_ids", expanding=True)))
    .order_by(numbers.c.tracking_number)
)


def with_known_numbers(connection: sa.Connection, now: datetime, policy: InboundPolicy) -> InboundPolicy:
    """*policy* for the remembered numbers as well."""
    known = known_numbers(connection, now, set(policy.accounts.values()))
    if not known:
        return policy
    return replace(
        policy,
        accounts={**{route.company_id: route.account_id for route in known}, **policy.accounts},
        tracking_numbers=policy.tracking_numbers | {route.tracking_number for route in known},
    )


def with_known_companies(connection: sa.Connection, now: datetime, policy: PollPolicy) -> PollPolicy:
    """*policy* for the companies of the remembered numbers as well."""
    known = known_numbers(connection, now, {account_id for account_id, _ in policy.companies})
    companies = [*policy.companies, *((route.account_id, route.company_id) for route in known)]
    return replace(policy, companies=tuple(dict.fromkeys(companies)))
