"""IF3's webhook and the health of the relay, on the app that ``serve`` listens with."""

import asyncio
import gzip
import ipaddress
import json
import zlib
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Receive, Scope, Send

from callrail_relay.domain.events import MessageAccepted, PingReceived
from callrail_relay.domain.message import Message, Status
from callrail_relay.sentences import explain
from callrail_relay.service.tokens import REREAD, HookToken
from callrail_relay.web.public import LARGEST_BODY, MOST_FAILURES, REPEAT_HEADERS
from tests.service.rig import Rig, open_rig
from tests.support.factories import RECIPIENT
from tests.web.posting import (
    ADDRESS,
    CALLRAIL_HOOK,
    DATA,
    HOOK,
    TOKEN,
    WORDS,
    client_of,
    encoded,
    payload,
    public_app,
)

pytestmark = pytest.mark.anyio

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
METHODS = ("GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND")
EMOJI = "Hé “there” \N{PERSON WITH FOLDED HANDS}\r\nsecond line"


@dataclass(frozen=True)
class Variant:
    """One way in which a text may come, and the codes of what holds it: none if it is sent."""

    name: str
    body: bytes
    content_type: str | None = JSON
    query: str = ""
    text: str | None = WORDS
    recipient: str | None = RECIPIENT
    holds: tuple[str, ...] = ()
    headers: dict[str, str] = field(default_factory=dict)


def changed(name: str, **changes: object) -> Variant:
    return Variant(name, encoded(payload(**changes)))


def phone(number: object) -> dict[str, object]:
    return {"seller_phone_non_international": number, "seller_phone": ...}


VARIANTS = [
    Variant("V1 JSON", (DATA / "if3-payload.json").read_bytes()),
    Variant("V2 form", (DATA / "if3-payload.form.txt").read_bytes().strip(), FORM),
    Variant("V2 bare plus", b"message=Hi&seller_phone=+12025550122", FORM, text="Hi"),
    changed("V3 ids as text", opportunity_id="1", sender_id="2", seller_id="3", team_id="4"),
    changed("V3 phones as numbers", seller_phone=12025550122, seller_phone_non_international=2025550122),
    *(changed(f"V4 one phone {one!r}", seller_phone_non_international=one) for one in (None, "", ...)),
    *(changed(f"V4 other phone {one!r}", seller_phone=one) for one in (None, "", ...)),
    *(
        Variant(f"V4 no phone {one!r}", encoded(payload(**phone(one))), recipient=None, holds=("no_phone",))
        for one in (None, "", ...)
    ),
    *(
        changed(f"V5 {number}", **phone(number))
        for number in (
            "+1 (202) 555-0122",
            "1-202-555-0122",
            "202.555.0122",
            "tel:+12025550122",
            "0012025550122",
        )
    ),
    *(
        Variant(f"V5 {number}", encoded(payload(**phone(number))), recipient=None, holds=("bad_phone",))
        for number in ("202-555-0122 x12", "202-555-CALL", "+442071838750", "555-0122", "+18762550122")
    ),
    *(
        Variant(f"V6 {text!r}", encoded(payload(message=text)), text=None, holds=("no_text",))
        for text in ("", " \n\t", None, ...)
    ),
    Variant("V7 escapes", encoded(payload(message=EMOJI)), text=EMOJI),
    Variant("V7 raw", json.dumps(payload(message=EMOJI), ensure_ascii=False).encode(), text=EMOJI),
    Variant("V7 half a pair", encoded(payload(message="\ud83d")), text=None, holds=("bad_text",)),
    changed("V8 contact", opportunity_id=None),
    changed("V8 no seller", seller_id=None, seller=None, opportunity_id=...),
    changed("V8 seller is an object", seller={"name": "Dana"}),
    Variant("V10 in a list", encoded([payload()])),
    Variant("V16 query", b"", None, query="message=Hi&seller_phone=2025550122", text="Hi"),
    Variant("V17 text/plain", encoded(payload()), "text/plain"),
    Variant("V17 no type", encoded(payload()), None),
    Variant("V17 wrong type", encoded(payload()), FORM),
    Variant("V17 form called JSON", (DATA / "if3-payload.form.txt").read_bytes(), JSON),
    Variant("V18 more keys", encoded(payload(other={"message": "no"}, list=[1]))),
    Variant(
        "V18 other names",
        encoded({"Message": WORDS, "SELLER__PHONE": RECIPIENT, "Team_Id": 42}),
    ),
    Variant("V19 mark", b"\xef\xbb\xbf" + encoded(payload())),
    Variant("V19 line break", encoded(payload()) + b"\r\n"),
    changed("two phones, one invalid", seller_phone="x"),
    Variant(
        "two phones, different",
        encoded(payload(seller_phone="+12025550144")),
        recipient=None,
        holds=("two_phones",),
    ),
    Variant("unfilled", encoded(payload(message="Hi {{name}}")), text="Hi {{name}}", holds=("merge_tag",)),
    Variant(
        "several faults",
        encoded(payload(message="", **phone("x"))),
        text=None,
        recipient=None,
        holds=("bad_phone", "no_text"),
    ),
    *(
        Variant(
            f"envelope {name}",
            (DATA / name).read_bytes(),
            text=None,
            recipient=None,
            holds=("not_a_payload",),
        )
        for name in ("if3-zapier-raw-request.json", "if3-zapier-cleaned-request.json", "if3-n8n.json")
    ),
    *(
        Variant(f"unreadable {body[:8]!r}", body, text=None, recipient=None, holds=("unreadable",))
        for body in (b'{"message": "cut', b"\xff\xfe\xfa", b"hello", b"<xml/>", b"{} {}", b"[" * 9999)
    ),
]


