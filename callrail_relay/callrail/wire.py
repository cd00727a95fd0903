"""
CallRail's names and shapes: paths, parameters, lists and webhooks. ``answers`` reads its answer to a send.

Facts are from https://apidocs.callrail.com and from answers of the live API; what is uncertain is read with
care and never relied on.
"""

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from operator import itemgetter
from typing import Any
from urllib.parse import quote, urlencode

from callrail_relay.callrail.answers import items, last_ten_digits, read_object, thread_of
from callrail_relay.domain.charset import UnparsedError, decode
from callrail_relay.domain.inbound import CallRailText, Direction, ShownNumber, WebhookIntegration
from callrail_relay.domain.message import read_instant
from callrail_relay.domain.payload import Fields, Number, first, parse, storable
from callrail_relay.domain.phone import BadPhone, normalize
from callrail_relay.domain.reconcile import FoundText
from callrail_relay.domain.routing import NamedEntry, NumberEntry, Route

FEW = 3  # texts of a conversation that any list shows

Json = Mapping[str, Any]


def authorization(api_key: str) -> dict[str, str]:
    """Return the header with the key; CallRail wants the inner quotes, and never Bearer."""
    return {"Authorization": f'Token token="{api_key}"', "Request-From": "callrail_relay"}


# Where each list is, and what is always asked for.
_LISTS: dict[str, tuple[str, dict[str, object]]] = {
    "accounts": ("a", {"fields": "numeric_id", "per_page": 100}),
    "companies": ("a/{}/companies", {"status": "active", "per_page": 100}),
    "trackers": ("a/{}/trackers", {"status": "active", "per_page": 250}),
    "conversations": ("a/{}/text-messages", {"per_page": 250}),
    "messages": ("a/{}/text-messages/{}", {"per_page": 250}),
    "integrations": ("a/{}/integrations", {"fields": "signing_key", "per_page": 100}),
}


def page_path(name: str, page: int, *ids: str, **asked: object) -> str:
    """Return the path of one page of a list: an account's, or a conversation's, by their *ids*."""
    path, always = _LISTS[name]
    given = {key: value for key, value in asked.items() if value is not None}
    return f"{_path(path, *ids)}?{urlencode({**given, **always, 'page': page})}"


def activity_since(company_id: str, since: datetime, search: str | None = None) -> dict[str, object]:
    """Return what to ask for: activity since then; *search* matches a customer's number or name."""
    # What a list without dates covers isn't documented, and CallRail's day may begin hours later than ours.
    return {"company_id": company_id, "start_date": (since - timedelta(days=1)).date(), "search": search}


def send_path(account_id: str) -> str:
    return _path("a/{}/text-messages", account_id)


def _path(path: str, *ids: str) -> str:
    return f"/v3/{path.format(*(quote(id_, safe='') for id_ in ids))}.json"


def read_page(body: bytes, name: str, page: int) -> tuple[list[dict[str, Any]], bool]:
    """Return the entries on one page of a list, and whether it's the last; ValueError for others."""
    document = read_object(body) or {}
    if not isinstance(listed := document.get(name), list):
        raise ValueError(f"no list of {name}")  # noqa: TRY004 - the body is at fault, not the program
    entries = items(listed, dict)
    # Some lists lack one of these.
    total, size = document.get("total_pages"), document.get("per_page")
    if isinstance(total, int):
        return entries, page >= total
    return entries, len(entries) < size if isinstance(size, int) else not entries


def read_named(entries: Iterable[Json]) -> list[NamedEntry]:
    return [
        NamedEntry(str(entry["id"]), str(entry.get("name") or entry["id"]), _text(entry.get("numeric_id")))
        for entry in _with_id(entries)
    ]


def read_companies(entries: Iterable[Json]) -> list[NamedEntry]:
    """Return the active companies."""
    return read_named(one for one in _with_id(entries) if one.get("status", "active") == "active")


def read_numbers(entries: Iterable[Json]) -> list[NumberEntry]:
    """Return the numbers that can text: of active trackers with texting supported and switched on."""
    numbers = []
    for tracker in _with_id(entries):
        can_text = tracker.get("sms_supported") is True and tracker.get("sms_enabled") is True
        if can_text and tracker.get("status", "active") == "active":
            company = tracker.get("company")
            company_id = str(company.get("id") or "") if isinstance(company, dict) else ""
            name, pooled = str(tracker.get("name") or ""), tracker.get("type") != "source"
            its_numbers = items(tracker.get("tracking_numbers"), str)
            numbers += [NumberEntry(number, name, company_id, pooled) for number in its_numbers]
    return numbers


def _with_id(entries: Iterable[Json]) -> list[Json]:
    return [entry for entry in entries if entry.get("id") is not None]


