"""
CallRail's names and shapes: the only file of the client that knows them.

Facts are from https://apidocs.callrail.com and from answers of the live API;
what is uncertain is read with care and never relied on.
"""

import codecs
import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, date, datetime
from email.utils import parsedate_to_datetime
from html import unescape
from typing import Any
from urllib.parse import quote, urlencode

from callrail_relay.callrail.numbers import read_number, storable
from callrail_relay.domain.inbound import CallRailText, Direction, HookUrls, ShownNumber, WebhookIntegration
from callrail_relay.domain.outcome import (
    Outcome,
    RateLimited,
    Refusal,
    Rejected,
    Sent,
    Unknown,
    Usage,
)
from callrail_relay.domain.phone import mask_all
from callrail_relay.domain.reconcile import FoundText
from callrail_relay.domain.routing import AccountEntry, CompanyEntry, NumberEntry, Route

LONGEST_RETRY_AFTER = 3600.0
"""Seconds; a longer wait than one window of the budget is not taken for sane."""

FEW = 3
"""Texts of a conversation that any list shows."""

Replies = tuple[CallRailText, ...]
"""What a person wrote, oldest first."""

_LONGEST_WORDS = 300
_LARGEST_READ = 65_536
_MOST_LEVELS = 6
_LARGEST_COUNT = 1_000_000

_WORDS_OF_RECIPIENT = (
    "do not contact",
    "do not call",
    "blocked number",
    "not a mobile",
    "landline",
    "land line",
    "invalid phone",
    "phone number is invalid",
    "not a valid phone",
    "not opted in",
)

# How CallRail, and Twilio behind it, say that a person opted out (21610:
# https://www.twilio.com/docs/api/errors/21610), in words without punctuation or case.
_OPTED_OUT = re.compile(
    r"""
    \bopted\ ?out\b (?!\ of\ (?:mms|media|pictures?|images?|calls?|voice|e\ ?mails?)\b)
    | \bopt\ ?out\ (?:list|status)\b
    | ^(?:(?!(?:must|missing|contains?|includes?|requires?|no|not|without|add|allow|append|needs?|lacks?)\b)
          \w+\ ){0,4} opt\ ?out (?:\ true)?$
    | \bunsubscribed\b (?!\ from\ (?:mms|e\ ?mails?|calls?)\b)
    | \b(?:errors?|code|twilio)\ 21610\b
    | \b(?:black|deny|block)\ ?list\ rule\b
    | \b(?:suppression|stop|do\ not\ (?:contact|text))\ ?list\b
    | \b(?:replied|responded|sent|texted|answered)\ (?:with\ |back\ )?stop\b
    | \b(?:revoked|withdrew|withdrawn)\ (?:\w+\ )?consent\b
    | \bno\ longer\ (?:wants?|wish|wishes)\ to\ (?:receive|get|be)\b
    | \brequested\ (?:not\ to|to\ stop|no\ more)\b
    """,
    re.VERBOSE,
)
_NEGATED = re.compile(r"(?:\b(?:not|never|can be|could be)|n t)(?: been| yet)? $")

# Keys that say only that words follow, so that they are not repeated with them.
_KEYS_OF_WORDS = frozenset(
    {
        "description",
        "detail",
        "details",
        "error",
        "error_description",
        "error_message",
        "errors",
        "message",
        "messages",
        "msg",
        "reason",
        "title",
    }
)


def authorization(api_key: str) -> dict[str, str]:
    """The header that carries the key; CallRail wants the inner quotes, and never Bearer."""
    return {"Authorization": f'Token token="{api_key}"', "Request-From": "callrail_relay"}


def send_path(account_id: str) -> str:
    return f"/v3/a/{account_id}/text-messages.json"


def read_send_answer(
    status: int, headers: Mapping[str, str], body: bytes, *, recipient: str, content: str
) -> Outcome:
    """
    The outcome that an answer to a send stands for: by its status first, by its words second.

    CallRail may quote *content* in what it says: such words are the office's, not CallRail's.
    """
    usage = read_usage(headers)
    if status in (200, 201):
        return _read_success(status, body, recipient, usage)
    words = read_words(body)
    if status == 429:
        return RateLimited(status, words, read_retry_after(headers), usage)
    if status == 403 and is_html(headers, body):
        return Rejected(status, words, Refusal.FIREWALL, usage)
    if status in (401, 403):
        return Rejected(status, words, Refusal.AUTHORIZATION, usage)
    if status in (400, 404, 405, 406, 422):
        return Rejected(status, words, _refusal(status, body, content), usage)
    return Unknown(f"CallRail answered {status}, which does not say whether it took the text.", status)


