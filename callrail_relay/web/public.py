"""The public listener: the webhooks, ``/healthz``, and the limit of wrong secrets."""

import asyncio
import ipaddress
import re
import zlib
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta

from starlette.applications import Starlette
from starlette.convertors import StringConvertor, register_url_convertor
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from callrail_relay.clock import Clock
from callrail_relay.errors import Unavailable
from callrail_relay.service.background import Refused, uncounted
from callrail_relay.service.intake import Intake
from callrail_relay.service.replies import EVENT, SIGNATURE_HEADER, CallRailWebhooks
from callrail_relay.service.tokens import HookTokens

MOST_FAILURES = 20
WINDOW = timedelta(minutes=1)
MOST_ADDRESSES = 10_000


class FailedSecrets:
    """How many wrong secrets each address tried in its present minute; MOST_ADDRESSES are remembered."""

    def __init__(self) -> None:
        self._minutes: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def too_many(self, address: str, now: float) -> bool:
        """Note one more wrong secret; return whether it is one too many. *now* is in seconds."""
        key = _network(address)
        began, count = self._minutes.pop(key, (now, 0))
        if now - began >= WINDOW.total_seconds():
            began, count = now, 0
        self._minutes[key] = (began, count + 1)
        while len(self._minutes) > MOST_ADDRESSES:
            self._minutes.popitem(last=False)
        return count >= MOST_FAILURES


def _network(address: str) -> str:
    """What one party can choose freely counts as one address: a whole /64 of IPv6."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return ""
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    # To a listener on both, all IPv4 is in one /64.
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((int(parsed), 64), strict=False))


LARGEST_BODY = 65_536
"""Bytes, as sent and again after decompression."""

SLOWEST_BODY = 30.0
"""Seconds for a whole body to arrive."""

RETRY_AFTER = "30"

CLOSE = {"Connection": "close"}
"""Goes with an answer that does not wait for the body."""

REPEAT_HEADERS = ("idempotency-key", "x-idempotency-key", "webhook-id", "svix-id", "x-hookdeck-eventid")
"""A sender that repeats a request repeats these; several requests may share an X-Request-Id or the like."""

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_NONCE = re.compile(r"[\w-]{1,128}", re.ASCII)

Answered = Callable[[str, int, float], None]
"""Takes which webhook was asked, the status of its answer, and the seconds that it took."""


class BodyTooLarge(Exception):
    """A body went on beyond LARGEST_BODY."""


class Gate:
    """Lets requests through that have the secret in their path, and limits attempts with others."""

    def __init__(self, tokens: HookTokens, clock: Clock, refused: Refused = uncounted) -> None:
        self._tokens = tokens
        self._clock = clock
        self._refused = refused
        self._failed = FailedSecrets()

    async def refusal(self, token: str, request: Request, *, allowed: bool = True) -> Response | None:
        """The answer to a request that is not let through; *allowed* is whether its address may post."""
        if not allowed or not await self._tokens.opens(token):
            self._refused("wrong secret" if allowed else "not in server.allow_addresses")
            address = request.client.host if request.client else ""
            if self._failed.too_many(address, self._clock.monotonic()):
                return PlainTextResponse("Too Many Requests", 429, {"Retry-After": "60"} | CLOSE)
            return not_found()
        if request.method != "POST":
            return PlainTextResponse("Method Not Allowed", 405, {"Allow": "POST"} | CLOSE)
        return None


class WebhookApp(ABC):
    """What both webhooks share: the gate, the limits of a body, and an answer whatever happens."""

    name: str

    def __init__(self, gate: Gate, *, allow_addresses: Sequence[Network] = ()) -> None:
        self.gate = gate
        self._allow_addresses = allow_addresses

    async def answer(self, token: str, scope: Scope, receive: Receive, send: Send) -> int:
        """Answer a request whose path ends with *token*; return the status of the answer."""
        try:
            response = await self._response(token, Request(scope, receive, send))
        except asyncio.CancelledError:  # the listener stops, and has given the request its time
            response = _unavailable(CLOSE)
        await response(scope, receive, send)
        return response.status_code

    async def _response(self, token: str, request: Request) -> Response:
        if refusal := await self.gate.refusal(token, request, allowed=self._allows(request)):
            return refusal
        try:
            async with asyncio.timeout(SLOWEST_BODY):
                body = await read_body(request)
        except BodyTooLarge:
            return PlainTextResponse("Content Too Large", 413, CLOSE)
        except TimeoutError:
            return PlainTextResponse("Request Timeout", 408, CLOSE)
        except ClientDisconnect:
            return Response(status_code=400)
        try:
            return await self.take(request, body)
        except Unavailable:
            return _unavailable({})

    def _allows(self, request: Request) -> bool:
        """Whether the address that the request comes from may post at all."""
        if not self._allow_addresses:
            return True
        try:
            parsed = ipaddress.ip_address(request.client.host if request.client else "")
        except ValueError:
            return False
        mapped = getattr(parsed, "ipv4_mapped", None) or parsed
        return any(mapped in network for network in self._allow_addresses)

    @abstractmethod
    async def take(self, request: Request, body: bytes) -> Response:
        """Store what came, and answer. Raises Unavailable."""


class Hook(WebhookApp):
    """IF3's webhook."""

    name = "if3"

    def __init__(
        self,
        intake: Intake,
        tokens: HookTokens,
        clock: Clock,
        *,
        allow_addresses: Sequence[Network] = (),
        wake: Callable[[], None],
        refused: Refused = uncounted,
    ) -> None:
        super().__init__(Gate(tokens, clock, refused), allow_addresses=allow_addresses)
        self._intake = intake
        self._wake = wake

    async def take(self, request: Request, body: bytes) -> Response:
        # Delivery is woken twice: so that it may claim the text in the commit that stores it, and after it.
        self._wake()
        receipt = await self._intake.accept_request(
            body,
            content_type=request.headers.get("content-type"),
            query=request.scope["query_string"].decode("utf-8", "replace"),
            idempotency_key=next(
                (value for name, value in request.headers.items() if name in REPEAT_HEADERS and value), None
            ),
        )
        if receipt.accepted:
            self._wake()
        id_ = receipt.submission_id
        # The shape of Zapier's Catch Hook, which IF3 knows.
        content = f'{{"status":"success","id":"{id_}","request_id":"{id_}","attempt":"{id_}"}}'
        return Response(content, media_type="application/json")


