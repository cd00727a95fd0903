"""The settings pages: what is changed there, what of it is used at once, and what they refuse."""

import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest

from callrail_relay.bootstrap import editing
from callrail_relay.config.saving import update
from callrail_relay.domain.events import SettingsChanged
from callrail_relay.domain.guards import Mode
from callrail_relay.domain.message import Status
from tests.service.rig import Rig
from tests.support.receiver import Receiver, receiving
from tests.web.private import Visitor, visiting
from tests.web.running import running

pytestmark = pytest.mark.anyio

NIGHT = {"guards.quiet_hours": "hold", "guards.quiet_start": "20:30", "guards.quiet_end": "08:15"}
LIMITS = {"limits.per_hour": "120", "limits.per_day": "900"}


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


def config(rig: Rig) -> Path:
    return rig.path.with_name("config.toml")


async def save(visitor: Visitor, form: str, page: str, **fields: str) -> httpx2.Response:
    """Open the page of a form, and post it with *fields*, as a browser does."""
    stamp = re.search(r'name="stamp" value="([^"]+)"', await visitor.page(f"/setup/{page}"))
    assert stamp is not None
    return await visitor.post(f"/setup/{form}", stamp=stamp[1], back=f"/setup/{page}", **fields)


async def test_what_is_saved_is_used_at_once_and_the_file_keeps_its_comments(tmp_path: Path) -> None:
    """The log names the keys, and who changed them."""
    async with visiting(tmp_path) as (rig, visitor):
        file = config(rig)
        file.write_text(f"{file.read_text()}\n[guards] # ours\nquiet_start = '21:00' # as Pat said\n")

        saved = await save(visitor, "save/quiet_hours", "sending", **NIGHT)

        assert "in use now" in saved.text
        text = file.read_text()
        assert "[guards] # ours" in text
        assert 'quiet_start = "20:30" # as Pat said' in text
        [context] = visitor.private.taken_up
        assert Mode.HOLD is context.guards.quiet_hours
        [changed] = rig.events.of(SettingsChanged)
        assert set(NIGHT) == set(changed.keys)
        assert "a person on the dashboard" == changed.by
        assert 'value="20:30"' in await visitor.page("/setup/sending")
        assert "Nothing was changed" in (await save(visitor, "save/quiet_hours", "sending", **NIGHT)).text
        assert file.read_text() == text


async def test_the_file_is_read_and_written_beside_the_event_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, receiver: Receiver
) -> None:
    """A slow disk holds up no webhook and no other page."""
    threads: set[str] = set()
    for name in ("load", "read_text", "write_privately"):
        made = getattr(editing, name)

        def noted(*args: object, made: Callable[..., object] = made, **options: object) -> object:
            threads.add(threading.current_thread().name)
            return made(*args, **options)

        monkeypatch.setattr(editing, name, noted)
    async with visiting(tmp_path) as (_, visitor):
        for page in ("", "/sending", "/webhook", "/numbers", "/opt-outs", "/alerts", "/security"):
            await visitor.page(f"/setup{page}")
        assert "in use now" in (await save(visitor, "save/quiet_hours", "sending", **NIGHT)).text
        assert "in use" in (await save(visitor, "alerts/channels", "alerts", address=receiver.url)).text
        assert "Test sent." in (await visitor.post("/setup/alerts/test")).text
        await save(visitor, "numbers", "numbers", team_id="1", number="none")
    assert threads
    assert threading.main_thread().name not in threads


async def test_wrong_value_is_refused_beside_its_field(tmp_path: Path) -> None:
    """What was typed stays, and the file is what it was."""
    async with visiting(tmp_path) as (rig, visitor):
        former = config(rig).read_text()
        refused = await save(visitor, "save/limits", "sending", **LIMITS | {"limits.per_day": "0"})

        assert 422 == refused.status_code
        assert "“Texts per day” must be 1 or more." in refused.text
        assert 'value="120"' in refused.text
        assert former == config(rig).read_text()
        same = await save(visitor, "save/quiet_hours", "sending", **NIGHT | {"guards.quiet_end": "20:30"})
        assert "must differ from “Night starts at”" in same.text
        unknown = await save(
            visitor, "save/guards", "sending", **{"delivery.max_age": "4", "delivery.max_age.unit": "w"}
        )
        assert "such as 15s, 5m, 4h or 30d" in unknown.text
        assert [] == visitor.private.taken_up