def is_html(headers: Mapping[str, str], body: bytes) -> bool:
    """
    Whether an answer is a page: CallRail's API answers in JSON or plain words, a firewall before it in HTML.
    """
    if _json(body) is not None:
        return False
    return _is_markup(body) or "html" in headers.get("content-type", "").lower()


def _read_success(status: int, body: bytes, recipient: str, usage: Usage) -> Outcome:
    conversation = _object(body)
    if conversation is None or not isinstance(conversation.get("id"), str) or not conversation["id"]:
        return Unknown("CallRail's answer could not be understood.", status)
    if _last_ten_digits(conversation.get("customer_phone_number")) != recipient[-10:]:
        return Unknown("CallRail's answer names another person's number.", status)
    return Sent(status, conversation["id"], _thread_id(conversation), usage)


def _thread_id(conversation: Mapping[str, Any]) -> str | None:
    for message in _objects(conversation.get("recent_messages")):
        thread_id = _thread_of(message)
        if thread_id is not None:
            return thread_id
    return None


def _thread_of(message: Mapping[str, Any]) -> str | None:
    thread = message.get("sms_thread")
    thread_id = thread.get("id") if isinstance(thread, dict) else None
    return thread_id if isinstance(thread_id, str) else None


def _last_ten_digits(value: object) -> str:
    return "".join(character for character in str(value) if character.isdigit())[-10:]


def _refusal(status: int, body: bytes, content: str) -> Refusal:
    told = [word for word, _ in _leaves(_document(body), _MOST_LEVELS)]
    if any(_says_opted_out(words, content) for words in told):
        return Refusal.OPTED_OUT
    if status in (404, 405, 406):
        return Refusal.REQUEST
    lowered = " ".join(told).lower()
    known = any(phrase in lowered for phrase in _WORDS_OF_RECIPIENT)
    return Refusal.RECIPIENT if known else Refusal.CONTENT


def _says_opted_out(words: str, content: str) -> bool:
    """Whether CallRail says so, in words that are not quoted from *content*."""
    said, ours = _simple(words), _simple(content)
    if _OPTED_OUT.search(ours):
        said = said.replace(ours, "")
    for match in _OPTED_OUT.finditer(said):
        before, after = said[: match.start()], said[match.end() :]
        # A quotation that was cut short shows by the words next to it.
        around = [f"{word} {match[0]}" for word in before.split()[-1:]]
        around += [f"{match[0]} {word}" for word in after.split()[:1]]
        if not any(one in ours for one in around) and not _NEGATED.search(before):
            return True
    return False


def _simple(words: str) -> str:
    """*words* in small letters, with one space for whatever stands between them: opted_out is optedOut."""
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", words)
    return re.sub(r"[\W_]+", " ", apart.lower()).strip()


def read_words(body: bytes) -> str:
    """
    What an error body says, in one line, cut to a readable length, with phone numbers masked.

    CallRail's documentation says only that it is JSON, and several keys and shapes have been seen: if none of
    the usual keys is there, all words count.
    """
    document = _document(body)
    usual = document
    if isinstance(document, dict):
        usual = {key: value for key, value in document.items() if key.lower() in _KEYS_OF_WORDS}
    told = [word for word, is_text in _leaves(usual, _MOST_LEVELS) if is_text]
    told = told or [word for word, _ in _leaves(document, _MOST_LEVELS)]
    line = " ".join("; ".join(dict.fromkeys(told)).split())[:_LONGEST_WORDS]
    return mask_all(line) if line else "CallRail gave no reason."


def _document(body: bytes) -> object:
    """*body* as JSON, else the words of a page or of plain text."""
    document = _json(body)
    if document is not None:
        return document
    text = body[:_LARGEST_READ].decode("utf-8-sig", "replace")
    return _words_of_page(text) if _is_markup(body) else text


def _is_markup(body: bytes) -> bool:
    return body.removeprefix(codecs.BOM_UTF8).lstrip().startswith(b"<")


