"""CallRail's API as far as a relay uses it (https://apidocs.callrail.com/), and the sandbox's own routes."""

import hmac
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date, datetime, time, timedelta
from functools import partial
from typing import Annotated, Any, TypeVar
from urllib.parse import urlsplit

import phonenumbers
import pydantic
from pydantic import Field, HttpUrl
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from callrail_relay.callrail.simulator import records
from callrail_relay.callrail.simulator.faults import read_faults
from callrail_relay.callrail.simulator.records import Json, T, read_asked
from callrail_relay.callrail.simulator.state import STOP_WORDS, Simulator
from callrail_relay.callrail.simulator.webhooks import Manner
from callrail_relay.domain.message import as_json
from callrail_relay.domain.routing import is_loopback
from callrail_relay.errors import RelayError, UsageError

# 25 months, after which records can't be read: https://apidocs.callrail.com/#filtering
RETENTION = timedelta(days=25 * 30)

Handler = Callable[["Question"], Json]
_Record = TypeVar("_Record")
# The quotes are documented, but it also passes without them.
_TOKEN = re.compile(r'Token token=(?:"([^"]+)"|([^"\s]+))')
_NUMBER = Annotated[int, Field(ge=1)]  # of a page
_SIZE = Annotated[int, Field(ge=1, le=250)]


