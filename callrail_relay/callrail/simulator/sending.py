"""One text: taken, or refused in CallRail's words."""

import re
from collections.abc import Mapping
from typing import Any

import phonenumbers
from starlette.exceptions import HTTPException

from callrail_relay.callrail.simulator.records import Account, Company, Conversation, Text, normalize
from callrail_relay.callrail.simulator.state import STOP_WORDS, Simulator

OPT_OUT_WORDING = " Reply STOP to unsubscribe."

# Upper case, because "end" and "quit" are also ordinary words.
_STOP_WORD = re.compile(rf"\b({'|'.join(sorted(STOP_WORDS))})\b")
_TOLL_FREE = frozenset({"800", "833", "844", "855", "866", "877", "888"})
# The US, its territories and Canada; unassigned area codes, as in fiction, pass.
_REGIONS = frozenset({"US", "PR", "VI", "GU", "MP", "AS", "CA", None})


def take_text(simulator: Simulator, account: Account, form: Mapping[str, Any]) -> Conversation:
    """
    Take the text that *form* asks for and return its conversation, or raise HTTPException and take nothing.

    *form* holds the parameters of https://apidocs.callrail.com/#sending-a-text-message without media.
    Only a text that is taken counts toward the limits.
    """
    if not account.texts.has_room(simulator.clock.now()):
        raise HTTPException(429, "Rate limit exceeded")
    company, customer = _company(simulator, account, form), _customer(form)
    content = _content(simulator, form)
    known = simulator.conversations_by_customer.get((company.id, customer))
    number = _tracking_number(form, known)
    _check_sender(simulator, company, number)
    if (number, customer) in simulator.opted_out:
        raise HTTPException(400, "The recipient has opted out of texts from this number")
    account.texts.spend(simulator.clock.now())
    sent_from = [m.tracking_number for m in known.messages if m.direction == "outgoing"] if known else []
    first = number not in sent_from
    delivered = content + OPT_OUT_WORDING if first and not _STOP_WORD.search(content) else content
    message = simulator.record(number, customer, delivered, "outgoing")
    conversation = simulator.conversations_by_customer[company.id, customer]
    simulator.texts.append(
        Text(
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
    return conversation


def _company(simulator: Simulator, account: Account, form: Mapping[str, Any]) -> Company:
    company_id = form.get("company_id")
    if not isinstance(company_id, str) or not company_id:
        raise HTTPException(400, "company_id is required")
    company = simulator.companies.get(company_id)
    if company is None or company.account_id != account.id:
        raise HTTPException(404, "Not found")
    if company.disabled_at is not None:
        raise HTTPException(400, "The company is disabled")
    return company


def _customer(form: Mapping[str, Any]) -> str:
    asked = form.get("customer_phone_number")
    if asked in (None, ""):
        raise HTTPException(400, "customer_phone_number is required")
    number = normalize(asked)
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


def _tracking_number(form: Mapping[str, Any], conversation: Conversation | None) -> str:
    """The number asked for, else the one the conversation is on."""
    asked = form.get("tracking_number")
    if asked not in (None, ""):
        number = normalize(asked)
        if number is None:
            raise HTTPException(400, "tracking_number is invalid: it must be a 10-digit phone number")
        return number
    if conversation is None:
        raise HTTPException(400, "tracking_number is required to start a conversation")
    return conversation.messages[-1].tracking_number


def _check_sender(simulator: Simulator, company: Company, number: str) -> None:
    owned = (tracker for tracker in simulator.trackers.values() if tracker.company.id == company.id)
    tracker = next((tracker for tracker in owned if number in tracker.tracking_numbers), None)
    if tracker is None:
        raise HTTPException(400, "tracking_number is invalid: the company has no such number")
    if tracker.status != "active":
        raise HTTPException(400, "tracking_number is invalid: its tracker is disabled")
    if not (tracker.sms_supported and tracker.sms_enabled) or number[2:5] in _TOLL_FREE:
        raise HTTPException(400, "tracking_number is not enabled for text messages")
