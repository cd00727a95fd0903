"""
The bodies of CallRail's webhooks. ``wire`` and ``answers`` have the other names that CallRail uses.

"Text Message Received" and "Text Message Sent" have the same fields; the documentation
(https://apidocs.callrail.com/#webhooks) and what was seen of the live API differ on which of them are
there and on whether phone numbers are shown in full. Nothing is relied on but the words.
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Iterable
from datetime import UTC, datetime

from callrail_relay.callrail.wire import digest, read_number
from callrail_relay.domain.charset import UnparsedError, decode
from callrail_relay.domain.inbound import CallRailText, Direction
from callrail_relay.domain.payload import Fields, Number, first, parse, storable

_LONGEST_ID = 64
# What every webhook about a text has, and one about a call has not.
_OF_A_TEXT = ("content", "message_type", "conversation_id", "thread_resource_id")
# What identifies a text without an id. Not all of the body: a field that is added must not matter.
_IDENTIFYING = (
    "source_number",
    "destination_number",
    "conversation_id",
    "company_resource_id",
    "content",
    "timestamp",
)


def read_text(body: bytes, content_type: str | None) -> CallRailText | None:
    """The text that a webhook reports; None if its body, JSON or form, has none."""
    fields = _fields(body, content_type)
    if fields is None or not any(name in fields for name in _OF_A_TEXT):
        return None
    return CallRailText(
        key=_key(fields),
        content=_text(fields, "content") or "",
        source=read_number(_text(fields, "source_number")),
        destination=read_number(_text(fields, "destination_number")),
        written_at=_instant(_text(fields, "timestamp")),
        # Named by the documentation for Sent alone; a text sent by the API may have none.
        direction=Direction.OUT if _text(fields, "agent") else None,
        conversation_id=_id(fields, "conversation_id"),
        thread_id=_id(fields, "thread_resource_id"),
        company_id=_id(fields, "company_resource_id"),
    )


def _fields(body: bytes, content_type: str | None) -> Fields | None:
    try:
        text = decode(body, content_type)
    except UnparsedError:
        # One broken byte elsewhere must not hide an opt-out.
        text = body.decode("utf-8", "replace")
    try:
        value = parse(text, content_type)
    except UnparsedError:
        return None
    return value if isinstance(value, dict) else None


def _key(fields: Fields) -> str:
    if resource_id := _id(fields, "resource_id"):
        return resource_id
    values = [[_text(fields, name) for name in _IDENTIFYING], _id(fields, "id")]
    return f"body:{digest(json.dumps(values))}"


def _id(fields: Fields, name: str) -> str | None:
    value = (_text(fields, name) or "").strip()
    return digest(value) if len(value) > _LONGEST_ID else value or None


def _text(fields: Fields, name: str) -> str | None:
    value = first(fields, name)
    if isinstance(value, Number):
        return value.whole()
    return storable(value) if isinstance(value, str) else None


def _instant(value: str | None) -> datetime | None:
    """An instant; UTC if no offset is given, since nothing else is known."""
    try:
        instant = datetime.fromisoformat((value or "").strip())
        return (instant if instant.tzinfo else instant.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def sign(key: str, body: bytes) -> str:
    """The signature of *body*, as in the header."""
    # SHA-1 is CallRail's choice; as an HMAC it is not open to SHA-1's collisions.
    return base64.b64encode(hmac.new(key.encode(), body, hashlib.sha1).digest()).decode("ascii")


def verify(keys: Iterable[str], body: bytes, header: str | None) -> bool:
    """
    Whether *header* is the signature of the raw *body* under one of *keys*, compared in constant time.

    An empty key signs nothing: it is what an unset variable looks like.
    """
    given = (header or "").encode()
    # A list first, so that every key is compared and the time does not tell which one matched.
    matches = [hmac.compare_digest(sign(key, body).encode(), given) for key in keys if key]
    return any(matches)
