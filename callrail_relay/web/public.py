"""The public listener: the webhooks, ``/healthz``, and the limit of wrong secrets."""

import asyncio
import ipaddress
import re
import zlib
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from gzip import GzipFile
from io import BytesIO

from starlette.applications import Starlette
from starlette.convertors import StringConvertor, register_url_convertor
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, HTTPConnection, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from callrail_relay.clock import Clock
from callrail_relay.domain.public_url import read_address
from callrail_relay.domain.shadow import Passed, PassOn
from callrail_relay.errors import Unavailable
from callrail_relay.service.background import Refused
from callrail_relay.service.intake import Intake, NotStored
from callrail_relay.service.replies import EVENT, SIGNATURE_HEADER, CallRailWebhooks
from callrail_relay.service.shadow import PassingOn
from callrail_relay.service.tokens import HookTokens

MOST_FAILURES = 20
WINDOW = timedelta(minutes=1)
MOST_ADDRESSES = 10_000
LARGEST_BODY = 65_536  # bytes, as sent and again after decompression
SLOWEST_BODY = 30.0  # seconds for a whole body to arrive
CLOSE = {"Connection": "close"}  # goes with an answer that doesn't wait for the body

# A sender that repeats a request repeats these; several requests may share an X-Request-Id or the like.
REPEAT_HEADERS = ("idempotency-key", "x-idempotency-key", "webhook-id", "svix-id", "x-hookdeck-eventid")
# What may follow the secret in a path, such as a line end that was copied along with it.
AFTER_TOKEN = "/?\u200b\u2060\ufeff" + "".join(filter(str.isspace, map(chr, range(0x3001))))
_NONCE = re.compile(r"[\w-]{1,128}", re.ASCII)

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

Answered = Callable[[str, int, float], None]  # takes which webhook, the status of its answer, and seconds


@dataclass(frozen=True, kw_only=True)
class PublicParts:
    intake: Intake
    webhooks: CallRailWebhooks
    tokens: HookTokens
    clock: Clock
    wake: Callable[[], None]  # delivery
    writable: Callable[[], Awaitable[bool]]
    prove: Callable[[str], str]  # answers a nonce as only this relay can
    answered: Answered
    passing_on: PassingOn  # in shadow mode; it marks each request, and one that comes back is refused
    allow_addresses: Sequence[Network]  # if there are any, only these may post to IF3's webhook
    refused: Refused


def client_address(request: HTTPConnection) -> str:
    return request.client.host if request.client else ""


class FailedSecrets:
    """How many wrong secrets each address tried in its current minute; MOST_ADDRESSES are remembered."""

    def __init__(self) -> None:
        self._minutes: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def too_many(self, address: str, now: float) -> bool:
        """Note another wrong secret; return whether it's one too many. *now* is in seconds."""
        key = network(address)
        began, count = self._minutes.pop(key, (now, 0))
        if now - began >= WINDOW.total_seconds():
            began, count = now, 0
        self._minutes[key] = (began, count + 1)
        while len(self._minutes) > MOST_ADDRESSES:
            self._minutes.popitem(last=False)
        return count >= MOST_FAILURES


def network(text: str) -> str:
    """Return what counts as one address, because one party can choose freely: a whole /64 of IPv6."""
    address = read_address(text)
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((int(address), 64), strict=False))
    return str(address)


class Webhook(ABC):
    """The ASGI app of a webhook: the gate, the limits of a body, and an answer whatever happens."""

    name: str

    def __init__(self, parts: PublicParts, failed: FailedSecrets, allowed: Sequence[Network] = ()) -> None:
        self._parts = parts
        self._failed = failed
        self._allowed = allowed  # the addresses that may post at all; none means any

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        clock = self._parts.clock
        began = clock.monotonic()
        status = 500  # what the listener answers if an error of ours gets out of here
        try:
            try:
                response = await self._answer(Request(scope, receive, send))
            except HTTPException as error:
                response = PlainTextResponse(error.detail, error.status_code, error.headers)
            except (Unavailable, asyncio.CancelledError):  # the listener stops, after its time for requests
                response = PlainTextResponse("Service Unavailable", 503, {"Retry-After": "30"} | CLOSE)
            await response(scope, receive, send)
            status = response.status_code
        finally:
            self._parts.answered(self.name, status, clock.monotonic() - began)

    async def _answer(self, request: Request) -> Response:
        await self._admit(request)
        try:
            async with asyncio.timeout(SLOWEST_BODY):
                body = await read_body(request)
        except TimeoutError as error:
            raise HTTPException(408, headers=CLOSE) from error
        except ClientDisconnect:
            return Response(status_code=400)
        return await self.take(request, body)

    async def _admit(self, request: Request) -> None:
        """Refuse a request without the secret in its path, or that isn't a POST. Raises HTTPException."""
        address = client_address(request)
        token, opens = request.path_params["token"], self._parts.tokens.opens
        parsed = read_address(address) if self._allowed else None
        allowed = not self._allowed or (parsed and any(parsed in network for network in self._allowed))
        if not allowed or not (await opens(token.rstrip(AFTER_TOKEN)) or await opens(token)):
            self._parts.refused("wrong secret" if allowed else "not in server.allow_addresses")
            if self._failed.too_many(address, self._parts.clock.monotonic()):
                raise HTTPException(429, headers={"Retry-After": "60"} | CLOSE)
            raise HTTPException(404, headers=CLOSE)
        if request.method != "POST":
            raise HTTPException(405, headers={"Allow": "POST"} | CLOSE)

    @abstractmethod
    async def take(self, request: Request, body: bytes) -> Response:
        """Store what came, and answer. Raises Unavailable."""


