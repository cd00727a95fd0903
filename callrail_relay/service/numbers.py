"""The tracking number that a person names to send from: one of the settings, or any other of the account."""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager

from callrail_relay.domain.routing import Discovery, Route
from callrail_relay.errors import UsageError
from callrail_relay.outbox import numbers, opt_outs
from callrail_relay.outbox.store import Store

Ask = Callable[[], AbstractAsyncContextManager[Discovery]]
"""Opens a connection to CallRail."""


async def find_sending_route(
    number: str, *, routes: Sequence[Route], account_ids: Sequence[str], store: Store, ask: Ask
) -> Route:
    """
    Where texts from *number* are sent from: *routes*, what was looked up before, else CallRail tells it.

    Raises UsageError where no account has such a number that can text, RefusedByCallRail, Unavailable.
    """
    known = [*routes, *await store.read(numbers.known_numbers, account_ids)]
    found = next((route for route in known if route.tracking_number == number), None)
    if found is None:
        async with ask() as discovery:
            found = await _look_up(number, account_ids, discovery)
        await store.write(numbers.remember_number, found, {route.tracking_number for route in known})
    return found


async def _look_up(number: str, account_ids: Sequence[str], discovery: Discovery) -> Route:
    for account_id in account_ids:
        for entry in await discovery.numbers(account_id):
            if entry.number == number and entry.company_id:
                return Route(account_id, entry.company_id, number)
    raise UsageError(
        f"--from names {number}, and CallRail has no such number that can text in account "
        f"{' or '.join(account_ids)}. Check the number, and that texting is switched on for it in CallRail."
    )


async def cover_new_numbers(store: Store, ours: Sequence[str]) -> None:
    """Opt those who opted out of all numbers in the settings out of numbers that were added since."""
    new = await store.read(opt_outs.new_numbers, ours)
    known = set(ours) - set(new)
    for number in new if known else ():
        await store.write(opt_outs.copy_opt_outs, number, known)
