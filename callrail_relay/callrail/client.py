"""
Talking to CallRail.

Sending promises: exactly one request for each call, never repeated and never
redirected; every end it can come to is an outcome, not an exception.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar
from urllib.parse import urlsplit

import httpx

from callrail_relay.callrail import answers, wire
from callrail_relay.callrail.network import find_network
from callrail_relay.domain.inbound import Change, HookUrls, Registration, SeenReplies, WebhookIntegration
from callrail_relay.domain.mapper import send_parameters
from callrail_relay.domain.outcome import NotSent, Outcome, Unknown, Unsendable
from callrail_relay.domain.phone import normalise
from callrail_relay.domain.reconcile import BEFORE, FailedLookup, FoundText, Lookup
from callrail_relay.domain.routing import AccountEntry, CompanyEntry, NumberEntry, Route, is_loopback
from callrail_relay.errors import RefusedByCallRail, Unavailable

IDLE_CONNECTION = 1.0
"""Seconds; a connection idle for longer may be closed on the other side, and a text sent into it be lost."""

LARGEST_ANSWER = 1_048_576
LARGEST_LIST = 16 * LARGEST_ANSWER
"""A page of 250 conversations, each with its recent texts, may have some megabytes."""

MARGIN = 5.0
"""Seconds beyond both time-outs for a whole answer; the lease of an attempt ends after twice that."""

MOST_PAGES = 200
MOST_REPLY_PAGES = 10
"""Pages of 250 conversations each."""

E = TypeVar("E")


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: httpx.Headers
    body: bytes


@dataclass
class _Counter:
    """Requests made so far: CallRail limits those that read, too."""

    requests: int = 0


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

    def __init__(self, http: httpx.AsyncClient, *, deadline: float) -> None:
        self._http = http
        self._deadline = deadline

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
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> AsyncIterator["CallRail"]:
        """
        Open a client for *api_key*, closed at the end of the ``async with``. The time-outs are in seconds.

        *api_url* is for a simulator or a proxy of CallRail's; http is for this machine's own addresses.
        *connections* may be open at once. *transport* takes the place of the network in tests. Raises
        ValueError for an address that isn't allowed, and SettingsError if the environment names a proxy or
        certificates that can't be used.
        """
        _check_address(api_url)
        connect, read = connect_timeout, read_timeout
        limits = httpx.Limits(max_connections=connections, keepalive_expiry=IDLE_CONNECTION)
        http = httpx.AsyncClient(
            base_url=api_url,
            headers=wire.authorization(api_key),
            timeout=httpx.Timeout(read, connect=connect, pool=connect),
            follow_redirects=False,
            trust_env=False,
            transport=transport or find_network(api_url).transport(limits),
        )
        async with http:
            yield cls(http, deadline=connect + read + MARGIN)

    async def send_text(self, route: Route, recipient: str, content: str) -> Outcome:
        """
        Send one text to *recipient*, E.164, with exactly one request, and return what came of it.

        The request is never repeated or redirected: CallRail knows no idempotency key. Every end is an
        outcome; only ``NotSent`` and ``RateLimited`` may be sent again without looking into the conversation.
        *content* is one segment: ``split_text`` cuts longer texts. Raises ValueError, before any request, if
        CallRail can't text the recipient.
        """
        try:
            parameters = send_parameters(route, normalise(recipient), content)
            request = self._http.build_request("POST", wire.send_path(route.account_id), json=parameters)
        except UnicodeEncodeError as error:
            raise Unsendable("the message has a broken character") from error
        except ValueError as error:
            raise Unsendable(str(error)) from error
        try:
            answer = await self._exchange(request)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError) as error:
            return NotSent(f"No connection to CallRail ({_cause(error)}).")
        except TimeoutError:
            return Unknown("CallRail did not finish its answer in time.")
        except AnswerTooLarge:
            return Unknown("CallRail's answer was too large to be one.")
        except httpx.RequestError as error:
            # The request may have arrived.
            return Unknown(
                f"The connection to CallRail failed before its answer was complete ({_cause(error)})."
            )
        return answers.read_send_answer(
            answer.status, answer.headers, answer.body, recipient=recipient, content=content
        )

    async def accounts(self) -> list[AccountEntry]:
        """The accounts that the key can see."""
        return await self._pages(wire.accounts_path, wire.read_accounts, "accounts")

    async def companies(self, account_id: str) -> list[CompanyEntry]:
        """The active companies of an account."""
        path = partial(wire.companies_path, account_id)
        return await self._pages(path, wire.read_companies, "companies")

    async def numbers(self, account_id: str, company_id: str | None = None) -> list[NumberEntry]:
        """The numbers of a company, or of the account, that can text; those of source trackers first."""
        path = partial(wire.trackers_path, account_id, company_id)
        numbers = await self._pages(path, wire.read_numbers, "trackers")
        mine = [number for number in numbers if company_id is None or number.company_id in ("", company_id)]
        return sorted(mine, key=lambda number: number.pooled)

    async def register_webhooks(self, account_id: str, company_id: str, hook: HookUrls) -> Registration:
        """Have CallRail post to our URLs too."""
        known = await self._integration(account_id, company_id)
        if known is None:
            path = wire.integration_path(account_id, None)
            await self._write("POST", path, wire.new_integration(company_id, hook))
            change = Change.CREATED
        elif (config := wire.with_urls(known.config, hook)) == known.config:
            change = Change.UNCHANGED
        else:
            path = wire.integration_path(account_id, known.id)
            await self._write("PUT", path, wire.changed_integration(config))
            change = Change.ADDED
        if known is None or known.signing_key is None:
            known = await self._integration(account_id, company_id)
        return Registration(
            company_id=company_id,
            change=change,
            signing_key=None if known is None else known.signing_key,
            active=known is None or known.active,
        )

    async def _integration(self, account_id: str, company_id: str) -> WebhookIntegration | None:
        path = partial(wire.integrations_path, account_id, company_id)
        return next(iter(await self._pages(path, wire.read_integrations, "integrations")), None)

    async def find_texts(
        self, route: Route, recipient: str, *, since: datetime, conversation_id: str | None
    ) -> Lookup | FailedLookup:
        """The texts sent to *recipient* from the number of *route*, at least those since then."""
        counter = _Counter()
        try:
            found = await self._find_texts(route, recipient, since, conversation_id, counter)
        except (RefusedByCallRail, Unavailable) as error:
            return FailedLookup(detail=str(error), requests=counter.requests)
        return Lookup(texts=found, requests=counter.requests)

    async def find_replies(self, account_id: str, company_id: str, *, since: datetime) -> SeenReplies:
        """
        What people wrote to a company's numbers since then.

        The list has the newest activity first; a conversation is read by itself only if the list may not
        show all that came.
        """
        counter, found = _Counter(), dict[str, wire.Replies]()
        fault = None
        try:
            await self._find_replies(account_id, company_id, since, counter, found)
        except (RefusedByCallRail, Unavailable) as error:
            fault = str(error)
        except ValueError as error:
            fault = str(self._unlike_callrail(error))
        conversations = tuple(replies for replies in found.values() if replies)
        return SeenReplies(conversations=conversations, requests=counter.requests, fault=fault)

    async def _find_replies(
        self,
        account_id: str,
        company_id: str,
        since: datetime,
        counter: _Counter,
        found: dict[str, wire.Replies],
    ) -> None:
        # A day of CallRail's may begin hours later than ours.
        day = (since - timedelta(days=1)).date()
        for page in range(1, MOST_REPLY_PAGES + 1):
            counter.requests += 1
            body = await self._get(wire.conversations_path(account_id, company_id, day, None, page))
            replies, cut = wire.read_replies(body, since=since)
            found.update(replies)
            for id_, conversation in cut.items():
                counter.requests += 1
                body_of_one = await self._get(wire.conversation_path(account_id, id_, page=1))
                found[id_] = wire.replies_of(conversation, body_of_one, since=since)
            if wire.reaches_back(body, since) or wire.is_last_page(body, "conversations", page):
                break

    async def _find_texts(
        self, route: Route, recipient: str, since: datetime, conversation_id: str | None, counter: _Counter
    ) -> tuple[FoundText, ...]:
        texts: dict[str, list[FoundText]] = {}
        if conversation_id is not None:
            with contextlib.suppress(UnknownToCallRail):
                texts[conversation_id] = await self._conversation(route.account_id, conversation_id, counter)
        if not any(text.created_at >= since - BEFORE for one in texts.values() for text in one):
            # CallRail may have begun another conversation with the person, or know this one no more.
            for id_ in await self._search(route, recipient, since, counter):
                if id_ not in texts:
                    texts[id_] = await self._conversation(route.account_id, id_, counter)
        return tuple(text for one in texts.values() for text in one)

    async def _search(self, route: Route, recipient: str, since: datetime, counter: _Counter) -> list[str]:
        """The conversations with a person: by E.164, by ten digits, then among all of the company."""
        day = (since - timedelta(days=1)).date()
        for search in (recipient, recipient[-10:], None):
            ids = await self._pages(
                partial(wire.conversations_path, route.account_id, route.company_id, day, search),
                partial(wire.read_conversation_ids, route=route, recipient=recipient),
                "conversations",
                counter=counter,
            )
            if ids:
                return ids
        return []

    async def _conversation(self, account_id: str, id_: str, counter: _Counter) -> list[FoundText]:
        path = partial(wire.conversation_path, account_id, id_)
        return await self._pages(path, wire.read_texts, "messages", counter=counter)

    async def _pages(
        self,
        path: Callable[[int], str],
        read: Callable[[bytes], list[E]],
        name: str,
        counter: _Counter | None = None,
    ) -> list[E]:
        """All entries of a list, counting the requests that it takes."""
        entries: list[E] = []
        for page in range(1, MOST_PAGES + 1):
            if counter is not None:
                counter.requests += 1
            body = await self._get(path(page))
            try:
                entries += read(body)
                if wire.is_last_page(body, name, page):
                    break
            except ValueError as error:
                raise self._unlike_callrail(error) from error
        return entries

    def _unlike_callrail(self, error: ValueError) -> Unavailable:
        host = self._http.base_url.host
        return Unavailable(f"{host} answered, but not as CallRail does ({error}); check callrail.api_url.")

    async def _get(self, path: str) -> bytes:
        try:
            answer = await self._exchange(self._http.build_request("GET", path), largest=LARGEST_LIST)
        except (httpx.RequestError, TimeoutError, AnswerTooLarge) as error:
            raise Unavailable(
                f"CallRail at {self._http.base_url.host} cannot be reached ({_cause(error)}); check the "
                "connection and callrail.api_url, then try again."
            ) from error
        if answer.status != 200:
            raise _fault(answer)
        return answer.body

    async def _write(self, method: str, path: str, body: object) -> None:
        """Change something that is no text."""
        try:
            answer = await self._exchange(self._http.build_request(method, path, json=body))
        except (httpx.RequestError, TimeoutError, AnswerTooLarge) as error:
            raise Unavailable(
                f"CallRail at {self._http.base_url.host} did not answer ({_cause(error)}), so that it is not "
                "known whether it took the change; run the command again, which is safe."
            ) from error
        if answer.status == 403 and not answers.is_html(answer.headers, answer.body):
            words = answers.read_words(answer.body)
            raise RefusedByCallRail(
                f"CallRail does not let this API key change webhooks (403): {words} Have CallRail's support "
                "give it write access, or add the URLs in CallRail's settings, under Integrations > Webhooks."
            )
        if answer.status not in (200, 201):
            raise _fault(answer)

    async def _exchange(self, request: httpx.Request, *, largest: int = LARGEST_ANSWER) -> Answer:
        async with asyncio.timeout(self._deadline):
            response = await self._http.send(request, stream=True)
            try:
                return Answer(response.status_code, response.headers, await _read_capped(response, largest))
            finally:
                await response.aclose()


def _check_address(api_url: str) -> None:
    parts = urlsplit(api_url)
    if parts.scheme not in ("https", "http") or not parts.hostname:
        raise ValueError("api_url must begin with https:// and a host")
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        raise ValueError("api_url must begin with https://, since the API key is sent there")


async def _read_capped(response: httpx.Response, largest: int) -> bytes:
    body = bytearray()
    async for piece in response.aiter_bytes():
        body += piece
        if len(body) > largest:
            raise AnswerTooLarge
    return bytes(body)


def _cause(error: Exception) -> str:
    # httpx quotes what it refuses to send, and that may be the header with the key.
    words = "" if isinstance(error, httpx.LocalProtocolError) else str(error)
    return words.rstrip(".") or type(error).__name__


def _fault(answer: Answer) -> Exception:
    words = answers.read_words(answer.body)
    match answer.status:
        case 401:
            return RefusedByCallRail(
                "CallRail does not know this API key (401). Copy it again from CallRail, Settings > API Keys."
            )
        case 403:
            return _forbidden(answer, words)
        case 404:
            return UnknownToCallRail("CallRail knows no such account, or this API key cannot see it (404).")
        case 429:
            return Unavailable("CallRail's limit for requests is reached (429); try again in a few minutes.")
        case status if status >= 500:
            return Unavailable(f"CallRail has trouble ({status}); try again in a few minutes.")
        case status:
            return RefusedByCallRail(f"CallRail refused the request ({status}): {words}")


def _forbidden(answer: Answer, words: str) -> Exception:
    if answers.is_html(answer.headers, answer.body):
        return Unavailable(
            f"A firewall in front of CallRail refused the request (403, “{words}”); try again in a few "
            "minutes, or ask CallRail's support whether it blocks this computer's internet address."
        )
    return RefusedByCallRail(f"CallRail does not let this API key see that (403): {words}")
