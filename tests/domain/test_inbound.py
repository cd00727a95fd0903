"""Which way a text went."""

import pytest

from callrail_relay.domain.inbound import CallRailText, Direction, ShownNumber

OURS, PERSON = "+12025550133", "+12025550122"


def make_text(source: ShownNumber, destination: ShownNumber, said: Direction | None = None) -> CallRailText:
    return CallRailText(key="SCI1", content="Hi", source=source, destination=destination, direction=said)


@pytest.mark.parametrize(
    ("source", "destination", "said", "hint", "going"),
    [
        (ShownNumber(PERSON), ShownNumber(OURS), None, None, Direction.IN),
        (ShownNumber(OURS), ShownNumber(PERSON), None, None, Direction.OUT),
        (ShownNumber(ending="0133"), ShownNumber(ending="0122"), None, Direction.IN, Direction.OUT),
        (ShownNumber(PERSON), ShownNumber(OURS), Direction.OUT, Direction.IN, Direction.OUT),
        (ShownNumber(), ShownNumber(), None, Direction.OUT, Direction.OUT),
        (ShownNumber(), ShownNumber(), None, None, Direction.IN),
        (ShownNumber(ending="33"), ShownNumber(ending="33"), None, Direction.OUT, Direction.OUT),
    ],
)
def test_which_way_a_text_went_is_told_by_its_numbers(
    source: ShownNumber,
    destination: ShownNumber,
    said: Direction | None,
    hint: Direction | None,
    going: Direction,
) -> None:
    """What CallRail says comes first, the address it was posted to last; in doubt it is from a person."""
    assert going is make_text(source, destination, said).going(hint, [OURS])


def test_a_number_of_which_nothing_is_shown_neither_fits_nor_excludes() -> None:
    """It tells nothing, while the last digits tell something."""
    assert not ShownNumber().fits(PERSON)
    assert not ShownNumber().excludes(PERSON)
    assert ShownNumber(ending="0122").fits(PERSON)
    assert ShownNumber(ending="0122").excludes(OURS)
    assert ShownNumber(PERSON).excludes(OURS)
