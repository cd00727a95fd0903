"""The tunnel is kept up: started, watched, and started again with growing pauses."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from callrail_relay.domain.events import TunnelEnded
from callrail_relay.domain.public_url import Answer
from callrail_relay.domain.tunnels import LOST, Kind, Tunnel, TunnelState
from callrail_relay.errors import SecretError, Unavailable
from callrail_relay.service.public_address import PublicAddress, TunnelKeeper
from tests.service.rig import Rig, checked, open_rig

pytestmark = pytest.mark.anyio

SSH = Tunnel(
    kind=Kind.SSH, program="ssh", address="https://texts.example.com", target="relay@vps", remote_port=8787
)
QUICK = Tunnel(kind=Kind.CLOUDFLARED, program="cloudflared")
OLD, NEW = "https://old-words.trycloudflare.com", "https://new-words.trycloudflare.com"
REGISTERED = "INF Registered tunnel connection connIndex=0"


class Scripted:
    """A tunnel program that prints and ends when the test says so."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.code: int | None = None
        self.stopped = False

    async def stop(self) -> None:
        self.stopped = True


class Office:
    """The settings and programs around a keeper, and what it noted."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.wanted: Tunnel | None = SSH
        self.programs: list[Scripted] = []
        self.states: list[TunnelState | None] = []
        self.forgotten = 0
        self.fault: Exception | None = None
        self.address = PublicAddress(None, rig.outbox, self.fetch, "http://127.0.0.1:8787", self.last_state)
        self.keeper = TunnelKeeper(
            rig.outbox,
            rig.events,
            lambda: self.wanted,
            self.start,
            self.states.append,
            self.forget,
            self.address,
        )

    def last_state(self) -> TunnelState | None:
        return self.states[-1] if self.states else None

    async def fetch(self, url: str) -> Answer:
        raise AssertionError(url)

    async def start(self, _tunnel: Tunnel) -> Scripted:
        if self.fault is not None:
            raise self.fault
        self.programs.append(Scripted())
        return self.programs[-1]

    def forget(self) -> None:
        self.forgotten += 1

    async def pass_time(self, seconds: int) -> None:
        for _ in range(seconds):
            await self.keeper.turn()
            self.rig.clock.advance(1)
        await self.keeper.turn()


@asynccontextmanager
async def an_office(folder: Path) -> AsyncIterator[Office]:
    async with open_rig(folder, serves=True) as rig:
        yield Office(rig)


async def test_it_starts_again_with_pauses_from_1_to_30_seconds(tmp_path: Path) -> None:
    """What ran for a minute was up, so the pauses begin anew."""
    async with an_office(tmp_path) as office:
        pauses = []
        for _ in range(8):
            await office.keeper.turn()
            office.programs[-1].lines, office.programs[-1].code = ["Connection refused"], 255
            await office.keeper.turn()
            pause = int(office.rig.events.of(TunnelEnded)[-1].retry_in.total_seconds())
            started = len(office.programs)
            await office.pass_time(pause - 1)
            assert started == len(office.programs)
            office.rig.clock.advance(1)
            pauses.append(pause)
        assert [1, 2, 4, 8, 16, 30, 30, 30] == pauses

        await office.pass_time(61)
        office.programs[-1].code = 255
        await office.keeper.turn()
        assert 1 == office.rig.events.of(TunnelEnded)[-1].retry_in.total_seconds()


async def test_why_it_ended_is_noted_with_the_remedy(tmp_path: Path) -> None:
    async with an_office(tmp_path) as office:
        await office.pass_time(1)
        assert TunnelState(tunnel=SSH, running=True, address=SSH.address) == office.last_state()
        office.programs[-1].lines, office.programs[-1].code = ["Host key verification failed."], 255
        await office.keeper.turn()

        state = office.last_state()
        assert state is not None
        assert not state.running
        assert "Run `ssh relay@vps` once" in state.detail
        assert office.programs[-1].stopped
        office.address.move("https://texts.example.com")
        office.address.fetch = unreachable
        with pytest.raises(Unavailable, match="Run `ssh relay@vps` once"):
            await checked(office.address)


async def unreachable(_url: str) -> Answer:
    return Answer(status=502)


async def test_what_runs_is_up_once_it_says_so(tmp_path: Path) -> None:
    """Or after 20 s without a word. A slow computer takes seconds until a program can say that it can't."""
    async with an_office(tmp_path) as office:
        office.wanted = replace(QUICK, address=OLD, target="office")
        await office.pass_time(19)
        assert TunnelState(tunnel=office.wanted) == office.last_state()
        await office.pass_time(2)
        up = TunnelState(tunnel=office.wanted, running=True, address=OLD)
        assert up == office.last_state()

        office.programs[-1].code = 1
        await office.pass_time(3)
        assert office.states[-1] != up
        office.programs[-1].lines = [REGISTERED]
        await office.keeper.turn()
        assert up == office.last_state()


