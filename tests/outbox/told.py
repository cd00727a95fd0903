"""Texts as CallRail reports them, with defaults, and passing them to the store."""

from collections.abc import Sequence
from datetime import datetime
from itertools import count

from callrail_relay.domain.events import Event, ReplyReceived
from callrail_relay.domain.inbound import CallRailText, Direction, InboundPolicy, ShownNumber
from callrail_relay.outbox import inbound
from callrail_relay.outbox.store import Store
from tests.support.clock import START
from tests.support.factories import ACCOUNT, COMPANY, RECIPIENT, TRACKING_NUMBER
from tests.support.policies import inbound_policy

POLICY = inbound_policy(
    accounts={COMPANY: ACCOUNT},
    tracking_numbers=frozenset({TRACKING_NUMBER}),
)
_ids = count(1)


def masked(number: str) -> ShownNumber:
    return ShownNumber(ending=number[-4:])


def make_told(
    content: str = "Yes, Tuesday works",
    *,
    direction: Direction | None = Direction.IN,
    key: str | None = None,
    person: ShownNumber | str = RECIPIENT,
    ours: ShownNumber | str = TRACKING_NUMBER,
    written_at: datetime | None = START,
    conversation_id: str | None = "CON1",
    thread_id: str | None = None,
    company_id: str | None = COMPANY,
    seen: bool = False,
) -> CallRailText:
    """A reply, or with *direction* OUT a text to a person."""
    ends = (
        ShownNumber(person) if isinstance(person, str) else person,
        ShownNumber(ours) if isinstance(ours, str) else ours,
    )
    source, destination = ends[::-1] if direction is Direction.OUT else ends
    return CallRailText(
        key=key or f"SCI{next(_ids)}",
        content=content,
        source=source,
        destination=destination,
        written_at=written_at,
        direction=direction,
        conversation_id=conversation_id,
        thread_id=thread_id,
        company_id=company_id,
        seen=seen,
    )


async def ingest_one(
    outbox: Store, text: CallRailText, policy: InboundPolicy = POLICY, hint: Direction | None = None
) -> list[Event] | None:
    """Its events; None if it was known."""
    ingested = await outbox.write(inbound.ingest, [text], policy, hint)
    return ingested[0] if ingested else None


async def new_keys(outbox: Store, texts: Sequence[CallRailText]) -> list[str]:
    """The keys of the replies among *texts* that were not known."""
    ingested = await outbox.write(inbound.ingest, texts, POLICY)
    return [one.resource_id for news in ingested for one in news if isinstance(one, ReplyReceived)]


async def tell(outbox: Store, content: str = "Yes, Tuesday works", **what: object) -> list[Event] | None:
    return await ingest_one(outbox, make_told(content, **what), POLICY)  # type: ignore[arg-type]  # names are checked there
