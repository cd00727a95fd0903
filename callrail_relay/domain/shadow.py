"""Running beside another system: what is passed on to it, in which order, and what its answer means."""

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from urllib.parse import unquote, urlsplit

from callrail_relay.domain.mapper import RawSubmission
from callrail_relay.domain.message import instant
from callrail_relay.domain.routing import is_loopback

ANSWER_WITHIN = timedelta(seconds=20)  # how long the old URL may take, before IF3 gets our own answer
LEASE = ANSWER_WITHIN + timedelta(seconds=20)  # after it a try counts as one that may have arrived
LARGEST_ANSWER = 65_536  # bytes
MOST_OPEN = 100  # requests that are looked at to choose the next: more than one burst has


class Mode(StrEnum):
    SHADOW = "shadow"  # another system sends: requests are stored and passed on
    LIVE = "live"


class State(StrEnum):
    WAITING = "waiting"  # certainly not passed on yet
    PASSING = "passing"  # a try is under way: it may have arrived
    FORWARDED = "forwarded"  # answered below 400
    REFUSED = "refused"  # answered with 4xx
    UNKNOWN = "unknown"  # may have arrived, and is not passed on again
    HELD = "held"  # certainly never passed on; its texts are on hold here


@dataclass(frozen=True, slots=True, kw_only=True)
class Shadow:
    mode: Mode = Mode.LIVE
    since: datetime | None = None
    forward_to: str | None = None
    waiting: int = 0

    @property
    def is_on(self) -> bool:
        return self.mode is Mode.SHADOW

    def document(self) -> dict[str, Any]:
        masked = None if self.forward_to is None else mask_url(self.forward_to)
        since = instant(self.since)
        return {"mode": self.mode.value, "since": since, "forward_to": masked, "waiting": self.waiting}


@dataclass(frozen=True, slots=True, kw_only=True)
class PassOn:
    """One request to pass on; *id* is None for one that could not be stored."""

    id: int | None
    tries: int = 1  # this one counts
    url: str
    request: RawSubmission


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """The old URL answered; without a body if that was too large or broke off."""

    status: int
    body: bytes | None = None
    content_type: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NotPassed:
    """Not a byte of it arrived, for certain."""

    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MayHaveArrived:
    detail: str


Passed = Answered | NotPassed | MayHaveArrived


def state_after(passed: Passed) -> State:
    match passed:
        case NotPassed():
            return State.WAITING
        case Answered(status=status) if status < 400:
            return State.FORWARDED
        case Answered(status=status) if status < 500:
            return State.REFUSED
        case _:
            return State.UNKNOWN


@dataclass(frozen=True, slots=True, kw_only=True)
class Unfinished:
    """A request that waits or is being passed on, and the people whose texts it has."""

    id: int
    state: State
    failed: bool  # a try certainly didn't arrive
    people: frozenset[str]


def goes_at_once(people: Collection[str], before: Sequence[Unfinished]) -> bool:
    """Whether a new request is passed on at once; those *before* it are not finished."""
    return len(before) < MOST_OPEN and not any(one.failed or one.people & set(people) for one in before)


def next_waiting(unfinished: Iterable[Unfinished]) -> int | None:
    """The earliest request that waits, unless an earlier one to the same person isn't finished."""
    before: set[str] = set()
    for one in unfinished:
        if one.state is State.WAITING and not before & one.people:
            return one.id
        before |= one.people
    return None


class BadOldUrl(ValueError):
    """A URL that requests can't be passed on to. The words say why, and show no more than its host."""


def read_old_url(text: str, *, own_tokens: Collection[str] = (), own_urls: Collection[str] = ()) -> str:
    """*text* as an address to pass requests on to. Raises BadOldUrl."""
    url, example = (
        text.strip(),
        "Copy it from the old webhook, such as https://hooks.zapier.com/hooks/catch/…",
    )
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise BadOldUrl(f"It isn't a URL. {example}") from None
    well_formed = url.isascii() and re.fullmatch(r"[\w.:%-]+", host, re.ASCII) and port != 0
    if parts.scheme not in ("http", "https") or not well_formed or re.search(r"[\x00-\x20\x7f\\]", url):
        raise BadOldUrl(f"It isn't a web address. {example}")
    if parts.username is not None or "#" in url:
        raise BadOldUrl(f"Give it without a user name and without #. {example}")
    if parts.scheme == "http" and not is_loopback(host):
        raise BadOldUrl(f"Without https anyone on the way to {host} can read the messages. Use https.")
    at_home = any(_is_same_server(url, own) for own in own_urls) and parts.path.startswith("/hooks/")
    if at_home or any(token in unquote(url) for token in own_tokens):
        raise BadOldUrl("It is this relay's own webhook URL, which would go in circles. Give the old one.")
    return url


def _is_same_server(url: str, other: str) -> bool:
    (host, port), (theirs, their_port) = (
        (one.hostname or "", one.port or {"http": 80}.get(one.scheme, 443))
        for one in map(urlsplit, (url, other))
    )
    return port == their_port and (host == theirs or (is_loopback(host) and is_loopback(theirs)))


def mask_url(url: str) -> str:
    """*url* without anything but its host: the rest lets anyone post there."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}/…"
