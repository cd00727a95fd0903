"""Every page and every action in a real browser, against a running relay and the sandbox."""

import re
import socket
import statistics
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest
from playwright.sync_api import Browser, Page, Route, StorageState, ViewportSize, expect

from callrail_relay.bootstrap.context import AppContext
from callrail_relay.callrail.simulator import Fault, Kind
from callrail_relay.clock import SystemClock
from callrail_relay.domain.message import Status, Verb
from callrail_relay.outbox import decisions
from tests.web.browser import new_page, sign_in
from tests.web.made_up import Office, SentByZap, a_day, beside_a_zap, person
from tests.web.running import Running, running
from tests.web.screenshots import pages

T = TypeVar("T")
OpenPage = Callable[..., Page]
"""Opens a path of the dashboard; takes what Playwright takes for a new browser."""

AXE = Path(__file__).parent / "vendor" / "axe.min.js"
WIDTHS = (375, 640, 1280)
"""Pixels of a phone, of a narrow window, and of a desk."""
COLORS_SEEN_AT = {min(WIDTHS), max(WIDTHS)}
PHONE: ViewportSize = {"width": min(WIDTHS), "height": 800}
HELD = "Hi {{name}}, number"
SENDING = 30_000
"""Milliseconds that sending a text may take with the time for undo, on a machine that is busy."""


