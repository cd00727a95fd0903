"""What a delivery worker does with the store, one step at a time, and putting texts in."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from random import Random

from callrail_relay.domain.delivery import AccountStatus, Claim, ClaimPolicy, ClaimResult
from callrail_relay.domain.events import AttemptFinished, Event, OutcomeFound
from callrail_relay.domain.mapper import Accepted, NewMessage, NewSubmission
from callrail_relay.domain.message import Message, Status
from callrail_relay.domain.outcome import Outcome, RateLimited, Refusal, Rejected, Sent, Usage
from callrail_relay.domain.reconcile import LookupPolicy
from callrail_relay.outbox import budget, queries, record
from callrail_relay.outbox import claim as store_claim
from callrail_relay.outbox.store import Store
from tests.support.factories import (
    ACCOUNT,
    RECIPIENT,
    make_draft,
    make_message,
    make_policy,
    make_route,
    make_submission,
)

SENT = Sent(200, "CON1", "SMT1")
TOO_MANY = RateLimited(429, "Rate limit exceeded.")
REFUSED = Rejected(400, "content is invalid", Refusal.CONTENT)
FIREWALL = Rejected(403, "Attention Required!", Refusal.FIREWALL)


def told(news: Iterable[Event] | None) -> dict[str, int]:
    """What events say, and of how many people."""
    return {one.action: getattr(one, "people", 1) for one in news or ()}


def found(news: Iterable[Event] | None) -> list[tuple[str, Status]]:
    """The texts whose outcome was found, and their status now."""
    return [(one.message_id, one.status) for one in news or () if isinstance(one, OutcomeFound)]


@dataclass(frozen=True)
class Worker:
    """One node that claims from *outbox* by *policy*."""

    outbox: Store
    policy: ClaimPolicy = field(default_factory=make_policy)
    node: str = "node-1"
    lookups: LookupPolicy | None = None

    def under(self, **rules: object) -> "Worker":
        """The same worker under a policy of these rules, the others being the defaults."""
        return replace(self, policy=make_policy(**rules))  # type: ignore[arg-type]  # names are checked there

    async def look(self, most: int = 1) -> ClaimResult:
        _, result = await self.outbox.write(
            store_claim.advance,
            {},
            self.node,
            self.policy,
            most=most,
            look=True,
            random=Random(1),
            lookups=self.lookups,
        )
        assert result is not None
        return result

    async def take(self) -> Claim:
        """Claim a segment; there must be one."""
        [claim] = (await self.look()).claims
        return claim

    async def take_if_any(self) -> Claim | None:
        return next(iter((await self.look()).claims), None)

    async def take_all(self) -> list[Claim]:
        """Claim as long as there is something to claim."""
        claims: list[Claim] = []
        while new := (await self.look()).claims:
            claims += new
        return claims

    async def waits(self) -> datetime | None:
        """Find nothing to claim, and say when there may be something."""
        result = await self.look()
        assert not result.claims
        return result.wake_at

    async def finish(self, claim: Claim, outcome: Outcome = SENT) -> AttemptFinished:
        """Record an outcome in time."""
        finished, *_ = await self.record(claim, outcome)
        assert isinstance(finished, AttemptFinished)
        return finished

    async def record(self, claim: Claim, outcome: Outcome = SENT) -> list[Event]:
        recorded, _ = await self.outbox.write(
            record.record, {claim.attempt_id: outcome}, random=Random(1), lookups=self.lookups
        )
        return recorded

    async def send(self, outcome: Outcome = SENT) -> Claim:
        """Claim a segment and record its outcome."""
        claim = await self.take()
        await self.finish(claim, outcome)
        return claim

    async def settle_abandoned(self, node: str | None = None) -> list[AttemptFinished]:
        settled = await self.outbox.write(
            record.settle_abandoned,
            node=node,
            random=Random(1),
            lookups=self.lookups,
        )
        return [event for event in settled if isinstance(event, AttemptFinished)]

    async def status(self, account_id: str = ACCOUNT) -> AccountStatus:
        (status,) = await self.outbox.read(budget.read_account_statuses, [account_id], self.policy.limits)
        return status


async def put(outbox: Store, text: str, *, to: str = RECIPIENT, account_id: str = ACCOUNT) -> str:
    """Store a message that nothing holds; its id."""
    return await put_message(outbox, plain(text, to=to, account_id=account_id))


async def accept_one(outbox: Store, submission: NewSubmission) -> list[Accepted]:
    """Store a submission that its sender does not repeat."""
    return list((await outbox.accept(submission)).accepted)


async def put_message(outbox: Store, message: NewMessage) -> str:
    await accept_one(outbox, make_submission(message))
    return message.id


def plain(text: str, *, to: str = RECIPIENT, account_id: str = ACCOUNT) -> NewMessage:
    return make_message(draft=make_draft(text=text, recipient=to, route=make_route(account_id=account_id)))


async def find(outbox: Store, message_id: str) -> Message:
    (message,) = await outbox.read(queries.find_messages, message_id)
    return message


async def status_of(outbox: Store, message_id: str) -> Status:
    return (await find(outbox, message_id)).status


async def codes_of(outbox: Store, message_id: str) -> list[str]:
    return [reason.code for reason in (await find(outbox, message_id)).reasons]


def sent_with(
    *,
    hour_allowed: int | None = None,
    hour_used: int | None = None,
    day_allowed: int | None = None,
    day_used: int | None = None,
) -> Sent:
    """CallRail's yes, with these ``x-rate-limit-*`` headers."""
    usage = Usage(hour_allowed=hour_allowed, hour_used=hour_used, day_allowed=day_allowed, day_used=day_used)
    return Sent(200, "CON1", "SMT1", usage)


def words(characters: int) -> str:
    """A text of that many characters, in words of nine letters."""
    return " ".join(f"word{number:05}" for number in range(characters // 10 + 1))[:characters].strip()
