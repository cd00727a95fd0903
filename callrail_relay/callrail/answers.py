"""Reads CallRail's answers: the outcome of a send, its words, its counts. Little of it is documented."""

import codecs
import json
import re
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from html import unescape
from typing import Any, TypeVar

from callrail_relay.domain import read_table
from callrail_relay.domain.account import DAY
from callrail_relay.domain.outcome import Outcome, RateLimited, Refusal, Rejected, Sent, Unknown, Usage
from callrail_relay.domain.payload import storable
from callrail_relay.domain.phone import mask_all

T = TypeVar("T")

LONGEST_RETRY_AFTER = 3600.0  # seconds; a wait longer than the budget's hour isn't believed

_LONGEST_WORDS = 300
_LARGEST_READ = 65_536
_MOST_LEVELS = 6

_REFUSALS = read_table(__package__, "refusals")
_OPTED_OUT, _NEGATED, _OF_RECIPIENT = (
    re.compile(_REFUSALS[name]) for name in ("opted_out", "negated", "of_recipient")
)

# Keys that only say that words follow, so they aren't repeated with them.
_KEYS_OF_WORDS = re.compile(
    "description|details?|errors?|error_description|error_message|messages?|msg|reason|title", re.IGNORECASE
)


def read_send_answer(
    status: int, headers: Mapping[str, str], body: bytes, *, recipient: str, content: str
) -> Outcome:
    """
    Return the outcome that an answer to a send means: by its status first, by its words second.

    CallRail may quote *content* in its answer: such words are the office's, not CallRail's.
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
    return Unknown(f"CallRail answered {status}, which doesn't say whether it accepted the text.", status)


def is_html(headers: Mapping[str, str], body: bytes) -> bool:
    """Whether an answer is a firewall's page: CallRail's API answers in JSON or plain words."""
    if read_json(body) is not None:
        return False
    return _is_markup(body) or "html" in headers.get("content-type", "").lower()


def _read_success(status: int, body: bytes, recipient: str, usage: Usage) -> Outcome:
    conversation = read_object(body)
    if conversation is None or not isinstance(conversation.get("id"), str) or not conversation["id"]:
        return Unknown("CallRail's answer couldn't be understood.", status)
    if last_ten_digits(conversation.get("customer_phone_number")) != recipient[-10:]:
        return Unknown("CallRail's answer names another person's number.", status)
    threads = filter(None, map(thread_of, items(conversation.get("recent_messages"), dict)))
    return Sent(status, storable(conversation["id"]), next(threads, None), usage)


def thread_of(message: Mapping[str, Any]) -> str | None:
    thread = message.get("sms_thread")
    thread_id = thread.get("id") if isinstance(thread, dict) else None
    return storable(thread_id) if isinstance(thread_id, str) else None


def last_ten_digits(value: object) -> str:
    return "".join(character for character in str(value) if character.isdigit())[-10:]


def _refusal(status: int, body: bytes, content: str) -> Refusal:
    said = [*_leaves(_document(body))]
    if any(_says_opted_out(words, content) for words in said):
        return Refusal.OPTED_OUT
    is_other = status in (404, 405, 406) or _OF_RECIPIENT.search(" ".join(said).lower())
    return Refusal.OTHER if is_other else Refusal.CONTENT


def _says_opted_out(words: str, content: str) -> bool:
    """Whether CallRail says so, in words that aren't quoted from *content*."""
    said, ours = _simple(words), _simple(content)
    if _OPTED_OUT.search(ours):
        said = said.replace(ours, "")
    for match in _OPTED_OUT.finditer(said):
        before, after = said[: match.start()], said[match.end() :]
        # A quotation that was cut short is recognized by the words next to it.
        around = [f"{word} {match[0]}" for word in before.split()[-1:]]
        around += [f"{match[0]} {word}" for word in after.split()[:1]]
        if not any(one in ours for one in around) and not _NEGATED.search(before):
            return True
    return False


def _simple(words: str) -> str:
    """Return *words* in lower case, with one space between them: opted_out and optedOut become the same."""
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", words)
    return re.sub(r"[\W_]+", " ", apart.lower()).strip()


