"""Each check in both ways: what it says when all is well, and the remedy when not."""

from datetime import timedelta
from pathlib import Path

import pytest

from callrail_relay.callrail.simulator import Fault, Kind, Simulator
from callrail_relay.domain.health import LITTLE_SPACE, Condition
from callrail_relay.domain.routing import Route
from callrail_relay.errors import RefusedByCallRail, Unavailable, Waiting
from callrail_relay.sentences import at
from callrail_relay.service.health import (
    ANSWER_AGE,
    NO_SPACE,
    CheckWarning,
    Remembered,
    check_accounts,
    check_clock,
    check_relay,
    check_replies,
    check_routes,
    check_space,
    check_store,
    check_waiting,
    run_checks,
)
from callrail_relay.service.operations import Operations
from tests.callrail.simulated import make_simulator
from tests.service.rig import KEY, Rig, open_callrail, open_rig
from tests.support.clock import ManualClock
from tests.support.simulator import InProcessTransport, change_tracker

pytestmark = pytest.mark.anyio


def route_of(simulator: Simulator, **changes: str) -> Route:
    parts = {
        "account_id": simulator.account_id,
        "company_id": simulator.company_id,
        "tracking_number": simulator.tracking_number,
    }
    return Route(**(parts | changes))


async def routes_checked(simulator: Simulator, *routes: Route, api_key: str = KEY) -> str:
    async with open_callrail(transport=InProcessTransport(simulator), api_key=api_key) as callrail:
        return await check_routes(callrail, routes)


def elsewhere(rig: Rig) -> Operations:
    """The operations after the settings got another account."""
    return rig.operations_of("ACC9")


@pytest.mark.parametrize(
    ("seconds", "words"), [(-3600, "60 minutes fast"), (61, "1 minute slow"), (59, None), (-59, None)]
)
def test_a_clock_that_is_wrong_is_told(seconds: int, words: str | None) -> None:
    """CallRail's is taken for right."""
    if words is None:
        assert "Fine." == check_clock("Fine.", timedelta(seconds=seconds))
    else:
        with pytest.raises(CheckWarning, match=rf"^Fine\. But this computer's clock is {words}, compared"):
            check_clock("Fine.", timedelta(seconds=seconds))


async def test_store_that_can_be_written_is_well(tmp_path: Path) -> None:
    """It is named; where it cannot be written, the store's own words say why."""
    async with open_rig(tmp_path, patience=0) as rig:
        detail = await check_store(rig.outbox)
        assert detail.endswith("relay.db can be written to.")
        with (
            rig.failing_store(),
            pytest.raises(Unavailable, match=r"relay\.db is locked by another program"),
        ):
            await check_store(rig.outbox)


async def test_clock_behind_the_newest_message_is_a_warning(tmp_path: Path) -> None:
    """It was ahead when the message came, or it is wrong now."""
    async with open_rig(tmp_path) as rig:
        await rig.accept()
        rig.clock.advance(timedelta(hours=-1))

        with pytest.raises(CheckWarning, match=r"newest message is from .* and the clock shows"):
            await check_store(rig.outbox)


async def test_relay_that_does_not_run_is_a_failure(tmp_path: Path) -> None:
    """The remedy is named; a serve that works on the store is enough."""
    async with open_rig(tmp_path) as idle:
        with pytest.raises(Unavailable, match=r"No relay is running.*`callrail-relay serve`"):
            await check_relay(idle.operations.facts)
        async with open_rig(tmp_path, serves=True):
            assert "The relay is running." == await check_relay(idle.operations.facts)


def test_space_is_told_before_it_is_gone() -> None:
    """First a warning, then a failure."""
    assert "200 MB free in /data." == check_space(LITTLE_SPACE, "/data")
    with pytest.raises(CheckWarning, match="199 MB left; free some space"):
        check_space(LITTLE_SPACE - 1, "/data")
    with pytest.raises(CheckWarning, match="20 MB left"):
        check_space(NO_SPACE, "/data")
    with pytest.raises(Unavailable, match="19 MB left; free some space before texts are rejected"):
        check_space(NO_SPACE - 1, "/data")