def _words_of_page(page: str) -> str:
    """The title of a page, or all that is seen of it."""
    title = re.search("<title[^>]*>(.*?)</title", page, re.DOTALL | re.IGNORECASE)
    if title and title[1].strip():
        return unescape(title[1])
    unseen = re.compile("<(script|style)\\b.*?</\\1>|<[^>]*>", re.DOTALL | re.IGNORECASE)
    return unescape(unseen.sub(" ", page))


def _leaves(value: object, levels: int) -> Iterator[tuple[str, bool]]:
    """
    All words in *value*, with the keys above them, and whether they are text; else a number, or what is true.
    """
    if isinstance(value, str):
        yield value, True
    elif isinstance(value, bool):
        if value:
            yield "true", False
    elif isinstance(value, int | float):
        yield str(value), False
    elif isinstance(value, list) and levels:
        for item in value:
            yield from _leaves(item, levels - 1)
    elif isinstance(value, dict) and levels:
        for key, item in value.items():
            for word, is_text in _leaves(item, levels - 1):
                yield word if key.lower() in _KEYS_OF_WORDS else f"{key} {word}", is_text


def read_usage(headers: Mapping[str, str]) -> Usage:
    """
    CallRail's count of this account's texts, from the headers of a send answer that are present and sane.
    """
    return Usage(
        hour_allowed=_count(headers.get("x-rate-limit-hourly-allowed"), least=1),
        hour_used=_count(headers.get("x-rate-limit-hourly-used")),
        day_allowed=_count(headers.get("x-rate-limit-daily-allowed"), least=1),
        day_used=_count(headers.get("x-rate-limit-daily-used")),
    )


def _count(value: str | None, *, least: int = 0) -> int | None:
    if value is None or not (value.isascii() and value.isdigit()) or len(value) > len(str(_LARGEST_COUNT)):
        return None
    return int(value) if int(value) >= least else None


def read_retry_after(headers: Mapping[str, str]) -> float | None:
    """
    Seconds to wait, from a ``Retry-After`` of seconds or of a date; None where it is absent or not sane.
    """
    value = headers.get("retry-after", "").strip()
    if not value:
        return None
    try:
        seconds = float(value) if value.isdigit() else _seconds_until(value, headers.get("date", ""))
    except (ValueError, TypeError):
        return None
    return seconds if 1 <= seconds <= LONGEST_RETRY_AFTER else None


def _seconds_until(instant: str, now: str) -> float:
    # Measured on the server's own clock: the difference is right even where ours is wrong.
    return (parsedate_to_datetime(instant) - parsedate_to_datetime(now)).total_seconds()


def accounts_path(page: int) -> str:
    return f"/v3/a.json?fields=numeric_id&page={page}&per_page=100"


def companies_path(account_id: str, page: int) -> str:
    return f"/v3/a/{account_id}/companies.json?status=active&page={page}&per_page=100"


def trackers_path(account_id: str, company_id: str | None, page: int) -> str:
    of_company = {} if company_id is None else {"company_id": company_id}
    question = urlencode({"status": "active", **of_company, "page": str(page), "per_page": "250"})
    return f"/v3/a/{account_id}/trackers.json?{question}"


def read_accounts(body: bytes) -> list[AccountEntry]:
    """Raises ValueError where the body is no list of accounts."""
    return [
        AccountEntry(str(entry["id"]), str(entry.get("name") or entry["id"]), _text(entry.get("numeric_id")))
        for entry in _page(body, "accounts")
    ]


def read_companies(body: bytes) -> list[CompanyEntry]:
    """Raises ValueError where the body is no list of companies."""
    return [
        CompanyEntry(str(entry["id"]), str(entry.get("name") or entry["id"]), _text(entry.get("time_zone")))
        for entry in _page(body, "companies")
        if entry.get("status", "active") == "active"
    ]


def is_last_page(body: bytes, name: str, page: int) -> bool:
    """
    Whether no page follows: by ``total_pages``, else by ``per_page``, each of which is missing on some lists.

    Raises ValueError where the body is no such list.
    """
    count = len(_list(body, name))
    document = _object(body) or {}
    total, size = document.get("total_pages"), document.get("per_page")
    if isinstance(total, int):
        return page >= total
    return count < size if isinstance(size, int) else count == 0