async def test_form_of_another_state_of_the_file_is_refused(tmp_path: Path) -> None:
    """Or what another person saved meanwhile would be lost."""
    async with visiting(tmp_path) as (rig, visitor):
        for stamp in ("", "of before"):
            refused = await visitor.post("/setup/save/limits", stamp=stamp, **LIMITS)
            assert "was changed since you opened this page" in refused.text
        assert "[limits]" not in config(rig).read_text()
        assert (
            404
            == (await visitor.post("/setup/save/callrail", stamp="", **{"callrail.api_url": "x"})).status_code
        )


@pytest.mark.parametrize("while_it", ["is shown", "is saved"])
async def test_what_a_person_changes_while_the_file_is_read_is_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, while_it: str
) -> None:
    """The stamp is never that of a file newer than what was read."""
    async with visiting(tmp_path) as (rig, visitor):
        file = config(rig)
        name = "load" if while_it == "is shown" else "read_text"
        read = getattr(editing, name)

        def changed_meanwhile(*args: object, **options: object) -> object:
            monkeypatch.setattr(editing, name, read)
            found = read(*args, **options)
            update(file, {"limits": {"per_hour": 77}})
            return found

        if while_it == "is shown":
            monkeypatch.setattr(editing, name, changed_meanwhile)
        stamp = re.search(r'name="stamp" value="([^"]+)"', await visitor.page("/setup/sending"))
        assert stamp is not None
        if while_it == "is saved":
            monkeypatch.setattr(editing, name, changed_meanwhile)
        refused = await visitor.post("/setup/save/limits", stamp=stamp[1], **LIMITS)

        assert "was changed since you opened this page" in refused.text
        assert "per_hour = 77" in file.read_text()


async def test_form_saves_its_own_fields_only(tmp_path: Path) -> None:
    """Whatever else a person adds to it: the address of CallRail's API is in no form."""
    async with visiting(tmp_path) as (rig, visitor):
        more = {
            "callrail.api_url": "https://elsewhere.example.com",
            "replies.forward_to": "json://example.com",
        }
        await save(visitor, "save/limits", "sending", **LIMITS | more)
        assert "per_hour = 120" in config(rig).read_text()
        assert "example.com" not in config(rig).read_text()


async def test_what_the_environment_sets_is_shown_as_fixed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page names the variable; a form that sends the field anyway doesn't change the file."""
    monkeypatch.setenv("CALLRAIL_RELAY_LIMITS__PER_HOUR", "77")
    async with visiting(tmp_path) as (rig, visitor):
        page = await visitor.page("/setup/sending")
        assert "Set by the environment variable CALLRAIL_RELAY_LIMITS__PER_HOUR." in page
        assert re.search(r'name="limits.per_hour"[^>]*value="77"[^>]*disabled', page)
        await save(visitor, "save/limits", "sending", **LIMITS)
        assert "per_hour" not in config(rig).read_text()
        assert "per_day = 900" in config(rig).read_text()


async def test_what_needs_a_restart_says_so_on_every_page(tmp_path: Path) -> None:
    """Also what was changed in the file by hand. The running relay goes on as it was."""
    async with visiting(tmp_path) as (rig, visitor):
        saved = await save(visitor, "save/limits", "sending", **LIMITS | {"limits.max_characters": "160"})
        assert "Restart the relay to use it." in saved.text
        update(config(rig), {"guards": {"merge_tag": "off"}})
        for page in ("", "/webhook", "/numbers", "/opt-outs", "/alerts", "/security"):
            words = await visitor.page(f"/setup{page}")
            assert "Waiting for a restart: Characters per text, An unfilled placeholder" in words
            assert "callrail-relay service restart" in words
        await save(visitor, "save/quiet_hours", "sending", **NIGHT)
        context = visitor.private.taken_up[-1]
        assert (140, Mode.HOLD) == (context.settings.limits.max_characters, context.guards.merge_tag)
        assert (120, Mode.HOLD) == (context.limits.per_hour, context.guards.quiet_hours)
        # Who saves the form that shows it means it.
        await save(visitor, "save/guards", "sending", **{"guards.merge_tag": "off"})
        assert Mode.OFF is visitor.private.taken_up[-1].guards.merge_tag


async def test_file_with_a_mistake_is_left_alone(tmp_path: Path) -> None:
    """The pages say what is wrong with it, and the relay goes on with what it has."""
    async with visiting(tmp_path) as (rig, visitor):
        stamp = re.search(r'name="stamp" value="([^"]+)"', await visitor.page("/setup/sending"))
        assert stamp is not None
        config(rig).write_text("[limits]\nper_hour = 0\n")
        for page in ("sending", "numbers", "alerts", "opt-outs"):
            assert "The settings file has a mistake" in await visitor.page(f"/setup/{page}")
        for form in ("save/limits", "numbers", "alerts/channels"):
            refused = await visitor.post(f"/setup/{form}", stamp=stamp[1], **LIMITS)
            assert "must be 1 or more" in refused.text or "was changed" in refused.text
        assert "[limits]\nper_hour = 0\n" == config(rig).read_text()


