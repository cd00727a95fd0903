"""Talks to CallRail. A send is exactly one request, never repeated or redirected; its end is an outcome."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import httpx2

from callrail_relay.callrail import answers, sentence, wire
from callrail_relay.clock import Clock, SystemClock
from callrail_relay.domain.inbound import CallRailText, Change, SeenReplies, WebhookIntegration
from callrail_relay.domain.mapper import send_parameters
from callrail_relay.domain.outcome import NotSent, Outcome, Unknown, Unsendable
from callrail_relay.domain.phone import normalize
from callrail_relay.domain.reconcile import BEFORE, FoundText, Lookup
from callrail_relay.domain.routing import NamedEntry, NumberEntry, Route, is_loopback
from callrail_relay.errors import RefusedByCallRail, Unavailable
from callrail_relay.network import find_network

# Seconds. The other side may close a connection that is idle for longer, and a text sent on it would be lost.
IDLE_CONNECTION = 1.0
LARGEST_ANSWER = 16 * 1_048_576  # bytes; a page of 250 conversations, each with its recent texts

# Seconds beyond both time-outs for a whole answer; the lease of an attempt ends after twice that.
MARGIN = 5.0
MOST_PAGES = 200
REPLY_PAGES = range(1, 11)  # pages of 250 conversations each


class UnknownToCallRail(RefusedByCallRail):
    """CallRail knows no such thing (404)."""


class AnswerTooLarge(Exception):
    """An answer was longer than any of CallRail's."""


