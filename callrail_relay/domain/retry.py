"""What follows from an outcome: decided here, applied by the outbox."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random

from callrail_relay.domain.account import Account
from callrail_relay.domain.message import Reason, Status
from callrail_relay.domain.outcome import NotSent, Outcome, RateLimited, Refusal, Rejected, Sent, Unknown
from callrail_relay.domain.segmentation import DOCUMENTED_LENGTH, length

RATE_LIMIT_FIRST = timedelta(seconds=60)
RATE_LIMIT_LONGEST = timedelta(minutes=15)
UNREACHABLE_FIRST = timedelta(seconds=1)
UNREACHABLE_LONGEST = timedelta(minutes=5)

UNREACHABLE = Reason("unreachable")
NO_ANSWER = Reason("no_answer")


@dataclass(frozen=True, slots=True)
class Consequence:
    segment: Status
    costs_budget: bool  # the attempt keeps its place in the budget
    account: Account
    reasons: tuple[Reason, ...] = ()
    cut_to: int | None = None  # the length to split the text to before it's tried again
    opts_out: bool = False


def decide(
    outcome: Outcome, *, message_id: str, content: str, account: Account, now: datetime, random: Random
) -> Consequence:
    match outcome:
        case Sent():
            return Consequence(Status.SENT, costs_budget=True, account=account.answered(now))
        case NotSent():
            after = account if outcome.own_fault else _backed_off(account, now, random, UNREACHABLE)
            return Consequence(Status.QUEUED, costs_budget=False, account=after)
        case RateLimited():
            wait = doubled(account.strikes_before(now), RATE_LIMIT_FIRST, RATE_LIMIT_LONGEST)
            until = now + (wait if outcome.retry_after is None else timedelta(seconds=outcome.retry_after))
            after = account.waiting(now, until, Reason("rate_limited"))
            return Consequence(Status.QUEUED, costs_budget=False, account=after)
        case Rejected():
            return _decide_rejected(outcome, message_id, content, account, now)
        case Unknown():
            reason = Reason("unknown", {"problem": "no_answer", "detail": outcome.detail})
            # Without a wait, an outage at CallRail would turn every queued text into an unknown one.
            after = account if outcome.own_fault else _backed_off(account, now, random, NO_ANSWER)
            return Consequence(Status.UNKNOWN, costs_budget=True, account=after, reasons=(reason,))


def _decide_rejected(
    outcome: Rejected, message_id: str, content: str, account: Account, now: datetime
) -> Consequence:
    match outcome.refusal:
        case Refusal.AUTHORIZATION:
            forbidden = Reason("forbidden", {"detail": outcome.detail})
            reason = Reason("unauthorized") if outcome.http_status == 401 else forbidden
            return Consequence(Status.QUEUED, costs_budget=False, account=account.paused(now, reason))
        case Refusal.UNSENDABLE:
            reason = Reason("unsendable", {"detail": outcome.detail})
            return Consequence(Status.FAILED, costs_budget=False, account=account, reasons=(reason,))
        case Refusal.FIREWALL if account.is_firewalled:
            # It was in flight when the third one was refused: by now the office's address is known to be why.
            return Consequence(Status.QUEUED, costs_budget=False, account=account)
        case Refusal.FIREWALL:
            after = account.refused_by_firewall(message_id)
            if after.is_firewalled:
                after = after.paused(now, Reason("firewalled", {"answer": outcome.detail}))
            reason = Reason("firewall", {"answer": outcome.detail})
            return Consequence(Status.FAILED, costs_budget=False, account=after, reasons=(reason,))
        case Refusal.CONTENT if length(content) > DOCUMENTED_LENGTH:
            after = account.answered(now)
            return Consequence(Status.QUEUED, costs_budget=True, account=after, cut_to=DOCUMENTED_LENGTH)
        case _:
            reason = Reason("refused", {"http_status": outcome.http_status, "detail": outcome.detail})
            after, opts_out = account.answered(now), outcome.refusal is Refusal.OPTED_OUT
            return Consequence(
                Status.FAILED, costs_budget=True, account=after, reasons=(reason,), opts_out=opts_out
            )


def _backed_off(account: Account, now: datetime, random: Random, reason: Reason) -> Account:
    longest = doubled(account.strikes_before(now), UNREACHABLE_FIRST, UNREACHABLE_LONGEST)
    return account.waiting(now, now + random.random() * longest, reason)


def doubled(failures: int, first: timedelta, longest: timedelta) -> timedelta:
    """Return how long to wait after so many failures. Bounded, so a long outage overflows nothing."""
    doublings: int = 2 ** min(failures, 20)
    return min(longest, first * doublings)
