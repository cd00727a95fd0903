"""Knowing whether CallRail can be reached, also when there is nothing to send."""

from collections.abc import Sequence
from datetime import datetime

from callrail_relay.clock import Clock
from callrail_relay.domain.events import EventHook, ignore
from callrail_relay.domain.health import CONTACT_AGE
from callrail_relay.domain.routing import Discovery
from callrail_relay.errors import RefusedByCallRail, Unavailable
from callrail_relay.outbox import contacts as store_contacts
from callrail_relay.outbox.store import Store
from callrail_relay.service.background import Repeating


class Connection(Repeating):
    """
    Asks CallRail for its accounts when it hasn't answered for CONTACT_AGE: at the start, and on quiet days.
    """

    def __init__(
        self,
        store: Store,
        callrail: Discovery,
        account_ids: Sequence[str],
        *,
        clock: Clock,
        hook: EventHook = ignore,
    ) -> None:
        super().__init__(clock, hook)
        self._store = store
        self._callrail = callrail
        self._account_ids = account_ids

    async def turn(self) -> datetime | None:
        now = await self._store.now()
        contacts = (await self._store.read(store_contacts.read_contacts, self._account_ids)).values()
        if any(not one.is_recent(now) or one.is_lost for one in contacts):
            await self._ask()
            return None
        return min((one.answered_at for one in contacts if one.answered_at), default=now) + CONTACT_AGE

    async def _ask(self) -> None:
        try:
            accounts = await self._callrail.accounts()
        except (RefusedByCallRail, Unavailable):
            accounts = []
        visible = {id_ for one in accounts for id_ in (one.id, one.numeric_id)}
        answered = [account_id for account_id in self._account_ids if account_id in visible]
        silent = [account_id for account_id in self._account_ids if account_id not in visible]
        if answered:
            await self._store.write(store_contacts.note_contacts, answered, answered=True)
        if silent:
            await self._store.write(store_contacts.note_contacts, silent, answered=False)