def prepare(context: AppContext) -> None:
    now = SystemClock().now()
    office = Office(context)
    office.fill(now, 300, days=20)
    a_day(office, now)
    for number in (81, 82, 83):
        office.text(now - timedelta(minutes=number), "unknown", who=person(number))
    office.write()


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A relay with a history, which delivers to the sandbox."""
    folder = tmp_path_factory.mktemp("relay")
    with running(folder, prepare=prepare, limits={"recipient_interval": 0}) as relay:
        yield relay


@pytest.fixture(scope="module")
def signed_in(browser: Browser, relay: Running) -> StorageState:
    """What a browser keeps that has used the link."""
    page = new_page(browser)
    sign_in(page, relay.login_url)
    expect(page.get_by_role("heading", level=1)).to_contain_text("review")
    state = page.context.storage_state()
    page.context.close()
    return state


class Complaints(list[str]):
    """What a page complains of on the console; a refused script or style is among it."""

    def watch(self, page: Page) -> None:
        page.on("console", lambda message: self._note(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: self.append(str(error)))

    def _note(self, words: str) -> None:
        # That a page is not found, or that a form has a mistake, is not the page's fault.
        if not any(status in words for status in ("404 (Not Found)", "422 (Unprocessable")):
            self.append(words)


@pytest.fixture
def complaints() -> Iterator[Complaints]:
    complaints = Complaints()
    yield complaints
    assert [] == complaints


@pytest.fixture
def open_page(
    browser: Browser, relay: Running, signed_in: StorageState, complaints: Complaints
) -> Iterator[OpenPage]:
    """Opens a page of the dashboard, as often as a test wants another browser."""
    opened: list[Page] = []

    def open_page(path: str = "/", **options: Any) -> Page:  # noqa: ANN401 - Playwright's own
        page = new_page(browser, storage_state=signed_in, **options)
        complaints.watch(page)
        opened.append(page)
        page.goto(f"{relay.url}{path}")
        return page

    yield open_page
    for page in opened:
        page.context.close()


# --- everybody can use it --------------------------------------------------------------------------------


@pytest.mark.timeout(600)
def test_everybody_can_use_every_page(open_page: OpenPage, relay: Running) -> None:
    """axe finds nothing to complain of, and nothing sticks out at the side."""
    page = open_page("/", viewport=PHONE, reduced_motion="reduce")
    page.context.add_init_script(path=AXE)
    found = {}
    for name, path in pages(relay).items():
        page.goto(f"{relay.url}{path}")
        found[name] = violations(page)
    # With everything open that can be opened.
    for name, path in {
        "opened": "/",
        "opened-review": "/review",
        "opened-texts": "/texts",
        "opened-setup": "/setup",
        "opened-security": "/setup/security",
    }.items():
        page.goto(f"{relay.url}{path}")
        for summary in page.locator("summary").all():
            summary.click()
        if name == "opened-review":
            page.set_viewport_size({"width": max(WIDTHS), "height": 800})
            heights = page.locator(".line").evaluate_all("all => all.map(one => one.offsetHeight)")
            assert max(heights) <= 57, heights  # with the line above it
            page.set_viewport_size(PHONE)
        found[name] = violations(page)
    page.goto(f"{relay.url}/texts/{relay.ids('unknown')[0]}")
    page.get_by_role("link", name="Send again").click()
    page.get_by_role("dialog").wait_for()
    found["dialog"] = violations(page)
    page.goto(f"{relay.url}/review")
    page.get_by_role("button", name="Send all").click()
    page.get_by_role("heading", name="Send 4 messages?").wait_for()
    found["bulk"] = violations(page)
    page.get_by_role("link", name="Back").click()
    page.get_by_role("button", name="Keyboard shortcuts").click()
    found["keys"] = violations(page)
    page.get_by_role("button", name="Close").click()
    page.locator(".line.held").get_by_role("button", name="Cancel").filter(visible=True).first.click()
    page.get_by_role("button", name="Undo").wait_for()
    found["undo"] = violations(page)
    page.get_by_role("button", name="Undo").click()
    page.get_by_text("Undone").wait_for()
    assert {} == {name: faults for name, faults in found.items() if faults}


@pytest.mark.timeout(600)
def test_everybody_can_use_the_page_of_shadow_mode(
    browser: Browser, tmp_path: Path, complaints: Complaints
) -> None:
    """Before a comparison, with each finding of one, and while CallRail is down; a click compares."""
    sent: list[SentByZap] = []

    def in_shadow(context: AppContext) -> None:
        office = Office(context)
        sent.extend(beside_a_zap(office, SystemClock().now()))
        office.write()

    with running(tmp_path, prepare=in_shadow, deliver=False) as relay:
        relay.send_by_zap(sent)
        page = new_page(browser, viewport=PHONE, reduced_motion="reduce")
        complaints.watch(page)
        page.context.add_init_script(path=AXE)
        sign_in(page, relay.login_url)
        found = {"home": violations(page)}
        # With its five pages and a count of thousands the menu fits as well, in one row.
        page.evaluate("document.querySelector('#count').innerHTML = '<span class=count>2,996</span>'")
        links = page.get_by_role("navigation", name="Pages").get_by_role("link")
        for width in reversed(WIDTHS):
            page.set_viewport_size({"width": width, "height": 800})
            boxes = links.evaluate_all("all => all.map(one => one.getBoundingClientRect().toJSON())")
            assert 5 == len(boxes)
            assert 1 == len({box["top"] for box in boxes}), boxes
            assert max(box["right"] for box in boxes) <= width
        page.get_by_role("link", name="Shadow", exact=True).click()
        expect(page.get_by_role("heading", level=1)).to_contain_text("nothing compared yet")
        live(page).evaluate("window.sameDocument = true")
        found["before"] = violations(page)
        page.get_by_role("button", name="Compare now").click()
        expect(page.get_by_role("heading", level=1)).to_contain_text("254 texts in 6 days. The Zap lost 4,")
        assert page.evaluate("window.sameDocument")
        found["compared"] = violations(page)
        page.get_by_role("link", name=re.compile("^Late 3")).click()
        expect(page.locator("table.texts tbody tr")).to_have_count(3)
        expect(page.get_by_text("Late by 4 minutes")).to_be_visible()
        page.get_by_role("link", name=re.compile("^All 254")).click()
        expect(page.get_by_text("page 1 of 6")).to_be_visible()
        live(page).get_by_role("link", name="Older").click()
        expect(page.get_by_text("page 2 of 6")).to_be_visible()
        found["all"] = violations(page)
        relay.fault(Fault(Kind.STATUS, on="read", status=503))
        page.get_by_role("button", name="Compare now").click()
        expect(page.get_by_text("couldn't be compared again")).to_be_visible()
        found["down"] = violations(page)
        page.context.close()
    assert {} == {name: faults for name, faults in found.items() if faults}


def violations(page: Page) -> list[str]:
    """
    What axe finds on a page at each width, and what sticks out at the side.

    A width changes no color. It hides some things, and all there is can be seen on a phone or on a desk: so
    the narrow window between them is not looked at for contrast.
    """
    page.wait_for_function("window.axe !== undefined")
    size = page.viewport_size
    assert size is not None
    found = []
    for width in WIDTHS:
        # What is out of sight is not drawn, and would not be looked at.
        page.set_viewport_size({"width": width, "height": size["height"]})
        height = page.evaluate("document.documentElement.scrollHeight")
        page.set_viewport_size({"width": width, "height": height})
        if width in COLORS_SEEN_AT:
            found += complaints_of_axe(page, width, "")
            # Only colors are others in the dark.
            page.emulate_media(color_scheme="dark")
            found += complaints_of_axe(page, width, "runOnly: ['color-contrast']")
            page.emulate_media(color_scheme="light")
        else:
            found += complaints_of_axe(page, width, "rules: {'color-contrast': {enabled: false}}")
        if page.evaluate("document.documentElement.scrollWidth") > width:
            found.append(f"{width}: sticks out at the side")
    page.set_viewport_size(size)
    return found


def complaints_of_axe(page: Page, width: int, options: str) -> list[str]:
    return [
        f"{width}: {one['id']}: {node['target']} {node['failureSummary']}"
        for one in page.evaluate(f"axe.run({{resultTypes: ['violations'], {options}}})")["violations"]
        for node in one["nodes"]
    ]


def test_everybody_can_use_the_pages_before_the_login(browser: Browser, relay: Running) -> None:
    """The page of a link, of a link that was used, and of a session that ended."""
    page = new_page(browser, reduced_motion="reduce")
    page.context.add_init_script(path=AXE)
    for address in (relay.url, relay.new_link(), f"{relay.url}/login?token=used"):
        page.goto(address)
        assert [] == violations(page)
    page.context.close()


def test_keyboard_reaches_everything(open_page: OpenPage) -> None:
    """The first key leads past the top, and the next ones to what can be done."""
    page = open_page("/")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()
    reached = set()
    for _ in range(12):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.textContent.trim()"))
    assert "Review" in reached
    assert any("Send anyway" in one or "Send again" in one for one in reached)


# --- actions ---------------------------------------------------------------------------------------------


def hold(relay: Running, seller: str, number: int) -> str:
    """Let IF3 post a text that is held, and return its id."""
    who = person(number)
    relay.post(message=f"{HELD} {number}", seller=seller, seller_phone=who.phone, opportunity_id=number)
    return relay.ids("held")[0]


def test_held_text_is_put_right_with_one_click(open_page: OpenPage, relay: Running) -> None:
    """It comes to the page by itself, is sent on a click, and the page says so; nothing is loaded anew."""
    page = open_page("/")
    page.evaluate("window.sameDocument = true")
    hold(relay, "Click Once", 401)
    card = page.get_by_role("listitem").filter(has_text="Click Once")
    expect(card).to_be_visible(timeout=SENDING)
    waiting = int(page.locator("#count .count").inner_text().split()[0])
    card.get_by_role("button", name="Send anyway").click()

    expect(card).to_have_count(0)
    expect(page.locator("#count .count")).to_have_text(re.compile(rf"^{waiting - 1}\b"))
    expect(page.get_by_text("Queued to send")).to_be_visible()
    expect(page.locator("#notice")).to_be_focused()
    assert page.evaluate("window.sameDocument")
    expect(page.get_by_role("button", name="Undo")).to_be_visible()
    until(lambda: [text.content for text in relay.simulator.texts], lambda texts: f"{HELD} 401" in texts)
    # Too late, so that it isn't offered any more.
    expect(page.get_by_role("button", name="Undo")).to_have_count(0)


def test_click_is_undone(open_page: OpenPage, relay: Running) -> None:
    """With one more, while the page counts down; nothing is loaded anew, and the text is where it was."""
    page = live(open_page("/review"))
    page.evaluate("window.sameDocument = true")
    id_ = hold(relay, "Take Back", 431)
    card = page.get_by_role("listitem").filter(has_text="Take Back")
    card.get_by_role("button", name="Send anyway").click()
    expect(page.get_by_role("button", name=re.compile(r"Undo \([1-7]\)"))).to_be_visible()
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_text("Undone: nothing was sent")).to_be_visible()
    expect(card).to_be_visible()
    assert page.evaluate("window.sameDocument")
    assert id_ in relay.ids("held")


def test_text_is_edited_and_sent(open_page: OpenPage, relay: Running) -> None:
    """From the list, on its own page, and back to the list."""
    hold(relay, "Wrong Number", 432)
    page = live(open_page("/review"))
    card = page.get_by_role("listitem").filter(has_text="Wrong Number")
    card.get_by_role("link", name="Edit").click()
    page.get_by_label("Message", exact=True).fill("Hi Pat, do you still want to sell?")
    expect(page.get_by_text("34 characters")).to_be_visible()
    page.get_by_role("button", name="Save and send").click()
    expect(page.get_by_text("queued to send. You have 8 seconds")).to_be_visible()
    expect(page).to_have_url(re.compile("/review"))
    until(
        lambda: [text.content for text in relay.simulator.texts],
        lambda all_: any("do you still want" in one for one in all_),
    )


def test_second_click_changes_nothing(browser: Browser, open_page: OpenPage, relay: Running) -> None:
    """It is no second form: the answer is that to the first. The link to sign in stands it as well."""
    page = new_page(browser)
    page.goto(relay.new_link())
    page.get_by_role("button", name="Open the dashboard").dblclick(delay=30)
    page.wait_for_url("**/")
    page.context.close()
    id_ = hold(relay, "Two Clicks", 433)
    page = open_page(f"/texts/{id_}/edit")
    page.get_by_label("Message", exact=True).fill("Hi Pat, once is enough.")
    page.get_by_role("button", name="Save and send").dblclick(delay=30)
    expect(page.locator("#notice")).to_contain_text("Saved, and queued to send.")
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_text("Undone: nothing was sent")).to_be_visible()


def test_form_can_be_posted_again_if_its_answer_is_not_awaited(open_page: OpenPage, relay: Running) -> None:
    """A person stops what takes too long, and the page with their words stays."""
    page = open_page(f"/texts/{hold(relay, 'No Answer', 434)}/edit")
    page.clock.install()
    save = page.get_by_role("button", name="Save and send")
    page.evaluate("addEventListener('submit', (event) => event.preventDefault())")  # it never gets anywhere
    save.click()
    page.clock.run_for(1)
    expect(save).to_be_disabled()
    page.clock.run_for(10_000)
    expect(save).to_be_enabled()


def test_tab_in_the_background_takes_no_connection(open_page: OpenPage) -> None:
    """A browser has six for one address: a seventh tab would stay empty."""
    page = open_page("/review")
    page.context.add_init_script("Object.defineProperty(document, 'hidden', {get: () => !window.seen})")
    with page.expect_event("requestfinished", lambda request: "/static/htmx" in request.url):
        page.reload()
    page.wait_for_timeout(300)
    assert page.evaluate("document.body.dataset.live === undefined")
    page.evaluate("window.seen = true; document.dispatchEvent(new Event('visibilitychange'))")
    live(page)


def test_many_are_chosen_and_decided(open_page: OpenPage, relay: Running) -> None:
    """By their boxes, which stay ticked when the page changes by itself; more than ten want their number."""
    page = live(open_page("/review"))
    for number in range(11):
        hold(relay, f"Chosen {number}", 440 + number)
    expect(page.get_by_role("link", name="Chosen 10", exact=True)).to_be_visible(timeout=SENDING)
    bar = page.get_by_role("form", name="Selected messages")
    expect(bar.get_by_role("button", name="Cancel")).to_be_hidden()
    for number in range(11):
        page.get_by_label(f"Select the message to Chosen {number}", exact=True).check()
    hold(relay, "Meanwhile", 460)
    expect(page.get_by_role("link", name="Meanwhile", exact=True)).to_be_visible(timeout=SENDING)
    expect(page.get_by_text("11 selected")).to_be_visible()
    bar.get_by_role("button", name="Cancel").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Cancel 11 messages?")
    page.get_by_label("Type 11 to confirm").fill("12")
    page.get_by_role("button", name="Cancel 11 messages").click()
    expect(page.get_by_role("alert")).to_contain_text("Type 11 to confirm")
    page.get_by_label("Type 11 to confirm").fill("11")
    page.get_by_role("button", name="Cancel 11 messages").click()
    expect(page.get_by_text("11 messages canceled")).to_be_visible()
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_text("Undone for 11 messages")).to_be_visible()
    expect(page.get_by_role("link", name="Chosen 10", exact=True)).to_be_visible()


def test_keys_lead_through_the_pages(open_page: OpenPage, relay: Running) -> None:
    """And can be turned off; none is taken from a field in which a person types."""
    page = live(open_page("/review"))
    here = page.locator("[data-row]:focus-within")
    page.keyboard.press("j")
    expect(here).to_have_count(1)
    while not here.get_by_role("checkbox").count():  # the newest may be a group, which has none
        page.keyboard.press("j")
    address = here.get_by_role("link").first.get_attribute("href") or ""
    page.keyboard.press("x")
    expect(here.get_by_role("checkbox")).to_be_checked()
    # A message that comes meanwhile doesn't lead back to the first.
    hold(relay, "While Walking", 461)
    expect(page.get_by_role("link", name="While Walking", exact=True)).to_be_visible(timeout=SENDING)
    chosen = here.get_by_role("checkbox", checked=True)
    page.keyboard.press("j")
    expect(chosen).to_have_count(0)
    page.keyboard.press("k")
    expect(chosen).to_have_count(1)
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(re.escape(address)))
    page.keyboard.press("/")
    expect(page.get_by_label("Search", exact=True)).to_be_focused()
    page.keyboard.type("gh?")
    expect(page.get_by_label("Search", exact=True)).to_have_value("gh?")
    page.locator("h1").click()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_contain_text("Next, previous message")
    page.get_by_label("Turn off shortcuts in this browser").check()
    page.get_by_role("button", name="Close").click()
    page.keyboard.press("g")
    page.keyboard.press("h")
    expect(page.get_by_label("Search", exact=True)).to_be_visible()


def test_bars_say_what_they_stand_for_and_open_it(open_page: OpenPage) -> None:
    """To the pointer and to the keyboard alike."""
    page = live(open_page("/?range=30d"))
    bar = page.get_by_role("link", name=re.compile(r"\d+ messages? \(\d+ sent")).last
    for show in (bar.hover, bar.focus):

        def tells(show: Callable[[], None] = show) -> bool:
            page.mouse.move(0, 0)
            page.get_by_role("link", name="30 days").focus()
            show()
            return bar.get_attribute("aria-label") == page.locator(".tip").text_content()

        until(tells, bool)  # the chart is drawn anew when something changes
    bar.press("Enter")
    expect(page).to_have_url(re.compile("/texts.from="))
    expect(page.locator("table.texts tbody tr").first).to_be_visible()


def until(read: Callable[[], T], done: Callable[[T], object]) -> T:
    """What *read* answers, as soon as *done* is content with it."""
    for _ in range(600):
        if done(found := read()):
            return found
        time.sleep(0.05)  # the relay works in its own thread
    raise AssertionError(read())


def test_action_is_seen_in_another_browser(open_page: OpenPage, relay: Running) -> None:
    """
    Soon after the click and without a reload, on the list and on the text's own page.

    It takes a fraction of a second on a machine that does nothing else; this one runs other tests beside it.
    The median of three counts.
    """
    watcher = live(open_page("/texts?status=held"))
    watcher.evaluate("window.sameDocument = true")
    times = []
    for number in range(3):
        id_ = hold(relay, f"Two Browsers {number}", 420 + number)
        actor, other = live(open_page(f"/texts/{id_}")), live(open_page(f"/texts/{id_}"))
        row = watcher.get_by_role("row").filter(has_text=f"Two Browsers {number}")
        expect(row).to_be_visible()
        began = time.monotonic()
        actor.get_by_role("button", name="Cancel").click()
        # `expect` looks again after ever longer pauses, which are no part of what is measured.
        row.wait_for(state="detached")
        other.locator(".title .badge", has_text="Canceled").wait_for()
        times.append(time.monotonic() - began)

    assert statistics.median(times) < 3, times
    assert watcher.evaluate("window.sameDocument")


def live(page: Page) -> Page:
    """A page that is connected, so it changes by itself, and drawn: until then, Chromium drops clicks."""
    page.locator("body[data-live=yes]").wait_for()
    page.wait_for_function("performance.getEntriesByType('paint').length > 0")
    return page


def test_what_another_program_does_is_seen_too(open_page: OpenPage, relay: Running) -> None:
    """A command in a terminal tells no page; the pages look."""
    id_ = hold(relay, "From A Terminal", 403)
    page = live(open_page(f"/texts/{id_}"))
    relay.call(relay.relay.store.write, decisions.cancel, id_, [Status.HELD])

    expect(page.locator(".title .badge")).to_have_text("Canceled")


def test_unknown_text_is_sent_again_only_after_a_question(open_page: OpenPage, relay: Running) -> None:
    """The question says that the person may get it twice; “No” and Escape change nothing."""
    id_ = relay.ids("unknown")[0]
    page = live(open_page(f"/texts/{id_}"))
    link = page.get_by_role("link", name="Send again")
    for leave in ("No", "Escape"):
        link.click()
        dialog = page.get_by_role("dialog")
        expect(dialog).to_contain_text("could text this person twice")
        if leave == "No":
            dialog.get_by_role("link", name="Back").click()
        else:
            page.keyboard.press("Escape")
        expect(dialog).to_be_hidden()
        expect(link).to_be_focused()
    assert id_ in relay.ids("unknown")

    link.click()
    page.get_by_role("button", name="Send again").click()
    expect(page.get_by_text("Queued to send again")).to_be_visible()
    expect(page.locator(".title .badge")).to_have_text("Sent", timeout=SENDING)
    expect(page.get_by_role("dialog")).to_be_hidden()


def test_unknown_text_is_marked_as_sent(open_page: OpenPage, relay: Running) -> None:
    id_ = relay.ids("unknown")[0]
    page = live(open_page(f"/texts/{id_}"))
    page.get_by_role("link", name="Mark as sent").click()
    page.get_by_role("button", name="Mark as sent").click()

    expect(page.locator(".title .badge")).to_have_text("Sent")
    expect(page.get_by_text("A person marked it as sent").first).to_be_visible()


def test_failed_text_is_sent_again(open_page: OpenPage, relay: Running) -> None:
    id_ = relay.ids("failed")[0]
    page = open_page(f"/texts/{id_}")
    page.get_by_role("button", name="Send again").click()
    expect(page.locator(".title .badge")).to_have_text("Sent", timeout=SENDING)


def test_action_that_came_too_late_says_so(
    open_page: OpenPage,
    relay: Running,
    complaints: Complaints,
) -> None:
    """Another person was quicker, and this page did not learn of it."""
    id_ = hold(relay, "Too Late", 404)
    page = open_page("/setup")
    page.context.route("**/events*", lambda route: route.abort())
    page.goto(f"{relay.url}/texts/{id_}")
    relay.call(relay.relay.operations.decide, Verb.CANCEL, id_)
    page.get_by_role("button", name="Send anyway").click()

    expect(page.locator("#notice")).to_contain_text("can't be approved")
    expect(page.locator(".title .badge")).to_have_text("Canceled")
    complaints.clear()  # of the stream that was cut


def test_opt_outs_from_a_text_and_back(open_page: OpenPage, relay: Running) -> None:
    """Added on the text's page, seen on its conversation, taken off in the setup."""
    id_ = relay.ids("sent")[-1]
    page = open_page(f"/texts/{id_}")
    page.get_by_role("button", name="Add to opt-outs").click()
    expect(page.get_by_text("Opted out", exact=True)).to_be_visible()
    page.get_by_role("link", name="Conversation").click()
    expect(page.get_by_text("Opted out", exact=True)).to_be_visible()

    page.get_by_role("link", name="Settings").click()
    page.get_by_role("link", name="Opt-outs").click()
    page.get_by_role("button", name=re.compile("^Remove")).first.click()
    expect(page.get_by_text("Opt-out removed")).to_be_visible()
    page.get_by_label("Number", exact=True).fill("303 555 0142")
    page.get_by_label("Reason").fill("Asked by phone")
    page.get_by_role("button", name="Add").click()
    expect(page.get_by_role("button", name="Remove (303) 555-0142")).to_be_visible()
    expect(page.get_by_label("Number", exact=True)).to_have_value("")
    page.get_by_label("Number", exact=True).fill("12")
    page.get_by_role("button", name="Add").click()
    expect(page.locator("#notice")).to_contain_text("valid US/Canada phone number")
    expect(page.get_by_label("Number", exact=True)).to_have_value("12")


