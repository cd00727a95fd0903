"""Who may use the dashboard: names and passwords, and how long wrong passwords have to wait."""

import unicodedata
from collections.abc import Mapping
from datetime import datetime
from math import ceil
from typing import NamedTuple

from callrail_relay.errors import NotAllowed, UsageError

LONGEST_NAME = 60
SHORTEST_PASSWORD, LONGEST_PASSWORD = 10, 1000
FIRST_WAIT, LONGEST_WAIT = 30, 900  # seconds
MOST_REMEMBERED = 1000


class Person(NamedTuple):
    """A person who may sign in. *password* is a hash; their sessions carry *stamp* until they all end."""

    name: str
    password: str
    stamp: str
    created_at: datetime


def read_name(typed: str) -> str:
    """Return a name as it's shown. Raises UsageError."""
    name = _tidy(typed)
    if not (any(map(str.isalnum, name)) and 0 < len(name_key(name)) <= LONGEST_NAME):
        raise UsageError(f"Use a name of 1 to {LONGEST_NAME} letters or digits.")
    return name


def name_key(typed: str) -> str:
    """Return what all spellings of one name share; empty for what can't be a name."""
    return unicodedata.normalize("NFKC", _tidy(typed).casefold())


def _tidy(typed: str) -> str:
    if len(typed) > 2 * LONGEST_NAME:  # takes long to normalize
        return ""
    name = " ".join(unicodedata.normalize("NFKC", typed).split())
    return name if name.isprintable() else ""


def read_password(typed: str) -> str:
    """Raise UsageError for what can't become a password."""
    if not SHORTEST_PASSWORD <= len(typed) <= LONGEST_PASSWORD:
        raise UsageError(f"Use a password of {SHORTEST_PASSWORD} to {LONGEST_PASSWORD:,} characters.")
    return typed


class TooManyTries(NotAllowed):
    """Raised instead of checking a password, for *wait* seconds."""

    def __init__(self, wait: float) -> None:
        self.wait = ceil(wait)
        when = f"{ceil(wait)} seconds" if wait <= 120 else f"{ceil(wait / 60)} minutes"
        super().__init__(f"Too many wrong passwords. Try again in {when}.")


class Tries:
    """Wrong passwords per name and address. The one that may go on soonest is forgotten first."""

    def __init__(self) -> None:
        self._wrong: dict[str, tuple[float, int]] = {}  # when it may go on, and how many there were

    def begin(self, limits: Mapping[str, int], now: float) -> None:
        """Count a try as wrong until it turns out to be right. Raises TooManyTries beyond *limits*."""
        # Typing mistakes of months must not add up, because a whole office may share an address.
        for key in [key for key in limits if self._wrong.get(key, (now, 0))[0] + LONGEST_WAIT <= now]:
            del self._wrong[key]
        known = {key: self._wrong.get(key, (now, 0)) for key in limits}
        if (until := max(known.values())[0]) > now:
            raise TooManyTries(until - now)
        for key, (_, before) in known.items():
            beyond = before + 1 - limits[key]
            wait = min(FIRST_WAIT * 2 ** min(beyond, 10), LONGEST_WAIT) if beyond >= 0 else 0
            self._wrong[key] = (now + wait, before + 1)
        while len(self._wrong) > MOST_REMEMBERED:
            del self._wrong[min(self._wrong, key=self._wrong.__getitem__)]

    def forgive(self, limits: Mapping[str, int], now: float) -> None:
        """
        Take back a try that was right. The first of *limits*, the name, starts over.

        Earlier wrong ones still count for the address: signing in must not let one guess for others.
        """
        name, *others = limits
        self._wrong.pop(name, None)
        for key in others:
            _, count = self._wrong.pop(key, (now, 0))
            if count > 1:
                self._wrong[key] = (now, count - 1)
