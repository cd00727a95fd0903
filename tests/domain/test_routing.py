"""Routes: the first rule that matches, else the default."""

import pytest

from callrail_relay.domain.routing import Route, RouteRule, Routes

MAIN = Route("ACC1", "COM1", "+12025550133")
TEAM = Route("ACC1", "COM1", "+12025550144")
SENDER = Route("ACC1", "COM2", "+12025550155")
BOTH = Route("ACC2", "COM3", "+12025550166")

RULES = (
    RouteRule(BOTH, team_id="42", sender_id="789"),
    RouteRule(TEAM, team_id="42"),
    RouteRule(SENDER, sender_id="789"),
)


@pytest.mark.parametrize(
    ("team_id", "sender_id", "route"),
    [
        ("42", "789", BOTH),
        ("42", "1", TEAM),
        ("42", None, TEAM),
        ("1", "789", SENDER),
        (None, "789", SENDER),
        ("1", "1", MAIN),
        (None, None, MAIN),
        ("0042", None, MAIN),
        ("42.0", "789.0", BOTH),
        ("#42", "+789", BOTH),
        ("4\u00b2", "789", SENDER),
    ],
)
def test_first_match_wins(team_id: str | None, sender_id: str | None, route: Route) -> None:
    """A rule asks for what it names and for nothing else."""
    assert route == Routes(RULES, default=MAIN).choose(team_id=team_id, sender_id=sender_id)


def test_order_of_the_settings_decides() -> None:
    """A wide rule in front hides a narrow one behind it."""
    routes = Routes(tuple(reversed(RULES)), default=MAIN)

    assert SENDER == routes.choose(team_id="42", sender_id="789")


def test_rule_that_names_nothing_matches_everything() -> None:
    """It is a default with a place in the order."""
    assert TEAM == Routes((RouteRule(TEAM),), default=MAIN).choose(team_id=None, sender_id=None)


def test_nothing_that_matches_is_none() -> None:
    """The text is held, not sent from some number."""
    assert Routes(RULES).choose(team_id="1", sender_id="1") is None


def test_every_route_is_told_once() -> None:
    """In the order of the settings, the default last."""
    assert [BOTH, TEAM, SENDER, MAIN] == list(Routes((*RULES, RouteRule(TEAM, team_id="7")), default=MAIN))
    assert [BOTH, TEAM, SENDER] == list(Routes(RULES))


def test_a_rule_may_have_the_id_as_a_float_wrote_it() -> None:
    """It was copied from a sheet, or from a request before ids were read as whole numbers."""
    assert RouteRule(TEAM, team_id="42.0").matches(team_id="42", sender_id=None)