@dataclass(frozen=True, slots=True)
class Question:
    """A request with a valid key: the parameters of its path and URL, and its JSON body."""

    simulator: Simulator
    path: Mapping[str, str]
    params: Mapping[str, str]
    form: Mapping[str, Any]

    @property
    def account(self) -> records.Account:
        account = self.simulator.find_account(self.path["account_id"])
        if account is None:
            raise HTTPException(404, "Not found")
        return account

    @property
    def fields(self) -> set[str]:
        """Return the extra fields that ``fields=a,b`` asks for, beside the usual ones."""
        return {name.strip() for name in self.params.get("fields", "").split(",")}

    def company(self, company_id: object) -> records.Company:
        """Return the account's company with this id."""
        company = self.simulator.companies.get(str(company_id))
        if company is None or company.account_id != self.account.id:
            raise HTTPException(404, "Not found")
        return company

    def companies(self) -> list[records.Company]:
        """Return the account's companies, or the one that ``company_id`` names."""
        if "company_id" in self.params:
            return [self.company(self.params["company_id"])]
        return [one for one in self.simulator.companies.values() if one.account_id == self.account.id]

    def has_status(self, record: records.Company | records.Tracker) -> bool:
        return self.params.get("status") in {None, record.status}

    def matches(self, conversation: records.Conversation) -> bool:
        """Whether ``search`` is part of the digits of the customer's number; CallRail finds names, too."""
        return re.sub(r"[\s().+-]", "", self.params.get("search", "")) in conversation.customer

    def since(self) -> datetime:
        """Return the beginning of ``start_date`` in the account's zone; without it, a guess: 30 days ago."""
        now = self.simulator.clock.now().astimezone(records.ACCOUNT_ZONE)
        asked = self.params.get("start_date", now.date() - timedelta(days=30))
        since = datetime.combine(read_asked(date, asked, "start_date"), time(), records.ACCOUNT_ZONE)
        if since < now - RETENTION:
            raise HTTPException(400, "start_date cannot be more than 25 months ago")
        return since

    def page(self, name: str, records: Sequence[_Record], shape: Callable[[_Record], Json]) -> Json:
        """Return the requested page of *records*: https://apidocs.callrail.com/#offset-pagination"""
        page = read_asked(_NUMBER, self.params.get("page", 1), "page")
        per_page = read_asked(_SIZE, self.params.get("per_page", 100), "per_page")
        first = (page - 1) * per_page
        return {
            "page": page,
            "per_page": per_page,
            "total_pages": max(1, -(-len(records) // per_page)),
            "total_records": len(records),
            name: [shape(record) for record in records[first : first + per_page]],
        }


def _endpoint(simulator: Simulator, method: str, handler: Handler) -> Callable[[Request], Awaitable[ASGIApp]]:
    sends = handler is send_text
    # CallRail documents 201 for a text, but answers 200.
    status = 201 if handler is create_integration else 200

    async def answer(request: Request) -> Response:
        try:
            question = await _read(simulator, request)
            _admit(question, writes=method != "GET", sends=sends)
            response: Response = JSONResponse(handler(question), status)
        except (HTTPException, UsageError) as error:
            response = await _refuse(request, error)
        if sends and response.status_code != 401:
            account = simulator.find_account(request.path_params["account_id"])
            if account is not None:
                response.headers.update(account.texts.headers(simulator.clock.now()))
        return response

    return partial(simulator.faults.answer, answer=answer, sends=sends)


async def _refuse(_request: Request, error: Exception) -> Response:
    if isinstance(error, HTTPException):
        return JSONResponse({"error": error.detail}, error.status_code, error.headers)
    return JSONResponse({"error": str(error)}, 400)  # no one reads it if the client has gone


async def _read(simulator: Simulator, request: Request) -> Question:
    """Raise HTTPException or UsageError if the key is wrong or the parameters are in the wrong place."""
    match = _TOKEN.fullmatch(request.headers.get("authorization", ""))
    given = (match[1] or match[2]) if match else ""
    if not hmac.compare_digest(given.encode(), simulator.api_key.encode()):
        raise HTTPException(401, "HTTP Token: Access denied.")
    body, form = await request.body(), {}
    if request.method in {"GET", "HEAD"}:
        if body:
            raise HTTPException(406, "GET parameters belong in the URL")
    elif request.headers.get("content-type", "").partition(";")[0].strip().lower() == "application/json":
        form = read_asked(pydantic.Json[dict[str, Any]], body, "body")
    return Question(simulator, request.path_params, dict(request.query_params), form)


def _admit(question: Question, *, writes: bool, sends: bool) -> None:
    """Raise HTTPException if the account is unknown, its general limit used up, or the key read-only."""
    if "account_id" not in question.path:
        return
    limit, now = question.account.requests, question.simulator.clock.now()
    if not sends:  # sends have their own limits
        if not limit.has_room(now):
            raise HTTPException(429, "Rate limit exceeded")
        limit.spend(now)
    if writes and question.simulator.read_only:
        raise HTTPException(403, "You do not have permission")


def list_accounts(question: Question) -> Json:
    accounts = list(question.simulator.accounts.values())
    return question.page("accounts", accounts, lambda account: account.as_json(question.fields))


def list_companies(question: Question) -> Json:
    companies = list(filter(question.has_status, question.companies()))
    return question.page("companies", companies, records.Company.as_json)


def list_trackers(question: Question) -> Json:
    owners = {company.id for company in question.companies()}
    trackers = filter(question.has_status, question.simulator.trackers.values())
    owned = [tracker for tracker in trackers if tracker.company.id in owners]
    page = question.page("trackers", owned, records.Tracker.as_json)
    # This list doesn't say how many pages there are (2026-02).
    del page["total_pages"]
    return page


def list_conversations(question: Question) -> Json:
    """List conversations by company, ``search`` and time of their last text, newest activity first."""
    owners, since = {company.id for company in question.companies()}, question.since()
    found = [
        conversation
        for conversation in question.simulator.conversations.values()
        if conversation.company.id in owners
        and since <= conversation.messages[-1].created_at
        and question.matches(conversation)
    ]
    found.sort(key=lambda each: each.messages[-1].id, reverse=True)
    return question.page("conversations", found, records.Conversation.as_json)


def show_conversation(question: Question) -> Json:
    conversation = question.simulator.conversations.get(question.path["conversation_id"])
    if conversation is None or conversation.company.account_id != question.account.id:
        raise HTTPException(404, "Not found")
    messages = question.page("messages", conversation.messages[::-1], records.Message.as_json)
    return {**conversation.as_single(), **messages}


def list_integrations(question: Question) -> Json:
    if "company_id" not in question.params:
        raise HTTPException(400, "company_id is required")
    company = question.company(question.params["company_id"])
    known = [one for one in question.simulator.integrations.values() if one.company.id == company.id]
    return question.page("integrations", known, lambda each: each.as_json(question.fields))


def create_integration(question: Question) -> Json:
    if question.form.get("type") != "Webhooks":
        raise HTTPException(400, "type must be Webhooks")
    company, config = question.company(question.form.get("company_id")), _asked_config(question)
    integrations = question.simulator.integrations
    if company.id in integrations:
        raise HTTPException(400, "The company already has a Webhooks integration")
    created = records.Integration(id=len(integrations) + 1, company=company, config=config)
    integrations[company.id] = created
    return created.as_json(question.fields)


def change_integration(question: Question) -> Json:
    """Replace the whole configuration: a list of URLs that is left out is gone."""
    integrations = question.simulator.integrations
    named = (one for one in integrations.values() if str(one.id) == question.path["integration_id"])
    known = next(named, None)
    if known is None or known.company.account_id != question.account.id:
        raise HTTPException(404, "Not found")
    changed = integrations[known.company.id] = replace(known, config=_asked_config(question))
    return changed.as_json(question.fields)


# Lists of URLs by event.
_CONFIG = Annotated[dict[Annotated[str, Field(pattern="_webhook$")], list[HttpUrl]], Field(min_length=1)]


def _asked_config(question: Question) -> Any:  # noqa: ANN401 - as it came: HttpUrl adds slashes
    config = question.form.get("config")
    read_asked(_CONFIG, config, "config")
    return config


OPT_OUT_WORDING = " Reply STOP to unsubscribe."

# Upper case, because "end" and "quit" are also ordinary words.
_STOP_WORD = re.compile(rf"\b({'|'.join(sorted(STOP_WORDS))})\b")
_TOLL_FREE = frozenset({"800", "833", "844", "855", "866", "877", "888"})
# The US, its territories and Canada; unassigned area codes, as in fiction, pass.
_REGIONS = frozenset({"US", "PR", "VI", "GU", "MP", "AS", "CA", None})


def send_text(question: Question) -> Json:
    """
    Text a person: return the conversation, or raise HTTPException, and accept nothing.

    Its form has the parameters of https://apidocs.callrail.com/#sending-a-text-message without media. Only an
    accepted text counts toward the limits.
    """
    simulator, account, form = question.simulator, question.account, question.form
    if not account.texts.has_room(simulator.clock.now()):
        raise HTTPException(429, "Rate limit exceeded")
    if not isinstance(form.get("company_id"), str) or not form["company_id"]:
        raise HTTPException(400, "company_id is required")
    company = question.company(form["company_id"])
    if company.disabled_at is not None:
        raise HTTPException(400, "The company is disabled")
    customer, content = _customer(form), _content(simulator, form)
    number = _tracking_number(simulator, company, form)
    if (number, customer) in simulator.opted_out:
        raise HTTPException(400, "The recipient has opted out of texts from this number")
    account.texts.spend(simulator.clock.now())
    known = simulator.conversations_by_customer.get((company.id, customer))
    sent_from = [m.tracking_number for m in known.messages if m.direction == "outgoing"] if known else []
    first = number not in sent_from
    delivered = content + OPT_OUT_WORDING if first and not _STOP_WORD.search(content) else content
    message = simulator.record(number, customer, delivered, "outgoing")
    conversation = simulator.conversations_by_customer[company.id, customer]
    simulator.texts.append(
        records.Text(
            recipient=customer,
            tracking_number=number,
            company_id=company.id,
            account_id=account.id,
            content=content,
            delivered_content=delivered,
            created_at=message.created_at,
            conversation_id=conversation.id,
        )
    )
    return conversation.as_json()


def _customer(form: Mapping[str, Any]) -> str:
    asked = form.get("customer_phone_number")
    if asked in (None, ""):
        raise HTTPException(400, "customer_phone_number is required")
    number = records.normalize(asked)
    if number is None or phonenumbers.region_code_for_number(phonenumbers.parse(number)) not in _REGIONS:
        raise HTTPException(
            400, "Customer phone number is invalid: it must be a 10-digit US or Canadian number"
        )
    return number


def _content(simulator: Simulator, form: Mapping[str, Any]) -> str:
    content = form.get("content")
    if not isinstance(content, str) or not content.strip():
        raise HTTPException(400, "content can't be blank")
    if len(content) > simulator.max_characters:
        raise HTTPException(400, f"content is too long (maximum is {simulator.max_characters} characters)")
    return content


def _tracking_number(simulator: Simulator, company: records.Company, form: Mapping[str, Any]) -> str:
    number = records.normalize(form.get("tracking_number"))
    if number is None:
        raise HTTPException(400, "tracking_number is invalid: it must be a 10-digit phone number")
    owned = (tracker for tracker in simulator.trackers.values() if tracker.company.id == company.id)
    tracker = next((tracker for tracker in owned if number in tracker.tracking_numbers), None)
    if tracker is None:
        raise HTTPException(400, "tracking_number is invalid: the company has no such number")
    if tracker.status != "active":
        raise HTTPException(400, "tracking_number is invalid: its tracker is disabled")
    if not (tracker.sms_supported and tracker.sms_enabled) or number[2:5] in _TOLL_FREE:
        raise HTTPException(400, "tracking_number is not enabled for text messages")
    return number


_CALLS: tuple[tuple[str, str, Handler], ...] = (
    ("GET", "a", list_accounts),
    ("GET", "a/{account_id}/companies", list_companies),
    ("GET", "a/{account_id}/trackers", list_trackers),
    ("GET", "a/{account_id}/text-messages", list_conversations),
    ("POST", "a/{account_id}/text-messages", send_text),
    ("GET", "a/{account_id}/text-messages/{conversation_id}", show_conversation),
    ("GET", "a/{account_id}/integrations", list_integrations),
    ("POST", "a/{account_id}/integrations", create_integration),
    ("PUT", "a/{account_id}/integrations/{integration_id}", change_integration),
)


Control = Callable[[Simulator, Any], Any]


def create_app(simulator: Simulator) -> Starlette:
    """Return CallRail's API under /v3 and the sandbox's own routes under /sandbox, over one state."""
    calls = [
        Route(f"/v3/{path}.json", _endpoint(simulator, method, handler), methods=[method])
        for method, path, handler in _CALLS
    ]
    return Starlette(
        routes=[*calls, *sandbox_routes(simulator)],
        exception_handlers=dict.fromkeys((HTTPException, RelayError, ClientDisconnect), _refuse),
    )


def sandbox_routes(simulator: Simulator) -> list[Route]:
    """They need no key, so they answer only to this machine."""

    def endpoint(status: int, handler: Control) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            if not _is_local(request):
                raise HTTPException(403, "The sandbox is controlled from its own machine only.")
            posts = request.method == "POST"
            body = read_asked(pydantic.Json[object], await request.body(), "body") if posts else None
            document = handler(simulator, body)
            return Response(status_code=status) if status == 204 else JSONResponse(document, status)

        return answer

    return [
        Route(f"/sandbox/{path}", endpoint(status, handler), methods=[method])
        for method, path, status, handler in _CONTROLS
    ]


def _is_local(request: Request) -> bool:
    """Whether the request comes from this machine, and not from a web page elsewhere through a browser."""
    client = request.client.host if request.client else ""
    origin = request.headers.get("origin", "http://localhost")
    # The Host header shows a name that was made to point here (DNS rebinding).
    host = f"//{request.headers.get('host', '')}"
    try:
        names = (client, urlsplit(origin).hostname, urlsplit(host).hostname)
        return all(is_loopback(name or "") for name in names)
    except ValueError:
        return False


def _list_faults(simulator: Simulator, _body: object) -> list[dict[str, Any]]:
    given = (asdict(fault) for fault in simulator.faults)
    return [{name: value for name, value in one.items() if value is not None} for one in given]


def _add_faults(simulator: Simulator, body: object) -> list[dict[str, Any]]:
    simulator.fault(*read_faults(body))
    return _list_faults(simulator, None)


def _change_webhooks(simulator: Simulator, body: object) -> dict[str, Any]:
    simulator.webhooks.manner = read_asked(Manner, body, "manner")
    return asdict(simulator.webhooks.manner)


def _call(function: Callable[..., T], body: object, what: str) -> T:
    """Call *function* with an object's fields, and return its result; pydantic would take a list, too."""
    return read_asked(function, read_asked(dict[str, object], body, what), what)


_CONTROLS: tuple[tuple[str, str, int, Control], ...] = (
    ("GET", "texts", 200, lambda simulator, _: as_json(simulator.texts)),
    # The conversations stay, because nothing takes a text back.
    ("DELETE", "texts", 204, lambda simulator, _: simulator.texts.clear()),
    ("GET", "faults", 200, _list_faults),
    ("POST", "faults", 201, _add_faults),
    ("DELETE", "faults", 204, lambda simulator, _: simulator.faults.clear()),
    ("POST", "opt-outs", 204, lambda simulator, body: _call(simulator.opt_out, body, "person")),
    ("POST", "replies", 201, lambda simulator, body: _call(simulator.receive, body, "text").as_json()),
    ("POST", "others", 201, lambda simulator, body: _call(simulator.write, body, "text").as_json()),
    ("GET", "webhooks", 200, lambda simulator, _: [asdict(one) for one in simulator.webhooks.posted]),
    ("POST", "webhooks", 200, _change_webhooks),
)