async def post(rig: Rig, body: bytes, *, query: str = "", **headers: str) -> httpx2.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with client_of(public_app(rig)) as client:
        return await client.post(f"{HOOK}?{query}" if query else HOOK, content=body, headers=named)


async def messages_of(rig: Rig, response: httpx2.Response) -> list[Message]:
    return await rig.operations.find(response.json()["id"])


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
async def test_every_variant_is_taken(tmp_path: Path, variant: Variant) -> None:
    """Answered with 200, stored byte for byte, and queued or held with every fault."""
    async with open_rig(tmp_path) as rig:
        headers = {} if variant.content_type is None else {"content_type": variant.content_type}
        response = await post(rig, variant.body, query=variant.query, **headers)
        assert 200 == response.status_code

        [message] = await messages_of(rig, response)
        assert variant.holds == tuple(reason.code for reason in message.reasons)
        assert (Status.HELD if variant.holds else Status.QUEUED) == message.status
        assert (variant.text, variant.recipient) == (message.text, message.recipient)
        assert [(variant.body, variant.content_type, variant.query or None)] == rig.stored(
            "body, content_type, query", "submissions"
        )
        assert all(explain(reason) for reason in message.reasons)


async def test_ids_are_kept_as_text(tmp_path: Path) -> None:
    """V1 and V3: numbers or strings, they choose routes and are shown."""
    async with open_rig(tmp_path) as rig:
        [message] = await messages_of(rig, await post(rig, encoded(payload())))

        assert ("123456", "789", "4567", "42") == (
            message.opportunity_id,
            message.sender_id,
            message.seller_id,
            message.team_id,
        )
        assert "Dana Example" == message.seller


async def test_segments_that_if3_cut_keep_their_order(tmp_path: Path) -> None:
    """V9: posts at the same moment with the same ids and other words are no duplicates."""
    async with open_rig(tmp_path) as rig:
        async with client_of(public_app(rig)) as client:
            for number in range(4):
                await client.post(HOOK, json=payload(message=f"Part {number}"))
        await rig.work(rig.delivery(), turns=8)

        assert [f"Part {number}" for number in range(4)] == [text.content for text in rig.simulator.texts]


async def test_double_click_is_held(tmp_path: Path) -> None:
    """The same words to the same person within five seconds wait for a person; later they do not."""
    async with open_rig(tmp_path) as rig:
        responses = [await post(rig, encoded(payload())), await post(rig, encoded(payload()))]
        rig.clock.advance(5)
        responses.append(await post(rig, encoded(payload())))
        messages = [(await messages_of(rig, response))[0] for response in responses]

        assert [Status.QUEUED, Status.HELD, Status.QUEUED] == [message.status for message in messages]
        assert ["duplicate"] == [reason.code for reason in messages[1].reasons]


