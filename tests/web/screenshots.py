"""
Pictures of all pages, with made-up people: ``python -m tests.web.screenshots DIR``.

Without DIR it makes those of the documentation anew, in docs/images.
"""

import itertools
import os
import sys
import tempfile
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from playwright.sync_api import Browser, Page, StorageState

from callrail_relay.bootstrap.context import AppContext
from callrail_relay.callrail.simulator import Fault, Kind
from tests.support.clock import ManualClock
from tests.web.browser import launched, sign_in
from tests.web.made_up import Office, SentByZap, a_day, beside_a_zap, person
from tests.web.running import Running, running

NOW = datetime(2026, 11, 23, 20, 26, tzinfo=UTC)
"""A Monday, 2:26 pm in Chicago."""

IMAGES = Path(__file__).parents[2] / "docs" / "images"
PICTURED = {
    "now": ("now", "light", {"width": 1280, "height": 0}),
    "text": ("unknown", "dark", {"width": 1280, "height": 0}),
    "texts": ("texts", "light", {"width": 1280, "height": 1000}),
    "settings": ("setup-sending", "light", {"width": 1280, "height": 0}),
    "conversation": ("conversation", "light", {"width": 920, "height": 0}),
}
"""Of each picture in the documentation: the page, its colours, and how much of it; 0 is all of its height."""

SIZES = {"phone": {"width": 375, "height": 812}, "desk": {"width": 1280, "height": 860}}


def main(folder: Path | None) -> None:
    """
    Write one picture for each page, size and colour scheme into *folder*, or those of the documentation.
    """
    os.environ["TZ"] = "America/Chicago"
    time.tzset()
    clock = ManualClock(NOW)

    def prepare(context: AppContext) -> None:
        office = Office(context)
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
        # The address is made up: nothing answers there.
        answered = "https://texts.example.com leads to this relay: it answered just now."
        relay.relay.public_address.last = clock.monotonic(), answered
        context = browser.new_context()
        sign_in(context.new_page(), relay.login_url)
        state = context.storage_state()
        relay.call(relay.relay.operations.opt_out, person(71).phone, None, "Replied STOP")
        if folder is None:
            _picture(browser, relay, state)
        else:
            folder.mkdir(parents=True, exist_ok=True)
            for scheme, size in itertools.product(("light", "dark"), SIZES):
                _shoot(browser, relay, state, folder, scheme, size)
            _shoot_sign_in(browser, relay, folder)
    _shoot_shadow(folder)
    if folder is None:
        return
    with (
        tempfile.TemporaryDirectory() as store,
        running(Path(store), deliver=False) as new,
        launched() as browser,
    ):
        context = browser.new_context()
        sign_in(context.new_page(), new.login_url)
        for size, scheme in (("desk", "light"), ("phone", "dark")):
            page = context.new_page()
            page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]  # one of two words
            _open(page, new.url, SIZES[size])
            page.screenshot(path=folder / f"first-run-{size}-{scheme}.png", full_page=True)


def _picture(browser: Browser, relay: Running, state: StorageState) -> None:
    """The pictures of the documentation, at three quarters of their size."""
    for name, (page_name, scheme, part) in PICTURED.items():
        context = browser.new_context(
            storage_state=state,
            viewport=SIZES["desk"],  # type: ignore[arg-type]  # Playwright wants its own dict
            color_scheme=scheme,  # type: ignore[arg-type]  # one of two words
            device_scale_factor=0.75,
        )
        page = context.new_page()
        _open(page, relay.url + pages(relay)[page_name], SIZES["desk"])
        height = part["height"] or page.evaluate("document.documentElement.scrollHeight")
        clip = {"x": 0, "y": 0, "width": part["width"], "height": height}
        page.screenshot(path=IMAGES / f"dashboard-{name}.png", clip=clip)  # type: ignore[arg-type]  # as above
        context.close()


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
        _open(page, f"{relay.url}{path}", SIZES[size])
        page.screenshot(path=folder / f"{name}-{size}-{scheme}.png", full_page=True)
    page.goto(f"{relay.url}/review")
    page.get_by_role("button", name="Send all").click()
    page.screenshot(path=folder / f"bulk-{size}-{scheme}.png", full_page=True)
    page.goto(f"{relay.url}/review")
    page.locator("summary", has_text="similar").click()
    page.get_by_label("Select all messages").check()
    page.screenshot(path=folder / f"review-chosen-{size}-{scheme}.png", full_page=True)
    context.close()