async def test_a_reason_stays_until_the_program_is_up(tmp_path: Path) -> None:
    """A program that runs again may fail again: only written settings and success take the reason away."""
    async with an_office(tmp_path) as office:
        await office.keeper.turn()
        office.programs[-1].lines, office.programs[-1].code = ["Connection refused"], 255
        await office.pass_time(5)
        reason = office.last_state()
        assert reason is not None
        assert (2, False) == (len(office.programs), reason.running)
        await office.pass_time(10)
        assert reason == office.last_state()
        await office.pass_time(15)
        assert TunnelState(tunnel=SSH, running=True, address=SSH.address) == office.last_state()

        office.programs[-1].code = 255
        await office.keeper.turn()
        office.keeper.try_again()
        await office.keeper.turn()
        assert TunnelState(tunnel=SSH) == office.last_state()


async def test_a_change_of_the_settings_is_taken_up(tmp_path: Path) -> None:
    """Another tunnel in the place of the former one, or none; and written settings end a pause."""
    async with an_office(tmp_path) as office:
        await office.pass_time(1)
        office.wanted = replace(SSH, remote_port=9000)
        await office.pass_time(1)
        assert [True, False] == [one.stopped for one in office.programs]

        office.programs[-1].code = 255
        for _ in range(5):
            await office.keeper.turn()
        office.keeper.try_again()
        await office.keeper.turn()
        assert 3 == len(office.programs)

        office.wanted = None
        await office.keeper.turn()
        assert office.programs[-1].stopped
        assert office.last_state() is None


async def test_what_cannot_be_started_is_tried_again(tmp_path: Path) -> None:
    """Such as while the keyring is locked."""
    async with an_office(tmp_path) as office:
        office.fault = SecretError("The keyring is locked.")
        await office.keeper.turn()
        state = office.last_state()
        assert state is not None
        assert "The keyring is locked." == state.detail
        office.fault = None
        await office.pass_time(2)
        assert 1 == len(office.programs)


async def test_a_temporary_address_that_changes_is_told(tmp_path: Path) -> None:
    """IF3 has the old one: the public URL is taken out, and the verdict says so until `expose` runs again."""
    async with an_office(tmp_path) as office:
        office.wanted = QUICK
        office.keeper.try_again()  # `expose` has just written it
        await office.keeper.turn()
        office.programs[-1].lines = [f"INF |  {OLD}  |", REGISTERED]
        await office.pass_time(1)
        assert TunnelState(tunnel=QUICK, running=True, address=OLD) == office.last_state()
        office.address.move(OLD)
        office.programs[-1].code = 1
        await office.pass_time(2)

        office.programs[-1].lines = [f"INF |  {NEW}  |", REGISTERED]
        await office.pass_time(1)

        assert (1, None) == (office.forgotten, office.address.url)
        assert TunnelState(tunnel=QUICK, running=True, address=NEW, detail=LOST) == office.last_state()
        assert office.address.seen is not None
        assert (False, LOST) == (office.address.seen.answered, office.address.seen.detail)
        with pytest.raises(Unavailable, match="temporary address has changed"):
            await checked(office.address)
        office.keeper.try_again()
        office.address.move(NEW)
        await office.keeper.turn()
        assert TunnelState(tunnel=QUICK, running=True, address=NEW) == office.last_state()


async def test_after_a_restart_a_lost_address_is_still_lost(tmp_path: Path) -> None:
    async with an_office(tmp_path) as office:
        office.wanted = QUICK
        await office.pass_time(1)
        state = office.last_state()
        assert state is not None
        assert LOST == state.detail


async def test_what_keeps_itself_up_is_only_noted(tmp_path: Path) -> None:
    async with an_office(tmp_path) as office:
        office.wanted = Tunnel(
            kind=Kind.TAILSCALE, program="tailscale", address="https://n.t.ts.net", remote_port=443
        )
        await office.pass_time(3)
        assert [] == office.programs
        assert office.last_state() is not None


async def test_its_end_is_the_programs_end(tmp_path: Path) -> None:
    """Nothing is left running, and no note says that a tunnel stands."""
    async with an_office(tmp_path) as office:
        await office.keeper.turn()
        office.keeper.stop()
        await office.keeper.run()
        assert office.programs[-1].stopped
        assert office.last_state() is None