def _text(value: object) -> str | None:
    return None if value is None else storable(str(value))


def read_conversation_ids(entries: Iterable[Json], *, route: Route, recipient: str) -> list[str]:
    """Return the ids of the conversations between *recipient* and the number of *route*."""
    return [
        str(entry["id"])
        for entry in _with_id(entries)
        if entry.get("company_id") == route.company_id
        and last_ten_digits(entry.get("customer_phone_number")) == recipient[-10:]
        and any(last_ten_digits(number) == route.tracking_number[-10:] for number in _our_numbers(entry))
    ]


def _our_numbers(conversation: Json) -> set[str | None]:
    return {_text(conversation.get(f"{which}_tracking_number")) for which in ("current", "initial")}


def read_texts(messages: Iterable[Json]) -> list[FoundText]:
    """Return the outgoing texts of a conversation."""
    return [
        FoundText(content=str(message.get("content") or ""), created_at=created_at)
        for message in messages
        if message.get("direction") == "outgoing"
        for created_at in [read_instant(message.get("created_at"))]
        if created_at is not None
    ]


def by_id(conversations: Iterable[Json]) -> dict[str, Json]:
    return {str(entry["id"]): entry for entry in _with_id(conversations)}


def cut_off(conversations: Mapping[str, Json], since: datetime) -> list[str]:
    """
    Which conversations on a page of a list may have had more texts since then than it shows.

    How many it shows isn't documented: one may have more if all shown came since, and no other shows more.
    """
    shown = {id_: items(entry.get("recent_messages"), dict) for id_, entry in conversations.items()}
    most = max(map(len, shown.values()), default=0)
    return [
        id_
        for id_, messages in shown.items()
        if len(messages) == most >= FEW
        and all((read_instant(message.get("created_at")) or since) >= since for message in messages)
    ]


def reaches_back(conversations: Mapping[str, Json], since: datetime) -> bool:
    """Whether the list is older after this page, newest activity first."""
    oldest: Json = next(reversed([*conversations.values()]), {})
    return (read_instant(oldest.get("last_message_at")) or since) < since


_DIRECTIONS = {"incoming": Direction.IN, "outgoing": Direction.OUT}


def replies_of(
    conversation: Json, since: datetime, ahead: timedelta, messages: Iterable[Json] | None = None
) -> tuple[CallRailText, ...]:
    """
    What a person wrote since then, and what was sent to them, oldest first.

    They are read among all *messages* of a conversation of a list, or those that it shows. *since* is by
    CallRail's clock, which is *ahead* of ours by so much.
    """
    messages = items(conversation.get("recent_messages"), dict) if messages is None else messages
    ours = _our_numbers(conversation) - {None}
    # CallRail doesn't say which of several numbers a text came to.
    number = read_number(next(iter(ours))) if len(ours) == 1 else ShownNumber()
    person = read_number(_text(conversation.get("customer_phone_number")))
    id_, replies = str(conversation["id"]), []
    for message in messages:
        written_at = read_instant(message.get("created_at"))
        direction = _DIRECTIONS.get(str(message.get("direction")))
        if direction is not None and written_at is not None and written_at >= since:
            # What distinguishes it within a conversation, where texts have no ids.
            told = json.dumps([id_, written_at.isoformat(), message.get("content")])
            text = CallRailText(
                key=f"seen:{digest(told)}",
                content=storable(str(message.get("content") or "")),
                source=person if direction is Direction.IN else number,
                destination=number if direction is Direction.IN else person,
                # A webhook about it has no later date than its arrival.
                written_at=written_at - max(ahead, timedelta()),
                direction=direction,
                conversation_id=storable(id_),
                thread_id=thread_of(message),
                company_id=_text(conversation.get("company_id")),
                seen=True,
            )
            replies.append((written_at, text.key, text))
    return tuple(text for _, _, text in sorted(replies, key=itemgetter(0, 1)))


def digest(words: str) -> str:
    """Return a key of 32 characters for *words*."""
    return hashlib.blake2b(words.encode(), digest_size=16).hexdigest()


_EVENTS = {"received": "sms_received_webhook", "sent": "sms_sent_webhook"}


def read_integration(entries: Iterable[Json]) -> WebhookIntegration:
    """Return a company's integration for webhooks among all of its integrations; it has at most one."""
    for entry in _with_id(entries):
        if str(entry.get("type")).lower() == "webhooks":
            config = entry.get("config")
            return WebhookIntegration(
                id=str(entry["id"]),
                config=config if isinstance(config, dict) else {},
                signing_key=_text(entry.get("signing_key") or None),
                active=entry.get("state") in (None, "active"),
            )
    return WebhookIntegration()