class CallRail:
    """
    CallRail's API v3 (https://apidocs.callrail.com) for one key; made by ``open``.

    Lists, and changes of webhooks, raise RefusedByCallRail or Unavailable.

        async with CallRail.open(api_key) as callrail:
            outcome = await callrail.send_text(route, "+12025550122", "Is Tuesday at 9 good for you?")
    """

    def __init__(self, http: httpx2.AsyncClient, *, deadline: float, clock: Clock | None = None) -> None:
        self._http = http
        self._requests = partial(_Requests, http, deadline, clock or SystemClock())

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        api_key: str,
        *,
        api_url: str = "https://api.callrail.com",
        connect_timeout: float = 5.0,
        read_timeout: float = 60.0,
        connections: int = 4,
        transport: httpx2.AsyncBaseTransport | None = None,
        clock: Clock | None = None,
    ) -> AsyncIterator["CallRail"]:
        """
        Open a client for *api_key*, closed at the end of the ``async with``. The time-outs are in seconds.

        *api_url* is for a simulator or a proxy of CallRail's; http is for this machine's own addresses.
        *connections* may be open at once. *transport* takes the place of the network in tests. Raises
        ValueError for a key that no header can hold, or an address that isn't allowed, and SettingsError if
        the environment names a proxy or certificates that can't be used.
        """
        address = urlsplit(api_url)
        if address.scheme not in ("https", "http") or not address.hostname:
            raise ValueError("api_url must begin with https:// and a host")
        if address.scheme == "http" and not is_loopback(address.hostname):
            raise ValueError("api_url must begin with https://, since the API key is sent there")
        if not (api_key.isascii() and api_key.isprintable()):
            raise ValueError("api_key must be printable ASCII, as it goes into a header")
        limits = httpx2.Limits(max_connections=connections, keepalive_expiry=IDLE_CONNECTION)
        http = httpx2.AsyncClient(
            base_url=api_url,
            headers=wire.authorization(api_key),
            timeout=httpx2.Timeout(read_timeout, connect=connect_timeout, pool=connect_timeout),
            follow_redirects=False,
            trust_env=False,
            transport=transport or find_network(api_url).transport(limits),
        )
        async with http:
            yield cls(http, deadline=connect_timeout + read_timeout + MARGIN, clock=clock)

    async def send_text(self, route: Route, recipient: str, content: str) -> Outcome:
        """
        Send one text to *recipient*, E.164, with exactly one request, and return what came of it.

        The request is never repeated or redirected: CallRail knows no idempotency key. Every end is an
        outcome; only ``NotSent`` and ``RateLimited`` may be sent again without looking into the conversation.
        *content* is one segment: ``split_text`` cuts longer texts. Raises ValueError, before any request, if
        CallRail can't text the recipient.
        """
        try:
            parameters = send_parameters(route, normalize(recipient), content)
            request = self._http.build_request("POST", wire.send_path(route.account_id), json=parameters)
        except UnicodeEncodeError as error:
            raise Unsendable("the message has a broken character") from error
        except (ValueError, httpx2.InvalidURL) as error:
            raise Unsendable(str(error)) from error
        try:
            answer, body = await self._requests().exchange(request)
        except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.ProxyError) as error:
            return NotSent(sentence("no_connection", cause=_cause(error)))
        except TimeoutError:
            return Unknown(sentence("unfinished"))
        except AnswerTooLarge:
            return Unknown(sentence("too_large"))
        except httpx2.RequestError as error:
            # The request may have arrived.
            return Unknown(sentence("broken_off", cause=_cause(error)))
        return answers.read_send_answer(
            answer.status_code, answer.headers, body, recipient=recipient, content=content
        )

    async def accounts(self) -> list[NamedEntry]:
        """Return the accounts that the key can see."""
        return wire.read_named(await self._requests().pages("accounts"))

    async def companies(self, account_id: str) -> list[NamedEntry]:
        """Return the active companies of an account."""
        return wire.read_companies(await self._requests().pages("companies", account_id))

    async def numbers(self, account_id: str, company_id: str | None = None) -> list[NumberEntry]:
        """Return the numbers of a company or the account that can text, source trackers' first."""
        entries = await self._requests().pages("trackers", account_id, company_id=company_id)
        numbers = wire.read_numbers(entries)
        mine = [number for number in numbers if company_id is None or number.company_id in ("", company_id)]
        return sorted(mine, key=lambda number: number.pooled)

    async def webhooks(self, account_id: str, company_id: str) -> WebhookIntegration:
        """Return where CallRail posts a company's texts."""
        entries = await self._requests().pages("integrations", account_id, company_id=company_id)
        return wire.read_integration(entries)

    async def change_webhooks(
        self,
        account_id: str,
        company_id: str,
        is_ours: Callable[[str], bool],
        urls: Mapping[str, str],
        *,
        dry_run: bool = False,
    ) -> Change:
        """Have CallRail post to *urls*, by event, and to none of our other ones."""
        known = await self.webhooks(account_id, company_id)
        config = wire.with_urls(known.config, is_ours, urls)
        if config == known.config:
            return Change.UNCHANGED
        if not dry_run:
            change = wire.integration_change(account_id, company_id, known, config)
            await self._requests().ask(*change)
        return Change.CREATED if known.id is None else Change.ADDED

    async def find_texts(
        self, route: Route, recipient: str, *, since: datetime, conversation_id: str | None
    ) -> Lookup:
        """Return the texts sent to *recipient* from the number of *route* since then, dated by our clock."""
        requests, texts = self._requests(), dict[str, list[FoundText]]()
        try:
            if conversation_id is not None:
                with suppress(UnknownToCallRail):
                    texts[conversation_id] = await requests.texts_of(route.account_id, conversation_id)
            if not any(text.created_at >= since - BEFORE for one in texts.values() for text in one):
                # CallRail may have started another conversation with the person, or no longer have this one.
                for id_ in await requests.search(route, recipient, since):
                    if id_ not in texts:
                        texts[id_] = await requests.texts_of(route.account_id, id_)
        except (RefusedByCallRail, Unavailable) as error:
            return Lookup(requests=requests.made, fault=str(error))
        found = tuple(text for one in texts.values() for text in one)
        return Lookup(texts=found, requests=requests.made)

    async def find_replies(
        self, account_id: str, company_id: str, *, since: datetime, pages: range = REPLY_PAGES
    ) -> SeenReplies:
        """
        Return what people wrote to a company's numbers since then, and what was sent, newest activity first.

        All of it is dated by CallRail's clock, as in its webhooks, but never later than by ours.
        """
        requests, found, fault = self._requests(), dict[str, tuple[CallRailText, ...]](), None
        asked = wire.activity_since(company_id, since)
        is_last = False
        try:
            for page in pages:
                entries, ends = await requests.page("conversations", page, account_id, **asked)
                conversations, begin, ahead = wire.by_id(entries), since + requests.ahead, requests.ahead
                found |= {id_: wire.replies_of(one, begin, ahead) for id_, one in conversations.items()}
                for id_ in wire.cut_off(conversations, begin):
                    messages, _ = await requests.page("messages", 1, account_id, id_)
                    found[id_] = wire.replies_of(conversations[id_], begin, ahead, messages)
                if is_last := ends or wire.reaches_back(conversations, begin):
                    break
        except (RefusedByCallRail, Unavailable) as error:
            fault = str(error)
        replies = tuple(filter(None, found.values()))
        return SeenReplies(replies, requests.made, fault, is_last, requests.ahead)


