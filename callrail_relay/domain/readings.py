"""What the outbox says about itself at one moment: the numbers that every node agrees on."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from callrail_relay.domain.message import Status
from callrail_relay.domain.standing import Standing

UNDONE = (Status.HELD, Status.QUEUED, Status.SENDING, Status.UNKNOWN)
"""What somebody or something still has to work on. Texts of the others only ever get more."""

RECENT = timedelta(days=1)
"""How far back texts are counted whatever became of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """
    How many texts there are, found by indexes and within RECENT: it costs the same in ten years.

    ``undone``    how many texts have each status of UNDONE
    ``oldest``    when the oldest of them came in, where there is one
    ``recent``    what became of the texts that came in within RECENT
    ``releasing`` held texts that leave by themselves
    ``look_ups``  attempts whose outcome is still to be looked up
    """

    undone: Mapping[Status, int]
    oldest: Mapping[Status, datetime]
    recent: Mapping[Status, int]
    releasing: int
    look_ups: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Readings:
    """The counts, how each account stands, and how many people opted out, as of ``read_at``."""

    read_at: datetime
    counts: Counts
    standings: tuple[Standing, ...]
    opt_outs: int
