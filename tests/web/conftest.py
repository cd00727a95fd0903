"""What the tests of the web share: a clock, and one browser for all of them."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from tests.support.clock import ManualClock
from tests.web.browser import launched


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium, started once for a file of tests: while it runs, no other loop can run in this thread."""
    with launched() as browser:
        yield browser