def with_urls(config: Json, is_ours: Callable[[str], bool], ours: Mapping[str, str]) -> dict[str, Any]:
    """Return a configuration, which a change replaces whole: *ours*, by event, and all that aren't ours."""
    changed = dict(config)
    for event, name in _EVENTS.items():
        known, url = config.get(name), ours.get(event)
        urls = [known] if isinstance(known, str) and known else items(known, str)
        kept = [one for one in urls if one == url or not is_ours(one)]
        if url and url not in kept:
            kept.append(url)
        if kept != urls:
            changed[name] = kept
    return changed


def integration_change(
    account_id: str, company_id: str, known: WebhookIntegration, config: Json
) -> tuple[str, str, Json]:
    """Return the method, path and body of the request that gives a company this configuration."""
    if known.id is None:
        body = {"type": "Webhooks", "company_id": company_id, "config": config}
        return "POST", _path("a/{}/integrations", account_id), body
    return "PUT", _path("a/{}/integrations/{}", account_id, known.id), {"config": config}


def read_number(value: str | None) -> ShownNumber:
    """Read a number as CallRail shows it: ``+12025550122``, ``202-555-0122``, or ``***0122``."""
    text = (value or "").strip()
    with suppress(BadPhone):
        return ShownNumber(normalize(text))
    if re.fullmatch(r"[0-9\s().+-]*", text):
        digits = re.sub("[^0-9]", "", text)
        if re.fullmatch("1?[0-9]{10}", digits):
            # An area code that is new, or that isn't one: CallRail knows better.
            return ShownNumber(f"+1{digits[-10:]}")
        return ShownNumber()
    shown = re.search(r"[0-9][0-9\s().-]*$", text)
    ending = re.sub("[^0-9]", "", shown[0]) if shown else ""
    # A single digit would match a tenth of all people.
    return ShownNumber(ending=ending if 2 <= len(ending) <= 10 else "")


# Both webhooks have the same fields. Which ones are there, and whether phone numbers are shown in full,
# differs between https://apidocs.callrail.com/#webhooks and the live API.

_LONGEST_ID = 64
# What every webhook about a text has, and none about a call.
_OF_A_TEXT = ("content", "message_type", "conversation_id", "thread_resource_id")
# What identifies a text without an id. Not the whole body: an added field must not matter.
_IDENTIFYING = (
    "source_number",
    "destination_number",
    "conversation_id",
    "company_resource_id",
    "content",
    "timestamp",
)


def read_webhook(body: bytes, content_type: str | None) -> CallRailText | None:
    """Return the text that a webhook reports; None if its body, JSON or form, has none."""
    fields = _webhook_fields(body, content_type)
    if fields is None or not any(name in fields for name in _OF_A_TEXT):
        return None
    return CallRailText(
        key=_key(fields),
        content=_field(fields, "content") or "",
        source=read_number(_field(fields, "source_number")),
        destination=read_number(_field(fields, "destination_number")),
        written_at=read_instant((_field(fields, "timestamp") or "").strip(), UTC),
        # The documentation names it only for Sent; a text sent by the API may have none.
        direction=Direction.OUT if _field(fields, "agent") else None,
        conversation_id=_id(fields, "conversation_id"),
        thread_id=_id(fields, "thread_resource_id"),
        company_id=_id(fields, "company_resource_id"),
    )


def _webhook_fields(body: bytes, content_type: str | None) -> Fields | None:
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
    values = [[_field(fields, name) for name in _IDENTIFYING], _id(fields, "id")]
    return f"body:{digest(json.dumps(values))}"


def _id(fields: Fields, name: str) -> str | None:
    value = (_field(fields, name) or "").strip()
    return digest(value) if len(value) > _LONGEST_ID else value or None


def _field(fields: Fields, name: str) -> str | None:
    value = first(fields, name)
    if isinstance(value, Number):
        return value.whole()
    return storable(value) if isinstance(value, str) else None


def sign(key: str, body: bytes) -> str:
    """Return the signature of *body*, as in the header."""
    # SHA-1 is CallRail's choice; as an HMAC, it isn't affected by SHA-1's collisions.
    return base64.b64encode(hmac.new(key.encode(), body, hashlib.sha1).digest()).decode("ascii")


def verify(keys: Iterable[str], body: bytes, header: str | None) -> bool:
    """
    Whether *header* is the signature of the raw *body* under one of *keys*, compared in constant time.

    An empty key signs nothing: an unset variable looks like one.
    """
    given = (header or "").encode()
    # A list first, so that every key is compared and the time doesn't reveal which one matched.
    matches = [hmac.compare_digest(sign(key, body).encode(), given) for key in keys if key]
    return any(matches)
