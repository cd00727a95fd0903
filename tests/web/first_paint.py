"""
How soon each page is there with many texts in the store: ``python -m tests.web.first_paint [TEXTS]``.

Prints, as medians in milliseconds, how long the relay takes to answer and when Chromium paints the first
words (first contentful paint, counted from the click); and beside it a nearly empty page at the same time,
since a busy machine delays both.
"""

import statistics
import sys
import tempfile
import time
from pathlib import Path

import httpx2
from playwright.sync_api import Page

from callrail_relay.bootstrap.context import AppContext
from callrail_relay.clock import SystemClock
from tests.web.browser import launched, new_page, sign_in
from tests.web.made_up import Office, a_day
from tests.web.running import Running, running
from tests.web.screenshots import pages

TEXTS = 100_000
TURNS = 7
BARE = "/login"
PAINT = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime"


def main(count: int) -> None:
    def prepare(context: AppContext) -> None:
        now = SystemClock().now()
        office = Office(context)
        # As many as an account may send: 1,000 a day.
        office.fill(now, count, days=count / 1000)
        a_day(office, now)
        office.write()

    with (
        tempfile.TemporaryDirectory() as store,
        running(Path(store), deliver=False, prepare=prepare) as relay,
        launched() as browser,
    ):
        page = new_page(browser)
        sign_in(page, relay.login_url)
        cookies = {one["name"]: one["value"] for one in page.context.cookies()}
        print(  # noqa: T201 - its result
            f"{count:,} texts; medians of {TURNS}: answer, first paint, that of {BARE} then; and the quickest"
        )
        with httpx2.Client(base_url=relay.url, cookies=cookies, trust_env=False, timeout=60) as client:
            for name, path in addresses(relay).items():
                answer = statistics.median(_answer(client, path) for _ in range(TURNS))
                both = [[_paint(page, relay.url + one) for one in (path, BARE)] for _ in range(TURNS)]
                paints, bare = zip(*both, strict=True)
                times = (answer, statistics.median(paints), statistics.median(bare), min(paints))
                print(f"{name:14}", *(f"{time:6.0f} ms" for time in times))  # noqa: T201 - its result


def addresses(relay: Running) -> dict[str, str]:
    """All pages, and the filters of the list that are the hardest for the store."""
    return {
        **pages(relay),
        "search-common": "/texts?search=offer",
        "search-rare": "/texts?search=zzzzzz",
        "search-name": "/texts?person=castillo&status=failed",
        "by-sender": "/texts?sender=72&status=cancelled",
        "by-opportunity": "/texts?opportunity=100777&status=sent",
        "by-day": f"/texts?from={SystemClock().now().astimezone():%Y-%m-%d}&status=sent",
        "far-back": "/texts?before=500",
    }


def _answer(client: httpx2.Client, path: str) -> float:
    began = time.perf_counter()
    client.get(path)
    return (time.perf_counter() - began) * 1000


def _paint(page: Page, address: str) -> float:
    page.goto(address)
    painted: float | None = page.evaluate(PAINT)
    while painted is None:
        page.wait_for_timeout(10)
        painted = page.evaluate(PAINT)
    return painted


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else TEXTS)