async def test_routes_that_can_text_are_well() -> None:
    """The account by either of its names."""
    simulator = make_simulator()
    by_number = route_of(simulator, account_id=str(simulator.accounts[simulator.account_id].numeric_id))

    for route in (route_of(simulator), by_number):
        assert "The API key is valid, and 1 number can text." == await routes_checked(simulator, route)


async def test_an_account_by_both_of_its_names_is_told() -> None:
    """It would have two budgets, and CallRail knows of one."""
    simulator = make_simulator()
    by_number = route_of(simulator, account_id=str(simulator.accounts[simulator.account_id].numeric_id))

    with pytest.raises(CheckWarning, match=f"write {simulator.account_id} everywhere"):
        await routes_checked(simulator, route_of(simulator), by_number)


async def test_wrong_key_is_told() -> None:
    """Where to copy it again is said."""
    with pytest.raises(RefusedByCallRail, match="Copy it again"):
        await routes_checked(make_simulator(), api_key="another-key")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"account_id": "ACC9"}, "can't see account ACC9"),
        ({"company_id": "COM9"}, "has no active company COM9"),
        ({"tracking_number": "+12025550177"}, "no number ending in 0177"),
    ],
)
async def test_route_that_does_not_exist_is_told(changes: dict[str, str], words: str) -> None:
    """Which part of it is wrong, and what to run; no full number."""
    simulator = make_simulator()
    with pytest.raises(RefusedByCallRail, match=words) as caught:
        await routes_checked(simulator, route_of(simulator, **changes))

    assert "configure" in str(caught.value)
    assert "+1202555" not in str(caught.value)


async def test_number_that_cannot_text_is_told() -> None:
    """A number whose texting is switched off in CallRail."""
    simulator = make_simulator()
    change_tracker(simulator, next(iter(simulator.trackers)), sms_enabled=False)
    with pytest.raises(RefusedByCallRail, match="turn on texting"):
        await routes_checked(simulator, route_of(simulator))


async def test_unreachable_callrail_is_told() -> None:
    """That is another fault than a refusal."""
    simulator = make_simulator()
    simulator.fault(Fault(Kind.REFUSE, on="any"))
    with pytest.raises(Unavailable, match="can't be reached"):
        await routes_checked(simulator, route_of(simulator))


async def test_paused_account_is_told(tmp_path: Path) -> None:
    """A person's pause names the way out, and one that CallRail caused does so itself, once."""
    async with open_rig(tmp_path) as rig:
        assert "No account is paused." in await check_accounts(rig.operations)
        await rig.operations.pause(None, "Holidays.")
        with pytest.raises(Waiting, match=r"Holidays\. Run `callrail-relay resume`"):
            await check_accounts(rig.operations)

        await rig.operations.resume(None)
        rig.simulator.read_only = True
        await rig.accept()
        await rig.work(rig.delivery())
        with pytest.raises(Waiting) as caught:
            await check_accounts(rig.operations)
        assert 1 == str(caught.value).count("callrail-relay resume")


async def test_callrail_that_only_answers_questions_is_told(tmp_path: Path) -> None:
    """As the verdict says it; what it answers to other requests proves nothing."""
    async with open_rig(tmp_path, serves=True) as rig:
        rig.simulator.fault(Fault(Kind.STATUS, status=503, times=1))
        await rig.accept()
        await rig.work(rig.delivery(), step=0)
        with pytest.raises(Unavailable, match=r"no proper answer from CallRail\. .* show why"):
            await check_accounts(rig.operations)

        rig.clock.advance(timedelta(minutes=5))
        await rig.accept("Another")
        await rig.work(rig.delivery())
        assert "No account is paused." in await check_accounts(rig.operations)


