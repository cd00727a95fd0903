"""Records as CallRail's JSON, key for key as in its recorded answers."""

from collections.abc import Set as AbstractSet
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from callrail_relay.callrail.simulator.records import (
    Account,
    Company,
    Conversation,
    Integration,
    Message,
    Tracker,
    formatted,
)

Json = dict[str, Any]

# Conversations carried this zone's offset although their company was in another one (2026-04-07).
ACCOUNT_ZONE = ZoneInfo("America/New_York")

# How many messages the list shows is not documented; the single conversation has them all.
RECENT_MESSAGES = 25


def account(record: Account, fields: AbstractSet[str]) -> Json:
    body: Json = {"id": record.id, "name": record.name}
    if "numeric_id" in fields:
        body["numeric_id"] = record.numeric_id
    return body | {
        "inbound_recording_enabled": False,
        "outbound_recording_enabled": False,
        "hipaa_account": False,
        "created_at": record.created_at.astimezone(ACCOUNT_ZONE).strftime("%Y-%m-%d %H:%M:%S %z"),
    }


def company(record: Company) -> Json:
    return {
        "id": record.id,
        "name": record.name,
        "status": record.status,
        "time_zone": record.time_zone,
        "created_at": in_utc(record.created_at),
        "callscore_enabled": False,
        "lead_scoring_enabled": True,
        "callscribe_enabled": True,
        "disabled_at": None if record.disabled_at is None else in_utc(record.disabled_at),
    }


def tracker(record: Tracker, owner: Company) -> Json:
    return {
        "id": record.id,
        "name": record.name,
        "type": record.type,
        "status": record.status,
        "destination_number": record.destination_number,
        "tracking_numbers": list(record.tracking_numbers),
        "sms_supported": record.sms_supported,
        "sms_enabled": record.sms_enabled,
        "company": {"id": owner.id, "name": owner.name},
        "source": {"type": "google_my_business" if record.type == "source" else "all"},
        "call_flow": {
            "type": "basic",
            "recording_enabled": True,
            "destination_number": record.destination_number,
        },
    }


def conversation(
    record: Conversation, owner: Company, tracker_name: str, fields: AbstractSet[str] = frozenset()
) -> Json:
    """A conversation of the list, and the answer to a send: the newest message first."""
    extra = {"lead_status": None, "source": tracker_name}
    recent = sorted(record.messages, key=age, reverse=True)[:RECENT_MESSAGES]
    return {
        "id": record.id,
        "initial_tracker_id": record.first.tracker_id,
        "current_tracker_id": record.last.tracker_id,
        "customer_name": record.customer_name.upper(),
        "customer_phone_number": record.customer_phone_number,
        "initial_tracking_number": record.first.tracking_number,
        "current_tracking_number": record.last.tracking_number,
        "last_message_at": with_offset(record.last.created_at),
        "state": "active",
        "formatted_customer_phone_number": formatted(record.customer_phone_number),
        "formatted_initial_tracking_number": formatted(record.first.tracking_number),
        "formatted_current_tracking_number": formatted(record.last.tracking_number),
        "formatted_customer_name": record.customer_name,
        "company_time_zone": owner.time_zone,
        "tracker_name": tracker_name,
        "company_name": owner.name,
        "company_id": record.company_id,
        "recent_messages": [_recent_message(message) for message in recent],
    } | {name: value for name, value in extra.items() if name in fields}


def single_conversation(record: Conversation) -> Json:
    """The head of a conversation asked for by its id; its paged messages go beside it."""
    return {
        "id": record.id,
        "company_id": record.company_id,
        "customer_phone_number": record.customer_phone_number,
        "current_tracking_number": record.last.tracking_number,
        "state": "active",
    }


def single_message(message: Message) -> Json:
    return {
        "id": message.id,
        "direction": message.direction,
        "content": message.content,
        "created_at": in_utc(message.created_at),
        "type": "sms",
        "media_urls": [],
    }


def integration(record: Integration, signing_key: str, fields: AbstractSet[str]) -> Json:
    body: Json = {"id": record.id, "type": "Webhooks", "state": "active", "config": record.config}
    if "signing_key" in fields:
        body["signing_key"] = signing_key
    return body


def with_offset(instant: datetime) -> str:
    return instant.astimezone(ACCOUNT_ZONE).isoformat(timespec="milliseconds")


def in_utc(instant: datetime) -> str:
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{instant.microsecond // 1000:03d}Z"


def _recent_message(message: Message) -> Json:
    return {
        "direction": message.direction,
        "content": message.content,
        "created_at": with_offset(message.created_at),
        "sms_thread": {
            "id": message.thread_id,
            "notes": None,
            "tags": [],
            "value": None,
            "lead_qualification": None,
        },
        "type": "sms",
        "media_urls": [],
    }


def age(message: Message) -> tuple[datetime, int]:
    return message.created_at, message.id