async def test_list_is_several_texts(tmp_path: Path) -> None:
    """V11: each alone, in one submission; what is no payload among them is shown too."""
    async with open_rig(tmp_path) as rig:
        response = await post(rig, encoded([payload(message="One"), 7, payload(message="Two")]))

        messages = await messages_of(rig, response)
        assert [("One", Status.QUEUED), (None, Status.HELD), ("Two", Status.QUEUED)] == [
            (message.text, message.status) for message in messages
        ]


async def test_long_list_is_held(tmp_path: Path) -> None:
    """V11: more texts than a person types are not sent on one request's word."""
    async with open_rig(tmp_path) as rig:
        response = await post(rig, encoded([payload(message=f"Text {number}") for number in range(21)]))

        messages = await messages_of(rig, response)
        assert 21 == len(messages)
        assert {("bulk",)} == {tuple(reason.code for reason in message.reasons) for message in messages}


async def pieces_of(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


@pytest.mark.parametrize("coding", ["gzip", "GZIP", "x-gzip", " gzip "])
async def test_gzip_is_taken(tmp_path: Path, coding: str) -> None:
    """V19: what is stored is what was meant, decompressed."""
    async with open_rig(tmp_path) as rig:
        response = await post(rig, gzip.compress(encoded(payload())), content_encoding=coding)

        assert Status.QUEUED == (await messages_of(rig, response))[0].status
        assert [(encoded(payload()),)] == rig.stored("body", "submissions")


async def test_gzip_in_several_members_is_one_body(tmp_path: Path) -> None:
    """What a program appended to is still one body."""
    body = encoded(payload())
    async with open_rig(tmp_path) as rig:
        response = await post(
            rig, gzip.compress(body[:50]) + gzip.compress(body[50:]), content_encoding="gzip"
        )

        assert Status.QUEUED == (await messages_of(rig, response))[0].status
        assert [(body,)] == rig.stored("body", "submissions")


@pytest.mark.parametrize(
    "body",
    [
        gzip.compress(encoded(payload()))[:12],
        gzip.compress(encoded(payload()))[:-9],
        zlib.compress(encoded(payload())),
        b"\x1f\x8b",
    ],
    ids=["head only", "cut off", "deflate", "two bytes"],
)
async def test_gzip_that_is_none_is_held_as_it_came(tmp_path: Path, body: bytes) -> None:
    """Never taken for a ping, and never for less than it was."""
    async with open_rig(tmp_path) as rig:
        response = await post(rig, body, content_encoding="gzip")

        assert Status.HELD == (await messages_of(rig, response))[0].status
        assert [(body,)] == rig.stored("body", "submissions")


async def test_plain_body_that_says_gzip_is_read(tmp_path: Path) -> None:
    """A proxy that decompressed and left the header does no harm."""
    async with open_rig(tmp_path) as rig:
        response = await post(rig, encoded(payload()), content_encoding="gzip")

        assert Status.QUEUED == (await messages_of(rig, response))[0].status


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b" \r\n"])
async def test_ping_is_answered_and_not_stored(tmp_path: Path, body: bytes) -> None:
    """V20: a test of the address is no text."""
    async with open_rig(tmp_path) as rig:
        response = await post(rig, body)

        assert_zapiers_shape(response)
        assert [(0,)] == rig.stored("count(*)", "submissions")
        assert [PingReceived()] == list(rig.events)


@pytest.mark.parametrize("name", REPEAT_HEADERS)
async def test_a_repeat_under_its_senders_key_is_answered_as_the_first(tmp_path: Path, name: str) -> None:
    """Case 33: 200 in Zapier's shape, with the same id, and one text."""
    async with open_rig(tmp_path) as rig:
        first = await post(rig, encoded(payload()), **{name: "one"})
        rig.clock.advance(6)
        again = await post(rig, encoded(payload()), **{name.title(): "one"})

        assert_zapiers_shape(again)
        assert first.json() == again.json()
        assert [(1,)] == rig.stored("count(*)", "messages")


async def test_an_id_of_the_request_alone_is_not_a_key(tmp_path: Path) -> None:
    """Some senders use one for all they do in a row."""
    async with open_rig(tmp_path) as rig:
        for _ in range(2):
            await post(rig, encoded(payload()), x_request_id="one", idempotency_key="")
            rig.clock.advance(6)

        assert [("queued",), ("queued",)] == rig.stored("status", "messages")


