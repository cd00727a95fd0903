"""One API request: its key, its parameters, and the dates and the page that it asks for."""

import hmac
import json
import re
from calendar import monthrange
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from typing import Any, TypeVar

from starlette.requests import Request

from callrail_relay.callrail.simulator.records import Account, Company, Refusal, found_in, not_found
from callrail_relay.callrail.simulator.state import Simulator

RETENTION_MONTHS = 25

_Record = TypeVar("_Record")
_DAY = timedelta(days=1)
# The quotes are documented; without them it passes too.
_TOKEN = re.compile(r'Token token=(?:"([^"]+)"|([^"\s]+))')


@dataclass(frozen=True, slots=True)
class Question:
    """A request with a valid key: the parameters of its path and URL, and its JSON body."""

    simulator: Simulator
    path: Mapping[str, str]
    params: Mapping[str, str]
    form: Mapping[str, Any]

    @classmethod
    async def read(cls, simulator: Simulator, request: Request) -> "Question":
        """Raises Refusal if the key is wrong or the parameters are in the wrong place."""
        match = _TOKEN.fullmatch(request.headers.get("authorization", ""))
        given = (match[1] or match[2]) if match else ""
        if not hmac.compare_digest(given.encode(), simulator.api_key.encode()):
            raise Refusal(401, "HTTP Token: Access denied.")
        body = await request.body()
        form: dict[str, Any] = {}
        if request.method in {"GET", "HEAD"}:
            if body:
                raise Refusal(406, "GET parameters belong in the URL")
        elif request.headers.get("content-type", "").partition(";")[0].strip().lower() == "application/json":
            form = _read_form(body)
        return cls(simulator, request.path_params, dict(request.query_params), form)

    def admit(self, *, writes: bool, sends: bool) -> None:
        """Raises Refusal: no such account, its general limit is used up, or the key is read-only."""
        if "account_id" not in self.path:
            return
        limit, now = self.simulator.general_limits[self.account.id], self.simulator.clock.now()
        if not sends:  # a send has its own limits
            if not limit.has_room(now):
                raise Refusal(429, "Rate limit exceeded")
            limit.spend(now)
        if writes and self.simulator.read_only:
            raise Refusal(403, "You do not have permission")

    @property
    def account(self) -> Account:
        account = self.simulator.find_account(self.path["account_id"])
        if account is None:
            raise not_found()
        return account

    @property
    def fields(self) -> set[str]:
        """The extra fields that ``fields=a,b`` asks for; they come on top of the usual ones."""
        return {name.strip() for name in self.params.get("fields", "").split(",")}

    def own(self, records: Iterable[_Record]) -> list[_Record]:
        """Those of the account."""
        account_id = self.account.id
        return [record for record in records if getattr(record, "account_id", None) == account_id]

    def find(self, records: Mapping[Any, _Record], key: object) -> _Record:
        """The account's record with this key."""
        for record in self.own([records[key]] if isinstance(key, str | int) and key in records else []):
            return record
        raise not_found()

    def companies(self) -> list[Company]:
        """The account's companies, or the one that ``company_id`` asks for."""
        companies = self.simulator.companies
        if "company_id" in self.params:
            return [self.find(companies, self.params["company_id"])]
        return self.own(companies.values())

    def choice(self, name: str, *known: str) -> str | None:
        """The value of a parameter that takes only the *known* ones."""
        value = self.params.get(name)
        if value is not None and value not in known:
            raise Refusal(400, f"{name} is not included in the list")
        return value

    def matches(self, name: str, numbers: Iterable[str]) -> bool:
        """Whether ``search`` is part of the name or of a number."""
        search = self.params.get("search", "")
        return search.lower() in name.lower() or any(found_in(number, search) for number in numbers)

    def page(
        self, name: str, records: Sequence[_Record], shape: Callable[[_Record], dict[str, Any]]
    ) -> dict[str, Any]:
        """
        The page of *records* that is asked for, with the four figures of paging.

        ``page`` counts from 1 and ``per_page`` is 100, at most 250; a page after the last one is empty.
        Source: https://apidocs.callrail.com/#offset-pagination
        """
        page, per_page = self._number("page", 1), self._number("per_page", 100)
        if per_page > 250:
            raise Refusal(400, "per_page must be less than or equal to 250")
        first = (page - 1) * per_page
        return {
            "page": page,
            "per_page": per_page,
            "total_pages": max(1, -(-len(records) // per_page)),
            "total_records": len(records),
            name: [shape(record) for record in records[first : first + per_page]],
        }

    def _number(self, name: str, default: int) -> int:
        text = self.params.get(name, str(default))
        if not (text.isascii() and text.isdecimal() and len(text) <= 9 and int(text) > 0):
            raise Refusal(400, f"{name} must be a number greater than 0")
        return int(text)

    def period(self, zone: tzinfo) -> tuple[datetime, datetime]:
        """
        From ``start_date`` up to, but not including, the end of ``end_date``: days, or instants, in *zone*.

        The default without dates is not documented; here it is the last 30 days. Records live 25 months,
        and a period that begins earlier is refused. Source: https://apidocs.callrail.com/#filtering
        """
        local = self.simulator.clock.now().astimezone(zone)
        until, end = local + timedelta(microseconds=1), self.params.get("end_date")
        if end is not None:
            until = _instant(end, local, "end_date")
            until += _DAY if len(end) == len("2026-04-07") else timedelta()
        start = self.params.get("start_date")
        since = until - 30 * _DAY if start is None else _instant(start, local, "start_date")
        if end is not None and until < since:
            raise Refusal(400, "end_date must be after start_date")
        if since < _months_before(local, RETENTION_MONTHS):
            raise Refusal(400, f"start_date cannot be more than {RETENTION_MONTHS} months ago")
        return since, until


def _read_form(body: bytes) -> dict[str, Any]:
    try:
        form = json.loads(body)
    except (ValueError, RecursionError) as exc:
        raise Refusal(400, "The body is not valid JSON") from exc
    if not isinstance(form, dict):
        raise Refusal(400, "The body must be a JSON object")
    return form


def _instant(text: str, local: datetime, name: str) -> datetime:
    try:
        # A plus sign that was not escaped in the URL arrives as a space.
        instant = datetime.fromisoformat(text.replace(" ", "+"))
    except ValueError as exc:
        raise Refusal(400, f"{name} is invalid") from exc
    return instant if instant.tzinfo else instant.replace(tzinfo=local.tzinfo)


def _months_before(instant: datetime, months: int) -> datetime:
    """The beginning of the day *months* before; the 31st becomes the last day of a shorter month."""
    year, month = divmod(instant.year * 12 + instant.month - 1 - months, 12)
    day = min(instant.day, monthrange(year, month + 1)[1])
    return instant.replace(year=year, month=month + 1, day=day, hour=0, minute=0, second=0, microsecond=0)