class IF3Hook(Webhook):
    name = "if3"
    _in_shadow = False  # the last one; then delivery has nothing to claim, and would delay the next

    async def take(self, request: Request, body: bytes) -> Response:
        if self._parts.passing_on.mark in request.headers.get("via", ""):
            self._parts.refused("passed on by this relay itself")
            return PlainTextResponse("Misdirected Request: the old URL leads back to this relay.", 421)
        passing_on, intake = self._parts.passing_on, self._parts.intake
        # Wake delivery first, to claim the text in the commit that stores it, if it can share that.
        shares_commit = intake.store.shares_commits and not self._in_shadow
        if shares_commit:
            self._parts.wake()
        key = next((one for name, one in request.headers.items() if name in REPEAT_HEADERS and one), None)
        try:
            receipt = await intake.accept_request(
                body,
                content_type=request.headers.get("content-type"),
                query=request.scope["query_string"].decode("utf-8", "replace"),
                idempotency_key=key,
            )
            self._in_shadow = receipt.in_shadow
            if receipt.accepted and not receipt.in_shadow and not shares_commit:
                self._parts.wake()
            elif receipt.in_shadow and receipt.pass_on is None:
                # The one that it waits behind may have been recorded just before it was stored.
                passing_on.wake()
            id_ = receipt.submission_id
            passed = await self._passed_on(receipt.pass_on) if receipt.pass_on else None
        except NotStored as error:
            id_, passed = error.raw.id, await passing_on.pass_on_unstored(error.raw)
        if passed is not None and passed.http_status is not None and passed.body is not None:
            headers = {} if passed.content_type is None else {"Content-Type": passed.content_type}
            return Response(passed.body, passed.http_status, headers)
        # The shape of Zapier's Catch Hook, which IF3 knows.
        content = f'{{"status":"success","id":"{id_}","request_id":"{id_}","attempt":"{id_}"}}'
        return Response(content, media_type="application/json")

    async def _passed_on(self, request: PassOn) -> Passed | None:
        """Pass a stored request on; return the old URL's answer, or None if the listener stops before it."""
        try:
            return await self._parts.passing_on.pass_on(request)
        except asyncio.CancelledError:  # it's on disk: a refusal would bring it a second time
            return None


class CallRailHook(Webhook):
    """CallRail's own webhooks. They're signed, so the addresses that may post don't apply: a STOP counts."""

    name = "callrail"

    async def take(self, request: Request, body: bytes) -> Response:
        signed = await self._parts.webhooks.take(
            body,
            signature=request.headers.get(SIGNATURE_HEADER),
            content_type=request.headers.get("content-type"),
            # CallRail repeats a text's fields in the query; only what we put into the URL is used.
            event=request.query_params.get(EVENT),
        )
        return PlainTextResponse("OK") if signed else PlainTextResponse("Unauthorized", 401)


async def read_body(request: Request, largest: int = LARGEST_BODY) -> bytes:
    """Return the body, decompressed if it's gzip. Raises HTTPException, ClientDisconnect."""
    length = request.headers.get("content-length", "")
    announced = int(length) if length.isdecimal() else 0
    if announced > largest:
        raise _too_large()
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > largest:
            raise _too_large()
    if not body and (announced or "transfer-encoding" in request.headers):
        # Whatever lost it on the way here, this request isn't a ping.
        raise ClientDisconnect
    if request.headers.get("content-encoding", "").strip().lower() in ("gzip", "x-gzip"):
        return _gunzipped(bytes(body))
    return bytes(body)


def _gunzipped(body: bytes) -> bytes:
    try:
        plain = GzipFile(fileobj=BytesIO(body)).read(LARGEST_BODY + 1)
    except (OSError, EOFError, zlib.error):
        # Not gzip after all, or cut off: kept as it is, so that it isn't taken for less than it was.
        return body
    if len(plain) > LARGEST_BODY:
        raise _too_large()
    return plain


def _too_large() -> HTTPException:
    return HTTPException(413, "Content Too Large", CLOSE)  # Python 3.11 calls it by another name


class _Rest(StringConvertor):
    """Matches the rest of a path, line breaks, too."""

    regex = "(?s:.+)"


register_url_convertor("rest", _Rest())


def create_public_app(parts: PublicParts) -> Starlette:
    async def healthz(request: Request) -> Response:
        status = 200 if await parts.writable() else 503
        nonce = request.query_params.get("probe", "")
        if not _NONCE.fullmatch(nonce):
            return Response(status_code=status)
        return PlainTextResponse(parts.prove(nonce), status, {"Cache-Control": "no-store"})

    async def anything_else(_request: Request, _error: Exception) -> Response:
        return PlainTextResponse("Not Found", 404, CLOSE)

    failed = FailedSecrets()
    hooks = (IF3Hook(parts, failed, parts.allow_addresses), CallRailHook(parts, failed))
    app = Starlette(
        routes=[
            Route("/healthz", healthz),
            *(Route(f"/hooks/{hook.name}/{{token:rest}}", hook) for hook in hooks),
        ],
        exception_handlers={404: anything_else, 405: anything_else},
    )
    # Starlette would redirect a path with an extra slash, but it must answer 404.
    app.router.redirect_slashes = False
    return app