def assert_zapiers_shape(response: httpx2.Response) -> None:
    assert 200 == response.status_code
    assert "application/json" == response.headers["content-type"]
    answer = response.json()
    assert {"status", "id", "request_id", "attempt"} == set(answer)
    assert "success" == answer["status"]
    assert all(UUID(answer[name]) for name in ("id", "request_id", "attempt"))


async def test_answer_has_zapiers_shape(tmp_path: Path) -> None:
    """Whether the text is sent or held is not IF3's business."""
    async with open_rig(tmp_path) as rig:
        assert_zapiers_shape(await post(rig, encoded(payload())))
        assert_zapiers_shape(await post(rig, b"nonsense"))


async def test_whoever_sends_is_woken(tmp_path: Path) -> None:
    """A text wakes the worker as it comes, to be claimed in the commit that stores it."""
    woken: list[None] = []
    async with (
        open_rig(tmp_path, patience=0) as rig,
        client_of(public_app(rig, wake=lambda: woken.append(None))) as client,
    ):
        await client.post(HOOK, json=payload())
        await client.post("/hooks/if3/wrong", json=payload())
        assert [None] == woken
        with rig.failing_store():
            await client.post(HOOK, json=payload(message="Again"))

    assert [None] * 2 == woken


async def test_many_requests_at_one_time_are_all_stored(tmp_path: Path) -> None:
    """Requests that share a commit are each answered with their own id."""
    async with open_rig(tmp_path) as rig, client_of(public_app(rig)) as client:
        posts = (client.post(HOOK, json=payload(message=f"Text {number}")) for number in range(50))
        responses = await asyncio.gather(*posts)

        for number, response in enumerate(responses):
            [message] = await messages_of(rig, response)
            assert f"Text {number}" == message.text


HEADER_TEXT = st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF), max_size=40)
BODIES = (
    st.binary(max_size=300)
    | st.text(max_size=100).map(str.encode)
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(
                st.sampled_from(["message", "seller_phone", "seller", "team_id", "body", "content"])
                | st.text(),
                inner,
                max_size=5,
            )
        ),
        max_leaves=10,
    ).map(encoded)
)


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


def test_nothing_with_the_right_secret_is_ever_refused(tmp_path: Path, runner: asyncio.Runner) -> None:
    """Any bytes, of any type, with any query: 200, and a ping or stored as they came."""
    stack = AsyncExitStack()
    rig = runner.run(stack.enter_async_context(open_rig(tmp_path)))
    client = runner.run(stack.enter_async_context(client_of(public_app(rig))))

    @given(
        BODIES,
        HEADER_TEXT | st.sampled_from([JSON, FORM, "text/plain; charset=utf-16", "multipart/form-data"]),
        st.sampled_from(["identity", "gzip", "br", "\xff"]),
        st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    )
    def check(body: bytes, content_type: str, coding: str, query: str) -> None:
        rig.events.clear()
        [(before,)] = rig.stored("count(*)", "submissions")
        headers = {
            "Content-Type": content_type.encode("latin-1"),
            "Content-Encoding": coding.encode("latin-1"),
        }
        response = runner.run(
            client.post(
                HOOK,
                params={"message": query} if query else None,
                content=body,
                headers={name.encode(): value for name, value in headers.items()},
            )
        )

        assert_zapiers_shape(response)
        stored = rig.stored("body", f"submissions WHERE id = '{response.json()['id']}'")
        if rig.events.of(PingReceived):
            assert [] == stored
        else:
            assert [(body,)] == stored
            assert rig.events.of(MessageAccepted)
            assert runner.run(rig.operations.find(response.json()["id"]))
        [(after,)] = rig.stored("count(*)", "submissions")
        assert before + len(stored) == after  # type: ignore[operator]  # counts

    try:
        check()
    finally:
        runner.run(stack.aclose())


# --- who may post ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["POST", *METHODS])
@pytest.mark.parametrize(
    "token", ["wrong", TOKEN[:-1], TOKEN.upper(), f"{TOKEN}x", "%C3%A9", "%ED%A0%80", "%00"]
)
async def test_wrong_secret_is_not_found(tmp_path: Path, method: str, token: str) -> None:
    """Whatever the method and the body: the same as for a path that does not exist."""
    async with open_rig(tmp_path) as rig, client_of(public_app(rig)) as client:
        response = await client.request(method, f"/hooks/if3/{token}", content=b"x" * 100_000)
        nowhere = await client.request(method, "/nowhere")

        assert 404 == response.status_code == nowhere.status_code
        assert nowhere.content == response.content
        assert nowhere.headers == response.headers
        assert [(0,)] == rig.stored("count(*)", "submissions")


