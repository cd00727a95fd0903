"""
What goes wrong, with which requests, and how often.

A fault is a JSON object with the fields of ``Fault``; a file of them is a list, and so is what
POST /sandbox/faults takes. The first fault that applies to a request happens to it, and no other.
"""

import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from random import Random
from typing import Any, Literal, get_args

from callrail_relay.callrail.simulator.records import normalize
from callrail_relay.errors import UsageError

On = Literal["send", "read", "any"]


class Kind(StrEnum):
    """What goes wrong. The first group is before a text is taken, the second after it was taken as usual."""

    DELAY = "delay"  # everything as usual, but only after ``delay`` seconds
    REFUSE = "refuse"  # no connection; over a real socket an app can only close it unanswered
    DROP = "drop"  # the connection ends before the request is read
    STATUS = "status"  # answered with ``status``, by default 500

    DROP_ANSWER = "drop_answer"  # the connection ends without an answer
    LATE_ANSWER = "late_answer"  # answered ``delay`` seconds later
    STATUS_AFTER = "status_after"  # answered with ``status``, by default 500; a 2xx keeps its body
    GARBAGE = "garbage"  # answered 200 with ``body``, by default a page of HTML
    HALF_BODY = "half_body"  # the connection ends in the middle of the answer
    SLOW_BODY = "slow_body"  # the answer comes in 16 pieces, ``delay`` seconds apart
    NO_ID = "no_id"  # a 2xx without the id of the conversation
    OTHER_CUSTOMER = "other_customer"  # a 2xx about another customer


_TIMED = frozenset({Kind.DELAY, Kind.LATE_ANSWER, Kind.SLOW_BODY})
_WITH_STATUS = frozenset({Kind.STATUS, Kind.STATUS_AFTER})
_WITH_BODY = _WITH_STATUS | {Kind.GARBAGE}


@dataclass(frozen=True, slots=True)
class Fault:
    """
    One thing that goes wrong; a value that makes no sense raises UsageError.

    It applies to sends, to every other request (``read``) or to ``any``, and with ``number`` only
    to sends to that person. Of those it skips all before the one at ``position`` (from 1), spares
    each by chance but a ``share`` of them (0 to 1), and ends after ``times``; with a position and
    no ``times`` it happens once. ``delay`` is in seconds; if the kind does not say what for, it
    passes before the fault. ``retry_after`` is the header's value, sane or not.
    """

    kind: Kind
    on: On = "send"
    number: str | None = None
    share: float | None = None
    position: int | None = None
    times: int | None = None
    delay: float = 0.0
    status: int | None = None
    retry_after: int | str | None = None
    body: str | None = None

    def __post_init__(self) -> None:
        for complaint in self._complaints():
            raise UsageError(f"This fault cannot be used: {complaint}.")
        # From JSON the kind is a plain string.
        object.__setattr__(self, "kind", Kind(self.kind))

    def _complaints(self) -> Iterator[str]:
        if self.kind not in list(Kind):
            yield f"kind must be one of {', '.join(Kind)}"
        if self.on not in get_args(On):
            yield f"on must be one of {', '.join(get_args(On))}"
        if self.number is not None and (normalize(self.number) is None or self.on != "send"):
            yield "number must be a North American number such as +12025550122, and goes with sends only"
        if self.share is not None and not (_is_number(self.share) and 0 <= self.share <= 1):
            yield "share must be a number from 0 to 1"
        if not all(each is None or (type(each) is int and each > 0) for each in (self.position, self.times)):
            yield "position and times must be whole numbers from 1"
        yield from self._complaints_about_the_answer()

    def _complaints_about_the_answer(self) -> Iterator[str]:
        if not _is_number(self.delay) or self.delay < 0 or (self.kind in _TIMED and self.delay == 0):
            yield f"delay must be a number of seconds, and {', '.join(sorted(_TIMED))} need one"
        if (self.status, self.retry_after) != (None, None) and self.kind not in _WITH_STATUS:
            yield f"status and retry_after go with {', '.join(sorted(_WITH_STATUS))} only"
        if self.status is not None and not (type(self.status) is int and 200 <= self.status <= 599):
            yield "status must be from 200 to 599"
        if not (self.retry_after is None or type(self.retry_after) is int or _is_line(self.retry_after)):
            yield "retry_after must be a whole number or words"
        if self.body is not None and not (self.kind in _WITH_BODY and isinstance(self.body, str)):
            yield f"body must be a string, and goes with {', '.join(sorted(_WITH_BODY))} only"

    def applies_to(self, *, sending: bool, recipient: str | None) -> bool:
        if self.number is not None:
            return sending and recipient == normalize(self.number)
        return self.on == "any" or sending == (self.on == "send")


@dataclass(slots=True)
class ArmedFault:
    """A fault, how many requests it has applied to (``seen``) and how many it happened to (``fired``)."""

    fault: Fault
    seen: int = 0
    fired: int = 0

    def as_json(self) -> dict[str, Any]:
        given = {name: value for name, value in asdict(self.fault).items() if value is not None}
        return {**given, "seen": self.seen, "fired": self.fired}

    def is_due(self, random: Random) -> bool:
        fault = self.fault
        limit = 1 if fault.times is None and fault.position is not None else fault.times
        if self.seen < (fault.position or 1) or (limit is not None and self.fired >= limit):
            return False
        return fault.share is None or random.random() < fault.share


def load_faults(text: str) -> list[Fault]:
    """The faults of a JSON file: a list of objects, or one object. Raises UsageError."""
    try:
        return read_faults(json.loads(text))
    except (ValueError, RecursionError) as exc:
        raise UsageError("The faults are not JSON. Write a list of objects with a kind each.") from exc


def read_faults(value: object) -> list[Fault]:
    """The faults of a JSON value: a list of objects, or one object. Raises UsageError."""
    return [_read_fault(item) for item in (value if isinstance(value, list) else [value])]


def _read_fault(value: object) -> Fault:
    if not isinstance(value, dict) or "kind" not in value:
        raise UsageError("A fault must be a JSON object with a kind.")
    names = [each.name for each in fields(Fault)]
    for name in sorted(set(value) - set(names)):
        raise UsageError(f"A fault has no field {name}. Its fields are {', '.join(names)}.")
    return Fault(**value)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_line(value: object) -> bool:
    return isinstance(value, str) and value.isascii() and value.isprintable()