def read_numbers(body: bytes) -> list[NumberEntry]:
    """
    The numbers that can text: of active trackers with texting supported and switched on.

    Raises ValueError where the body is no list of trackers.
    """
    return [
        NumberEntry(number, str(tracker.get("name") or ""), _company_id(tracker), pooled)
        for tracker in _page(body, "trackers")
        if _can_text(tracker)
        for pooled in [tracker.get("type") != "source"]
        for number in _strings(tracker.get("tracking_numbers"))
    ]


def _company_id(tracker: Mapping[str, Any]) -> str:
    company = tracker.get("company")
    return str(company.get("id") or "") if isinstance(company, dict) else ""


def _can_text(tracker: Mapping[str, Any]) -> bool:
    return (
        tracker.get("status", "active") == "active"
        and tracker.get("sms_supported") is True
        and tracker.get("sms_enabled") is True
    )


def _page(body: bytes, name: str) -> list[dict[str, Any]]:
    return [entry for entry in _list(body, name) if entry.get("id") is not None]


def _list(body: bytes, name: str) -> list[dict[str, Any]]:
    document = _object(body)
    entries = None if document is None else document.get(name)
    if not isinstance(entries, list):
        raise ValueError(f"no list of {name}")  # noqa: TRY004 - the body is at fault, not the program
    return _objects(entries)


def _object(body: bytes) -> dict[str, Any] | None:
    document = _json(body)
    return document if isinstance(document, dict) else None


def _json(body: bytes) -> object:
    """*body* as JSON; None where it is none."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _objects(value: object) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _strings(value: object) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def conversations_path(account_id: str, company_id: str, since: date, search: str | None, page: int) -> str:
    """A page of the conversations with activity since a day; *search* matches a customer's number or name."""
    question = {
        "company_id": company_id,
        # What a list without dates covers is not documented, so the beginning is always given.
        "start_date": since.isoformat(),
        **({} if search is None else {"search": search}),
        "page": str(page),
        "per_page": "250",
    }
    return f"/v3/a/{account_id}/text-messages.json?{urlencode(question)}"


def conversation_path(account_id: str, conversation_id: str, page: int) -> str:
    return f"/v3/a/{account_id}/text-messages/{quote(conversation_id, safe='')}.json?page={page}&per_page=250"


def read_conversation_ids(body: bytes, *, route: Route, recipient: str) -> list[str]:
    """
    The ids of the conversations between *recipient* and the number of *route*, on one page of a list.

    Raises ValueError where the body is no list of conversations.
    """
    return [
        str(entry["id"])
        for entry in _page(body, "conversations")
        if _is_between(entry, route=route, recipient=recipient)
    ]


def _is_between(conversation: Mapping[str, Any], *, route: Route, recipient: str) -> bool:
    numbers = {
        _last_ten_digits(conversation.get(key))
        for key in ("current_tracking_number", "initial_tracking_number")
    }
    return (
        conversation.get("company_id") == route.company_id
        and _last_ten_digits(conversation.get("customer_phone_number")) == recipient[-10:]
        and route.tracking_number[-10:] in numbers
    )


def read_texts(body: bytes) -> list[FoundText]:
    """The outgoing texts on one page of a conversation. Raises ValueError where the body is none."""
    return [
        FoundText(content=str(message.get("content") or ""), created_at=created_at)
        for message in _list(body, "messages")
        if message.get("direction") == "outgoing"
        for created_at in [_instant(message.get("created_at"))]
        if created_at is not None
    ]


def read_replies(body: bytes, *, since: datetime) -> tuple[dict[str, Replies], dict[str, dict[str, Any]]]:
    """
    What people wrote since then, by conversation, on one page of a list, and which may have had more.

    How many texts a list shows of one isn't documented: one may have more if all that are shown came since
    then, and no other shows more. Raises ValueError if the body is no list of conversations.
    """
    entries = {str(entry["id"]): entry for entry in _page(body, "conversations")}
    shown = {id_: _objects(entry.get("recent_messages")) for id_, entry in entries.items()}
    most = max((len(messages) for messages in shown.values()), default=0)
    cut = {
        id_: entries[id_]
        for id_, messages in shown.items()
        if len(messages) == most >= FEW
        and all((_instant(message.get("created_at")) or since) >= since for message in messages)
    }
    return {id_: _replies(entry, shown[id_], since) for id_, entry in entries.items()}, cut


