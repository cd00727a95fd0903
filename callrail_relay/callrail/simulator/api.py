"""The routes under /v3, as in https://apidocs.callrail.com/ ."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from dataclasses import replace as changed
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from callrail_relay.callrail.simulator import shapes
from callrail_relay.callrail.simulator.dates import asked_period
from callrail_relay.callrail.simulator.paging import asked_fields, ordered, page_of, without_total_pages
from callrail_relay.callrail.simulator.question import Question, admit, read_question
from callrail_relay.callrail.simulator.records import (
    Conversation,
    Integration,
    Message,
    Refusal,
    Tracker,
    found_in,
    not_found,
)
from callrail_relay.callrail.simulator.sending import take_text
from callrail_relay.callrail.simulator.shapes import Json
from callrail_relay.callrail.simulator.state import Simulator

MAX_THREAD_MESSAGES = 100
STATUSES = frozenset({"active", "disabled"})

Handler = Callable[[Question], Json]


@dataclass(frozen=True, slots=True)
class _Call:
    """One call of the API: where it is, what it does, and the status of its success."""

    method: str
    path: str
    handler: Handler
    status: int = 200

    @property
    def sends(self) -> bool:
        return self.handler is send_text


def routes(simulator: Simulator) -> list[Route]:
    return [Route(call.path, _endpoint(simulator, call), methods=[call.method]) for call in _CALLS]


def _endpoint(simulator: Simulator, call: _Call) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        try:
            question = await read_question(simulator, request)
            admit(question, writes=call.method != "GET", sends=call.sends)
            response: Response = JSONResponse(call.handler(question), call.status)
            # Told at once: a webhook may come before the answer to the text that it is about.
            simulator.webhooks.start()
        except Refusal as refusal:
            response = refused(refusal)
        except ClientDisconnect:
            # Nobody is there to hear it, and nothing was taken.
            return Response(status_code=400)
        if call.sends and response.status_code != 401:
            response.headers.update(_usage(simulator, request.path_params["account_id"]))
        response.headers["x-request-id"] = str(UUID(int=next(simulator.request_ids)))
        return response

    return answer


def _usage(simulator: Simulator, account_id: str) -> dict[str, str]:
    account = simulator.find_account(account_id)
    return {} if account is None else simulator.text_limits[account.id].headers(simulator.clock.now())


def refused(refusal: Refusal) -> Response:
    """The answer to a request that is refused; the plain line of a 401 is Rails' own, and a guess."""
    if refusal.status == 401:
        return PlainTextResponse(f"{refusal.words}\n", 401, {"WWW-Authenticate": 'Token realm="Application"'})
    return JSONResponse({"error": refusal.words}, refusal.status)


def list_accounts(question: Question) -> Json:
    fields = asked_fields(question.params)
    accounts = ordered(
        list(question.simulator.accounts.values()), question.params, {"name": lambda a: a.name}
    )
    figures, page = page_of(accounts, question.params, lambda account: shapes.account(account, fields))
    return {**figures, "accounts": page}


def show_account(question: Question) -> Json:
    return shapes.account(question.account, asked_fields(question.params))


def list_companies(question: Question) -> Json:
    status = _asked_status(question)
    search = question.params.get("search", "").lower()
    companies = [
        company
        for company in question.companies()
        if status in {None, company.status} and search in company.name.lower()
    ]
    sorts = {"name": lambda company: company.name, "created_at": lambda company: company.created_at}
    figures, page = page_of(ordered(companies, question.params, sorts), question.params, shapes.company)
    return {**figures, "companies": page}


def show_company(question: Question) -> Json:
    return shapes.company(question.asked_company(question.path["company_id"]))


def list_trackers(question: Question) -> Json:
    status = _asked_status(question)
    kind = question.params.get("type")
    if kind not in {None, "source", "session"}:
        raise Refusal(400, "type is not included in the list")
    owners = {company.id for company in _asked_companies(question)}
    trackers = [
        tracker
        for tracker in question.simulator.trackers.values()
        if tracker.company_id in owners
        and status in {None, tracker.status}
        and kind in {None, tracker.type}
        and _matches(question, tracker.name, tracker.tracking_numbers)
    ]
    shown = ordered(trackers, question.params, {"name": lambda tracker: tracker.name})
    figures, page = page_of(shown, question.params, lambda tracker: _tracker(question, tracker))
    return {**without_total_pages(figures), "trackers": page}


def show_tracker(question: Question) -> Json:
    return _tracker(question, _asked_tracker(question))