async def test_copy_that_systemd_made_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page shows the lines, and the file that they belong in."""
    async with visiting(tmp_path) as (rig, visitor):
        monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
        assert "Show the lines to add" in await visitor.page("/setup/sending")

        shown = await save(visitor, "save/limits", "sending", **LIMITS)

        assert "<code>/etc/callrail-relay/config.toml</code>" in shown.text.replace("\\", "/")
        assert re.search(r"\[limits\]\nper_hour = 120 #.*\nper_day = 900 #", shown.text)
        assert "per_hour" not in config(rig).read_text()
        assert [] == visitor.private.taken_up
        added = await save(visitor, "alerts/channels", "alerts", address="json://example.com/x")
        assert "[alerts]\nurls = [&#34;json://example.com/x&#34;]" in added.text


async def test_file_that_turns_out_to_be_read_only_shows_the_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a file does that is mounted into a container alone: its directory can be written, it can't."""

    def refuse(path: Path, text: str) -> None:
        raise OSError(16, "Device or resource busy")

    async with visiting(tmp_path) as (_, visitor):
        monkeypatch.setattr(editing, "write_privately", refuse)
        shown = await save(visitor, "save/quiet_hours", "sending", **NIGHT | {"guards.quiet_zone": ""})
        assert "Device or resource busy" in shown.text
        assert "quiet_start = &#34;20:30&#34;" in shown.text
        assert [] == visitor.private.taken_up


async def test_numbers_have_the_names_of_callrail(tmp_path: Path) -> None:
    """A rule is added and removed by them. Comments in the other rules stay, and a restart is needed."""
    async with visiting(tmp_path) as (rig, visitor):
        route = next(iter(rig.mapping.routes))
        page = await visitor.page("/setup/numbers")
        assert "Main line" in page
        assert "Example Co" in page
        number = f"{route.account_id} {route.company_id} {route.tracking_number}"

        await save(visitor, "numbers", "numbers", team_id="42", sender_id="", number=number)
        text = config(rig).read_text()
        config(rig).write_text(text.replace('team_id = "42"', "team_id = 42 # Texas"))
        added = await save(visitor, "numbers", "numbers", team_id="7", sender_id="789", number=number)

        assert "Team 7 and sender 789" in added.text
        assert "Waiting for a restart: Numbers." in added.text
        assert "team_id = 42 # Texas" in config(rig).read_text()
        no_ids = await save(visitor, "numbers", "numbers", team_id="", sender_id="", number=number)
        assert "Enter a team or a sender." in no_ids.text
        assert (
            "Choose a number" in (await save(visitor, "numbers", "numbers", team_id="1", number="x y z")).text
        )
        await save(visitor, "numbers", "numbers", remove="1")
        assert "789" not in config(rig).read_text()
        assert "team_id = 42 # Texas" in config(rig).read_text()
        assert (
            "Nothing was changed"
            in (await save(visitor, "numbers", "numbers", default="yes", number=number)).text
        )


async def test_another_default_number_leaves_the_rules_what_they_have_from_it(tmp_path: Path) -> None:
    async with visiting(tmp_path) as (rig, visitor):
        route = next(iter(rig.mapping.routes))
        other = f"{route.account_id} COM2 +12025550199"
        update(
            config(rig),
            {
                "routes": [
                    {"team_id": "42"},
                    {"team_id": "7", "company_id": "COM2", "tracking_number": "+12025550199"},
                ]
            },
        )
        await save(visitor, "numbers", "numbers", default="yes", number=other)
        rules = visitor.private.dashboard.settings.read().routes_table()
    assert "COM2" == rules.default.company_id if rules.default else False
    assert [route.company_id, "COM2"] == [rule.route.company_id for rule in rules.rules]


async def test_list_of_opt_outs_is_imported_and_saved(tmp_path: Path) -> None:
    """Bad lines are named and stay in the form."""
    async with visiting(tmp_path) as (_, visitor):
        listed = "(202) 555-0122\n12\n202 555 0134"
        refused = await visitor.post("/setup/opt-outs/import", list=listed)
        assert 422 == refused.status_code
        assert "2 lines read; 2 new on the list." in refused.text
        assert "Line 2: " in refused.text
        assert "(202) 555-0122\n12\n" in refused.text
        again = await visitor.post("/setup/opt-outs/import", list="\n".join(["+12025550122"] * 30_000))
        assert "30,000 lines read; 0 new on the list." in again.text
        saved = await visitor.client.get("/setup/opt-outs.csv")
        assert {"+12025550122", "+12025550134"} == set(re.findall(r"\+1202555(?:0122|0134)", saved.text))
        assert "The file is empty" in (await visitor.post("/setup/opt-outs/import", list=" ")).text


