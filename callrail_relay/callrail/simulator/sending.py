"""One text: taken, or refused in CallRail's words."""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from callrail_relay.callrail.simulator.records import (
    Account,
    Company,
    Conversation,
    Draft,
    Refusal,
    Text,
    Tracker,
    is_north_american,
    is_toll_free,
    normalize,
    not_found,
)
from callrail_relay.callrail.simulator.state import STOP_WORDS, Simulator, Unreachable

OPT_OUT_WORDING = " Reply STOP to unsubscribe."

# Upper case, because "end" and "quit" are also ordinary words.
_STOP_WORD = re.compile(rf"\b({'|'.join(sorted(STOP_WORDS))})\b")

# The words that clients report to see; the full bodies were not recorded.
_UNREACHABLE_WORDS: dict[Unreachable, str] = {
    "landline": "The customer's phone number is a landline, not a mobile number",
    "blocked": "The customer's phone number is a blocked number",
    "do_not_contact": "The customer is on the do not contact list",
}


def take_text(simulator: Simulator, account: Account, form: Mapping[str, Any]) -> Conversation:
    """
    Take the text that *form* asks for and return its conversation, or raise a Refusal and take nothing.

    *form* holds the parameters of https://apidocs.callrail.com/#sending-a-text-message without media.
    Only a text that is taken counts toward the limits.
    """
    if not account.registered:
        raise Refusal(403, "You do not have permission")
    if not simulator.text_limits[account.id].has_room(simulator.clock.now()):
        raise Refusal(429, "Rate limit exceeded")
    draft = _draft(simulator, account, form)
    simulator.text_limits[account.id].spend(simulator.clock.now())
    return _deliver(simulator, draft)


def _draft(simulator: Simulator, account: Account, form: Mapping[str, Any]) -> Draft:
    company = _company(simulator, account, form)
    customer = _customer(simulator, form)
    content = _content(simulator, form)
    tracker, number = _sender(simulator, company, customer, form)
    if (number, customer) in simulator.opted_out:
        raise Refusal(400, "The recipient has opted out of texts from this number")
    return Draft(tracker=tracker, tracking_number=number, customer=customer, content=content)


def _company(simulator: Simulator, account: Account, form: Mapping[str, Any]) -> Company:
    company_id = form.get("company_id")
    if not isinstance(company_id, str) or not company_id:
        raise Refusal(400, "company_id is required")
    company = simulator.companies.get(company_id)
    if company is None or company.account_id != account.id:
        raise not_found()
    if company.disabled_at is not None:
        raise Refusal(400, "The company is disabled")
    return company


def _customer(simulator: Simulator, form: Mapping[str, Any]) -> str:
    asked = form.get("customer_phone_number")
    if asked in (None, ""):
        raise Refusal(400, "customer_phone_number is required")
    number = normalize(asked)
    if number is None or not is_north_american(number):
        raise Refusal(400, "Customer phone number is invalid: it must be a 10-digit US or Canadian number")
    if number in simulator.unreachable:
        raise Refusal(400, _UNREACHABLE_WORDS[simulator.unreachable[number]])
    return number


def _content(simulator: Simulator, form: Mapping[str, Any]) -> str:
    content = form.get("content")
    if not isinstance(content, str) or not content.strip():
        raise Refusal(400, "content can't be blank")
    if len(content) > simulator.max_characters:
        raise Refusal(400, f"content is too long (maximum is {simulator.max_characters} characters)")
    return content


def _sender(
    simulator: Simulator, company: Company, customer: str, form: Mapping[str, Any]
) -> tuple[Tracker, str]:
    """The tracker and its number: the one asked for, else the one the conversation is on."""
    number = _asked_number(simulator, company, customer, form)
    owned = (tracker for tracker in simulator.trackers.values() if tracker.company_id == company.id)
    tracker = next((tracker for tracker in owned if number in tracker.tracking_numbers), None)
    if tracker is None:
        raise Refusal(400, "tracking_number is invalid: the company has no such number")
    if tracker.status != "active":
        raise Refusal(400, "tracking_number is invalid: its tracker is disabled")
    if not (tracker.sms_supported and tracker.sms_enabled) or is_toll_free(number):
        raise Refusal(400, "tracking_number is not enabled for text messages")
    return tracker, number


def _asked_number(simulator: Simulator, company: Company, customer: str, form: Mapping[str, Any]) -> str:
    asked = form.get("tracking_number")
    if asked not in (None, ""):
        number = normalize(asked)
        if number is None:
            raise Refusal(400, "tracking_number is invalid: it must be a 10-digit phone number")
        return number
    conversation = simulator.conversation_with(company.id, customer)
    if conversation is None:
        raise Refusal(400, "tracking_number is required to start a conversation")
    return conversation.last.tracking_number


def _deliver(simulator: Simulator, draft: Draft) -> Conversation:
    delivered = draft.content
    if simulator.appends_opt_out and _is_first(simulator, draft) and not _STOP_WORD.search(delivered):
        delivered += OPT_OUT_WORDING
    message = simulator.record(replace(draft, content=delivered), "outgoing")
    conversation = simulator.conversations_by_customer[draft.tracker.company_id, draft.customer]
    simulator.texts.append(
        Text(
            account_id=conversation.account_id,
            company_id=conversation.company_id,
            tracking_number=draft.tracking_number,
            customer_phone_number=draft.customer,
            content=draft.content,
            delivered_content=delivered,
            created_at=message.created_at,
            conversation_id=conversation.id,
            thread_id=message.thread_id,
        )
    )
    return conversation


def _is_first(simulator: Simulator, draft: Draft) -> bool:
    """Whether nothing has gone to this person from this number yet."""
    conversation = simulator.conversation_with(draft.tracker.company_id, draft.customer)
    return conversation is None or not any(
        message.direction == "outgoing" and message.tracking_number == draft.tracking_number
        for message in conversation.messages
    )
