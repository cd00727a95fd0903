"""Which account, company and tracking number a message leaves from."""

from collections.abc import Iterator
from dataclasses import dataclass

from callrail_relay.domain.sheets import whole_number


@dataclass(frozen=True, slots=True)
class Route:
    """Where a message leaves from: CallRail's account and company ids, and an E.164 number."""

    account_id: str
    company_id: str
    tracking_number: str


@dataclass(frozen=True, slots=True)
class RouteRule:
    """
    A route for one team, one sender, or one sender of one team.

    Ids are compared as text, so that 0042 is not 42; the 42.0 that a spreadsheet or a float writes is 42.
    """

    route: Route
    team_id: str | None = None
    sender_id: str | None = None

    def matches(self, *, team_id: str | None, sender_id: str | None) -> bool:
        return _fits(self.team_id, team_id) and _fits(self.sender_id, sender_id)


def _fits(wanted: str | None, given: str | None) -> bool:
    if wanted is None:
        return True
    return given is not None and whole_number(wanted.strip()) == whole_number(given.strip())


@dataclass(frozen=True, slots=True)
class Routes:
    """All routes in the order of the settings, and the one for whatever none of them matches."""

    rules: tuple[RouteRule, ...] = ()
    default: Route | None = None

    def choose(self, *, team_id: str | None, sender_id: str | None) -> Route | None:
        """The first route that matches, else the default, else None."""
        for rule in self.rules:
            if rule.matches(team_id=team_id, sender_id=sender_id):
                return rule.route
        return self.default

    def __iter__(self) -> Iterator[Route]:
        """Every route once."""
        routes = [rule.route for rule in self.rules]
        if self.default is not None:
            routes.append(self.default)
        return iter(dict.fromkeys(routes))
