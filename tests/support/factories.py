"""Values with defaults, so that a test names only what it is about."""

from collections.abc import Iterable
from datetime import timedelta
from itertools import count
from uuid import UUID

from callrail_relay.domain.account import Account, Limits
from callrail_relay.domain.delivery import ClaimPolicy
from callrail_relay.domain.guards import GuardPolicy, Mode, Verdict
from callrail_relay.domain.mapper import MappedText, NewMessage, NewSubmission
from callrail_relay.domain.message import Source
from callrail_relay.domain.routing import Route
from callrail_relay.domain.segmentation import split_text
from tests.support.policies import claim_policy, guard_policy

ACCOUNT = "ACC0000000000000000000000000000001"
COMPANY = "COM0000000000000000000000000000001"
TRACKING_NUMBER = "+12025550133"
RECIPIENT = "+12025550122"
TEXT = "Is the house on Elm Street still for sale?"
BODY = b'{"message": "Is the house on Elm Street still for sale?"}'
LIMITS = Limits(150, 1000)

_AREAS = tuple(area for area in range(201, 990) if area % 100 // 10 != 9 and area % 100 != 11)
_numbers = count(1)


def make_id() -> str:
    """An id that no other value of this process has; ids grow."""
    return str(UUID(int=next(_numbers)))


def recipient(number: int) -> str:
    """The phone number of person *number*, from those that are kept for examples: 555-0100 to 555-0199."""
    return f"+1{_AREAS[number // 100]}555{100 + number % 100:04}"


def make_route(
    *, account_id: str = ACCOUNT, company_id: str = COMPANY, tracking_number: str = TRACKING_NUMBER
) -> Route:
    return Route(account_id, company_id, tracking_number)


def make_draft(
    *,
    recipient: str | None = RECIPIENT,
    text: str | None = TEXT,
    route: Route | None = None,
    opportunity_id: str | None = "101",
    sender_id: str | None = "789",
    seller_id: str | None = "202",
    seller: str | None = "Pat Example",
    team_id: str | None = "42",
) -> MappedText:
    return MappedText(
        recipient=recipient,
        text=text,
        route=route or make_route(),
        opportunity_id=opportunity_id,
        sender_id=sender_id,
        seller_id=seller_id,
        seller=seller,
        team_id=team_id,
    )


def make_message(
    *,
    id_: str | None = None,
    draft: MappedText | None = None,
    verdict: Verdict | None = None,
    max_characters: int = 140,
    skip_identical: bool = False,
    approved: tuple[str, ...] = (),
) -> NewMessage:
    draft = draft or make_draft()
    return NewMessage(
        id=id_ or make_id(),
        draft=draft,
        verdict=verdict or Verdict(),
        segment_count=len(split_text(draft.text, max_characters=max_characters)) if draft.text else 0,
        skip_identical=skip_identical,
        approved=approved,
    )


def make_submission(
    *messages: NewMessage,
    id_: str | None = None,
    source: Source = Source.WEBHOOK,
    body: bytes = BODY,
    content_type: str | None = "application/json",
    query: str | None = None,
    duplicates: Mode = Mode.HOLD,
    guards: GuardPolicy | None = None,
) -> NewSubmission:
    """One request that holds *messages*, or one message of the defaults."""
    return NewSubmission(
        id=id_ or make_id(),
        source=source,
        body=body,
        content_type=content_type,
        query=query,
        messages=messages or (make_message(),),
        guards=guards or guard_policy(duplicate=duplicates),
    )


def make_policy(
    *,
    accounts: Iterable[str] = (ACCOUNT,),
    limits: Limits = LIMITS,
    recipient_interval: timedelta = timedelta(seconds=1),
    lease: timedelta = timedelta(seconds=75),
    max_characters: int = 140,
    guards: GuardPolicy | None = None,
) -> ClaimPolicy:
    return claim_policy(
        accounts=frozenset(accounts),
        limits=limits,
        recipient_interval=recipient_interval,
        lease=lease,
        max_characters=max_characters,
        guards=guards or guard_policy(),
    )


def make_account(id_: str = ACCOUNT) -> Account:
    """An account in good status."""
    return Account(id=id_)