def read_words(body: bytes) -> str:
    """
    Return what an error body says, on one line, cut to a readable length, with phone numbers masked.

    Several keys and shapes have been seen: if none of the usual keys is there, all words count.
    """
    document = _document(body)
    usual = document
    if isinstance(document, dict):
        usual = {key: value for key, value in document.items() if _KEYS_OF_WORDS.fullmatch(key)}
    said = [word for word in _leaves(usual) if word != "true"] or [*_leaves(document)]
    line = " ".join("; ".join(dict.fromkeys(said)).split())[:_LONGEST_WORDS]
    return mask_all(storable(line)) if line else "CallRail gave no reason."


def _document(body: bytes) -> object:
    """Return *body* as JSON, or else the words of a page or plain text."""
    document = read_json(body)
    if document is not None:
        return document
    text = body[:_LARGEST_READ].decode("utf-8-sig", "replace")
    return _words_of_page(text) if _is_markup(body) else text


def _is_markup(body: bytes) -> bool:
    return body.removeprefix(codecs.BOM_UTF8).lstrip().startswith(b"<")


def _words_of_page(page: str) -> str:
    """Return the title of a page, or everything that is visible."""
    title = re.search("<title[^>]*>(.*?)</title", page, re.DOTALL | re.IGNORECASE)
    if title and title[1].strip():
        return unescape(title[1])
    unseen = re.compile("<(script|style)\\b.*?</\\1>|<[^>]*>", re.DOTALL | re.IGNORECASE)
    return unescape(unseen.sub(" ", page))


def _leaves(value: object, levels: int = _MOST_LEVELS) -> Iterator[str]:
    """Yield the words and numbers in *value*, each with its keys; False says nothing."""
    if isinstance(value, str | int | float) and value is not False:
        yield "true" if value is True else str(value)
    elif isinstance(value, list) and levels:
        for item in value:
            yield from _leaves(item, levels - 1)
    elif isinstance(value, dict) and levels:
        for key, item in value.items():
            for word in _leaves(item, levels - 1):
                yield word if _KEYS_OF_WORDS.fullmatch(key) else f"{key} {word}"


def read_usage(headers: Mapping[str, str]) -> Usage:
    """Return CallRail's count of the account's texts, from the plausible headers of a send's answer."""
    return Usage(
        hour_allowed=_count(headers.get("x-rate-limit-hourly-allowed"), least=1),
        hour_used=_count(headers.get("x-rate-limit-hourly-used")),
        day_allowed=_count(headers.get("x-rate-limit-daily-allowed"), least=1),
        day_used=_count(headers.get("x-rate-limit-daily-used")),
    )


def _count(value: str | None, *, least: int = 0) -> int | None:
    if value is None or not re.fullmatch("[0-9]{1,7}", value):
        return None
    return int(value) if int(value) >= least else None


_NOT_SANE = (ValueError, TypeError, OverflowError)  # what a header's date raises, or one without a zone


def read_retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds to wait by ``Retry-After``, seconds or a date; None if absent or implausible."""
    value = headers.get("retry-after", "").strip()
    try:
        if value.isdigit():
            seconds = float(value)
        else:
            # By the server's own clock, so the difference is right even if ours is wrong.
            now = parsedate_to_datetime(headers.get("date", ""))
            seconds = (parsedate_to_datetime(value) - now).total_seconds()
    except _NOT_SANE:
        return None
    return seconds if 1 <= seconds <= LONGEST_RETRY_AFTER else None


def read_ahead(headers: Mapping[str, str], asked: datetime, answered: datetime) -> timedelta:
    """Return how far the server's clock is ahead of ours, at least; it answered between these instants."""
    try:
        # A cache says how long it has kept the answer.
        age = timedelta(seconds=float(headers.get("age", "0")))
        told = parsedate_to_datetime(headers.get("date", "")) + age
        # It gives whole seconds.
        ahead = told - min(max(told, asked - timedelta(seconds=1)), answered)
    except _NOT_SANE:
        return timedelta()
    return ahead if abs(ahead) <= DAY else timedelta()


def read_object(body: bytes) -> dict[str, Any] | None:
    document = read_json(body)
    return document if isinstance(document, dict) else None


def read_json(body: bytes) -> object:
    """Return *body* as JSON; None if it isn't."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def items(value: object, kind: type[T]) -> list[T]:
    """Return the items of this kind in a list; none if *value* isn't a list."""
    return [item for item in value if isinstance(item, kind)] if isinstance(value, list) else []