class _Requests:
    """
    Requests for one purpose. ``made`` counts them, because CallRail limits reading, too.

    CallRail's clock is ``ahead`` of ours by so much: a computer's may be wrong by hours.
    """

    def __init__(self, http: httpx2.AsyncClient, deadline: float, clock: Clock) -> None:
        self._http = http
        self._deadline = deadline
        self._clock = clock
        self.made = 0
        self.ahead = timedelta()

    async def exchange(self, request: httpx2.Request) -> tuple[httpx2.Response, bytes]:
        """Return the answer and its body, which is read only up to LARGEST_ANSWER."""
        asked = self._clock.now()
        async with (
            asyncio.timeout(self._deadline),
            aclosing(await self._http.send(request, stream=True)) as response,
        ):
            self.ahead = answers.read_ahead(response.headers, asked, self._clock.now())
            body = bytearray()
            async for piece in response.aiter_bytes():
                body += piece
                if len(body) > LARGEST_ANSWER:
                    raise AnswerTooLarge
            return response, bytes(body)

    async def ask(self, method: str, path: str, body: object = None) -> bytes:
        """Return the answer to a request other than a send. Raises RefusedByCallRail or Unavailable."""
        writes = method != "GET"
        try:
            request = self._http.build_request(method, path, json=body)
            answer, content = await self.exchange(request)
            # CallRail redirects some paths with an account's number to its id. No other server gets the key.
            if not writes and (moved := answer.next_request) and "Authorization" in moved.headers:
                self.made += 1
                answer, content = await self.exchange(moved)
        except (httpx2.RequestError, TimeoutError, AnswerTooLarge) as error:
            named = {"host": self._http.base_url.host, "cause": _cause(error)}
            raise Unavailable(sentence("change_unsure" if writes else "unreachable", **named)) from error
        if answer.status_code not in (200, 201):
            raise _fault(answer, content, writes=writes)
        return content

    async def page(
        self, name: str, page: int, *ids: str, **asked: object
    ) -> tuple[list[dict[str, Any]], bool]:
        """Return the entries on one page of a list, and whether it's the last page."""
        self.made += 1
        body = await self.ask("GET", wire.page_path(name, page, *ids, **asked))
        try:
            return wire.read_page(body, name, page)
        except ValueError as error:
            host = self._http.base_url.host
            raise Unavailable(sentence("not_callrail", host=host, error=error)) from error

    async def pages(self, name: str, *ids: str, **asked: object) -> list[dict[str, Any]]:
        entries: list[dict[str, Any]] = []
        for page in range(1, MOST_PAGES + 1):
            found, is_last = await self.page(name, page, *ids, **asked)
            entries += found
            if is_last:
                break
        return entries

    async def search(self, route: Route, recipient: str, since: datetime) -> list[str]:
        """Return the conversations with a person: by E.164, by ten digits, then among all of the company."""
        for search in (recipient, recipient[-10:], None):
            asked = wire.activity_since(route.company_id, since, search)
            entries = await self.pages("conversations", route.account_id, **asked)
            if ids := wire.read_conversation_ids(entries, route=route, recipient=recipient):
                return ids
        return []

    async def texts_of(self, account_id: str, conversation_id: str) -> list[FoundText]:
        texts = wire.read_texts(await self.pages("messages", account_id, conversation_id))
        return [replace(text, created_at=text.created_at - self.ahead) for text in texts]


def _cause(error: Exception) -> str:
    # httpx2 quotes what it refuses to send, which may be the header with the key.
    words = "" if isinstance(error, httpx2.LocalProtocolError) else str(error)
    return words.rstrip(".") or type(error).__name__


def _fault(answer: httpx2.Response, body: bytes, *, writes: bool) -> RefusedByCallRail | Unavailable:
    status, words = answer.status_code, answers.read_words(body)
    if status == 403 and answers.is_html(answer.headers, body):
        return Unavailable(sentence("firewall", words=words))
    if status == 404:
        return UnknownToCallRail(sentence("unknown_account"))
    if status == 429:
        return Unavailable(sentence("requests_limited"))
    if status >= 500:
        return Unavailable(sentence("trouble", status=status))
    if status == 401:
        words = sentence("unknown_key")
    elif status == 403:
        words = sentence("may_not_write" if writes else "may_not_see", words=words)
    else:
        words = sentence("refused", status=status, words=words)
    return RefusedByCallRail(words)