def reaches_back(body: bytes, since: datetime) -> bool:
    """Whether a page of a list, newest activity first, ends with a conversation that rested since then."""
    entries = _page(body, "conversations")
    last = _instant(entries[-1].get("last_message_at")) if entries else None
    return last is not None and last < since


def replies_of(conversation: Mapping[str, Any], body: bytes, *, since: datetime) -> Replies:
    """The same on one page of a *conversation* of that list. Raises ValueError if the body is none."""
    return _replies(conversation, _list(body, "messages"), since)


def _replies(
    conversation: Mapping[str, Any], messages: Iterable[Mapping[str, Any]], since: datetime
) -> Replies:
    ours = {conversation.get(f"{which}_tracking_number") for which in ("current", "initial")} - {None}
    # Which of several numbers a text came to is not told.
    number = read_number(_text(next(iter(ours)))) if len(ours) == 1 else ShownNumber()
    replies = [
        CallRailText(
            key=_seen_key(str(conversation["id"]), written_at, message),
            content=storable(str(message.get("content") or "")),
            source=read_number(_text(conversation.get("customer_phone_number"))),
            destination=number,
            written_at=written_at,
            direction=Direction.IN,
            conversation_id=str(conversation["id"]),
            thread_id=_thread_of(message),
            company_id=_text(conversation.get("company_id")),
            seen=True,
        )
        for message in messages
        for written_at in [_instant(message.get("created_at"))]
        if message.get("direction") == "incoming" and written_at is not None and written_at >= since
    ]
    return tuple(sorted(replies, key=lambda reply: (reply.written_at or since, reply.key)))


def _seen_key(conversation_id: str, written_at: datetime, message: Mapping[str, Any]) -> str:
    """What tells a text from others of a conversation, since its texts have no ids there."""
    told = json.dumps([conversation_id, written_at.isoformat(), message.get("content")])
    return f"seen:{hashlib.blake2b(told.encode(), digest_size=16).hexdigest()}"


_RECEIVED, _SENT = "sms_received_webhook", "sms_sent_webhook"


def integrations_path(account_id: str, company_id: str, page: int) -> str:
    question = {"company_id": company_id, "fields": "signing_key", "page": str(page), "per_page": "100"}
    return f"/v3/a/{account_id}/integrations.json?{urlencode(question)}"


def new_integration_path(account_id: str) -> str:
    return f"/v3/a/{account_id}/integrations.json"


def integration_path(account_id: str, integration_id: str) -> str:
    return f"/v3/a/{account_id}/integrations/{quote(integration_id, safe='')}.json"


def read_integrations(body: bytes) -> list[WebhookIntegration]:
    """
    A company's integrations for webhooks, of which it has one at most.

    Raises ValueError where the body is no list of integrations.
    """
    return [
        WebhookIntegration(
            id=str(entry["id"]),
            config=config if isinstance(config, dict) else {},
            signing_key=_text(entry.get("signing_key") or None),
            active=entry.get("state") in (None, "active"),
        )
        for entry in _page(body, "integrations")
        if str(entry.get("type")).lower() == "webhooks"
        for config in [entry.get("config")]
    ]


def with_urls(config: Mapping[str, Any], hook: HookUrls) -> dict[str, Any]:
    """
    A configuration with our URLs beside all that is in it, and without those of ours that are no more.

    A change replaces the whole at CallRail, so that everything else has to be said again.
    """
    return {
        **config,
        _RECEIVED: _with_url(config.get(_RECEIVED), hook.received, hook.base),
        _SENT: _with_url(config.get(_SENT), hook.sent, hook.base),
    }


def _with_url(urls: object, url: str, base: str) -> list[str]:
    known = [urls] if isinstance(urls, str) and urls else _strings(urls)
    others = [one for one in known if one == url or not one.startswith(base)]
    return others if url in others else [*others, url]


def new_integration(company_id: str, hook: HookUrls) -> dict[str, Any]:
    return {"type": "Webhooks", "company_id": company_id, "config": with_urls({}, hook)}


def changed_integration(config: Mapping[str, Any]) -> dict[str, Any]:
    return {"config": dict(config)}


def _instant(value: object) -> datetime | None:
    try:
        instant = datetime.fromisoformat(str(value))
        return instant.astimezone(UTC) if instant.tzinfo is not None else None
    except (ValueError, OverflowError):
        return None