async def test_a_text_that_callrail_accepted_is_proof_and_nothing_else_is(tmp_path: Path) -> None:
    """One of another account says nothing about this one; when it was accepted is said."""
    unproven = "Only a real text shows whether the API key can send."
    async with open_rig(tmp_path) as rig:
        assert (await check_accounts(rig.operations)).endswith(unproven)
        rig.simulator.read_only = True
        await rig.accept("Refused.")
        await rig.work(rig.delivery())
        await rig.operations.resume(None)
        assert (await check_accounts(rig.operations)).endswith(unproven)

        rig.simulator.read_only = False
        await rig.work(rig.delivery())
        accepted = rig.clock.now()
        rig.clock.advance(timedelta(hours=1))
        words = await check_accounts(rig.operations)
        others = await check_accounts(elsewhere(rig))

    time = at(accepted, rig.clock.now())
    assert f"No account is paused. CallRail last accepted a text {time}." == words
    assert others.endswith(unproven)


async def test_texts_of_a_forgotten_account_are_told(tmp_path: Path) -> None:
    """Texts that wait for an account which the settings no longer name."""
    async with open_rig(tmp_path) as rig:
        await rig.accept()
        with pytest.raises(CheckWarning, match=r"Messages wait for account ACC.*isn't in the settings"):
            await check_accounts(elsewhere(rig))


async def test_texts_that_wait_for_a_person_are_told(tmp_path: Path) -> None:
    """Held and unknown ones, with the command that shows them."""
    async with open_rig(tmp_path) as rig:
        assert "No messages need review." == await check_waiting(rig.operations)
        await rig.accept("Hello [[name]]")
        with pytest.raises(
            CheckWarning,
            match=r"^1 message needs your review \(1 on hold\)\. .* `callrail-relay messages list",
        ):
            await check_waiting(rig.operations)

        rig.simulator.fault(Fault(Kind.DROP, position=1))
        await rig.accept("Hello")
        await rig.work(rig.delivery())
        # No one has to do anything about a text that is being looked up.
        with pytest.raises(CheckWarning, match=r"^1 message needs your review \(1 on hold\)\. "):
            await check_waiting(rig.operations)


def test_replies_are_heard_of() -> None:
    """By webhooks, by looking, or by both; without either a STOP is not. What was not seen is a warning."""
    quarter = timedelta(minutes=15)
    known = "CallRail's webhooks are verified with 2 keys from the OS keyring."

    def checked(keys: int = 0, every: timedelta | None = quarter, ago: float | None = 3, to: int = 0) -> str:
        past = None if ago is None else timedelta(minutes=ago)
        return check_replies(keys, "OS keyring" if keys else None, every, past, to)

    read = "Replies were last read 3 minutes ago. The relay reads them every 15 minutes."
    assert read == checked()
    assert f"{known} {read} Replies are forwarded to 1 channel." == checked(keys=2, to=1)
    assert "Replies were last read 35 minutes ago" in checked(ago=35)
    for ago, words in ((None, "haven't been read yet"), (36, "long ago")):
        with pytest.raises(CheckWarning, match=words):
            checked(ago=ago)
    with pytest.raises(CheckWarning, match=r"keys.* The relay can't check whether the webhooks still arrive"):
        checked(keys=2, every=None)
    with pytest.raises(
        CheckWarning, match=r"`callrail-relay configure --webhooks`, or set replies.poll_every"
    ):
        checked(every=None)


@pytest.mark.parametrize("condition", [Condition.OK, Condition.WARNING])
async def test_an_answer_of_callrail_that_is_kept_says_when_it_was_asked(condition: Condition) -> None:
    """It is asked again when that is long ago, and at once when a person wants it anew."""
    clock, asked = ManualClock(), 0

    async def ask() -> str:
        nonlocal asked
        asked += 1
        if condition is Condition.WARNING:
            raise CheckWarning("The key is valid.")
        return "The key is valid."

    check = Remembered(ask, clock)

    async def found() -> str:
        [finding] = (await run_checks([("CallRail", check)])).findings
        assert condition is finding.condition
        return finding.detail

    asked_at = clock.now()
    assert "The key is valid." == await found()
    clock.advance(ANSWER_AGE - timedelta(seconds=1))
    assert f"The key is valid. Checked at {asked_at:%Y-%m-%d %H:%M} UTC." == await found()
    check.expire()
    assert "The key is valid." == await found()
    clock.advance(ANSWER_AGE)
    assert "The key is valid." == await found()
    assert 3 == asked
