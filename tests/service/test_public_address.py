"""Whether the public URL leads to this relay, by what answers there."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from callrail_relay.domain.events import PublicAddressChecked
from callrail_relay.domain.health import PublicUrl
from callrail_relay.domain.public_url import Answer, NoAnswer, Trouble, proof
from callrail_relay.errors import RelayError, SettingsError, Unavailable
from callrail_relay.outbox import relay_secrets
from callrail_relay.service.health import CheckWarning
from callrail_relay.service.public_address import AGAIN, EVERY, FromInside, PublicAddress, PublicAddressWatch
from tests.service.rig import Rig, checked, open_rig

pytestmark = pytest.mark.anyio

URL = "https://texts.example.com"
LISTENER = "http://127.0.0.1:8787"


class World:
    """What answers at the public URL."""

    def __init__(self) -> None:
        self.secret = ""
        self.public: Callable[[str], Answer] = self.relay
        self.asked: list[str] = []

    def relay(self, nonce: str) -> Answer:
        return Answer(status=200, body=proof(self.secret, nonce).encode())

    async def fetch(self, url: str) -> Answer:
        self.asked.append(url)
        assert url.startswith(f"{URL}/healthz?")
        [nonce] = parse_qs(urlsplit(url).query)["probe"]
        return self.public(nonce)

    def broken(self, trouble: Trouble, *addresses: str) -> Callable[[str], Answer]:
        def answer(_nonce: str) -> Answer:
            raise NoAnswer(trouble, "detail\x1b", addresses)

        return answer


def address_of(rig: Rig, world: World, *, url: str | None = URL) -> PublicAddress:
    return PublicAddress(url, rig.outbox, world.fetch, LISTENER)


@asynccontextmanager
async def the_world(folder: Path, *, serves: bool = True) -> AsyncIterator[tuple[Rig, World]]:
    async with open_rig(folder, serves=serves) as rig:
        world = World()
        world.secret = await rig.outbox.write(relay_secrets.read_relay_secret, "secret of this relay")
        yield rig, world


async def test_it_is_well_when_this_relay_answered_just_now(tmp_path: Path) -> None:
    """Each time with another nonce, so that no answer is of use twice."""
    async with the_world(tmp_path) as (rig, world):
        address = address_of(rig, world)
        for _ in range(2):
            assert "https://texts.example.com leads to this relay" in await checked(address)
        assert 2 == len(set(world.asked))


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Answer(status=404, body=b"Not Found"), "Another server answers at https://texts.example.com (404)"),
        (Answer(status=200, body=b"<html>"), "Another server answers"),
        (Answer(status=200), "Another relay answers"),
        (Answer(status=200, body=proof("another", "x").encode()), "Another relay answers"),
        (Answer(status=503), "doesn't reach the relay (503)"),
        (Answer(status=502, body=b"Bad Gateway"), "on to http://127.0.0.1:8787"),
        (Answer(status=401), "wants a login"),
        (
            Answer(status=301, location="https://www.example.com/x?y\x1b"),
            "redirects to https://www.example.com (301)",
        ),
        (Answer(status=307, location="/"), "redirects (307)"),
    ],
)
async def test_whoever_else_answers_is_told_apart(answer: Answer, words: str, tmp_path: Path) -> None:
    async with the_world(tmp_path) as (rig, world):
        world.public = lambda _nonce: answer
        with pytest.raises(Unavailable) as caught:
            await checked(address_of(rig, world))

    assert words in str(caught.value)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("trouble", [one for one in Trouble if one is not Trouble.PROXY])
async def test_no_answer_is_told_with_its_cause(trouble: Trouble, tmp_path: Path) -> None:
    async with the_world(tmp_path) as (rig, world):
        world.public = world.broken(trouble)
        with pytest.raises(Unavailable, match=r"texts\.example\.com") as caught:
            await checked(address_of(rig, world))

    assert str(caught.value).isprintable()


async def test_a_store_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    async with the_world(tmp_path) as (rig, world):
        world.public = lambda nonce: Answer(status=503, body=proof(world.secret, nonce).encode())
        with pytest.raises(Unavailable, match="leads to this relay, but it can't store messages"):
            await checked(address_of(rig, world))


@pytest.mark.parametrize("public", ["refused", "another", "bad gateway"])
async def test_without_a_relay_nothing_is_claimed(public: str, tmp_path: Path) -> None:
    """Neither that the URL is right nor that it is wrong."""
    async with the_world(tmp_path, serves=False) as (rig, world):
        world.public = {
            "refused": world.broken(Trouble.REFUSED),
            "another": lambda _nonce: Answer(status=404),
            "bad gateway": lambda _nonce: Answer(status=502),
        }[public]
        with pytest.raises(CheckWarning, match="because it isn't running"):
            await checked(address_of(rig, world))


async def test_a_name_that_leads_inside_is_a_warning(tmp_path: Path) -> None:
    """Whether it answered or not; an answer is reported differently."""
    async with the_world(tmp_path) as (rig, world):
        address = address_of(rig, world)
        world.public = lambda nonce: Answer(
            status=200, body=proof(world.secret, nonce).encode(), addresses=("100.64.1.2",)
        )
        with pytest.raises(FromInside, match="Tailscale"):
            await checked(address)
        world.public = world.broken(Trouble.TIME_OUT, "192.168.1.9")
        with pytest.raises(CheckWarning, match=r"192\.168\.1\.9") as caught:
            await checked(address)
        assert not isinstance(caught.value, FromInside)
        world.public = world.broken(Trouble.PROXY)
        with pytest.raises(CheckWarning, match="proxy in this computer's environment"):
            await checked(address)


@pytest.mark.parametrize(
    ("url", "error", "words"),
    [
        (None, CheckWarning, "isn't set"),
        ("http://texts.example.com", SettingsError, "Write https://texts.example.com"),
        ("http://127.0.0.1:8787", SettingsError, "only to this computer"),
        ("https://texts.example.com/hooks/if3/SECRET", SettingsError, "Give only its beginning"),
    ],
)
async def test_what_cannot_be_right_is_not_even_asked(
    url: str | None, error: type[RelayError], words: str, tmp_path: Path
) -> None:
    async with the_world(tmp_path) as (rig, world):
        with pytest.raises(error, match=words):
            await checked(address_of(rig, world, url=url))
        assert [] == world.asked


async def test_the_last_result_counts_for_a_while(tmp_path: Path) -> None:
    """A page that asks every second does not ask the world as often; what was wrong is asked again sooner."""
    async with the_world(tmp_path) as (rig, world):
        address = address_of(rig, world)
        for _ in range(3):
            await address.recent()
        assert 1 == len(world.asked)
        rig.clock.advance(EVERY)
        world.public = lambda _nonce: Answer(status=404)
        for _ in range(3):
            with pytest.raises(Unavailable):
                await address.recent()
        assert 2 == len(world.asked)
        world.public = world.relay
        rig.clock.advance(AGAIN)
        await address.recent()
        assert address.last is not None
        assert isinstance(address.last[1], str)


async def test_a_running_relay_tells_when_its_url_stops_leading_to_it(tmp_path: Path) -> None:
    """Once for each change, and it looks more often while something is wrong."""
    async with the_world(tmp_path) as (rig, world):
        watch = PublicAddressWatch(rig.outbox, rig.events, address_of(rig, world))
        dues = []
        for public in (world.relay, world.relay, world.broken(Trouble.REFUSED), world.relay):
            world.public = public
            dues.append(await watch.turn())

        told = rig.events.of(PublicAddressChecked)
        assert [True, False, True] == [event.reached for event in told]
        assert ["info", "warning", "info"] == [event.level for event in told]
        assert [None, None, rig.clock.now() + timedelta(minutes=1), None] == dues


async def test_a_tunnel_that_starts_has_a_moment_before_anyone_is_told(tmp_path: Path) -> None:
    """Until then nothing is known, so no alert is sent of a fault at each start."""
    async with the_world(tmp_path) as (rig, world):
        address = address_of(rig, world)
        address.not_before = rig.clock.monotonic() + 15
        watch = PublicAddressWatch(rig.outbox, rig.events, address)
        world.public = world.broken(Trouble.REFUSED)

        assert rig.clock.now() + timedelta(seconds=15) == await watch.turn()
        assert ([], None) == (rig.events.of(PublicAddressChecked), address.last)

        rig.clock.advance(15)
        await watch.turn()
        assert [False] == [event.reached for event in rig.events.of(PublicAddressChecked)]


async def test_the_verdict_gets_what_was_seen(tmp_path: Path) -> None:
    """Not checked yet, answered, silent; what can't be checked from here is neither."""
    async with the_world(tmp_path) as (rig, world):
        assert address_of(rig, world, url=None).seen is None
        address = address_of(rig, world)
        assert PublicUrl(url=URL) == address.seen

        await checked(address)
        assert PublicUrl(url=URL, answered=True) == address.seen

        world.public = world.broken(Trouble.REFUSED)
        with pytest.raises(Unavailable) as silent:
            await checked(address)
        assert PublicUrl(url=URL, answered=False, detail=str(silent.value)) == address.seen

    async with the_world(tmp_path / "idle", serves=False) as (rig, world):
        world.public = world.broken(Trouble.REFUSED)
        address = address_of(rig, world)
        with pytest.raises(CheckWarning) as untried:
            await checked(address)
        assert PublicUrl(url=URL, answered=None, detail=str(untried.value)) == address.seen
