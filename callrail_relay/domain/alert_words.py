"""
What the owner is told: what is wrong, since when, and what to do. No words of texts, no full phone numbers.
"""

from datetime import datetime, timedelta

from callrail_relay.domain.account import Account
from callrail_relay.domain.budget import Window
from callrail_relay.domain.phone import mask_all

_MEGABYTE = 1024 * 1024


def paused(account: Account) -> str:
    since = "" if account.paused_since is None else f" since {_when(account.paused_since)}"
    # A person wrote the reason, or CallRail's answer is in it.
    reason = mask_all((account.paused_reason or "").strip())
    if reason and reason[-1] not in ".!?":
        reason += "."
    remedy = "" if "callrail-relay resume" in reason else " Run `callrail-relay resume` to go on."
    return f"Account {account.id} is paused{since}, and its texts wait. {reason}{remedy}"


def paused_over(account: Account) -> str:
    return f"Well again: account {account.id} is not paused any more."


def budget(account_id: str, name: str, window: Window) -> str:
    used = _used(account_id, name, window)
    if window.used < window.allowed:
        return f"{used}. At 100 % texts wait, and leave by themselves when there is room again."
    again = "" if window.free_at is None else f"; the next one leaves at {_when(window.free_at)}"
    return f"{used}. Texts wait now, and leave by themselves{again}."


def budget_over(account_id: str, name: str, window: Window) -> str:
    used = _used(account_id, name, window)
    return f"Well again: {used[:1].lower()}{used[1:]}."


def _used(account_id: str, name: str, window: Window) -> str:
    percent = window.used * 100 // window.allowed
    used = f"{window.used} of the {window.allowed} texts of the {name} ({percent} %)"
    return f"Account {account_id} has used {used}"


def waiting(held: int, unknown: int, oldest: datetime) -> str:
    counts = " and ".join(
        f"{count} {name}" for count, name in ((held, "held"), (unknown, "unknown")) if count
    )
    noun = "text waits" if held + unknown == 1 else "texts wait"
    since = f"since {_when(oldest)}" if held + unknown == 1 else f"the oldest since {_when(oldest)}"
    return (
        f"{counts} {noun} for your word, {since}. See them with `callrail-relay messages list --status held "
        "--status unknown`, and approve, resend or cancel each."
    )


def waiting_over() -> str:
    return "Well again: the texts that waited for your word do not wait any more."


def failures(count: int, within: timedelta) -> str:
    noun = "text was" if count == 1 else "texts were"
    return (
        f"{count} {noun} refused by CallRail, or became unknown, within {_minutes(within)}. See why with "
        "`callrail-relay messages list --since 1h --status failed --status unknown`."
    )


def failures_over(within: timedelta) -> str:
    return f"Well again: no text failed within {_minutes(within)}."


def disk(machine: str, free_bytes: int) -> str:
    left = f"{free_bytes // _MEGABYTE} MB left; free some space"
    return f"The disk of the relay on {machine} has {left}. When it is full, texts are refused."


def disk_over(machine: str, free_bytes: int) -> str:
    return f"Well again: the disk of the relay on {machine} has {free_bytes // _MEGABYTE} MB left."


def store_silent(why: str, since: datetime) -> str:
    return f"The relay refuses texts since {_when(since)}, for its store does not work. {why}"


def store_silent_over() -> str:
    return "Well again: the store works, and texts are accepted."


def _when(instant: datetime) -> str:
    """By this machine's own clock."""
    return instant.astimezone().strftime("%H:%M on %d %B")


def _minutes(span: timedelta) -> str:
    return f"{round(span.total_seconds() / 60)} minutes"