class CallRailHook(WebhookApp):
    """CallRail's own webhooks. They are signed, so the addresses that may post don't apply: a STOP counts."""

    name = "callrail"

    def __init__(self, gate: Gate, webhooks: CallRailWebhooks) -> None:
        super().__init__(gate)
        self._webhooks = webhooks

    async def take(self, request: Request, body: bytes) -> Response:
        signed = await self._webhooks.take(
            body,
            signature=request.headers.get(SIGNATURE_HEADER),
            content_type=request.headers.get("content-type"),
            # CallRail repeats a text's fields in the query; only what we put into the URL is looked at.
            event=request.query_params.get(EVENT),
        )
        return PlainTextResponse("OK") if signed else PlainTextResponse("Unauthorized", 401)


async def read_body(request: Request) -> bytes:
    """The body, decompressed if it is gzip. Raises BodyTooLarge, ClientDisconnect."""
    length = request.headers.get("content-length", "")
    announced = int(length) if length.isdecimal() else 0
    if announced > LARGEST_BODY:
        raise BodyTooLarge
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > LARGEST_BODY:
            raise BodyTooLarge
    if not body and (announced or "transfer-encoding" in request.headers):
        # Whatever lost it on the way here, this request is no ping.
        raise ClientDisconnect
    if request.headers.get("content-encoding", "").strip().lower() in ("gzip", "x-gzip"):
        return _gunzipped(bytes(body))
    return bytes(body)


def _gunzipped(body: bytes) -> bytes:
    plain, rest = b"", body
    # Several gzip members one after the other are one body (RFC 1952, section 2.2).
    while rest:
        decompressor = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
        try:
            plain += decompressor.decompress(rest, LARGEST_BODY + 1 - len(plain))
        except zlib.error:  # not gzip after all
            return body
        if len(plain) > LARGEST_BODY:
            raise BodyTooLarge
        if not decompressor.eof:  # cut off: kept as it is, so that it isn't taken for less than it was
            return body
        rest = decompressor.unused_data
    return plain


def _unavailable(headers: dict[str, str]) -> Response:
    return PlainTextResponse("Service Unavailable", 503, {"Retry-After": RETRY_AFTER} | headers)


def not_found() -> Response:
    return PlainTextResponse("Not Found", 404, CLOSE)


AFTER_TOKEN = "/?\u200b\u2060\ufeff" + "".join(filter(str.isspace, map(chr, range(0x3001))))
"""What may follow the secret in a path, such as the end of the line that was copied along with it."""


class _Rest(StringConvertor):
    """All that is left of a path, line breaks too."""

    regex = "(?s:.+)"


register_url_convertor("rest", _Rest())


class _Measured:
    """The ASGI app of a webhook; *answered* is called for each request."""

    def __init__(self, hook: WebhookApp, clock: Clock, answered: Answered) -> None:
        self._hook = hook
        self._clock = clock
        self._answered = answered

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = self._clock.monotonic()
        status = 500  # what the listener answers if a fault of ours comes out of the hook
        try:
            token = scope["path_params"]["token"].rstrip(AFTER_TOKEN)
            status = await self._hook.answer(token, scope, receive, send)
        finally:
            self._answered(self._hook.name, status, self._clock.monotonic() - began)


def create_public_app(
    hook: Hook,
    callrail_hook: CallRailHook,
    writable: Callable[[], Awaitable[bool]],
    clock: Clock,
    answered: Answered = lambda _hook, _status, _seconds: None,
    prove: Callable[[str], str] | None = None,
) -> Starlette:
    """The app of the public listener; *prove* answers a nonce as only this relay can."""

    async def healthz(request: Request) -> Response:
        status = 200 if await writable() else 503
        nonce = request.query_params.get("probe", "")
        if prove is None or not _NONCE.fullmatch(nonce):
            return Response(status_code=status)
        return PlainTextResponse(prove(nonce), status, {"Cache-Control": "no-store"})

    async def anything_else(_request: Request, _error: Exception) -> Response:
        return not_found()

    hooks = (hook, callrail_hook)
    app = Starlette(
        routes=[
            Route("/healthz", healthz),
            *(Route(f"/hooks/{one.name}/{{token:rest}}", _Measured(one, clock, answered)) for one in hooks),
        ],
        exception_handlers={404: anything_else, 405: anything_else},
    )
    # Starlette would send a path with a slash too many elsewhere, where it is to answer 404.
    app.router.redirect_slashes = False
    return app
