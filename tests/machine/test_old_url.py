"""What is known of a request that was passed on: answered, certainly not there, or perhaps."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager
from datetime import timedelta
from unittest.mock import patch

import pytest
import trustme

from callrail_relay.domain import shadow
from callrail_relay.domain.mapper import RawSubmission
from callrail_relay.domain.shadow import Passed, PassOn, State, answered
from callrail_relay.machine.addresses import OldUrl
from tests.support.zap import Manner, Zap, running_zap

pytestmark = pytest.mark.anyio

RAW = RawSubmission(id="1", body=b'{"message": "Hi"}', content_type="application/json", query="a=1")


@pytest.fixture
def zap() -> Iterator[Zap]:
    with running_zap() as zap:
        yield zap


async def pass_on(url: str) -> Passed:
    async with aclosing(OldUrl("1.1 mark")) as client:
        return await client.pass_on(PassOn(id=1, url=url, request=RAW))


async def test_the_urls_own_query_comes_first(zap: Zap) -> None:
    """The request's is added to it."""
    await pass_on(f"{zap.url}?key=%7Ex")

    assert zap.taken[0].path.endswith("?key=%7Ex&a=1")


async def test_what_hangs_may_have_arrived(zap: Zap) -> None:
    """After the time that an answer may take."""
    zap.manner = Manner(delay=3)
    with patch.object(shadow, "ANSWER_WITHIN", timedelta(seconds=1)):
        assert State.UNKNOWN == (await pass_on(zap.url)).state
    assert 1 == len(zap.taken)


async def test_what_is_refused_certainly_did_not_arrive(zap: Zap) -> None:
    """No connection was made."""
    zap.close()

    assert State.WAITING == (await pass_on(zap.url)).state


async def test_a_redirect_is_an_answer(zap: Zap) -> None:
    """It is not followed: nothing goes anywhere else."""
    zap.manner = Manner(status=307, headers=(("Location", zap.url),))

    assert 307 == (await pass_on(zap.url)).http_status
    assert 1 == len(zap.taken)


async def test_a_large_answer_is_known_by_its_status(zap: Zap) -> None:
    """Its body is not passed back."""
    zap.manner = Manner(body=b"x" * 500_000)

    assert answered(200) == await pass_on(zap.url)


@asynccontextmanager
async def untrusted() -> AsyncIterator[str]:
    """A server whose certificate no authority signed."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("localhost").configure_cert(context)
    taken: list[bytes] = []

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        taken.append(await reader.read(100))
        writer.close()

    server = await asyncio.start_server(take, "127.0.0.1", 0, ssl=context)
    async with server:
        yield f"https://localhost:{server.sockets[0].getsockname()[1]}/hook"
    assert [] == taken


async def test_an_untrusted_certificate_certainly_lets_nothing_through() -> None:
    """The request waits until the certificate is right, or a person decides."""
    async with untrusted() as url:
        passed = await pass_on(url)

    assert State.WAITING == passed.state
    assert "certificate" in (passed.detail or "").lower()
