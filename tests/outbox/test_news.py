"""
News of one process reach another at once; whoever cannot be reached is no trouble.
"""

import asyncio
import socket
import sys
from pathlib import Path

import pytest

from callrail_relay.domain.message import Source
from callrail_relay.outbox.engine import open_engine
from callrail_relay.outbox.news import FileNews, PostgresNews
from callrail_relay.outbox.store import Outbox
from tests.support.clock import ManualClock
from tests.support.factories import ACCOUNT, make_message, make_submission

pytestmark = pytest.mark.anyio


async def test_what_a_person_decides_elsewhere_is_heard(outbox: Outbox, second_outbox: Outbox) -> None:
    """
    A word given by another process comes at once, each time.
    """
    heard = asyncio.Event()
    await outbox.listen(heard.set)

    for _ in range(2):
        await second_outbox.resume(ACCOUNT)
        await asyncio.wait_for(heard.wait(), 10)
        heard.clear()


async def test_a_text_of_a_command_is_heard(outbox: Outbox, second_outbox: Outbox) -> None:
    """
    A command that stores a text may leave it to others to send it.
    """
    heard = asyncio.Event()
    await outbox.listen(heard.set)

    await second_outbox.accept(make_submission(make_message(), source=Source.SEND))

    await asyncio.wait_for(heard.wait(), 10)


async def test_telling_nobody_is_no_fault(outbox: Outbox) -> None:
    """
    Without anybody who listens the word is given all the same.
    """
    await outbox.resume(ACCOUNT)


async def test_listening_twice_is_listening_once(outbox: Outbox, second_outbox: Outbox) -> None:
    """
    It may be asked for again and again, as the worker does.
    """
    heard: list[int] = []
    told = asyncio.Event()

    def hear() -> None:
        heard.append(1)
        told.set()

    await outbox.listen(hear)
    await outbox.listen(hear)
    await second_outbox.resume(ACCOUNT)
    await asyncio.wait_for(told.wait(), 10)

    assert [1] == heard


async def test_datagrams_of_strangers_are_not_heard(tmp_path: Path) -> None:
    """
    Only who can read the file beside the store is heard; it is this user's alone, and goes with the listener.
    """
    heard: list[None] = []
    known = asyncio.Event()

    def hear() -> None:
        heard.append(None)
        known.set()

    news, file = FileNews(tmp_path / "relay.db"), tmp_path / "relay.db-news"
    await news.listen(hear)
    port, token = file.read_text().split()

    with socket.socket(type=socket.SOCK_DGRAM) as stranger:
        stranger.sendto(b"open", ("127.0.0.1", int(port)))
        stranger.sendto(token[:-1].encode(), ("127.0.0.1", int(port)))
        # From one socket of this machine to another they come in their order.
        stranger.sendto(token.encode(), ("127.0.0.1", int(port)))
        await asyncio.wait_for(known.wait(), 10)
    assert [None] == heard

    assert sys.platform == "win32" or 0o600 == file.stat().st_mode & 0o777
    news.close()
    assert not file.exists()


async def test_a_file_that_names_nobody_is_no_fault(tmp_path: Path, clock: ManualClock) -> None:
    """
    It may be left by a process that died, or be no such file at all.
    """
    for words in ("", "nonsense", "1 abc", "99999999 abc"):
        (tmp_path / "relay.db-news").write_text(words)
        FileNews(tmp_path / "relay.db").tell()


async def test_a_database_that_takes_no_connection_is_no_fault() -> None:
    """
    It may have none left, or be gone since the last question: nothing is heard until it is asked again.
    """
    engine = open_engine("postgresql://relay@127.0.0.1:1/relay")
    news = PostgresNews(engine)

    await news.listen(lambda: None)

    news.close()
    engine.dispose()
