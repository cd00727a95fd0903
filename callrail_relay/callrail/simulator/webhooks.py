"""
The simulated CallRail's webhooks: it posts each text to the URLs of its company's integration.

"Text Message Received" and "Text Message Sent", signed as https://apidocs.callrail.com/#validating-payloads
says, and never sent again. The fields are those of a body seen on 2026-04-08. No body was recorded for a text
that the API sent, so it has no ``agent`` here.
"""

import asyncio
import json
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Annotated
from urllib.parse import urlencode

import httpx2
from pydantic import Field, StrictBool, dataclasses

from callrail_relay.callrail.simulator import records
from callrail_relay.callrail.wire import sign
from callrail_relay.clock import Clock
from callrail_relay.errors import SettingsError
from callrail_relay.network import find_network

# Seconds; how long CallRail waits for an answer isn't documented.
_PATIENCE = 10.0
_FIRST_COMPANY = 123456789


@dataclasses.dataclass(frozen=True, slots=True, config=records.ASKED)
class Manner:
    """How webhooks are posted: as CallRail was seen to do it, and as it might."""

    masked: StrictBool = False  # numbers as ***0122
    form: StrictBool = False  # a form in place of JSON
    without_id: StrictBool = False  # no resource_id
    wrong_signature: StrictBool = False  # signed with another key
    lost: StrictBool = False  # not posted at all
    times: Annotated[int, Field(strict=True, ge=0)] = 1  # how often each is posted
    delay: records.Seconds = 0.0  # until it is


@dataclass(slots=True)
class PostedWebhook:
    """One webhook: what is posted where, and the status of the answer; None if there was none yet."""

    event: str
    url: str
    body: str
    signature: str
    status: int | None = None


@dataclass(slots=True)
class Webhooks:
    """The webhooks that were posted, or are about to be."""

    clock: Clock
    transport: httpx2.AsyncBaseTransport | None = None
    manner: Manner = field(default_factory=Manner)
    posted: list[PostedWebhook] = field(default_factory=list)
    under_way: set[asyncio.Task[None]] = field(default_factory=set)

    def post(
        self, integration: records.Integration, conversation: records.Conversation, message: records.Message
    ) -> None:
        """
        Post a text to the URLs of *integration*, in the current manner.

        This is done in the background, so a webhook may come before the answer about the same text.
        """
        content = _fields(self.manner, conversation, message)
        form = {name: "" if value is None else value for name, value in content.items()}
        body = urlencode(form, doseq=True) if self.manner.form else json.dumps(content)
        key = "another-key" if self.manner.wrong_signature else integration.company.signing_key
        event = "sms_received_webhook" if message.direction == "incoming" else "sms_sent_webhook"
        for url in integration.config.get(event, ()):
            for _ in range(0 if self.manner.lost else self.manner.times):
                webhook = PostedWebhook(event, url, body, sign(key, body.encode()))
                self.posted.append(webhook)
                task = asyncio.create_task(self._post(webhook, self.manner.delay))
                self.under_way.add(task)
                task.add_done_callback(self.under_way.discard)

    async def _post(self, webhook: PostedWebhook, delay: float) -> None:
        if delay:
            await self.clock.sleep(delay)
        kind = "json" if webhook.body.startswith("{") else "x-www-form-urlencoded"
        headers = {
            "Content-Type": f"application/{kind}",
            "User-Agent": "CallRail Webhook/1.0",
            "Signature": webhook.signature,
        }
        with suppress(httpx2.HTTPError, SettingsError):
            transport = self.transport or find_network(webhook.url).transport(httpx2.Limits())
            async with httpx2.AsyncClient(timeout=_PATIENCE, trust_env=False, transport=transport) as client:
                response = await client.post(webhook.url, content=webhook.body, headers=headers)
                webhook.status = response.status_code


def _fields(manner: Manner, conversation: records.Conversation, message: records.Message) -> records.Json:
    """Return the body, key for key as seen on 2026-04-08; ``agent`` is documented for Sent."""
    numbers = (conversation.customer, message.tracking_number)
    person, ours = (f"***{one[-4:]}" if manner.masked else records.formatted(one) for one in numbers)
    incoming = message.direction == "incoming"
    person_id = f"PER{int(conversation.customer[2:]):032x}"
    return {
        **({} if manner.without_id else {"resource_id": f"SCI{message.id:032x}"}),
        "source_number": person if incoming else ours,
        "destination_number": ours if incoming else person,
        "lead_status": None,
        "conversation_id": conversation.id,
        "company_id": _FIRST_COMPANY + int(conversation.company.id[3:], 16) - 1,
        "person_id": person_id,
        "thread_resource_id": message.thread_id,
        "company_resource_id": conversation.company.id,
        "person_resource_id": person_id,
        "message_type": "sms",
        "media_urls": [],
        "content": message.content,
        **({"received_at": records.with_offset(message.created_at)} if incoming else {}),
        "timestamp": records.with_offset(message.created_at),
        **({"agent": message.agent} if message.agent else {}),
    }