def change_tracker(question: Question) -> Json:
    """Switch a tracker's texting on or off; the tracker's other properties do not matter to texts."""
    enabled = question.form.get("sms_enabled")
    tracker = _asked_tracker(question)
    if not isinstance(enabled, bool):
        raise Refusal(400, "sms_enabled must be true or false")
    if enabled and not tracker.sms_supported:
        raise Refusal(400, "sms_enabled cannot be true: the number does not support text messages")
    return _tracker(question, question.simulator.change_tracker(tracker.id, sms_enabled=enabled))


def list_users(question: Question) -> Json:
    companies = question.companies()
    users = [user for user in question.simulator.users.values() if user.account_id == question.account.id]
    figures, page = page_of(users, question.params, lambda user: shapes.user(user, companies))
    return {**without_total_pages(figures), "users": page}


def show_user(question: Question) -> Json:
    user = question.simulator.users.get(question.path["user_id"])
    if user is None or user.account_id != question.account.id:
        raise not_found()
    return shapes.user(user, question.companies())


def send_text(question: Question) -> Json:
    """The one call that texts a person. CallRail documents 201 and answers 200."""
    return _conversation(question, take_text(question.simulator, question.account, question.form))


def list_conversations(question: Question) -> Json:
    figures, page = page_of(
        _asked_conversations(question),
        question.params,
        lambda conversation: _conversation(question, conversation),
    )
    return {**figures, "conversations": page}


def show_conversation(question: Question) -> Json:
    conversation = question.simulator.conversations.get(question.path["conversation_id"])
    if conversation is None or conversation.account_id != question.account.id:
        raise not_found()
    figures, page = page_of(_newest_first(conversation.messages), question.params, shapes.single_message)
    return {**shapes.single_conversation(conversation), **figures, "messages": page}


def list_threads(question: Question) -> Json:
    threads = [
        (conversation, thread_id)
        for conversation in _asked_conversations(question)
        for thread_id in dict.fromkeys(message.thread_id for message in conversation.messages)
    ]
    figures, page = page_of(threads, question.params, lambda thread: shapes.thread(*thread))
    return {**figures, "sms_threads": page}


def show_thread(question: Question) -> Json:
    """
    A thread and its messages. ``with_msg_errors`` adds nothing, as no text fails here after it was taken.
    """
    thread_id = question.path["thread_id"]
    for conversation in question.simulator.conversations.values():
        messages = conversation.thread(thread_id)
        if messages and conversation.account_id == question.account.id:
            figures, page = page_of(
                _newest_first(messages),
                question.params,
                shapes.single_message,
                max_per_page=MAX_THREAD_MESSAGES,
            )
            return {**shapes.thread(conversation, thread_id), **figures, "messages": page}
    raise not_found()


def list_integrations(question: Question) -> Json:
    if "company_id" not in question.params:
        raise Refusal(400, "company_id is required")
    company = question.asked_company(question.params["company_id"])
    integrations = [
        integration
        for integration in question.simulator.integrations.values()
        if integration.company_id == company.id
    ]
    figures, page = page_of(integrations, question.params, lambda record: _integration(question, record))
    return {**figures, "integrations": page}


def show_integration(question: Question) -> Json:
    return _integration(question, _asked_integration(question))


def create_integration(question: Question) -> Json:
    if question.form.get("type") != "Webhooks":
        raise Refusal(400, "type must be Webhooks")
    company = question.asked_company(question.form.get("company_id"))
    config = _asked_config(question)
    integrations = question.simulator.integrations
    if any(integration.company_id == company.id for integration in integrations.values()):
        raise Refusal(400, "The company already has a Webhooks integration")
    created = Integration(
        id=len(integrations) + 1, account_id=question.account.id, company_id=company.id, config=config
    )
    integrations[created.id] = created
    return _integration(question, created)


def change_integration(question: Question) -> Json:
    """Replace the whole configuration: a list of URLs that is left out is gone."""
    integration = changed(_asked_integration(question), config=_asked_config(question))
    question.simulator.integrations[integration.id] = integration
    return _integration(question, integration)


def _asked_status(question: Question) -> str | None:
    status = question.params.get("status")
    if status is not None and status not in STATUSES:
        raise Refusal(400, "status is not included in the list")
    return status


def _asked_companies(question: Question) -> list[Any]:
    if "company_id" in question.params:
        return [question.asked_company(question.params["company_id"])]
    return question.companies()


def _asked_tracker(question: Question) -> Tracker:
    tracker = question.simulator.trackers.get(question.path["tracker_id"])
    if tracker is None or tracker.account_id != question.account.id:
        raise not_found()
    return tracker


