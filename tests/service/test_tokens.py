import asyncio
from collections.abc import Collection, Sequence
from datetime import timedelta

import pytest

from callrail_relay.errors import SecretError, Unavailable
from callrail_relay.service.tokens import (
    GRACE,
    MOST_FORMER,
    REREAD,
    HookToken,
    HookTokens,
    digest,
    new_token,
    read_former,
    write_former,
)
from tests.support.clock import START, ManualClock

pytestmark = pytest.mark.anyio


class Place:
    """Where tokens are kept, and how often they were read."""

    def __init__(self, *tokens: HookToken) -> None:
        self.tokens: Sequence[HookToken] = tokens
        self.read = 0

    async def __call__(self) -> Sequence[HookToken]:
        self.read += 1
        return self.tokens


async def none_ended() -> Collection[str]:
    return ()


def make_tokens(clock: ManualClock) -> tuple[HookTokens, Place]:
    place = Place(HookToken(value="first"))
    return HookTokens(place.tokens, place, clock, none_ended), place


def test_tokens_are_long_random_and_fit_for_a_url() -> None:
    """256 bits, and no two alike."""
    tokens = {new_token() for _ in range(100)}

    assert 100 == len(tokens)
    assert all(43 == len(token) and token.replace("-", "").replace("_", "").isalnum() for token in tokens)


@pytest.mark.parametrize("candidate", ["", "firs", "first ", "First", "firstfirst", "f\xe9", "\udcff"])
def test_only_the_token_itself_matches(candidate: str) -> None:
    """Whatever is in a path is compared, and nothing else opens."""
    assert HookToken(value="first").matches("first", START)
    assert not HookToken(value="first").matches(candidate, START)


def test_former_token_ends_with_its_grace() -> None:
    """Valid up to an instant, and not at it."""
    token = HookToken(value="old", valid_until=START)

    assert token.matches("old", START - timedelta(microseconds=1))
    assert not token.matches("old", START)


async def test_known_token_opens_without_looking() -> None:
    """The usual case asks no keyring."""
    tokens, place = make_tokens(ManualClock())

    assert await tokens.opens("first")
    assert 0 == place.read


async def test_rotation_needs_no_restart() -> None:
    """An unknown token makes it look; then the new one opens, and for a day the former one as well."""
    clock = ManualClock()
    tokens, place = make_tokens(clock)
    place.tokens = [HookToken(value="second"), HookToken(value="first", valid_until=clock.now() + GRACE)]
    clock.advance(REREAD)

    assert await tokens.opens("second")
    assert await tokens.opens("first")
    clock.advance(GRACE)
    assert not await tokens.opens("first")
    assert await tokens.opens("second")


async def test_wrong_tokens_do_not_make_it_look_all_the_time() -> None:
    """At most once in two seconds, no matter who asks."""
    clock = ManualClock()
    tokens, place = make_tokens(clock)
    for _ in range(7):
        assert not await tokens.opens("wrong")
        clock.advance(1)

    assert 4 == place.read


async def test_requests_that_come_while_it_looks_wait_for_what_it_finds() -> None:
    """A rotation refuses none of them, and one look is enough."""
    clock = ManualClock()
    looking, found = asyncio.Event(), asyncio.Event()
    looks = 0

    async def read() -> Sequence[HookToken]:
        nonlocal looks
        looks += 1
        looking.set()
        await found.wait()
        return [HookToken(value="second")]

    tokens = HookTokens([HookToken(value="first")], read, clock, none_ended)
    clock.advance(REREAD)
    first = asyncio.create_task(tokens.opens("second"))
    await looking.wait()
    others = [asyncio.create_task(tokens.opens(token)) for token in ("second", "wrong")]
    await asyncio.sleep(0)
    found.set()

    assert [True, True, False] == await asyncio.gather(first, *others)
    assert 1 == looks


async def test_clock_set_back_does_not_keep_it_from_looking() -> None:
    """What has passed has passed."""
    clock = ManualClock()
    tokens, place = make_tokens(clock)
    place.tokens = [HookToken(value="second")]
    clock.set(clock.now() - timedelta(days=1))
    clock.advance(REREAD)

    assert await tokens.opens("second")


async def test_failing_look_is_not_repeated_at_once() -> None:
    """A broken place costs one look in two seconds as well."""
    clock = ManualClock()
    looks = 0

    async def read() -> Sequence[HookToken]:
        nonlocal looks
        looks += 1
        raise SecretError("Broken.")

    tokens = HookTokens([HookToken(value="first")], read, clock, none_ended)
    clock.advance(REREAD)

    assert not await tokens.opens("wrong")
    assert not await tokens.opens("wrong")
    assert 1 == looks


async def test_place_that_cannot_be_read_leaves_what_is_known() -> None:
    """A locked keyring does not close the webhook."""
    clock = ManualClock()
    tokens, place = make_tokens(clock)
    place.tokens = []
    clock.advance(REREAD)

    assert not await tokens.opens("wrong")
    assert await tokens.opens("first")


async def test_token_that_was_ended_closes_within_seconds() -> None:
    """Though it is still known, and no other one ever comes."""
    clock, ended = ManualClock(), set[str]()

    async def read_ended() -> Collection[str]:
        return frozenset(ended)

    place = Place(HookToken(value="first"))
    tokens = HookTokens(place.tokens, place, clock, read_ended)
    assert await tokens.opens("first")
    ended.add(digest("first"))
    clock.advance(REREAD)

    assert not await tokens.opens("first")


async def test_store_that_does_not_answer_leaves_what_is_known() -> None:
    """It is asked again two seconds later."""
    clock, works = ManualClock(), True

    async def read_ended() -> Collection[str]:
        if not works:
            raise Unavailable("Down.")
        return {digest("old")}

    known = [HookToken(value="first"), HookToken(value="old")]
    tokens = HookTokens(known, Place(*known), clock, read_ended)
    assert not await tokens.opens("old")
    works = False
    clock.advance(REREAD)

    assert await tokens.opens("first")
    assert not await tokens.opens("old")


def test_former_tokens_are_kept_while_they_are_valid() -> None:
    """Newest first, and not without end; one that was written by an earlier release is read as well."""
    former = [
        HookToken(value=f"t{hour}", valid_until=START + hour * GRACE / 24) for hour in range(20, -1, -1)
    ]

    assert former[:MOST_FORMER] == read_former(write_former(former, START))
    assert former[-3:-1] == read_former(write_former(former[-3:], START))
    assert [former[0]] == read_former(f"{former[0].valid_until}|t20")
    assert "" == write_former([], START)
    assert [] == read_former("")
