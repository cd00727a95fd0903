"""
The webhooks of the simulated CallRail: it posts each text to the URLs of its company's integration.

"Text Message Received" and "Text Message Sent", signed as https://apidocs.callrail.com/#validating-payloads
says, and never sent again. The fields are those of a body seen on 2026-04-08. No body was recorded for a text
that the API sent, so it has no ``agent`` here.
"""

import asyncio
import json
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, fields
from typing import Any
from urllib.parse import urlencode

import httpx

from callrail_relay.callrail.simulator.records import Company, Conversation, Message, formatted
from callrail_relay.callrail.simulator.shapes import with_offset
from callrail_relay.callrail.webhooks import sign
from callrail_relay.clock import Clock
from callrail_relay.errors import UsageError

RECEIVED, SENT = "sms_received_webhook", "sms_sent_webhook"

_PATIENCE = 10.0
"""Seconds; how long CallRail waits for an answer is not documented."""

_FIRST_COMPANY = 123456789


@dataclass(frozen=True, slots=True)
class Manner:
    """How webhooks are posted: as CallRail was seen to do it, and as it might."""

    masked: bool = False  # numbers as ***0122
    form: bool = False  # a form in place of JSON
    without_id: bool = False  # no resource_id
    wrong_signature: bool = False  # signed with another key
    lost: bool = False  # not posted at all
    times: int = 1  # how often each is posted
    delay: float = 0.0  # seconds until it is


@dataclass(slots=True)
class Telling:
    """One webhook: what is posted where, and the status of the answer; None if there was none yet."""

    event: str
    url: str
    body: bytes
    headers: dict[str, str]
    delay: float = 0.0
    status: int | None = None

    def as_json(self) -> dict[str, Any]:
        return {
            "event": self.event,
            "url": self.url,
            "body": self.body.decode(),
            "signature": self.headers["Signature"],
            "status": self.status,
        }


Post = Callable[[Telling], Awaitable[int | None]]


async def post_over_http(telling: Telling) -> int | None:
    """The status of the answer, None if there is none."""
    async with httpx.AsyncClient(timeout=_PATIENCE, trust_env=False, follow_redirects=False) as client:
        try:
            response = await client.post(telling.url, content=telling.body, headers=telling.headers)
        except httpx.HTTPError:
            return None
        return response.status_code


@dataclass(slots=True)
class Webhooks:
    """The webhooks that were posted and those still to post."""

    clock: Clock
    post: Post = post_over_http
    manner: Manner = field(default_factory=Manner)
    told: list[Telling] = field(default_factory=list)
    _waiting: list[Telling] = field(default_factory=list)
    _under_way: set[asyncio.Task[None]] = field(default_factory=set)

    def add(
        self,
        config: dict[str, list[str]],
        company: Company,
        conversation: Conversation,
        message: Message,
        agent: str | None,
    ) -> None:
        """Post a text to the URLs of *config*, in the current manner."""
        if self.manner.lost:
            return
        content = _fields(self.manner, company, conversation, message, agent)
        body = (urlencode(_flat(content)) if self.manner.form else json.dumps(content)).encode()
        headers = {
            "Content-Type": "application/x-www-form-urlencoded" if self.manner.form else "application/json",
            "User-Agent": "CallRail Webhook/1.0",
            "Signature": sign("another-key" if self.manner.wrong_signature else company.signing_key, body),
        }
        event = RECEIVED if message.direction == "incoming" else SENT
        for url in config.get(event, ()):
            for _ in range(self.manner.times):
                self._waiting.append(Telling(event, url, body, headers, self.manner.delay))

    def start(self) -> None:
        """Post what is waiting, in the background."""
        waiting, self._waiting = self._waiting, []
        for telling in waiting:
            self.told.append(telling)
            task = asyncio.create_task(self._tell(telling))
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)

    async def settle(self) -> None:
        """Return when everything that was waiting has been posted."""
        self.start()
        while self._under_way:
            await asyncio.wait(self._under_way)

    async def _tell(self, telling: Telling) -> None:
        if telling.delay:
            await self.clock.sleep(telling.delay)
        telling.status = await self.post(telling)


def read_manner(value: object) -> Manner:
    """The manner that an object of the sandbox's own routes asks for. Raises UsageError."""
    kinds = {each.name: type(each.default) for each in fields(Manner)}
    if not isinstance(value, dict) or not set(value) <= set(kinds):
        raise UsageError(f"Send an object with any of {', '.join(kinds)}.")
    given: dict[str, Any] = dict(value)
    for name, one in given.items():
        whole = type(one) is int and kinds[name] is float
        if not (whole or type(one) is kinds[name]) or not 0 <= one < math.inf:
            raise UsageError(f"{name} cannot be {one!r}.")
    return Manner(**given)


def _fields(
    manner: Manner, company: Company, conversation: Conversation, message: Message, agent: str | None
) -> dict[str, Any]:
    """The body, key for key as seen on 2026-04-08; ``agent`` is documented for Sent."""
    numbers = (conversation.customer_phone_number, message.tracking_number)
    person, ours = (f"***{one[-4:]}" if manner.masked else formatted(one) for one in numbers)
    incoming = message.direction == "incoming"
    person_id = f"PER{int(conversation.customer_phone_number[2:]):032x}"
    body: dict[str, Any] = {
        "resource_id": f"SCI{message.id:032x}",
        "source_number": person if incoming else ours,
        "destination_number": ours if incoming else person,
        "lead_status": None,
        "conversation_id": conversation.id,
        "company_id": _FIRST_COMPANY + int(company.id[3:], 16) - 1,
        "person_id": person_id,
        "thread_resource_id": message.thread_id,
        "company_resource_id": company.id,
        "person_resource_id": person_id,
        "message_type": "sms",
        "media_urls": [],
        "content": message.content,
        **({"received_at": with_offset(message.created_at)} if incoming else {}),
        "timestamp": with_offset(message.created_at),
        **({"agent": agent} if agent else {}),
    }
    if manner.without_id:
        del body["resource_id"]
    return body


def _flat(body: dict[str, Any]) -> list[tuple[str, str]]:
    """The body as the pairs of a form."""
    pairs: list[tuple[str, str]] = []
    for name, value in body.items():
        if isinstance(value, list):
            pairs.extend((f"{name}[]", str(one)) for one in value)
        else:
            pairs.append((name, "" if value is None else str(value)))
    return pairs