def _shoot_shadow(folder: Path | None) -> None:
    """The page of shadow mode: before a comparison, with one, and after one that failed."""
    sent: list[SentByZap] = []

    def prepare(context: AppContext) -> None:
        office = Office(context)
        sent.extend(beside_a_zap(office, NOW))
        office.write()

    clock = ManualClock(NOW)
    with (
        tempfile.TemporaryDirectory() as store,
        running(Path(store), clock=clock, deliver=False, prepare=prepare) as relay,
        launched() as browser,
    ):
        relay.send_by_zap(sent)
        context = browser.new_context(device_scale_factor=1 if folder else 0.75)
        sign_in(context.new_page(), relay.login_url)
        page = context.new_page()

        def shoot(name: str, path: str = "/shadow") -> None:
            if folder is None:
                _open(page, f"{relay.url}{path}", SIZES["desk"])
                page.screenshot(path=IMAGES / f"dashboard-{name}.png", full_page=True)
                return
            for scheme in ("light", "dark"):
                page.emulate_media(color_scheme=scheme)
                for size, window in SIZES.items():
                    _open(page, f"{relay.url}{path}", window)
                    page.screenshot(path=folder / f"{name}-{size}-{scheme}.png", full_page=True)

        if folder is not None:
            shoot("shadow-home", "/")
            shoot("shadow-new")
        page.goto(f"{relay.url}/shadow")
        page.get_by_role("button", name="Compare now").click()
        page.get_by_text("Compared.").wait_for()
        shoot("shadow")
        if folder is None:
            return
        shoot("shadow-all", "/shadow?finding=all&page=2")
        relay.fault(Fault(Kind.STATUS, on="read", status=503))
        page.get_by_role("button", name="Compare now").click()
        page.get_by_text("Not everything could be compared").wait_for()
        shoot("shadow-down")


def _shoot_sign_in(browser: Browser, relay: Running, folder: Path) -> None:
    """What a person sees before they are signed in: the first link, then a password, and a wrong one."""
    link, looks = relay.new_link(), [(scheme, size) for scheme in ("light", "dark") for size in SIZES]

    def shoot(name: str, address: str, scheme: str, size: str) -> Page:
        page = browser.new_page(viewport=SIZES[size], color_scheme=scheme)  # type: ignore[arg-type]  # as above
        _open(page, address, SIZES[size])
        page.screenshot(path=folder / f"{name}-{size}-{scheme}.png", full_page=True)
        return page

    for scheme, size in looks:
        shoot("sign-in-first", link, scheme, size).close()
    relay.call(relay.relay.people.add, "Sam", "correct horse battery")
    for scheme, size in looks:
        page = shoot("sign-in", f"{relay.url}/login", scheme, size)
        page.get_by_label("Name").fill("Sam")
        page.get_by_label("Password").fill("not the password")
        page.get_by_role("button", name="Sign in").click()
        page.screenshot(path=folder / f"sign-in-wrong-{size}-{scheme}.png", full_page=True)
        page.close()


def _open(page: Page, address: str, size: Mapping[str, int]) -> None:
    """Show a page in a window that is as high as the page: what is out of sight is not drawn."""
    page.set_viewport_size(size)  # type: ignore[arg-type]  # Playwright wants its own dict
    page.goto(address)
    page.wait_for_timeout(150)
    height = page.evaluate("document.documentElement.scrollHeight")
    page.set_viewport_size({"width": size["width"], "height": height})
    page.wait_for_timeout(50)


def pages(relay: Running) -> Mapping[str, str]:
    """The name and the address of each page."""
    unknown, held = relay.ids("unknown")[0], relay.ids("held")[0]
    dana = person(22).phone
    number = relay.simulator.tracking_number
    sent = relay.ids("sent")[0]
    return {
        "now": "/",
        "now-week": "/?range=7d",
        "review": "/review",
        "texts": "/texts",
        "texts-held": "/texts?status=held",
        "texts-none": "/texts?search=nothing+like+this",
        "held": f"/texts/{held}",
        "unknown": f"/texts/{unknown}",
        "question": f"/texts/{unknown}/resend",
        "edit": f"/texts/{held}/edit",
        "sent": f"/texts/{sent}",
        "request": f"/texts/{sent}/request",
        "conversation": f"/people/{dana}/{number}",
        "setup": "/setup",
        "setup-sending": "/setup/sending",
        "setup-webhook": "/setup/webhook",
        "setup-numbers": "/setup/numbers",
        "setup-opt-outs": "/setup/opt-outs",
        "setup-alerts": "/setup/alerts",
        "setup-security": "/setup/security",
        "missing": "/texts/no-such-text",
        "nowhere": "/no-such-page",
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
