"""What an API request asks, read and let in."""

import hmac
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from email import policy
from email.message import EmailMessage
from email.parser import BytesParser
from typing import Any

from starlette.requests import Request

from callrail_relay.callrail.simulator.records import Account, Company, Refusal, no_permission, not_found
from callrail_relay.callrail.simulator.sending import MediaFile
from callrail_relay.callrail.simulator.state import Simulator

# The quotes are documented; without them it passes too.
_TOKEN = re.compile(r'Token token=(?:"([^"]+)"|([^"\s]+))')


@dataclass(frozen=True, slots=True)
class Question:
    """A request with a good key: the parameters of its path and URL, and its body as a form."""

    simulator: Simulator
    path: Mapping[str, str]
    params: Mapping[str, str]
    form: Mapping[str, Any]

    @property
    def account(self) -> Account:
        account = self.simulator.find_account(self.path["account_id"])
        if account is None:
            raise not_found()
        return account

    def companies(self) -> list[Company]:
        account_id = self.account.id
        return [company for company in self.simulator.companies.values() if company.account_id == account_id]

    def asked_company(self, company_id: object) -> Company:
        """The account's company of this id."""
        for company in self.companies():
            if company.id == company_id:
                return company
        raise not_found()


async def read_question(simulator: Simulator, request: Request) -> Question:
    """
    Read the request, or raise the Refusal of one that lacks the key or has parameters in the wrong place.
    """
    _check_key(simulator, request.headers.get("authorization", ""))
    body = await request.body()
    if request.method in {"GET", "HEAD"}:
        if body:
            raise Refusal(406, "GET parameters belong in the URL")
        form: dict[str, Any] = {}
    else:
        form = _read_form(request.headers.get("content-type", ""), body)
    return Question(simulator, request.path_params, dict(request.query_params), form)


def admit(question: Question, *, writes: bool, sends: bool) -> None:
    """
    Let the request in: its account is there, the general limit has room, and the key may write.

    A send has limits of its own, and does not count towards the general ones.
    """
    if "account_id" not in question.path:
        return
    simulator, account = question.simulator, question.account
    if not sends:
        limit = simulator.general_limits[account.id]
        if not limit.has_room(simulator.clock.now()):
            raise Refusal(429, "Rate limit exceeded")
        limit.spend(simulator.clock.now())
    if writes and simulator.read_only:
        raise no_permission()


def _check_key(simulator: Simulator, header: str) -> None:
    match = _TOKEN.fullmatch(header)
    given = (match[1] or match[2]) if match else ""
    if not hmac.compare_digest(given.encode(), simulator.api_key.encode()):
        raise Refusal(401, "HTTP Token: Access denied.")


def _read_form(content_type: str, body: bytes) -> dict[str, Any]:
    """
    The parameters of a JSON or multipart body; none for another one, as its type says nothing to CallRail.
    """
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        return _read_multipart(content_type, body)
    if kind != "application/json":
        return {}
    try:
        form = json.loads(body)
    except (ValueError, RecursionError) as exc:
        raise Refusal(400, "The body is not valid JSON") from exc
    if not isinstance(form, dict):
        raise Refusal(400, "The body must be a JSON object")
    return form


def _read_multipart(content_type: str, body: bytes) -> dict[str, Any]:
    head = f"Content-Type: {content_type}\r\n\r\n".encode()
    message = BytesParser(EmailMessage, policy=policy.HTTP).parsebytes(head + body)
    form: dict[str, Any] = {}
    for part in message.iter_parts():
        name = part.get_param("name", header="content-disposition")
        content = part.get_payload(decode=True)
        if not isinstance(name, str) or not isinstance(content, bytes):
            raise Refusal(400, "The body is not a valid form")
        is_file = part.get_filename() is not None
        if is_file and name in form:
            raise Refusal(400, "Only one media_file can be sent")
        form[name] = (
            MediaFile(part.get_content_type(), content) if is_file else content.decode(errors="replace")
        )
    return form