def _asked_integration(question: Question) -> Integration:
    account_id = question.account.id
    for integration in question.simulator.integrations.values():
        if str(integration.id) == question.path["integration_id"] and integration.account_id == account_id:
            return integration
    raise not_found()


def _asked_config(question: Question) -> dict[str, list[str]]:
    config = question.form.get("config")
    if not isinstance(config, dict) or not config:
        raise Refusal(400, "config is required")
    for event, urls in config.items():
        if not event.endswith("_webhook") or not isinstance(urls, list) or not all(map(_is_url, urls)):
            raise Refusal(400, f"config is invalid: {event} must be a webhook's list of URLs")
    return config


def _is_url(value: object) -> bool:
    if not isinstance(value, str):
        return False
    try:
        parts = urlsplit(value)
    except ValueError:
        return False
    return parts.scheme in {"http", "https"} and bool(parts.hostname)


def _asked_conversations(question: Question) -> list[Conversation]:
    """The conversations by company, ``search`` and time of their last text, newest activity first."""
    owners = {company.id for company in _asked_companies(question)}
    own = [
        conversation
        for conversation in question.simulator.conversations.values()
        if conversation.account_id == question.account.id
    ]
    now = question.simulator.clock.now()
    period = asked_period(
        question.params,
        now=now,
        zone=shapes.ACCOUNT_ZONE,
        oldest=min((conversation.first.created_at for conversation in own), default=now),
    )
    found = [
        conversation
        for conversation in own
        if conversation.company_id in owners
        and conversation.last.created_at in period
        and _matches(question, conversation.customer_name, (conversation.customer_phone_number,))
    ]
    return sorted(found, key=lambda each: (each.last.created_at, each.last.id), reverse=True)


def _matches(question: Question, name: str, numbers: tuple[str, ...]) -> bool:
    search = question.params.get("search", "")
    return search.lower() in name.lower() or any(found_in(number, search) for number in numbers)


def _newest_first(messages: list[Message]) -> list[Message]:
    return sorted(messages, key=lambda message: (message.created_at, message.id), reverse=True)


def _tracker(question: Question, tracker: Tracker) -> Json:
    return shapes.tracker(tracker, question.simulator.companies[tracker.company_id])


def _conversation(question: Question, conversation: Conversation) -> Json:
    simulator = question.simulator
    return shapes.conversation(
        conversation,
        simulator.companies[conversation.company_id],
        simulator.trackers[conversation.last.tracker_id].name,
        asked_fields(question.params),
    )


def _integration(question: Question, integration: Integration) -> Json:
    company = question.simulator.companies[integration.company_id]
    return shapes.integration(integration, company.signing_key, asked_fields(question.params))


_ACCOUNT = "/v3/a/{account_id}"

_CALLS = (
    _Call("GET", "/v3/a.json", list_accounts),
    _Call("GET", f"{_ACCOUNT}.json", show_account),
    _Call("GET", f"{_ACCOUNT}/companies.json", list_companies),
    _Call("GET", f"{_ACCOUNT}/companies/{{company_id}}.json", show_company),
    _Call("GET", f"{_ACCOUNT}/trackers.json", list_trackers),
    _Call("GET", f"{_ACCOUNT}/trackers/{{tracker_id}}.json", show_tracker),
    _Call("PUT", f"{_ACCOUNT}/trackers/{{tracker_id}}.json", change_tracker),
    _Call("GET", f"{_ACCOUNT}/users.json", list_users),
    _Call("GET", f"{_ACCOUNT}/users/{{user_id}}.json", show_user),
    _Call("GET", f"{_ACCOUNT}/text-messages.json", list_conversations),
    _Call("POST", f"{_ACCOUNT}/text-messages.json", send_text),
    _Call("GET", f"{_ACCOUNT}/text-messages/{{conversation_id}}.json", show_conversation),
    _Call("GET", f"{_ACCOUNT}/sms-threads.json", list_threads),
    _Call("GET", f"{_ACCOUNT}/sms-threads/{{thread_id}}.json", show_thread),
    _Call("GET", f"{_ACCOUNT}/integrations.json", list_integrations),
    _Call("POST", f"{_ACCOUNT}/integrations.json", create_integration, 201),
    _Call("GET", f"{_ACCOUNT}/integrations/{{integration_id}}.json", show_integration),
    _Call("PUT", f"{_ACCOUNT}/integrations/{{integration_id}}.json", change_integration),
)
