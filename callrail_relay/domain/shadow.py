"""Running beside another system: what is passed on to it, and what its answer means."""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit

from callrail_relay.domain.mapper import RawSubmission
from callrail_relay.domain.message import instant
from callrail_relay.domain.routing import is_loopback
from callrail_relay.errors import UsageError

ANSWER_WITHIN = timedelta(seconds=20)  # how long the old URL may take, before IF3 gets our own answer
LEASE = ANSWER_WITHIN + timedelta(seconds=20)  # after it a try counts as one that may have arrived
LARGEST_ANSWER = 65_536  # bytes


class Mode(StrEnum):
    SHADOW = "shadow"  # another system sends: requests are stored and passed on
    LIVE = "live"


class State(StrEnum):
    WAITING = "waiting"  # certainly not passed on yet
    PASSING = "passing"  # a try is under way: it may have arrived
    FORWARDED = "forwarded"  # answered below 400
    REFUSED = "refused"  # answered with 4xx
    UNKNOWN = "unknown"  # may have arrived, and is not passed on again
    HELD = "held"  # not passed on any more; its texts are on hold here


@dataclass(frozen=True, slots=True, kw_only=True)
class Shadow:
    mode: Mode = Mode.LIVE
    since: datetime | None = None
    forward_to: str | None = None
    waiting: int = 0

    @property
    def is_on(self) -> bool:
        return self.mode is Mode.SHADOW

    @property
    def masked_url(self) -> str | None:
        """The old URL without anything but its host: the rest lets anyone post there."""
        parts = self.forward_to and urlsplit(self.forward_to)
        return f"{parts.scheme}://{parts.hostname}/…" if parts else None

    def document(self) -> dict[str, Any]:
        known = {"mode": self.mode.value, "since": instant(self.since), "forward_to": self.masked_url}
        return known | {"waiting": self.waiting}


@dataclass(frozen=True, slots=True, kw_only=True)
class PassOn:
    """One request to pass on; *id* is None for one that could not be stored."""

    id: int | None
    tries: int = 1  # this one counts
    url: str
    request: RawSubmission


@dataclass(frozen=True, slots=True)
class Passed:
    """What came of one try; it is WAITING again if not a byte of it arrived, for certain."""

    state: State
    detail: str | None = None
    http_status: int | None = None
    body: bytes | None = None  # of a whole answer that is not too large
    content_type: str | None = None


def answered(status: int, body: bytes | None = None, content_type: str | None = None) -> Passed:
    failed = State.REFUSED if status < 500 else State.UNKNOWN
    return Passed(State.FORWARDED if status < 400 else failed, None, status, body, content_type)


_OLD_URL = re.compile(
    r"(https?)://([\w.-]+|\[[0-9a-f:.]+\])(?::([1-9][0-9]{0,4}))?(?:[/?][^\x00-\x20#\\\x7f-\U0010ffff]*)?",
    re.ASCII | re.IGNORECASE,
)


def read_old_url(text: str) -> str:
    """*text* as an address to pass requests on to. Raises UsageError, which shows no more than its host."""
    url = text.strip()
    parts = _OLD_URL.fullmatch(url)
    if parts is None or int(parts[3] or 1) > 65535:
        raise UsageError(
            "--forward-to isn't the web address of a webhook. Copy it from the old one, such as "
            "https://hooks.zapier.com/hooks/catch/…"
        )
    if "/hooks/if3/" in url.lower():
        raise UsageError("--forward-to is a relay's own webhook URL. Give the one that IF3 used before.")
    if parts[1].lower() == "http" and not is_loopback(parts[2].strip("[]")):
        raise UsageError(f"Without https anyone on the way to {parts[2]} can read the texts. Use https.")
    return url