AFTER_TOKEN = ["/", "//", "/?", "?"]
AFTER_TOKEN += ["%20", "%20%20/", "%0A", "%0D%0A", "%09", "%2F", "%3F", "%C2%A0", "%E2%80%8B"]


@pytest.mark.parametrize("after", AFTER_TOKEN)
async def test_what_stands_behind_the_right_secret_does_no_harm(tmp_path: Path, after: str) -> None:
    """A URL is copied with the end of its line, or saved by a program that ends all of them with a slash."""
    async with open_rig(tmp_path) as rig, client_of(public_app(rig)) as client:
        assert 200 == (await client.post(f"{HOOK}{after}", json=payload())).status_code
        assert 405 == (await client.get(f"{HOOK}{after}")).status_code
        assert 404 == (await client.post(f"{HOOK[:-1]}{after}", json=payload())).status_code
        # CallRail's webhook asks for a signature, so it knows the secret.
        assert 401 == (await client.post(f"{CALLRAIL_HOOK}{after}", json={})).status_code
        assert [(1,)] == rig.stored("count(*)", "submissions")


async def test_secret_may_end_like_what_stands_behind_one(tmp_path: Path) -> None:
    """As one of `openssl rand -base64 48` does at times."""
    async with open_rig(tmp_path) as rig:
        async with client_of(public_app(rig, tokens=[HookToken(value="secret/?")])) as client:
            posted = [await client.post(f"/hooks/if3/secret%2F%3F{after}") for after in ("", "x")]
        assert [200, 404] == [answer.status_code for answer in posted]


@pytest.mark.parametrize("announced", [{"Content-Length": "12"}, {"Transfer-Encoding": "chunked"}])
@pytest.mark.parametrize("path", [HOOK, CALLRAIL_HOOK, f"{HOOK}?message=Hi&seller_phone=2025550122"])
async def test_request_that_lost_its_body_is_no_ping(
    tmp_path: Path, announced: dict[str, str], path: str
) -> None:
    """Whatever lost it on the way: 200 would say that the text is kept."""
    async with open_rig(tmp_path) as rig, client_of(public_app(rig)) as client:
        assert 400 == (await client.post(path, headers=announced)).status_code
        assert [] == list(rig.events)
        assert [(0,)] == rig.stored("count(*)", "submissions")


@pytest.mark.parametrize("method", METHODS)
async def test_right_secret_with_another_method_is_not_allowed(tmp_path: Path, method: str) -> None:
    """V16: programs that fetch every link they see send nothing."""
    async with open_rig(tmp_path) as rig, client_of(public_app(rig)) as client:
        response = await client.request(method, HOOK, params={"message": "Hi", "seller_phone": RECIPIENT})

        assert 405 == response.status_code
        assert "POST" == response.headers["allow"]
        assert [(0,)] == rig.stored("count(*)", "submissions")


@pytest.mark.parametrize(
    ("size", "status"), [(LARGEST_BODY - 1, 200), (LARGEST_BODY, 200), (LARGEST_BODY + 1, 413)]
)
@pytest.mark.parametrize("announced", [True, False])
async def test_large_body_is_refused(tmp_path: Path, size: int, status: int, *, announced: bool) -> None:
    """Up to 64 KiB, whether its length was announced or not."""
    body = b"x" * size
    async with open_rig(tmp_path) as rig, client_of(public_app(rig)) as client:
        content = body if announced else pieces_of(body[:1000], body[1000:])
        response = await client.post(HOOK, content=content)

        assert status == response.status_code
        assert [(int(status == 200),)] == rig.stored("count(*)", "submissions")


@pytest.mark.parametrize(
    ("size", "status"), [(LARGEST_BODY, 200), (LARGEST_BODY + 1, 413), (50_000_000, 413)]
)
@pytest.mark.parametrize("members", [1, 2])
async def test_large_body_is_refused_after_decompression(
    tmp_path: Path, size: int, status: int, members: int
) -> None:
    """A small body that becomes a large one costs no memory."""
    plain = b"x" * (size - 10)
    parts = [plain + b"x" * 10] if members == 1 else [plain, b"x" * 10]
    async with open_rig(tmp_path) as rig:
        response = await post(rig, b"".join(map(gzip.compress, parts)), content_encoding="gzip")

        assert status == response.status_code


