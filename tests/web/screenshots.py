"""
Pictures of all pages, with made-up people: ``python -m tests.web.screenshots DIR``.
"""

import os
import sys
import tempfile
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from playwright.sync_api import Browser, StorageState

from callrail_relay.bootstrap.installation import Installation
from tests.support.clock import ManualClock
from tests.web.browser import launched, sign_in
from tests.web.made_up import Office, a_day, person
from tests.web.running import Running, running

NOW = datetime(2026, 11, 23, 20, 26, tzinfo=UTC)
"""A Monday, 2:26 pm in Chicago."""

SIZES = {"phone": {"width": 375, "height": 812}, "desk": {"width": 1280, "height": 860}}


def main(folder: Path) -> None:
    """
    Write one picture for each page, size and colour scheme into *folder*.
    """
    os.environ["TZ"] = "America/Chicago"
    time.tzset()
    folder.mkdir(parents=True, exist_ok=True)
    clock = ManualClock(NOW)

    def prepare(installation: Installation) -> None:
        office = Office(installation)
        office.fill(NOW, 1900, days=31)
        a_day(office, NOW)
        office.write()

    with (
        tempfile.TemporaryDirectory() as store,
        running(
            Path(store),
            clock=clock,
            deliver=False,
            prepare=prepare,
            server={"public_url": "https://texts.example.com"},
        ) as relay,
        launched() as browser,
    ):
        context = browser.new_context()
        sign_in(context.new_page(), relay.login_url)
        state = context.storage_state()
        relay.call(relay.relay.operations.suppress, person(71).phone, None, "Replied STOP")
        for scheme in ("light", "dark"):
            for size in SIZES:
                _shoot(browser, relay, state, folder, scheme, size)


def _shoot(
    browser: Browser, relay: Running, state: StorageState, folder: Path, scheme: str, size: str
) -> None:
    context = browser.new_context(
        storage_state=state,
        viewport=SIZES[size],  # type: ignore[arg-type]  # Playwright wants its own dict
        color_scheme=scheme,  # type: ignore[arg-type]  # one of two words
        reduced_motion="reduce",
    )
    page = context.new_page()
    for name, path in pages(relay).items():
        page.set_viewport_size(SIZES[size])  # type: ignore[arg-type]  # as above
        page.goto(f"{relay.url}{path}")
        page.wait_for_timeout(150)
        # What is out of sight is not drawn: bring all of it into sight, a window as high as the page.
        height = page.evaluate("document.documentElement.scrollHeight")
        page.set_viewport_size({"width": SIZES[size]["width"], "height": height})
        page.wait_for_timeout(50)
        page.screenshot(path=folder / f"{name}-{size}-{scheme}.png", full_page=True)
    context.close()


def pages(relay: Running) -> Mapping[str, str]:
    """
    The name and the address of each page.
    """
    unknown, held = relay.ids("unknown")[0], relay.ids("held")[0]
    dana = person(22).phone
    number = relay.simulator.tracking_number
    sent = relay.ids("sent")[0]
    return {
        "now": "/",
        "texts": "/texts",
        "texts-held": "/texts?status=held",
        "texts-none": "/texts?search=nothing+like+this",
        "held": f"/texts/{held}",
        "unknown": f"/texts/{unknown}",
        "question": f"/texts/{unknown}/resend",
        "sent": f"/texts/{sent}",
        "request": f"/texts/{sent}/request",
        "conversation": f"/people/{dana}/{number}",
        "setup": "/setup",
        "missing": "/texts/no-such-text",
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]))
