"""A real browser: Chromium, driven by Playwright."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.support.parts import need

expect.set_options(timeout=30_000)  # milliseconds: a busy machine needs more than the usual 5 seconds

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--no-default-browser-check",
    "--js-flags=--no-opt",  # a page doesn't live long enough to gain what optimizing its scripts costs
]


@contextmanager
def launched() -> Iterator[Browser]:
    """Chromium, until the end of the block."""
    program = need("Chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(program), args=ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()


def sign_in(page: Page, login_url: str) -> None:
    """Open the dashboard by its link, as a person does."""
    page.goto(login_url)
    page.get_by_role("button", name="Open the dashboard").click()
    page.wait_for_url("**/")


def new_page(browser: Browser, **options: Any) -> Page:  # noqa: ANN401 - Playwright's own
    return browser.new_context(**options).new_page()