async def test_failing_store_is_unavailable(tmp_path: Path) -> None:
    """503 with a time to come back, never 200; nothing is stored, and afterwards all is well."""
    async with open_rig(tmp_path, patience=0) as rig, client_of(public_app(rig)) as client:
        with rig.failing_store():
            response = await client.post(HOOK, json=payload())
            assert 503 == response.status_code
            assert response.headers["retry-after"].isdigit()
            assert b"relay.db" not in response.content
        assert [(0,)] == rig.stored("count(*)", "submissions")
        assert [] == rig.events.of(MessageAccepted)

        assert_zapiers_shape(await client.post(HOOK, json=payload()))


async def knock(client: httpx2.AsyncClient, times: int) -> list[int]:
    return [(await client.post(f"/hooks/if3/wrong-{number}")).status_code for number in range(times)]


async def test_guessing_is_limited_by_address(tmp_path: Path) -> None:
    """Twenty wrong ones in a minute, then 429 for the rest of it; other senders aren't affected."""
    async with open_rig(tmp_path) as rig:
        app = public_app(rig)
        async with client_of(app) as client, client_of(app, address="203.0.113.8") as other:
            assert [404] * MOST_FAILURES == await knock(client, MOST_FAILURES)
            rig.clock.advance(59)
            refused = await client.get("/hooks/if3/wrong")
            assert 429 == refused.status_code
            assert refused.headers["retry-after"].isdigit()
            assert "close" == refused.headers["connection"]
            assert 200 == (await client.post(HOOK, json=payload())).status_code
            assert 405 == (await client.get(HOOK)).status_code
            assert 404 == (await client.get("/nowhere")).status_code
            assert [404] == await knock(other, 1)

            rig.clock.advance(1)
            assert [404] * MOST_FAILURES + [429] == await knock(client, MOST_FAILURES + 1)


async def test_right_secret_does_not_count_as_a_guess(tmp_path: Path) -> None:
    """However many texts come, none is refused for their number."""
    async with open_rig(tmp_path) as rig, client_of(public_app(rig)) as client:
        for number in range(MOST_FAILURES + 5):
            assert 200 == (await client.post(HOOK, json=payload(message=f"Text {number}"))).status_code


@pytest.mark.parametrize(
    ("address", "status"),
    [
        (ADDRESS, 200),
        ("::ffff:203.0.113.7", 200),
        ("2001:db8::7", 200),
        ("203.0.114.7", 404),
        ("2001:db9::7", 404),
        ("testclient", 404),
        ("", 404),
    ],
)
async def test_allowed_addresses_are_the_only_ones(tmp_path: Path, address: str, status: int) -> None:
    """From anywhere else the right secret is as good as a wrong one."""
    allowed = [ipaddress.ip_network("203.0.113.0/24"), ipaddress.ip_network("2001:db8::/32")]
    async with (
        open_rig(tmp_path) as rig,
        client_of(public_app(rig, allow_addresses=allowed), address=address) as client,
    ):
        assert status == (await client.post(HOOK, json=payload())).status_code
        assert {200: 405, 404: 404}[status] == (await client.get(HOOK)).status_code


async def test_request_without_an_address_is_judged_by_its_secret(tmp_path: Path) -> None:
    """Behind a UNIX socket no client has an address."""
    async with open_rig(tmp_path) as rig:
        app = public_app(rig)

        async def nameless(scope: Scope, receive: Receive, send: Send) -> None:
            await app({**scope, "client": None}, receive, send)

        async with httpx2.AsyncClient(
            transport=httpx2.ASGITransport(nameless), base_url="http://relay.example.com"
        ) as client:
            assert 200 == (await client.post(HOOK, json=payload())).status_code
            assert 404 == (await client.post("/hooks/if3/wrong")).status_code