def test_pause_and_resume(open_page: OpenPage, relay: Running) -> None:
    """The first sentence says that nothing is sent, and why; the button that changes it is beside it."""
    page = live(open_page("/"))
    page.get_by_role("button", name="Pause sending").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Sending is paused.")
    expect(page.locator(".verdict")).to_contain_text("Paused on the dashboard.")
    expect(page.locator("#notice")).to_be_focused()
    page.get_by_role("button", name="Resume sending").click()
    expect(page.get_by_role("heading", level=1)).not_to_have_text("Sending is paused.")


def test_setup_shows_the_url_when_asked_and_sends_a_text(open_page: OpenPage, relay: Running) -> None:
    """The checks come by themselves; the URL is on no other page; a test text goes the way of all."""
    page = live(open_page("/setup", permissions=["clipboard-read", "clipboard-write"]))
    page.get_by_text("checks are OK").click()
    expect(page.get_by_text("The API key is valid")).to_be_visible()
    page.get_by_role("link", name="Webhook").click()
    secret = relay.parts.hook_url.rpartition("/")[2]
    expect(page.get_by_role("button", name="Show", exact=True)).to_be_visible()
    assert secret not in page.content()
    page.get_by_role("button", name="Show", exact=True).click()
    expect(page.get_by_role("textbox", name="URL")).to_have_value(re.compile(f"{secret}$"))
    page.get_by_role("button", name="Copy").click()
    expect(page.get_by_text("Copied.")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()").endswith(secret)
    # What happens meanwhile hides nothing, and takes no typed word.
    hold(relay, "While Reading", 405)
    page.wait_for_timeout(800)
    assert page.get_by_role("textbox", name="URL").input_value().endswith(secret)
    page.get_by_role("link", name="Health").click()
    page.get_by_label("To").fill("(312) 555-0177")
    hold(relay, "While Typing", 435)
    page.wait_for_timeout(800)
    expect(page.get_by_label("To")).to_have_value("(312) 555-0177")
    page.get_by_label("Message", exact=True).fill("Is this thing on?")
    page.get_by_label("To").fill("12")
    page.get_by_role("button", name="Send", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("valid US/Canada phone number")
    expect(page.get_by_label("Message", exact=True)).to_have_value("Is this thing on?")
    page.get_by_label("To").fill("(312) 555-0177")
    page.get_by_role("button", name="Send", exact=True).click()

    expect(page.get_by_role("heading", level=1)).to_contain_text("(312) 555-0177")
    expect(page.locator(".title .badge")).to_have_text("Sent", timeout=SENDING)
    assert secret not in page.content()


# --- reading ---------------------------------------------------------------------------------------------


def test_texts_are_found(open_page: OpenPage, relay: Running) -> None:
    """While the person types; by status, person and opportunity; and the address says what is shown."""
    id_ = hold(relay, "Needle Haystack", 406)
    page = open_page("/texts")
    rows = page.locator("table.texts tbody tr")
    expect(rows).to_have_count(50)
    page.get_by_label("Search", exact=True).press_sequentially("needle")
    expect(rows).to_have_count(1)
    expect(page).to_have_url(re.compile("search=needle"))
    page.get_by_label("Status", exact=True).select_option("sent")
    expect(page.get_by_text("No messages match")).to_be_visible()
    page.reload()
    expect(page.get_by_label("Search", exact=True)).to_have_value("needle")
    page.get_by_role("link", name="Show all messages").click()
    page.get_by_label("Person").fill(person(406).phone)
    page.keyboard.press("Enter")
    expect(rows.first).to_contain_text("Needle Haystack")
    page.get_by_text("More filters").click()
    page.get_by_label("Opportunity").fill("406")
    page.keyboard.press("Enter")
    expect(rows).to_have_count(1)
    rows.get_by_role("link").click()
    expect(page).to_have_url(re.compile(id_))


def test_what_is_typed_at_once_is_looked_for(open_page: OpenPage, relay: Running) -> None:
    """Also what was typed before the script came that looks for it."""
    hold(relay, "Early Bird", 407)
    page = live(open_page("/"))  # its own script has come, and is not the one that is kept
    kept: list[Route] = []
    page.route("**/htmx*", lambda route: kept.append(route))  # noqa: PLW0108 - Playwright marks what it calls
    with page.expect_request("**/htmx*"):
        page.goto(f"{relay.url}/texts", wait_until="commit")
    page.get_by_label("Search", exact=True).press_sequentially("early bird")
    kept[0].continue_()

    expect(page.locator("table.texts tbody tr")).to_have_count(1)


def test_pages_of_texts_follow_each_other(open_page: OpenPage) -> None:
    """Each text is on one page."""
    page = open_page("/texts?status=sent")
    seen: list[str] = []
    for _ in range(3):
        seen += [row.get_attribute("id") or "" for row in page.locator("table.texts tbody tr").all()]
        older = page.get_by_role("link", name="Older messages")
        next_page = (older.get_attribute("href") or "").partition("?")[2]
        older.click()
        expect(page).to_have_url(re.compile(re.escape(next_page)))
        expect(page.locator(f"#{seen[-1]}")).to_have_count(0)
    assert 150 == len(seen) == len(set(seen))
    page.get_by_role("link", name="Newest").click()
    expect(page.locator(f"#{seen[0]}")).to_be_visible()


def test_plots_have_their_numbers_in_a_table(open_page: OpenPage) -> None:
    """It stays open when the page changes by itself."""
    page = open_page("/?range=30d")
    figure = page.get_by_role("figure")
    expect(figure.get_by_role("group", name="The last 30 days")).to_be_visible()
    figure.get_by_text("As a table").click()
    expect(figure.get_by_role("row").nth(3)).to_be_visible()
    page.evaluate("htmx.trigger(document.body, 'changed')")
    page.wait_for_timeout(300)
    expect(figure.get_by_role("row").nth(3)).to_be_visible()


def test_way_of_a_text_and_its_request(open_page: OpenPage, relay: Running) -> None:
    """All steps with their times; the request comes when it is asked for."""
    id_ = relay.ids("failed")[-1]
    page = open_page(f"/texts/{id_}")
    way = page.get_by_role("region", name="Timeline")
    for words in ("Received from IF3", "To (", "Rejected by CallRail (400)", "cannot receive texts"):
        expect(way).to_contain_text(words)
    assert "seller_phone" not in page.content()
    page.get_by_role("link", name="View raw request").click()
    expect(page.get_by_label("The body of the request")).to_contain_text("seller_phone_non_international")


def test_conversation_has_both_sides_in_order(open_page: OpenPage, relay: Running) -> None:
    page = open_page(f"/people/{person(22).phone}/{relay.simulator.tracking_number}")
    said = page.locator(".bubble .said").all_inner_texts()
    wanted = ["Maybe. What would you pay?", "No pressure at all", "Could we come by", "11 it is", "Reminder:"]
    places = [next(place for place, one in enumerate(said) if words in one) for words in wanted]
    assert sorted(places) == places
    expect(page.locator(".bubble.in")).to_have_count(2)


# --- without scripts, and without the relay --------------------------------------------------------------


@pytest.mark.timeout(600)
def test_settings_are_changed_in_the_page(browser: Browser, tmp_path: Path) -> None:
    """Saved and used, waiting for a restart, refused, and with a file that has a mistake."""
    with running(tmp_path, deliver=False) as relay:
        page = new_page(browser, viewport=PHONE, reduced_motion="reduce")
        page.context.add_init_script(path=AXE)
        sign_in(page, relay.login_url)
        page.goto(f"{relay.url}/setup/sending")
        page.get_by_label("At night").select_option("Wait until morning")
        page.get_by_label("Night starts at").fill("20:30")
        page.locator("#quiet_hours").get_by_role("button", name="Save").click()
        expect(page.locator("#notice")).to_have_text("Saved. It's in use now.")
        expect(page.get_by_label("Night starts at")).to_have_value("20:30")
        page.get_by_label("Pause between texts to one person", exact=True).fill("2")
        page.locator("#limits").get_by_role("button", name="Save").click()
        expect(page.get_by_text("Waiting for a restart: Pause between texts to one person.")).to_be_visible()
        assert [] == violations(page)
        page.get_by_label("Night ends at").fill("20:30")
        page.locator("#quiet_hours").get_by_role("button", name="Save").click()
        expect(page.get_by_text("must differ from “Night starts at”")).to_be_visible()
        expect(page.get_by_label("Night ends at")).to_have_value("20:30")
        assert [] == violations(page)
        relay.parts.context.config_path.write_text("[limits]\nper_hour = 0\n")
        page.goto(f"{relay.url}/setup/sending")
        expect(page.get_by_text("The settings file has a mistake")).to_be_visible()
        assert [] == violations(page)
        page.context.close()


@pytest.mark.timeout(600)
def test_numbers_opt_outs_and_alerts_are_changed_in_the_page(browser: Browser, tmp_path: Path) -> None:
    """A rule by the name of its number, a list from a file, and an address whose secret isn't shown."""
    with running(tmp_path, deliver=False) as relay:
        page = new_page(browser, viewport=PHONE, reduced_motion="reduce")
        page.context.add_init_script(path=AXE)
        sign_in(page, relay.login_url)
        page.goto(f"{relay.url}/setup/numbers")
        expect(page.get_by_text("Main line").first).to_be_visible()
        page.get_by_label("Team").fill("42")
        page.get_by_role("button", name="Add").click()
        expect(page.get_by_role("button", name="Remove the rule for Team 42")).to_be_visible()
        assert [] == violations(page)
        page.get_by_role("link", name="Opt-outs").click()
        people = tmp_path / "people.csv"
        people.write_text("recipient\n(202) 555-0122\n12\n")
        expect(page.get_by_label("File")).to_be_visible()
        page.get_by_label("File").set_input_files(people)
        expect(page.get_by_label("Numbers", exact=True)).to_have_value("recipient\n(202) 555-0122\n12\n")
        page.get_by_role("button", name="Import").click()
        expect(page.get_by_role("alert")).to_contain_text("Line 3:")
        expect(page.get_by_role("button", name="Remove (202) 555-0122")).to_be_visible()
        assert [] == violations(page)
        page.get_by_role("link", name="Alerts").click()
        page.get_by_label("Add an address").fill("json://127.0.0.1:9/secret")
        page.get_by_role("button", name="Add").click()
        expect(page.get_by_role("button", name="Remove JSON")).to_be_visible()
        page.get_by_role("button", name="Send a test alert").click()
        expect(page.locator("#notice")).to_contain_text("JSON didn't accept the alert.")
        assert [] == violations(page)
        page.context.close()


def test_lines_to_add_are_copied(browser: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the service reads a copy of the settings file, and what the environment sets can't be changed."""
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    monkeypatch.setenv("CALLRAIL_RELAY_LIMITS__PER_DAY", "900")
    with running(tmp_path, deliver=False) as relay:
        page = new_page(browser, reduced_motion="reduce", permissions=["clipboard-read", "clipboard-write"])
        page.context.add_init_script(path=AXE)
        sign_in(page, relay.login_url)
        page.goto(f"{relay.url}/setup/sending")
        expect(page.get_by_label("Texts per day")).to_be_disabled()
        page.get_by_label("Texts per hour").fill("120")
        page.locator("#limits").get_by_role("button", name="Show the lines to add").click()
        page.get_by_role("button", name="Copy").click()
        expect(page.get_by_text("Copied.")).to_be_visible()
        assert page.evaluate("navigator.clipboard.readText()").startswith("[limits]\nper_hour = 120")
        assert [] == violations(page)
        page.context.close()


def test_all_of_it_works_without_scripts(browser: Browser, relay: Running, signed_in: StorageState) -> None:
    """Links and forms are enough."""
    id_ = hold(relay, "No Scripts", 407)
    page = new_page(browser, storage_state=signed_in, java_script_enabled=False)
    page.goto(f"{relay.url}/texts?search=scripts")
    page.get_by_role("button", name="Show").click()
    page.locator("table.texts a").first.click()
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_text("Canceled: it won")).to_be_visible()
    assert id_ in page.url
    page.goto(f"{relay.url}/texts/{relay.ids('unknown')[0]}")
    page.get_by_role("link", name="Send again").click()
    expect(page.get_by_text("could text this person twice")).to_be_visible()
    page.get_by_role("button", name="Send again").click()
    expect(page.get_by_text("Queued to send again")).to_be_visible()
    page.goto(f"{relay.url}/setup")
    page.get_by_role("button", name="Check now").click()
    page.get_by_text("checks are OK").click()
    expect(page.get_by_text("The API key is valid")).to_be_visible()
    page.context.close()


def test_page_outlives_a_restart_of_the_relay(browser: Browser, tmp_path: Path) -> None:
    """
    It says that it lost the relay, and goes on by itself when that is back: still signed in, with its forms.
    """
    page = new_page(browser)
    dashboard = {"port": free_port()}
    with running(tmp_path, dashboard=dashboard) as relay:
        sign_in(page, relay.login_url)
        live(page)
        expect(page.get_by_role("heading", level=1)).to_have_text("Almost there: connect IF3 to start")
        page.evaluate("window.sameDocument = true")
    expect(page.get_by_text("Can't reach the server")).to_be_visible(timeout=10_000)
    with running(tmp_path, dashboard=dashboard) as relay:
        expect(page.get_by_text("Can't reach the server")).to_be_hidden(timeout=20_000)
        page.get_by_role("button", name="Pause sending").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Sending is paused.")
        assert page.evaluate("window.sameDocument")
        page.context.close()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def test_signing_out(browser: Browser, relay: Running) -> None:
    """Nothing is left to see, also by the button that leads back."""
    page = new_page(browser)
    sign_in(page, relay.new_link())
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("You're signed out.")
    page.go_back()
    expect(page.get_by_role("heading", level=1)).to_have_text("You're signed out.")
    page.context.close()


def test_people_sign_in_by_name_and_password(browser: Browser, tmp_path: Path) -> None:
    """From the first link on, without a terminal; when a person is removed, their open page says so."""
    with running(tmp_path, deliver=False) as relay:
        hold(relay, "Decided by Sam", 1)
        sam, pat = (new_page(browser, reduced_motion="reduce") for _ in range(2))
        sam.context.add_init_script(path=AXE)
        sam.goto(relay.login_url)
        sam.get_by_label("Name").fill("Sam")
        sam.get_by_label("Password").fill("too short")
        sam.get_by_role("button", name="Save and open").click()
        expect(sam.get_by_role("alert")).to_contain_text("10 to 1,000 characters")
        assert [] == violations(sam)
        sam.get_by_label("Password").fill("correct horse")
        sam.get_by_role("button", name="Save and open").click()
        sam.wait_for_url("**/")
        sam.goto(f"{relay.url}/setup/security")
        live(sam)
        sam.get_by_text("Add a person").click()
        sam.locator("#new-name").fill("Pat")
        sam.get_by_label("First password").fill("temporary horse")
        sam.locator("#security").get_by_role("button", name="Add").click()
        expect(sam.get_by_text("Pat can sign in now.")).to_be_visible()
        assert [] == violations(sam)

        pat.goto(f"{relay.url}/texts")
        pat.get_by_label("Name").fill("pat")
        pat.get_by_label("Password").fill("temporary horse")
        pat.get_by_role("button", name="Sign in").click()
        pat.wait_for_url("**/texts")
        live(pat)
        pat.goto(f"{relay.url}/texts/{relay.ids('held')[0]}/edit")
        pat.get_by_label("Message", exact=True).fill("Words that took a while.")
        live(pat)
        sam.get_by_label("Current password").fill("correct horse")
        sam.get_by_label("New password").fill("another horse")
        sam.get_by_role("button", name="Change my password").click()
        expect(sam.get_by_text("Password changed.")).to_be_visible()
        live(sam)
        sam.get_by_role("button", name="Remove Pat").click()
        # What Pat typed isn't taken away: it stays on the page, and on the one that comes on a click.
        expect(pat.get_by_text("Copy what you typed, then reload")).to_be_visible(timeout=SENDING)
        pat.get_by_role("button", name="Save and send").click()
        expect(pat.get_by_label("This wasn't saved")).to_have_value("Words that took a while.")
        expect(pat.get_by_role("button", name="Sign in")).to_be_visible()

        sam.goto(f"{relay.url}/texts/{relay.ids('held')[0]}")
        sam.get_by_role("button", name="Cancel").click()
        expect(sam.get_by_text("Sam canceled it")).to_be_visible()
        sam.get_by_role("button", name="Sign out").click()
        expect(sam.get_by_role("button", name="Sign in")).to_be_visible()
        assert [] == violations(sam)
        for page in (sam, pat):
            page.context.close()
