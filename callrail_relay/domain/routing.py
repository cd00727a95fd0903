"""Which account, company and tracking number a message is sent from, and which numbers can text."""

import ipaddress
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from callrail_relay.domain.printable import plain_digits, whole_number


@dataclass(frozen=True, slots=True)
class Route:
    """Where a text is sent from: CallRail's ids (``ACC…`` or nine digits, ``COM…``) and an E.164 number."""

    account_id: str
    company_id: str
    tracking_number: str


def plain_id(written: str) -> str | None:
    """Return *written* as ids are compared, a whole number in plain digits; None if it was rounded."""
    return whole_number(re.sub("^[#+']+(?=[0-9])", "", plain_digits(written).strip()))


@dataclass(frozen=True, slots=True)
class RouteRule:
    """The *route* of a team, a sender, or a sender in a team; without ids it always matches."""

    route: Route
    team_id: str | int | None = None
    sender_id: str | int | None = None

    def matches(self, *, team_id: str | None, sender_id: str | None) -> bool:
        # Ids are compared as text: 0042 isn't 42, but a person's #42 and a spreadsheet's 42.0 are.
        return all(
            wanted is None or (given is not None and plain_id(str(wanted)) == plain_id(given))
            for wanted, given in ((self.team_id, team_id), (self.sender_id, sender_id))
        )


@dataclass(frozen=True)
class Routes:
    """Rules, of which the first match counts, and the *default* if none matches; None holds the text."""

    rules: Sequence[RouteRule] = ()
    default: Route | None = None

    def choose(self, *, team_id: str | None, sender_id: str | None) -> Route | None:
        matching = (rule.route for rule in self.rules if rule.matches(team_id=team_id, sender_id=sender_id))
        return next(matching, self.default)

    @cached_property
    def account_ids(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(route.account_id for route in self))

    @cached_property
    def tracking_numbers(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(route.tracking_number for route in self))

    def __iter__(self) -> Iterator[Route]:
        default = () if self.default is None else (self.default,)
        return iter(dict.fromkeys([*(rule.route for rule in self.rules), *default]))


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def local_url(host: str, port: int) -> str:
    """Return where this computer reaches what listens on *host*."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared only
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


@dataclass(frozen=True, slots=True)
class NamedEntry:
    """An account, or a company."""

    id: str
    name: str
    numeric_id: str | None = None  # of an account, the nine-digit number that CallRail's pages show


@dataclass(frozen=True, slots=True)
class NumberEntry:
    number: str
    name: str
    company_id: str
    pooled: bool  # from a session pool, which may recycle it


class Discovery(Protocol):
    """Asks CallRail for these. Every method raises RefusedByCallRail and Unavailable."""

    async def accounts(self) -> list[NamedEntry]: ...

    async def companies(self, account_id: str) -> list[NamedEntry]: ...

    async def numbers(self, account_id: str, company_id: str | None = None) -> list[NumberEntry]: ...