async def test_token_is_rotated_without_a_restart(tmp_path: Path) -> None:
    """The new one opens as soon as it comes, the former one for a while; a third never."""
    kept = [HookToken(value=TOKEN)]

    async def read() -> Sequence[HookToken]:
        return kept

    async with open_rig(tmp_path) as rig, client_of(public_app(rig, read=read)) as client:
        rig.clock.advance(REREAD)
        kept = [HookToken(value="new"), HookToken(value=TOKEN, valid_until=rig.clock.now() + REREAD)]
        for path in ("/hooks/if3/new", HOOK):
            assert 200 == (await client.post(path, json=payload(message=path))).status_code
        rig.clock.advance(REREAD)
        assert 200 == (await client.post("/hooks/if3/new", json=payload())).status_code
        assert 404 == (await client.post(HOOK, json=payload())).status_code


@pytest.mark.parametrize(
    ("query", "body"),
    [
        ("", ""),
        ("?probe=", ""),
        ("?probe=Nonce_1-", "<Nonce_1->"),
        (f"?probe={'n' * 128}", f"<{'n' * 128}>"),
        (f"?probe={'n' * 129}", ""),
        ("?probe=<script>", ""),
        ("?probe=%0d%0aX:1", ""),
        ("?probe=%C3%A9", ""),
        ("?other=1", ""),
    ],
)
async def test_health_proves_which_relay_it_is(query: str, body: str, tmp_path: Path) -> None:
    """To a nonce of a plain kind, also while the store cannot be written; nothing else is ever repeated."""
    async with open_rig(tmp_path, patience=0) as rig, client_of(public_app(rig)) as client:
        answer = await client.get(f"/healthz{query}")
        assert (200, body) == (answer.status_code, answer.text)
        rig.clock.advance(10)
        with rig.failing_store():
            answer = await client.get(f"/healthz{query}")
            assert (503, body) == (answer.status_code, answer.text)


# --- everything else -------------------------------------------------------------------------------------


async def test_health_says_yes_or_no_and_nothing_else(tmp_path: Path) -> None:
    """200 while the store can be written, 503 while it cannot, whatever CallRail does."""
    async with open_rig(tmp_path, patience=0) as rig, client_of(public_app(rig)) as client:
        await rig.operations.pause(None, "x")
        healthy = await client.get("/healthz")
        rig.clock.advance(1)
        with rig.failing_store():
            ill = await client.get("/healthz")
        rig.clock.advance(1)
        again = await client.get("/healthz")

    assert [200, 503, 200] == [response.status_code for response in (healthy, ill, again)]
    assert b"" == healthy.content == ill.content
    assert {"content-length"} == set(ill.headers)


async def test_health_that_cannot_be_checked_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the store raises."""
    async with open_rig(tmp_path) as rig:

        async def breaks() -> None:
            raise RuntimeError

        monkeypatch.setattr(rig.outbox, "write_probe", breaks)
        async with client_of(public_app(rig)) as client:
            assert 503 == (await client.get("/healthz")).status_code


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/metrics",
        "/readyz",
        "/login",
        "/static/style.css",
        "/docs",
        "/openapi.json",
        "/favicon.ico",
        "/healthz/",
        "/healthz/x",
        "/hooks",
        "/hooks/",
        "/hooks/if3",
        "/hooks/if3/",
        "/hooks/if3/%20/",
        "/hooks/healthz",
        f"{HOOK}/x",
        f"{HOOK}/../x",
        f"/Hooks/if3/{TOKEN}",
        f"//hooks/if3/{TOKEN}",
        f"/hooks/if3//{TOKEN}",
        f"/hooks/if3/%20{TOKEN}",
        f"/hooks/if3/{TOKEN[:5]}%20{TOKEN[5:]}",
        f"/hooks/if3/{TOKEN[:5]}/{TOKEN[5:]}",
        f"/if3/{TOKEN}",
        f"/{TOKEN}",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "HEAD"])
async def test_everything_else_is_not_found(tmp_path: Path, path: str, method: str) -> None:
    """No redirect, no list of methods, no page."""
    async with open_rig(tmp_path) as rig, client_of(public_app(rig)) as client:
        # A path that begins with two slashes would be taken for a host.
        url = httpx2.URL("https://texts.example.com").copy_with(raw_path=path.encode())
        response = await client.request(method, url)

        assert 404 == response.status_code
        assert [(0,)] == rig.stored("count(*)", "submissions")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
async def test_health_is_there_to_be_read_only(tmp_path: Path, method: str) -> None:
    """Anything but a GET is not found."""
    async with open_rig(tmp_path) as rig, client_of(public_app(rig)) as client:
        response = await client.request(method, "/healthz")

        assert 404 == response.status_code
        assert "allow" not in response.headers