async def test_alert_address_is_added_tried_and_removed(tmp_path: Path, receiver: Receiver) -> None:
    """It is used at once, and its secret is on no page."""
    async with visiting(tmp_path) as (rig, visitor):
        assert "No one yet." in await visitor.page("/setup/alerts")
        added = await save(visitor, "alerts/channels", "alerts", address=receiver.url)

        assert "in use now" in added.text
        assert (receiver.url,) == visitor.private.taken_up[-1].settings.alerts.urls
        assert "JSON" in added.text
        assert "secret-of-the-channel" not in added.text
        tried = await visitor.post("/setup/alerts/test", back="/setup/alerts")
        assert "Test sent." in tried.text
        assert ["callrail-relay: a test"] == receiver.titles
        receiver.status = 500
        assert "JSON didn&#39;t accept the alert" in (await visitor.post("/setup/alerts/test")).text
        for wrong, why in (
            ("nonsense://x", "isn&#39;t an address that Apprise knows"),
            ("words", "must be an Apprise address"),
        ):
            refused = await save(visitor, "alerts/channels", "alerts", address=wrong)
            assert f"It {why}" in refused.text
        await save(visitor, "alerts/channels", "alerts", remove="0")
        assert "No one yet." in await visitor.page("/setup/alerts")
        assert not visitor.private.taken_up[-1].settings.alerts.urls
        assert "There is no alert channel yet" in (await visitor.post("/setup/alerts/test")).text
        keys = [one.keys for one in rig.events.of(SettingsChanged)]
        assert [("alerts.urls",), ("alerts.urls",)] == keys


def test_running_relay_keeps_to_new_limits_at_once(tmp_path: Path) -> None:
    """A text over the new limit waits in the queue, and goes once there is room: none is lost or doubled."""
    with (
        running(tmp_path, limits={"recipient_interval": 0}) as relay,
        httpx2.Client(base_url=relay.url) as client,
    ):
        client.post("/login", data={"token": relay.login_url.rpartition("=")[2]})

        def limit(per_hour: int) -> None:
            change(client, "sending", "save/limits", {"limits.per_hour": str(per_hour)})

        def sent() -> int:
            return len(relay.ids("sent"))

        limit(1)
        for number in range(3):
            relay.post(message=f"Hello {number}", seller_phone_non_international=f"202555012{number}")
        until(lambda: sent() == 1)
        assert 2 == len(relay.ids(Status.QUEUED))
        limit(3)
        until(lambda: sent() == 3)
        assert 3 == len(relay.simulator.texts)


def test_running_relay_tells_a_new_channel_at_once(tmp_path: Path, receiver: Receiver) -> None:
    """What is wrong by then, too; and a channel that was removed hears no more."""
    with (
        running(tmp_path, long_running=True) as relay,
        httpx2.Client(base_url=relay.url) as client,
    ):
        client.post("/login", data={"token": relay.login_url.rpartition("=")[2]})
        relay.call(relay.relay.operations.pause, None, "The office is closed.")
        change(client, "alerts", "alerts/channels", {"address": receiver.url})
        until(lambda: any("The office is closed." in one for one in receiver.messages))
        assert "You won't hear about it" not in client.get("/setup").text
        change(client, "alerts", "alerts/channels", {"remove": "0"})
        heard = len(receiver.taken)
        relay.call(relay.relay.operations.resume, None)
        change(client, "sending", "save/limits", {"limits.per_hour": "99"})  # which wakes all
        until(lambda: relay.relay.context.limits.per_hour == 99)
        assert heard == len(receiver.taken)


def change(client: httpx2.Client, page: str, form: str, typed: dict[str, str]) -> None:
    shown = client.get(f"/setup/{page}").text
    fields = dict(re.findall(r'name="(csrf|stamp)" value="([^"]+)"', shown))
    done = client.post(f"/setup/{form}", data=fields | typed)
    assert 303 == done.status_code, done.text


def until(is_so: Callable[[], bool]) -> None:
    """Wait until something is so, half a minute at most."""
    give_up_at = time.monotonic() + 30
    while not is_so():
        assert time.monotonic() < give_up_at
        time.sleep(0.05)
