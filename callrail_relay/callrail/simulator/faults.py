"""
What goes wrong, with which requests, and how often; and how.

A fault is a JSON object with the fields of ``Fault``; a file of them is a list, and so is what POST
/sandbox/faults accepts. Only the first fault that applies to a request happens to it.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import field
from datetime import timedelta
from enum import StrEnum
from http import HTTPStatus
from random import Random
from typing import Annotated, Literal, Self

from pydantic import Field, StrictInt, dataclasses, model_validator
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from callrail_relay.callrail.simulator.records import ASKED, Seconds, normalize, read_asked
from callrail_relay.clock import Clock, until_woken
from callrail_relay.errors import UsageError

On = Literal["send", "read", "any"]

# The customer in an answer about another person.
OTHER_CUSTOMER = "+12025550199"
SLOW_PIECES = 16

_GARBAGE = "<!DOCTYPE html><html><body><h1>We will be right back</h1></body></html>"


class Kind(StrEnum):
    """What goes wrong. The first group happens before a text is accepted, the second after it, as usual."""

    DELAY = "delay"  # everything as usual, but only after ``delay`` seconds
    REFUSE = "refuse"  # no connection; over a real socket an app can only close it unanswered
    DROP = "drop"  # the connection ends before the request is read
    STATUS = "status"  # answered with ``status``, by default 500

    DROP_ANSWER = "drop_answer"  # the connection ends without an answer
    LATE_ANSWER = "late_answer"  # answered ``delay`` seconds later
    STATUS_AFTER = "status_after"  # answered with ``status``, by default 500; a 2xx keeps its body
    GARBAGE = "garbage"  # answered 200 with ``body``, by default a page of HTML
    HALF_BODY = "half_body"  # the connection ends in the middle of the answer
    SLOW_BODY = "slow_body"  # the answer comes in 16 pieces, ``delay`` seconds apart
    NO_ID = "no_id"  # a 2xx without the id of the conversation
    OTHER_CUSTOMER = "other_customer"  # a 2xx about another customer


_TIMED = frozenset({Kind.DELAY, Kind.LATE_ANSWER, Kind.SLOW_BODY})
_WITH_STATUS = frozenset({Kind.STATUS, Kind.STATUS_AFTER})
_WITH_BODY = _WITH_STATUS | {Kind.GARBAGE}


_Whole = Annotated[int, Field(strict=True, ge=1)]


@dataclasses.dataclass(slots=True, config=ASKED)
class Fault:
    """
    One thing that goes wrong, how many requests it has applied to (``seen``) and happened to (``fired``).

    It applies to sends, to every other request (``read``) or to ``any``, and with ``number`` only
    to sends to that person. Of those it skips all before the one at ``position`` (from 1), spares
    each by chance but a ``share`` of them (0 to 1), and ends after ``times``; with a position and
    no ``times`` it happens once. ``delay`` is in seconds; if the kind does not say what for, it
    passes before the fault. ``retry_after`` is the header's value, sane or not.
    """

    kind: Kind
    on: On = "send"
    number: str | None = None
    share: Annotated[float, Field(strict=True, ge=0, le=1)] | None = None
    position: _Whole | None = None
    times: _Whole | None = None
    delay: Seconds = 0.0
    status: Annotated[int, Field(strict=True, ge=200, le=599)] | None = None
    retry_after: StrictInt | Annotated[str, Field(pattern="^[ -~]*$")] | None = None
    body: str | None = None
    seen: int = field(default=0, init=False)
    fired: int = field(default=0, init=False)

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if self.number is not None and (normalize(self.number) is None or self.on != "send"):
            raise ValueError("number is a North American one such as +12025550122, and goes with sends")
        if self.kind in _TIMED and not self.delay:
            raise ValueError(f"{self.kind} needs a delay")
        if (self.status, self.retry_after) != (None, None) and self.kind not in _WITH_STATUS:
            raise ValueError(f"status and retry_after go with {', '.join(sorted(_WITH_STATUS))} only")
        if self.body is not None and self.kind not in _WITH_BODY:
            raise ValueError(f"body goes with {', '.join(sorted(_WITH_BODY))} only")
        return self

    def applies_to(self, *, sending: bool, recipient: str | None) -> bool:
        if self.number is not None:
            return sending and recipient == normalize(self.number)
        return self.on == "any" or sending == (self.on == "send")

    def is_due(self, random: Random) -> bool:
        limit = 1 if self.times is None and self.position is not None else self.times
        if self.seen < (self.position or 1) or (limit is not None and self.fired >= limit):
            return False
        return self.share is None or random.random() < self.share


class Faults(list[Fault]):
    """The faults, in the order in which they were added, and what they do to a request."""

    def __init__(self, clock: Clock, random: Random) -> None:
        super().__init__()
        self.clock = clock
        self._random = random
        self._removed = asyncio.Event()

    def clear(self) -> None:
        """Remove all of them, and go on with the requests that wait because of one."""
        super().clear()
        self._removed.set()
        self._removed = asyncio.Event()

    async def answer(
        self, request: Request, answer: Callable[[Request], Awaitable[Response]], *, sends: bool
    ) -> ASGIApp:
        """Return what *answer* makes of the request, spoiled if a fault happens to it."""
        fault = await self._choose(request, sends=sends)
        if fault is None:
            return await answer(request)
        if fault.delay > 0 and fault.kind not in {Kind.LATE_ANSWER, Kind.SLOW_BODY}:
            # Read first: a client that gives up meanwhile has sent its request all the same.
            await request.body()
            await self._wait(fault.delay)
        match fault.kind:
            case Kind.REFUSE:
                return _broken(ConnectionRefusedError)
            case Kind.DROP:
                return _broken(ConnectionResetError)
            case Kind.STATUS:
                await request.body()
                return _made_up(fault, request)
        return await self._spoil(request, fault, await answer(request))

    async def _choose(self, request: Request, *, sends: bool) -> Fault | None:
        """Return the fault that happens to this request, counted as having happened."""
        recipient, chosen = None, None
        if sends and any(fault.number is not None for fault in self):
            with suppress(ValueError, RecursionError, TypeError, KeyError):
                recipient = normalize((await request.json())["customer_phone_number"])
        for fault in self:
            if fault.applies_to(sending=sends, recipient=recipient):
                fault.seen += 1
                if chosen is None and fault.is_due(self._random):
                    fault.fired += 1
                    chosen = fault
        return chosen

    async def _spoil(self, request: Request, fault: Fault, answer: Response) -> ASGIApp:
        """Return what goes wrong after the text was accepted; a refusal keeps its status and its words."""
        spoiled: ASGIApp = answer
        took = answer.status_code < 300
        match fault.kind:
            case Kind.DROP_ANSWER:
                spoiled = _broken(ConnectionResetError)
            case Kind.LATE_ANSWER:
                await self._wait(fault.delay)
            case Kind.STATUS_AFTER if took and fault.status is not None and fault.status < 300:
                body = bytes(answer.body) if fault.body is None else fault.body.encode()
                spoiled = _response(body, fault.status, dict(answer.headers))
            case Kind.STATUS_AFTER if took:
                spoiled = _made_up(fault, request)
            case Kind.GARBAGE:
                spoiled = Response(_GARBAGE if fault.body is None else fault.body, media_type="text/html")
            case Kind.HALF_BODY:
                spoiled = _broken(ConnectionResetError, answer)
            case Kind.SLOW_BODY:
                pieces = self._slowly(bytes(answer.body), fault.delay)
                spoiled = StreamingResponse(pieces, answer.status_code, answer.headers)
            case Kind.NO_ID | Kind.OTHER_CUSTOMER if took:
                document = json.loads(bytes(answer.body))
                if fault.kind is Kind.NO_ID:
                    document.pop("id", None)
                else:
                    document["customer_phone_number"] = OTHER_CUSTOMER
                spoiled = _response(json.dumps(document).encode(), answer.status_code, dict(answer.headers))
        return spoiled

    async def _slowly(self, body: bytes, seconds: float) -> AsyncIterator[bytes]:
        size = max(1, -(-len(body) // SLOW_PIECES))
        for start in range(0, len(body), size):
            await self._wait(seconds)
            yield body[start : start + size]

    async def _wait(self, seconds: float) -> None:
        await until_woken(self._removed, timedelta(seconds=seconds), self.clock)


def _made_up(fault: Fault, request: Request) -> Response:
    status = fault.status or 500
    headers = {"content-type": "application/json; charset=utf-8"}
    if fault.retry_after is not None:
        headers["retry-after"] = str(fault.retry_after)
    if 300 <= status < 400:
        headers["location"] = request.url.path
    words = HTTPStatus(status).phrase if status in set(HTTPStatus) else f"Status {status}"
    body = json.dumps({"error": words}) if fault.body is None else fault.body
    return _response(body.encode(), status, headers)


def _response(body: bytes, status: int, headers: dict[str, str]) -> Response:
    headers.pop("content-length", None)
    # HTTP allows no body with these two.
    return Response(b"" if status in {204, 304} else body, status, headers)


def _broken(error: type[ConnectionError], answer: Response | None = None) -> ASGIApp:
    """
    End the connection, after half of the *answer* if there is one.

    Over a real socket, uvicorn's transport is closed under it: an app that raises would only make the server
    answer 500. In process there is none, and *error* is raised instead.
    """

    async def app(_scope: Scope, receive: Receive, send: Send) -> None:
        if answer is not None:
            start = {"status": answer.status_code, "headers": answer.raw_headers}
            await send({"type": "http.response.start", **start})
            half = answer.body[: len(answer.body) // 2]
            await send({"type": "http.response.body", "body": half, "more_body": True})
        # The receive of uvicorn's protocols is a method of the object that holds the transport.
        transport = getattr(getattr(receive, "__self__", None), "transport", None)
        if transport is None:
            raise error
        transport.abort() if answer is None else transport.close()
        # uvicorn answers 500 for an app that returns before uvicorn notices that the client is gone.
        while (await receive())["type"] != "http.disconnect":
            pass

    return app


def load_faults(document: str | bytes) -> list[Fault]:
    """Return the faults of a JSON file: a list of objects, or one object. Raises UsageError."""
    try:
        return read_faults(json.loads(document))
    except (ValueError, RecursionError) as exc:
        raise UsageError("The faults are not JSON. Write a list of objects with a kind each.") from exc


def read_faults(value: object) -> list[Fault]:
    """Return the faults of a JSON value: a list of objects, or one object. Raises UsageError."""
    return read_asked(list[Fault], value if isinstance(value, list) else [value], "faults")
