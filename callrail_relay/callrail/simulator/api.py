"""The routes under /v3 that a relay uses, as in https://apidocs.callrail.com/ ."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from urllib.parse import urlsplit
from uuid import UUID

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from callrail_relay.callrail.simulator import shapes
from callrail_relay.callrail.simulator.records import Conversation, Integration, Message, Refusal
from callrail_relay.callrail.simulator.request import Question
from callrail_relay.callrail.simulator.sending import take_text
from callrail_relay.callrail.simulator.shapes import Json
from callrail_relay.callrail.simulator.state import Simulator

Handler = Callable[[Question], Json]


def routes(simulator: Simulator) -> list[Route]:
    return [
        Route(f"/v3/{path}.json", _endpoint(simulator, method, handler), methods=[method])
        for method, path, handler in _CALLS
    ]


def _endpoint(
    simulator: Simulator, method: str, handler: Handler
) -> Callable[[Request], Awaitable[Response]]:
    sends = handler is send_text
    # CallRail documents 201 for a text and answers 200.
    status = 201 if handler is create_integration else 200

    async def answer(request: Request) -> Response:
        try:
            question = await Question.read(simulator, request)
            question.admit(writes=method != "GET", sends=sends)
            response: Response = JSONResponse(handler(question), status)
            # Now: a webhook may come before the answer to the text that it is about.
            simulator.webhooks.start()
        except Refusal as refusal:
            response = _refused(refusal)
        except ClientDisconnect:
            return Response(status_code=400)
        if sends and response.status_code != 401:
            account = simulator.find_account(request.path_params["account_id"])
            if account is not None:
                limit = simulator.text_limits[account.id]
                response.headers.update(limit.headers(simulator.clock.now()))
        response.headers["x-request-id"] = str(UUID(int=next(simulator.request_ids)))
        return response

    return answer


def _refused(refusal: Refusal) -> Response:
    if refusal.status == 401:
        # Rails' own plain line, which is a guess.
        return PlainTextResponse(f"{refusal.words}\n", 401, {"WWW-Authenticate": 'Token realm="Application"'})
    return JSONResponse({"error": refusal.words}, refusal.status)


def list_accounts(question: Question) -> Json:
    accounts = list(question.simulator.accounts.values())
    return question.page("accounts", accounts, lambda record: shapes.account(record, question.fields))


def list_companies(question: Question) -> Json:
    status = question.choice("status", "active", "disabled")
    companies = [
        company
        for company in question.own(question.simulator.companies.values())
        if status in {None, company.status} and question.matches(company.name, ())
    ]
    return question.page("companies", companies, shapes.company)


def list_trackers(question: Question) -> Json:
    status = question.choice("status", "active", "disabled")
    kind = question.choice("type", "source", "session")
    owners = {company.id: company for company in question.companies()}
    trackers = [
        tracker
        for tracker in question.simulator.trackers.values()
        if tracker.company_id in owners
        and status in {None, tracker.status}
        and kind in {None, tracker.type}
        and question.matches(tracker.name, tracker.tracking_numbers)
    ]
    page = question.page(
        "trackers", trackers, lambda record: shapes.tracker(record, owners[record.company_id])
    )
    # This list does not say how many pages there are (2026-02).
    del page["total_pages"]
    return page


def send_text(question: Question) -> Json:
    """The one call that texts a person."""
    return _conversation(question, take_text(question.simulator, question.account, question.form))


def list_conversations(question: Question) -> Json:
    """The conversations by company, ``search`` and time of their last text, newest activity first."""
    owners = {company.id for company in question.companies()}
    since, until = question.period(shapes.ACCOUNT_ZONE)
    found = [
        conversation
        for conversation in question.simulator.conversations.values()
        if conversation.company_id in owners
        and since <= conversation.last.created_at < until
        and question.matches(conversation.customer_name, (conversation.customer_phone_number,))
    ]
    found.sort(key=lambda each: shapes.age(each.last), reverse=True)
    return question.page("conversations", found, lambda record: _conversation(question, record))


def show_conversation(question: Question) -> Json:
    conversation = question.find(question.simulator.conversations, question.path["conversation_id"])
    messages: list[Message] = sorted(conversation.messages, key=shapes.age, reverse=True)
    return {
        **shapes.single_conversation(conversation),
        **question.page("messages", messages, shapes.single_message),
    }


def list_integrations(question: Question) -> Json:
    if "company_id" not in question.params:
        raise Refusal(400, "company_id is required")
    [company] = question.companies()
    integrations = [
        record for record in question.simulator.integrations.values() if record.company_id == company.id
    ]
    return question.page("integrations", integrations, lambda record: _integration(question, record))


def create_integration(question: Question) -> Json:
    if question.form.get("type") != "Webhooks":
        raise Refusal(400, "type must be Webhooks")
    company = question.find(question.simulator.companies, question.form.get("company_id"))
    config = _asked_config(question)
    integrations = question.simulator.integrations
    if any(integration.company_id == company.id for integration in integrations.values()):
        raise Refusal(400, "The company already has a Webhooks integration")
    created = Integration(
        id=len(integrations) + 1, account_id=company.account_id, company_id=company.id, config=config
    )
    integrations[created.id] = created
    return _integration(question, created)


def change_integration(question: Question) -> Json:
    """Replace the whole configuration: a list of URLs that is left out is gone."""
    integrations, id_ = question.simulator.integrations, question.path["integration_id"]
    known = question.find(integrations, int(id_) if id_.isdecimal() else None)
    integrations[known.id] = replace(known, config=_asked_config(question))
    return _integration(question, integrations[known.id])


def _asked_config(question: Question) -> dict[str, list[str]]:
    config = question.form.get("config")
    if not isinstance(config, dict) or not config:
        raise Refusal(400, "config is required")
    for event, urls in config.items():
        if not event.endswith("_webhook") or not isinstance(urls, list) or not all(map(_is_url, urls)):
            raise Refusal(400, f"config is invalid: {event} must be a webhook's list of URLs")
    return config


def _is_url(value: object) -> bool:
    try:
        parts = urlsplit(value) if isinstance(value, str) else None
        return parts is not None and parts.scheme in {"http", "https"} and bool(parts.hostname)
    except ValueError:
        return False


def _conversation(question: Question, record: Conversation) -> Json:
    simulator = question.simulator
    owner, tracker = simulator.companies[record.company_id], simulator.trackers[record.last.tracker_id]
    return shapes.conversation(record, owner, tracker.name, question.fields)


def _integration(question: Question, record: Integration) -> Json:
    company = question.simulator.companies[record.company_id]
    return shapes.integration(record, company.signing_key, question.fields)


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
